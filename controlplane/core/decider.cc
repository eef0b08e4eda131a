#include "controlplane/core/decider.h"

#include <algorithm>

#include "controlplane/core/lease.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {

// A vote counts for one beat and this much: beats and votes share their rhythm, and a vote may come a little late.
constexpr Duration kVoteSlack = std::chrono::milliseconds(100);
// Between one decider and the next in the order: about three appends, so that usually the first has won by then.
constexpr Duration kStagger = std::chrono::milliseconds(10);
// How long to wait for the positions that replicas were asked for when the promise ended. A replica that needs longer is
// judged by its last one. Beyond this the wait itself would be felt in the outage.
constexpr Duration kPositionWait = std::chrono::milliseconds(150);
// After a switchover's clean stop: how long the node that was asked for may take to show that it has everything. Then the old
// holder, which has it by definition, may be chosen again.
constexpr Duration kWantedWait = std::chrono::milliseconds(1500);

// After every daemon was started anew nobody has heard how far the last holder wrote, and its engine may be up later than its replica's. Its own position
// is waited for as long as its node is heard: a primary that crashed replays a checkpoint's worth of log first. Then it is judged without.
constexpr Duration kHolderWait = std::chrono::seconds(10);

// Sessions that ended without having promoted, one after the other: the second may have been bad luck; from then on the cause is one that nominating
// again does not mend (a full disk: 63 of them in 30 s), and each is a decision in the log. Doubled with each, up to the longest.
constexpr std::int64_t kFailuresAtOnce = 2;
constexpr Duration kBackOff = std::chrono::milliseconds(500);
constexpr std::int64_t kDoublings = 4;  // 8 s

std::uint64_t age_ms(Instant now, Instant then) { return static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_ms(now - then))); }

CandidateEvidence candidate(const NodeId& node, const ResourceSpec& spec, const DeciderContext& c, Instant now) {
  CandidateEvidence out{.node = node, .intent = MemberIntent::kActive, .tags = spec.tags_of(node), .beat_age_ms = 0,
                        .heard = false, .session = {}, .engine = {}, .lag_ms = 0, .instance = {}, .deaf = false};
  out.engine.resource = spec.id;
  if (const MemberState* m = c.state.member(node)) out.intent = m->intent;
  const Peer* peer = c.peers.find(node);
  if (peer == nullptr || peer->beat.log != c.state.log.log) return out;
  out.heard = true;
  out.instance = peer->beat.instance;
  out.beat_age_ms = age_ms(now, peer->heard);
  const auto next = std::ranges::find(peer->beat.next, spec.id, &SessionNote::resource);
  // A session that the log knows to have ended takes no lease: naming it would decide nothing, again and again.
  const LeaseState* lease = c.state.lease(spec.id);
  const bool ended = next != peer->beat.next.end() && lease && lease->has_ended(next->session) && !PLANTED(kEndedNamed);
  if (next != peer->beat.next.end() && !ended) out.session = next->session;
  out.deaf = lease && lease->phase == LeaseState::Phase::kDecided && peer->beat.applied < lease->decided;
  const auto engine = std::ranges::find(peer->beat.engines, spec.id, &EngineReport::resource);
  if (engine != peer->beat.engines.end()) {
    out.engine = *engine;
    out.engine.problems.clear();  // nothing is decided by them: they need not be in the log for ever
    out.engine.age_ms += out.beat_age_ms;
    out.engine.contact_age_ms += out.beat_age_ms;
  }
  return out;
}

/// Heard writing under a session that is newer than the log's newest completion; null: nobody was.
const PrimaryTrack* newer_writer(const LeaseState& lease, const DeciderContext& c, const ResourceId& resource) {
  const PrimaryTrack* track = c.peers.primary(resource);
  return track != nullptr && track->epoch > lease.completed.epoch && track->session != lease.completed.session ? track : nullptr;
}

