// Which field number of the wire form each member has: one line per message of event.proto and beat.proto, read in both directions by
// streams/wire.h. A test holds it against the .proto and every member against loss.
#pragma once

#include <concepts>
#include <type_traits>

#include "controlplane/core/event.h"
#include "controlplane/core/messages.h"

namespace daarion {

/// T or const T.
template <class X, class T>
concept Is = std::same_as<std::remove_const_t<X>, T>;

// ---- proto/daarion/v1/event.proto
template <class A>
void describe(A& a, Is<LogCreated> auto& x) { a(1, x.log); a(2, x.cluster); a(3, x.parent); }
template <class A>
void describe(A& a, Is<LogRegressed> auto& x) { a(1, x.folded); a(2, x.head); a(3, x.known_lost); }
template <class A>
void describe(A& a, Is<FeatureLevelRaised> auto& x) { a(1, x.level); }
template <class A>
void describe(A& a, Is<VoterInstance> auto& x) { a(1, x.node); a(2, x.instance); }
template <class A>
void describe(A& a, Is<PromisedEpoch> auto& x) { a(1, x.resource); a(2, x.epoch); }
template <class A>
void describe(A& a, Is<SetWord> auto& x) { a(1, x.voter); a(2, x.instance); a(3, x.promised); }
template <class A>
void describe(A& a, Is<VoterSetChanged> auto& x) { a(1, x.voters); a(2, x.base); a(3, x.next); a(4, x.words); }
template <class A>
void describe(A& a, Is<TopologyChanged> auto& x) { a(1, x.spec); a(2, x.file_hash); }
template <class A>
void describe(A& a, Is<NodeSpec> auto& x) { a(1, x.id); a(2, x.address); a(3, x.region); a(4, x.role); }
template <class A>
void describe(A& a, Is<LeaseTimers> auto& x) { a(1, x.ttl); a(2, x.beat); a(3, x.fence_budget); a(4, x.drift_ppm); }
template <class A>
void describe(A& a, Is<LagLimits> auto& x) { a(1, x.bytes); a(2, x.time_ms); a(3, x.staleness_ms); }
template <class A>
void describe(A& a, Is<ResourceTags> auto& x) { a(1, x.nofailover); a(2, x.noloadbalance); a(3, x.priority); }
template <class A>
void describe(A& a, Is<ResourceSpec> auto& x) {
  a(1, x.id); a(2, x.engine); a(3, x.leased); a(4, x.declared_primary); a(5, x.members); a(6, x.sync); a(7, x.port);
  a(8, x.data_dir); a(9, x.runner); a(10, x.max_lag); a(11, x.tags);
}
template <class A>
void describe(A& a, Is<RouteRule> auto& x) {
  a(1, x.name); a(2, x.subjects); a(3, x.cls); a(4, x.max_age_s); a(5, x.max_bytes); a(6, x.service); a(7, x.replicas); a(8, x.consumers);
  a(9, x.capability);
}
template <class A>
void describe(A& a, Is<ServiceCheck> auto& x) {
  a(1, x.kind); a(2, x.target); a(3, x.status); a(4, x.text); a(5, x.expect); a(6, x.interval); a(7, x.timeout); a(8, x.rise); a(9, x.fall);
}
template <class A>
void describe(A& a, Is<ServicePlace> auto& x) { a(1, x.node); a(2, x.role); }
template <class A>
void describe(A& a, Is<ServiceSpec> auto& x) {
  a(1, x.name); a(2, x.port); a(3, x.check); a(4, x.on); a(5, x.needs); a(6, x.start); a(7, x.stop); a(8, x.hook_limit);
}
template <class A>
void describe(A& a, Is<TopologySpec> auto& x) {
  a(1, x.cluster); a(2, x.nodes); a(3, x.voters); a(4, x.witness); a(5, x.lease); a(6, x.max_promotions);
  a(7, x.promotion_window_s); a(8, x.report_interval_ms); a(9, x.resources); a(10, x.routes); a(11, x.capabilities);
  a(12, x.services);
}
template <class A>
void describe(A& a, Is<MemberJoined> auto& x) {
  a(1, x.role); a(2, x.region); a(3, x.address); a(4, x.software); a(5, x.instance); a(6, x.boot); a(7, x.feature_level);
}
template <class A>
void describe(A& a, Is<MemberUnreachable> auto& x) { a(1, x.silent_ms); a(2, x.observers); }
template <class A>
void describe(A& a, Is<MemberReturned> auto& x) {
  a(1, x.instance); a(2, x.boot); a(3, x.run); a(4, x.software); a(5, x.feature_level);
}
template <class A>
void describe(A& a, Is<MemberIntentChanged> auto& x) { a(1, x.intent); }
template <class A>
void describe(A& a, Is<Position> auto& x) { a(1, x.timeline); a(2, x.lsn); a(3, x.identity); }
template <class A>
void describe(A& a, Is<PromotionDecided> auto& x) {
  a(1, x.to); a(2, x.session); a(3, x.kind); a(4, x.loss_bytes); a(5, x.evidence); a(6, x.verdicts);
  a(7, x.instance);
}
template <class A>
void describe(A& a, Is<PromotionCompleted> auto& x) {
  a(1, x.session); a(2, x.position); a(3, x.claimed_ms); a(4, x.promoted_ms); a(5, x.instance);
}
template <class A>
void describe(A& a, Is<PromotionFailed> auto& x) { a(1, x.session); a(2, x.instance); }
template <class A>
void describe(A& a, Is<SyncSetChanged> auto& x) { a(1, x.session); a(2, x.members); a(3, x.needed); }
template <class A>
void describe(A& a, Is<LeaseReleased> auto& x) {
  a(1, x.session); a(2, x.cause); a(3, x.final_position); a(4, x.position); a(5, x.instance);
}
template <class A>
void describe(A& a, Is<EngineReport> auto& x) {
  a(1, x.resource); a(2, x.state); a(3, x.incarnation); a(4, x.position); a(5, x.timeline_start); a(6, x.opened);
  a(7, x.replayed); a(8, x.upstream); a(9, x.streaming); a(10, x.diverged); a(11, x.contact_age_ms); a(12, x.age_ms);
  a(13, x.version); a(14, x.health); a(15, x.inherited_from); a(16, x.inherited);
  a(17, x.blocked); a(18, x.lacks); a(19, x.problems); a(20, x.opened_epoch);
}
template <class A>
void describe(A& a, Is<VoteEvidence> auto& x) { a(1, x.voter); a(2, x.highest); a(3, x.over_ms); a(4, x.age_ms); }
template <class A>
void describe(A& a, Is<CandidateEvidence> auto& x) {
  a(1, x.node); a(2, x.intent); a(3, x.tags); a(4, x.beat_age_ms); a(5, x.heard); a(6, x.session); a(7, x.engine); a(8, x.lag_ms);
  a(9, x.instance); a(10, x.deaf);
}
template <class A>
void describe(A& a, Is<TimelineStart> auto& x) { a(1, x.timeline); a(2, x.lsn); a(3, x.session); }
template <class A>
void describe(A& a, Is<Evidence> auto& x) {
  a(1, x.resource); a(2, x.kind); a(3, x.decider); a(4, x.software); a(5, x.folded); a(6, x.log_epoch); a(7, x.last_holder);
  a(8, x.last_position); a(9, x.final_position); a(10, x.last_position_age_ms); a(11, x.write_rate); a(12, x.timelines);
  a(13, x.voters); a(14, x.votes); a(15, x.wanted); a(16, x.allow_data_loss); a(17, x.limits); a(18, x.unreachable_ms);
  a(19, x.paused); a(20, x.promotions); a(21, x.max_promotions); a(22, x.declared_primary); a(23, x.candidates);
  a(24, x.end_unknown); a(25, x.sync); a(26, x.settled_ms);
}
template <class A>
void describe(A& a, Is<SyncEvidence> auto& x) { a(1, x.writer); a(2, x.members); a(3, x.needed); }
template <class A>
void describe(A& a, Is<Verdict> auto& x) { a(1, x.node); a(2, x.eligible); a(3, x.rule); a(4, x.detail); }
template <class A>
void describe(A& a, Is<ReplicaProvisioned> auto& x) { a(1, x.method); a(2, x.source); a(3, x.position); }
template <class A>
void describe(A& a, Is<ReplicaRejoined> auto& x) { a(1, x.method); a(2, x.source); a(3, x.position); }
template <class A>
void describe(A& a, Is<ReplicaDiverged> auto& x) { a(1, x.source); a(2, x.position); }
template <class A>
void describe(A&, Is<ReplicaRemoved> auto&) {}
template <class A>
void describe(A& a, Is<SlotDropped> auto& x) { a(1, x.slot); }
template <class A>
void describe(A& a, Is<RejoinRequested> auto& x) { a(1, x.request); }
template <class A>
void describe(A& a, Is<RestartRequested> auto& x) { a(1, x.request); }
template <class A>
void describe(A& a, Is<ReplicaRestarted> auto& x) { a(1, x.position); }
template <class A>
void describe(A& a, Is<RouteTableChanged> auto& x) { a(1, x.rules); }
template <class A>
void describe(A& a, Is<ProviderEvidence> auto& x) { a(1, x.provider); a(2, x.usable); a(3, x.known); a(4, x.cause); }
template <class A>
void describe(A& a, Is<CapabilityMoved> auto& x) { a(1, x.capability); a(2, x.provider); a(3, x.evidence); }
template <class A>
void describe(A& a, Is<ServiceHealthChanged> auto& x) { a(1, x.health); a(2, x.check_broken); a(3, x.flapping); a(4, x.cause); }
template <class A>
void describe(A& a, Is<ServiceEvidence> auto& x) {
  a(1, x.node); a(2, x.declared); a(3, x.active); a(4, x.health); a(5, x.check_broken); a(6, x.cold); a(7, x.reachable); a(8, x.intent);
  a(9, x.cause);
}
template <class A>
void describe(A& a, Is<ServiceMoved> auto& x) { a(1, x.active); a(2, x.evidence); }
template <class A>
void describe(A& a, Is<MemberSeen> auto& x) { a(1, x.node); a(2, x.role); a(3, x.state); a(4, x.identity); a(5, x.version); a(6, x.health); }
template <class A>
void describe(A& a, Is<ResourceObserved> auto& x) {
  a(1, x.primary); a(2, x.elected_by); a(3, x.election); a(4, x.members); a(5, x.problems); a(6, x.source);
}
template <class A>
void describe(A&, Is<Paused> auto&) {}
template <class A>
void describe(A&, Is<Resumed> auto&) {}
template <class A>
void describe(A& a, Is<SwitchoverRequested> auto& x) {
  a(1, x.from); a(2, x.to); a(3, x.forced); a(4, x.allow_data_loss); a(5, x.valid_ms); a(6, x.request);
}
template <class A>
void describe(A& a, Is<FencingConfirmed> auto& x) { a(1, x.session); a(2, x.how); }
template <class A>
void describe(A& a, Is<OverrideGranted> auto& x) { a(1, x.parent); a(2, x.voters); a(3, x.others_off); a(4, x.base); a(5, x.off); a(6, x.request); }
template <class A>
void describe(A& a, Is<ReplicaLagReported> auto& x) {
  a(1, x.node); a(2, x.primary); a(3, x.position); a(4, x.lag_bytes); a(5, x.lag_ms); a(6, x.state);
}
template <class A>
void describe(A& a, Is<HealthReported> auto& x) { a(1, x.node); a(2, x.what); a(3, x.healthy); a(4, x.cause); }

// ---- proto/daarion/v1/beat.proto
template <class A>
void describe(A& a, Is<Claim> auto& x) { a(1, x.resource); a(2, x.epoch); a(3, x.session); a(4, x.length); }
template <class A>
void describe(A& a, Is<SessionNote> auto& x) { a(1, x.resource); a(2, x.session); }
template <class A>
void describe(A& a, Is<ResumeNote> auto& x) { a(1, x.resource); a(2, x.resumed); }
template <class A>
void describe(A& a, Is<PromiseNote> auto& x) { a(1, x.resource); a(2, x.node); a(3, x.session); a(4, x.instance); a(5, x.endless); }
template <class A>
void describe(A& a, Is<WaitNote> auto& x) { a(1, x.resource); a(2, x.what); a(3, x.unblock); a(4, x.for_ms); }
template <class A>
void describe(A& a, Is<Beat> auto& x) {
  a(1, x.node); a(2, x.run); a(3, x.counter); a(4, x.instance); a(5, x.boot); a(6, x.log); a(7, x.voter_set);
  a(8, x.feature_level); a(9, x.claims); a(10, x.next); a(11, x.ended); a(12, x.resumed); a(13, x.promises); a(14, x.applied);
  a(15, x.digest); a(16, x.chain); a(17, x.suspects); a(18, x.engines); a(19, x.topology_hash); a(20, x.region);
  a(21, x.ready_for); a(22, x.promised); a(23, x.root); a(24, x.overrides); a(25, x.sent_ms);
  a(26, x.waits); a(27, x.asks); a(28, x.answers);
}
/// In acks as in the state.
template <class A>
void describe(A& a, Is<VoterSet> auto& x) { a(1, x.id); a(2, x.sequence); a(3, x.voters); a(4, x.next); }
template <class A>
void describe(A& a, Is<AckedClaim> auto& x) { a(1, x.resource); a(2, x.epoch); a(3, x.session); a(4, x.length); a(5, x.paused); }
template <class A>
void describe(A& a, Is<RefusedClaim> auto& x) { a(1, x.resource); a(2, x.epoch); a(3, x.session); a(4, x.promised); }
template <class A>
void describe(A& a, Is<Ack> auto& x) {
  a(1, x.voter); a(2, x.instance); a(3, x.log); a(4, x.voter_set); a(5, x.holder); a(6, x.run); a(7, x.counter); a(8, x.accepted);
  a(9, x.refused); a(10, x.set);
}
template <class A>
void describe(A& a, Is<HeardNode> auto& x) { a(1, x.node); a(2, x.silent_ms); }
template <class A>
void describe(A& a, Is<Vote> auto& x) {
  a(1, x.voter); a(2, x.instance); a(3, x.run); a(4, x.log); a(5, x.voter_set); a(6, x.resource); a(7, x.highest);
  a(8, x.over_ms); a(9, x.heard); a(10, x.counter);
}

}  // namespace daarion
