#include "controlplane/drivers/neo4j/picture.h"

#include <algorithm>

#include "controlplane/drivers/words.h"

namespace daarion::neo4j {
namespace {

constexpr std::size_t kMostNames = 3;   // of databases in a role
constexpr const char* kCommunity = "community";

using daarion::joined;
std::string joined(const std::vector<NodeId>& nodes) {
  std::vector<std::string> names;
  for (const NodeId& node : nodes) names.push_back(node.value);
  return joined(names);
}

std::string host_in(const std::string& address) { return address.substr(0, address.rfind(':')); }

/// "5.26" of "5.26.0": what a cluster must agree in, but for an upgrade that is under way.
std::string release_of(const std::string& version) {
  const std::size_t dot = version.find('.');
  return version.substr(0, dot == std::string::npos ? dot : version.find('.', dot + 1));
}

bool holds(const std::vector<NodeId>& nodes, const NodeId& node) { return std::ranges::find(nodes, node) != nodes.end(); }

class Drawing {
 public:
  Drawing(const Declared& declared, const std::vector<Word>& words, const History& history, Instant now)
      : declared_(declared), words_(words), history_(history), now_(now) {}

  Picture draw() {
    if (std::ranges::none_of(words_, &Word::reached)) say("nobody_answers", "no Neo4j of it answers, or none lets us in");
    // One Enterprise is enough to be a cluster's; where nobody ever said, what is declared holds.
    out_.community = !history_.editions.empty() && std::ranges::all_of(history_.editions, [](const auto& known) { return known.second == kCommunity; });
    find_default();
    editions();
    versions();
    if (one_instance()) draw_one();
    else draw_cluster();
    for (const Word& w : words_) statuses(w);
    for (const NodeId& node : declared_.nodes()) out_.members.push_back(member(node));
    return out_;
  }

 private:
  static bool is_community(const Word& w) { return w.edition == kCommunity; }
  bool one_instance() const { return !declared_.cluster || out_.community; }
  void say(std::string code, std::string text) { out_.problems.push_back({std::move(code), std::move(text)}); }
  const Word* word_of(const NodeId& node) const {
    const auto at = std::ranges::find(words_, node, &Word::node);
    return at == words_.end() ? nullptr : &*at;
  }
  static const Copy* copy_on(const Word* word, const std::string& database) {
    if (word == nullptr) return nullptr;
    const auto at = word->copies.find(database);
    return at == word->copies.end() ? nullptr : &at->second;
  }

  void find_default() {
    for (const Word& w : words_)
      for (const auto& [name, copy] : w.copies)
        if (copy.is_default && out_.default_database.empty()) out_.default_database = name;
  }

  void editions() {
    std::vector<NodeId> community, others;
    for (const auto& [node, edition] : history_.editions) (edition == kCommunity ? community : others).push_back(node);
    if (!declared_.cluster || community.empty()) return;
    if (!others.empty())
      return say("editions_differ", "Neo4j Community on " + joined(community) + " beside Enterprise on " + joined(others) +
          ": only Enterprise can be in the cluster");
    const NodeId& one = declared_.cores.front();
    std::erase(community, one);
    say("community", "Neo4j Community: clustering needs Enterprise. " + one.value +
        "'s is managed as one instance: its health is watched, and dumps are taken where "
        "`dump` is configured" + (community.empty() ? "" : "; nobody copies to " + joined(community) + ", whose Neo4j has data of its own") +
        ". Declare `mode: single`, or run Enterprise");
  }

  void versions() {
    std::map<std::string, std::vector<NodeId>> releases;
    for (const Word& w : words_)
      if (w.reached) releases[release_of(w.version)].push_back(w.node);
    if (releases.size() < 2 || out_.community) return;
    std::string who;
    for (const auto& [release, nodes] : releases) who += (who.empty() ? "" : ", ") + release + " on " + joined(nodes);
    say("versions_differ", "versions differ: " + who + "; finish the upgrade");
  }