/// Who wrote last and how far: the newest completed holder of the log, or one that beats showed writing under a newer epoch
/// whose PromotionCompleted did not reach the log; its final position, else the last heard.
void note_holder(const LeaseState& lease, const DeciderContext& c, const ResourceId& resource, Instant now, Evidence& e) {
  e.log_epoch = lease.epoch;
  e.last_holder = lease.completed.node;
  e.last_position = lease.position;
  e.final_position = lease.final_position;
  e.timelines = lease.timelines;
  const PrimaryTrack* track = c.peers.primary(resource);
  if (track == nullptr) return;
  const bool newer = newer_writer(lease, c, resource) != nullptr;
  const bool same = track->session == lease.completed.session && track->position.timeline == lease.position.timeline;
  if (!newer && (!same || lease.final_position)) return;
  if (newer) {
    e.last_holder = track->node;
    e.last_position = track->position;
    e.final_position = false;
    add_timeline(e.timelines, {track->position.timeline, track->timeline_start, track->session});
  } else if (track->position.lsn > e.last_position.lsn) {
    e.last_position = track->position;
  }
  e.last_position_age_ms = age_ms(now, track->heard);
  e.write_rate = track->rate();
}

/// A timeline that a session opened after all that the log and beats show, as a candidate's data say: its completion was lost, or never came, and what
/// was written there is history all the same. Its node may be lost too.
void note_lost_opening(const LeaseState& lease, const DeciderContext& c, Evidence& e) {
  const PrimaryTrack* writer = newer_writer(lease, c, e.resource);
  const Epoch known = writer ? writer->epoch : lease.completed.epoch;
  const SessionId& writes = writer ? writer->session : lease.completed.session;
  const std::uint64_t number = std::max(lease.newest_timeline(), e.timelines.empty() ? 0 : e.timelines.back().timeline);
  const CandidateEvidence* newest = nullptr;
  for (const CandidateEvidence& candidate : e.candidates) {
    const EngineReport& engine = candidate.engine;
    if (!candidate.heard || opener_of(engine).empty() || opener_of(engine) == writes) continue;
    const bool later = engine.opened_epoch.value != 0 && !PLANTED(kNumbersTell) ? engine.opened_epoch > known : engine.position.timeline > number;
    if (later && (newest == nullptr || is_further(engine, newest->engine))) newest = &candidate;
  }
  if (newest == nullptr) return;
  MARK(kLostOpening);
  if (e.kind == DecisionKind::kBootstrap) e.kind = DecisionKind::kFailover;
  const bool its_own = !newest->engine.opened.empty();
  e.last_holder = its_own ? newest->node : newest->engine.inherited_from;
  e.last_position = newest->engine.position;
  e.last_position_age_ms = its_own ? newest->engine.age_ms : std::max(newest->engine.age_ms, newest->engine.contact_age_ms);
  e.final_position = false;
  add_timeline(e.timelines, {newest->engine.position.timeline, newest->engine.timeline_start, opener_of(newest->engine)});
}

/// Whether beats showed the last holder writing, often enough to tell how much.
bool was_heard(const Evidence& e, const LeaseState& lease, const DeciderContext& c) {
  const PrimaryTrack* track = c.peers.primary(e.resource);
  return track != nullptr && track->node == e.last_holder && track->epoch >= lease.completed.epoch && track->measured();
}

/// The installation that may speak for what the last holder wrote; empty: any.
InstanceId instance_of_holder(const Evidence& e, const LeaseState& lease) { return e.last_holder == lease.completed.node ? lease.completed.instance : InstanceId{}; }

/// The node's engine if it is up and shows all that it has, on the disk that the instance stands for; null: it does not. What was writable when it was
/// looked at may have more.
const CandidateEvidence* shown_by(const Evidence& e, const NodeId& node, const InstanceId& instance) {
  const auto its = std::ranges::find(e.candidates, node, &CandidateEvidence::node);
  if (its == e.candidates.end() || !its->heard || its->beat_age_ms > e.unreachable_ms || (!instance.empty() && its->instance != instance)) return nullptr;
  return its->engine.state == EngineState::kStandby ? &*its : nullptr;
}

