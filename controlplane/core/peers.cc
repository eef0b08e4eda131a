#include "controlplane/core/peers.h"

#include <algorithm>
#include <utility>

#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {
constexpr Duration kRateWindow = std::chrono::seconds(1);
constexpr Duration kShortestWindow = std::chrono::milliseconds(100);  // a few commits say nothing of how many come
constexpr Duration kDelayWindow = std::chrono::seconds(60);            // drift of 100 ppm is 12 ms in two of them
constexpr Duration kOrderKept = std::chrono::seconds(60);              // of a node that is silent; no link holds a beat for so long
constexpr std::uint64_t kLongestBootMs = 1'000'000'000'000;            // 30 years; more is no clock's

/// Whether the beat's node folds this log, also where it is past an override that is not folded here yet.
bool is_of(const Beat& beat, const LogState& log) { return beat.log == log.log || (!log.log.empty() && goes_on_from(beat, log)); }

/// When it was sent, by the clock of its boot; 0: it does not say.
std::uint64_t sent_ms(const Beat& beat) { return beat.sent_ms <= kLongestBootMs ? beat.sent_ms : 0; }

/// The entry of `name`, a new one if there is none, as the newest of at most `most`.
template <class Entry, class Name>
Entry& newest(std::deque<Entry>& entries, Name Entry::*field, const Name& name, std::size_t most) {
  const auto known = std::ranges::find(entries, name, field);
  if (known != entries.end()) {
    std::rotate(known, std::next(known), entries.end());
    return entries.back();
  }
  if (entries.size() == most) entries.pop_front();
  entries.emplace_back().*field = name;
  return entries.back();
}

/// A beat of the run before may still be on its way when the restarted daemon's are here: their clock tells. A run that was never heard always is:
/// the clock of a machine put back to a snapshot goes back with it.
bool is_news(const HeardRun& run, const HeardBoot& boot, const Beat& beat) {
  if (run.counter == 0) return true;
  if (beat.counter <= run.counter) return false;
  return boot.run == beat.run || boot.sent_ms == 0 || sent_ms(beat) == 0 || sent_ms(beat) > boot.sent_ms;
}
}  // namespace

std::uint64_t PrimaryTrack::rate() const {
  if (rated) return *std::ranges::max_element(rates);
  return (position.lsn.value - rate_from.lsn.value) * 1000 / static_cast<std::uint64_t>(std::max(to_ms(rate_until - rate_since), to_ms(kShortestWindow)));
}

bool PrimaryTrack::measured() const { return rated || (rate_until - rate_since >= kShortestWindow && position.lsn != rate_from.lsn); }

bool Peers::hear(const Beat& beat, Instant now) {
  Peer& peer = peers_[beat.node];
  // A machine put back to a snapshot with its memory goes on under a run that was heard further: it is not deaf to us for ever.
  if (now - peer.heard > kOrderKept) peer.runs.clear(), peer.boots.clear();
  HeardRun& run = newest(peer.runs, &HeardRun::run, beat.run, kRuns);
  HeardBoot& boot = newest(peer.boots, &HeardBoot::boot, beat.boot, kBoots);
  if (!is_news(run, boot, beat)) return false;
  run.counter = beat.counter;
  if (sent_ms(beat) < boot.sent_ms) boot.timed = false;  // its clock went back
  boot.run = beat.run;
  boot.sent_ms = sent_ms(beat);
  peer.beat = beat;
  peer.heard = now;
  if (peer.instances.empty() || peer.instances.back().first != beat.instance) ++installations_;
  newest(peer.instances, &std::pair<InstanceId, Instant>::first, beat.instance, kInstances).second = now;
  track_primary(beat, now - lateness(boot, beat, now));
  if (beat.node != self_) compare(beat.node, {beat.applied, beat.digest, beat.chain});
  return true;
}

/// By how much longer than a quick one it was on its way. A process that stood still is given all that came meanwhile at once: its beats tell how old
/// what they say was when they were sent.
Duration Peers::lateness(HeardBoot& heard, const Beat& beat, Instant now) {
  if (sent_ms(beat) == 0 || PLANTED(kLateIsFresh)) return {};
  const Duration apart = now.time_since_epoch() - std::chrono::milliseconds(beat.sent_ms);
  if (!heard.timed) {
    heard.timed = true;
    heard.least = heard.before = apart;
    heard.since = now;
  }
  if (now - heard.since > kDelayWindow) {
    heard.before = std::exchange(heard.least, apart);
    heard.since = now;
  }
  heard.least = std::min(heard.least, apart);
  return apart - std::min(heard.least, heard.before);
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
    const Duration age = std::chrono::milliseconds(engine.age_ms);
    const std::uint64_t said = sent_ms(beat);
    const BootId clock = said == 0 ? BootId{} : beat.boot;
    const Instant at = (said == 0 ? sent : Instant(std::chrono::milliseconds(said))) - age;  // by `clock`
    if (track.node != beat.node || track.position.timeline != engine.position.timeline) {
      track = {.node = beat.node, .position = engine.position, .timeline_start = engine.timeline_start, .rate_clock = clock, .rate_from = engine.position, .rate_since = at};
    } else if (track.rate_clock != clock || at + kRateWindow < track.rate_since) {
      track.rate_clock = clock;
      track.rate_from = engine.position.lsn > track.position.lsn ? engine.position : track.position;
      track.rate_since = at;
    }
    track.epoch = claim->epoch;
    track.session = claim->session;
    if (engine.position.lsn >= track.position.lsn) track.position = engine.position;
    track.heard = sent - age;
    track.rate_until = at;
    if (at - track.rate_since >= kRateWindow) {
      const auto ms = static_cast<std::uint64_t>(to_ms(at - track.rate_since));
      track.newest_rate = (track.newest_rate + 1) % track.rates.size();
      track.rates[track.newest_rate] = (track.position.lsn.value - track.rate_from.lsn.value) * 1000 / ms;
      track.rated = true;
      track.rate_from = track.position;
      track.rate_since = at;
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
