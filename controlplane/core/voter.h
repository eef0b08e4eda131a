// One voter: its promises, its record, its votes. The rules are in lease.h.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "controlplane/core/lease.h"
#include "controlplane/core/messages.h"
#include "controlplane/core/state.h"
#include "controlplane/core/wait.h"

namespace daarion {

struct PromiseRecord {
  Epoch epoch;
  SessionId session;
  NodeId node;
  Duration longest{};  // longest length ever promised to this claim
  Sequence paused;     // the Paused that makes it endless; 0: none
  InstanceId instance; // of the node; empty (an older record, an older log): any
  bool operator==(const PromiseRecord&) const = default;
};

/// What a voter knows for ever: one small file, synced before the first ack of each promise.
struct VoterRecord {
  InstanceId instance;
  RunId run;
  BootId boot;  // in which it answered last: one that is blank has not answered in this boot
  LogId log;
  VoterSet voters;
  std::vector<RunId> earlier_runs;  // of this record, newest last
  std::map<ResourceId, PromiseRecord> promises;
  std::map<ResourceId, Epoch> floors;  // the highest epoch folded when the record was written
  Sequence regressed{};                // the newest LogRegressed folded when the voter set was taken up
  LogId root{};                        // of the log, as in LogState
  std::uint64_t overrides = 0;
  bool operator==(const VoterRecord&) const = default;
};

inline constexpr std::size_t kMaxEarlierRuns = 16;  // beats of older runs than these are long gone from every buffer

/// What the voter wants done; filled by its calls, in the order in which it must happen.
struct VoterOutput {
  std::optional<VoterRecord> record;  // write and sync, then call on_recorded(generation)
  std::uint64_t generation = 0;
  std::vector<Ack> acks;
};

class Voter {
 public:
  /// Takes up the record. `uptime` is how long this boot has lasted at `now`.
  /// A record of another boot makes the voter blank; one of this boot counts its promises as made now.
  Voter(NodeId self, const LeaseTimers& timers, VoterRecord record, RunId run, BootId boot, Instant now, Duration uptime);

  /// Writes the record with this run's id. Call once, first.
  void start(VoterOutput& out);

  /// Hears a beat: acks what it may, refuses the rest, or keeps silent. Pre: beats of one run come in order of their counter.
  void on_beat(const Beat& beat, const State& state, Instant now, VoterOutput& out);

  /// The record of this generation, and all before it, is on disk.
  void on_recorded(std::uint64_t generation, Instant now, VoterOutput& out);

  /// The state moved: ends, pauses, confirmations, the voter set. Also after on_recorded: a promise may just have been made.
  void on_state(const State& state, Instant now, VoterOutput& out);

  /// Time passed.
  void on_time(const State& state, Instant now, VoterOutput& out);

  /// Whether the promise for the resource is over and the voter may say so.
  bool may_vote(const ResourceId& resource, const State& state, Instant now) const;
  Vote vote(const ResourceId& resource, const State& state, Instant now) const;

  /// Its word that the set of its record may be changed, with the epochs that it promised; nothing: not now (voter_set.h).
  std::optional<std::vector<PromisedEpoch>> word(const State& state, Instant now) const;

  /// The promises that are not over, and of a resource that is withheld the session that it may owe one: who has it may say that it ended.
  std::vector<PromiseNote> promises(const State& state, Instant now) const;

  /// Why a voter that the set names answers nothing, or nothing about some resource; or that failover is off by a pause that the log has lost; nothing:
  /// it does answer, or says otherwise why not.
  std::optional<Wait> silence(const State& state, Instant now) const;

  /// When something here changes by time alone; kNever if nothing will.
  Instant next_change(Instant now) const;