/// Where nobody heard it, its own data say how far it wrote, once its node shows them. Until then its end is not known: the log has only where it began.
void note_own_end(const LeaseState& lease, const DeciderContext& c, Evidence& e) {
  if (e.kind == DecisionKind::kBootstrap || e.final_position || e.last_holder.empty() || was_heard(e, lease, c)) return;
  const CandidateEvidence* own = shown_by(e, e.last_holder, instance_of_holder(e, lease));
  const Position& known = e.last_position;
  const bool shown = own != nullptr && own->engine.position.identity == known.identity && own->engine.position.timeline == known.timeline &&
                     own->engine.position.lsn >= known.lsn && shares_history(e, *own);
  e.end_unknown = !shown && !PLANTED(kUnheardIsNone);
  if (!shown) return;
  e.last_position = own->engine.position;
  e.last_position_age_ms = own->engine.age_ms;
}

/// Whether who was named shows all that it wrote: its beat says that the session is over, or it is this node. A look at a standby that came late may be
/// of before it opened (simulator seed 71817).
bool has_shown(const OpenDecision& d, const DeciderContext& c, const Evidence& e) {
  if (shown_by(e, d.node, d.instance) == nullptr) return false;
  if (d.node == c.self) return true;
  const Peer* peer = c.peers.find(d.node);
  return peer != nullptr && std::ranges::find(peer->beat.ended, SessionNote{e.resource, d.session}) != peer->beat.ended.end();
}

/// Named after who wrote last, and nobody heard it write: it may have opened its engine all the same, and written.
bool is_unheard(const OpenDecision& d, const LeaseState& lease, const DeciderContext& c, const Evidence& e) {
  if (d.epoch <= lease.completed.epoch || lease.has_ended(d.session) || PLANTED(kNamedIsSilent)) return false;
  const PrimaryTrack* track = c.peers.primary(e.resource);
  return track == nullptr || track->epoch < d.epoch;
}

/// And it does not show how far.
bool may_have_written(const OpenDecision& d, const LeaseState& lease, const DeciderContext& c, const Evidence& e) {
  return is_unheard(d, lease, c, e) && !has_shown(d, c, e);
}

/// Whose confirmations the commits of each waited for, who wrote last or may have: as that session itself said last, else as is declared.
void note_sync(const LeaseState& lease, const ResourceSpec& spec, const DeciderContext& c, Evidence& e) {
  if (e.kind == DecisionKind::kBootstrap || spec.confirmations() == 0) return;
  const auto declared = [&](const NodeId& writer) {
    SyncEvidence s{writer, spec.confirmers_of(writer), spec.confirmations()};
    std::ranges::sort(s.members);
    return s;
  };
  // The same node may have been named again, under another session, which has the declared ones until it says otherwise.
  const bool said = !lease.sync.session.empty() && lease.sync.session == lease.completed.session && e.last_holder == lease.completed.node &&
                    newer_writer(lease, c, e.resource) == nullptr;
  if (said) e.sync.push_back({e.last_holder, lease.sync.members, lease.sync.needed});
  else if (!e.last_holder.empty()) e.sync.push_back(declared(e.last_holder));
  for (const OpenDecision& d : lease.open) {
    if (d.session == lease.completed.session || !may_have_written(d, lease, c, e)) continue;
    e.sync.push_back(declared(d.node));
    if (d.node == e.last_holder) e.final_position = false;
  }
}

/// Whether the node is there, on that disk, and its engine is coming up: it does not show yet what it has.
bool is_coming_up(const Evidence& e, const DeciderContext& c, const NodeId& node, const InstanceId& instance, Instant now) {
  const Peer* peer = c.peers.find(node);
  const auto its = std::ranges::find(e.candidates, node, &CandidateEvidence::node);
  if (peer == nullptr || its == e.candidates.end() || age_ms(now, peer->heard) > e.unreachable_ms) return false;
  if (!instance.empty() && peer->beat.instance != instance) return false;
  if (!its->heard) return true;  // its daemon has not folded the log yet
  const EngineState state = its->engine.state;
  return state == EngineState::kUnknown || state == EngineState::kStopped || state == EngineState::kStarting || state == EngineState::kUnresponsive;
}

