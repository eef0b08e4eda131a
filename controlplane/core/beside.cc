#include "controlplane/core/beside.h"

#include <utility>

namespace daarion {
namespace {

constexpr Duration kAgain = std::chrono::milliseconds(100);  // after a lost or unknown append

}  // namespace

Contact contact_of(const NodeCore& core, Instant now) {
  const VoterSet& set = core.state().voters;
  const NodeId& self = core.identity().self;
  const LeaseTimers& timers = core.spec().lease;
  Contact out{.caught_up = core.caught_up(), .voter = set.has(self, core.identity().instance)};
  for (const VoterInstance& voter : set.voters)
    if (voter.node < self && core.peers().silent(voter.node, now, core.started()) <= timers.ttl) ++out.rank;
  out.alone = core.peers().majority_silent(set, now, core.started()) > timers.ttl - timers.fence_budget;
  return out;
}

void KeptContact::take(const Contact& contact) {
  static_cast<Contact&>(*this) = contact;
  caught_up |= std::exchange(was_caught_up_, contact.caught_up);
  ever_caught_up |= contact.caught_up;
}

std::optional<Append> Appends::make(Payload payload, const ResourceId& resource, std::string reason, const EventId& cause, const State& state, Instant now, Instant& next) {
  const Aggregate aggregate = aggregate_of(payload, self_, resource);
  const Version version{state.version_of(aggregate).value + 1};
  if (const auto at = under_way_.find(aggregate); at != under_way_.end() && at->second.version >= version) {
    if (!at->second.done) return std::nullopt;
    if (now < at->second.again) {
      next = std::min(next, at->second.again);
      return std::nullopt;
    }
  }
  under_way_[aggregate] = {.id = next_id_, .version = version};
  Append out;
  out.request = {next_id_++, std::move(payload), aggregate, version, resource, {}, "node:" + self_.value, std::move(reason), cause};
  return out;
}

void Appends::ended(const AppendResult& result, Instant now) {
  for (auto& [aggregate, one] : under_way_) {
    if (one.id != result.id) continue;
    one.done = true;
    one.again = now + kAgain;
  }
}

}  // namespace daarion
