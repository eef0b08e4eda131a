#include "controlplane/core/agent.h"

#include <algorithm>

#include "controlplane/core/plant.h"

namespace daarion {
namespace {

// Sessions of earlier guards that are spoken of: one per voter is already more than can happen.
constexpr std::size_t kMaxLost = 16;
// A command that the guard's reports do not show done is given again: a socket may have been full, or just gone.
constexpr Duration kSayAgain = std::chrono::milliseconds(200);
// An earned claim whose engine does not open within this time ends, so that another node may write: a disk that hangs answers
// nothing, and would keep the lease for ever. A promotion takes tens of ms, a start seconds; what takes longer shows progress (a
// provision under way, a replay that moves). Shorter: a slow disk loses leases that it would have used.
constexpr Duration kOpenWithin = std::chrono::seconds(30);
// A planned switchover is begun only if its target is this close: the holder stops writing while the rest is sent.
constexpr std::uint64_t kSwitchoverLagBytes = 1 << 20;

std::uint64_t ms_between(Instant from, Instant to) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_ms(to - from))); }

/// Whether the guard says that the session is taken, and not over.
bool has_taken(const GuardReport& guard, const SessionId& session) { return guard.taken && guard.taken->session == session; }

}  // namespace

void Agent::on_ack(const Ack& ack, Instant sent_at, const VoterSet& voters, const State& state, Instant now) {
  holder_.on_ack(ack, sent_at, voters, state, now);
}

void Agent::on_promise(const SessionId& session) {
  if (!guard_.connected || session == guard_.next || has_taken(guard_, session)) return;
  if (std::ranges::find(guard_.ended, session, &SessionEnd::session) != guard_.ended.end()) return;
  if (std::ranges::find(lost_, session) != lost_.end()) return;
  MARK(kSaysLostSession);
  lost_.push_back(session);
  if (lost_.size() > kMaxLost) lost_.erase(lost_.begin());
}

EngineReport Agent::engine(Instant now) const {
  EngineReport report = engine_;
  report.resource = resource_;
  report.age_ms = ms_between(engine_at_, now);
  report.contact_age_ms += report.age_ms;
  report.confirmers.clear(), report.followers.clear();
  report.confirmations = 0, report.confirmed_all = false;
  report.looked = 0;
  return report;
}

Sequence Agent::resumed() const {
  const Instant since = holder_.rearmed();
  const bool armed = guard_.connected && holder_.claiming() && has_taken(guard_, holder_.current()->session) &&
                     guard_.taken->deadline != kNever && guard_.taken->deadline >= since;
  MARK_IF(kResumedUnarmed, since != Instant{} && !armed);
  return since == Instant{} || armed || PLANTED(kNamedUnarmed) ? holder_.resumed() : Sequence{};
}

/// Ends that others should hear by beat. The end of a clean stop goes by the log first: deciders are to know its final position.
std::vector<SessionId> Agent::ended_to_say(const State& state) const {
  std::vector<SessionId> out;
  const LeaseState* lease = state.lease(resource_);
  for (const SessionEnd& end : guard_.ended) {
    const bool clean = final_ && final_->lsn.value != 0 && end.session == retiring_;
    if (clean && !(lease && lease->has_ended(end.session))) continue;
    out.push_back(end.session);
  }
  if (PLANTED(kReleaseBeforeDemotion) && stopping_engine_ && holder_.claiming()) out.push_back(holder_.current()->session);
  out.insert(out.end(), lost_.begin(), lost_.end());
  return out;
}

/// Whether the log speaks of this very instance of this node. Another one's sessions are not ours to end or to complete: its host may
/// live on with them. A decision of an older log named none.
bool Agent::is_us(const AgentContext& c, const NodeId& node, const InstanceId& instance) const {
  return node == self_ && (instance.empty() || instance == c.cluster.instance || PLANTED(kInstanceIgnored));
}

bool Agent::confirmed() const {
  return guard_.connected && !guard_.fencing && guard_.taken && holder_.claiming() &&
         guard_.taken->session == holder_.current()->session;
}

