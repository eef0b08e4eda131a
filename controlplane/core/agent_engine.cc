// What moves a node's engine towards the role that log and lease give it, and says what became of its data.
#include <algorithm>

#include "controlplane/core/agent.h"
#include "controlplane/core/plant.h"

namespace daarion {
namespace {

// After a failed step, doubled each time: a step that fails at once must not burn the machine, and an operator who mends the
// cause should not wait long.
constexpr Duration kFirstBackoff = std::chrono::milliseconds(250);
constexpr Duration kMaxBackoff = std::chrono::seconds(15);
// A copy reads all that the holder has each time it is tried; one that was asked for also stops a healthy replica.
constexpr Duration kFirstCopyBackoff = std::chrono::seconds(15);
constexpr Duration kMaxCopyBackoff = std::chrono::minutes(10);
// An observation that was asked for and did not come is asked for again: more than any driver takes to answer from memory.
constexpr Duration kObserveAgain = std::chrono::milliseconds(500);
// An observation this old is asked for anew: what changes by itself (a standby that parts from its upstream) is told by nothing else.
// Shells look four times as often of their own accord; longer, and a node that has to rejoin stands still for that long.
constexpr Duration kObservationHolds = std::chrono::seconds(1);
// A promotion is begun only with this much lease left: it takes tens of ms, and one that the fence cuts off helps nobody.
constexpr Duration kPromoteRoom = std::chrono::milliseconds(200);
// An engine that says nothing for less may only have been slow once: a failover is not what to advise then.
constexpr Duration kLongSilent = std::chrono::seconds(3);

/// What to wait after one more failure.
Duration longer(Duration before, Duration first, Duration most) { return before == Duration{} ? first : std::min(before * 2, most); }

bool runs(EngineState s) { return s == EngineState::kStandby || s == EngineState::kPrimary; }

}  // namespace

void Agent::on_guard(const GuardReport& report, Instant now) {
  if (report.incarnation != guard_.incarnation || report.engine_running != guard_.engine_running) {
    // What was observed is of an engine that is no more, or not yet: ask again.
    if (engine_.incarnation != report.incarnation || !report.engine_running) observe_wanted_ = true;
    if (!report.engine_running && runs(engine_.state)) engine_.state = EngineState::kStopped, engine_.streaming = false, engine_at_ = now;
  }
  guard_ = report;
}

void Agent::on_engine(const EngineReport& report, Instant looked) {
  for (const DroppedSlot& slot : report.dropped_slots) dropped_slots_[slot.slot] = slot;  // said once, whatever became of the engine
  if (report.incarnation != guard_.incarnation) return;
  if (report.state == EngineState::kPrimary && engine_.state != EngineState::kPrimary) opened_now_ = true;
  if (report.state == EngineState::kPrimary && holder_.claiming()) opened_ = holder_.current()->session;
  if (report.replayed > engine_.replayed) unopened_since_ = looked;
  const bool answered = answers().has_value();
  engine_ = report;
  engine_.dropped_slots.clear();
  engine_at_ = looked;
  engine_known_ = true;
  observed_ = true;
  answered_ = answered_ || (!answered && answers());
}

void Agent::on_done(const DriverResult& result, Instant now) {
  if (!op_ || op_->id != result.op) return;
  const NodeId upstream = op_->upstream;
  const EventId asked = op_->asked;
  const bool copy_asked = !asked.empty() && result.verb == Verb::kRejoin;
  op_.reset();
  observe_wanted_ = true;
  engine_known_ = false;  // decide the next step on what is there after this one
  if (result.verb == Verb::kFollow) diverged_ = result.diverged;
  if (result.verb == Verb::kRejoin && result.ok) diverged_ = false;
  if (result.ok) {
    backoff_ = {};
    retry_at_ = now;
    failure_.clear();
    if (result.verb == Verb::kProvision || result.verb == Verb::kRejoin) replica_news_ = result, replica_source_ = upstream, replica_asked_ = asked;
    if (result.verb == Verb::kProvision || result.verb == Verb::kRejoin) failed_copies_ = {};
    if (copy_asked) copy_backoff_ = {};
    if (!asked.empty() && result.verb == Verb::kStop) stopped_for_ = asked;
    if (result.verb == Verb::kStop && stopping_engine_) final_ = result.position;
    return;
  }
  if (result.diverged) return;
  if (copy_asked) {
    if (replica_asked_ != asked) copy_backoff_ = {};
    replica_asked_ = asked;
    copy_backoff_ = longer(copy_backoff_, kFirstCopyBackoff, kMaxCopyBackoff);
    copy_again_at_ = now + copy_backoff_;
    copy_failure_ = result.message;
  }
  if (result.verb == Verb::kRejoin && asked.empty() && !result.method.empty()) note_failed_copy(upstream, result.message, now);
  failure_ = result.message;
  backoff_ = longer(backoff_, kFirstBackoff, kMaxBackoff);
  retry_at_ = now + backoff_;
  if (result.verb == Verb::kStop && stopping_engine_) final_ = Position{};  // not clean: the session ends all the same, by a fence
}

/// A rejoin that got as far as a whole copy.
void Agent::note_failed_copy(const NodeId& from, const std::string& why, Instant now) {
  if (failed_copies_.from != from) failed_copies_ = {.from = from};
  FailedCopies& failed = failed_copies_;
  ++failed.times;
  failed.why = why;
  failed.backoff = longer(failed.backoff, kFirstBackoff, kMaxCopyBackoff);
  failed.again_at = now + failed.backoff;
}

/// Whether the copies from `from` failed so often that the next one has to wait. It holds nothing else up.
bool Agent::copy_waits(const NodeId& from, Instant now) {
  if (failed_copies_.from != from || now >= failed_copies_.again_at) return false;
  next_ = std::min(next_, failed_copies_.again_at);
  waits("another attempt to copy the data of " + from.value + ", of which " + std::to_string(failed_copies_.times) + " failed; the last: " + failed_copies_.why,
        "daarionctl rejoin " + resource_.value + " " + self_.value + " --reason TEXT", now);
  return true;
}

bool Agent::may_promote(Instant now) const { return confirmed() && holder_.held().value != 0 && holder_.deadline() > later(now, kPromoteRoom); }

void Agent::run(Verb verb, Epoch epoch, NodeId upstream, Instant now, AgentOutput& out, const EventId& asked) {
  op_ = Op{next_op_++, verb, upstream, now, asked};
  const SessionId session = verb == Verb::kPromote && guard_.taken ? guard_.taken->session : SessionId{};
  out.drive = DriverCommand{op_->id, resource_, verb, epoch, std::move(upstream), session, verb == Verb::kRejoin && !asked.empty()};
}

/// Moves the engine one step towards the role that log and lease give it.
void Agent::move_engine(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out) {
  if (op_ || out.drive || guard_.fencing) return;
  const bool missing = !engine_known_ && now >= later(asked_at_, kObserveAgain);
  const bool old = engine_known_ && now >= later(std::max(asked_at_, engine_at_), kObservationHolds);
  if (observe_wanted_ || missing || old) {
    MARK_IF(kObservesAgain, old);
    observe_wanted_ = false;
    asked_at_ = now;
    if (asked_op_ == 0) asked_op_ = next_op_;  // and any later one
    out.drive = DriverCommand{next_op_++, resource_, Verb::kObserve, {}, {}};
  }
  if (!engine_known_) {
    next_ = std::min(next_, later(asked_at_, kObserveAgain));
    return;
  }
  const bool writable = engine_.state == EngineState::kPrimary && engine_.incarnation == guard_.incarnation && guard_.engine_running;
  if (writable && !confirmed()) {
    out.guard.push_back({resource_, GuardCommand::Kind::kFence, {}, {}, {}});
    engine_known_ = false;
    retry_at_ = now + kFirstBackoff;
    return;
  }
  if (stopping_engine_ || c.stopping || engine_.state == EngineState::kForeign) {
    if (engine_.state == EngineState::kForeign)
      waits("the data directory of " + resource_.value + " on " + self_.value + " is not ours: " + engine_.health,
            "move it away, or set data_dir", now);
    return;
  }
  if (now < retry_at_) {
    MARK(kBackoff);
    waits("to try again: " + failure_, "daarionctl resource " + resource_.value, now);
    next_ = std::min(next_, retry_at_);
    return;
  }
  // It may be busy, frozen or on a disk that hangs. The lease goes on; whether waiting costs more than what a failover may lose is the
  // operator's to say.
  if (holder_.claiming() && engine_.state == EngineState::kUnresponsive) {
    const std::string what = resource_.value + " on " + self_.value + " to answer: its processes are there and say nothing";
    const bool long_silent = wait_ && wait_->what == what && now >= wait_->since + kLongSilent;
    if (!switchover_waits_) waits(what, (long_silent ? "daarionctl failover " : "daarionctl resource ") + resource_.value, now);
    return;
  }
  const bool to_open = holder_.claiming() && engine_.state == EngineState::kStandby && engine_.opened != holder_.current()->session;
  if (to_open && !may_promote(now)) {
    if (!switchover_waits_) waits("a majority of voters to promise " + resource_.value + " to " + self_.value, "daarionctl nodes", now);
    return;
  }
  if (to_open && !lacks_nothing(c, lease, now, out)) return;
  if (!switchover_waits_) wait_.reset();
  // One session, one opening: an engine that ended under its lease is not opened again under it.
  if (holder_.claiming() && engine_.opened == holder_.current()->session && engine_.state != EngineState::kPrimary &&
      engine_.state != EngineState::kUnknown) {
    MARK(kEndStoppedUnderLease);
    return retire("the engine was stopped under its lease", out);
  }
  if (holder_.claiming() && lease && engine_.state == EngineState::kStandby && owes_completion(c, *lease)) {
    MARK(kOwesCompletion);
    if (!switchover_waits_) waits("the log to show what " + self_.value + " wrote under an earlier epoch", "daarionctl status", now);
    return;
  }
  if (holder_.claiming()) return move_writer(lease, now, out);
  if (lease) return move_follower(c, *lease, now, out);
  // Opened here once, and the log knows of no epoch: it lost them all. A standby's position can be judged.
  if (engine_.state == EngineState::kStopped && !engine_.opened.empty()) run(Verb::kStart, {}, {}, now, out);
}

/// What these data were opened under before, and the log does not know of yet, is told first (report_ends): the next opening hides it, and
/// without it others' data that parted from it look as if they were of this history.
bool Agent::owes_completion(const AgentContext& c, const LeaseState& lease) const {
  return std::ranges::any_of(lease.open, [&](const OpenDecision& d) {
    return d.session == engine_.opened && d.session != holder_.current()->session && d.epoch > lease.completed.epoch && is_us(c, d.node, d.instance);
  });
}

void Agent::move_writer(const LeaseState* lease, Instant now, AgentOutput& out) {
  switch (engine_.state) {
    case EngineState::kEmpty:
      // Its files were there when it was named. Made from empty, all the others would be copied from nothing. A look that fails under a running engine
      // says nothing.
      if (guard_.engine_running) return;
      if (lease && (lease->completed.epoch.value != 0 || (lease->kind != DecisionKind::kBootstrap && lease->kind != DecisionKind::kKeep))) {
        MARK(kEndEmpty);
        return retire("its data directory is empty, and " + resource_.value + " is not to be made from nothing", out);
      }
      if (confirmed() && holder_.has_lease(now)) run(Verb::kProvision, holder_.held(), {}, now, out);
      return;
    case EngineState::kStopped:
      return run(Verb::kStart, holder_.held(), {}, now, out);
    case EngineState::kStandby:
      if (may_promote(now)) run(Verb::kPromote, holder_.held(), {}, now, out);
      return;
    default:
      return;
  }
}

/// The node decided in the log, where its beats show it writing and only the log is late; nothing: as the log says. Not once its host was rebuilt:
/// what was written there is gone, and nobody is to wait for it.
const PrimaryTrack* Agent::opened_untold(const AgentContext& c, const LeaseState& lease) const {
  const PrimaryTrack* track = c.cluster.peers.primary(resource_);
  const Peer* peer = c.cluster.peers.find(lease.holder);
  if (peer && !lease.instance.empty() && peer->beat.instance != lease.instance) return nullptr;
  const bool is_it = lease.phase == LeaseState::Phase::kDecided && track && track->session == lease.session && track->node == lease.holder;
  return is_it ? track : nullptr;
}

bool Agent::must_rejoin(const AgentContext& c, const LeaseState& lease) const {
  if (PLANTED(kDivergedFollows)) return false;
  if (diverged_ || engine_.diverged) return true;
  if (engine_.position.lsn.value == 0 || engine_.position.timeline == 0) return false;
  // On a timeline that the log does not know, and that writer has: the driver compares the two before it follows, and says if they have parted.
  if (const PrimaryTrack* writer = opened_untold(c, lease); writer && engine_.position.timeline == writer->position.timeline) return false;
  Evidence history;
  history.last_position = lease.position;
  history.timelines = lease.timelines;
  // Of an older number the log may name another's opening than the one that the writer's data went on from, whose completion was lost with its node: whoever
  // follows the writer compares those with it, not with the log.
  for (TimelineStart& t : history.timelines)
    if (t.timeline != lease.position.timeline) t.session = {};
  CandidateEvidence self;
  self.engine = engine_;
  return !shares_history(history, self);
}

const ReplicaState* Agent::own_replica(const AgentContext& c) const {
  const auto it = c.cluster.state.replicas.find({resource_, self_});
  return it == c.cluster.state.replicas.end() ? nullptr : &it->second;
}

/// What is asked of this node's replica: by a person, under the epoch that is still the newest, and not done yet, by a fold that is at the log's end. Not while a session of this node is named:
/// it is to be promoted. And only while the holder was heard writing under that epoch and nobody under a newer one: a fold that lags, after a restart or a lost tail, may show a request that
/// was done long ago, and the newest data may be this node's own.
const ReplicaState* Agent::asked_for(const AgentContext& c, const LeaseState& lease) const {
  const ReplicaState* known = own_replica(c);
  if (!c.cluster.caught_up || !known || known->asked.value == 0 || known->asked_epoch != lease.epoch || !lease.has_holder() || lease.holder == self_ || replica_news_) return nullptr;
  const PrimaryTrack* writer = c.cluster.peers.primary(resource_);
  return writer != nullptr && writer->node == lease.holder && writer->epoch == lease.epoch ? known : nullptr;
}

/// Whom to follow: the holder in the log, or the one decided if its beats show it writing and only the log is late.
NodeId Agent::writer_of(const AgentContext& c, const LeaseState& lease) const {
  if (opened_untold(c, lease)) {
    MARK(kFollowsDecided);
    return lease.holder;
  }
  return lease.has_holder() ? lease.completed.node : NodeId{};
}

void Agent::move_follower(const AgentContext& c, const LeaseState& lease, Instant now, AgentOutput& out) {
  const ResourceSpec* spec = c.cluster.spec.resource(resource_);
  if (spec == nullptr || !spec->has_member(self_)) return;
  // Beats showed a writer under an epoch that this fold lacks: the log lost it, or the fold is behind. Whom to follow, and whether these data
  // have parted, is judged by what comes to be in the log.
  const PrimaryTrack* track = c.cluster.peers.primary(resource_);
  if (track != nullptr && track->epoch > lease.epoch) {
    MARK(kWriterAboveLog);
    if (engine_.state == EngineState::kStopped) run(Verb::kStart, lease.completed.epoch, {}, now, out);
    return;
  }
  const NodeId upstream = writer_of(c, lease);
  if (upstream.empty() || upstream == self_) {
    if (lease.has_holder() && upstream == self_ && !is_us(c, lease.completed.node, lease.completed.instance)) {
      MARK(kEarlierInstance);
      waits("the session of epoch " + std::to_string(lease.completed.epoch.value) + " of an earlier instance of " + self_.value +
                " to run out by itself: its host may live on",
            "daarionctl status", now);
    }
    // Nobody holds, as far as the log knows: be a standby, so that this node's position is known.
    if (engine_.state == EngineState::kStopped) run(Verb::kStart, lease.completed.epoch, {}, now, out);
    return;
  }
  const Peer* peer = c.cluster.peers.find(upstream);
  if (peer == nullptr || now - peer->heard > timers_.ttl) {
    MARK(kUpstreamSilent);
    if (engine_.state == EngineState::kStopped && !must_rejoin(c, lease)) return run(Verb::kStart, lease.completed.epoch, upstream, now, out);
    if (!runs(engine_.state)) waits(upstream.value + ", whom this node should follow, to be heard", "daarionctl nodes", now);
    return;
  }
  switch (engine_.state) {
    case EngineState::kEmpty:
      return run(Verb::kProvision, lease.completed.epoch, upstream, now, out);
    case EngineState::kStopped:
    case EngineState::kStandby:
      if (const ReplicaState* request = asked_for(c, lease); request && request->asked_restart) {
        if (engine_.state == EngineState::kStopped) stopped_for_ = request->asked_event;
        if (stopped_for_ != request->asked_event) {
          MARK(kRestartsAsked);
          return run(Verb::kStop, lease.completed.epoch, {}, now, out, request->asked_event);
        }
      } else if (request) {
        if (now >= copy_again_at_ || replica_asked_ != request->asked_event) {
          MARK(kRejoinsAsked);
          return run(Verb::kRejoin, lease.completed.epoch, upstream, now, out, request->asked_event);
        }
        next_ = std::min(next_, copy_again_at_);
        waits("another attempt at the whole copy that was asked for: " + copy_failure_, "daarionctl events", now);
      }
      if (must_rejoin(c, lease)) {
        const ReplicaState* known = own_replica(c);
        if (!known || known->status != ReplicaState::Status::kDiverged || known->changed < lease.completed.sequence) {
          out.appends.push_back({ReplicaDiverged{upstream, engine_.position}, lease.completed.epoch, {},
                                 "this node's data have parted from " + upstream.value, {}});
          return;
        }
        if (copy_waits(upstream, now)) return;
        MARK(kRejoins);
        return run(Verb::kRejoin, lease.completed.epoch, upstream, now, out);
      }
      if (engine_.state == EngineState::kStopped || engine_.upstream != upstream)
        return run(Verb::kFollow, lease.completed.epoch, upstream, now, out);
      return;
    default:
      return;
  }
}

/// A provision or rejoin that was done is put in the log, until it stands there.
void Agent::report_replica(const AgentContext& c, AgentOutput& out) {
  if (!replica_news_) return;
  const LeaseState* lease = c.cluster.state.lease(resource_);
  const Epoch epoch = lease ? lease->completed.epoch : Epoch{};
  const NodeId& source = replica_source_;
  const ReplicaState* known = own_replica(c);
  const bool rejoined = replica_news_->verb == Verb::kRejoin;
  const auto wanted = rejoined ? ReplicaState::Status::kRejoined : ReplicaState::Status::kProvisioned;
  if (known && known->status == wanted && known->position == replica_news_->position && (replica_asked_.empty() || known->asked_event != replica_asked_)) {
    replica_news_.reset();
    return;
  }
  if (rejoined)
    out.appends.push_back({ReplicaRejoined{replica_news_->method, source, replica_news_->position}, epoch, replica_asked_,
                           "its history is " + source.value + "'s again, by " + replica_news_->method, {}});
  else
    out.appends.push_back({ReplicaProvisioned{replica_news_->method, source, replica_news_->position}, epoch, {},
                           source.empty() ? "made from empty" : "copied from " + source.value, {}});
}

/// The engine runs again after it was stopped for a request: put in the log, until it stands there.
void Agent::report_restart(const AgentContext& c, AgentOutput& out) {
  const ReplicaState* known = own_replica(c);
  if (!known || !known->asked_restart || stopped_for_ != known->asked_event || !engine_known_ || !runs(engine_.state)) return;
  const LeaseState* lease = c.cluster.state.lease(resource_);
  out.appends.push_back({ReplicaRestarted{engine_.position}, lease ? lease->completed.epoch : Epoch{}, known->asked_event, "its engine was stopped and started", {}});
}

void Agent::report_slots(const AgentContext& c, AgentOutput& out) const {
  const LeaseState* lease = c.cluster.state.lease(resource_);
  for (const auto& [name, slot] : dropped_slots_)
    out.appends.push_back({SlotDropped{name}, lease ? lease->completed.epoch : Epoch{}, {}, slot.why, {}, slot.node});
}

}  // namespace daarion
