#include "controlplane/core/voter.h"

#include <algorithm>
#include <utility>

#include "controlplane/core/check.h"
#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {
constexpr std::size_t kMaxKnownEnds = 64;  // an end forgotten: the promise runs out by time instead

bool same_holder(const PromiseRecord& promise, const NodeId& node, const InstanceId& instance) {
  return promise.node == node && (promise.instance.empty() || promise.instance == instance || PLANTED(kInstanceIgnored));
}
}  // namespace

Voter::Voter(NodeId self, const LeaseTimers& timers, VoterRecord record, RunId run, BootId boot, Instant now, Duration uptime)
    : self_(std::move(self)), boot_(boot), drift_ppm_(PLANTED(kDriftIgnored) ? 0 : timers.drift_ppm), ttl_(timers.ttl), record_(std::move(record)), started_(now),
      calm_since_(now) {
  const bool same_boot = record_.boot == boot;
  if (PLANTED(kRecordForgotten)) record_.promises.clear();
  Duration longest = timers.ttl;  // the record may be an old one that lacks promises
  for (const auto& [resource, rec] : record_.promises) {
    Promise& p = promises_[resource];
    p.needs_log = !same_boot;
    p.named_paused = rec.paused;
    p.ends = same_boot && !PLANTED(kRestartEndsPromise) ? later(now, promise_length(rec.longest, drift_ppm_)) : now;
    p.over_since = now;
    longest = std::max(longest, rec.longest);
  }
  if (!same_boot && !record_.boot.empty() && !PLANTED(kRebootNotBlank)) {
    MARK(kVoterBlank);
    blank_ = true;
    const Duration silence = promise_length(longest, drift_ppm_);
    blank_until_ = uptime >= silence ? now : later(now, silence - uptime);
  }
  if (!record_.run.empty() && record_.run != run) {
    record_.earlier_runs.push_back(record_.run);
    if (record_.earlier_runs.size() > kMaxEarlierRuns) record_.earlier_runs.erase(record_.earlier_runs.begin());
  }
  record_.run = run;
  // Until it has returned the record stays of the earlier boot: a daemon that is restarted meanwhile is blank again.
  if (!blank_ || PLANTED(kRestartEndsBlank)) record_.boot = boot;
}

bool Voter::answers(const State& state, Instant) const {
  return !blank_ && !clone_heard_ && overridden_by_.empty() && recorded_ >= gate_ && !record_.voters.id.empty() &&
         (record_.voters.has(self_, record_.instance) || PLANTED(kStrangerAnswers)) && !foreign_log(state) &&
         (state.voters.id.empty() || state.voters.id == record_.voters.id);
}

bool Voter::foreign_log(const State& state) const {
  return !record_.log.empty() && !state.log.log.empty() && state.log.log != record_.log && root_of(state.log) != root_of(record_);
}

void Voter::start(VoterOutput& out) {
  write(out);
  gate_ = generation_;
}

bool Voter::wants_return(const State& state) const {
  if (!blank_) return false;
  const MemberState* me = state.member(self_);
  return me == nullptr || me->boot != boot_ || me->returned.value == 0;
}

bool Voter::endless(const ResourceId& resource) const {
  const auto rec = record_.promises.find(resource);
  return rec != record_.promises.end() && rec->second.paused.value != 0;
}

bool Voter::over(const ResourceId& resource, Instant now) const {
  const auto it = promises_.find(resource);
  if (it == promises_.end()) return true;
  if (it->second.ended) return true;
  const Duration early = PLANTED(kPromoteBeforeFence) ? record_.promises.at(resource).longest / 2 : Duration{};
  return (!endless(resource) || PLANTED(kPauseDropped)) && now >= it->second.ends - early;
}

bool Voter::passes_log(const Claim& claim, const State& state) const {
  if (PLANTED(kOldEpochAcked)) return true;
  const auto floor = record_.floors.find(claim.resource);
  if (floor != record_.floors.end() && claim.epoch < floor->second) return false;
  const LeaseState* lease = state.lease(claim.resource);
  return lease == nullptr || claim.epoch >= lease->epoch;
}