void Agent::waits(std::string what, std::string unblock, Instant now) {
  take_up(wait_, Wait{resource_, std::move(what), std::move(unblock), now});
}

void Agent::advance(const AgentContext& c, Instant now, AgentOutput& out) {
  next_ = kNever;
  if (!guard_.connected) {
    waits("the guard of " + resource_.value + " on " + self_.value + " to start", "daarionctl status", now);
    return;
  }
  if (wait_ && wait_->what.starts_with("the guard")) wait_.reset();
  const State& state = c.cluster.state;
  const LeaseState* lease = state.lease(resource_);
  follow_guard(c, now, out);
  retire_again(now, out);
  if (c.state_loaded && lease) renew_next(*lease, now, out);
  if (c.state_loaded) {
    if (holder_.on_state(state, now, c.next_counter)) out.beat_now = true;
    if (c.overridden && holder_.end_endless(now, c.next_counter)) out.beat_now = true;
    if (lease) {
      if (lease->decided != decided_seen_) {
        decided_seen_ = lease->decided;
        decided_at_ = now;
      }
      report_ends(c, out);
      take_named(c, *lease, now, out);
    }
    const LeaseState none;  // a log that lost the first decision of all
    keep_lease(c, lease ? *lease : none, now, out);
  }
  arm(now, out);
  if (std::exchange(opened_now_, false)) out.beat_now = true;  // others may have to know of it before the log can tell them
  if (std::exchange(answered_, false)) out.beat_now = true;
  if (!c.state_loaded) return;
  if (lease) complete(c, *lease, now, out);
  hand_over(c, lease, now, out);
  move_engine(c, lease, now, out);
  keep_sync(c, lease, now, out);
  report_replica(c, out);
  report_restart(c, out);
  report_slots(c, out);
}

/// What the guard says about sessions is what is.
void Agent::follow_guard(const AgentContext& c, Instant now, AgentOutput& out) {
  const auto knows = [&](const SessionId& s) { return s == guard_.next || has_taken(guard_, s); };
  if (holder_.claiming() && !knows(holder_.current()->session)) {
    holder_.drop();
    armed_.reset();
    out.beat_now = true;
  }
  if (!holder_.claiming() && guard_.taken && guard_.taken->session != retiring_) {
    const Instant deadline = guard_.taken->deadline;
    holder_.resume(guard_.taken->epoch, guard_.taken->session, later(deadline, timers_.fence_budget), c.next_counter, now);
    armed_ = {guard_.taken->epoch, deadline};
    out.beat_now = true;
  }
}

/// Sessions that the log shows as ours and that the guard no longer has are over: the log is told, by this node alone.
void Agent::report_ends(const AgentContext& c, AgentOutput& out) {
  const LeaseState& lease = *c.cluster.state.lease(resource_);
  const auto is_over = [&](const SessionId& s) {
    return !lease.has_ended(s) && s != guard_.next && !has_taken(guard_, s);
  };
  const CompletedLease& done = lease.completed;
  if (is_us(c, done.node, done.instance) && done.epoch.value != 0 && is_over(done.session)) {
    const auto end = std::ranges::find(guard_.ended, done.session, &SessionEnd::session);
    const EndCause cause = end == guard_.ended.end() ? EndCause::kHostLost : end->cause;
    LeaseReleased released{.session = done.session, .cause = cause, .final_position = false, .position = {},
                           .instance = c.cluster.instance};
    if (final_ && done.session == retiring_ && final_->lsn.value != 0 && cause == EndCause::kReleased) {
      MARK(kReleasedClean);
      released.final_position = true;
      released.position = *final_;
    }
    MARK_IF(kReleasedFenced, cause == EndCause::kFenced);
    MARK_IF(kReleasedCrashed, cause == EndCause::kCrashed);
    MARK_IF(kReleasedLost, cause == EndCause::kHostLost);
    const std::string why = done.session == retiring_ && !retired_why_.empty() ? retired_why_
                            : cause == EndCause::kCrashed                      ? "the engine ended by itself"
                            : cause == EndCause::kFenced                       ? "fenced: its lease had run out"
                                                                               : "its guard or host was lost";
    const SwitchoverState* asked = c.cluster.wish(resource_);
    const bool for_it = done.session == retiring_ && asked != nullptr && asked->from == self_ && why == asked->reason;
    out.appends.push_back({released, done.epoch, for_it ? asked->event : EventId{}, why, {}});
  }
  report_open(c, lease, is_over, out);
  const bool open = std::ranges::find(lease.open, retiring_, &OpenDecision::session) != lease.open.end();
  const bool in_log = lease.has_ended(retiring_) || (retiring_ != lease.completed.session && !open);
  if (!retiring_.empty() && in_log) {
    retiring_ = {};
    retired_why_.clear();
  }
  // A stop that was overtaken (this daemon slept, was fenced, and another node completed an epoch meanwhile) has nothing left to hand over.
  const bool overtaken = !is_us(c, done.node, done.instance) && !PLANTED(kStopsForEver);
  if (stopping_engine_ && !op_ && !holder_.claiming() && retiring_.empty() && (lease.has_ended(done.session) || overtaken)) {
    stopping_engine_ = false;
    final_.reset();
  }
}

