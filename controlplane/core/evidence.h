// What a promotion decision is made of, complete: a decision can be made again from its evidence alone, a month later.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/core/topology_spec.h"
#include "controlplane/core/types.h"

namespace daarion {

/// Where an engine stands in its own log. `identity` is the engine's id of its data (PostgreSQL: the system identifier);
/// positions of other identities or of forked timelines cannot be compared.
struct Position {
  std::uint64_t timeline = 0;
  Lsn lsn;
  std::string identity;
  bool operator==(const Position&) const = default;
};

enum class EngineState {
  kUnknown,       // not observed yet, or the observation failed
  kEmpty,         // no data
  kForeign,       // data that is not ours: never touched
  kStopped,       // our data, no process
  kStarting,      // process, not yet answering
  kStandby,       // running, read only
  kPrimary,       // running, writable
  kUnresponsive,  // process, but it does not answer
};

/// A slot of a replica that a primary has dropped: what it kept for that replica is gone.
struct DroppedSlot {
  NodeId node;  // the replica
  std::string slot;
  std::string why;
  bool operator==(const DroppedSlot&) const = default;
};

/// One node's observation of its own engine, as beats carry it. `age` fields grow by the time that the report travelled.
struct EngineReport {
  ResourceId resource;
  EngineState state = EngineState::kUnknown;
  std::uint64_t incarnation = 0;      // engine starts counted by the guard: a report of an earlier one is void
  Position position;                  // standby: received; primary: written; stopped: end of its log, if known
  Lsn timeline_start;                 // where its timeline left its parent
  SessionId opened;                   // the session that its newest timeline was opened under, if that was on this node
  NodeId inherited_from;              // who opened its newest timeline, if that was on another node and is known
  SessionId inherited;                // and under which session
  Epoch opened_epoch;                 // of `opened`, or of `inherited`: what had its majority then; 0: not known
  Lsn replayed;
  NodeId upstream;                    // whom a standby follows; empty: nobody
  bool streaming = false;             // a standby that receives now
  bool diverged = false;              // a standby whose history is not its upstream's
  std::uint64_t contact_age_ms = 0;   // since a standby last heard its upstream
  std::uint64_t age_ms = 0;           // since it was observed
  std::string version;
  std::string health;                 // empty: healthy; otherwise the cause
  std::string blocked;                // why a standby replays no more and could not be promoted; empty: it could
  std::vector<std::string> lacks;     // what its data need and its host does not have: "extension postgis (database shop)"
  std::vector<std::string> problems;  // what a person should know of and nothing is decided by
  std::vector<DroppedSlot> dropped_slots;  // since the report before: its own node's to tell, beats do not carry them
  // of a primary whose commits wait for replicas, its own node's to use (sync_set.h); beats do not carry them
  std::vector<NodeId> confirmers;     // for whose word they wait, as its engine has it
  std::uint32_t confirmations = 0;    // for so many of them
  bool confirmed_all = false;         // as many of them as are needed hold all that was acknowledged before that was so
  std::vector<NodeId> followers;      // replicas that stream from it
  std::uint64_t looked = 0;           // the newest command that was given before it was looked at: its own node's to use
  bool operator==(const EngineReport&) const = default;
};

enum class MemberIntent { kActive, kDraining, kMaintenance, kDisabled, kRetired };

enum class DecisionKind {
  kBootstrap,   // the resource has no epoch yet: the declared primary, from empty
  kFailover,    // the lease ended by itself
  kSwitchover,  // an operator asked, the holder released after a clean stop
  kForced,      // an operator asked for a failover
  kKeep,        // a holder whose lease lives answers a needless nomination: its own session, a higher epoch
};

struct VoteEvidence {
  NodeId voter;
  Epoch highest;                // the highest epoch it knows, promised or folded
  std::uint64_t over_ms = 0;    // how long its promise has been over
  std::uint64_t age_ms = 0;     // since the vote came
  bool operator==(const VoteEvidence&) const = default;
};

struct CandidateEvidence {
  NodeId node;
  MemberIntent intent = MemberIntent::kActive;
  ResourceTags tags;
  std::uint64_t beat_age_ms = 0;
  bool heard = false;           // any beat at all, in this log
  SessionId session;            // the session that it would take next; empty: none offered
  EngineReport engine;
  std::uint64_t lag_ms = 0;     // how long it had not caught up with the primary's last known position
  InstanceId instance;          // of the beat that offered the session
  bool deaf = false;            // its beats say that it has not read the newest decision, which nobody has claimed
  bool operator==(const CandidateEvidence&) const = default;
};

struct TimelineStart {
  std::uint64_t timeline = 0;
  Lsn lsn;                      // where it left its parent
  SessionId session;            // that it was opened under: an engine gives the same number to another one's; empty: not known
  bool operator==(const TimelineStart&) const = default;
};

/// What somebody who wrote had acknowledged is held by any `needed` of `members`, and by the writer. Hearing so many of them that any `needed` have
/// one among them shows how far that went.
struct SyncEvidence {
  NodeId writer;
  std::vector<NodeId> members;
  std::uint32_t needed = 0;
  bool operator==(const SyncEvidence&) const = default;
};

struct Evidence {
  ResourceId resource;
  DecisionKind kind = DecisionKind::kFailover;
  NodeId decider;
  std::string software;
  Sequence folded;              // the decider's state
  // the log's word on the lease before this decision
  Epoch log_epoch;
  NodeId last_holder;           // of the newest completed epoch; empty: none yet
  Position last_position;       // the furthest known of that holder: final if clean, else last heard
  bool final_position = false;  // it stopped cleanly there: a candidate at that position loses nothing
  std::uint64_t last_position_age_ms = 0;
  bool end_unknown = false;     // nobody heard who wrote last, or may have, and it does not say how far it did: the position is the log's
  std::uint64_t write_rate = 0; // bytes per second of the primary's log, in the busiest of the last eight seconds heard
  std::vector<TimelineStart> timelines;
  // the right to decide
  std::uint32_t voters = 0;
  std::vector<VoteEvidence> votes;
  // the operator's wish
  NodeId wanted;
  bool allow_data_loss = false;
  // limits
  LagLimits limits;
  std::uint64_t unreachable_ms = 0;   // a candidate silent for longer is out
  bool paused = false;
  std::uint32_t promotions = 0;       // automatic ones in the window
  std::uint32_t max_promotions = 0;
  NodeId declared_primary;
  std::vector<SyncEvidence> sync;     // one for each that wrote, or may have, and whose commits waited for replicas
  std::uint64_t settled_ms = 0;       // how long the votes have been a majority: what was observed since then cannot grow
  std::vector<CandidateEvidence> candidates;  // every member of the resource, by node id
  bool operator==(const Evidence&) const = default;

  /// Whether a person does, if it is that node.
  bool accepts_loss_of(const NodeId& node) const { return allow_data_loss && (wanted.empty() || wanted == node); }
};

struct Verdict {
  NodeId node;
  bool eligible = false;
  std::string rule;     // the rule that spoke: snake_case, stable
  std::string detail;   // for people, with the numbers
  bool operator==(const Verdict&) const = default;
};

/// The session that the data's newest timeline was opened under, as they say; empty: they do not.
const SessionId& opener_of(const EngineReport& report);
/// Adds the newest timeline to a history, oldest first: what was opened under its number or a higher one before is not in it.
void add_timeline(std::vector<TimelineStart>& history, const TimelineStart& newest);

const char* text_of(MemberIntent intent);
const char* text_of(DecisionKind kind);
const char* text_of(EngineState state);

}  // namespace daarion