  // ---- one instance
  void draw_one() {
    out_.elected_by = "nobody (one instance)";
    const NodeId& node = declared_.cores.front();
    const Word* word = word_of(node);
    if (word == nullptr || !word->reached) return;
    if (!declared_.cluster && word->clustered) say("clustered", node.value +
        " is a member of a cluster, and declared as single; declare `mode: causal-cluster`");
    const Copy* copy = copy_on(word, out_.default_database);
    if (word->whole && copy == nullptr) say("no_default", node.value + " has no default database");
    if (copy != nullptr && copy->current == "online") out_.primary = out_.leaders[out_.default_database] = node;
  }

  // ---- a cluster
  void draw_cluster() {
    out_.elected_by = "Neo4j's raft";
    std::set<std::string> databases;
    for (const Word& w : words_) {
      if (w.reached && w.whole && !w.clustered && !is_community(w))
        say("not_clustered", w.node.value + ": it is in no cluster; its server.cluster.* settings are missing, or it was not started as a member");
      for (const auto& [name, copy] : w.copies)
        if (copy.raft) databases.insert(name);
    }
    for (const std::string& database : databases) find_leader(database);
    if (const auto led = out_.leaders.find(out_.default_database); led != out_.leaders.end()) out_.primary = led->second;
    places();
    servers();
    stores(databases);
  }

  void find_leader(const std::string& database) {
    std::map<std::string, std::vector<const Word*>> named;  // by leader
    std::size_t cores = 0;
    std::vector<NodeId> none;
    for (const Word& w : words_) {
      const Copy* copy = copy_on(&w, database);
      if (copy == nullptr || !copy->raft || copy->requested == "offline") continue;
      if (!copy->raft->core) continue;
      ++cores;
      if (copy->raft->leader.empty()) none.push_back(w.node);
      else named[copy->raft->leader].push_back(&w);
    }
    if (cores == 0) return;
    const std::vector<const Word*>* most = nullptr;
    std::string leader;
    for (const auto& [id, who] : named)
      if (most == nullptr || who.size() > most->size()) most = &who, leader = id;
    if (most == nullptr) return say("no_leader", database + " has no leader: " + joined(none) + (none.size() == 1 ? " knows" : " know") +
        " none; it takes no writes");
    std::size_t listed = 0;
    for (const Word* w : *most) listed = std::max(listed, copy_on(w, database)->raft->voters.size());
    if (most->size() <= listed / 2)
      return say("no_majority", database + ": " + std::to_string(most->size()) + " of " + std::to_string(listed) +
          " voters name the same leader here, which is no majority");
    for (const auto& [id, who] : named)
      if (id != leader)
        for (const Word* w : who) say("views_differ", w->node.value + " names another leader of " + database + " than the majority does");
    for (const NodeId& node : none) say("views_differ", node.value + " knows no leader of " + database + ", the majority does");
    for (const Word& w : words_)
      if (const Copy* copy = copy_on(&w, database); copy != nullptr && copy->raft && copy->raft->member == leader) {
        out_.leaders[database] = w.node;
        return;
      }
    say("leader_away", database + " is led by " + name_of(leader) + ", which does not answer here");
  }

  /// Of a server by its id: the node, or how SHOW SERVERS calls it.
  std::string name_of(const std::string& id) const {
    for (const Word& w : words_)
      for (const Server& s : w.servers)
        if (s.id == id) return node_at(s.address).empty() ? s.name + " at " + s.address : node_at(s.address).value;
    return "server " + id;
  }
  NodeId node_at(const std::string& address) const {
    for (const auto& [node, host] : declared_.addresses)
      if (host == host_in(address)) return node;
    for (const Word& w : words_)
      if (!w.bolt.empty() && w.bolt == address) return w.node;
    return {};
  }

