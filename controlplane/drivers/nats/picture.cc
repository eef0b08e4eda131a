#include "controlplane/drivers/nats/picture.h"

#include <algorithm>
#include <utility>

#include "controlplane/core/helper_role.h"
#include "controlplane/drivers/nats/durability.h"
#include "controlplane/drivers/words.h"

namespace daarion::nats {
namespace {

constexpr std::size_t kMostProblems = 20;  // in one event; a person reads no more
constexpr std::size_t kMostNames = 3;      // of streams, in one line
constexpr std::size_t kIdLength = 12;      // of a server's id, which has 56 letters by chance
constexpr unsigned kFull = 80, kRoomAgain = 75;  // percent of what it may store

const char* role_of(Kind kind) { return kind == Kind::kCore ? kServerRole : kind == Kind::kWitness ? kWitnessRole : kLeafRole; }

/// "port 6222", "ports 6222 and 6223".
std::string ports_of(std::uint32_t a, std::uint32_t b) {
  return a == b ? "port " + std::to_string(a) : "ports " + std::to_string(a) + " and " + std::to_string(b);
}

/// "more than 1000": a number that is another at each look would be another problem at each.
std::string more_than(std::uint64_t count) {
  std::uint64_t floor = 1;
  while (count / floor > 10) floor *= 10;
  return "more than " + std::to_string(floor);
}

class Drawing {
 public:
  Drawing(const std::vector<Server>& planned, History& history, const std::vector<Word>& words, Instant now)
      : planned_(planned), history_(history), words_(words), now_(now) {}

  ResourceView draw() {
    out_.elected_by = "JetStream's meta group";
    out_.source = "nats";
    find_primary();
    for (const Server& server : planned_) out_.members.push_back(member(server));
    routes();
    versions();
    keeping();
    meta_group();
    strangers();
    stores();
    streams();
    std::erase_if(history_.since, [&](const auto& entry) { return !seen_.contains(entry.first); });
    return std::move(out_);
  }

 private:
  const Word* word_of(const std::string& server) const {
    const auto at = std::ranges::find(words_, server, &Word::server);
    return at == words_.end() ? nullptr : &*at;
  }
  const Server* planned_as(const std::string& name) const {
    const auto at = std::ranges::find(planned_, name, &Server::name);
    return at == planned_.end() ? nullptr : &*at;
  }
  /// "node1", or the server's name if it is none of ours.
  std::string place_of(const std::string& name) const {
    const Server* server = planned_as(name);
    return server == nullptr ? name : server->node.value;
  }
  std::vector<const Server*> core() const {
    std::vector<const Server*> out;
    for (const Server& server : planned_)
      if (server.kind != Kind::kLeaf) out.push_back(&server);
    return out;
  }
  /// Of the core's planned servers that are there.
  std::vector<std::pair<const Server*, const Word*>> heard() const {
    std::vector<std::pair<const Server*, const Word*>> out;
    for (const Server* server : core())
      if (const Word* word = word_of(server->name)) out.emplace_back(server, word);
    return out;
  }

  /// Whether it has been so for that long without a break.
  bool stands(const std::string& what, Duration patience) {
    seen_.insert(what);
    return now_ - history_.since.try_emplace(what, now_).first->second >= patience;
  }
  void say(std::string text) {
    if (out_.problems.size() < kMostProblems) out_.problems.push_back(std::move(text));
    else if (out_.problems.size() == kMostProblems) out_.problems.emplace_back("and more: nats server report jetstream");
  }

  /// Who says itself that it leads, by the newest word; a server that is alone decides alone.
  void find_primary() {
    const bool alone = core().size() == 1;
    const Word* leader = nullptr;
    for (const auto& [server, word] : heard()) {
      const bool leads = word->jetstream && (word->meta_leader == server->name || (alone && word->meta_size == 0));
      if (leads && (leader == nullptr || std::pair(word->answers, word->at) > std::pair(leader->answers, leader->at))) leader = word;
    }
    if (leader != nullptr) {
      history_.primary = planned_as(leader->server)->node;
      history_.led = now_;
    } else if (now_ - history_.led >= kElection) {
      history_.primary = NodeId();
    }
    out_.primary = history_.primary;
  }

  std::uint32_t leaf_port() const {
    const auto at = std::ranges::find_if(planned_, [](const Server& server) { return server.leaf != 0; });
    return at == planned_.end() ? 0 : at->leaf;
  }