/// Decisions for sessions of ours that are over, and that the log still shows as open: one event of an aggregate at a time.
void Agent::report_open(const AgentContext& c, const LeaseState& lease, const std::function<bool(const SessionId&)>& is_over, AgentOutput& out) {
  // An engine that does not say under what it was opened may have written under any of them.
  const bool tells = engine_known_ && (engine_.position.timeline != 0 || engine_.state == EngineState::kEmpty || engine_.state == EngineState::kForeign);
  if (!tells) return;
  // The completed session's end is told above, where the completed lease is ours. Where another installation of this node completed it, whose
  // guard went on without its files, only the one that took it up from that guard, and said so by name, may tell it.
  const auto may_tell = [&](const OpenDecision& d) {
    return d.session != lease.completed.session || (!is_us(c, lease.completed.node, lease.completed.instance) && d.instance == c.cluster.instance);
  };
  const auto gone = [&](const OpenDecision& d) { return is_us(c, d.node, d.instance) && may_tell(d) && is_over(d.session); };
  // One session may have been named under several epochs. It wrote under the one that had its majority when it was opened, and voters end the
  // promises of older epochs on the word that one was completed: so no other will do.
  const auto wrote = [&](const OpenDecision& d) {
    return gone(d) && engine_.opened == d.session && d.epoch > lease.completed.epoch && d.epoch == engine_.opened_epoch;
  };
  if (const auto d = std::find_if(lease.open.rbegin(), lease.open.rend(), wrote); d != lease.open.rend()) {
    MARK(kLateCompletion);
    // Its completion did not reach the log in time: what it wrote is history that others must know of.
    out.appends.push_back({PromotionCompleted{.session = d->session, .position = opened_at(), .instance = c.cluster.instance}, d->epoch, d->event,
                           "it was opened, and ended before the log could be told", {}});
    return;
  }
  const auto d = std::find_if(lease.open.rbegin(), lease.open.rend(), gone);
  if (d == lease.open.rend()) return;
  MARK(kSessionGone);
  const bool under_another = engine_.opened == d->session && d->epoch != engine_.opened_epoch;
  const std::string why = d->session == retiring_ && !retired_why_.empty() ? retired_why_
                          : under_another ? "its session is gone; what it wrote, it wrote under epoch " + std::to_string(engine_.opened_epoch.value)
                                          : "its session is gone";
  out.appends.push_back({PromotionFailed{d->session, c.cluster.instance}, d->epoch, d->event, why, {}});
}

/// The session being retired is retired until the guard's own word says that it has ended.
void Agent::retire_again(Instant now, AgentOutput& out) {
  if (retiring_.empty() || guard_.fencing) return;
  if (retired_at_ == Instant{}) retired_at_ = now;
  if (now < later(retired_at_, kSayAgain)) return;
  if (guard_.next != retiring_ && !has_taken(guard_, retiring_)) return;
  retired_at_ = now;
  out.guard.push_back({resource_, GuardCommand::Kind::kRetire, retiring_, {}, {}});
}