std::optional<Instant> Voter::promised_until(const ResourceId& resource, const SessionId& session, Instant now) const {
  const auto rec = record_.promises.find(resource);
  if (rec == record_.promises.end() || rec->second.session != session || over(resource, now)) return std::nullopt;
  return endless(resource) ? kNever : promises_.at(resource).ends;
}

Ack Voter::answer(const Beat& beat) const {
  Ack ack{.voter = self_, .instance = record_.instance, .log = record_.log, .voter_set = record_.voters.id,
          .holder = beat.node, .run = beat.run, .counter = beat.counter, .accepted = {}, .refused = {}};
  if (beat.voter_set != record_.voters.id) ack.set = {record_.voters};
  return ack;
}

void Voter::on_beat(const Beat& beat, const State& state, Instant now, VoterOutput& out) {
  const bool own_run = beat.run == record_.run || std::ranges::find(record_.earlier_runs, beat.run) != record_.earlier_runs.end();
  if (beat.instance == record_.instance && !own_run) clone_heard_ = true;
  if (!record_.log.empty() && goes_on_from(beat, record_) && beat.node != self_) {
    MARK(kVoterOverridden);
    overridden_by_ = beat.node;
  } else if (beat.node == overridden_by_) {
    overridden_by_ = {};  // its log has lost the override
  }
  if (beat.log.empty() || beat.log != record_.log) return;
  for (const SessionNote& note : beat.ended) {
    const auto rec = record_.promises.find(note.resource);
    if (rec == record_.promises.end() || !same_holder(rec->second, beat.node, beat.instance)) continue;
    MARK_IF(kVoterEndByBeat, rec->second.session == note.session);
    if (may_end(note.resource, note.session, beat.node, beat.instance)) hear_end(note.resource, note.session, now);
  }
  if (!answers(state, now) || beat.claims.empty()) return;
  Ack ack = answer(beat);
  for (const Claim& claim : beat.claims) {
    if (withheld_.contains(claim.resource)) {
      MARK(kVoterWithholds);
      continue;
    }
    hear_resumed(beat, claim, now, out);
    consider(beat, claim, state, now, ack, out);
  }
  if (!ack.accepted.empty() || !ack.refused.empty()) out.acks.push_back(std::move(ack));
}

/// A beat of the promised session that names a later Resumed gives the promise an end again.
void Voter::hear_resumed(const Beat& beat, const Claim& claim, Instant now, VoterOutput& out) {
  const auto note = std::ranges::find(beat.resumed, claim.resource, &ResumeNote::resource);
  const auto rec = record_.promises.find(claim.resource);
  if (note == beat.resumed.end() || rec == record_.promises.end() || rec->second.session != claim.session) return;
  Promise& promise = promises_[claim.resource];
  promise.resumed = std::max(promise.resumed, note->resumed);
  if (rec->second.paused.value == 0 || note->resumed <= rec->second.paused) return;
  MARK(kVoterResumes);
  rec->second.paused = {};
  rec->second.longest = std::max(rec->second.longest, claim.length);  // for so long the holder armed itself, whether this claim is acked or not
  promise.named_paused = {};
  promise.ends = later(now, promise_length(rec->second.longest, drift_ppm_));
  calm_since_ = now;
  write(out);  // ungated: until it is on disk, the record errs to the longer promise
}