  MemberView member(const Server& server) {
    MemberView out;
    out.seen.node = server.node;
    out.seen.role = role_of(server.kind);
    const bool leaf = server.kind == Kind::kLeaf;
    const Word* word = word_of(server.name);
    if (word == nullptr) {
      // Nobody has been waited for yet: nothing is known of it.
      if (!history_.words.contains(server.name) && now_ - *history_.began < kHeld) return out;
      out.seen.state = EngineState::kUnresponsive;
      out.seen.health = !leaf ? "no answer" : "no leafnode connection: does its server run, and reach " + ports_of(leaf_port(), leaf_port()) + " of the core?";
      return out;
    }
    out.seen.state = !leaf && server.node == out_.primary ? EngineState::kPrimary : EngineState::kStandby;
    if (leaf) return out;
    out.seen.identity = word->id.substr(0, kIdLength);
    out.seen.version = word->version;
    if (!word->answers && stands("hangs " + server.name, kJetStream))
      out.seen.health = "its JetStream does not answer: nats-server before 2.10 hangs after its disk was full; make room, and restart it";
    else if (word->answers && !word->jetstream && stands("off " + server.name, kJetStream))
      out.seen.health = "its JetStream is off: its own log says why; after a full disk make room, and restart it";
    return out;
  }

  void routes() {
    const auto servers = heard();
    for (std::size_t i = 0; i < servers.size(); ++i)
      for (std::size_t j = i + 1; j < servers.size(); ++j) {
        const auto& [a, a_says] = servers[i];
        const auto& [b, b_says] = servers[j];
        if (!a_says->routes || !b_says->routes) continue;
        const bool linked = a_says->routes->contains(b_says->id) && b_says->routes->contains(a_says->id);
        if (!linked && stands("route " + a->name + " " + b->name, kRoute))
          say("no route between the servers of " + a->node.value + " and " + b->node.value + ": open " + ports_of(a->route, b->route) + " between them");
      }
  }

  void versions() {
    std::map<std::string, std::vector<std::string>> of;
    for (const auto& [server, word] : heard())
      if (!word->version.empty()) of[word->version].push_back(server->node.value);
    if (of.size() < 2 || !stands("versions", kUpgrade)) return;
    std::string text;
    for (const auto& [version, nodes] : of) text += (text.empty() ? "" : "; ") + version + " on " + joined(nodes, nodes.size());
    say("the core's servers are of different versions (" + text + "): upgrade those that are behind");
  }

  /// What they would lose. Of versions that differ the faulty one is named, whatever the others are.
  void keeping() {
    std::vector<Keeping> servers;
    for (const auto& [server, word] : heard()) servers.push_back({.node = server->node.value, .version = word->version, .sync = word->sync});
    for (std::string& fault : faults_of(servers))
      if (stands(fault, kJetStream)) say(std::move(fault));
    out_.notes = notes_of(servers);
  }

  void meta_group() {
    const std::size_t servers = core().size();
    if (servers < 2) return;
    const auto there = heard();
    if (out_.primary.empty() && !there.empty() && stands("no meta leader", kElection))
      say("JetStream's meta group has no leader, and no stream or consumer can be made: a majority of the core's servers must run and reach each other");
    const auto leader = std::ranges::find_if(there, [&](const auto& entry) { return entry.second->meta_leader == entry.first->name; });
    if (leader == there.end() || leader->second->meta_size == 0) return;
    const std::size_t size = leader->second->meta_size;
    if (size <= servers || !stands("meta size", kCopies)) return;
    std::vector<std::string> gone;
    for (const Replica& other : leader->second->meta_others)
      if ((other.offline || !other.current) && std::ranges::none_of(core(), [&](const Server* server) { return server->name == other.server; })) gone.push_back(other.server);
    say("JetStream's meta group counts " + std::to_string(size) + " servers, and " + std::to_string(servers) + " are planned: " +
        (gone.empty() ? "one that is not" : joined(gone, gone.size())) +
        " counts for every majority; once it is off for good, `daarionctl retire NODE` has it taken out, or `nats server raft peer-remove " +
        (gone.size() == 1 ? gone[0] : "NAME") + "` by the account SYS");
  }

  void strangers() {
    for (const Word& word : words_)
      if (planned_as(word.server) == nullptr && stands("stranger " + word.server, kRoute))
        say("server " + word.server + " is one of the core, and not planned: stop it, or name its node in the cluster file");
  }

  void stores() {
    for (const auto& [server, word] : heard()) {
      const std::string what = "full " + server->name;
      const unsigned limit = history_.since.contains(what) ? kRoomAgain : kFull;
      if (word->may_store > 0 && word->stored > word->may_store / 100 * limit && stands(what, kJetStream))
        say("the server of " + server->node.value + " stores more than " + std::to_string(kFull) +
            " % of what it may: raise control.nats.max_file if its disk has room, or bound the streams (max_age, max_bytes)");
    }
  }