/// Who wrote last, or may have, whom nobody here heard writing, and who did not stop cleanly: a replica would be promoted as if nothing were missing.
/// Chaos lost 13 rows so, announced as none. Empty: nobody, or who it is does not come up.
NodeId awaited_writer(const Evidence& e, const LeaseState& lease, const DeciderContext& c, Instant now) {
  if (e.kind != DecisionKind::kFailover) return {};
  for (const OpenDecision& d : lease.open)
    if (is_unheard(d, lease, c, e) && is_coming_up(e, c, d.node, d.instance, now)) return d.node;
  if (e.final_position || e.last_holder.empty() || was_heard(e, lease, c)) return {};
  return is_coming_up(e, c, e.last_holder, instance_of_holder(e, lease), now) ? e.last_holder : NodeId{};
}

/// Sessions that were named since the newest completion, and ended without one.
std::int64_t failures_of(const LeaseState& lease) {
  return std::ranges::count_if(lease.ended, [&](const EndedSession& e) { return e.epoch > lease.completed.epoch && e.session != lease.completed.session; });
}

/// A pause is ended where it was said: resuming the cluster leaves that of a resource, and the other way round.
std::string unblock_of(const Evidence& e, const Decision& d, const DeciderContext& c) {
  const OperatorState* own = c.state.operator_of(e.resource);
  if (d.unblock != kUnblockPause || own == nullptr || own->paused <= own->resumed) return d.unblock;
  return "daarionctl resume " + e.resource.value + " --reason TEXT";
}

}  // namespace

const SwitchoverState* DeciderContext::wish(const ResourceId& resource) const {
  if (std::ranges::find(live_wishes, resource) == live_wishes.end()) return nullptr;
  const OperatorState* said = state.operator_of(resource);
  return said && said->switchover.sequence.value != 0 ? &said->switchover : nullptr;
}

std::optional<LostHolder> lost_holder(const ResourceId& resource, const DeciderContext& c, Instant now) {
  // By then a promise with an end would be over, whoever heard the holder last.
  const Duration longest = promise_length(c.spec.lease.ttl, c.spec.lease.drift_ppm) + 2 * c.spec.lease.beat;
  LostHolder lost;
  std::size_t free = 0;
  for (const VoterInstance& voter : c.state.voters.voters) {
    const Peer* peer = c.peers.find(voter.node);
    if (peer == nullptr || peer->beat.instance != voter.instance || now - peer->heard > c.spec.lease.ttl) continue;
    const auto note = std::ranges::find(peer->beat.promises, resource, &PromiseNote::resource);
    if (note == peer->beat.promises.end()) {
      ++free;
      continue;
    }
    if (!note->endless) continue;
    const bool confirmed = c.state.fenced(resource, note->session);
    const Peer* holder = c.peers.find(note->node);
    const InstanceId& speaks = note->node == c.self ? c.instance : holder ? holder->beat.instance : note->instance;
    // A new installation that took up the session from its guard is no other host.
    const bool has_it = holder != nullptr && std::ranges::any_of(holder->beat.claims, [&](const Claim& claim) { return claim.resource == resource && claim.session == note->session; });
    const bool replaced = !note->instance.empty() && !speaks.empty() && speaks != note->instance && !has_it;
    const Duration silent = replaced ? c.peers.silent(note->node, note->instance, now, c.start) : c.peers.silent(note->node, now, c.start);
    const bool suspected = std::ranges::find(peer->beat.suspects, note->node) != peer->beat.suspects.end() && note->node != c.self;
    if (confirmed || silent <= longest || !(suspected || replaced) || (!lost.voters.empty() && lost.session != note->session)) continue;
    MARK_IF(kLostReplaced, replaced);
    lost.node = note->node;
    lost.session = note->session;
    lost.replaced = replaced;
    lost.voters.push_back(voter.node);
    lost.silent_ms = age_ms(now, now - silent);
  }
  if (lost.voters.empty() || free >= c.state.voters.majority()) return std::nullopt;
  return lost;
}

