// Everything the log says, folded. A value: ordered containers, ==, no time but the log's own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/core/topology_spec.h"
#include "controlplane/core/types.h"

namespace daarion {

inline constexpr std::uint32_t kFeatureLevel = 1;  // what this software can fold

// Bounds of what the state remembers per resource. Older entries go: they only speed things up or feed a window.
inline constexpr std::size_t kMaxEndedSessions = 64;  // an end forgotten: a promise to it runs out by time instead
inline constexpr std::size_t kMaxDecisions = 16;      // an older decision's completion or end is not taken up any more
inline constexpr std::size_t kMaxTimelines = 64;      // a candidate on an older fork than these is refused
inline constexpr std::size_t kMaxPromotions = 64;     // more than any sensible max_promotions
inline constexpr std::size_t kMaxRequests = 64;       // idempotency keys
inline constexpr std::size_t kMaxRegressions = 16;    // what `status` can still name
inline constexpr std::size_t kMaxFenced = 16;         // an older word is asked for again
inline constexpr std::size_t kMaxVoids = 256;         // each regression leaves a few; one forgotten stops its aggregate where it stands

/// A LogRegressed of this log: the events after `head`, up to `folded`, were lost.
struct Regression {
  Sequence sequence;  // where it stands
  std::int64_t stored_ns = 0;
  NodeId node;        // that had folded them
  Sequence folded, head;
  bool operator==(const Regression&) const = default;
};

/// A version that stands in the log before its turn: its appender knew events that the log has lost since. It says nothing, and its
/// subject is taken, so the aggregate steps over it.
struct VoidVersion {
  Aggregate aggregate;
  Version version;
  bool operator==(const VoidVersion&) const = default;
};

struct LogState {
  Version version;
  LogId log;
  std::string cluster;
  LogId parent;
  std::uint32_t feature_level = 1;
  std::vector<Regression> regressions;  // newest last
  std::vector<VoidVersion> voids;       // not yet stepped over
  LogId root = {};                      // the log's first name, if overrides gave it others (override.h); empty: none did
  std::uint64_t overrides = 0;          // how many did
  Sequence newest_regression() const { return regressions.empty() ? Sequence{} : regressions.back().sequence; }  // 0: none
  bool operator==(const LogState&) const = default;
};

struct VoterSet {
  EventId id;  // of the event that made it; names the set in beats, acks and votes; empty: no set yet
  Sequence sequence;
  std::vector<VoterInstance> voters;
  std::vector<VoterInstance> next = {};  // of an even number: who joins or leaves it next
  bool operator==(const VoterSet&) const = default;

