#include "controlplane/core/peers.h"

#include <algorithm>
#include <utility>

#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {
constexpr Duration kRateWindow = std::chrono::seconds(1);
constexpr Duration kShortestWindow = std::chrono::milliseconds(100);  // of two looks, as beats that are late by different times tell it
constexpr Duration kDelayWindow = std::chrono::seconds(60);            // drift of 100 ppm is 12 ms in two of them
constexpr std::uint64_t kLongestBootMs = 1'000'000'000'000;            // 30 years; more is no clock's

/// Whether the beat's node folds this log, also where it is past an override that is not folded here yet.
bool is_of(const Beat& beat, const LogState& log) { return beat.log == log.log || (!log.log.empty() && goes_on_from(beat, log)); }
}

std::uint64_t PrimaryTrack::rate() const {
  if (rated) return *std::ranges::max_element(rates);
  return (position.lsn.value - rate_from.lsn.value) * 1000 / static_cast<std::uint64_t>(std::max(to_ms(heard - rate_since), to_ms(kShortestWindow)));
}

bool PrimaryTrack::measured() const { return rated || position.lsn != rate_from.lsn; }

bool Peers::hear(const Beat& beat, Instant now) {
  Peer& peer = peers_[beat.node];
  if (peer.beat.run == beat.run && beat.counter <= peer.beat.counter) return false;
  peer.beat = beat;
  peer.heard = now;
  if (peer.instances.empty() || peer.instances.back().first != beat.instance) {
    ++installations_;
    std::erase_if(peer.instances, [&](const auto& i) { return i.first == beat.instance; });
    peer.instances.emplace_back(beat.instance, now);
    if (peer.instances.size() > kInstances) peer.instances.pop_front();
  }
  peer.instances.back().second = now;
  track_primary(beat, now - lateness(peer.delays, beat, now));
  if (beat.node != self_) compare(beat.node, {beat.applied, beat.digest, beat.chain});
  return true;
}

/// By how much longer than a quick one it was on its way. A process that stood still is given all that came meanwhile at once: its beats tell how old
/// what they say was when they were sent.
Duration Peers::lateness(std::optional<Delays>& delays, const Beat& beat, Instant now) {
  if (beat.sent_ms == 0 || beat.sent_ms > kLongestBootMs || PLANTED(kLateIsFresh)) return {};
  const Duration apart = now.time_since_epoch() - std::chrono::milliseconds(beat.sent_ms);
  if (!delays || delays->boot != beat.boot) delays = Delays{.boot = beat.boot, .least = apart, .before = apart, .since = now};
  if (now - delays->since > kDelayWindow) {
    delays->before = std::exchange(delays->least, apart);
    delays->since = now;
  }
  delays->least = std::min(delays->least, apart);
  return apart - std::min(delays->least, delays->before);
}

bool Peers::late(const NodeId& node, const RunId& run, std::uint64_t counter) const {
  const Peer* peer = find(node);
  return peer == nullptr || peer->beat.run != run || counter + 1 < peer->beat.counter;
}

const Peer* Peers::find(const NodeId& node) const {
  // A handful of names, and equality is cheaper than order.
  for (const auto& [id, peer] : peers_)
    if (id == node) return &peer;
  return nullptr;
}

Duration Peers::silent(const NodeId& node, Instant now, Instant start) const {
  const Peer* peer = find(node);
  return now - (peer ? peer->heard : start);
}

Duration Peers::silent(const NodeId& node, const InstanceId& instance, Instant now, Instant start) const {
  const Peer* peer = find(node);
  if (peer == nullptr) return now - start;
  const auto heard = std::ranges::find(peer->instances, instance, &std::pair<InstanceId, Instant>::first);
  return now - (heard == peer->instances.end() ? start : heard->second);
}

Sequence Peers::head(const LogState& log) const {
  Sequence head;
  for (const auto& [node, peer] : peers_)
    if (is_of(peer.beat, log)) head = std::max(head, peer.beat.applied);
  return head;
}

