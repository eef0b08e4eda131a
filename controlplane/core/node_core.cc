#include "controlplane/core/node_core.h"

#include <algorithm>

#include "controlplane/core/override.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {

// A conflict means that the aggregate moved on: the fold will show it. If it does not within this time, look again anyway.
constexpr Duration kConflictRetry = std::chrono::milliseconds(500);
// An append of unknown outcome was already read back by the shell: try again, as a new append of the same version.
constexpr Duration kUnknownRetry = std::chrono::milliseconds(200);
// The same event again, after it was stored and folded without effect: a bound against a loop of appends.
constexpr Duration kSameAgain = std::chrono::seconds(5);
// How long the log must end before the voter set that this voter's record names until it counts as lost: many looks at its head.
constexpr Duration kSetLacking = std::chrono::seconds(3);
// A majority of the voters must have been heard within this part of a lease for a voter to append: several beats, and less than the time after
// which the lease of one that is cut off runs out, since that is when it has something to say.
constexpr int kHeardPart = 2;
// Lag is reported at least this often, so that a reader of telemetry can tell "no change" from "no reporter".
constexpr Duration kLagAtLeast = std::chrono::seconds(10);
// The timer fires at least this often: every rule that looks at elapsed time is then late by no more than this.
constexpr Duration kIdleTimer = std::chrono::milliseconds(100);
// A beat is to stay one datagram of some kilobytes: it tells others of this many waits of agents, and as much of the text of each.
constexpr std::size_t kWaitsSaid = 4;
constexpr std::size_t kWaitBytes = 300;