  // ---- streams: what is wrong with several in the same way is said once
  void streams() {
    struct Leader {
      const Stream* says = nullptr;  // null: nobody says that it leads
      Instant at{};
    };
    std::map<std::string, Leader> leaders;  // by stream
    bool all = true;                        // servers have told theirs
    for (const auto& [server, word] : heard()) {
      all = all && word->streams;
      if (!word->streams) continue;
      for (const Stream& stream : *word->streams) {
        Leader& leader = leaders[stream.account + "/" + stream.name];
        const bool leads = stream.leader.empty() ? core().size() == 1 : stream.leader == server->name;
        if (leads && (leader.says == nullptr || word->at > leader.at)) leader = {&stream, word->at};
      }
    }
    for (const auto& [name, leader] : leaders) {
      if (leader.says != nullptr) {
        lag(name, *leader.says);
        copies(name, *leader.says);
        origins(name, *leader.says);
      } else if (all && stands("leaderless " + name, kLeaderless)) {
        same_["no leader, and nothing is taken: a majority of the servers with its replicas must run"].push_back(name);
      }
    }
    std::erase_if(history_.heads, [&](const auto& head) { return !leaders.contains(head.first); });
    for (const auto& [what, names] : same_) say("stream " + joined(names, kMostNames) + ": " + what);
  }

  /// Of each server, in the stream that it lags in most, by time. Streams are asked for every few seconds: what was taken since counts as no time.
  void lag(const std::string& name, const Stream& stream) {
    Heads& heads = history_.heads[name];
    heads.remember(stream.last, now_);
    for (const Replica& replica : stream.others) {
      const auto server = std::ranges::find(planned_, replica.server, &Server::name);
      if (server == planned_.end() || word_of(replica.server) == nullptr) continue;
      MemberView& member = out_.members[static_cast<std::size_t>(server - planned_.begin())];
      member.lag_known = true;
      member.lag_transactions = std::max(member.lag_transactions.value_or(0), replica.lag);
      member.lag_ms = std::max(member.lag_ms, heads.lacks_ms(stream.last - std::min(replica.lag, stream.last), now_));
    }
  }

  void copies(const std::string& name, const Stream& stream) {
    // A server that is not there may not even be counted: its member tells.
    const bool all_there = heard().size() == core().size();
    if (all_there && stream.others.size() + 1 < stream.wanted && stands("few " + name, kCopies))
      same_["fewer replicas than declared: a server has no room for another one, or its tags forbid it"].push_back(name);
    for (const Replica& replica : stream.others) {
      const bool there = word_of(replica.server) != nullptr;
      if ((replica.current && !replica.offline) || (planned_as(replica.server) != nullptr && !there)) continue;  // of a lost server its member tells
      if (!stands("behind " + name + " " + replica.server, kCopies)) continue;
      const std::string lag = replica.lag == 0 ? "" : ", " + more_than(replica.lag) + " behind";
      same_["its replica on " + place_of(replica.server) + (replica.offline ? " is offline" : " is not current") + lag + ": see that server's log" +
            (planned_as(replica.server) == nullptr ? ", or take it out: `nats stream cluster peer-remove`" : "")].push_back(name);
    }
  }

  void origins(const std::string& name, const Stream& stream) {
    for (const Origin& origin : stream.origins) {
      const auto leaf = std::ranges::find_if(planned_, [&](const Server& s) { return s.kind == Kind::kLeaf && s.domain == origin.domain; });
      if (leaf != planned_.end() && word_of(leaf->name) == nullptr) continue;  // its member tells
      const std::string of = origin.stream + (origin.domain.empty() ? "" : " of " + origin.domain);
      if (!origin.silent || *origin.silent >= kSilent) {
        // One that was never heard of may be made anew right now.
        if (stands("silent " + name + " " + of, origin.silent ? kHeld : kSilent))
          same_["has heard nothing of " + of + " for a minute: is that stream there? the daemon's log says what its keeper does"].push_back(name);
      } else if (origin.lag > kLag && stands("lags " + name + " " + of, kSilent)) {
        same_[more_than(origin.lag) + " messages behind " + of + ": does the link between them have the bandwidth?"].push_back(name);
      }
    }
  }

  const std::vector<Server>& planned_;
  History& history_;
  const std::vector<Word>& words_;
  const Instant now_;
  ResourceView out_;
  std::set<std::string> seen_;                            // what stands() was asked of
  std::map<std::string, std::vector<std::string>> same_;  // what is wrong -> streams
};

}  // namespace

std::vector<Word> believe(History& history, const std::vector<Word>& heard, Instant now) {
  if (!history.began) history.began = now;
  for (const Word& word : heard) {
    Word& newest = history.words[word.server];
    Word next = word;
    if (!word.answers && !newest.server.empty()) {
      next = newest;
      next.answers = false;
      next.id = word.id;
      next.version = word.version;
      next.routes = word.routes;
    }
    next.at = now;
    if (!next.routes) next.routes = newest.routes;
    if (!next.streams) next.streams = newest.streams;
    newest = std::move(next);
  }
  std::vector<Word> out;
  for (const auto& [server, word] : history.words)
    if (now - word.at < kHeld) out.push_back(word);
  return out;
}

ResourceView view_of(const std::vector<Server>& planned, History& history, const std::vector<Word>& words, Instant now) {
  return Drawing(planned, history, words, now).draw();
}

}  // namespace daarion::nats
