#include "controlplane/drivers/redis/lineage.h"

namespace daarion::redis {
namespace {

std::string timeline_text(std::uint64_t timeline) { return "timeline " + std::to_string(timeline); }

}  // namespace

Judgement judge(const Lineage& own, const Lineage& upstream) {
  if (!upstream.writable) return {Kinship::kNotYet, "it is a replica itself"};
  if (upstream.identity.empty())
    return {Kinship::kNotYet, "it is open for writing and does not say whose data it has: empty, or emptied a moment ago"};
  if (!own.identity.empty() && own.identity != upstream.identity)
    return {Kinship::kOtherSystem, "its data are of " + upstream.identity + ", ours of " + own.identity + ": move ours away to have a copy made"};
  if (own.timeline == 0) return {};
  if (own.timeline > upstream.timeline)
    return {Kinship::kNotYet, "it writes " + timeline_text(upstream.timeline) + ", we are on " + timeline_text(own.timeline)};
  for (const auto& [timeline, opening] : own.openings) {
    const auto theirs = upstream.openings.find(timeline);
    if (timeline > own.timeline || theirs == upstream.openings.end() || theirs->second.session == opening.session) continue;
    return {Kinship::kParted, timeline_text(timeline) + " was opened by " + opening.node.value + " here and by " + theirs->second.node.value + " there"};
  }
  if (own.timeline == upstream.timeline) {
    if (own.end > upstream.end)
      return {Kinship::kWentBack, "it writes at " + std::to_string(upstream.end.value) + " and we have " + timeline_text(own.timeline) + " up to " +
                                      std::to_string(own.end.value) + ": it lost data that it had"};
    return {};
  }
  if (!upstream.openings.contains(own.timeline))
    return {Kinship::kParted, timeline_text(own.timeline) + " is not in the history of its " + timeline_text(upstream.timeline)};
  const auto& [next, opening] = *upstream.openings.upper_bound(own.timeline);
  if (own.end > opening.start)
    return {Kinship::kParted, timeline_text(own.timeline) + " was left for " + std::to_string(next) + " at " + std::to_string(opening.start.value) +
                                  ", and ours went on to " + std::to_string(own.end.value)};
  return {};
}

}  // namespace daarion::redis
