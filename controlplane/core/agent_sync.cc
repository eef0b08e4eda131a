#include <algorithm>

#include "controlplane/core/agent.h"
#include "controlplane/core/sync_set.h"

namespace daarion {
namespace {

// A replica that does not stream for so long leaves the set. Until then commits may wait for it, and a failover needs to hear it; a restart of a
// replica takes less, and each change is an event.
constexpr Duration kAwayLong = std::chrono::seconds(5);

std::vector<NodeId> sorted(std::vector<NodeId> nodes) {
  std::ranges::sort(nodes);
  return nodes;
}

Version next_version(const LeaseState& lease) { return Version{lease.version.value + 1}; }

}  // namespace

/// Those of the declared that stream, or did until a moment ago, and that may be promoted.
std::vector<NodeId> Agent::present_followers(const AgentContext& c, const std::vector<NodeId>& declared, Instant now) {
  std::vector<NodeId> out;
  for (const NodeId& node : declared) {
    if (std::ranges::find(engine_.followers, node) != engine_.followers.end()) away_.erase(node);
    else away_.emplace(node, now);
    const MemberState* member = c.cluster.state.member(node);
    if (member && member->intent != MemberIntent::kActive) continue;
    const auto since = away_.find(node);
    const bool here = since == away_.end() || now < later(since->second, kAwayLong);
    if (here) out.push_back(node);
    if (here && since != away_.end()) next_ = std::min(next_, later(since->second, kAwayLong));
  }
  return out;
}

/// The writer's part of sync_set.h.
void Agent::keep_sync(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out) {
  const ResourceSpec* spec = c.cluster.spec.resource(resource_);
  const bool holds = lease && spec && spec->confirmations() > 0 && confirmed() && lease->completed.session == holder_.current()->session &&
                     is_us(c, lease->completed.node, lease->completed.instance) &&
                     // and it has the newest epoch: nobody who was named without regard to the new set can have a majority any more
                     lease->session == holder_.current()->session && lease->epoch == holder_.held();
  if (!holds) away_.clear();
  // Not beside a step of the driver: it may be about to change what is in force.
  if (!holds || op_ || !engine_known_ || engine_.state != EngineState::kPrimary) return;
  SyncView view;
  view.declared = {sorted(spec->confirmers_of(self_)), spec->confirmations()};
  if (lease->sync.session == lease->completed.session) view.logged = Confirmers{sorted(lease->sync.members), lease->sync.needed};
  view.in_force = {sorted(engine_.confirmers), engine_.confirmations};
  view.confirmed_all = engine_.confirmed_all;
  view.present = present_followers(c, view.declared.members, now);
  const Confirmers known = view.logged.value_or(view.declared);
  // A daemon of before may have left such an append behind; only beside an engine that has less than the log.
  if (std::exchange(sync_session_, lease->completed.session) != lease->completed.session) smaller_until_ = view.in_force == known ? Version{} : next_version(*lease);
  view.under_way = lease->version < smaller_until_;
  const SyncStep step = plan_sync(view);
  if (step.append && !is_within(known, *step.append)) smaller_until_ = next_version(*lease);
  if (step.append)
    out.appends.push_back({SyncSetChanged{lease->completed.session, step.append->members, step.append->needed}, lease->completed.epoch, {},
                           "each commit waits for " + text_of(*step.append), {}});
  if (!step.tell || out.drive || guard_.fencing || stopping_engine_ || c.stopping || now < retry_at_) return;
  std::vector<NodeId> in_order;  // as declared: the first that is there is waited for
  for (const NodeId& node : spec->members)
    if (std::ranges::binary_search(step.tell->members, node)) in_order.push_back(node);
  for (const NodeId& node : step.tell->members)
    if (!spec->has_member(node)) in_order.push_back(node);
  run(Verb::kSetSync, holder_.held(), {}, now, out);
  out.drive->confirmers = std::move(in_order);
  out.drive->confirmations = step.tell->needed;
}

void Agent::on_ask(const SessionId& session) {
  if (asked_by_ == session) return;
  asked_by_ = session;
  asked_op_ = 0;
  observe_wanted_ = true;
}

std::optional<SessionId> Agent::asks() const {
  const bool stands = !asking_.empty() && confirmed() && holder_.current()->session == asking_ && engine_.state != EngineState::kPrimary;
  return stands ? std::optional(asking_) : std::nullopt;
}

std::optional<SessionId> Agent::answers() const {
  const bool looked = engine_known_ && !asked_by_.empty() && asked_op_ != 0 && engine_.looked >= asked_op_;
  return looked ? std::optional(asked_by_) : std::nullopt;
}

/// The decision was made on positions that may be of before the end of a lease: a vote that came late speaks of one that lived on, and was written
/// under (simulator seed 59106). That this session has its majority proves that nobody writes: what was looked at since then cannot grow. So it asks, and its
/// engine opens where the rule of decide.h holds for the answers. If another has more, or too few answer, the session is given back.
bool Agent::lacks_nothing(const AgentContext& c, const LeaseState* lease, Instant now, AgentOutput& out) {
  const ResourceSpec* spec = c.cluster.spec.resource(resource_);
  if (PLANTED(kOpensUnasked) || spec == nullptr || spec->confirmations() == 0) return true;
  const SessionId session = holder_.current()->session;
  if (lease == nullptr || lease->epoch.value == 0) {  // the log lost all, and is about to be told of this session again
    waits("the log to show the lease of " + resource_.value + " again", "daarionctl status", now);
    return false;
  }
  Evidence e = Decider::gather(resource_, c.cluster, now);
  // Said of the session that is to open, not of one that a needless nomination names meanwhile.
  e.allow_data_loss = lease->accepts_loss && lease->session == session;
  e.wanted = {};
  const auto self = std::ranges::find(e.candidates, self_, &CandidateEvidence::node);
  if (self == e.candidates.end()) {
    retire(self_.value + " is no member of " + resource_.value + " any more", out);
    return false;
  }
  self->engine = engine_;
  // A clean end may have come after the decision: it excuses only who has all of it.
  e.final_position = e.final_position && engine_.position.timeline == e.last_position.timeline && shares_history(e, *self) && lag_bytes(e, *self) == 0;
  const Objection no = object_to_sync(e, *self, [&](const CandidateEvidence& other) {
    if (other.engine.state != EngineState::kStandby || other.engine.position.timeline == 0) return false;
    if (other.node == self_) return answers() == session;
    const Peer* peer = c.cluster.peers.find(other.node);
    return other.heard && peer != nullptr && std::ranges::find(peer->beat.answers, SessionNote{resource_, session}) != peer->beat.answers.end();
  });
  if (no.rule.empty()) return true;
  if (asking_ != session) {
    MARK(kAsks);
    asking_ = session;
    asking_since_ = now;
    out.beat_now = true;
  }
  on_ask(session);  // again where another's late word came between
  const Instant until = later(asking_since_, timers_.ttl);
  const bool ahead = no.rule == "not_in_sync_set";
  MARK_IF(kEndLacks, ahead);
  if (ahead || now >= until) {
    retire(no.detail, out);
    return false;
  }
  if (!switchover_waits_) waits(no.detail, "daarionctl status", now);
  next_ = std::min(next_, until);
  return false;
}

}  // namespace daarion
