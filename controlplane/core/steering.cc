#include "controlplane/core/steering.h"

#include <algorithm>

#include "controlplane/core/plant.h"

namespace daarion {
namespace {

// A step-down picks the new leader itself: another try must leave the first time to show its result.
constexpr Duration kBetween = std::chrono::seconds(2);
// A leader that steps down hands over to any server that it heard in the last 3 s (three raft heartbeats): also to one that just died,
// and then the log waits 4 to 9 s for an election (measured: 4.3 s). So nobody steers while a voter is newly silent.
constexpr Duration kNewlySilent = std::chrono::seconds(1);
constexpr Duration kForgotten = std::chrono::seconds(5);

bool holds_lease(const State& state, const NodeId& node) {
  return std::ranges::any_of(state.leases, [&](const auto& entry) {
    const LeaseState& lease = entry.second;
    return (lease.has_holder() && lease.completed.node == node) ||
           (lease.phase == LeaseState::Phase::kDecided && lease.holder == node);
  });
}

/// Not by NATS: its primary is the meta group's leader, which is what is steered here, and would be for ever.
bool is_elected(const State& state, const TopologySpec& spec, const NodeId& node) {
  return std::ranges::any_of(state.observed, [&](const auto& entry) {
    const ResourceSpec* resource = spec.resource(entry.first);
    return entry.second.seen.primary == node && (resource == nullptr || resource->engine != "nats");
  });
}

/// Drained, or about to go: an operator wants it to be missed as little as possible.
bool rests(const State& state, const NodeId& node) {
  const MemberState* member = state.member(node);
  return member != nullptr && member->intent != MemberIntent::kActive;
}

}  // namespace

std::vector<StepDown> Steering::advance(const DeciderContext& c, const LeadersSeen& leaders, Instant now) {
  std::vector<StepDown> out;
  if (c.state.voters.voters.size() < 3) return out;
  // Live voters without a lease: where a leader may be; of them those that do not rest, and of these those that no engine elected.
  std::size_t free = 0, awake = 0, calm = 0;
  NodeId first;
  for (const VoterInstance& voter : c.state.voters.voters) {
    const Duration silent = voter.node == c.self ? Duration{} : c.peers.silent(voter.node, now, Instant{});
    if (silent > kNewlySilent && silent < kForgotten) {
      MARK(kSteersNot);
      return out;
    }
    if (silent > c.spec.lease.ttl) continue;
    if (first.empty()) first = voter.node;
    if (first != c.self) return out;
    if (holds_lease(c.state, voter.node)) continue;
    ++free;
    if (rests(c.state, voter.node)) continue;
    ++awake;
    if (!is_elected(c.state, c.spec, voter.node)) ++calm;
  }
  // A majority of servers must live, or a step-down would only make things worse.
  if (first != c.self || free == 0) return out;
  const auto steer = [&](const NodeId& leader, Instant& last, bool meta) {
    const bool off = holds_lease(c.state, leader) || (awake > 0 && rests(c.state, leader)) || (calm > 0 && is_elected(c.state, c.spec, leader));
    if (leader.empty() || !off || (last != Instant{} && now - last < kBetween)) return;
    MARK(kSteers);
    last = now;
    out.push_back({meta});
  };
  steer(leaders.log, last_log_, false);
  steer(leaders.meta, last_meta_, true);
  return out;
}

}  // namespace daarion