  /// Whether it answers at all: it belongs to the voter set, is not blank, and no clone of it was heard.
  bool answers(const State& state, Instant now) const;
  bool blank() const { return blank_; }
  /// Whether it is silent about this resource alone: it was blank, and the log does not show yet who holds.
  bool withholds(const ResourceId& resource) const { return withheld_.contains(resource); }
  bool clone_heard() const { return clone_heard_; }
  /// Who was heard that goes on with this log under another name: an override was granted there, and this voter is silent. Empty: nobody.
  const NodeId& overridden_by() const { return overridden_by_; }
  /// Whether the set that it promised under is over, by what it folded or heard: then no promise of before has no end.
  bool overridden() const { return !overridden_by_.empty() || !renamed_.empty(); }
  /// Whether the log that is folded here is not the record's, by whatever name: somebody else's, or made anew.
  bool foreign_log(const State& state) const;
  /// Whether it waits for its own MemberReturned (blank, or returned in an earlier boot).
  bool wants_return(const State& state) const;
  const VoterRecord& record() const { return record_; }
  /// For invariants: the end of the promise (kNever: endless), or nothing if there is none or it is over.
  std::optional<Instant> promised_until(const ResourceId& resource, const SessionId& session, Instant now) const;

 private:
  std::optional<Wait> lost_pause(const State& state, Instant now) const;
  struct Promise {
    Instant ends{};
    bool needs_log = false;  // since a reboot or a change of set: the same claim must pass the log once more
    bool ended = false;      // its node said that the session ended
    Instant over_since{};
    Sequence named_paused;   // on disk, so it may be named
    Sequence resumed;        // the newest Resumed that a beat of this claim named
  };
  struct Pending {  // a promise being written
    PromiseRecord next;
    std::uint64_t generation = 0;
    NodeId holder;
    RunId run;
    std::uint64_t counter = 0;
    Duration length{};
  };

  bool over(const ResourceId& resource, Instant now) const;
  bool endless(const ResourceId& resource) const;
  bool passes_log(const Claim& claim, const State& state) const;
  void consider(const Beat& beat, const Claim& claim, const State& state, Instant now, Ack& ack, VoterOutput& out);
  void accept(const Claim& claim, Instant now, Ack& ack);
  void begin(const Beat& beat, const Claim& claim, const State& state, VoterOutput& out);
  void hear_resumed(const Beat& beat, const Claim& claim, Instant now, VoterOutput& out);
  void hear_end(const ResourceId& resource, const SessionId& session, Instant now);
  bool may_end(const ResourceId& resource, const SessionId& session, const NodeId& node, const InstanceId& instance) const;
  void write(VoterOutput& out);
  void try_return(const State& state, Instant now, VoterOutput& out);
  bool fold_pause(const ResourceId& resource, const State& state, Instant now);
  bool settle(const ResourceId& resource, const State& state);
  void adopt(const State& state, Instant now, VoterOutput& out);
  bool adopts_name(const State& state, Instant now);
  bool is_behind(const State& state) const;
  Duration longest_promised() const;
  Ack answer(const Beat& beat) const;

  NodeId self_;
  BootId boot_;
  std::uint32_t drift_ppm_;
  Duration ttl_;
  VoterRecord record_;
  std::map<ResourceId, Promise> promises_;
  std::map<ResourceId, Pending> pending_;
  std::set<ResourceId> withheld_;  // after blank: the log does not show who holds
  std::map<ResourceId, std::vector<SessionId>> known_ends_;
  std::uint64_t generation_ = 0;   // of the newest record asked to be written
  std::uint64_t recorded_ = 0;     // on disk
  std::uint64_t gate_ = 0;         // no ack before this generation is on disk
  bool blank_ = false;
  Instant blank_until_{};
  bool clone_heard_ = false;
  NodeId overridden_by_;
  LogId renamed_;            // the log's name that is folded here, and taken up at renamed_at_; empty: it is the record's
  Instant renamed_at_{};
  Instant started_{};
  Instant calm_since_{};  // since when it has named one set, not blank, and no promise has been without an end
  Sequence regressed_;    // the newest LogRegressed folded
};

}  // namespace daarion
