// The whole node as one value: inputs and the time in, outputs out. The same code runs in the daemon and in the simulator.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/agent.h"
#include "controlplane/core/decider.h"
#include "controlplane/core/housekeeper.h"
#include "controlplane/core/io.h"
#include "controlplane/core/peers.h"
#include "controlplane/core/steering.h"
#include "controlplane/core/voter.h"

namespace daarion {

struct NodeConfig {
  Identity identity;
  TopologySpec spec;     // of this node's cluster.yaml
  VoterRecord record;    // from disk, or fresh with a new instance id
  Duration uptime{};     // of this boot, at start
};

class NodeCore {
 public:
  NodeCore(NodeConfig config, Instant now);

  /// Takes one input and returns what to do, in order. Never blocks, never fails.
  std::vector<Output> step(const Input& input, Instant now);

  /// When step(TimerFired) is due at the latest.
  Instant next_timer() const { return next_timer_; }

  // ---- for status, tests and invariants
  const State& state() const { return *state_; }
  std::shared_ptr<const State> state_ptr() const { return state_; }
  const FoldMark& mark() const { return mark_; }
  const Peers& peers() const { return peers_; }
  const Voter& voter() const { return voter_; }
  const std::map<ResourceId, Agent>& agents() const { return agents_; }
  const TopologySpec& spec() const { return config_.spec; }
  const Identity& identity() const { return config_.identity; }
  Instant started() const { return start_; }
  bool caught_up() const;
  /// The log lost events that were folded here: the state is of before, and a new one is being folded (regression.h).
  bool refolding() const { return refolding_; }
  std::vector<Wait> waits() const;
  LeadersSeen leaders() const { return leaders_; }
  DeciderContext context(Instant now) const;
  /// A paused holder that is lost, for whom failover waits.
  std::optional<LostHolder> lost_holder(const ResourceId& resource, Instant now) const { return daarion::lost_holder(resource, context(now), now); }
  /// The decision as it would be now, without being made: `why-not`, and "if its holder dies now".
  Decider::Nomination preview(const ResourceId& resource, bool holder_dead, Instant now) const;

 private:
  struct InFlight {
    std::uint64_t id = 0;
    Version version;
    Instant since{};
    bool done = false;        // the append ended; waiting for the fold to show it
    Sequence stored;
    Instant retry{};
    Payload payload;
  };

  void take(const Input& input, Instant now);
  void on(const TimerFired&, Instant now);
  void on(const BeatHeard& in, Instant now);
  void on(const AckHeard& in, Instant now);
  void on(const VoteHeard& in, Instant now);
  void on(const StateMoved& in, Instant now);
  void on(const LogHead& in, Instant now);
  void on(const LogLost& in, Instant now);
  void refold(Instant now);
  void on(const RecordWritten& in, Instant now);
  void on(const GuardChanged& in, Instant now);
  void on(const EngineObserved& in, Instant now);
  void on(const DriverDone& in, Instant now);
  void on(const AppendDone& in, Instant now);
  void on(const LeadersSeen& in, Instant now);
  void on(const StopRequested&, Instant now);

  void advance(Instant now);
  void advance_agents(const DeciderContext& cluster, Instant now);
  void advance_deciders(const DeciderContext& c, Instant now);
  void advance_housekeeping(const DeciderContext& c, Instant now);
  void notice_lost_set(Instant now);
  void send_beat(const DeciderContext& c, Instant now);
  void send_votes(Instant now, bool all);
  void hear_ack(const Ack& ack, Instant now);
  void flush(VoterOutput& out, Instant now);
  bool may_append(Instant now) const;
  void append(const AppendWish& wish, const NodeId& about, const ResourceId& resource, Instant now);
  void report_lag(Instant now);
  void follow_wishes(Instant now);
  bool state_loaded() const;

  NodeConfig config_;
  Instant start_{};
  std::shared_ptr<const State> state_;
  FoldMark mark_;
  bool refolding_ = false;
  std::vector<Regression> losses_before_;  // that the state told of before it was folded anew
  Instant folded_at_{};  // when the newest event was folded here
  LogHead log_;
  Peers peers_;
  Voter voter_;
  Housekeeper housekeeper_;
  Steering steering_;
  LeadersSeen leaders_;
  std::map<ResourceId, Agent> agents_;      // resources that this node hosts
  std::map<ResourceId, Decider> deciders_;  // every leased resource
  SentBeats sent_;
  std::uint64_t counter_ = 0;
  Instant next_beat_{};
  bool beat_now_ = false;
  std::map<ResourceId, Sequence> voting_;   // where the last look found the promise over: the lease's newest decision or completion then
  std::optional<Wait> voter_wait_;          // why this voter is silent
  Instant set_lacking_ = kNever;            // since when the log has ended before the record's voter set
  std::map<Aggregate, InFlight> in_flight_;
  std::uint64_t next_append_ = 1;
  struct Wish {
    Sequence sequence;
    Instant seen{};
    bool live = false;
  };
  std::map<ResourceId, Wish> wishes_;
  bool ever_caught_up_ = false;  // in this run
  struct LagReport {
    Instant at{};
    std::uint64_t bytes = 0;
    std::string state;
  };
  std::map<ResourceId, LagReport> lag_;
  bool stopping_ = false;
  bool stopped_said_ = false;
  Instant next_timer_{};
  std::vector<Output> out_;
};

}  // namespace daarion
