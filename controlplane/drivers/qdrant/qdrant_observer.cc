#include "controlplane/drivers/qdrant/qdrant_observer.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "controlplane/drivers/qdrant/client.h"

namespace daarion {
namespace qdrant {
namespace {

using Clock = std::chrono::steady_clock;

constexpr Duration kLook = std::chrono::milliseconds(900);  // the core's looks are a second apart
constexpr Duration kAct = std::chrono::seconds(4);          // its actions may take five
constexpr Duration kTold = std::chrono::seconds(10);        // as long as what follows a step is told with it
constexpr std::size_t kMostProblems = 20;                   // in one event; a person reads no more

Instant now() { return Instant{Clock::now().time_since_epoch()}; }

class QdrantObserver : public Observer {
 public:
  QdrantObserver(Declared declared, const std::vector<Target>& targets, std::map<NodeId, std::string> addresses)
      : declared_(std::move(declared)), members_(targets, std::move(addresses)) {}

  void told(const std::map<NodeId, MemberIntent>& intents) override {
    declared_.retired.clear();
    declared_.resting.clear();
    for (const auto& [node, intent] : intents)
      if (intent != MemberIntent::kActive) (intent == MemberIntent::kRetired ? declared_.retired : declared_.resting).insert(node);
  }
  ResourceView observe() override {
    picture_ = members_.look(kLook);
    remember(history_, declared_, picture_, now());
    plan_ = plan(declared_, picture_, history_, now());
    std::erase_if(did_, [](const auto& step) { return now() - step.first > kTold; });
    std::string did;
    for (const auto& [at, step] : did_) did += (did.empty() ? "" : "; ") + step;
    ResourceView view = view_of(remaining(), members_.words(), picture_, plan_, history_, now(), did);
    // A count that was seen is never taken back: what is not settled has none of its own.
    view.election = election_ = std::max(election_, view.election);
    return view;
  }
  bool await_word(Duration limit) override {
    std::this_thread::sleep_for(limit);
    return false;
  }
  Result<std::string> act(const ObservedAction& action) override {
    if (action.repair.empty()) return fail(Remedy::kStepDown,
        "Qdrant's raft elects its leader, and has no word for a switchover; reads and writes go to any peer");
    const auto step = std::ranges::find(plan_.steps, action.repair, &Step::what);
    if (step == plan_.steps.end()) return fail(Remedy::kStepDown, action.repair + ": it is not due any more");
    auto done = members_.run(*step, picture_, kAct);
    tried(history_, *step, now(), done ? "" : done.error().message);
    if (!done) return tl::unexpected(done.error());
    did_.emplace_back(now(), step->what + " (" + step->reason + ")");
    return did_.back().second;
  }

 private:
  /// Without the retired whose peers are out of the cluster: what they say concerns nobody any more.
  std::vector<NodeId> remaining() {
    std::vector<NodeId> out;
    for (const NodeId& node : declared_.nodes) {
      if (!declared_.retired.contains(node) || picture_.peer_of(node)) out.push_back(node);
      else std::erase_if(plan_.problems, [&](const Problem& p) { return p.text.starts_with(node.value + ":"); });
    }
    return out;
  }