void Peers::log_ends(const LogState& log, Sequence head, Instant asked) {
  for (auto& [node, peer] : peers_)
    if (is_of(peer.beat, log) && peer.heard < asked && peer.beat.applied > head) peer.beat.applied = head;
  std::erase_if(ahead_, [&](const auto& entry) { return entry.second.sequence > head && peers_[entry.first].heard < asked; });
}

void Peers::refold() {
  marks_.clear();
  ahead_.clear();
  disagreeing_.clear();
}

const PrimaryTrack* Peers::primary(const ResourceId& resource) const {
  const auto it = primaries_.find(resource);
  return it == primaries_.end() ? nullptr : &it->second;
}

Duration Peers::majority_silent(const VoterSet& voters, Instant now, Instant start) const {
  std::vector<Duration> each;
  for (auto v = voters.voters.begin(); v != voters.voters.end(); ++v) {
    // A node that is in the set by two installations is heard by one of them at most.
    const bool again = std::find_if(voters.voters.begin(), v, [&](const VoterInstance& before) { return before.node == v->node; }) != v;
    each.push_back(again ? now - start : v->node == self_ ? Duration{} : silent(v->node, now, start));
  }
  if (each.empty()) return {};
  std::ranges::sort(each);
  return each[voters.majority() - 1];
}

void Peers::track_primary(const Beat& beat, Instant sent) {
  for (const EngineReport& engine : beat.engines) {
    if (engine.state != EngineState::kPrimary) continue;
    const auto claim = std::ranges::find(beat.claims, engine.resource, &Claim::resource);
    if (claim == beat.claims.end()) continue;
    PrimaryTrack& track = primaries_[engine.resource];
    if (claim->epoch < track.epoch) continue;
    const Instant looked = sent - std::chrono::milliseconds(engine.age_ms);
    if (track.node != beat.node || track.position.timeline != engine.position.timeline) {
      track = {.node = beat.node, .epoch = claim->epoch, .session = claim->session, .position = engine.position,
               .timeline_start = engine.timeline_start, .heard = looked, .rates = {}, .rated = false, .rate_from = engine.position, .rate_since = looked};
      continue;
    }
    track.epoch = claim->epoch;
    track.session = claim->session;
    if (engine.position.lsn >= track.position.lsn) track.position = engine.position;
    track.heard = looked;
    if (looked - track.rate_since >= kRateWindow) {
      const auto ms = static_cast<std::uint64_t>(to_ms(looked - track.rate_since));
      track.newest_rate = (track.newest_rate + 1) % track.rates.size();
      track.rates[track.newest_rate] = (track.position.lsn.value - track.rate_from.lsn.value) * 1000 / ms;
      track.rated = true;
      track.rate_from = track.position;
      track.rate_since = looked;
    }
  }
}

void Peers::folded(const FoldMark& mark) {
  if (!marks_.empty() && mark.sequence <= marks_.back().sequence) marks_.clear();  // folded anew
  marks_.push_back(mark);
  if (marks_.size() > kMarks) marks_.pop_front();
  for (auto it = ahead_.begin(); it != ahead_.end();) {
    const auto reached = it++;  // comparing ends its entry
    if (reached->second.sequence <= mark.sequence) compare(NodeId(reached->first), FoldMark(reached->second));
  }
}

void Peers::compare(const NodeId& node, const FoldMark& theirs) {
  if (theirs.sequence.value == 0 || theirs.chain.empty()) return;
  if (marks_.empty() || theirs.sequence > marks_.back().sequence) {
    ahead_[node] = theirs;
    return;
  }
  ahead_.erase(node);  // it was further once, and folds anew
  const auto it = std::ranges::lower_bound(marks_, theirs.sequence, {}, &FoldMark::sequence);
  if (it == marks_.end() || it->sequence != theirs.sequence) return;
  if (*it == theirs) {
    disagreeing_.erase(node);
  } else {
    disagreeing_[node] = theirs.sequence;
  }
}

}  // namespace daarion
