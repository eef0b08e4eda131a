// The quorum lease: who may write. This is the dangerous part; it is small, and tests/model proves its rules.
//
// THE ARGUMENT. A voter has, per resource, one promise: to one claim (epoch, session), until a moment. A holder may write only
// while a majority of voters has promised to exactly its claim, counted from when it SENT the beat that they acked. Two writers
// would need two majorities, so one voter with two promises at once; a voter never has that. Decisions in the log only order
// epochs: they may be late, lost, doubled or wrong, and still no two write. A decision is a nomination, the promises are the
// election.
//
// THE RULES, by the names that tests/model/lease.pml removes one at a time:
//   ack         another claim is acked only when the promise is over: its end has passed, or it is the same session, or the
//               session's own node said that it ended.
//   instance    and only if the instance of the node said so that the promise was made to: a replaced disk, or a second host set up
//               under the same node id, does not have the session, and does not know that another host writes under it. The
//               decision names the instance, and the fold takes completion and end from no other (of a session that was decided again
//               for a new installation, which took it up from its guard, from that one too).
//   floor       and only if its epoch is higher than any promised.
//   fold check  and not lower than the log folded here. The same claim is acked whatever the log says, unless the host was
//               rebooted or the voter set changed since the promise.
//   record      a promise is on disk before its first ack. A restarted daemon counts it as made now.
//   blank       after a reboot the clock says nothing: the voter is silent until the machine has been up for the longest
//               length that it promised,
//   returned    and until it has folded a MemberReturned that it appended in this boot: its fold is then not stale.
//   send time   valid_until is the majority-newest send time of an acked beat, plus the length; it never moves back.
//   set kept    a voter's set never goes back within a log: a fold that is behind would show it an earlier one.
//   set named   an ack counts only under the set that it names; how a set changes is in voter_set.h.
//   session     a session is taken once. Released, fenced, or with its guard or host dead, it never writes again.
//   earned      an epoch is written under, and completed, only after a majority acked a claim of that very epoch: a session
//               that raised its epoch keeps its time but not yet the new number; its endless promise stays endless.
//   pause       a voter that folds Paused records its number and its promise has no end; the holder drops its deadline when a
//               majority names that number. A beat that names a later Resumed ends it, nothing less, and it is named only when the
//               guard has shown the deadline that the holder armed then. A voter that was blank
//               owes the newest completed holder in the log an endless promise, under the epoch that it was last raised to, unless
//               no Paused stood at that holder's decision or came since; and while any newer decision for another session is open it stays silent, for then
//               the log does not show who holds. (That Paused no longer stands is not enough: the holder may not have folded Resumed yet.)
//
// TIME. ttl is one length. The holder counts ttl * (1 - drift) from the send, the voter length * (1 + drift) from the ack, so
// for clocks that differ by no more than drift: valid_until <= end of promise. The guard begins to fence fence_budget before.
//
// WORKED EXAMPLE, ttl 2 s, drift 1 %, budget 0.5 s, voters 1 2 3, node 1 holds (epoch 7, A):
//   0.000  node 1 sends beat 400             acks of 1 and 2 arrive; valid_until = 0.000 + 1.980, guard's deadline 1.480
//   0.001  voter 2 acks beat 400             its promise ends at 0.001 + 2.020 = 2.021; voter 3 likewise
//   0.100  node 1 loses power
//   2.021  voters 2 and 3 vote: promise over, highest epoch 7
//   2.022  a decider appends PromotionDecided{epoch 8, node 2, session B}
//   2.024  node 2 folds it, claims (8, B) in a beat; its own voter and voter 3 record the promise, then ack
//   2.028  node 2's guard confirms session and deadline; only then the engine is promoted
// Had node 1 only been cut off: its guard begins to fence at 1.480, and its engine is gone by 1.980, before anybody votes.
#pragma once

#include "controlplane/core/topology_spec.h"
#include "controlplane/core/types.h"

namespace daarion {

/// How long a holder may count on an ack: less than the promise, by the drift of its clock.
constexpr Duration holder_length(Duration length, std::uint32_t drift_ppm) {
  return length - length / 1'000'000 * drift_ppm;
}

/// How long a voter keeps a promise of this length: more, by the drift of its clock.
constexpr Duration promise_length(Duration length, std::uint32_t drift_ppm) {
  return length + length / 1'000'000 * drift_ppm;
}

}  // namespace daarion
