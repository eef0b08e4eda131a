// Which field number of the wire form each member has: one line per message of state.proto, read in both directions by
// streams/wire.h. A test holds it against the .proto and every member against loss.
#pragma once

#include "controlplane/core/state.h"
#include "streams/describe.h"

namespace daarion {

// ---- proto/daarion/v1/state.proto
template <class A>
void describe(A& a, Is<Regression> auto& x) { a(1, x.sequence); a(2, x.stored_ns); a(3, x.node); a(4, x.folded); a(5, x.head); }
template <class A>
void describe(A& a, Is<VoidVersion> auto& x) { a(1, x.aggregate.kind); a(2, x.aggregate.name); a(3, x.version); }
template <class A>
void describe(A& a, Is<LogState> auto& x) {
  a(1, x.version); a(2, x.log); a(3, x.cluster); a(4, x.parent); a(5, x.feature_level); a(7, x.regressions); a(8, x.voids); a(9, x.root);
  a(10, x.overrides);
}
template <class A>
void describe(A& a, Is<TopologyState> auto& x) { a(1, x.version); a(2, x.sequence); a(3, x.spec); a(4, x.file_hash); }
template <class A>
void describe(A& a, Is<MemberState> auto& x) {
  a(1, x.version); a(2, x.role); a(3, x.region); a(4, x.address); a(5, x.software); a(6, x.feature_level); a(7, x.instance);
  a(8, x.boot); a(9, x.returned_run); a(10, x.returned); a(11, x.intent); a(12, x.reachable); a(13, x.changed);
  a(14, x.changed_ns); a(15, x.unreachable);
}
template <class A>
void describe(A& a, Is<EndedSession> auto& x) { a(1, x.session); a(2, x.node); a(3, x.epoch); a(4, x.instance); a(5, x.event); }
template <class A>
void describe(A& a, Is<OpenDecision> auto& x) {
  a(1, x.epoch); a(2, x.node); a(3, x.session); a(4, x.kind); a(5, x.decided); a(6, x.event);
  a(7, x.instance);
}
template <class A>
void describe(A& a, Is<CompletedLease> auto& x) {
  a(1, x.epoch); a(2, x.node); a(3, x.session); a(4, x.decided); a(5, x.sequence); a(6, x.stored_ns);
  a(7, x.instance);
}
template <class A>
void describe(A& a, Is<SyncSet> auto& x) { a(1, x.session); a(2, x.members); a(3, x.needed); a(4, x.changed); }
template <class A>
void describe(A& a, Is<LeaseState> auto& x) {
  a(1, x.version); a(2, x.epoch); a(3, x.holder); a(4, x.session); a(5, x.kind); a(6, x.phase); a(7, x.decided);
  a(8, x.decided_event); a(9, x.open); a(10, x.completed); a(11, x.position); a(12, x.final_position); a(13, x.timelines);
  a(14, x.ended); a(15, x.promotions_ns); a(16, x.instance);
  a(17, x.sync); a(18, x.accepts_loss);
}
template <class A>
void describe(A& a, Is<ReplicaState> auto& x) {
  a(1, x.version); a(2, x.status); a(3, x.method); a(4, x.source); a(5, x.position); a(6, x.changed); a(7, x.changed_ns);
  a(8, x.asked); a(9, x.asked_event); a(10, x.asked_epoch); a(11, x.asked_restart);
}
template <class A>
void describe(A& a, Is<SwitchoverState> auto& x) {
  a(1, x.sequence); a(2, x.event); a(3, x.epoch); a(4, x.from); a(5, x.to); a(6, x.forced); a(7, x.allow_data_loss);
  a(8, x.valid_ms); a(9, x.actor); a(10, x.reason);
}
template <class A>
void describe(A& a, Is<FencedSession> auto& x) { a(1, x.session); a(2, x.sequence); }
template <class A>
void describe(A& a, Is<OperatorState> auto& x) {
  a(1, x.version); a(2, x.paused); a(3, x.resumed); a(6, x.switchover); a(7, x.fenced);
}
template <class A>
void describe(A& a, Is<RouteState> auto& x) { a(1, x.version); a(2, x.rules); a(3, x.provider); a(4, x.changed); }
template <class A>
void describe(A& a, Is<ServiceState> auto& x) { a(1, x.version); a(2, x.active); a(3, x.changed); a(4, x.changed_ns); a(5, x.event); }
template <class A>
void describe(A& a, Is<ServiceHealthState> auto& x) {
  a(1, x.version); a(2, x.health); a(3, x.check_broken); a(4, x.flapping); a(5, x.cause); a(6, x.changed); a(7, x.changed_ns); a(8, x.event);
}
template <class A>
void describe(A& a, Is<ObservedState> auto& x) {
  a(1, x.version); a(2, x.seen); a(3, x.observer); a(4, x.changed); a(5, x.changed_ns); a(6, x.event); a(7, x.moved); a(8, x.moved_ns);
}
template <class A>
void describe(A& a, Is<RequestState> auto& x) { a(1, x.request); a(2, x.event); a(3, x.sequence); }

}  // namespace daarion
