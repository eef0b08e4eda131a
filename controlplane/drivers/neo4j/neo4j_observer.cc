#include "controlplane/drivers/neo4j/neo4j_observer.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "controlplane/drivers/neo4j/client.h"

namespace daarion {
namespace neo4j {
namespace {

constexpr Duration kLook = std::chrono::milliseconds(900);  // the core's looks are a second apart
constexpr std::size_t kMostProblems = 20;                   // in one event; a person reads no more

Instant steady_now() { return Instant{std::chrono::steady_clock::now().time_since_epoch()}; }
std::int64_t wall_now() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

class Neo4jObserver : public Observer {
 public:
  Neo4jObserver(NodeId self, Declared declared, const std::vector<Target>& targets, std::optional<DumpPlan> plan, const std::string& folder)
      : self_(std::move(self)), declared_(std::move(declared)), members_(targets), configured_(plan.has_value()), dumped_(!declared_.cluster) {
    const NodeId& one = declared_.cores.front();
    if (plan && self_ == one) dumper_ = std::make_unique<Dumper>(std::move(*plan), folder, std::vector<std::string>{"DAARION_NODE=" + one.value});
  }

  void told(const std::map<NodeId, MemberIntent>& intents) override {
    resting_ = intents.contains(self_);
    retired_.clear();
    for (const auto& [node, intent] : intents)
      if (intent == MemberIntent::kRetired) retired_.insert(node);
  }
  ResourceView observe() override {
    std::vector<Word> words = members_.look(kLook);
    const Instant now = steady_now();
    words = believe(history_, std::move(words), now);
    const Declared remaining = without_retired(words);
    const Picture picture = picture_of(remaining, words, history_, now);
    remember_heads(history_, picture, words, now);
    // Known from then on, also while the instance is stopped for its dump: what an Enterprise cluster has is backed up by its own online means.
    if (std::ranges::any_of(words, &Word::reached)) dumped_ = !declared_.cluster || picture.community;
    std::optional<DumpSeen> dump;
    if (configured_ && dumped_) dump = look_at_dumps();
    return view_of(remaining, picture, dump);
  }
  bool await_word(Duration limit) override {
    std::this_thread::sleep_for(limit);
    return false;
  }
  Result<std::string> act(const ObservedAction& action) override {
    if (!action.repair.empty()) return fail(Remedy::kStepDown, action.repair + ": it is not due any more");
    return fail(Remedy::kStepDown, "Neo4j's rafts elect their leaders, and have no word for a switchover; a leader that is stopped hands over by itself");
  }

 private:
  DumpSeen look_at_dumps() {
    if (!dumper_) return {};
    const std::int64_t now = wall_now();
    dumper_->tick(!resting_, now);
    return {.known = true, .runs = dumper_->runs(), .record = dumper_->record(), .trouble = dumper_->trouble(now)};
  }
  /// Without the retired that do not answer any more: what they say concerns nobody.
  Declared without_retired(const std::vector<Word>& words) const {
    Declared out = declared_;
    const auto gone = [&](const NodeId& node) {
      const auto word = std::ranges::find(words, node, &Word::node);
      return retired_.contains(node) && (word == words.end() || !word->reached);
    };
    if (!std::ranges::all_of(out.cores, gone)) std::erase_if(out.cores, gone);
    std::erase_if(out.read_replicas, gone);
    return out;
  }

  const NodeId self_;
  const Declared declared_;
  Members members_;
  const bool configured_;
  std::unique_ptr<Dumper> dumper_;
  bool dumped_, resting_ = false;
  std::set<NodeId> retired_;
  History history_;
};

}  // namespace

ResourceView view_of(const Declared& declared, const Picture& picture, const std::optional<DumpSeen>& dump) {
  ResourceView out;
  out.primary = picture.primary;
  out.elected_by = picture.elected_by;
  out.members = picture.members;
  out.source = picture.community || !declared.cluster ? "http" : "raft";
  for (const Problem& p : picture.problems) {
    if (out.problems.size() < kMostProblems) out.problems.push_back(p.text);
    else if (out.problems.size() == kMostProblems) out.problems.push_back("and more: SHOW DATABASES, SHOW SERVERS");
  }
  if (!dump) return out;
  const NodeId& one = declared.cores.front();
  MemberView member;
  member.seen.node = one;
  member.seen.role = kDumpRole;
  if (dump->known) {
    member.seen.state = EngineState::kStandby;
    member.seen.health = dump->trouble;
    if (dump->record.succeeded > 0) member.seen.identity = utc_text(dump->record.succeeded);
    if (dump->runs)
      for (MemberView& m : out.members)
        if (m.seen.node == one && m.seen.state == EngineState::kUnresponsive) m.seen.health = "stopped for the dump that began at " +
            utc_text(dump->record.begun);
  }
  out.members.push_back(std::move(member));
  return out;
}

}  // namespace neo4j

Result<std::unique_ptr<Observer>> make_neo4j_observer(const ObserverConfig& config) {
  using namespace neo4j;
  Declared declared;
  declared.cluster = config.mode != "single";
  declared.max_lag = std::chrono::milliseconds(config.resource.max_lag.time_ms);
  const auto secondary = config.declared.find("read_replicas");
  std::set<std::string> names;
  if (secondary != config.declared.end()) {
    std::istringstream words(secondary->second);
    for (std::string name; words >> name;) names.insert(name);
  }
  const char *user = std::getenv("NEO4J_USER"), *password = std::getenv("NEO4J_PASSWORD");
  std::vector<Target> targets;
  for (const PeerAddress& peer : config.peers) {
    (names.contains(peer.node.value) ? declared.read_replicas : declared.cores).push_back(peer.node);
    declared.addresses[peer.node] = peer.host;
    targets.push_back({.node = peer.node, .host = peer.host, .port = peer.port, .user = user == nullptr || *user == '\0' ? "neo4j" : user,
                       .password = password == nullptr ? "" : password});
  }
  if (declared.cores.empty()) return fail(Remedy::kFixInput, "observe " + config.resource.id.value + ": it has no nodes");
  return std::unique_ptr<Observer>(
      std::make_unique<Neo4jObserver>(config.self, std::move(declared), targets, dump_plan(config.declared), config.state_folder + "/" +
          config.resource.id.value));
}

}  // namespace daarion