/// The session that the guard would take next has ended in the log before it was taken (another host with this id may have said so,
/// of a decision that named no instance): nobody would name it, so the guard makes another. Likewise if a decision named it that others
/// have overtaken: it will not be taken under that one, and until it has ended blank voters cannot know.
void Agent::renew_next(const LeaseState& lease, Instant now, AgentOutput& out) {
  if (holder_.claiming() || guard_.next == retiring_) return;
  const bool overtaken = lease.session != guard_.next && std::ranges::find(lease.open, guard_.next, &OpenDecision::session) != lease.open.end();
  MARK_IF(kRenewsOvertaken, overtaken);
  if (!overtaken && !lease.has_ended(guard_.next)) return;
  if (renewed_at_ != Instant{} && now < later(renewed_at_, kSayAgain)) return;
  renewed_at_ = now;
  MARK(kRenewsNext);
  out.guard.push_back({resource_, GuardCommand::Kind::kRetire, guard_.next, {}, {}});
}

void Agent::retire(std::string why, AgentOutput& out) {
  if (!holder_.claiming()) return;
  retiring_ = holder_.current()->session;
  retired_why_ = std::move(why);
  retired_at_ = {};
  out.guard.push_back({resource_, GuardCommand::Kind::kRetire, retiring_, holder_.current()->epoch, {}});
  holder_.drop();
  armed_.reset();
  out.beat_now = true;
}

/// The log names a session of ours under an epoch that we do not claim yet.
void Agent::take_named(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out) {
  if (!is_us(c, lease.holder, lease.instance) || lease.has_ended(lease.session) || lease.session == retiring_) return;
  const bool ours = lease.session == guard_.next || has_taken(guard_, lease.session);
  if (!ours || (holder_.claiming() && holder_.current()->epoch >= lease.epoch)) return;
  // While another session of ours claims or writes, its own fate comes first (keep_lease).
  if (holder_.claiming() && holder_.current()->session != lease.session) return;
  if (guard_.taken && guard_.taken->session != lease.session) return;
  const bool fresh = !guard_.taken;
  if (fresh) retry_at_ = now, backoff_ = {}, failure_.clear();  // what failed was another task: following somebody who is no more
  holder_.claim(lease.epoch, lease.session, c.next_counter, now);
  out.beat_now = true;
  if (!fresh) return;
  // Two aggregates can change in the same instant: what the decision stood on is looked at again.
  const MemberState* me = c.cluster.state.member(self_);
  const bool asked = lease.kind == DecisionKind::kSwitchover || lease.kind == DecisionKind::kForced;
  if (me && me->intent != MemberIntent::kActive) {
    retire(std::string("this node's intent is ") + text_of(me->intent), out);
  } else if (c.cluster.state.paused(resource_) && !asked && c.cluster.state.newest_paused(resource_) < lease.decided) {
    MARK(kEndPaused);
    retire("automatic failover was paused before the decision", out);
  } else if (c.stopping) {
    retire("this node is being stopped", out);
  }
}