void Voter::consider(const Beat& beat, const Claim& claim, const State& state, Instant now, Ack& ack, VoterOutput& out) {
  const auto refuse = [&] {
    const auto rec = record_.promises.find(claim.resource);
    // A higher promise to the same session is no rival's: its holder may not have folded yet that it was raised.
    const bool another = rec != record_.promises.end() && rec->second.session != claim.session;
    ack.refused.push_back({claim.resource, claim.epoch, claim.session, another ? rec->second.epoch : Epoch{}});
  };
  const auto& ends = known_ends_[claim.resource];
  if (std::ranges::find(ends, claim.session) != ends.end() && !PLANTED(kEndedSessionAcked)) {
    MARK(kVoterRefusesEnded);
    return refuse();
  }

  if (const auto waiting = pending_.find(claim.resource); waiting != pending_.end()) {
    // The same claim goes on while its record is being written: the ack will answer its newest beat.
    MARK(kVoterSameWhileWriting);
    const PromiseRecord& next = waiting->second.next;
    if (next.epoch == claim.epoch && next.session == claim.session && waiting->second.run == beat.run)
      waiting->second.counter = beat.counter;
    return;
  }

  const auto rec = record_.promises.find(claim.resource);
  if (rec != record_.promises.end() && rec->second.epoch == claim.epoch && rec->second.session == claim.session) {
    Promise& promise = promises_[claim.resource];
    if (promise.needs_log && !passes_log(claim, state)) {
      MARK(kVoterRefusesUnproved);
      return refuse();
    }
    if (claim.length > rec->second.longest) return begin(beat, claim, state, out);
    promise.needs_log = false;
    return accept(claim, now, ack);
  }

  const bool higher = rec == record_.promises.end() || claim.epoch > rec->second.epoch ||
                      (PLANTED(kEqualEpochAcked) && claim.epoch == rec->second.epoch) || PLANTED(kOldEpochAcked);
  const bool same_session = rec != record_.promises.end() && rec->second.session == claim.session;
  const bool free = rec == record_.promises.end() || over(claim.resource, now) || same_session || PLANTED(kBoundVoterAcks);
  if (!higher || !free || !passes_log(claim, state)) {
    MARK_IF(kVoterRefusesOld, !higher);
    MARK_IF(kVoterRefusesBound, higher && !free);
    MARK_IF(kVoterRefusesBelowLog, higher && free);
    return refuse();
  }
  MARK_IF(kVoterRaises, same_session);
  begin(beat, claim, state, out);
  if (PLANTED(kAckBeforeRecord)) ack.accepted.push_back({claim.resource, claim.epoch, claim.session, claim.length, {}});
}

void Voter::accept(const Claim& claim, Instant now, Ack& ack) {
  Promise& promise = promises_[claim.resource];
  promise.ended = false;
  promise.ends = std::max(promise.ends, later(now, promise_length(claim.length, drift_ppm_)));
  ack.accepted.push_back({claim.resource, claim.epoch, claim.session, claim.length, promise.named_paused});
}

void Voter::begin(const Beat& beat, const Claim& claim, const State& state, VoterOutput& out) {
  const auto rec = record_.promises.find(claim.resource);
  const bool same = rec != record_.promises.end() && rec->second.session == claim.session;
  PromiseRecord next{.epoch = claim.epoch, .session = claim.session, .node = beat.node, .longest = claim.length, .paused = {},
                     .instance = beat.instance};
  if (same) {
    next.longest = std::max(next.longest, rec->second.longest);
    next.paused = rec->second.paused;
  }
  if (state.paused(claim.resource) && !state.fenced(claim.resource, claim.session)) {
    MARK(kVoterPausesNew);
    next.paused = std::max(next.paused, state.newest_paused(claim.resource));
  }
  VoterRecord whole = record_;
  whole.promises[claim.resource] = next;
  ++generation_;
  pending_[claim.resource] = {.next = next, .generation = generation_, .holder = beat.node, .run = beat.run,
                              .counter = beat.counter, .length = claim.length};
  for (const auto& [resource, other] : pending_) whole.promises[resource] = other.next;
  out.record = std::move(whole);
  out.generation = generation_;
}

void Voter::write(VoterOutput& out) {
  ++generation_;
  out.record = record_;
  for (const auto& [resource, other] : pending_) out.record->promises[resource] = other.next;
  out.generation = generation_;
}