  Declared declared_;
  Members members_;
  History history_;
  Picture picture_;
  Plan plan_;
  std::vector<std::pair<Instant, std::string>> did_;  // two steps may be done before the log has the first
  std::uint64_t election_ = 0;
};

std::uint32_t number_in(const std::map<std::string, std::string>& declared, const char* key) {
  const auto at = declared.find(key);
  return at == declared.end() ? 0 : static_cast<std::uint32_t>(std::strtoul(at->second.c_str(), nullptr, 10));
}

/// What of this peer's shards is not whole.
std::string broken_on(const Picture& p, PeerId peer) {
  std::string out;
  std::size_t more = 0;
  for (const auto& [name, c] : p.collections)
    for (const auto& [shard, replicas] : c.shards)
      if (const auto at = replicas.find(peer); at != replicas.end() && !is_whole(at->second)) {
        if (out.size() > 120) ++more;
        else out += (out.empty() ? "" : ", ") + name + "/" + std::to_string(shard) + " " + text_of(at->second);
      }
  return more == 0 ? out : out + " and " + std::to_string(more) + " more";
}

MemberView member_of(const NodeId& node, const PeerView* word, const Picture& p, const History& history, Instant at) {
  MemberView out;
  out.seen.node = node;
  out.seen.role = "peer";
  out.seen.state = EngineState::kUnresponsive;
  out.seen.health = word == nullptr || word->error.empty() ? "no answer" : word->error;
  if (word == nullptr || !word->reached) return out;
  out.seen.state = EngineState::kStandby;
  out.seen.version = word->version;
  out.seen.health = word->error;
  if (!word->clustered) {
    out.seen.health = "distributed mode is off";
    return out;
  }
  out.seen.identity = std::to_string(word->id);
  out.position.lsn = {word->commit};
  if (!word->consensus.empty()) out.seen.health = "its consensus has stopped: " + word->consensus;
  else if (p.settled && !p.peers.contains(word->id)) out.seen.health = "not in the cluster";
  else if (out.seen.health.empty()) out.seen.health = broken_on(p, word->id);
  if (p.settled && p.leader == word->id) {
    out.seen.role = "leader";
    out.seen.state = EngineState::kPrimary;
  } else if (p.settled && p.peers.contains(word->id)) {
    out.lag_known = true;
    out.lag_transactions = p.commit > word->commit ? p.commit - word->commit : 0;
    out.lag_ms = history.commits.lacks_ms(word->commit, at);
  }
  return out;
}

}  // namespace

ResourceView view_of(const std::vector<NodeId>& nodes, const std::vector<PeerView>& words, const Picture& picture, const Plan& plan, const History& history, Instant now,
                     const std::string& did) {
  ResourceView out;
  out.elected_by = "Qdrant's raft";
  out.source = did.empty() ? "raft" : did;
  if (picture.settled) {
    out.election = picture.term;
    if (const auto leader = picture.peers.find(picture.leader); leader != picture.peers.end()) out.primary = leader->second.node;
  }
  for (const NodeId& node : nodes) {
    const auto word = std::ranges::find(words, node, &PeerView::node);
    out.members.push_back(member_of(node, word == words.end() ? nullptr : &*word, picture, history, now));
  }
  for (const Problem& p : plan.problems) {
    if (p.code == "no_answer") continue;  // its member's health says so
    if (out.problems.size() < kMostProblems) out.problems.push_back(p.text);
    else if (out.problems.size() == kMostProblems) out.problems.push_back("and more: GET /collections/{name}/cluster on " + picture.by.value);
  }
  for (const Step& s : plan.steps) out.repairs.push_back({.name = s.what, .what = s.what + ": " + s.reason, .patience = {}});
  return out;
}

}  // namespace qdrant

Result<std::unique_ptr<Observer>> make_qdrant_observer(const ObserverConfig& config) {
  using namespace qdrant;
  if (config.peers.empty()) return fail(Remedy::kFixInput, "observe " + config.resource.id.value + ": it has no nodes");
  const char *key = std::getenv("QDRANT_API_KEY"), *clustered = std::getenv("QDRANT_CLUSTER_ENABLED");
  if (clustered != nullptr && (std::string(clustered) == "false" || std::string(clustered) == "0"))
    return fail(Remedy::kFixInput, "observe " + config.resource.id.value + ": QDRANT_CLUSTER_ENABLED is " + clustered + ", and its block declares shards on " +
                                       std::to_string(config.peers.size()) + " nodes; start Qdrant in distributed mode and set it true, or take the block out");
  Declared declared{.shards = number_in(config.declared, "shards"), .replication_factor = number_in(config.declared, "replication_factor")};
  std::vector<Target> targets;
  std::map<NodeId, std::string> addresses;
  for (const PeerAddress& peer : config.peers) {
    declared.nodes.push_back(peer.node);
    targets.push_back({.node = peer.node, .host = peer.host, .port = peer.port, .api_key = key == nullptr ? "" : key});
    addresses[peer.node] = peer.host;
  }
  return std::unique_ptr<Observer>(std::make_unique<QdrantObserver>(std::move(declared), targets, std::move(addresses)));
}

}  // namespace daarion