void Agent::keep_lease(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out) {
  if (!holder_.claiming()) return;
  const Claim claim = *holder_.current();
  const bool earned = holder_.held().value != 0;
  if (lease.has_ended(claim.session)) {
    MARK(kEndInLog);
    return retire("the log shows its end", out);
  }
  if (lease.completed.epoch > claim.epoch && lease.completed.session != claim.session) {
    MARK(kEndCompletedElsewhere);
    return retire("epoch " + std::to_string(lease.completed.epoch.value) + " was completed on " + lease.completed.node.value, out);
  }
  if (holder_.refused(c.voters)) {
    MARK(kEndRefused);
    return retire("a majority of voters promised to a higher epoch", out);
  }
  const bool names_it = lease.session == claim.session && is_us(c, lease.holder, lease.instance);
  if (lease.epoch > claim.epoch && !names_it) {
    if (!earned) {
      MARK(kEndOvertaken);
      return retire("a higher epoch was decided before this one had its majority", out);
    }
    // A needless nomination changes nothing: the same session goes on under a higher epoch.
    MARK_IF(kKeeps, holder_.has_lease(now));
    if (holder_.has_lease(now))
      out.appends.push_back({PromotionDecided{.to = self_, .session = claim.session, .kind = DecisionKind::kKeep, .loss_bytes = 0,
                                              .evidence = {}, .verdicts = {}, .instance = c.cluster.instance},
                             Epoch{lease.epoch.value + 1}, lease.decided_event,
                             "the lease of epoch " + std::to_string(claim.epoch.value) + " lives: the nomination was needless", {}});
  }
  // The log lost the decision that this lease stands on: it is told again, above any epoch that was promised meanwhile.
  const bool lost = lease.epoch < claim.epoch || (lease.epoch == claim.epoch && !names_it);
  if (earned && lost && c.cluster.caught_up && holder_.has_lease(now)) {
    MARK(kSaysLeaseAgain);
    const bool another = lease.epoch == claim.epoch && lease.holder == self_ && lease.session == claim.session;
    out.appends.push_back({PromotionDecided{.to = self_, .session = claim.session, .kind = DecisionKind::kKeep, .loss_bytes = 0,
                                            .evidence = {}, .verdicts = {}, .instance = c.cluster.instance},
                           Epoch{claim.epoch.value + 1}, {},
                           "the lease of epoch " + std::to_string(claim.epoch.value) + " lives, and the log " +
                               (another ? "names another installation of " + self_.value + ": its files were lost" : "does not show it: it lost events"),
                           {}});
  }
  if (!earned) {
    const Instant limit = later(holder_.claimed_at(), timers_.ttl);
    if (now >= limit) {
      MARK(kEndNoMajority);
      return retire("no majority of voters acked its claim within one ttl", out);
    }
    next_ = std::min(next_, limit);
    return;
  }
  expect_open(lease, now, out);
}

/// An engine that had opened is never judged here: a primary under load may answer slowly, and is not demoted for it. Nor is a
/// bootstrap: it has one candidate, and a recovery that is cut off begins anew.
void Agent::expect_open(const LeaseState& lease, Instant now, AgentOutput& out) {
  const SessionId& session = holder_.current()->session;
  const bool opened = opened_ == session || engine_.opened == session || lease.completed.session == session;
  if (opened || lease.kind == DecisionKind::kBootstrap) return;
  if (op_ && op_->verb == Verb::kProvision) unopened_since_ = now;
  const Instant limit = later(std::max(unopened_since_, holder_.held_at()), kOpenWithin);
  if (now >= limit)
    return retire("the engine was not seen open within " + std::to_string(to_ms(kOpenWithin) / 1000) + " s of earning the lease", out);
  next_ = std::min(next_, limit);
}

void Agent::arm(Instant now, AgentOutput& out) {
  if (!holder_.claiming() || holder_.held().value == 0) return;
  const Instant deadline = holder_.deadline();
  const Epoch epoch = PLANTED(kUnearnedEpoch) ? holder_.current()->epoch : holder_.held();
  const std::pair wanted(epoch, deadline);
  // One that has passed is told only to a guard that knows of none: it fences.
  const bool taken = has_taken(guard_, holder_.current()->session);
  const bool endless = taken && guard_.taken->deadline == kNever;
  if (deadline <= now && !endless) return;
  // Said once is not heard: without the guard's word that it has this deadline, it is said again.
  const bool has = taken && guard_.taken->epoch == epoch && guard_.taken->deadline == deadline;
  if (armed_ == wanted && (has || now < later(armed_at_, kSayAgain))) return;
  MARK_IF(kArmsAgain, armed_ == wanted);
  armed_ = wanted;
  armed_at_ = now;
  out.guard.push_back({resource_, GuardCommand::Kind::kArm, holder_.current()->session, epoch, deadline});
}

