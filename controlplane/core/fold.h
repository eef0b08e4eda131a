// The fold: State x Event -> State. Total and deterministic: the same events give the same state, on every node, in every run.
//
// What the log can hold that no rule accepts (a stale completion, a session ended by a node or an instance that does not own it, an
// epoch that is not higher) changes nothing but State::ignored. Subjects make versions unique, so the log itself keeps the order.
//
// Worked example: PostgreSQL moves from node1 to node2.
//   seq 40  lease.postgres.1  PromotionDecided{epoch 1, to node1, session A}     phase decided,  epoch 1
//   seq 41  lease.postgres.2  PromotionCompleted{epoch 1, session A}             phase active,   completed.node node1
//   seq 57  lease.postgres.3  PromotionDecided{epoch 2, to node2, session B}     phase decided,  epoch 2, node1 still completed
//   seq 58  lease.postgres.4  PromotionCompleted{epoch 2, session B}             phase active,   completed.node node2
//   seq 61  lease.postgres.5  LeaseReleased{epoch 1, session A, host_lost}       A in `ended`; the rest as it was
#pragma once

#include <vector>

#include "controlplane/core/state.h"

namespace daarion {

/// Folds one event in place. Appends to `touched` the keys whose value may have changed (with repeats; not for telemetry).
/// Pre: event.sequence == state.applied + 1, which the reader of the log guarantees; telemetry events are not folded here.
void fold_into(State& state, const LogEvent& event, std::vector<StateKey>& touched);

/// The same as a function: for tests, replays and anything that does not store.
State fold(State state, const LogEvent& event);

}  // namespace daarion