std::string what_of(const LostHolder& lost) {
  std::string voters;
  for (const NodeId& voter : lost.voters) voters += (voters.empty() ? "" : ", ") + voter.value;
  return "word that " + (lost.replaced ? "the host that was " + lost.node.value + " before" : lost.node.value) + " is off: it was paused, is silent for " + std::to_string(lost.silent_ms) +
         " ms, and the promises of " + voters + " to it have no end";
}

std::string confirm_command(const ResourceId& resource, const LostHolder& lost) {
  return "daarionctl confirm-fencing " + resource.value + " --holder " + lost.node.value + " --reason TEXT";
}

EventId cause_of(const Evidence& e, const DeciderContext& c) {
  if (const SwitchoverState* wish = c.wish(e.resource)) return wish->event;
  const LeaseState* lease = c.state.lease(e.resource);
  if (lease != nullptr && lease->has_ended(lease->session)) return std::ranges::find(lease->ended, lease->session, &EndedSession::session)->event;
  const MemberState* holder = c.state.member(e.last_holder);
  return holder == nullptr ? EventId{} : holder->unreachable;
}

bool Decider::on_vote(const Vote& vote, Instant now) {
  Heard& heard = votes_[vote.voter];
  const bool news = heard.vote != vote;
  heard = {vote, now};
  return news;
}

Evidence Decider::gather(const ResourceId& resource, const DeciderContext& c, Instant now) {
  Evidence e;
  e.resource = resource;
  e.decider = c.self;
  e.software = c.software;
  e.folded = c.state.applied;
  e.voters = static_cast<std::uint32_t>(c.state.voters.voters.size());
  e.paused = c.state.paused(resource);
  e.unreachable_ms = static_cast<std::uint64_t>(to_ms(c.spec.lease.ttl));
  e.max_promotions = c.spec.max_promotions;
  const ResourceSpec* spec = c.spec.resource(resource);
  const LeaseState none;
  const LeaseState* lease = c.state.lease(resource);
  if (lease == nullptr) lease = &none;
  note_holder(*lease, c, resource, now, e);
  // Whoever wrote last has made the data, also where it was only heard and the log never got its completion: they are not begun anew.
  e.kind = e.last_holder.empty() ? DecisionKind::kBootstrap : DecisionKind::kFailover;
  MARK_IF(kOnlyHeard, !e.last_holder.empty() && lease->completed.epoch.value == 0);
  if (const SwitchoverState* wish = c.wish(resource)) {
    e.kind = wish->forced ? DecisionKind::kForced : DecisionKind::kSwitchover;
    e.wanted = wish->to;
    e.allow_data_loss = wish->allow_data_loss;
  }
  const auto window_ns = static_cast<std::int64_t>(c.spec.promotion_window_s) * 1'000'000'000;
  for (const std::int64_t at : lease->promotions_ns)
    if (std::max(c.log_ns, c.state.applied_ns) - at < window_ns) ++e.promotions;
  if (spec == nullptr) return e;
  e.limits = spec->max_lag;
  e.declared_primary = spec->declared_primary;
  std::vector<NodeId> members = spec->members;
  std::ranges::sort(members);
  for (const NodeId& node : members) e.candidates.push_back(candidate(node, *spec, c, now));
  note_lost_opening(*lease, c, e);
  note_own_end(*lease, c, e);
  for (const OpenDecision& d : lease->open)
    e.end_unknown = e.end_unknown || (e.kind != DecisionKind::kBootstrap && may_have_written(d, *lease, c, e));
  MARK_IF(kEndUnknown, e.end_unknown);
  note_sync(*lease, *spec, c, e);
  for (CandidateEvidence& cand : e.candidates)
    if (lag_bytes(e, cand) > 0) cand.lag_ms = cand.engine.contact_age_ms;
  return e;
}

