// One node's side of the lease for one resource: claim, count acks, know until when it may write. The rules are in lease.h.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/lease.h"
#include "controlplane/core/messages.h"
#include "controlplane/core/state.h"

namespace daarion {

/// When each of this run's newest beats was sent. An ack older than these is worth nothing any more.
class SentBeats {
 public:
  void sent(std::uint64_t counter, Instant at);
  std::optional<Instant> at(std::uint64_t counter) const;

 private:
  static constexpr std::size_t kKept = 256;  // more than a ttl's worth at any rate that beats are sent at
  std::deque<std::pair<std::uint64_t, Instant>> sent_;
};

/// The closest call to a fence so far, and who made it close.
struct LeaseMargin {
  Duration least = Duration::max();  // guard's deadline minus now, at the moment that it was extended; max: never yet
  NodeId slowest;                    // the voter whose ack came last of the majority then
};

class Holder {
 public:
  Holder(ResourceId resource, LeaseTimers timers) : resource_(std::move(resource)), timers_(timers) {}

  /// Claims (epoch, session) from the beat `first_counter` on. The same session may raise its epoch: its time stays.
  void claim(Epoch epoch, SessionId session, std::uint64_t first_counter, Instant now);

  /// Takes up a claim that a living guard still holds for a daemon that was restarted. `valid_until` as its deadline implies.
  void resume(Epoch epoch, SessionId session, Instant valid_until, std::uint64_t first_counter, Instant now);

  /// The session ended: nothing is claimed any more.
  void drop();

  /// Counts an ack of this run. `sent_at` is when the beat it answers was sent; `voters` the set that counts.
  /// Returns whether valid_until moved (or the deadline was dropped).
  bool on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now);

  /// The state moved. Returns whether valid_until changed: a Resumed arms it again, and so does the word that its engine is off, which is wrong
  /// then: voters that fold it keep their promises for one length after the newest beat, so no more is left here.
  bool on_state(const State& state, Instant now, std::uint64_t next_counter, const VoterSet& voters);

  /// The log lost events, and the state is folded anew: which Resumed this holder was armed for is no longer known by its number, and acks
  /// of beats that named one count towards no pause.
  void refold(std::uint64_t next_counter);

  bool claiming() const { return claim_.has_value(); }
  const std::optional<Claim>& current() const { return claim_; }
  Instant claimed_at() const { return claimed_at_; }
  /// The epoch that a majority acked ("earned"); 0: none yet.
  Epoch held() const { return held_; }
  Instant held_at() const { return held_at_; }
  /// Until when a writer may write at most; kNever while paused; the epoch of time if never.
  Instant valid_until() const { return valid_until_; }
  /// When the guard begins to fence.
  Instant deadline() const;
  bool has_lease(Instant now) const { return claim_ && held_.value != 0 && now < deadline(); }
  /// A majority refused this claim and named a higher promise.
  bool refused(const VoterSet& voters) const;
  /// The newest Resumed that this holder has armed for; 0: none.
  Sequence resumed() const { return resumed_; }
  /// The deadline that the guard of a claim that was endless has to have before beats may name that Resumed; the epoch of time: any.
  Instant rearmed() const { return rearmed_; }
  const LeaseMargin& margin() const { return margin_; }
  bool endless() const { return claim_ && valid_until_ == kNever; }

 private:
  bool count(const VoterSet& voters, const State& state, Instant now, const NodeId& voter);
  Instant backed_by(const VoterSet& voters) const;

  ResourceId resource_;
  LeaseTimers timers_;
  std::optional<Claim> claim_;
  Instant claimed_at_{};
  std::uint64_t first_counter_ = 0;  // of the beats that carry this claim
  std::uint64_t armed_counter_ = 0;  // acks of older beats do not count towards a pause
  std::map<NodeId, Instant> acked_;  // per voter: the newest send time it acked
  std::map<NodeId, Sequence> named_; // per voter: the newest Paused it named
  std::map<NodeId, Epoch> refusals_; // per voter: the higher epoch it named
  Epoch held_;
  Instant held_at_{};
  Instant valid_until_{};
  Sequence resumed_;
  Instant rearmed_{};
  LeaseMargin margin_;
};

}  // namespace daarion
