// One node's side of one resource: takes the session that the log names, keeps its lease, and moves the engine to the role
// that follows from log and lease. Level-triggered: advance() compares what is with what should be, and asks for one step.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/decider.h"
#include "controlplane/core/holder.h"
#include "controlplane/core/io.h"

namespace daarion {

/// An event the agent wants in the log; the node core gives it its version and sees that it is in flight only once.
struct AppendWish {
  Payload payload;
  Epoch epoch;
  EventId cause;
  std::string reason;
  std::string actor;  // empty: this node
  NodeId about{};     // the replica it is about; empty: this node
};

struct AgentOutput {
  std::vector<GuardCommand> guard;
  std::optional<DriverCommand> drive;
  std::vector<AppendWish> appends;
  bool beat_now = false;  // a claim, a session or an end changed: others should know at once
};

struct AgentContext {
  const DeciderContext& cluster;
  const VoterSet& voters;      // that count: of the record, so that a restarted daemon need not wait for its fold
  std::uint64_t next_counter;  // of the beat to be sent next
  bool state_loaded = false;   // the state is this log's, not the empty one of a daemon that just started
  bool stopping = false;       // this daemon was asked to stop
  bool overridden = false;     // the set that voters promised under is over by an override (override.h): no lease is without an end
};

class Agent {
 public:
  Agent(NodeId self, ResourceId resource, LeaseTimers timers)
      : self_(std::move(self)), resource_(std::move(resource)), timers_(timers), holder_(resource_, timers) {}

  void on_guard(const GuardReport& report, Instant now);
  void on_engine(const EngineReport& report, Instant looked);
  void on_done(const DriverResult& result, Instant now);
  void on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now);
  /// A voter is bound to this session of ours: if the guard does not have it, beats will say that it ended.
  void on_promise(const SessionId& session);
  /// A SlotDropped of ours is in the log.
  void told(const SlotDropped& slot) { dropped_slots_.erase(slot.slot); }
  /// The log lost events, and the state is folded anew.
  void refold(std::uint64_t next_counter) { holder_.refold(next_counter); }
  /// A session that has its majority asks what the others have, before it opens: a fresh position will be asked for.
  void on_ask(const SessionId& session);
  /// A vote says that the lease is over: a fresh position will be asked for.
  void on_vote() { observe_wanted_ = true; }

  void advance(const AgentContext& context, Instant now, AgentOutput& out);

  // what beats carry
  std::optional<Claim> claim() const { return holder_.current(); }
  SessionId next_session() const { return guard_.next; }
  std::vector<SessionId> ended_to_say(const State& state) const;
  EngineReport engine(Instant now) const;
  std::optional<SessionId> asks() const;     // that waits to be opened for what others have
  std::optional<SessionId> answers() const;  // that asked before the engine was looked at
  EngineState engine_state() const { return engine_.state; }
  /// The Resumed that beats name: once the guard has the deadline that came with it, since a voter that hears it counts on that; 0: none.
  Sequence resumed() const;

  const ResourceId& resource() const { return resource_; }
  const Holder& holder() const { return holder_; }
  const GuardReport& guard() const { return guard_; }
  const std::optional<Wait>& wait() const { return wait_; }
  bool idle() const { return !op_; }
  /// Nothing of this node is left to hand over.
  bool stopped() const { return stopped_; }
  Instant next_change() const { return next_; }
  /// A fresh observation came that somebody waits for: say so in a beat.
  bool take_observed() { return std::exchange(observed_, false); }

 private:
  struct Op {
    std::uint64_t id = 0;
    Verb verb = Verb::kObserve;
    NodeId upstream;
    Instant since{};
    EventId asked;  // the RejoinRequested or RestartRequested that it answers
  };