  bool has(const NodeId& node, const InstanceId& instance) const;
  std::uint32_t majority() const { return static_cast<std::uint32_t>(voters.size() / 2 + 1); }
};

struct TopologyState {
  Version version;
  Sequence sequence;
  TopologySpec spec;
  std::string file_hash;
  bool operator==(const TopologyState&) const = default;
};

struct MemberState {
  Version version;
  NodeRole role = NodeRole::kReplica;
  std::string region;
  std::string address;
  std::string software;
  std::uint32_t feature_level = 0;
  InstanceId instance;
  BootId boot;           // of the newest MemberJoined or MemberReturned
  RunId returned_run;    // of the newest MemberReturned
  Sequence returned;     // where that stands
  MemberIntent intent = MemberIntent::kActive;
  bool reachable = true;
  EventId unreachable;   // the MemberUnreachable that stands; empty: none does
  Sequence changed;
  std::int64_t changed_ns = 0;  // log time
  bool operator==(const MemberState&) const = default;
};

struct EndedSession {
  SessionId session;
  NodeId node;
  Epoch epoch;
  InstanceId instance;  // that said so; empty: an older log
  EventId event;        // that said so
  bool operator==(const EndedSession&) const = default;
};

/// A decision whose end the log does not show yet: its session may have been opened, and its node may say so late.
struct OpenDecision {
  Epoch epoch;
  NodeId node;
  SessionId session;
  DecisionKind kind = DecisionKind::kFailover;
  Sequence decided;
  EventId event;
  InstanceId instance;  // that may complete or end it; empty: any of the node
  bool operator==(const OpenDecision&) const = default;
};

struct CompletedLease {
  Epoch epoch;  // 0: none ever
  NodeId node;
  SessionId session;
  Sequence decided;
  Sequence sequence;
  std::int64_t stored_ns = 0;
  InstanceId instance;  // as decided; empty: any of the node
  bool operator==(const CompletedLease&) const = default;
};

/// Whose word the commits of a session wait for, as its own node said last; of another session than the completed one it says nothing.
struct SyncSet {
  SessionId session;
  std::vector<NodeId> members;
  std::uint32_t needed = 0;
  Sequence changed;
  bool operator==(const SyncSet&) const = default;
};

struct LeaseState {
  enum class Phase { kNone, kDecided, kActive, kEnded };
  Version version;
  // the newest decision
  Epoch epoch;
  NodeId holder;
  InstanceId instance;  // of the holder; empty: any of the node
  SessionId session;
  DecisionKind kind = DecisionKind::kBootstrap;
  Phase phase = Phase::kNone;
  Sequence decided;
  EventId decided_event;
  bool accepts_loss = false;    // a person did, for whom it names
  std::vector<OpenDecision> open;  // this one and older ones, newest last
  // the newest decision that was completed: whose data the others follow
  CompletedLease completed;
  Position position;            // of that holder: where its timeline began, or where it stopped
  bool final_position = false;  // it stopped cleanly there
  std::vector<TimelineStart> timelines;
  std::vector<EndedSession> ended;           // newest last
  std::vector<std::int64_t> promotions_ns;   // automatic ones, log time of completion, newest last
  SyncSet sync;
  bool operator==(const LeaseState&) const = default;

  bool has_ended(const SessionId& s) const;
  /// Of the history that it shows; 0: none.
  std::uint64_t newest_timeline() const;
  /// Whether the newest completed holder still holds, as far as the log knows.
  bool has_holder() const { return completed.epoch.value != 0 && !has_ended(completed.session); }
};

struct ReplicaState {
  enum class Status { kNone, kProvisioned, kRejoined, kDiverged, kRemoved };
  Version version;
  Status status = Status::kNone;
  std::string method;
  NodeId source;
  Position position;
  Sequence changed;
  std::int64_t changed_ns = 0;
  Sequence asked;       // the newest RejoinRequested or RestartRequested that was not answered yet; 0: none
  EventId asked_event;
  Epoch asked_epoch;    // of the lease then
  bool asked_restart = false;
  bool operator==(const ReplicaState&) const = default;
};

struct SwitchoverState {
  Sequence sequence;  // 0: none pending
  EventId event;
  Epoch epoch;        // of the lease when it was asked: another epoch makes it void
  NodeId from, to;
  bool forced = false;
  bool allow_data_loss = false;
  std::uint64_t valid_ms = 0;
  std::string actor, reason;
  bool operator==(const SwitchoverState&) const = default;
};

/// Somebody's word that a session's engine is off.
struct FencedSession {
  SessionId session;
  Sequence sequence;  // where it stands
  bool operator==(const FencedSession&) const = default;
};

/// What operators said of one resource, or of the cluster (key "cluster").
struct OperatorState {
  Version version;
  Sequence paused;   // the newest Paused, 0: never
  Sequence resumed;  // the newest Resumed, 0: never
  std::vector<FencedSession> fenced;  // newest last
  SwitchoverState switchover;
  bool operator==(const OperatorState&) const = default;
};

struct RequestState {
  std::string request;
  EventId event;
  Sequence sequence;
  bool operator==(const RequestState&) const = default;
};

struct RouteState {
  Version version;
  std::vector<RouteRule> rules;  // route.table
  std::string provider;          // route.<capability>
  Sequence changed;
  bool operator==(const RouteState&) const = default;
};

/// Who is active, as the log decided; where it never did, as declared.
struct ServiceState {
  Version version;
  std::vector<NodeId> active;
  Sequence changed;  // 0: never
  std::int64_t changed_ns = 0;
  EventId event;
  bool operator==(const ServiceState&) const = default;
};

/// A service on one node, as that node last said.
struct ServiceHealthState {
  Version version;
  Health health = Health::kUnknown;
  bool check_broken = false;
  bool flapping = false;
  std::string cause;
  Sequence changed;
  std::int64_t changed_ns = 0;
  EventId event;
  bool operator==(const ServiceHealthState&) const = default;
};

/// A resource whose engine elects by itself, as it was last seen.
struct ObservedState {
  Version version;
  ResourceObserved seen;
  NodeId observer;              // that saw it so
  Sequence changed;             // 0: never
  std::int64_t changed_ns = 0;
  EventId event;
  Sequence moved;               // where seen.primary became the primary
  std::int64_t moved_ns = 0;
  bool operator==(const ObservedState&) const = default;
};

struct State {
  Sequence applied;
  std::int64_t applied_ns = 0;  // log time of that event
  std::uint64_t ignored = 0;    // events that no rule of the fold accepts: stale, foreign or doubled
  LogState log;
  VoterSet voters;
  TopologyState topology;
  std::map<NodeId, MemberState> members;
  std::map<ResourceId, LeaseState> leases;
  std::map<std::pair<ResourceId, NodeId>, ReplicaState> replicas;
  std::map<std::string, OperatorState> operators;
  std::map<std::string, RouteState> routes;
  std::map<ResourceId, ServiceState> services;
  std::map<std::pair<ResourceId, NodeId>, ServiceHealthState> service_health;
  std::map<ResourceId, ObservedState> observed;
  std::vector<RequestState> requests;  // newest last
  bool operator==(const State&) const = default;