void Voter::on_recorded(std::uint64_t generation, Instant now, VoterOutput& out) {
  recorded_ = std::max(recorded_, generation);
  for (auto it = pending_.begin(); it != pending_.end();) {
    const Pending& p = it->second;
    if (p.generation > recorded_) {
      ++it;
      continue;
    }
    const ResourceId& resource = it->first;
    const auto& ends = known_ends_[resource];
    record_.promises[resource] = p.next;
    Promise& promise = promises_[resource];
    // The set changed while it was written: the claim has to pass the log again, and there is no ack for it yet.
    const bool before_set = p.generation < gate_;
    promise = Promise{.ends = later(now, promise_length(p.next.longest, drift_ppm_)), .needs_log = before_set,
                      .ended = std::ranges::find(ends, p.next.session) != ends.end(), .over_since = now,
                      .named_paused = p.next.paused};
    MARK_IF(kVoterEndedWhileWriting, promise.ended);
    if (!promise.ended && !before_set && recorded_ >= gate_ && !clone_heard_) {
      Ack ack{.voter = self_, .instance = record_.instance, .log = record_.log, .voter_set = record_.voters.id,
              .holder = p.holder, .run = p.run, .counter = p.counter, .accepted = {}, .refused = {}};
      ack.accepted.push_back({resource, p.next.epoch, p.next.session, p.length, p.next.paused});
      out.acks.push_back(std::move(ack));
    }
    it = pending_.erase(it);
  }
  for (auto& [resource, promise] : promises_)
    if (!pending_.contains(resource) && recorded_ == generation_) promise.named_paused = record_.promises[resource].paused;
}

/// The end of a session that is promised here is believed of the very instance of the node that it was promised to: a second host
/// with the same node id says truly that it does not have the session, while the first one writes. Or of the one that it is being promised to
/// anew: an installation that claims it took it up from the guard.
bool Voter::may_end(const ResourceId& resource, const SessionId& session, const NodeId& node, const InstanceId& instance) const {
  if (const auto next = pending_.find(resource); next != pending_.end() && next->second.next.session == session)
    return same_holder(next->second.next, node, instance);
  const auto rec = record_.promises.find(resource);
  if (rec == record_.promises.end() || rec->second.session != session || same_holder(rec->second, node, instance)) return true;
  MARK(kVoterEndOfOther);
  return false;
}

void Voter::hear_end(const ResourceId& resource, const SessionId& session, Instant now) {
  auto& ends = known_ends_[resource];
  if (std::ranges::find(ends, session) == ends.end()) {
    ends.push_back(session);
    if (ends.size() > kMaxKnownEnds) ends.erase(ends.begin());
  }
  const auto rec = record_.promises.find(resource);
  if (rec == record_.promises.end() || rec->second.session != session) return;
  Promise& promise = promises_[resource];
  if (promise.ended) return;
  if (endless(resource)) calm_since_ = now;
  promise.ended = true;
  promise.over_since = now;
}

void Voter::on_state(const State& state, Instant now, VoterOutput& out) {
  if (foreign_log(state)) return;
  // First: a record that names a set has the floors of the fold that made it one. With those of before, a voter that is restarted would promise
  // under the new set what the log had passed.
  for (const auto& [resource, lease] : state.leases) {
    Epoch& floor = record_.floors[resource];
    floor = std::max(floor, lease.epoch);
  }
  adopt(state, now, out);
  if (const Sequence lost = state.log.newest_regression(); lost != std::exchange(regressed_, lost)) {
    calm_since_ = now;
    overridden_by_ = {};  // it may be the override that was lost; if not, it is heard again
  }
  bool changed = false;
  for (const auto& [resource, lease] : state.leases) {
    for (const EndedSession& end : lease.ended)
      if (may_end(resource, end.session, end.node, end.instance)) hear_end(resource, end.session, now);
    const auto rec = record_.promises.find(resource);
    if (rec == record_.promises.end()) continue;
    MARK_IF(kVoterEndByLog, lease.has_ended(rec->second.session));
    // A completed higher epoch had a majority, which no older promise can be part of any more.
    if (lease.completed.epoch > rec->second.epoch && lease.completed.session != rec->second.session) {
      MARK(kVoterEndByCompletion);
      hear_end(resource, rec->second.session, now);
    }
    changed |= fold_pause(resource, state, now);
  }
  if (changed) write(out);
  try_return(state, now, out);
}