  /// Cores that do not vote, read replicas that do.
  void places() {
    const std::string& database = out_.default_database;
    const auto led = out_.leaders.find(database);
    const Copy* leads = led == out_.leaders.end() ? nullptr : copy_on(word_of(led->second), database);
    for (const NodeId& node : declared_.nodes()) {
      const Word* word = word_of(node);
      if (word == nullptr || !word->whole || !word->clustered) continue;
      const Copy* copy = copy_on(word, database);
      const bool core = holds(declared_.cores, node);
      if (copy == nullptr || !copy->raft)
        say("no_copy", node.value + " has no copy of " + (database.empty() ? "the default database" : database) +
            "; see SHOW SERVERS and ALTER DATABASE ... SET TOPOLOGY");
      else if (core != copy->raft->core)
        say("role_differs", node.value + " is declared as a " + (core ? "core, and is a read replica" : "read replica, and votes as a core") + " of " +
            database);
      else if (core && leads != nullptr && !leads->raft->voters.contains(copy->raft->member))
        say("no_vote", node.value + " does not vote for " + database + ", as its leader says");
    }
  }

  void servers() {
    const Word* by = nullptr;  // one word is enough: the list is the cluster's
    for (const Word& w : words_)
      if (w.reached && !w.servers.empty() && (by == nullptr || w.node == out_.primary)) by = &w;
    if (by == nullptr) return;
    for (const Server& s : by->servers) {
      const NodeId node = node_at(s.address);
      const std::string who = node.empty() ? "server " + s.name + " at " + s.address : node.value;
      if (!node.empty() && !holds(declared_.nodes(), node)) say("stranger", who + " is a member of the cluster, and not declared");
      if (node.empty() && s.state != "Dropped") say("stranger", who + " is on none of the declared nodes");
      if (s.state == "Free") say("not_enabled", who + " is not enabled: ENABLE SERVER '" + s.id + "'");
      else if (s.state == "Cordoned" || s.state == "Deallocating" || s.state == "Deallocated") say("server_leaves", who + " is " + s.state +
          ": it takes no more databases");
    }
  }

  /// The id of a database's data is the same wherever there is a copy of it.
  void stores(const std::set<std::string>& databases) {
    for (const std::string& database : databases) {
      std::string theirs;
      if (const auto led = out_.leaders.find(database); led != out_.leaders.end())
        if (const Copy* copy = copy_on(word_of(led->second), database)) theirs = copy->id;
      if (theirs.empty()) continue;
      for (const Word& w : words_)
        if (const Copy* copy = copy_on(&w, database); copy != nullptr && copy->raft && !copy->id.empty() && copy->id != theirs)
          say("other_store", w.node.value + ": its " + database + " has other data than the leader's (" + copy->id.substr(0, 8) + ", not " +
                                 theirs.substr(0, 8) + "): it is no copy. Unbind it, empty it and let it join anew");
    }
  }

  void statuses(const Word& w) {
    for (const auto& [name, copy] : w.copies) {
      if (copy.current == copy.requested || copy.current.empty() || copy.requested.empty() || name == out_.default_database) continue;
      say("not_" + copy.requested, name + " on " + w.node.value + " is " + copy.current + (copy.message.empty() ? "" : ": " + copy.message));
    }
  }

  // ---- members
  std::vector<std::string> led_by(const NodeId& node) const {
    std::vector<std::string> out;
    for (const auto& [database, leader] : out_.leaders)
      if (leader == node) out.push_back(database);
    return out;
  }

  std::string role_of(const NodeId& node, const Word* word) const {
    if (one_instance()) return "instance";
    const Copy* copy = copy_on(word, out_.default_database);
    const bool core = copy != nullptr && copy->raft ? copy->raft->core : holds(declared_.cores, node);
    const std::vector<std::string> leads = led_by(node);
    const std::string names = joined(leads, kMostNames);
    if (node == out_.primary) return "leader (" + names + ")";
    return std::string(core ? "core" : "read replica") + (leads.empty() ? "" : " (leads " + names + ")");
  }

  MemberView member(const NodeId& node) {
    const Word* word = word_of(node);
    MemberView out;
    out.seen.node = node;
    out.seen.role = role_of(node, word);
    out.seen.state = EngineState::kUnresponsive;
    out.seen.health = word == nullptr || word->error.empty() ? "no answer" : word->error;
    if (word == nullptr) return out;
    out.seen.version = word->version.empty() ? "" : word->version + (word->edition.empty() ? "" : " " + word->edition);
    if (!word->reached || word->late) return out;
    const Copy* copy = copy_on(word, out_.default_database);
    out.seen.state = node == out_.primary ? EngineState::kPrimary : EngineState::kStandby;
    out.seen.health = health_of(*word, copy);
    if (copy != nullptr) {
      out.seen.identity = copy->id.substr(0, 16);
      if (copy->transaction) out.position.lsn = {*copy->transaction};
    }
    if (!one_instance()) lag(*word, out);
    return out;
  }