std::vector<VoteEvidence> Decider::count_votes(const DeciderContext& c, Instant now) const {
  std::vector<VoteEvidence> votes;
  const Duration window = c.spec.lease.beat + kVoteSlack;
  for (const auto& [voter, heard] : votes_) {
    const Vote& v = heard.vote;
    MARK_IF(kOldVote, heard.at <= named_at_ && now - heard.at <= window);
    if (now - heard.at > window || heard.at <= named_at_ || v.voter_set != c.state.voters.id || v.log != c.state.log.log) continue;
    if (!c.state.voters.has(voter, v.instance)) continue;
    votes.push_back({voter, v.highest, v.over_ms, age_ms(now, heard.at)});
  }
  return votes;
}

/// Whether every live replica's position was observed after the votes were a majority (or has had its time to be).
bool Decider::positions_fresh(const Evidence& e, Instant now) const {
  const std::uint64_t since = age_ms(now, majority_since_);
  if (now - majority_since_ >= kPositionWait) return true;
  return std::ranges::all_of(e.candidates, [&](const CandidateEvidence& c) {
    return !c.heard || c.beat_age_ms > e.unreachable_ms || c.engine.state != EngineState::kStandby || c.engine.age_ms <= since;
  });
}

void Decider::waits(std::string what, std::string unblock, Instant now) {
  take_up(wait_, Wait{resource_, std::move(what), std::move(unblock), now});
}

