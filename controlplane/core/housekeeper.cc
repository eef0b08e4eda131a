#include "controlplane/core/housekeeper.h"

#include <algorithm>
#include <utility>

#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"
#include "controlplane/core/routing.h"
#include "controlplane/core/voter_set.h"

namespace daarion {
namespace {

// Between one voter's turn and the next: many appends long, since nobody is waiting for these events.
constexpr Duration kTurn = std::chrono::milliseconds(100);
// Before the first append to an empty log: the node must have had time to hear that somebody else made it.
constexpr Duration kSettle = std::chrono::milliseconds(200);

AppendWish wish(Payload payload, std::string reason) { return {std::move(payload), {}, {}, std::move(reason), {}}; }

}  // namespace

std::vector<NodeId> suspects(const DeciderContext& c, Instant now) {
  std::vector<NodeId> out;
  for (const NodeSpec& node : c.spec.nodes)
    if (node.id != c.self && c.peers.silent(node.id, now, c.start) > c.spec.lease.ttl) out.push_back(node.id);
  return out;
}

/// Declared voters that are heard act in the order of their ids, each kTurn after the one before it; other nodes, where they may, last.
bool Housekeeper::my_turn(const DeciderContext& c, const std::string& what, Instant now, bool voters_only) {
  const auto [since, fresh] = since_.try_emplace(what, now);
  int rank = 0;
  bool mine = false;
  std::vector<NodeId> voters = c.spec.voters;
  std::ranges::sort(voters);
  for (const NodeId& voter : voters) {
    if (voter == c.self) {
      mine = true;
      break;
    }
    if (c.peers.silent(voter, now, Instant{}) <= c.spec.lease.ttl) ++rank;
  }
  if (!mine && voters_only) return false;
  const Instant turn = later(since->second, kSettle + kTurn * rank);
  if (now < turn) next_ = std::min(next_, turn);
  return now >= turn;
}

std::vector<MemberWish> Housekeeper::advance(const DeciderContext& c, const LogHead& log, bool blank, Instant now, const LogId& recorded) {
  next_ = kNever;
  std::vector<MemberWish> out;
  if (c.state.log.log.empty() || c.state.topology.version.value == 0 || c.state.voters.id.empty()) {
    bootstrap(c, log, recorded, now, out);
  } else {
    wait_.reset();
  }
  if (c.state.log.log.empty() || !c.caught_up) return out;
  tell_loss(c, now, out);
  announce(c, blank, now, out);
  if (c.state.voters.has(c.self, c.instance)) {
    watch(c, now, out);
    follow_voters(c, now, out);
    follow_topology(c, now, out);
    follow_routes(c, now, out);
  } else {
    set_wait_.reset();
  }
  return out;
}

/// Another node may have said it already: of at least these events, after what this node had in common with the log.
void Housekeeper::tell_loss(const DeciderContext& c, Instant now, std::vector<MemberWish>& out) {
  if (!lost_) return;
  const bool told = std::ranges::any_of(c.state.log.regressions, [&](const Regression& r) {
    return r.sequence > lost_->head && r.head <= lost_->head && r.folded >= lost_->folded && std::ranges::find(told_before_, r) == told_before_.end();
  });
  if (told || lost_->log != root_of(c.state.log)) {
    lost_.reset();
    since_.erase("loss");
    return;
  }
  if (!my_turn(c, "loss", now, false)) return;
  MARK(kReportsLoss);
  out.push_back({{}, wish(LogRegressed{lost_->folded, lost_->head, lost_->known}, "the log has lost events that this node had folded")});
}

void Housekeeper::bootstrap(const DeciderContext& c, const LogHead& log, const LogId& recorded, Instant now, std::vector<MemberWish>& out) {
  if (c.state.log.log.empty()) {
    if (!log.exists) {
      wait_ = Wait{{}, "the log CLUSTER_LOG: a majority of core nats-servers", "daarionctl nodes", c.start};
      return;
    }
    if (log.head.value != 0) {
      wait_ = Wait{{}, "the first event of CLUSTER_LOG, which has " + std::to_string(log.head.value) + ", to be read", "daarionctl nodes", c.start};
      return;
    }
    if (!recorded.empty()) {
      wait_ = Wait{{}, "the events of log " + to_text(recorded) + ": CLUSTER_LOG is empty; restore it from a backup that has the present voter set", "daarionctl nodes", c.start};
      return;
    }
    wait_.reset();
    if (c.state.applied.value == 0 && my_turn(c, "log", now))
      out.push_back({{}, wish(LogCreated{id_.fresh_log, c.spec.cluster, {}}, "the log is empty")});
    return;
  }
  if (!c.caught_up) return;
  if (c.state.topology.version.value == 0) {
    if (my_turn(c, "topology", now))
      out.push_back({{}, wish(TopologyChanged{c.spec, id_.topology_hash}, "the cluster's first topology")});
    return;
  }
  // The first voter set: every declared voter, by the instance that it was heard with.
  VoterSetChanged set;
  std::string missing;
  for (const NodeId& voter : c.spec.voters) {
    const Peer* peer = c.peers.find(voter);
    const bool heard = peer != nullptr && now - peer->heard <= c.spec.lease.ttl && !peer->beat.instance.empty();
    if (heard)
      set.voters.push_back({voter, peer->beat.instance});
    else
      missing += (missing.empty() ? "" : ", ") + voter.value;
  }
  if (!missing.empty()) {
    if (!wait_ || !wait_->what.ends_with(missing))
      wait_ = Wait{{}, "every declared voter to be heard once; silent: " + missing, "daarionctl nodes", now};
    return;
  }
  wait_.reset();
  std::ranges::sort(set.voters, {}, &VoterInstance::node);
  if (my_turn(c, "voters", now)) out.push_back({{}, wish(std::move(set), "the cluster's first voter set")});
}

void Housekeeper::announce(const DeciderContext& c, bool blank, Instant now, std::vector<MemberWish>& out) {
  const MemberState* me = c.state.member(id_.self);
  if (me == nullptr || me->version.value == 0) {
    out.push_back({id_.self, wish(MemberJoined{id_.role, id_.region, id_.address, id_.software, id_.instance, id_.boot, kFeatureLevel},
                                  "first start in this log")});
    return;
  }
  const bool rebooted = me->boot != id_.boot;
  const bool replaced = me->instance != id_.instance;
  said_ |= !rebooted && !replaced;
  // It was said in this run, and another instance said so after it: two hosts live under this id. Each says it once, or they would
  // answer each other in the log for ever.
  const bool doubled = said_ && replaced;
  if (!doubled) {
    doubled_since_ = {};
  } else {
    MARK(kTwoHosts);
    if (doubled_since_ == Instant{}) doubled_since_ = now;
    wait_ = Wait{{}, "the end of another host that runs as " + id_.self.value, "daarionctl nodes", doubled_since_};
  }
  if (me->reachable && !blank && (doubled || (!rebooted && !replaced))) return;
  const std::string why = replaced ? "with another voter record: a replaced disk" : rebooted ? "after a reboot" : "heard again";
  out.push_back({id_.self, wish(MemberReturned{id_.instance, id_.boot, id_.run, id_.software, kFeatureLevel}, why)});
}

/// A member that a majority of voters suspects is unreachable.
void Housekeeper::watch(const DeciderContext& c, Instant now, std::vector<MemberWish>& out) {
  for (const NodeId& node : suspects(c, now)) {
    const MemberState* member = c.state.member(node);
    if (member == nullptr || !member->reachable || member->version.value == 0) {
      since_.erase("silent " + node.value);
      continue;
    }
    std::vector<NodeId> observers{c.self};
    for (const VoterInstance& voter : c.state.voters.voters) {
      const Peer* peer = c.peers.find(voter.node);
      if (voter.node == c.self || peer == nullptr || now - peer->heard > c.spec.lease.ttl) continue;
      if (std::ranges::find(peer->beat.suspects, node) != peer->beat.suspects.end()) observers.push_back(voter.node);
    }
    if (observers.size() < c.state.voters.majority() || !my_turn(c, "silent " + node.value, now)) continue;
    const auto silent = static_cast<std::uint64_t>(to_ms(c.peers.silent(node, now, c.start)));
    MARK(kUnreachable);
    out.push_back({node, wish(MemberUnreachable{silent, std::move(observers)}, "silent for " + std::to_string(silent) + " ms")});
  }
  std::erase_if(since_, [&](const auto& due) {
    return due.first.starts_with("silent ") && c.peers.silent(NodeId(due.first.substr(7)), now, c.start) <= c.spec.lease.ttl;
  });
}

/// The voter set follows what is declared and which installations live, a voter at a time.
void Housekeeper::follow_voters(const DeciderContext& c, Instant now, std::vector<MemberWish>& out) {
  if (std::exchange(set_seen_, c.state.voters.id) != c.state.voters.id) set_since_ = now;
  if (in_place_ && in_place_->set == c.state.voters.id && in_place_->installations == c.peers.installations() && in_place_->declared == c.spec.voters) return;
  SetPlan plan = plan_voters(c, now, later(set_since_, id_.log_sync));
  in_place_.reset();
  if (plan.in_place) in_place_ = {c.state.voters.id, c.spec.voters, c.peers.installations()};
  if (plan.wait)
    take_up(set_wait_, std::move(*plan.wait));
  else
    set_wait_.reset();
  const std::string what = plan.change || plan.wait ? "voter set after " + to_text(c.state.voters.id) : std::string{};
  std::erase_if(since_, [&](const auto& due) { return due.first.starts_with("voter set ") && due.first != what; });
  if (!plan.change || !my_turn(c, what, now, false)) return;  // those that are no longer declared last
  MARK(kChangesSet);
  out.push_back({{}, wish(std::move(*plan.change), std::move(plan.reason))});
}

/// A changed cluster.yaml becomes the log's topology once every voter that is heard has it, and a majority does: one that is lost for good, and no
/// longer declared, could otherwise never be taken out of the set.
void Housekeeper::follow_topology(const DeciderContext& c, Instant now, std::vector<MemberWish>& out) {
  if (id_.topology_hash == c.state.topology.file_hash) {
    since_.erase("new topology");
    return;
  }
  std::uint32_t have = 0;
  for (const VoterInstance& voter : c.state.voters.voters) {
    const Peer* peer = c.peers.find(voter.node);
    const bool own = voter.node == c.self;
    if (!own && (peer == nullptr || now - peer->heard > c.spec.lease.ttl)) continue;
    if (!own && peer->beat.topology_hash != id_.topology_hash) return;
    ++have;
  }
  if (have >= c.state.voters.majority() && my_turn(c, "new topology", now))
    out.push_back({{}, wish(TopologyChanged{c.spec, id_.topology_hash}, "every voter that is heard has this cluster.yaml")});
}

/// The table that the log's topology and members ask for becomes the log's.
void Housekeeper::follow_routes(const DeciderContext& c, Instant now, std::vector<MemberWish>& out) {
  const auto table = c.state.routes.find("table");
  const bool known = table != c.state.routes.end();
  RoutesSeen seen{c.state.topology.sequence, c.state.topology.file_hash, retired_in(c.state), known ? table->second.version : Version{},
                  known ? table->second.changed : Sequence{}};
  if (routes_seen_ != seen) {
    routes_due_ = plan_of(c.state).table;
    routes_differ_ = routes_due_ != (known ? table->second.rules : std::vector<RouteRule>{});
    routes_seen_ = std::move(seen);
    since_.erase("routes");
  }
  if (!routes_differ_ || !my_turn(c, "routes", now)) return;
  out.push_back({{}, wish(RouteTableChanged{routes_due_}, "the topology's rules and members ask for this route table")});
}

}  // namespace daarion
