#include "controlplane/drivers/qdrant/picture.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

namespace daarion::qdrant {
namespace {

constexpr std::array<const char*, 12> kStates = {"Active",     "Dead",       "Partial",             "Initializing", "Listener",       "PartialSnapshot",
                                                 "Recovery",   "Resharding", "ReshardingScaleDown", "ActiveRead",   "ManualRecovery", "unknown"};

std::string count_of(std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

/// The peers whose word is one: leader and term named by a majority of those that the newest of them lists. Of several such groups the largest:
/// a peer that forgot its cluster is the majority of a cluster of one.
std::vector<const PeerView*> agreeing(const std::vector<PeerView>& views) {
  std::map<std::pair<std::uint64_t, PeerId>, std::vector<const PeerView*>> by_leader;  // (term, leader)
  for (const PeerView& v : views)
    if (v.reached && v.clustered && v.leader && v.consensus.empty() && v.peers.contains(v.id) && v.peers.contains(*v.leader))
      by_leader[{v.term, *v.leader}].push_back(&v);
  std::vector<const PeerView*> best;
  for (auto& [leader, who] : by_leader) {
    std::ranges::stable_sort(who, [](const PeerView* a, const PeerView* b) { return std::tuple(a->whole, a->commit) > std::tuple(b->whole, b->commit); });
    std::set<PeerId> ids;
    for (const PeerView* v : who)
      if (who.front()->peers.contains(v->id)) ids.insert(v->id);
    if (ids.size() > who.front()->peers.size() / 2 && who.size() >= best.size()) best = who;
  }
  return best;
}

class Drawing {
 public:
  Drawing(const std::vector<PeerView>& views, const std::map<NodeId, std::string>& addresses) : views_(views), addresses_(addresses) {}

  Picture draw() {
    for (const PeerView& v : views_) say_of_member(v);
    const std::vector<const PeerView*> agreed = agreeing(views_);
    const PeerView* base = agreed.empty() ? nullptr : agreed.front();
    if (!base) {
      // Still shown, as the most of it that anybody has; nothing is done by it.
      for (const PeerView& v : views_)
        if (v.reached && v.clustered && (!base || std::tuple(v.peers.size(), v.commit) > std::tuple(base->peers.size(), base->commit))) base = &v;
      if (base) no_consensus(*base);
      if (!base) say("nobody_answers", "no Qdrant of it answers");
    }
    if (!base) return out_;
    out_.settled = !agreed.empty() && base->whole;
    if (!agreed.empty() && !base->whole) say("unread", base->node.value
        + ": not every collection could be read in time; nothing is repaired by half a picture");
    out_.by = base->node;
    out_.leader = base->leader.value_or(0);
    out_.term = base->term;
    out_.commit = base->commit;
    out_.collections = base->collections;
    name_peers(*base);
    for (const PeerView& v : views_)
      if (&v != base && v.reached && v.clustered) compare(*base, v);
    return out_;
  }

 private:
  void say(std::string code, std::string text, std::string collection = {}, std::optional<ShardId> shard = {}) {
    out_.problems.push_back({std::move(code), std::move(collection), shard, std::move(text)});
  }
  void say_of_member(const PeerView& v) {
    if (!v.reached) return say("no_answer", v.node.value + ": " + (v.error.empty() ? "no answer" : v.error));
    if (!v.clustered) return say("not_clustered", v.node.value + ": distributed mode is off; start it with QDRANT__CLUSTER__ENABLED=true");
    if (!v.error.empty()) say("unread", v.node.value + ": " + v.error);
    if (!v.consensus.empty()) say("consensus_stopped", v.node.value + ": its consensus has stopped: " + v.consensus);
  }
  void no_consensus(const PeerView& base) {
    std::size_t alone = 0;
    for (const PeerView& v : views_) alone += v.reached && v.clustered && v.leader ? 1 : 0;
    say("no_consensus", count_of(base.peers.size(), "peer") + " by the word of " + base.node.value + ", and no majority of them names one leader (" +
                            std::to_string(alone) + " name any); nothing can be repaired until one does");
  }
  NodeId node_at(const std::string& uri) const {
    const std::string host = host_of(uri);
    for (const auto& [node, address] : addresses_)
      if (address == host) return node;
    return {};
  }
  void name_peers(const PeerView& base) {
    for (const auto& [id, uri] : base.peers) {
      PeerSeen& peer = out_.peers[id];
      peer.node = node_at(uri);
      for (const PeerView& v : views_)
        if (v.reached && v.id == id) peer.answers = true, peer.node = v.node;
    }
    for (auto& [id, peer] : out_.peers) {
      const auto other = [&](const PeerView& v) { return v.reached && v.clustered && v.node == peer.node && v.id != id; };
      peer.former = !peer.answers && !peer.node.empty() && std::ranges::any_of(views_, other);
      if (peer.node.empty()) say("stranger", "peer " + std::to_string(id) + " at " + base.peers.at(id)
          + " is on none of its declared nodes: nothing is copied to it or from it");
      if (peer.former)
        say("former_peer", "peer " + std::to_string(id) + " is what " + peer.node.value
            + " was before its storage was lost; once its shards are elsewhere: DELETE /cluster/peer/" +
                               std::to_string(id));
    }
  }
  void compare(const PeerView& base, const PeerView& v) {
    if (!base.peers.contains(v.id))
      return say("not_in_cluster", v.node.value + ": its Qdrant (peer " + std::to_string(v.id) + ") is not in the cluster; it lists " +
                                       count_of(v.peers.size(), "peer") + ". Empty its storage and start it with --bootstrap");
    if (v.peers.size() != base.peers.size() || !std::ranges::equal(v.peers, base.peers, {}, [](const auto& p) { return p.first; },
        [](const auto& p) { return p.first; }))
      return say("views_differ", v.node.value + " lists " + count_of(v.peers.size(), "peer") + ", " + base.node.value + " lists "
          + std::to_string(base.peers.size()));
    if (v.commit != base.commit || !v.whole || !base.whole) return;  // one is behind for a moment: what differs is not yet a contradiction
    for (const auto& [name, seen] : base.collections) {
      const auto its = v.collections.find(name);
      if (its == v.collections.end()) say("views_differ", v.node.value + " has no collection " + name + ", " + base.node.value
          + " has, at the same commit", name);
      else if (its->second.shards != seen.shards) say("views_differ", v.node.value + " and " + base.node.value + " say different things of the shards of "
          + name + " at the same commit", name);
    }
  }

  const std::vector<PeerView>& views_;
  const std::map<NodeId, std::string>& addresses_;
  Picture out_;
};

}  // namespace

const char* text_of(ReplicaState state) { return kStates[static_cast<std::size_t>(state)]; }

ReplicaState replica_state(const std::string& text) {
  const auto at = std::ranges::find(kStates, text);
  return at == kStates.end() ? ReplicaState::kUnknown : static_cast<ReplicaState>(at - kStates.begin());
}

bool is_whole(ReplicaState state) { return state == ReplicaState::kActive || state == ReplicaState::kReshardingScaleDown; }

std::optional<PeerId> Picture::peer_of(const NodeId& node) const {
  for (const auto& [id, peer] : peers)
    if (peer.node == node && !peer.former) return id;
  return std::nullopt;
}

std::string Picture::name_of(PeerId peer) const {
  const auto at = peers.find(peer);
  return at == peers.end() || at->second.node.empty() || at->second.former ? "peer " + std::to_string(peer) : at->second.node.value;
}

Picture picture_of(const std::vector<PeerView>& views, const std::map<NodeId, std::string>& addresses) { return Drawing(views, addresses).draw(); }

std::string host_of(const std::string& uri) {
  std::string rest = uri.substr(uri.find("://") == std::string::npos ? 0 : uri.find("://") + 3);
  rest = rest.substr(0, rest.find('/'));
  if (rest.starts_with('[')) return rest.substr(1, rest.find(']') - 1);
  return rest.substr(0, rest.find(':'));
}

}  // namespace daarion::qdrant