std::optional<Decider::Nomination> Decider::advance(const DeciderContext& c, Instant now) {
  next_ = kNever;
  const LeaseState* lease = c.state.lease(resource_);
  if (lease && (lease->decided != decided_ || lease->completed.sequence != completed_)) {
    if (lease->completed.sequence != completed_) writer_awaited_since_ = {};
    decided_ = lease->decided;
    completed_ = lease->completed.sequence;
    named_at_ = now;
  }
  std::vector<VoteEvidence> votes = count_votes(c, now);
  if (votes.size() < (PLANTED(kVotesIgnored) ? 1 : c.state.voters.majority()) || c.state.voters.voters.empty()) {
    majority_since_ = {};
    MARK_IF(kWaitMajority, !votes.empty());
    if (const auto lost = lost_holder(resource_, c, now))
      waits(what_of(*lost), confirm_command(resource_, *lost), now);
    else if (votes.empty())
      wait_.reset();
    else
      waits("a majority of votes: " + std::to_string(votes.size()) + " of " + std::to_string(c.state.voters.voters.size()),
            "daarionctl nodes", now);
    return std::nullopt;
  }
  if (majority_since_ == Instant{}) majority_since_ = now;
  if (!c.state.voters.has(c.self, c.instance)) return std::nullopt;
  if (!c.caught_up) {
    MARK(kWaitFold);
    waits("this node's fold to reach the head of the log", "daarionctl status", now);
    return std::nullopt;
  }
  if (lease && lease->phase == LeaseState::Phase::kDecided) {
    const Instant again = later(named_at_, c.spec.lease.ttl);
    if (now < again) {
      MARK(kWaitClaim);
      waits("session of epoch " + std::to_string(lease->epoch.value) + " on " + lease->holder.value + " to claim", "daarionctl watch",
            now);
      next_ = again;
      return std::nullopt;
    }
  }
  // Not where a person asks for a primary.
  if (const std::int64_t failures = lease && c.wish(resource_) == nullptr ? failures_of(*lease) : 0; failures >= kFailuresAtOnce) {
    const Instant again = later(named_at_, kBackOff * (std::int64_t{1} << std::min(failures - kFailuresAtOnce, kDoublings)));
    if (now < again) {
      MARK(kWaitBackOff);
      waits("a while before the next nomination: the last " + std::to_string(failures) + " ended without a promotion, the last one on " + lease->holder.value,
            "daarionctl events", now);
      next_ = again;
      return std::nullopt;
    }
  }
  // The order: those that vote now, by id. The dead cost nothing.
  const auto rank = std::distance(votes.begin(), std::ranges::find(votes, c.self, &VoteEvidence::voter));
  const Instant turn = later(majority_since_, kStagger * rank);
  if (now < turn) {
    MARK(kWaitTurn);
    next_ = turn;
    return std::nullopt;
  }
  Evidence e = gather(resource_, c, now);
  e.votes = std::move(votes);
  e.settled_ms = age_ms(now, majority_since_);
  if (!positions_fresh(e, now)) {
    MARK(kWaitPositions);
    next_ = later(majority_since_, kPositionWait);
    return std::nullopt;
  }
  if (const NodeId writer = lease ? awaited_writer(e, *lease, c, now) : NodeId{}; !writer.empty()) {
    if (writer_awaited_since_ == Instant{}) writer_awaited_since_ = majority_since_;
    if (const Instant until = later(writer_awaited_since_, kHolderWait); now < until) {
      MARK(kWaitHolder);
      waits("the position of " + writer.value + ", which wrote last, or may have, and is not up yet", "daarionctl why-not " + resource_.value, now);
      next_ = until;
      return std::nullopt;
    }
  }
  Decision d = decide(e);
  const bool wanted_missing = d.to && !e.wanted.empty() && *d.to != e.wanted && e.kind == DecisionKind::kSwitchover;
  if (wanted_missing && now - majority_since_ < kWantedWait) {
    MARK(kWaitWanted);
    waits("the position of " + e.wanted.value + ", which was asked for", "daarionctl why-not " + resource_.value, now);
    next_ = later(majority_since_, kWantedWait);
    return std::nullopt;
  }
  if (!d.to) {
    MARK(kWaitCandidate);
    waits(d.reason, unblock_of(e, d, c), now);
    return std::nullopt;
  }
  // Another epoch for the same session would tell it nothing, and what it claims by the first one would be void.
  const auto chosen = std::ranges::find(e.candidates, *d.to, &CandidateEvidence::node);
  if (chosen->deaf && lease->session == d.session) {
    MARK(kWaitDeaf);
    waits(d.to->value + " to read event " + std::to_string(lease->decided.value) + " of the log, which names it; it has not yet", "daarionctl nodes", now);
    return std::nullopt;
  }
  MARK(kNominates);
  waits("the log to store the decision for " + d.to->value + ", epoch " + std::to_string(d.epoch.value), "daarionctl nodes", now);
  return Nomination{std::move(e), std::move(d)};
}

Decider::Nomination Decider::preview(const ResourceId& resource, const DeciderContext& c, bool holder_dead, Instant now) {
  Evidence e = gather(resource, c, now);
  e.settled_ms = e.unreachable_ms;  // as if what is heard now were all
  const std::optional<LostHolder> lost = lost_holder(resource, c, now);
  for (const VoterInstance& v : c.state.voters.voters)
    if ((!holder_dead || v.node != e.last_holder) && !(lost && std::ranges::find(lost->voters, v.node) != lost->voters.end())) e.votes.push_back({v.node, e.log_epoch, 0, 0});
  if (holder_dead) {
    for (CandidateEvidence& cand : e.candidates)
      if (cand.node == e.last_holder) cand.heard = false;
    if (e.kind != DecisionKind::kBootstrap) e.kind = DecisionKind::kFailover;
    e.wanted = {};
    e.allow_data_loss = false;
  }
  Decision d = decide(e);
  d.unblock = unblock_of(e, d, c);
  if (lost) {
    d.to.reset();
    d.reason = "it waits for " + what_of(*lost);
    d.unblock = confirm_command(resource, *lost);
  }
  return {std::move(e), std::move(d)};
}

}  // namespace daarion