/// Returns whether the record changed.
bool Voter::fold_pause(const ResourceId& resource, const State& state, Instant now) {
  PromiseRecord& rec = record_.promises.at(resource);
  Promise& promise = promises_[resource];
  const Sequence paused = state.newest_paused(resource);
  // A word that the holder is fenced gives an endless promise one more length, no more.
  const bool fenced = state.fenced(resource, rec.session);
  const bool unnamed = PLANTED(kResumeUnnamed) && rec.paused.value != 0 && !state.paused(resource);
  if ((fenced && rec.paused.value != 0) || unnamed) {
    MARK(kVoterFencingConfirmed);
    rec.paused = {};
    promise.named_paused = {};
    promise.ends = later(now, promise_length(rec.longest, drift_ppm_));
    calm_since_ = now;
    return true;
  }
  if (fenced || !state.paused(resource) || rec.paused >= paused || promise.resumed > paused || over(resource, now)) return false;
  MARK(kVoterPauses);
  rec.paused = paused;
  return true;
}

/// No promise of any voter lasts longer, as far as this one knows.
Duration Voter::longest_promised() const {
  Duration longest = ttl_;
  for (const auto& [resource, rec] : record_.promises) longest = std::max(longest, rec.longest);
  return longest;
}

/// Whether the log's name that is folded here is taken up. After an override only when every lease by the set before has run out, and until then
/// this voter says nothing under either. As with the set, not by a fold that is behind: it shows the names that the log had.
bool Voter::adopts_name(const State& state, Instant now) {
  if (record_.log.empty()) return true;
  if (state.log.log == record_.log || is_behind(state)) {
    renamed_ = {};
    return false;
  }
  if (renamed_ != state.log.log) {
    renamed_ = state.log.log;
    renamed_at_ = later(now, promise_length(std::max(longest_promised(), state.topology.spec.lease.ttl), drift_ppm_));
  }
  return now >= renamed_at_ || PLANTED(kOverrideAtOnce);
}

/// Within one log the set only moves on: a fold that is behind (a store rebuilt, or of an old backup) shows an earlier one, under which
/// this voter could answer beside others that are further (tests/model/voters.pml, SET_KEPT). One that has passed the place where this
/// voter's set stood, and shows another, is of a log that lost it.
/// So is one that says of an earlier place that it lost events, and did not yet when the set was taken up.
bool Voter::is_behind(const State& state) const {
  return state.applied < record_.voters.sequence && state.log.newest_regression() <= record_.regressed;
}

/// The voter set and log id of the state become those of the record, on disk before the next ack.
void Voter::adopt(const State& state, Instant now, VoterOutput& out) {
  if (state.log.log.empty()) return;
  const bool new_log = adopts_name(state, now);
  if (!new_log && state.log.log != record_.log) return;
  const bool by_older_software = !new_log && record_.overrides != state.log.overrides;  // which rewrote the record without these
  const bool new_set = !state.voters.id.empty() && state.voters.id != record_.voters.id && !is_behind(state);
  if (by_older_software) {
    record_.root = state.log.root;
    record_.overrides = state.log.overrides;
    write(out);
  }
  if (!new_log && !new_set) return;
  MARK(kVoterAdopts);
  MARK_IF(kVoterRenamed, new_log && !record_.log.empty());
  record_.log = state.log.log;
  record_.root = state.log.root;
  record_.overrides = state.log.overrides;
  if (new_log) overridden_by_ = {}, renamed_ = {};
  if (new_set) record_.voters = state.voters, record_.regressed = state.log.newest_regression();
  calm_since_ = now;
  for (auto& [resource, promise] : promises_) {
    promise.needs_log = true;
    promise.over_since = std::max(promise.over_since, now);
  }
  write(out);
  gate_ = generation_;
}

void Voter::on_time(const State& state, Instant now, VoterOutput& out) {
  if (!renamed_.empty() && now >= renamed_at_ && !foreign_log(state)) adopt(state, now, out);
  try_return(state, now, out);
}