/// No longer than `most` bytes, and not within a character.
std::string cut(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

NodeCore::NodeCore(NodeConfig config, Instant now)
    : config_(std::move(config)), start_(now), state_(std::make_shared<State>()), peers_(config_.identity.self),
      voter_(config_.identity.self, config_.spec.lease, config_.record, config_.identity.run, config_.identity.boot, now,
             config_.uptime),
      housekeeper_(config_.identity), next_beat_(now), next_timer_(now) {
  for (const ResourceSpec& r : config_.spec.resources) {
    if (!r.leased) continue;
    deciders_.emplace(r.id, Decider(r.id));
    if (r.has_member(config_.identity.self)) agents_.emplace(r.id, Agent(config_.identity.self, r.id, config_.spec.lease));
  }
  VoterOutput out;
  voter_.start(out);
  flush(out, now);
}

bool NodeCore::state_loaded() const { return state_->applied.value != 0; }

bool NodeCore::caught_up() const {
  return state_loaded() && !refolding_ && state_->applied >= peers_.head(state_->log);
}

DeciderContext NodeCore::context(Instant now) const {
  DeciderContext c{.state = *state_, .peers = peers_,
                   .spec = state_->topology.version.value != 0 ? state_->topology.spec : config_.spec,
                   .self = config_.identity.self, .instance = config_.identity.instance, .software = config_.identity.software,
                   .caught_up = caught_up(), .start = start_, .live_wishes = {}, .log_ns = state_->applied_ns + (now - folded_at_).count()};
  for (const auto& [resource, wish] : wishes_)
    if (wish.live) c.live_wishes.push_back(resource);
  return c;
}

std::vector<Output> NodeCore::step(const Input& input, Instant now) {
  take(input, now);
  advance(now);
  return std::exchange(out_, {});
}

void NodeCore::take(const Input& input, Instant now) {
  std::visit([&](const auto& in) { on(in, now); }, input);
}

void NodeCore::on(const TimerFired&, Instant now) {
  VoterOutput out;
  voter_.on_time(*state_, now, out);
  flush(out, now);
}

void NodeCore::on(const BeatHeard& in, Instant now) {
  if (in.beat.node == config_.identity.self) {
    // Our own, echoed; or a second daemon with our id: the voter falls silent if it even has our record.
    if (in.beat.run != config_.identity.run && in.beat.instance == config_.identity.instance) {
      VoterOutput out;
      voter_.on_beat(in.beat, *state_, now, out);
    }
    return;
  }
  const bool fresh = peers_.hear(in.beat, now);
  peers_.heard_by(in.beat.node, in.via, now);
  if (!fresh) return;
  for (const PromiseNote& note : in.beat.promises) {
    const bool ours = note.node == config_.identity.self && (note.instance.empty() || note.instance == config_.identity.instance);
    if (const auto agent = agents_.find(note.resource); ours && agent != agents_.end()) agent->second.on_promise(note.session);
  }
  for (const SessionNote& note : in.beat.asks)
    if (const auto agent = agents_.find(note.resource); agent != agents_.end()) agent->second.on_ask(note.session);
  VoterOutput out;
  voter_.on_beat(in.beat, *state_, now, out);
  flush(out, now);
}

void NodeCore::on(const AckHeard& in, Instant now) { hear_ack(in.ack, now); }

void NodeCore::hear_ack(const Ack& ack, Instant now) {
  if (ack.holder != config_.identity.self || ack.run != config_.identity.run || ack.log != voter_.record().log) return;
  const auto sent_at = sent_.at(ack.counter);
  if (!sent_at) return;
  for (auto& [resource, agent] : agents_) agent.on_ack(ack, PLANTED(kReceiveTime) ? now : *sent_at, voter_.record().voters, *state_, now);
}

void NodeCore::on(const VoteHeard& in, Instant now) {
  const auto decider = deciders_.find(in.vote.resource);
  if (decider == deciders_.end() || in.vote.log != state_->log.log) return;
  if (peers_.late(in.vote.voter, in.vote.run, in.vote.counter)) {
    MARK(kLateVote);
    return;
  }
  if (!decider->second.on_vote(in.vote, now)) return;
  if (const auto agent = agents_.find(in.vote.resource); agent != agents_.end()) agent->second.on_vote();
}

/// Sequences, versions and what was compared were of events that are gone. What is claimed, promised and heard stays.
void NodeCore::refold(Instant now) {
  refolding_ = false;
  peers_.refold();
  in_flight_.clear();
  voting_.clear();
  // A wish that the log shows again may have been carried out by what it lost: it is not carried out again.
  wishes_.clear();
  ever_caught_up_ = false;
  folded_at_ = now;
  for (auto& [resource, agent] : agents_) agent.refold(counter_ + 1);
}

void NodeCore::on(const StateMoved& in, Instant now) {
  if (in.anew) refold(now);
  if (in.state->applied != state_->applied) folded_at_ = now;
  state_ = in.state;
  mark_ = in.mark;
  peers_.folded(in.mark);
  follow_wishes(now);
  if (!ever_caught_up_ && caught_up()) {
    ever_caught_up_ = true;
    // What was asked before this run could know of it is not ours to carry out: nobody can tell how old it is.
    for (auto& [resource, wish] : wishes_) wish.live = false;
  }
  VoterOutput out;
  voter_.on_state(*state_, now, out);
  flush(out, now);
}

void NodeCore::on(const LogHead& in, Instant) {
  log_ = in;
  if (in.exists && in.asked != kNever) peers_.log_ends(state_->log, in.head, in.asked);
}

void NodeCore::on(const LogLost& in, Instant) {
  if (!refolding_) losses_before_ = state_->log.regressions;
  refolding_ = true;
  beat_now_ = true;
  if (in.folded.value != 0) housekeeper_.on(in, losses_before_);  // 0: what was lost is not known until the fold is done
}

void NodeCore::on(const RecordWritten& in, Instant now) {
  VoterOutput out;
  voter_.on_recorded(in.generation, now, out);
  flush(out, now);
  VoterOutput again;
  voter_.on_state(*state_, now, again);
  flush(again, now);
}

void NodeCore::on(const GuardChanged& in, Instant now) {
  const auto agent = agents_.find(in.report.resource);
  if (agent == agents_.end()) return;
  const bool news = in.report.next != agent->second.guard().next || in.report.ended != agent->second.guard().ended;
  agent->second.on_guard(in.report, now);
  if (news) beat_now_ = true;
}

void NodeCore::on(const EngineObserved& in, Instant now) {
  if (const auto agent = agents_.find(in.report.resource); agent != agents_.end()) agent->second.on_engine(in.report, std::min(in.looked, now));
}

void NodeCore::on(const DriverDone& in, Instant now) {
  if (const auto agent = agents_.find(in.result.resource); agent != agents_.end()) agent->second.on_done(in.result, now);
}

void NodeCore::on(const AppendDone& in, Instant now) {
  for (auto& [aggregate, flight] : in_flight_) {
    if (flight.id != in.result.id) continue;
    MARK_IF(kConflict, in.result.outcome == AppendResult::Outcome::kConflict);
    MARK_IF(kUnknown, in.result.outcome == AppendResult::Outcome::kUnknown);
    flight.done = true;
    flight.stored = in.result.outcome == AppendResult::Outcome::kStored ? in.result.sequence : Sequence{};
    flight.retry = now + (in.result.outcome == AppendResult::Outcome::kConflict ? kConflictRetry : kUnknownRetry);
    if (const auto* slot = std::get_if<SlotDropped>(&flight.payload); slot && flight.stored.value != 0) {
      const ResourceId resource(aggregate.name.substr(0, aggregate.name.find('.')));
      if (const auto agent = agents_.find(resource); agent != agents_.end()) agent->second.told(*slot);
    }
    return;
  }
}

void NodeCore::on(const LeadersSeen& in, Instant) { leaders_ = in; }

void NodeCore::on(const StopRequested&, Instant) { stopping_ = true; }

void NodeCore::flush(VoterOutput& out, Instant now) {
  if (out.record) out_.push_back(WriteRecord{std::move(*out.record), out.generation});
  for (Ack& ack : out.acks) {
    if (ack.holder == config_.identity.self)
      hear_ack(ack, now);
    else
      out_.push_back(SendAck{std::move(ack)});
  }
  out = {};
}

/// Not while this voter is cut off from the others. Its nats-server may lead the log's stream, and would take what it cannot store. Those before
/// 2.10 number the messages that they propose from a counter that they keep when they lose the lead: when they lead again it is too high, the
/// replicas refuse what follows and begin anew, and may then hold different events at one place (docs/adr/0006).
bool NodeCore::may_append(Instant now) const {
  const VoterSet& set = state_->voters;
  if (!set.has(config_.identity.self, config_.identity.instance)) return true;
  return peers_.majority_silent(set, now, start_) <= config_.spec.lease.ttl / kHeardPart;
}

void NodeCore::append(const AppendWish& wish, const NodeId& about, const ResourceId& resource, Instant now) {
  if (refolding_) return;  // a version of events that are gone
  if (!may_append(now)) {
    MARK(kAloneSilent);
    return;
  }
  const Aggregate aggregate = aggregate_of(wish.payload, about, resource);
  Version version{state_->version_of(aggregate).value + 1};
  if (const auto it = in_flight_.find(aggregate); it != in_flight_.end()) {
    const InFlight& flight = it->second;
    if (!flight.done) return;
    if (PLANTED(kUnknownIsStored) && flight.stored.value == 0 && flight.version == version) ++version.value;
    if (flight.stored.value != 0 && state_->applied < flight.stored && now < flight.since + config_.spec.lease.ttl) {
      MARK(kStoredUnfolded);
      return;
    }
    if (flight.version >= version && now < flight.retry) return;
    // It was stored and folded and changed nothing: saying it again at once will not help.
    if (flight.stored.value != 0 && flight.payload == wish.payload && now < flight.since + kSameAgain) return;
  }
  in_flight_[aggregate] = {.id = next_append_, .version = version, .since = now, .done = false, .stored = {}, .retry = now,
                          .payload = wish.payload};
  const std::string actor = wish.actor.empty() ? "node:" + config_.identity.self.value : wish.actor;
  out_.push_back(Append{AppendRequest{next_append_++, wish.payload, aggregate, version, resource, wish.epoch, actor, wish.reason,
                                      wish.cause}});
}

void NodeCore::advance(Instant now) {
  if (auto silence = voter_.silence(*state_, now))
    take_up(voter_wait_, std::move(*silence));
  else
    voter_wait_.reset();
  follow_wishes(now);
  const DeciderContext c = context(now);
  advance_agents(c, now);
  if (beat_now_ || now >= next_beat_) {
    const bool on_time = now >= next_beat_;
    send_beat(c, now);
    send_votes(now, on_time);
    advance_agents(c, now);
  } else {
    send_votes(now, false);
  }
  advance_deciders(c, now);
  advance_housekeeping(c, now);
  for (const StepDown& step_down : steering_.advance(c, leaders_, now)) out_.push_back(step_down);
  report_lag(now);
  const bool quiet = std::ranges::all_of(agents_, [](const auto& a) { return a.second.stopped(); });
  if (stopping_ && quiet && !stopped_said_) {
    stopped_said_ = true;
    out_.push_back(Stopped{});
  }

  next_timer_ = std::min({next_beat_, voter_.next_change(now), housekeeper_.next_change(), now + kIdleTimer});
  for (const auto& [resource, agent] : agents_) next_timer_ = std::min(next_timer_, agent.next_change());
  for (const auto& [resource, decider] : deciders_) next_timer_ = std::min(next_timer_, decider.next_change());
}

void NodeCore::advance_agents(const DeciderContext& cluster, Instant now) {
  const AgentContext c{.cluster = cluster, .voters = voter_.record().voters, .next_counter = counter_ + 1,
                       .state_loaded = state_loaded(), .stopping = stopping_, .overridden = voter_.overridden()};
  // What this node ran before it was restarted without the resource has a guard that nobody here asks: it fences by then, unless its deadline has
  // no end. Then it takes a person's word.
  const Instant fenced = later(start_, promise_length(config_.spec.lease.ttl, config_.spec.lease.drift_ppm));
  for (const auto& [resource, lease] : state_->leases) {
    if (agents_.contains(resource) || now < fenced) continue;
    for (const OpenDecision& d : lease.open)
      if (d.node == config_.identity.self && (d.instance.empty() || d.instance == config_.identity.instance) && !state_->may_be_endless(resource, d))
        append({PromotionFailed{d.session, config_.identity.instance}, d.epoch, d.event, "this node does not run " + resource.value, {}}, config_.identity.self,
               resource, now);
  }
  for (auto& [resource, agent] : agents_) {
    AgentOutput out;
    agent.advance(c, now, out);
    for (GuardCommand& command : out.guard) out_.push_back(Guard{std::move(command)});
    for (AppendWish& wish : out.appends) {
      // The log may have lost epochs that this node's voter still knows.
      if (std::holds_alternative<PromotionDecided>(wish.payload))
        wish.epoch = std::max(wish.epoch, Epoch{voter_.vote(resource, *state_, now).highest.value + 1});
      append(wish, wish.about.empty() ? config_.identity.self : wish.about, resource, now);
    }
    if (out.drive) out_.push_back(Drive{std::move(*out.drive)});
    // A fresh position is news only while somebody may have to decide on it.
    if (agent.take_observed() && !voting_.empty()) beat_now_ = true;
    if (out.beat_now) beat_now_ = true;
  }
}

void NodeCore::send_beat(const DeciderContext& c, Instant now) {
  Beat beat{.node = config_.identity.self, .run = config_.identity.run, .counter = ++counter_, .instance = config_.identity.instance,
            .boot = config_.identity.boot, .log = state_loaded() ? state_->log.log : voter_.record().log,
            .voter_set = voter_.record().voters.id, .feature_level = kFeatureLevel, .claims = {}, .next = {}, .ended = {},
            .resumed = {}, .promises = {}, .applied = state_->applied, .digest = mark_.digest, .chain = mark_.chain, .suspects = suspects(c, now),
            .engines = {}, .topology_hash = config_.identity.topology_hash, .region = config_.identity.region};
  for (const auto& [resource, agent] : agents_) {
    if (const auto claim = agent.claim()) beat.claims.push_back(*claim);
    if (!agent.next_session().empty()) beat.next.push_back({resource, agent.next_session()});
    for (const SessionId& s : agent.ended_to_say(*state_)) beat.ended.push_back({resource, s});
    if (agent.resumed().value != 0) beat.resumed.push_back({resource, agent.resumed()});
    if (const auto session = agent.asks()) beat.asks.push_back({resource, *session});
    if (const auto session = agent.answers()) beat.answers.push_back({resource, *session});
    beat.engines.push_back(agent.engine(now));
    if (const auto& wait = agent.wait(); wait && beat.waits.size() < kWaitsSaid)
      beat.waits.push_back({resource, cut(wait->what, kWaitBytes), cut(wait->unblock, kWaitBytes), static_cast<std::uint64_t>(std::max<std::int64_t>(0, to_ms(now - wait->since)))});
  }
  if (refolding_) beat.applied = {}, beat.digest = {}, beat.chain = {};
  beat.root = state_loaded() ? state_->log.root : voter_.record().root;
  beat.overrides = state_loaded() ? state_->log.overrides : voter_.record().overrides;
  beat.sent_ms = static_cast<std::uint64_t>(to_ms(now.time_since_epoch()));
  beat.promises = voter_.promises(*state_, now);
  if (auto word = voter_.word(*state_, now); word && !refolding_) {
    beat.ready_for = voter_.record().voters.id;
    beat.promised = std::move(*word);
  }
  sent_.sent(beat.counter, now);
  beat_now_ = false;
  // The rhythm is the wall's, not the work's: beats sent early for news do not shift it.
  while (next_beat_ <= now) next_beat_ += config_.spec.lease.beat;
  peers_.hear(beat, now);
  out_.push_back(SendBeat{beat});
  VoterOutput out;
  voter_.on_beat(beat, *state_, now, out);
  flush(out, now);
}

/// Says which promises are over: at once when one comes to be, again when the lease moved meanwhile (what was said before counts for
/// nothing then), and with every beat.
void NodeCore::send_votes(Instant now, bool all) {
  for (auto& [resource, decider] : deciders_) {
    const bool over = voter_.may_vote(resource, *state_, now);
    const auto was = voting_.find(resource);
    if (!over) {
      if (was != voting_.end()) voting_.erase(was);
      continue;
    }
    const LeaseState* lease = state_->lease(resource);
    const Sequence about = lease ? std::max(lease->decided, lease->completed.sequence) : Sequence{};
    if (was != voting_.end() && was->second == about && !all) continue;
    voting_[resource] = about;
    Vote vote = voter_.vote(resource, *state_, now);
    vote.counter = counter_;
    for (const auto& [node, peer] : peers_.all())
      vote.heard.push_back({node, static_cast<std::uint64_t>(to_ms(now - peer.heard))});
    on(VoteHeard{vote}, now);
    out_.push_back(SendVote{std::move(vote)});
  }
}

void NodeCore::advance_deciders(const DeciderContext& c, Instant now) {
  for (auto& [resource, decider] : deciders_) {
    auto nomination = decider.advance(c, now);
    if (!nomination) continue;
    Decision& d = nomination->decision;
    const SwitchoverState* wish = c.wish(resource);
    const EventId cause = cause_of(nomination->evidence, c);
    AppendWish out{PromotionDecided{.to = *d.to, .session = d.session, .kind = nomination->evidence.kind, .loss_bytes = d.loss_bytes,
                                    .evidence = std::move(nomination->evidence), .verdicts = std::move(d.verdicts),
                                    .instance = d.instance},
                   d.epoch, cause, wish ? wish->reason : d.reason, wish ? wish->actor : std::string{}};
    append(out, *d.to, resource, now);
  }
}

/// The record names a voter set that the log does not reach: it was lost while nobody ran who had folded it and would notice by the fold. Said as
/// any other loss; voters go back to the log's set when they fold that.
void NodeCore::notice_lost_set(Instant now) {
  const VoterRecord& record = voter_.record();
  const bool lacking = caught_up() && root_of(record) == root_of(state_->log) && record.voters.sequence > state_->applied && log_.exists &&
                       log_.head.value != 0 && log_.head <= state_->applied;
  if (!lacking) {
    set_lacking_ = kNever;
    return;
  }
  set_lacking_ = std::min(set_lacking_, now);
  if (now < later(set_lacking_, kSetLacking)) return;
  MARK(kSetLost);
  housekeeper_.on(LogLost{root_of(record), record.voters.sequence, state_->applied, "the voter set that the record of " + config_.identity.self.value + " names"},
                  state_->log.regressions);
}

void NodeCore::advance_housekeeping(const DeciderContext& c, Instant now) {
  notice_lost_set(now);
  for (MemberWish& wish : housekeeper_.advance(c, log_, voter_.wants_return(*state_), now, voter_.record().log)) {
    // What this node has to say of the topology is its own file; the context's is the log's.
    if (auto* topology = std::get_if<TopologyChanged>(&wish.wish.payload)) topology->spec = config_.spec;
    append(wish.wish, wish.about, {}, now);
  }
}

void NodeCore::follow_wishes(Instant now) {
  for (const auto& [resource, decider] : deciders_) {
    const OperatorState* said = state_->operator_of(resource);
    Wish& wish = wishes_[resource];
    if (said == nullptr || said->switchover.sequence.value == 0) {
      wish = {};
      continue;
    }
    if (wish.sequence != said->switchover.sequence) wish = {.sequence = said->switchover.sequence, .seen = now, .live = true};
    if (now - wish.seen > std::chrono::milliseconds(said->switchover.valid_ms)) wish.live = false;
  }
}

void NodeCore::report_lag(Instant now) {
  const TopologySpec& spec = config_.spec;
  const Duration soonest = std::min<Duration>(std::chrono::milliseconds(spec.report_interval_ms), kLagAtLeast);
  for (const auto& [resource, agent] : agents_) {
    const PrimaryTrack* primary = peers_.primary(resource);
    if (agent.engine_state() != EngineState::kStandby || primary == nullptr) continue;
    LagReport& last = lag_[resource];
    if (last.at != Instant{} && now - last.at < soonest) continue;
    if (!may_append(now)) return;  // telemetry is a stream too
    const EngineReport engine = agent.engine(now);
    const std::uint64_t have = engine.position.lsn.value;
    const std::uint64_t lag = primary->position.lsn.value > have ? primary->position.lsn.value - have : 0;
    const std::string state = engine.streaming ? "streaming" : text_of(engine.state);
    const Duration since = now - last.at;
    const bool changed = lag != last.bytes || state != last.state;
    if (last.at != Instant{} && since < (changed ? Duration(std::chrono::milliseconds(spec.report_interval_ms)) : kLagAtLeast)) continue;
    last = {now, lag, state};
    out_.push_back(Report{ReplicaLagReported{.node = config_.identity.self, .primary = primary->node, .position = engine.position,
                                             .lag_bytes = lag, .lag_ms = lag == 0 ? 0 : engine.contact_age_ms, .state = state},
                          resource});
  }
}

std::vector<Wait> NodeCore::waits() const {
  std::vector<Wait> out;
  if (voter_wait_) out.push_back(*voter_wait_);
  if (housekeeper_.wait()) out.push_back(*housekeeper_.wait());
  if (housekeeper_.set_wait()) out.push_back(*housekeeper_.set_wait());
  for (const auto& [resource, decider] : deciders_)
    if (decider.wait()) out.push_back(*decider.wait());
  for (const auto& [resource, agent] : agents_)
    if (agent.wait()) out.push_back(*agent.wait());
  return out;
}

Decider::Nomination NodeCore::preview(const ResourceId& resource, bool holder_dead, Instant now) const {
  return Decider::preview(resource, context(now), holder_dead, now);
}

}  // namespace daarion