/// Completed is said of an epoch that earned its own majority, by a node whose engine is open under it.
void Agent::complete(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out) {
  if (lease.phase != LeaseState::Phase::kDecided || !is_us(c, lease.holder, lease.instance) || !confirmed() || op_) return;
  if (holder_.current()->session != lease.session || holder_.held() != lease.epoch || !holder_.has_lease(now)) return;
  if (!engine_known_ || engine_.state != EngineState::kPrimary || engine_.incarnation != guard_.incarnation) return;
  const bool kept = lease.kind == DecisionKind::kKeep;
  out.appends.push_back({PromotionCompleted{.session = lease.session, .position = opened_at(),
                                            .claimed_ms = ms_between(decided_at_, holder_.held_at()),
                                            .promoted_ms = kept ? 0 : ms_between(holder_.held_at(), engine_at_),
                                            .instance = c.cluster.instance},
                         lease.epoch, lease.decided_event,
                         kept ? "the holder goes on under a higher epoch" : "the engine is open for writing", {}});
}

/// Where the timeline began that this node writes or wrote.
Position Agent::opened_at() const {
  Position at = engine_.position;
  at.lsn = engine_.timeline_start;
  return at;
}

bool Agent::may_hand_over(const AgentContext& c, const LeaseState& lease, Instant now) {
  const SwitchoverState* wish = c.cluster.wish(resource_);
  if (wish == nullptr || wish->from != self_ || wish->epoch != lease.epoch) return false;
  const Decider::Nomination then = Decider::preview(resource_, c.cluster, true, now);
  const auto target = std::ranges::find_if(then.evidence.candidates, [&](const CandidateEvidence& cand) {
    return wish->to.empty() ? then.decision.to == cand.node : wish->to == cand.node;
  });
  const auto verdict = target == then.evidence.candidates.end()
                           ? then.decision.verdicts.end()
                           : then.decision.verdicts.begin() + (target - then.evidence.candidates.begin());
  const bool able = verdict != then.decision.verdicts.end() &&
                    (verdict->eligible || wish->allow_data_loss || verdict->rule == "nofailover" || verdict->rule == "not_wanted" ||
                     verdict->rule == "sync_unheard" || verdict->rule == "not_in_sync_set");  // after a clean stop its end is known
  if (!able) {
    MARK(kSwitchoverWaits);
    switchover_waits_ = true;
    waits("switchover: " + (verdict == then.decision.verdicts.end() ? then.decision.reason : verdict->node.value + ": " + verdict->detail),
          "daarionctl why-not " + resource_.value, now);
    return false;
  }
  if (!wish->allow_data_loss && lag_bytes(then.evidence, *target) > kSwitchoverLagBytes) {
    switchover_waits_ = true;
    waits("switchover: " + target->node.value + " is " + std::to_string(lag_bytes(then.evidence, *target)) + " bytes behind",
          "daarionctl status", now);
    return false;
  }
  retired_why_ = wish->reason;
  return true;
}

/// A planned end: stop cleanly under the lease, then release, with the final position. Release follows demotion.
void Agent::hand_over(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out) {
  switchover_waits_ = false;
  if (final_ && holder_.claiming() && stopping_engine_) {
    retire(retired_why_, out);
    return;
  }
  if (op_ || stopping_engine_ || guard_.fencing) return;
  const bool holding = confirmed() && engine_known_ && engine_.state == EngineState::kPrimary;
  // Its final position is heard only of the installation that completed it.
  if (holding && lease && lease->phase == LeaseState::Phase::kActive && lease->completed.session == holder_.current()->session &&
      is_us(c, lease->completed.node, lease->completed.instance)) {
    if (c.stopping)
      retired_why_ = "this node is being stopped";
    else if (!may_hand_over(c, *lease, now))
      return;
    MARK(kHandsOver);
    stopping_engine_ = true;
    run(Verb::kStop, holder_.held(), {}, now, out);
    return;
  }
  if (!c.stopping || holding) return;
  if (holder_.claiming()) return retire("this node is being stopped", out);
  if (guard_.engine_running && now >= retry_at_) return run(Verb::kStop, {}, {}, now, out);
  const bool said = !lease || !is_us(c, lease->completed.node, lease->completed.instance) || lease->has_ended(lease->completed.session);
  stopped_ = !guard_.engine_running && said;
}

}  // namespace daarion
