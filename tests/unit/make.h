// What unit tests are made of: short names for ids and times, and a log that numbers its events itself.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "controlplane/core/fold.h"
#include "controlplane/core/health.h"
#include "controlplane/core/io.h"
#include "controlplane/core/node_core.h"
#include "controlplane/core/voter_set.h"

namespace daarion::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

inline const ResourceId kPostgres{"postgres"};
inline const HealthVerdict kGood{.health = Health::kHealthy}, kBad{.health = Health::kBroken, .cause = "no answer"};
inline NodeId node(int n) { return NodeId("node" + std::to_string(n)); }
inline SessionId session(std::uint64_t n) { return {0x5E, n}; }
inline InstanceId instance(int n) { return {0x1A, static_cast<std::uint64_t>(n)}; }
inline RunId run(std::uint64_t n) { return {0x2B, n}; }
inline BootId boot(std::uint64_t n) { return {0x3C, n}; }
inline LogId log_id(std::uint64_t n = 1) { return {0x4D, n}; }

/// Time of a node, in ms after some start that is not the epoch of time (which means "never").
inline Instant at(std::int64_t ms) { return Instant{} + seconds(1000) + milliseconds(ms); }

inline VoterSetChanged voters_of(int count) {
  VoterSetChanged set;
  for (int n = 1; n <= count; ++n) set.voters.push_back({node(n), instance(n)});
  return set;
}

/// Three nodes, of which node1 and node2 run postgres and node3 only votes.
inline TopologySpec spec_of_three() {
  TopologySpec spec;
  spec.cluster = "test";
  for (int n = 1; n <= 3; ++n) {
    spec.nodes.push_back({node(n), "host" + std::to_string(n), "region", n == 1 ? NodeRole::kPrimary : NodeRole::kReplica});
    spec.voters.push_back(node(n));
  }
  ResourceSpec postgres;
  postgres.id = kPostgres;
  postgres.engine = "stub";
  postgres.leased = true;
  postgres.declared_primary = node(1);
  postgres.members = {node(1), node(2)};
  spec.resources.push_back(postgres);
  return spec;
}

/// A log and its fold.
class Log {
 public:
  /// The next event, with the version that its aggregate expects. `by` appends it; it is also the member it is about.
  LogEvent make(Payload payload, const NodeId& by, const ResourceId& resource = {}, Epoch epoch = {}) const {
    LogEvent e;
    e.sequence = Sequence{state.applied.value + 1};
    e.stored_ns = static_cast<std::int64_t>(e.sequence.value) * 1'000'000'000;
    e.event.header.id = EventId{0xE, e.sequence.value};
    e.event.header.node = by;
    e.event.header.actor = "node:" + by.value;
    e.event.header.reason = "test";
    e.event.header.resource = resource;
    e.event.header.epoch = epoch;
    e.event.header.aggregate = aggregate_of(payload, by, resource);
    e.event.header.version = Version{state.version_of(e.event.header.aggregate).value + 1};
    e.event.payload = std::move(payload);
    return e;
  }
  Sequence add(const LogEvent& event) {
    state = fold(std::move(state), event);
    events.push_back(event);
    return event.sequence;
  }
  Sequence add(Payload payload, const NodeId& by = node(1), const ResourceId& resource = {}, Epoch epoch = {}) {
    return add(make(std::move(payload), by, resource, epoch));
  }
  Sequence decide(std::uint64_t epoch, int to, SessionId s, DecisionKind kind = DecisionKind::kFailover) {
    return add(PromotionDecided{.to = node(to), .session = s, .kind = kind, .instance = instance(to)}, node(to), kPostgres, Epoch{epoch});
  }
  Sequence complete(std::uint64_t epoch, int by, SessionId s, Position where = {}) {
    return add(PromotionCompleted{.session = s, .position = where, .instance = instance(by)}, node(by), kPostgres, Epoch{epoch});
  }
  Sequence release(std::uint64_t epoch, int by, SessionId s, EndCause cause = EndCause::kFenced) {
    return add(LeaseReleased{.session = s, .cause = cause, .instance = instance(by)}, node(by), kPostgres, Epoch{epoch});
  }
  /// The voter set with this one, or without it, on the word of every voter.
  VoterSetChanged changed_set(const VoterInstance& one, std::vector<VoterInstance> next = {}) const {
    VoterSetChanged change{.voters = toggled(state.voters.voters, one), .base = state.voters.id, .next = std::move(next)};
    for (const VoterInstance& v : state.voters.voters) change.words.push_back({v.node, v.instance, {}});
    return change;
  }
  Sequence change_set(const VoterInstance& one, std::vector<VoterInstance> next = {}) { return add(changed_set(one, std::move(next))); }
  /// An operator's word that of the voters only these nodes are left.
  OverrideGranted override_for(std::initializer_list<int> left) const {
    OverrideGranted granted{.parent = state.log.log, .voters = {}, .others_off = "burnt", .base = state.voters.id};
    for (const int n : left) granted.voters.push_back({node(n), instance(n)});
    return granted;
  }
  Sequence pause() { return add(Paused{}); }
  Sequence resume() { return add(Resumed{}); }
  const LeaseState& lease() const { return state.leases.at(kPostgres); }

  State state;
  std::vector<LogEvent> events;
};

/// A log with its topology and its voter set.
inline Log log_with_voters(int voters = 3) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{spec_of_three(), "hash"});
  log.add(voters_of(voters));
  return log;
}

/// And node1 holding epoch 1 with session 1, on timeline 1 from position 100.
inline Log log_with_holder() {
  Log log = log_with_voters();
  log.decide(1, 1, session(1), DecisionKind::kBootstrap);
  log.complete(1, 1, session(1), {1, Lsn{100}, "db"});
  return log;
}

inline Claim claim_of(std::uint64_t epoch, SessionId s, Duration length = seconds(2)) { return {kPostgres, Epoch{epoch}, s, length}; }

inline Beat beat_of(int n, std::uint64_t counter, const State& state, std::uint64_t its_run = 0) {
  Beat beat;
  beat.node = node(n);
  beat.run = run(its_run ? its_run : static_cast<std::uint64_t>(n));
  beat.counter = counter;
  beat.instance = instance(n);
  beat.log = state.log.log;
  beat.voter_set = state.voters.id;
  beat.applied = state.applied;
  return beat;
}

inline EngineReport standby_at(std::uint64_t lsn, std::uint64_t timeline = 1) {
  EngineReport r;
  r.resource = kPostgres;
  r.state = EngineState::kStandby;
  r.position = {timeline, Lsn{lsn}, "db"};
  return r;
}

/// An ack of node1's claim.
inline Ack ack_of(int voter, std::uint64_t counter, std::uint64_t epoch, SessionId s, const VoterSet& set, Sequence paused = {}) {
  Ack ack{.voter = node(voter), .instance = instance(voter), .log = log_id(), .voter_set = set.id, .holder = node(1), .run = run(1),
          .counter = counter};
  ack.accepted.push_back({kPostgres, Epoch{epoch}, s, seconds(2), paused});
  return ack;
}

}  // namespace daarion::test
