// One node's side of the lease for one resource: claim, count acks, know until when it may write. The rules are in lease.h.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>
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

  /// Counts an ack of this run, under the set that it names: `voters`, the one that this node knows, one from before it, or a later one
  /// that the ack itself brings. A majority of any set that ever was is as good as any other (voter_set.h).
  /// `sent_at` is when the beat it answers was sent.
  /// Returns whether valid_until moved (or the deadline was dropped).
  bool on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now);

  /// The state moved. Returns whether valid_until changed: a Resumed arms it again, and so does the word that its engine is off, which is wrong
  /// then: voters that fold it keep their promises for one length after the newest beat, so no more is left here.
  bool on_state(const State& state, Instant now, std::uint64_t next_counter);
  /// The set that it counts by was overridden: a lease without an end has the end again that its acks give it. Returns whether it had none.
  bool end_endless(Instant now, std::uint64_t next_counter);

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
  /// What the voters of one set said of this claim, each in its place there.
  struct Said {
    std::optional<Instant> acked;  // the newest send time
    Sequence named;                // the newest Paused
    Epoch refused;                 // the higher epoch that it named
  };
  struct Tally {
    VoterSet set;
    std::vector<Said> said;
  };
  static constexpr std::size_t kTallies = 4;  // a set that nobody names any more gives nothing

  Tally& tally_of(const VoterSet& set);
  void forget(bool pauses_only);
  bool count(const State& state, Instant now, const NodeId& voter);
  Instant backed_by() const;
  Instant backed_by(const Tally& tally) const;

  ResourceId resource_;
  LeaseTimers timers_;
  std::optional<Claim> claim_;
  Instant claimed_at_{};
  std::uint64_t first_counter_ = 0;  // of the beats that carry this claim
  std::uint64_t armed_counter_ = 0;  // acks of older beats do not count towards a pause
  std::vector<Tally> tallies_;       // of the newest sets, as they came to be known
  Epoch held_;
  Instant held_at_{};
  Instant valid_until_{};
  Sequence resumed_;
  Instant rearmed_{};
  LeaseMargin margin_;
};

}  // namespace daarion
