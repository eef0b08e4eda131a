// Whose word the commits of a writer wait for, while replicas come and go: nobody is promoted who could lack an acknowledged write.
//
// The log keeps a set L and a number k for the session that writes. What holds at every instant, whoever stops when:
//
//   each acknowledged write is held by at least k members of L.                                                                       (1)
//
// A decider that hears |L| - k + 1 members hears one of those k, so whoever is furthest of the heard has every acknowledged write (decide.h).
// The engine has a set N and a number of its own, which it was told by this node. (1) follows where N is within L, its number is not below k,
// and what was acknowledged before that was so has reached k of N. So the order of two writers, the log and the engine, is all there is to it:
//
//   a replica leaves     the engine first; once k of those that are left hold all that was acknowledged before, the log
//   a replica comes      the log first; once that is folded here, the engine
//   k rises / falls      as a replica leaves / comes
//
// An append whose answer was lost may be stored late. That of a smaller set was made once the engine had that set, and while it may still come the engine
// takes nobody more: the set that the log has is said once more, and when that stands in the log, whatever was under way has lost its version.
//
// A session that has said nothing yet has the declared set: that is what an engine is opened with, and nobody may be told of a smaller one before (1)
// holds for it. The append goes to the lease's own aggregate: who decides without having read it has its decision refused.
//
// Worked example, three members, sync, node1 writes. L = {node2, node3}, k = 1: two replicas must be heard to promote one. node3 ends; after 5 s
// node1's engine waits for node2 alone, and once node2 holds all that was acknowledged before, the log says L = {node2}. Now node1 ends, and
// node2 alone is enough. Had node1 ended a second after node3, nobody could have told whether node3 had acknowledged something that node2 lacks: that
// waits for node3, or for a person. When node3 streams again, the log says L = {node2, node3} before node1's engine takes its word.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion {

/// Any `needed` of `members`.
struct Confirmers {
  std::vector<NodeId> members;  // sorted
  std::uint32_t needed = 0;
  bool operator==(const Confirmers&) const = default;
};

/// Whether all that is acknowledged by `a` is by `b`.
bool is_within(const Confirmers& a, const Confirmers& b);

/// "1 of node2, node3".
std::string text_of(const Confirmers& c);

struct SyncView {
  Confirmers declared;
  std::optional<Confirmers> logged;  // of this session; nothing: it has the declared ones
  Confirmers in_force;               // what the engine has
  bool under_way = false;            // an append of a smaller set may still be stored
  bool confirmed_all = false;        // as many of them as are needed hold all that was acknowledged before they were in force
  std::vector<NodeId> present;       // of the declared: those that stream and may be promoted, sorted
};

/// At most one of the two.
struct SyncStep {
  std::optional<Confirmers> tell;    // the engine
  std::optional<Confirmers> append;  // to the log
};

/// The next step, or none: then all three are the same and whoever is present is among them. Pure. Never fewer members than are needed: commits
/// wait then.
SyncStep plan_sync(const SyncView& view);

}  // namespace daarion
