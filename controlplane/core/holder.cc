#include "controlplane/core/holder.h"

#include <algorithm>

#include "controlplane/core/plant.h"

namespace daarion {

void SentBeats::sent(std::uint64_t counter, Instant at) {
  sent_.emplace_back(counter, at);
  if (sent_.size() > kKept) sent_.pop_front();
}

std::optional<Instant> SentBeats::at(std::uint64_t counter) const {
  const auto it = std::ranges::lower_bound(sent_, counter, {}, &std::pair<std::uint64_t, Instant>::first);
  if (it == sent_.end() || it->first != counter) return std::nullopt;
  return it->second;
}

void Holder::claim(Epoch epoch, SessionId session, std::uint64_t first_counter, Instant now) {
  const bool raised = claim_ && claim_->session == session;
  claim_ = Claim{resource_, epoch, session, timers_.ttl};
  claimed_at_ = now;
  first_counter_ = first_counter;
  armed_counter_ = first_counter;
  forget(false);
  MARK_IF(kHolderRaised, raised);
  if (raised) return;
  held_ = {};
  held_at_ = {};
  valid_until_ = {};
  rearmed_ = {};
  if (PLANTED(kNominationIsLease)) held_ = epoch, held_at_ = now, valid_until_ = now + timers_.ttl;
}

void Holder::resume(Epoch epoch, SessionId session, Instant valid_until, std::uint64_t first_counter, Instant now) {
  MARK(kHolderResumed);
  claim(epoch, session, first_counter, now);
  held_ = epoch;
  held_at_ = now;
  valid_until_ = valid_until;
}

void Holder::drop() {
  claim_.reset();
  forget(false);
  held_ = {};
  valid_until_ = {};
  rearmed_ = {};
}

Instant Holder::deadline() const { return valid_until_ == kNever ? kNever : valid_until_ - timers_.fence_budget; }

bool Holder::on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now) {
  MARK_IF(kHolderOldAck, claim_ && ack.counter < first_counter_);
  if (!claim_ || ack.counter < first_counter_) return false;
  tally_of(voters);
  for (const VoterSet& set : ack.set)
    if (set.id == ack.voter_set && !set.id.empty()) tally_of(set);
  const auto under = std::ranges::find(tallies_, PLANTED(kAcksOfAnySet) ? voters.id : ack.voter_set, [](const Tally& t) { return t.set.id; });
  if (under == tallies_.end() || under->set.id.empty()) return false;
  const auto place = std::ranges::find_if(under->set.voters, [&](const VoterInstance& v) {
    return v.node == ack.voter && (v.instance == ack.instance || PLANTED(kStrangerAnswers));
  });
  if (place == under->set.voters.end()) return false;
  MARK_IF(kHolderOtherSet, ack.voter_set != voters.id && !ack.set.empty());
  Said& said = under->said[static_cast<std::size_t>(place - under->set.voters.begin())];
  for (const RefusedClaim& r : ack.refused)
    if (r.resource == resource_ && r.epoch == claim_->epoch && r.session == claim_->session && r.promised > claim_->epoch)
      said.refused = r.promised;
  const auto ours = [&](const AckedClaim& a) {
    return a.resource == resource_ && a.epoch == claim_->epoch && a.session == claim_->session && a.length >= claim_->length;
  };
  const auto accepted = std::ranges::find_if(ack.accepted, ours);
  if (accepted == ack.accepted.end()) return false;
  said.refused = {};
  said.acked = said.acked ? std::max(*said.acked, sent_at) : sent_at;
  if (ack.counter >= armed_counter_) said.named = std::max(said.named, accepted->paused);
  return count(state, now, ack.voter);
}

Holder::Tally& Holder::tally_of(const VoterSet& set) {
  const auto known = std::ranges::find(tallies_, set.id, [](const Tally& t) { return t.set.id; });
  if (known != tallies_.end()) return *known;
  if (tallies_.size() == kTallies) tallies_.erase(tallies_.begin());
  tallies_.push_back({set, std::vector<Said>(set.voters.size())});
  return tallies_.back();
}