  void follow_guard(const AgentContext& c, Instant now, AgentOutput& out);
  void report_ends(const AgentContext& c, AgentOutput& out);
  void report_open(const AgentContext& c, const LeaseState& lease, const std::function<bool(const SessionId&)>& is_over, AgentOutput& out);
  void take_named(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out);
  void keep_lease(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out);
  void arm(Instant now, AgentOutput& out);
  void complete(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out);
  void hand_over(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out);
  bool may_hand_over(const AgentContext& c, const LeaseState& lease, Instant now);
  void move_engine(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out);
  bool owes_completion(const AgentContext& c, const LeaseState& lease) const;
  bool lacks_nothing(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out);
  void move_writer(const LeaseState* lease, Instant now, AgentOutput& out);
  void move_follower(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out);
  void keep_sync(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out);
  std::vector<NodeId> present_followers(const AgentContext& c, const std::vector<NodeId>& declared, Instant now);
  void report_replica(const AgentContext& c, AgentOutput& out);
  void report_restart(const AgentContext& c, AgentOutput& out);
  void report_slots(const AgentContext& c, AgentOutput& out) const;
  void retire(std::string why, AgentOutput& out);
  void retire_again(Instant now, AgentOutput& out);
  void renew_next(const LeaseState& lease, Instant now, AgentOutput& out);
  void run(Verb verb, Epoch epoch, NodeId upstream, Instant now, AgentOutput& out, const EventId& asked = {});
  bool confirmed() const;
  bool may_promote(Instant now) const;
  Position opened_at() const;
  bool is_us(const AgentContext& context, const NodeId& node, const InstanceId& instance) const;
  void expect_open(const LeaseState& lease, Instant now, AgentOutput& out);
  NodeId writer_of(const AgentContext& context, const LeaseState& lease) const;
  const PrimaryTrack* opened_untold(const AgentContext& c, const LeaseState& lease) const;
  bool must_rejoin(const AgentContext& c, const LeaseState& lease) const;
  const ReplicaState* asked_for(const AgentContext& c, const LeaseState& lease) const;
  void note_failed_copy(const NodeId& from, const std::string& why, Instant now);
  bool copy_waits(const NodeId& from, Instant now);
  const ReplicaState* own_replica(const AgentContext& c) const;
  void waits(std::string what, std::string unblock, Instant now);

  NodeId self_;
  ResourceId resource_;
  LeaseTimers timers_;
  Holder holder_;

  GuardReport guard_;
  EngineReport engine_;
  Instant engine_at_{};
  bool engine_known_ = false;
  bool observe_wanted_ = false;
  Instant asked_at_{};  // when an observation was last asked for
  bool observed_ = false;
  bool opened_now_ = false;
  SessionId asking_;           // this node's, that waits for what others have
  Instant asking_since_{};
  SessionId asked_by_;         // the newest that asked
  std::uint64_t asked_op_ = 0; // the look that was asked for since; 0: none yet
  bool answered_ = false;

  std::optional<Op> op_;
  std::uint64_t next_op_ = 1;
  Instant retry_at_{};      // after a failed step
  Duration backoff_{};
  std::string failure_;
  std::optional<DriverResult> replica_news_;  // a provision or rejoin to be put in the log
  NodeId replica_source_;                     // from whom
  EventId replica_asked_;                     // the RejoinRequested that it answers
  EventId stopped_for_;                       // the newest RestartRequested that the engine was stopped for, or found stopped
  Instant copy_again_at_{};                   // after a copy that was asked for and failed: meanwhile the node goes on with what it has
  Duration copy_backoff_{};
  std::string copy_failure_;
  /// Whole copies that nobody asked for, one after the other, from one node.
  struct FailedCopies {
    NodeId from;
    std::uint32_t times = 0;
    Duration backoff{};
    Instant again_at{};
    std::string why;  // the last of them
  };
  FailedCopies failed_copies_;
  std::map<std::string, DroppedSlot> dropped_slots_;  // that the log is to be told of, by their names: at most one per member
  bool diverged_ = false;   // the last kFollow said so

  Version smaller_until_;  // an append of a smaller sync set may be stored until the lease has this version
  SessionId sync_session_; // of which this run has looked at the sync set
  std::map<NodeId, Instant> away_;  // while this node writes: replicas that do not stream from it, and since when
  SessionId opened_;          // the newest claimed session under which the engine was seen open
  Instant unopened_since_{};  // since when the engine of an earned claim could have been opened, and made no progress
  std::optional<std::pair<Epoch, Instant>> armed_;  // epoch and deadline last sent to the guard
  Instant armed_at_{};
  Instant retired_at_{};               // when the retirement was last said
  Instant renewed_at_{};               // when the guard was last asked for another session to take next
  std::vector<SessionId> lost_;        // sessions of earlier guards that voters are still bound to
  std::string retired_why_;            // the reason for the end of the session being retired
  SessionId retiring_;
  std::optional<Position> final_;      // after a clean stop, until the session's end is in the log
  bool stopping_engine_ = false;       // a clean stop was begun: no other step until its session has ended
  bool switchover_waits_ = false;      // a wish is there, and its target is not ready: that is the wait to be told
  bool stopped_ = false;
  Instant decided_at_{};
  Sequence decided_seen_;
  std::optional<Wait> wait_;
  Instant next_ = kNever;
};

}  // namespace daarion
