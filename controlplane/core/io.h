// What goes into the core and what comes out. The shell performs outputs in order: persist, send, act; results come back as
// inputs. Nothing here does I/O.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/core/messages.h"
#include "controlplane/core/peers.h"
#include "controlplane/core/regression.h"
#include "controlplane/core/state.h"
#include "controlplane/core/voter.h"

namespace daarion {

// ---- the guard, as the core sees it
struct TakenSession {
  SessionId session;
  Epoch epoch;
  Instant deadline{};  // when it begins to fence; kNever while paused
  bool operator==(const TakenSession&) const = default;
};
struct SessionEnd {
  SessionId session;
  EndCause cause = EndCause::kFenced;
  bool operator==(const SessionEnd&) const = default;
};
/// Everything a guard knows, whole, each time something changes. `connected` also promises that no process of an earlier guard
/// is left: whoever starts a guard makes sure of that first.
struct GuardReport {
  ResourceId resource;
  bool connected = false;
  SessionId next;
  std::optional<TakenSession> taken;
  std::vector<SessionEnd> ended;  // recent, newest last
  std::uint64_t incarnation = 0;  // engine starts so far
  bool engine_running = false;
  bool fencing = false;
  bool operator==(const GuardReport&) const = default;
};
struct GuardCommand {
  enum class Kind {
    kArm,     // take the session, or move its deadline
    kRetire,  // end the session for ever; if it was taken, fence first
    kFence,   // no session, but a writable engine: leave no process
  };
  ResourceId resource;
  Kind kind = Kind::kArm;
  SessionId session;
  Epoch epoch;
  Instant deadline{};
  bool operator==(const GuardCommand&) const = default;
};

// ---- drivers
enum class Verb { kObserve, kProvision, kStart, kFollow, kRejoin, kPromote, kStop, kSetSync };
struct DriverCommand {
  std::uint64_t op = 0;
  ResourceId resource;
  Verb verb = Verb::kObserve;
  Epoch epoch;
  NodeId upstream;    // kFollow, kRejoin, kProvision: from whom; empty for kProvision: from nothing
  SessionId session;  // kPromote: what the engine is opened under; reported back as `opened`
  bool anew = false;  // kRejoin: copied whole, also where less would do
  std::vector<NodeId> confirmers = {};  // kSetSync: for whose word commits wait
  std::uint32_t confirmations = 0;      // and for that of so many of them
  bool operator==(const DriverCommand&) const = default;
};
struct DriverResult {
  std::uint64_t op = 0;
  ResourceId resource;
  Verb verb = Verb::kObserve;
  bool ok = false;
  bool diverged = false;  // kFollow refused: this data and the upstream's have parted
  Position position;      // kStop: the final one; kPromote: where the new timeline starts
  std::string method;     // kProvision, kRejoin: how
  std::string message;    // of a failure
  bool operator==(const DriverResult&) const = default;
};

// ---- the log
struct AppendRequest {
  std::uint64_t id = 0;
  Payload payload;
  Aggregate aggregate;
  Version version;
  ResourceId resource;
  Epoch epoch;
  std::string actor;
  std::string reason;
  EventId cause;
  bool operator==(const AppendRequest&) const = default;
};
struct AppendResult {
  enum class Outcome { kStored, kConflict, kUnknown };
  std::uint64_t id = 0;
  Outcome outcome = Outcome::kUnknown;
  Sequence sequence;
};

// ---- inputs
struct TimerFired {};
struct BeatHeard {
  Beat beat;
  std::string via;  // the link that it came by: "nats", "direct"
};
struct AckHeard {
  Ack ack;
};
struct VoteHeard {
  Vote vote;
};
struct StateMoved {
  std::shared_ptr<const State> state;
  FoldMark mark;
  bool anew = false;  // after LogLost: folded from event 1 to the log's end
};
struct LogHead {  // what the log itself says, asked by the shell at times
  bool exists = false;
  Sequence head;
  Instant asked = kNever;  // beats heard before it know nothing newer; kNever: it cannot be told
};
struct RecordWritten {
  std::uint64_t generation = 0;
};
struct GuardChanged {
  GuardReport report;
};
struct EngineObserved {
  EngineReport report;
  Instant looked{};  // when it was begun to be looked at: a process that stood still takes up what it saw before
};
struct DriverDone {
  DriverResult result;
};
struct AppendDone {
  AppendResult result;
};
struct LeadersSeen {  // raft leaders, by the node whose server leads; empty: unknown
  NodeId log;
  NodeId meta;
};
struct StopRequested {};  // planned end of this daemon: hand over what can be handed over

using Input = std::variant<TimerFired, BeatHeard, AckHeard, VoteHeard, StateMoved, LogHead, LogLost, RecordWritten, GuardChanged,
                           EngineObserved, DriverDone, AppendDone, LeadersSeen, StopRequested>;

// ---- outputs
struct WriteRecord {
  VoterRecord record;
  std::uint64_t generation = 0;
};
struct SendBeat {
  Beat beat;
};
struct SendAck {
  Ack ack;
};
struct SendVote {
  Vote vote;
};
struct Guard {
  GuardCommand command;
};
struct Drive {
  DriverCommand command;
};
struct Append {
  AppendRequest request;
};
struct Report {  // telemetry; may be lost
  Payload payload;
  ResourceId resource;
};
struct StepDown {
  bool meta = false;  // else the raft leader of CLUSTER_LOG
};
struct Stopped {};  // after StopRequested: nothing is left to hand over

using Output = std::variant<WriteRecord, SendBeat, SendAck, SendVote, Guard, Drive, Append, Report, StepDown, Stopped>;

}  // namespace daarion
