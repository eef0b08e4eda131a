// The events of INTERFACES.md as values. The log holds them; the state is their fold. Names are past tense.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/core/evidence.h"
#include "controlplane/core/topology_spec.h"
#include "controlplane/core/types.h"

namespace daarion {

// ---- cluster.log
struct LogCreated {
  LogId log;
  std::string cluster;
  LogId parent;  // the log that this one continues; empty: none
  bool operator==(const LogCreated&) const = default;
};
struct LogRegressed {
  Sequence folded;        // where the reporting node had been
  Sequence head;          // where the log ended
  std::string known_lost; // events some node still knows, for people
  bool operator==(const LogRegressed&) const = default;
};
struct FeatureLevelRaised {
  std::uint32_t level = 0;
  bool operator==(const FeatureLevelRaised&) const = default;
};
struct VoterInstance {
  NodeId node;
  InstanceId instance;
  bool operator==(const VoterInstance&) const = default;
};
/// The highest epoch that a voter ever promised for a resource.
struct PromisedEpoch {
  ResourceId resource;
  Epoch epoch;
  bool operator==(const PromisedEpoch&) const = default;
};
/// One voter's word that the set which it is in may be changed (voter_set.h).
struct SetWord {
  NodeId voter;
  InstanceId instance;
  std::vector<PromisedEpoch> promised;
  bool operator==(const SetWord&) const = default;
};
struct VoterSetChanged {
  std::vector<VoterInstance> voters;     // by node id
  EventId base{};                        // the set that it changes; empty: the log's first set
  std::vector<VoterInstance> next = {};  // of a set of even number, which is in passing: who joins or leaves it next
  std::vector<SetWord> words = {};       // of a majority of the set that it changes
  bool operator==(const VoterSetChanged&) const = default;
};

// ---- topology.spec
struct TopologyChanged {
  TopologySpec spec;
  std::string file_hash;  // of the file it was read from
  bool operator==(const TopologyChanged&) const = default;
};

// ---- member.<node>
struct MemberJoined {
  NodeRole role = NodeRole::kReplica;
  std::string region;
  std::string address;
  std::string software;
  InstanceId instance;
  BootId boot;
  std::uint32_t feature_level = 0;
  bool operator==(const MemberJoined&) const = default;
};
struct MemberUnreachable {
  std::uint64_t silent_ms = 0;
  std::vector<NodeId> observers;  // voters that say so, the reporter among them
  bool operator==(const MemberUnreachable&) const = default;
};
struct MemberReturned {
  InstanceId instance;
  BootId boot;
  RunId run;
  std::string software;
  std::uint32_t feature_level = 0;
  bool operator==(const MemberReturned&) const = default;
};
struct MemberIntentChanged {
  MemberIntent intent = MemberIntent::kActive;
  bool operator==(const MemberIntentChanged&) const = default;
};

// ---- lease.<resource>; the epoch is in the header
struct PromotionDecided {
  NodeId to;
  SessionId session;
  DecisionKind kind = DecisionKind::kFailover;
  std::uint64_t loss_bytes = 0;  // announced bound
  Evidence evidence;
  std::vector<Verdict> verdicts;
  InstanceId instance{};  // of `to`, as its beat offered the session: no other may complete or end it; empty: any
  bool operator==(const PromotionDecided&) const = default;
};
struct PromotionCompleted {
  SessionId session;
  Position position;           // where the new timeline starts
  std::uint64_t claimed_ms = 0;   // from folding the decision to the majority of acks
  std::uint64_t promoted_ms = 0;  // from the majority to the engine writable
  InstanceId instance{};          // of the node that says so
  bool operator==(const PromotionCompleted&) const = default;
};
struct PromotionFailed {
  SessionId session;      // ended
  InstanceId instance{};  // of the node that says so
  bool operator==(const PromotionFailed&) const = default;
};
enum class EndCause { kReleased, kFenced, kCrashed, kHostLost };
struct LeaseReleased {
  SessionId session;  // ended
  EndCause cause = EndCause::kReleased;
  bool final_position = false;  // position is where a clean stop ended
  Position position;
  InstanceId instance{};        // of the node that says so
  bool operator==(const LeaseReleased&) const = default;
};

/// Of one that writes: what it acknowledges is held by any `needed` of `members` (sync_set.h).
struct SyncSetChanged {
  SessionId session;
  std::vector<NodeId> members;
  std::uint32_t needed = 0;
  bool operator==(const SyncSetChanged&) const = default;
};

// ---- replica.<resource>.<node>
struct ReplicaProvisioned {
  std::string method;
  NodeId source;
  Position position;
  bool operator==(const ReplicaProvisioned&) const = default;
};
struct ReplicaRejoined {
  std::string method;  // rewind | rebuild
  NodeId source;
  Position position;
  bool operator==(const ReplicaRejoined&) const = default;
};
struct ReplicaDiverged {
  NodeId source;
  Position position;
  bool operator==(const ReplicaDiverged&) const = default;
};
struct ReplicaRemoved {
  bool operator==(const ReplicaRemoved&) const = default;
};
struct SlotDropped {
  std::string slot;
  bool operator==(const SlotDropped&) const = default;
};
/// A person asks that a replica's data be copied anew, whole, whatever they are. Void once another epoch is decided.
struct RejoinRequested {
  std::string request;
  bool operator==(const RejoinRequested&) const = default;
};
/// A person asks that a replica's engine be stopped and started, as after a setting that needs it. Void once another epoch is decided.
struct RestartRequested {
  std::string request;
  bool operator==(const RestartRequested&) const = default;
};
/// The engine that runs now was started after the request that caused this event.
struct ReplicaRestarted {
  Position position;
  bool operator==(const ReplicaRestarted&) const = default;
};

// ---- route.table, route.<capability>
struct RouteTableChanged {
  std::vector<RouteRule> rules;
  bool operator==(const RouteTableChanged&) const = default;
};
/// What was known of one provider of a capability's chain.
struct ProviderEvidence {
  std::string provider;
  bool usable = false;
  bool known = true;  // else nothing was said of it yet
  std::string cause;  // why it is not usable
  bool operator==(const ProviderEvidence&) const = default;
};
struct CapabilityMoved {
  std::string capability;
  std::string provider;
  std::vector<ProviderEvidence> evidence = {};  // the chain, in its order; logs of before have none
  bool operator==(const CapabilityMoved&) const = default;
};

// ---- service.<service>.<node>, service.<service>; the service is the header's resource
enum class Health { kUnknown, kHealthy, kDegraded, kMaintenance, kBroken };
struct ServiceHealthChanged {
  Health health = Health::kUnknown;  // after hysteresis
  bool check_broken = false;         // the check says nothing of the service: it is itself wrong; `health` is as before
  bool flapping = false;             // held down until it has been well for a while
  std::string cause;
  bool operator==(const ServiceHealthChanged&) const = default;
};
/// What was known of one node when a service moved.
struct ServiceEvidence {
  NodeId node;
  ServiceRole declared = ServiceRole::kOff;
  bool active = false;               // until now
  Health health = Health::kUnknown;
  bool check_broken = false;
  bool cold = false;                 // a standby that its start command brings up: its health says nothing before
  bool reachable = true;
  MemberIntent intent = MemberIntent::kActive;
  std::string cause;
  bool operator==(const ServiceEvidence&) const = default;
};
struct ServiceMoved {
  std::vector<NodeId> active;        // from now on, all of them
  std::vector<ServiceEvidence> evidence;
  bool operator==(const ServiceMoved&) const = default;
};

// ---- resource.<resource>, of one whose engine elects by itself; the resource is the header's
/// One process of it, as it was seen.
struct MemberSeen {
  NodeId node;
  std::string role;                  // the engine's word: primary, replica, sentinel, leader, peer
  EngineState state = EngineState::kUnknown;
  std::string identity;              // of its data: tells them from others in the same place
  std::string version;
  std::string health;                // empty: healthy; otherwise the cause
  bool operator==(const MemberSeen&) const = default;
};
/// ResourceObserved.source where a switchover that was asked for came to nothing; the problems say why.
inline constexpr const char* kSwitchoverFailed = "switchover failed";
/// The whole resource, as one node saw it; appended when it changed. Positions and lag are telemetry.
struct ResourceObserved {
  NodeId primary;                    // or leader; empty: none
  std::string elected_by;            // who decides that: "Sentinel", "Qdrant's raft"
  std::uint64_t election = 0;        // its own count of its elections, which only rises; 0: it has none
  std::vector<MemberSeen> members;   // by node and role
  std::vector<std::string> problems; // each names the node and what to do; empty: as declared
  std::string source;                // what told: "sentinel +switch-master", "raft"
  bool operator==(const ResourceObserved&) const = default;
};

// ---- operator.<resource or cluster>
struct Paused {
  bool operator==(const Paused&) const = default;
};
struct Resumed {
  bool operator==(const Resumed&) const = default;
};
struct SwitchoverRequested {
  NodeId from;  // the holder it was asked of: another holder makes it void
  NodeId to;    // empty: the best candidate
  bool forced = false;            // failover: also without the holder's help
  bool allow_data_loss = false;
  std::uint64_t valid_ms = 0;     // void so long after it was folded
  std::string request;            // idempotency key
  bool operator==(const SwitchoverRequested&) const = default;
};
struct FencingConfirmed {
  SessionId session;
  std::string how;
  bool operator==(const FencingConfirmed&) const = default;
};
/// A person's word in place of a lost majority (override.h). The log goes by another name from here on.
struct OverrideGranted {
  LogId parent;                       // the log's name until here
  std::vector<VoterInstance> voters;  // of the set before, those that are left; by node id
  std::string others_off;  // how the others were made sure to be off
  EventId base = {};               // the voter set that it is about
  std::vector<NodeId> off = {};    // whoever else it says this of: members of leased resources that are not heard
  std::string request = {};        // idempotency key
  bool operator==(const OverrideGranted&) const = default;
};

// ---- telemetry
struct ReplicaLagReported {
  NodeId node;
  NodeId primary;
  Position position;
  std::uint64_t lag_bytes = 0;
  std::uint64_t lag_ms = 0;
  std::string state;
  bool operator==(const ReplicaLagReported&) const = default;
};
struct HealthReported {
  NodeId node;
  std::string what;
  bool healthy = true;
  std::string cause;
  bool operator==(const HealthReported&) const = default;
};

using Payload =
    std::variant<LogCreated, LogRegressed, FeatureLevelRaised, VoterSetChanged, TopologyChanged, MemberJoined, MemberUnreachable,
                 MemberReturned, MemberIntentChanged, PromotionDecided, PromotionCompleted, PromotionFailed, LeaseReleased,
                 ReplicaProvisioned, ReplicaRejoined, ReplicaDiverged, ReplicaRemoved, SlotDropped, RouteTableChanged,
                 CapabilityMoved, Paused, Resumed, SwitchoverRequested, FencingConfirmed, OverrideGranted, ReplicaLagReported,
                 HealthReported, ServiceHealthChanged, ServiceMoved, ResourceObserved, RejoinRequested, SyncSetChanged,
                 RestartRequested, ReplicaRestarted>;

/// What orders the events of one thing: CLUSTER_LOG has at most one event per (kind, name, version).
struct Aggregate {
  std::string kind;  // cluster | topology | member | lease | replica | route | operator | service | resource
  std::string name;
  friend auto operator<=>(const Aggregate&, const Aggregate&) = default;
};

struct EventHeader {
  EventId id;
  std::uint32_t schema = 1;
  NodeId node;          // who appended it
  std::string actor;    // "node:<id>" or "operator:<name>"
  std::string reason;   // mandatory in CLUSTER_LOG
  EventId cause;        // the event that led to this one; empty: none
  ResourceId resource;  // empty: not about a resource
  Epoch epoch;
  std::int64_t wall_time_ns = 0;  // a label, never compared
  std::uint32_t min_feature = 1;
  Aggregate aggregate;  // from the subject
  Version version;      // from the subject
  bool operator==(const EventHeader&) const = default;
};

struct Event {
  EventHeader header;
  Payload payload;
  bool operator==(const Event&) const = default;
};

/// An event as the log holds it. `stored_ns` is JetStream's own timestamp, ns since 1970: time on the log.
struct LogEvent {
  Sequence sequence;
  std::int64_t stored_ns = 0;
  Event event;
  bool operator==(const LogEvent&) const = default;
};

/// The event's name as people and subjects of `watch` see it, e.g. "PromotionDecided".
const char* payload_name(const Payload& payload);

/// Every name that an event of CLUSTER_LOG can have.
std::vector<std::string> log_event_names();

/// The kind of aggregate that such a payload belongs to: the first token of its subject after cluster.log or cluster.telemetry.
const char* kind_of(const Payload& payload);

/// The aggregate that an event with this payload belongs to. `node` is the member or replica it is about, `resource` as in the
/// header (empty for operator events of the whole cluster).
Aggregate aggregate_of(const Payload& payload, const NodeId& node, const ResourceId& resource);

const char* text_of(EndCause cause);
const char* text_of(NodeRole role);
const char* text_of(Health health);

}  // namespace daarion
