// The change of the voter set: when one set may follow another, and which one should. The rules are those of tests/model/voters.pml.
//
// THE ARGUMENT. Of two sets that differ by one voter, any majority of the one and any of the other have a voter in common, and a voter has
// one promise. So a set and the one before it are safe beside each other, however late anybody learns of the newer one: a holder may count
// under either. What must be over when a set is made is every lease that rests on a set before the one it changes. Therefore a change needs
// the words of a majority of the set that it changes, and the word of a voter says, of the time before it:
//   named     for as long as any promise of its can last it has answered under this set alone, and was not blank;
//   unpaused  in that time none of its promises was without an end;
//   records   and which epochs it promised, at most: none above the log that it had folded.
// Who held by a majority of the set before has one of these voters in it, and its acks for that set have run out.
//
// THE WORD AND THE APPEND are not one step, and need not be: a word speaks of what is past, and nothing that happens after it makes it untrue. A
// promise made after it, under whatever epoch and with or without an end, is made under the present set, which is next to the one to come; a
// decision only raises the log's epoch. What can come between is another history, where the log loses its end. So the event carries what it
// rests on, and the fold takes it only where that still stands (`objection`), whoever appended it and however long it was on its way:
//   base      the present set is the one that it changes: not a set that was lost, or that another change has left. Beside this the version in
//             the subject lets one change of a set be stored in one history;
//   words     of a majority of that set, and no epoch promised in them is above the log: who joins folds the log up to this event, and so
//             refuses what is older than anything that was written;
//   next      two changes of one set, of which the log lost the first when it had been acted on, must not part either. Of an odd set no two
//             can: majorities of either have a voter in common. A set of even number, which is in passing, names the one change that may
//             follow it; naming another one is a change too, of nobody.
// TWO CHANGES AT ONCE must not be lost: whoever had not noticed would hold by a set that is not next to the one that the log shows again. So a set
// is changed only when its own event is past what a power cut takes from the log's servers (`synced`).
//
// WHICH ONE. What is declared, each voter by the installation that is heard. A voter that is lost leaves before its node's new installation joins:
// {1,2,3 old} -> {1,2} -> {1,2,3 new} never needs more than the two that live, where {1,2,3 old,3 new} would need all three. One that
// lives leaves after the one that takes its place: {1,2,3} -> {1,2,3,4} -> {1,2,4} tolerates a loss throughout.
//
// WORKED EXAMPLE. The disk of node3 was replaced; ttl 2 s, drift 1 %, beat 250 ms.
//   0.0  node3 is heard with a voter record of its own, instance 9; the set (event 3) has its instance 3, which is heard no more
//   2.6  instance 3 has been silent for longer than a promise lasts. node1 and node2 have named set 3 for hours: their beats give the word
//   2.8  node1: VoterSetChanged{1, 2; base 3; next: node3 instance 9; words of 1, 2}
//   4.9  node1 and node2 have named the set of two for 2.02 s; node3 has too, and answers nobody: each gives its word for it
// 153.0  the set of two is on the disks of the log's servers. node1: VoterSetChanged{1, 2, 3 (instance 9); words of 1, 2}: any two of
//        three are a majority again
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/decider.h"
#include "controlplane/core/event.h"
#include "controlplane/core/state.h"
#include "controlplane/core/wait.h"

namespace daarion {

/// The voters with this one, or without it if it is one of them; by node id.
std::vector<VoterInstance> toggled(std::vector<VoterInstance> voters, const VoterInstance& one);

/// Why such a change does not follow in this state; empty: it does. The fold's own rule.
std::string objection(const State& state, const VoterSetChanged& change);

/// The next change of the set, if one is wanted: it may be appended, or waits for something.
struct SetPlan {
  std::optional<VoterSetChanged> change;
  std::string reason;
  std::optional<Wait> wait;
  bool in_place = false;  // nothing to do until the set, what is declared, or the installations that were heard are others
};
/// `synced`: from when on the present set's event cannot be lost. Pre: there is a set, and the log is folded to the head heard in beats.
SetPlan plan_voters(const DeciderContext& context, Instant now, Instant synced);

}  // namespace daarion
