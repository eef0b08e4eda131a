// Gathers votes and fresh positions, and nominates. A nomination binds nothing (lease.h); the compare-and-append settles races
// between deciders.
//
// After a lease has ended: a majority of votes within one beat, the positions that replicas were asked for (or as old as they
// are, after a bounded wait), then `decide`. Voters decide in the fixed order of their ids, each a little later than the one
// before it, so that there is usually one append. Then nobody decides again until the named session ended, or one ttl.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "controlplane/core/decide.h"
#include "controlplane/core/messages.h"
#include "controlplane/core/peers.h"
#include "controlplane/core/state.h"
#include "controlplane/core/wait.h"

namespace daarion {

/// What a decider needs to know of its node besides votes.
struct DeciderContext {
  const State& state;
  const Peers& peers;
  const TopologySpec& spec;
  NodeId self;
  InstanceId instance;
  std::string software;
  bool caught_up = false;  // folded to the head heard in beats
  Instant start{};         // of this run
  std::vector<ResourceId> live_wishes;  // resources whose SwitchoverRequested has not run out
  std::int64_t log_ns = 0;              // log time now: of the newest event, and what has passed here since it was folded

  /// The operator's pending wish for the resource; null if there is none, or it has run out.
  const SwitchoverState* wish(const ResourceId& resource) const;
};

/// A holder that was paused and is lost: promises to it have no end, and only a word that it is fenced (FencingConfirmed) gives them one.
struct LostHolder {
  NodeId node;
  SessionId session;
  std::vector<NodeId> voters;  // that are bound to it
  std::uint64_t silent_ms = 0;
  bool replaced = false;       // the node is heard, but as another installation: rebuilt, and what was there before is silent
  bool operator==(const LostHolder&) const = default;
};

/// Whether the votes of a majority are kept by promises without an end to a holder that is silent. Judged from beats: a voter that is
/// bound longer than any promise with an end could last, to a node that neither it nor this node hears, or to an installation of it that
/// this node does not hear any more since another one speaks in its place.
std::optional<LostHolder> lost_holder(const ResourceId& resource, const DeciderContext& context, Instant now);

/// What is waited for then, and the command that gives the word.
std::string what_of(const LostHolder& lost);
std::string confirm_command(const ResourceId& resource, const LostHolder& lost);

/// The event of the log that a nomination follows: what an operator asked for, the end of the newest session, or that the last holder is unreachable.
/// Empty: none of these is folded, as where a lease runs out before anybody has told the log of its holder's silence.
EventId cause_of(const Evidence& evidence, const DeciderContext& context);

class Decider {
 public:
  explicit Decider(ResourceId resource) : resource_(std::move(resource)) {}

  /// Returns whether it is another vote than the last of this voter: each comes several times, over every connection.
  bool on_vote(const Vote& vote, Instant now);

  /// Decides if it may. Returns the decision to append (with `to` set), and the evidence it was made from.
  struct Nomination {
    Evidence evidence;
    Decision decision;
  };
  std::optional<Nomination> advance(const DeciderContext& context, Instant now);

  /// What it waits for; nothing while the lease lives or there is nothing to decide.
  const std::optional<Wait>& wait() const { return wait_; }

  /// When advance() may have something new by time alone.
  Instant next_change() const { return next_; }

  /// The same rules on this moment, as if the votes were there and (if `holder_dead`) its holder were not: for `why-not`
  /// and the "if node1 dies now" line.
  static Nomination preview(const ResourceId& resource, const DeciderContext& context, bool holder_dead, Instant now);

  /// What this node knows now of whom a decision would be about; no votes.
  static Evidence gather(const ResourceId& resource, const DeciderContext& context, Instant now);

 private:
  struct Heard {
    Vote vote;
    Instant at{};
  };
  std::vector<VoteEvidence> count_votes(const DeciderContext& context, Instant now) const;
  bool positions_fresh(const Evidence& evidence, Instant now) const;
  void waits(std::string what, std::string unblock, Instant now);

  ResourceId resource_;
  std::map<NodeId, Heard> votes_;
  Sequence decided_;           // the newest decision and the newest completion folded,
  Sequence completed_;
  Instant named_at_{};         // and when the later of them was: votes from before it speak of another lease
  Instant majority_since_{};   // the epoch of time: there is none
  Instant writer_awaited_since_{};  // who wrote last, since the newest completion; the epoch of time: nobody was
  std::optional<Wait> wait_;
  Instant next_ = kNever;
};

}  // namespace daarion