  const LeaseState* lease(const ResourceId& r) const;
  const MemberState* member(const NodeId& n) const;
  const OperatorState* operator_of(const ResourceId& r) const;
  const ObservedState* observed_of(const ResourceId& r) const;
  Version version_of(const Aggregate& aggregate) const;

  /// The newest Paused that concerns the resource, of the cluster's and its own; 0: never.
  Sequence newest_paused(const ResourceId& r) const;
  /// The newest Resumed that concerns it and ended a Paused.
  Sequence newest_resumed(const ResourceId& r) const;
  /// Whether somebody gave their word, after the newest Paused, that the session's engine is off: its promises without an end get one.
  bool fenced(const ResourceId& r, const SessionId& session) const;
  /// Whether a Paused stands: of the cluster or of the resource.
  bool paused(const ResourceId& r) const;
  /// Whether a promise of the resource may be without an end as far as the log shows: a Paused was not over when the newest completed holder was
  /// decided, or came since; or nobody holds, and there ever was one.
  bool may_be_endless(const ResourceId& r) const;
  /// Whether a promise to the session of an open decision may be: a Paused stands or came since, or was not over, and nobody said that its engine is off.
  bool may_be_endless(const ResourceId& r, const OpenDecision& open) const;
  /// A decision that is open beside the holder that the log shows: its session may have been opened, under a pause. Any of them, not the newest
  /// alone: one that was overtaken may have opened its engine, and its completion be on its way. One that names the holder's own session
  /// again leaves no doubt, nor does one whose engine somebody said to be off.
  const OpenDecision* in_doubt(const ResourceId& r) const;
};

/// The parts of the state that are stored under keys of their own.
enum class Table { kLog, kVoters, kTopology, kMember, kLease, kReplica, kOperator, kRoute, kRequest, kService, kServiceHealth, kObserved };

struct StateKey {
  Table table = Table::kLog;
  std::string name;  // empty where there is one
  friend auto operator<=>(const StateKey&, const StateKey&) = default;
};

}  // namespace daarion