  std::string health_of(const Word& word, const Copy* copy) const {
    if (!word.error.empty()) return word.error;
    if (copy == nullptr) return "";
    if (copy->current != "online")
      return out_.default_database + " is " + (copy->current.empty() ? "in no state that it names" : copy->current) + (copy->message.empty() ? "" : ": " +
          copy->message);
    for (const auto& [name, c] : word.copies)
      if (c.raft && !c.raft->healthy) return "its " + name + " has met an error and cannot write; see its log";
    return "";
  }

  /// The database that it lags in most, by time.
  void lag(const Word& word, MemberView& out) {
    std::string where;
    for (const auto& [name, copy] : word.copies) {
      const auto led = out_.leaders.find(name);
      if (!copy.transaction || led == out_.leaders.end() || led->second == word.node) continue;
      const Copy* leads = copy_on(word_of(led->second), name);
      if (leads == nullptr || !leads->transaction) continue;
      const std::uint64_t behind = *leads->transaction > *copy.transaction ? *leads->transaction - *copy.transaction : 0;
      const auto heads = history_.heads.find(name);
      const std::uint64_t ms = behind == 0 || heads == history_.heads.end() ? 0 : heads->second.lacks_ms(*copy.transaction, now_);
      out.lag_known = true;
      out.lag_transactions = std::max(out.lag_transactions.value_or(0), behind);
      if (ms > out.lag_ms || where.empty() || (ms == out.lag_ms && name == out_.default_database)) where = name, out.lag_ms = ms;
    }
    if (declared_.max_lag > Duration{} && out.lag_ms > static_cast<std::uint64_t>(to_ms(declared_.max_lag)))
      say("lags", word.node.value + " lags in " + where + " for longer than " + std::to_string(to_ms(declared_.max_lag) / 1000) + " s");
  }

  const Declared& declared_;
  const std::vector<Word>& words_;
  const History& history_;
  const Instant now_;
  Picture out_;
};

}  // namespace

std::string plain_text(const std::string& text, std::size_t most) {
  std::string out = text.substr(0, std::min(text.find_first_of("\r\n"), most));
  std::ranges::replace_if(out, [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return out;
}

std::vector<NodeId> Declared::nodes() const {
  std::vector<NodeId> out = cores;
  out.insert(out.end(), read_replicas.begin(), read_replicas.end());
  return out;
}

std::vector<Word> believe(History& history, std::vector<Word> words, Instant now) {
  for (Word& word : words) {
    if (word.reached) history.editions[word.node] = word.edition;
    if (word.whole) history.whole[word.node] = {now, word};
    const auto before = history.whole.find(word.node);
    if (!word.late || before == history.whole.end() || now - before->second.first >= kHeld) continue;
    const Word& was = before->second.second;
    if (was.version == word.version && was.edition == word.edition) word = was;
  }
  return words;
}

Picture picture_of(const Declared& declared, const std::vector<Word>& words, const History& history, Instant now) { return Drawing(declared, words, history,
    now).draw(); }

void remember_heads(History& history, const Picture& picture, const std::vector<Word>& words, Instant now) {
  std::erase_if(history.heads, [&](const auto& head) { return !picture.leaders.contains(head.first); });
  for (const auto& [database, leader] : picture.leaders) {
    const auto word = std::ranges::find(words, leader, &Word::node);
    const auto copy = word == words.end() ? std::map<std::string, Copy>::const_iterator{} : word->copies.find(database);
    if (word != words.end() && copy != word->copies.end() && copy->second.transaction) history.heads[database].remember(*copy->second.transaction, now);
  }
}

}  // namespace daarion::neo4j
