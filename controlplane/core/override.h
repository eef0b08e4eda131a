// The override: a person's word in place of a majority that is lost for good. What the fold makes of OverrideGranted, and when it refuses it.
//
// THE ARGUMENT. Every other change of the voter set rests on the words of a majority of it (voter_set.h). With a majority of the voters gone, disks
// and all, those words do not exist any more, and no rule can tell voters that are gone from voters that are cut off: only a person can,
// who looked. He says which of the present voters are left, and how the others were made sure to be off. If that is true when the event is stored,
// no two write:
//   no new lease   the others promise nothing any more, and those that are left are fewer than a majority of the set before. So nobody gets or
//                  keeps a lease under that set from then on;
//   none that runs what the others promised before they were off, a holder that still lives counts for one length at most. A voter that folds
//                  the event is silent for the longest length that it knows (1 + drift), and only then takes up the set;
//   none without   a promise without an end outlives that. What the lost part of the log said of pauses nobody knows, so the word covers, beside the lost
//   an end         voters, every member of a leased resource that is not heard (`off`). The event is refused while the log shows a session that may
//                  have one and that no word covers: it was paused, or there was a pause since;
//   no old epoch   the others may have promised epochs that nobody knows who is left: what was decided in the part of the log that was lost with
//                  them. Every resource's epoch is raised by far more than such a part can hold, and joiners fold the log up to their own set.
// If it is not true, the others go on as before, as a cluster of their own, until one of them hears this one. So the log goes by another name from
// this event on, and beats say after how many overrides: whoever hears that his own log goes on elsewhere, after more of them, stops acking, and
// what he held is fenced within a lease, also if it was paused. The damage is bounded by the cut; nothing bounds it better, since the others cannot know of the word.
//
// WHY NOT A NEW STREAM. The log goes on in its stream, with all that it had: sequences, `why`, replay and every fold stay as they are
// (docs/adr/0008).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/core/state.h"

namespace daarion {

/// Added to the epoch of every resource: more than are decided in what is lost with a majority, were it weeks of it.
inline constexpr std::uint64_t kOverrideEpochs = 1000;

/// The name of the log from an OverrideGranted on.
LogId log_after(const EventId& override_granted);

/// The first name of the log that a state, a beat or a voter's record tells of.
LogId root_of(const auto& log) { return log.root.empty() ? log.log : log.root; }

/// Whether `a` tells of the log of `b` after one more override, or after another one that has been granted in its place: of two that were granted
/// apart, that with the higher id goes on.
bool goes_on_from(const auto& a, const auto& b) {
  return !a.log.empty() && root_of(a) == root_of(b) && std::pair(a.overrides, a.log) > std::pair(b.overrides, b.log);
}

/// A session that may have been promised without an end, and of which nobody said that its engine is off.
struct EndlessSession {
  NodeId node;
  InstanceId instance;  // empty: any of the node
  SessionId session;
};
std::vector<EndlessSession> endless_sessions(const State& state, const ResourceId& resource);

/// Whether the word says of the session too that its engine is off: it is of an installation that is no voter any more, or of a node that is named.
bool covers(const OverrideGranted& granted, const VoterSet& before, const EndlessSession& session);

/// Why the override does not follow in this state; empty: it does. The fold's own rule.
std::string objection(const State& state, const OverrideGranted& granted);

}  // namespace daarion