/// Ends the silence after a reboot, resource by resource.
void Voter::try_return(const State& state, Instant now, VoterOutput& out) {
  bool changed = false;
  if (blank_) {
    const MemberState* me = state.member(self_);
    const bool returned = (me && me->boot == boot_ && me->returned.value != 0) || PLANTED(kReturnedUnread);
    if (now < blank_until_ || !returned) return;
    MARK(kVoterReturns);
    blank_ = false;
    record_.boot = boot_;
    for (const auto& [resource, lease] : state.leases) withheld_.insert(resource);
    changed = true;
  }
  for (auto it = withheld_.begin(); it != withheld_.end();) {
    if (settle(*it, state)) {
      it = withheld_.erase(it);
      changed = true;
    } else {
      ++it;
    }
  }
  if (changed) {
    calm_since_ = now;
    write(out);
    gate_ = generation_;
  }
}

/// What a voter owes that was blank (lease.h, "pause"). Returns whether it may answer for the resource now.
bool Voter::settle(const ResourceId& resource, const State& state) {
  const LeaseState* lease = state.lease(resource);
  if (lease == nullptr) return true;
  const CompletedLease& holder = lease->completed;
  if (!state.may_be_endless(resource) || PLANTED(kBlankForgetsPause)) return true;
  if (state.in_doubt(resource) != nullptr) return false;
  if (!lease->has_holder()) return true;
  // It may have raised its epoch, and write under that, and only the completion be missing.
  Epoch owed = holder.epoch;
  for (const OpenDecision& d : lease->open)
    if (d.session == holder.session) owed = std::max(owed, d.epoch);
  PromiseRecord& rec = record_.promises[resource];
  // A promise of that very epoch to another session (the log lost its decision, and named the epoch again): this voter never promised the
  // holder anything, and owes it nothing.
  if (rec.session != holder.session && (rec.epoch > owed || (rec.epoch == owed && !rec.session.empty()))) return true;
  MARK(kVoterOwesPause);
  if (rec.session != holder.session)
    rec = {.epoch = owed, .session = holder.session, .node = holder.node, .longest = {}, .paused = {}, .instance = holder.instance};
  rec.epoch = std::max(rec.epoch, owed);
  // What ends the pause gives it one length more. How long it once was, this record does not tell.
  rec.longest = std::max(rec.longest, ttl_);
  rec.paused = std::max(rec.paused, state.newest_paused(resource));
  promises_[resource].ended = false;
  promises_[resource].needs_log = true;
  return true;
}

bool Voter::may_vote(const ResourceId& resource, const State& state, Instant now) const {
  return answers(state, now) && !withheld_.contains(resource) && !pending_.contains(resource) && over(resource, now);
}

Vote Voter::vote(const ResourceId& resource, const State& state, Instant now) const {
  Instant since = started_;
  Epoch highest;
  if (const auto rec = record_.promises.find(resource); rec != record_.promises.end()) {
    highest = rec->second.epoch;
    const Promise& p = promises_.at(resource);
    since = p.ended ? p.over_since : std::max(p.ends, p.over_since);
  }
  // What it folded once counts also where the log has lost it.
  if (const auto floor = record_.floors.find(resource); floor != record_.floors.end()) highest = std::max(highest, floor->second);
  if (const LeaseState* lease = state.lease(resource)) highest = std::max(highest, lease->epoch);
  return Vote{.voter = self_, .instance = record_.instance, .run = record_.run, .log = record_.log,
              .voter_set = record_.voters.id, .resource = resource, .highest = highest,
              .over_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_ms(now - since))), .heard = {}};
}

std::optional<std::vector<PromisedEpoch>> Voter::word(const State& state, Instant now) const {
  if (blank_ || clone_heard_ || !overridden_by_.empty() || recorded_ < gate_ || !pending_.empty() || !withheld_.empty()) return std::nullopt;
  if (record_.voters.id.empty() || state.voters.id != record_.voters.id || state.log.log != record_.log) return std::nullopt;
  std::vector<PromisedEpoch> out;
  // What one promised that was a voter once binds only itself; and while it is none, no beat of the holder's ends a promise of its.
  const bool member = record_.voters.has(self_, record_.instance);
  for (const auto& [resource, rec] : record_.promises) {
    const LeaseState* lease = state.lease(resource);
    const bool endless_now = rec.paused.value != 0 && !promises_.at(resource).ended;
    if (member && ((endless_now && !PLANTED(kWordWhilePaused)) || rec.epoch > (lease ? lease->epoch : Epoch{}))) return std::nullopt;
    out.push_back({resource, rec.epoch});
  }
  if (now < later(calm_since_, promise_length(longest_promised(), drift_ppm_)) && !PLANTED(kWordAtOnce)) return std::nullopt;
  return out;
}

