#include "controlplane/drivers/postgres/ancestry.h"

#include <algorithm>

namespace daarion::postgres {

Judgement judge(const Lineage& own, const Lineage& upstream, const std::function<bool(std::uint64_t, Lsn)>& went_past) {
  if (own.identity != upstream.identity)
    return {Kinship::kOtherSystem, "its system identifier is " + upstream.identity + ", ours is " + own.identity +
                                       ": data of another cluster; move ours away to have a copy made"};
  if (own.timeline > upstream.timeline && !upstream.writable)
    return {Kinship::kBehind,
            "it is a standby on " + timeline_text(upstream.timeline) + ", we are on " + timeline_text(own.timeline)};
  // The newest timeline that both have had: each line of ours must be theirs.
  for (const auto& [timeline, opening] : own.openings) {
    const auto theirs = upstream.openings.find(timeline);
    if (timeline > own.timeline || theirs == upstream.openings.end() || theirs->second.session == opening.session) continue;
    // Whose is the newer one, nothing here tells: ours are given up only for those of one that writes.
    if (timeline == upstream.timeline && !upstream.writable)
      return {Kinship::kBehind, "it does not write, and " + timeline_text(timeline) + " was opened by " + opening.node.value + " here and by " + theirs->second.node.value + " there"};
    return {
        timeline == upstream.timeline ? Kinship::kSameNumber : Kinship::kParted,
        timeline_text(timeline) + " was opened by " + opening.node.value + " here and by " + theirs->second.node.value + " there"};
  }
  for (const HistoryLine& line : own.history) {
    const auto theirs = std::ranges::find(upstream.history, line.timeline, &HistoryLine::timeline);
    if (theirs != upstream.history.end() && theirs->end != line.end && line.timeline != own.timeline)
      return {
          own.timeline == upstream.timeline ? Kinship::kSameNumber : Kinship::kParted,
          timeline_text(line.timeline) + " ended at " + lsn_text(line.end) + " here and at " + lsn_text(theirs->end) + " there"};
  }
  if (own.timeline > upstream.timeline)
    return {Kinship::kParted, "we are on " + timeline_text(own.timeline) + ", it writes " + timeline_text(upstream.timeline)};
  if (own.timeline == upstream.timeline) {
    if (upstream.writable && own.end > upstream.end)
      return {Kinship::kSameNumber,
              "we are at " + lsn_text(own.end) + ", it writes at " + lsn_text(upstream.end) + " on the same timeline"};
    return {};
  }
  const auto left = std::ranges::find(upstream.history, own.timeline, &HistoryLine::timeline);
  if (left == upstream.history.end())
    return {Kinship::kParted, timeline_text(own.timeline) + " is not in the history of its " + timeline_text(upstream.timeline)};
  if (own.end > left->end || went_past(own.timeline, left->end))
    return {Kinship::kParted, timeline_text(own.timeline) + " was left at " + lsn_text(left->end) + ", and ours went on"};
  return {};
}

}  // namespace daarion::postgres
