#include "controlplane/core/override.h"

#include <algorithm>

namespace daarion {
LogId log_after(const EventId& override_granted) { return {override_granted.hi, override_granted.lo}; }

std::vector<EndlessSession> endless_sessions(const State& state, const ResourceId& resource) {
  std::vector<EndlessSession> out;
  const LeaseState* lease = state.lease(resource);
  if (lease == nullptr || !state.may_be_endless(resource)) return out;
  const CompletedLease& holder = lease->completed;
  if (lease->has_holder() && !state.fenced(resource, holder.session)) out.push_back({holder.node, holder.instance, holder.session});
  for (const OpenDecision& d : lease->open)
    if (d.epoch > holder.epoch && d.session != holder.session && !state.fenced(resource, d.session)) out.push_back({d.node, d.instance, d.session});
  return out;
}

bool covers(const OverrideGranted& granted, const VoterSet& before, const EndlessSession& session) {
  const auto is_it = [&](const VoterInstance& v) { return v.node == session.node && (session.instance.empty() || v.instance == session.instance); };
  const bool lost_voter = std::ranges::any_of(before.voters, is_it) && std::ranges::none_of(granted.voters, is_it);
  return lost_voter || std::ranges::find(granted.off, session.node) != granted.off.end();
}

std::string objection(const State& state, const OverrideGranted& granted) {
  const VoterSet& set = state.voters;
  if (granted.parent != state.log.log || granted.parent.empty()) return "it overrides another log than this one";
  if (granted.base != set.id) return "it is about another voter set than the present one";
  if (granted.voters.empty()) return "it leaves no voter";
  if (granted.others_off.empty()) return "it does not say how the others were made sure to be off";
  for (auto v = granted.voters.begin(); v != granted.voters.end(); ++v) {
    if (!set.has(v->node, v->instance)) return v->node.value + " is no voter in this installation";
    if (std::find(granted.voters.begin(), v, *v) != v) return "it names " + v->node.value + " twice";
  }
  if (granted.voters.size() >= set.majority()) return "those that are left are a majority: they change the set by themselves, with nobody's word";
  for (const auto& [resource, lease] : state.leases)
    for (const EndlessSession& endless : endless_sessions(state, resource))
      if (!covers(granted, set, endless))
        return resource.value + " was paused, and what was promised to " + endless.node.value + " may have no end: it needs word that " + endless.node.value + " is off (daarionctl resume first, if it is not)";
  return {};
}

}  // namespace daarion
