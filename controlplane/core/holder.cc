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
  acked_.clear();
  named_.clear();
  refusals_.clear();
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
  acked_.clear();
  named_.clear();
  refusals_.clear();
  held_ = {};
  valid_until_ = {};
  rearmed_ = {};
}

Instant Holder::deadline() const { return valid_until_ == kNever ? kNever : valid_until_ - timers_.fence_budget; }

bool Holder::on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now) {
  MARK_IF(kHolderOldAck, claim_ && ack.counter < first_counter_);
  if (!claim_ || ack.counter < first_counter_) return false;
  if (ack.voter_set != voters.id || !(voters.has(ack.voter, ack.instance) || PLANTED(kStrangerAnswers))) return false;
  for (const RefusedClaim& r : ack.refused)
    if (r.resource == resource_ && r.epoch == claim_->epoch && r.session == claim_->session && r.promised > claim_->epoch)
      refusals_[ack.voter] = r.promised;
  const auto ours = [&](const AckedClaim& a) {
    return a.resource == resource_ && a.epoch == claim_->epoch && a.session == claim_->session && a.length >= claim_->length;
  };
  const auto accepted = std::ranges::find_if(ack.accepted, ours);
  if (accepted == ack.accepted.end()) return false;
  refusals_.erase(ack.voter);
  Instant& newest = acked_.try_emplace(ack.voter, sent_at).first->second;
  newest = std::max(newest, sent_at);
  if (ack.counter >= armed_counter_) named_[ack.voter] = std::max(named_[ack.voter], accepted->paused);
  return count(voters, state, now, ack.voter);
}

bool Holder::count(const VoterSet& voters, const State& state, Instant now, const NodeId& voter) {
  std::uint32_t naming = 0;
  const bool paused = state.paused(resource_) && !state.fenced(resource_, claim_->session);
  const Sequence pause = state.newest_paused(resource_);
  for (const VoterInstance& v : voters.voters)
    if (const auto it = named_.find(v.node); it != named_.end() && pause.value != 0 && it->second == pause) ++naming;
  const std::uint32_t majority = PLANTED(kMinorityHolds) ? 1 : voters.majority();
  const Instant until = backed_by(voters);
  MARK_IF(kHolderStaleAcks, until != Instant{} && until <= now);
  if (until <= now) return false;  // acks of long ago give nothing, not even the epoch
  if (held_ != claim_->epoch) {
    held_ = claim_->epoch;
    held_at_ = now;
  }
  const Instant before = valid_until_;
  if (valid_until_ != kNever) valid_until_ = std::max(valid_until_, until);
  if (paused && naming >= (PLANTED(kPauseOfOne) ? 1 : majority)) {
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

/// Until when the promises of a majority last, by the send times that it acked; the epoch of time: no majority acked.
Instant Holder::backed_by(const VoterSet& voters) const {
  std::vector<Instant> newest;
  for (const VoterInstance& v : voters.voters)
    if (const auto it = acked_.find(v.node); it != acked_.end()) newest.push_back(it->second);
  const std::uint32_t majority = PLANTED(kMinorityHolds) ? 1 : voters.majority();
  if (newest.size() < majority) return {};
  std::ranges::sort(newest, std::greater<>());
  return later(newest[majority - 1], holder_length(timers_.ttl, PLANTED(kDriftIgnored) ? 0 : timers_.drift_ppm));
}

bool Holder::on_state(const State& state, Instant now, std::uint64_t next_counter, const VoterSet& voters) {
  if (endless() && state.fenced(resource_, claim_->session)) {
    const Instant until = backed_by(voters);
    valid_until_ = until == Instant{} ? now : until;  // either way it may be past: the guard fences then
    armed_counter_ = next_counter;
    named_.clear();
    return true;
  }
  const Sequence resumed = state.newest_resumed(resource_);
  if (state.paused(resource_) || resumed <= resumed_) return false;
  resumed_ = resumed;
  armed_counter_ = next_counter;
  named_.clear();
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
  named_.clear();
}

bool Holder::refused(const VoterSet& voters) const {
  if (!claim_) return false;
  std::uint32_t refusals = 0;
  for (const VoterInstance& v : voters.voters) {
    const auto it = refusals_.find(v.node);
    if (it != refusals_.end() && it->second > claim_->epoch) ++refusals;
  }
  MARK_IF(kHolderRefused, refusals >= voters.majority());
  return refusals >= voters.majority();
}

}  // namespace daarion