std::vector<PromiseNote> Voter::promises(const State& state, Instant now) const {
  std::vector<PromiseNote> out;
  for (const auto& [resource, rec] : record_.promises)
    if (!over(resource, now)) out.push_back({resource, rec.node, rec.session, rec.instance, endless(resource)});
  for (const ResourceId& resource : withheld_)
    if (const OpenDecision* d = state.in_doubt(resource); d && std::ranges::find(out, resource, &PromiseNote::resource) == out.end())
      out.push_back({resource, d->node, d->session, d->instance, true});
  return out;
}

std::optional<Wait> Voter::silence(const State& state, Instant now) const {
  const bool member = std::ranges::find(state.voters.voters, self_, &VoterInstance::node) != state.voters.voters.end();
  if (!member || record_.voters.id.empty() || foreign_log(state)) return std::nullopt;
  const auto says = [&](std::string what, std::string unblock) { return Wait{{}, self_.value + "'s voter is silent: " + std::move(what), std::move(unblock), now}; };
  if (!state.voters.has(self_, record_.instance))
    return says("it is not the installation that the voter set names; a majority of those that are changes the set", "daarionctl nodes");
  if (blank_)
    return now < blank_until_ ? says("after a reboot it cannot know whether an earlier promise runs, for one lease", "daarionctl status")
                              : says("after a reboot it waits to see its MemberReturned in the log", "daarionctl events");
  if (!renamed_.empty()) return says("an override was granted; whatever was promised before runs out, for one lease", "daarionctl status");
  if (!overridden_by_.empty())
    return says("an override was granted: " + overridden_by_.value + " goes on with this log under another name, and this node has not folded why", "daarionctl nodes");
  if (state.voters.id != record_.voters.id && state.applied < record_.voters.sequence)
    return says("its fold has not reached the voter set of event " + std::to_string(record_.voters.sequence.value), "daarionctl status");
  for (const ResourceId& resource : withheld_)
    if (const OpenDecision* d = state.in_doubt(resource))
      return says("epoch " + std::to_string(d->epoch.value) + " of " + resource.value + " was decided for " + d->node.value + ", which may write under it without an end",
                  "start " + d->node.value + ", or daarionctl confirm-fencing " + resource.value + " --holder " + d->node.value + " --reason TEXT");
  return lost_pause(state, now);
}

/// The log lost the Paused that a promise has no end by: failover is off, and nothing there says so. Resumed counts once its number is higher.
std::optional<Wait> Voter::lost_pause(const State& state, Instant now) const {
  for (const auto& [resource, rec] : record_.promises) {
    const Sequence paused = rec.paused;
    const bool lost = std::ranges::any_of(state.log.regressions, [&](const auto& r) { return r.head < paused && paused <= r.folded; });
    const bool over = state.newest_resumed(resource) > paused || state.fenced(resource, rec.session);  // the holder's beats end the promise
    if (!endless(resource) || promises_.at(resource).ended || over || state.paused(resource) || !(lost || state.applied >= paused)) continue;
    MARK(kPauseLost);
    return Wait{resource, "an end of the pause of event " + std::to_string(paused.value) + ", which the log has lost: until then nobody takes over " + resource.value,
                "daarionctl resume " + resource.value + " --reason TEXT", now};
  }
  return std::nullopt;
}

Instant Voter::next_change(Instant now) const {
  Instant next = blank_ && blank_until_ > now ? blank_until_ : kNever;
  if (!renamed_.empty() && renamed_at_ > now) next = std::min(next, renamed_at_);
  for (const auto& [resource, promise] : promises_)
    if (!promise.ended && !endless(resource) && promise.ends > now) next = std::min(next, promise.ends);
  return next;
}

}  // namespace daarion
