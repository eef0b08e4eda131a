#include <algorithm>

#include "controlplane/core/agent.h"
#include "controlplane/core/sync_set.h"

namespace daarion {
namespace {

// A replica that does not stream for so long leaves the set. Until then commits may wait for it, and a failover needs to hear it; a restart of a
// replica takes less, and each change is an event.
constexpr Duration kAwayLong = std::chrono::seconds(5);

std::vector<NodeId> sorted(std::vector<NodeId> nodes) {
  std::ranges::sort(nodes);
  return nodes;
}

Version next_version(const LeaseState& lease) { return Version{lease.version.value + 1}; }

}  // namespace

/// Those of the declared that stream, or did until a moment ago, and that may be promoted.
std::vector<NodeId> Agent::present_followers(const AgentContext& c, const std::vector<NodeId>& declared, Instant now) {
  std::vector<NodeId> out;
  for (const NodeId& node : declared) {
    if (std::ranges::find(engine_.followers, node) != engine_.followers.end()) away_.erase(node);
    else away_.emplace(node, now);
    const MemberState* member = c.cluster.state.member(node);
    if (member && member->intent != MemberIntent::kActive) continue;
    const auto since = away_.find(node);
    const bool here = since == away_.end() || now < later(since->second, kAwayLong);
    if (here) out.push_back(node);
    if (here && since != away_.end()) next_ = std::min(next_, later(since->second, kAwayLong));
  }
  return out;
}

/// The writer's part of sync_set.h.
void Agent::keep_sync(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out) {
  const ResourceSpec* spec = c.cluster.spec.resource(resource_);
  const bool holds = lease && spec && spec->confirmations() > 0 && confirmed() && lease->completed.session == holder_.current()->session &&
                     is_us(c, lease->completed.node, lease->completed.instance);
  if (!holds) away_.clear();
  // Not beside a step of the driver: it may be about to change what is in force.
  if (!holds || op_ || !engine_known_ || engine_.state != EngineState::kPrimary) return;
  SyncView view;
  view.declared = {sorted(spec->confirmers_of(self_)), spec->confirmations()};
  if (lease->sync.session == lease->completed.session) view.logged = Confirmers{sorted(lease->sync.members), lease->sync.needed};
  view.in_force = {sorted(engine_.confirmers), engine_.confirmations};
  view.confirmed_all = engine_.confirmed_all;
  view.present = present_followers(c, view.declared.members, now);
  const Confirmers known = view.logged.value_or(view.declared);
  // A daemon of before may have left such an append behind; only beside an engine that has less than the log.
  if (std::exchange(sync_session_, lease->completed.session) != lease->completed.session) smaller_until_ = view.in_force == known ? Version{} : next_version(*lease);
  view.under_way = lease->version < smaller_until_;
  const SyncStep step = plan_sync(view);
  if (step.append && !is_within(known, *step.append)) smaller_until_ = next_version(*lease);
  if (step.append)
    out.appends.push_back({SyncSetChanged{lease->completed.session, step.append->members, step.append->needed}, lease->completed.epoch, {},
                           "each commit waits for " + text_of(*step.append), {}});
  if (!step.tell || out.drive || guard_.fencing || stopping_engine_ || c.stopping || now < retry_at_) return;
  std::vector<NodeId> in_order;  // as declared: the first that is there is waited for
  for (const NodeId& node : spec->members)
    if (std::ranges::binary_search(step.tell->members, node)) in_order.push_back(node);
  for (const NodeId& node : step.tell->members)
    if (!spec->has_member(node)) in_order.push_back(node);
  run(Verb::kSetSync, holder_.held(), {}, now, out);
  out.drive->confirmers = std::move(in_order);
  out.drive->confirmations = step.tell->needed;
}

}  // namespace daarion