void Holder::forget(bool pauses_only) {
  for (Tally& tally : tallies_)
    for (Said& said : tally.said) {
      if (pauses_only)
        said.named = {};
      else
        said = {};
    }
}

bool Holder::count(const State& state, Instant now, const NodeId& voter) {
  const bool paused = state.paused(resource_) && !state.fenced(resource_, claim_->session);
  const Sequence pause = state.newest_paused(resource_);
  const bool named = pause.value != 0 && std::ranges::any_of(tallies_, [&](const Tally& tally) {
    const auto naming = std::ranges::count(tally.said, pause, &Said::named);
    return naming >= (PLANTED(kPauseOfOne) || PLANTED(kMinorityHolds) ? 1 : static_cast<std::ptrdiff_t>(tally.set.majority()));
  });
  const Instant until = backed_by();
  MARK_IF(kHolderStaleAcks, until != Instant{} && until <= now);
  if (until <= now) return false;  // acks of long ago give nothing, not even the epoch
  if (held_ != claim_->epoch) {
    held_ = claim_->epoch;
    held_at_ = now;
  }
  const Instant before = valid_until_;
  if (valid_until_ != kNever) valid_until_ = std::max(valid_until_, until);
  if (paused && named) {
    MARK(kHolderEndless);
    valid_until_ = kNever;
  }
  if (valid_until_ == before) return false;
  if (before > now && before != kNever) {
    const Duration left = before - timers_.fence_budget - now;
    if (left < margin_.least) margin_ = {.least = left, .slowest = voter};
  }
  return true;
}

/// Until when the promises of a majority of any set last, by the send times that it acked; the epoch of time: no majority acked.
Instant Holder::backed_by() const {
  Instant until{};
  for (const Tally& tally : tallies_) until = std::max(until, backed_by(tally));
  return until;
}

Instant Holder::backed_by(const Tally& tally) const {
  std::vector<Instant> newest;
  for (const Said& said : tally.said)
    if (said.acked) newest.push_back(*said.acked);
  const std::uint32_t majority = PLANTED(kMinorityHolds) ? 1 : tally.set.majority();
  if (newest.size() < majority) return {};
  std::ranges::sort(newest, std::greater<>());
  return later(newest[majority - 1], holder_length(timers_.ttl, PLANTED(kDriftIgnored) ? 0 : timers_.drift_ppm));
}

bool Holder::end_endless(Instant now, std::uint64_t next_counter) {
  if (!endless()) return false;
  const Instant until = backed_by();
  valid_until_ = until == Instant{} ? now : until;  // either way it may be past: the guard fences then
  armed_counter_ = next_counter;
  forget(true);
  return true;
}

bool Holder::on_state(const State& state, Instant now, std::uint64_t next_counter) {
  if (claim_ && state.fenced(resource_, claim_->session) && end_endless(now, next_counter)) return true;
  const Sequence resumed = state.newest_resumed(resource_);
  if (state.paused(resource_) || resumed <= resumed_) return false;
  resumed_ = resumed;
  armed_counter_ = next_counter;
  forget(true);
  if (valid_until_ != kNever) return false;
  MARK(kHolderRearmed);
  if (PLANTED(kNotRearmed)) return true;
  valid_until_ = later(now, holder_length(timers_.ttl, timers_.drift_ppm));
  rearmed_ = deadline();
  return true;
}

void Holder::refold(std::uint64_t next_counter) {
  resumed_ = {};
  armed_counter_ = std::max(armed_counter_, next_counter);
  forget(true);
}

bool Holder::refused(const VoterSet& voters) const {
  if (!claim_) return false;
  const auto tally = std::ranges::find(tallies_, voters.id, [](const Tally& t) { return t.set.id; });
  if (tally == tallies_.end()) return false;
  const auto refusals = std::ranges::count_if(tally->said, [&](const Said& said) { return said.refused > claim_->epoch; });
  const bool majority = refusals >= static_cast<std::ptrdiff_t>(voters.majority());
  MARK_IF(kHolderRefused, majority);
  return majority;
}

}  // namespace daarion
