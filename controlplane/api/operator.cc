#include "controlplane/api/operator.h"

#include <algorithm>

#include "controlplane/api/views.h"
#include "controlplane/core/decide.h"
#include "controlplane/core/helper_role.h"
#include "controlplane/core/override.h"
#include "streams/codec.h"

namespace daarion {
namespace {

// A wish that nobody could carry out in this time is not carried out later by surprise.
constexpr std::uint64_t kWishValidMs = 30'000;
// Above a stream election (4 to 9 s): the operator gets a clear answer rather than "may have happened".
constexpr Duration kAppendLimit = std::chrono::seconds(10);

std::string known(const std::vector<std::string>& names, const char* between = ", ") {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : between) + name;
  return out;
}

/// Whom a person's word is of goes with the answer to it.
Result<OperatorAnswer> naming(Result<OperatorAnswer> answer, std::string whom) {
  if (answer) answer->whom = std::move(whom);
  return answer;
}

}  // namespace

Result<const ResourceSpec*> Operator::resource_of(const ResourceId& id, const char* verb) const {
  const ResourceSpec* spec = ports_.spec.resource(id);
  if (spec != nullptr && spec->leased) return spec;
  const auto view = ports_.view();
  if (const ObservedState* said = spec == nullptr ? nullptr : view->state->observed_of(id))
    return fail(Remedy::kStepDown, std::string(verb) + " " + id.value + " refused: " + said->seen.elected_by +
                                       " decides who is its primary, and this control plane only asks it; `daarionctl switchover " + id.value + "` does");
  std::vector<std::string> names;
  for (const ResourceSpec& r : ports_.spec.resources)
    if (r.leased) names.push_back(r.id.value);
  return fail(Remedy::kFixInput, spec == nullptr ? "unknown resource " + id.value + "; there are: " + known(names)
                                                 : id.value + " is not led by this control plane; these are: " + known(names));
}

// Asked before any rule: a switchover repeated after it was done would be refused, its target holds already.
std::optional<OperatorAnswer> Operator::taken_before(const OperatorIntent& intent) const {
  const auto view = ports_.view();
  const auto& known = view->state->requests;
  const auto at = std::ranges::find(known, intent.request, &RequestState::request);
  if (intent.request.empty() || at == known.end()) return std::nullopt;
  OperatorAnswer answer{.event = {}, .subject = {}, .dry_run = false, .repeated = true, .outcome = "request " + intent.request + " was taken before: nothing new is done"};
  answer.event.sequence = at->sequence;
  answer.event.event.header.id = at->event;
  return answer;
}

Result<OperatorAnswer> Operator::switchover(const ResourceId& resource, const NodeId& from, const NodeId& to, const OperatorIntent& intent) {
  if (auto taken = taken_before(intent)) return *taken;
  const auto view = ports_.view();
  const ResourceSpec* own = ports_.spec.resource(resource);
  if (const ObservedState* said = own == nullptr || own->leased ? nullptr : view->state->observed_of(resource)) return ask_engine(resource, *said, from, to, intent);
  const auto spec = resource_of(resource, "switchover");
  if (!spec) return tl::unexpected(spec.error());
  if (!to.empty() && !(*spec)->has_member(to))
    return fail(Remedy::kFixInput, "switchover " + resource.value + ": " + to.value + " does not run it; see `daarionctl resources`");
  const LeaseState* lease = view->state->lease(resource);
  if (lease == nullptr || !lease->has_holder())
    return fail(Remedy::kStepDown, "switchover " + resource.value + ": nobody holds it now; use `daarionctl failover`, or see `daarionctl status`");
  const NodeId holder = lease->completed.node;
  if (!from.empty() && from != holder)
    return fail(Remedy::kRefold, "switchover " + resource.value + ": its holder is " + holder.value + ", not " + from.value);
  if (to == holder) return fail(Remedy::kStepDown, "switchover " + resource.value + ": " + to.value + " is its holder already");
  const Decider::Nomination& then = view->if_holder_dies.at(resource);
  for (std::size_t i = 0; i < then.decision.verdicts.size(); ++i) {
    const Verdict& verdict = then.decision.verdicts[i];
    if (verdict.node != to || verdict.eligible || verdict.rule == "not_wanted") continue;
    return fail(Remedy::kStepDown, "switchover " + resource.value + " to " + to.value + " refused: " + verdict.rule + ": " + verdict.detail +
                                       "; see `daarionctl why-not " + resource.value + "`");
  }
  // The preview is of a failover: what forbids only those (a pause, too many promotions) does not forbid this.
  const bool somebody = std::ranges::any_of(then.decision.verdicts, [&](const Verdict& v) { return v.eligible && v.node != holder; });
  if (to.empty() && !somebody)
    return fail(Remedy::kStepDown, "switchover " + resource.value + " refused: " + as_hypothesis(then.decision.reason, holder, "is its holder"));
  const std::string target = !to.empty() ? to.value : then.decision.to ? then.decision.to->value : "the best candidate";
  SwitchoverRequested wish{.from = holder, .to = to, .valid_ms = kWishValidMs, .request = intent.request};
  return append(wish, {}, resource, intent, holder.value + " stops cleanly and releases, then " + target + " is promoted; nothing is lost");
}

/// A switchover of what elects by itself: the node that observes it passes it on.
Result<OperatorAnswer> Operator::ask_engine(const ResourceId& resource, const ObservedState& said, const NodeId& from, const NodeId& to, const OperatorIntent& intent) {
  const std::string what = "switchover " + resource.value;
  const NodeId& primary = said.seen.primary;
  if (primary.empty()) return fail(Remedy::kStepDown, what + " refused: nobody is its primary now; see `daarionctl resource " + resource.value + "`");
  if (!from.empty() && from != primary) return fail(Remedy::kRefold, what + ": its primary is " + primary.value + ", not " + from.value);
  if (to == primary) return fail(Remedy::kStepDown, what + ": " + to.value + " is its primary already");
  std::string why;  // of the last one that could not
  const bool somebody = std::ranges::any_of(said.seen.members, [&](const MemberSeen& m) {
    if (m.state == EngineState::kPrimary || is_helper(m.role) || (!to.empty() && m.node != to)) return false;
    if (m.state == EngineState::kStandby && m.health.empty()) return true;
    why = m.node.value + " is " + text_of(m.state) + (m.health.empty() ? "" : ": " + m.health);
    return false;
  });
  if (!somebody)
    return fail(to.empty() || !why.empty() ? Remedy::kStepDown : Remedy::kFixInput,
                what + " refused: " + (!why.empty() ? why : to.empty() ? "it has no replica" : to.value + " does not run it; see `daarionctl resources`"));
  return append(SwitchoverRequested{.from = primary, .to = to, .valid_ms = kWishValidMs, .request = intent.request}, {}, resource, intent,
                said.observer.value + " asks " + said.seen.elected_by + " to make " + (to.empty() ? "another node" : to.value) + " the primary");
}

Result<OperatorAnswer> Operator::failover(const ResourceId& resource, const NodeId& to, bool allow_data_loss, const OperatorIntent& intent) {
  if (auto taken = taken_before(intent)) return *taken;
  const auto spec = resource_of(resource, "failover");
  if (!spec) return tl::unexpected(spec.error());
  if (!to.empty() && !(*spec)->has_member(to))
    return fail(Remedy::kFixInput, "failover " + resource.value + ": " + to.value + " does not run it; see `daarionctl resources`");
  const auto view = ports_.view();
  const LeaseState* lease = view->state->lease(resource);
  const NodeId holder = lease && lease->has_holder() ? lease->completed.node : NodeId{};
  if (!holder.empty() && to == holder) return fail(Remedy::kStepDown, "failover " + resource.value + ": " + to.value + " is its holder already");
  if (const auto lost = view->lost.find(resource); lost != view->lost.end())
    return fail(Remedy::kStepDown, "failover " + resource.value + " refused: it waits for " + what_of(lost->second) + "; make sure that " + lost->second.node.value +
                                       " is off, then: " + confirm_command(resource, lost->second));
  const Decider::Nomination& then = view->if_holder_dies.at(resource);
  for (const Verdict& verdict : then.decision.verdicts) {
    if (verdict.node != to || verdict.eligible || verdict.rule == "not_wanted") continue;
    const bool loss = verdict.rule == "lag_bytes" || verdict.rule == "lag_ms" || verdict.rule == "staleness" || verdict.rule == "loses_writes" ||
                      verdict.rule == "diverged" || verdict.rule == "unfit";
    if (verdict.rule == "nofailover" || (loss && allow_data_loss)) continue;
    return fail(Remedy::kStepDown, "failover " + resource.value + " to " + to.value + " refused: " + verdict.rule + ": " + verdict.detail +
                                       (loss ? "; --allow-data-loss accepts that" : ""));
  }
  SwitchoverRequested wish{.from = holder, .to = to, .forced = true, .allow_data_loss = allow_data_loss, .valid_ms = kWishValidMs,
                           .request = intent.request};
  // The decision as it would be now, under this wish: whom it names and what it may lose.
  Evidence evidence = then.evidence;
  evidence.kind = DecisionKind::kForced;
  evidence.wanted = to;
  evidence.allow_data_loss = allow_data_loss;
  const Decision d = decide(evidence);
  const std::string whom = d.to ? d.to->value : holder.empty() ? "the best candidate" : "another node";
  const auto chosen = std::ranges::find_if(evidence.candidates, [&](const CandidateEvidence& c) { return d.to == c.node; });
  const std::string lacks = chosen == evidence.candidates.end() ? "" : lacks_beyond_holder(evidence, *chosen);
  return append(wish, {}, resource, intent,
                (holder.empty() ? "" : "once the lease of " + holder.value + " has ended, ") + whom + " is promoted" +
                    (d.to ? "; expected loss: " + loss_text(evidence, d.loss_bytes) : "") + (lacks.empty() ? "" : "; it lacks " + lacks));
}

Result<OperatorAnswer> Operator::pause(const ResourceId& resource, const OperatorIntent& intent) {
  if (!resource.empty())
    if (const auto spec = resource_of(resource, "pause"); !spec) return tl::unexpected(spec.error());
  return append(Paused{}, {}, resource, intent, "nothing fails over by itself until `daarionctl resume`; the holder keeps writing");
}

Result<OperatorAnswer> Operator::resume(const ResourceId& resource, const OperatorIntent& intent) {
  // A pause outlives its resource's declaration.
  const OperatorState* said = resource.empty() ? nullptr : ports_.view()->state->operator_of(resource);
  if (!resource.empty() && !(said && said->paused > said->resumed))
    if (const auto spec = resource_of(resource, "resume"); !spec) return tl::unexpected(spec.error());
  return append(Resumed{}, {}, resource, intent, "failover is automatic again");
}

namespace {
/// With a majority of the voters gone nobody's promises show who is waited for: an override asks for word of whoever may have one without an end. Also
/// of one that is heard: it may have ended, and cannot say so in the log (NodeCore::may_append); if it has not, it is fenced when it folds the word.
std::optional<LostHolder> lost_before_override(const StatusView& view, const ResourceId& resource, const NodeId& holder) {
  if (view.voters_heard.size() >= view.state->voters.majority()) return std::nullopt;
  for (const EndlessSession& endless : endless_sessions(*view.state, resource))
    if (holder.empty() || endless.node == holder) return LostHolder{.node = endless.node, .session = endless.session};
  return std::nullopt;
}
}  // namespace

Result<OperatorAnswer> Operator::confirm_fencing(const ResourceId& resource, const NodeId& holder, const OperatorIntent& intent, const std::string& how,
                                                 const SessionId& session) {
  if (const auto spec = resource_of(resource, "confirm-fencing"); !spec) return tl::unexpected(spec.error());
  const auto view = ports_.view();
  const LeaseState* lease = view->state->lease(resource);
  const std::string what = "confirm-fencing " + resource.value;
  const auto waited_for = view->lost.find(resource);
  const auto lost = waited_for != view->lost.end() ? std::optional(waited_for->second) : lost_before_override(*view, resource, holder);
  if (!lost) {
    const std::string who = lease && lease->has_holder() ? lease->completed.node.value : "its holder";
    return fail(Remedy::kStepDown, what + " refused: nothing waits for it; it is for a holder that was paused and is lost for longer than a lease, and " + who +
                                       " is not known to be; see `daarionctl why-not " + resource.value + "`");
  }
  const NodeId& node = lost->node;
  if ((!holder.empty() && holder != node) || (!session.empty() && session != lost->session))
    return fail(Remedy::kRefold, what + ": what is waited for is word of " + node.value + (session.empty() ? "" : " and its newest session") + ", not of " +
                                     (holder.empty() ? "another one" : holder.value));
  const CompletedLease none;
  const bool writer = (lease ? lease->completed : none).session == lost->session;
  const bool waits = view->state->paused(resource);
  const std::string next = outlook(resource, view->state->voters.voters, "");
  return naming(append(FencingConfirmed{lost->session, how}, {}, resource, intent,
                "one lease from then the promises to " + node.value + (writer ? "" : ", which had not said yet that it writes,") + " are over; " + next +
                    (waits ? "; it is paused, so `daarionctl resume` or `daarionctl failover` comes after" : "") + ". If " + node.value +
                    " still runs, two nodes write from then on, and what one of them took is lost"), node.value);
}

std::vector<NodeId> Operator::off_by_override(const StatusView& view) const {
  std::vector<NodeId> off;
  for (const v1::NodeStatus& node : view.status->nodes()) {
    const NodeId id(node.id());
    const bool leads = std::ranges::any_of(ports_.spec.resources, [&](const ResourceSpec& r) { return r.leased && r.has_member(id); });
    if (leads && id != ports_.self && node.state() != "reachable") off.push_back(id);
  }
  return off;
}

std::string Operator::outlook(const ResourceId& resource, const std::vector<VoterInstance>& voters, const std::string& as_far_as) const {
  Evidence evidence = ports_.view()->if_holder_dies.at(resource).evidence;
  evidence.kind = DecisionKind::kForced;
  evidence.voters = static_cast<std::uint32_t>(voters.size());
  evidence.votes.clear();
  for (const VoterInstance& voter : voters) evidence.votes.push_back({voter.node, evidence.log_epoch, 0, 0});
  const Decision d = decide(evidence);
  if (!d.to) return "nobody can be promoted yet: " + d.reason;
  return d.to->value + " can be promoted, expected loss " + loss_text(evidence, d.loss_bytes) + as_far_as;
}

Result<OperatorAnswer> Operator::grant_override(const std::vector<NodeId>& left, const std::string& others_off, const OperatorIntent& intent) {
  if (auto taken = taken_before(intent)) return *taken;
  const auto view = ports_.view();
  const State& state = *view->state;
  if (others_off.empty()) return fail(Remedy::kFixInput, "override: say how the others were made sure to be off; the log keeps it");
  OverrideGranted granted{.parent = state.log.log, .voters = {}, .others_off = others_off, .base = state.voters.id, .off = off_by_override(*view), .request = intent.request};
  std::vector<std::string> voters, gone;
  for (const VoterInstance& v : state.voters.voters) {
    voters.push_back(v.node.value);
    const bool stays = std::ranges::find(left, v.node) != left.end();
    const bool heard = std::ranges::find(view->voters_heard, v) != view->voters_heard.end();
    if (stays && !heard) return fail(Remedy::kStepDown, "override refused: " + v.node.value + " is not heard as the voter that it was; it leaves those that are");
    if (!stays && heard) return fail(Remedy::kStepDown, "override refused: " + v.node.value + " is heard: it is not off; name every voter that is left");
    if (stays) granted.voters.push_back(v);
    else gone.push_back(v.node.value);
  }
  for (const NodeId& node : left)
    if (std::ranges::find(voters, node.value) == voters.end()) return fail(Remedy::kFixInput, "override: " + node.value + " is no voter; these are: " + known(voters));
  if (const std::string why = objection(state, granted); !why.empty())
    return fail(Remedy::kStepDown, "override refused: " + why + "; see `daarionctl status`");
  std::string next;
  for (const ResourceSpec& r : ports_.spec.resources) {
    if (!r.leased || !view->if_holder_dies.contains(r.id)) continue;
    next += "; " + r.id.value + ": " + outlook(r.id, granted.voters, " of what this node knows of");
  }
  for (const NodeId& node : granted.off)
    if (std::ranges::find(gone, node.value) == gone.end()) gone.push_back(node.value);
  std::vector<std::string> stay;
  for (const VoterInstance& v : granted.voters) stay.push_back(v.node.value);
  return naming(append(std::move(granted), {}, {}, intent,
                "the voters are " + known(stay) + " alone, and decide one lease later" + next + ". If " + known(gone) + " still run" + (gone.size() == 1 ? "s" : "") +
                    " and hear each other, two nodes write until they hear of this, and what one of them took is lost"), known(gone, ","));
}

Result<NodeId> Operator::holder_beside(const ResourceId& resource, const NodeId& node, const char* verb, const std::string& at_holder) const {
  const std::string what = std::string(verb) + " " + resource.value + " " + node.value;
  const auto spec = resource_of(resource, verb);
  if (!spec) return tl::unexpected(spec.error());
  if (!(*spec)->has_member(node)) return fail(Remedy::kFixInput, what + ": " + node.value + " does not run it; see `daarionctl resources`");
  const auto view = ports_.view();
  const LeaseState* lease = view->state->lease(resource);
  if (lease == nullptr || !lease->has_holder()) return fail(Remedy::kStepDown, what + " refused: nobody holds " + resource.value + " now, so there is nobody to follow");
  const NodeId& holder = lease->completed.node;
  if (node == holder) return fail(Remedy::kStepDown, what + " refused: " + node.value + " is its holder" + at_holder);
  if (lease->holder == node) return fail(Remedy::kStepDown, what + " refused: " + node.value + " is being promoted");
  const auto heard = std::ranges::find(view->status->nodes(), node.value, [](const v1::NodeStatus& n) { return n.id(); });
  if (heard == view->status->nodes().end() || heard->state() != "reachable") return fail(Remedy::kStepDown, what + " refused: " + node.value + " is not heard; see `daarionctl nodes`");
  return holder;
}

bool Operator::another_could(const ResourceId& resource, const NodeId& holder, const NodeId& node) const {
  const auto view = ports_.view();
  const auto& verdicts = view->if_holder_dies.at(resource).decision.verdicts;
  return std::ranges::any_of(verdicts, [&](const Verdict& v) { return v.eligible && v.node != holder && v.node != node; });
}

Result<OperatorAnswer> Operator::rejoin(const ResourceId& resource, const NodeId& node, const OperatorIntent& intent) {
  if (auto taken = taken_before(intent)) return *taken;
  const auto holder = holder_beside(resource, node, "rejoin", ", others copy from it; first: daarionctl switchover " + resource.value + " --reason TEXT");
  if (!holder) return tl::unexpected(holder.error());
  return append(RejoinRequested{.request = intent.request}, node, resource, intent,
                node.value + " copies all of " + holder->value + "'s data anew, and cannot be promoted before that is done" +
                    (another_could(resource, *holder, node) ? "" : ": until then nobody could take over from " + holder->value) + "; void if another node is promoted first");
}

Result<OperatorAnswer> Operator::restart(const ResourceId& resource, const NodeId& node, const OperatorIntent& intent) {
  if (auto taken = taken_before(intent)) return *taken;
  const auto holder = holder_beside(resource, node, "restart", ": hand it over, and its engine starts anew as a replica's: daarionctl switchover " + resource.value + " --reason TEXT");
  if (!holder) return tl::unexpected(holder.error());
  return append(RestartRequested{.request = intent.request}, node, resource, intent,
                node.value + " stops and starts its engine of " + resource.value +
                    (another_could(resource, *holder, node) ? "" : ": until it runs again nobody could take over from " + holder->value) + "; void if another node is promoted first");
}

namespace {

/// What the cluster has the node for, and what to do about it first; empty: nothing that cannot be missed.
std::string needed_for(const State& state, const TopologySpec& spec, const NodeId& node) {
  const bool votes = std::ranges::find(spec.voters, node) != spec.voters.end() || std::ranges::find(state.voters.voters, node, &VoterInstance::node) != state.voters.voters.end();
  if (votes) return "it votes; give the nodes a cluster file without it in control.voters first";
  for (const auto& [id, lease] : state.leases)
    if ((lease.has_holder() && lease.completed.node == node) || (lease.holder == node && !lease.has_ended(lease.session))) return "it holds " + id.value + "; first: daarionctl switchover " + id.value + " --reason TEXT";
  for (const auto& [id, seen] : state.observed)
    if (seen.seen.primary == node) return "it is " + id.value + "'s primary by " + seen.seen.elected_by + "; hand it over first";
  return {};
}

}  // namespace

Result<OperatorAnswer> Operator::set_member_intent(const NodeId& node, MemberIntent wanted, const OperatorIntent& intent) {
  if (ports_.spec.node(node) == nullptr) {
    std::vector<std::string> names;
    for (const NodeSpec& n : ports_.spec.nodes) names.push_back(n.id.value);
    return fail(Remedy::kFixInput, "unknown node " + node.value + "; there are: " + known(names));
  }
  const State& state = *ports_.view()->state;
  std::string outcome = node.value + " is not promoted any more";
  if (wanted == MemberIntent::kRetired) {
    if (const std::string needed = needed_for(state, ports_.spec, node); !needed.empty())
      return fail(Remedy::kStepDown, "retire " + node.value + " refused: " + needed);
    outcome = node.value + " is gone for good: what others keep for it goes, as routes, mirrors and an engine's peer; then take it out of the cluster file";
  } else if (const MemberState* member = state.member(node); wanted == MemberIntent::kActive) {
    outcome = node.value + (member != nullptr && member->intent == MemberIntent::kRetired ? " is a member again" : " may be promoted again");
  }
  return append(MemberIntentChanged{wanted}, node, {}, intent, std::move(outcome));
}

Result<OperatorAnswer> Operator::append(Payload payload, const NodeId& about, const ResourceId& resource, const OperatorIntent& intent,
                                        std::string outcome) {
  if (auto taken = taken_before(intent)) return *taken;
  if (intent.reason.empty()) return fail(Remedy::kFixInput, "a reason is mandatory: the log keeps it; give --reason");
  const auto view = ports_.view();
  const State& state = *view->state;
  if (state.applied.value == 0) return fail(Remedy::kStepDown, "this node has folded nothing of the log yet; see `daarionctl status`");
  if (intent.expected.value != 0 && state.applied != intent.expected)
    return fail(Remedy::kRefold, "the log moved: expected sequence " + std::to_string(intent.expected.value) + ", it is " +
                                     std::to_string(state.applied.value));
  OperatorAnswer answer{.event = {}, .subject = {}, .dry_run = intent.dry_run, .repeated = false, .outcome = std::move(outcome)};
  Event& event = answer.event.event;
  const std::int64_t wall = ports_.wall_ns();
  const LeaseState* lease = state.lease(resource);
  event.header = {.id = ports_.new_id(wall), .node = ports_.self, .actor = intent.own ? "node:" + ports_.self.value : "operator:" + (intent.actor.empty() ? "unnamed" : intent.actor),
                  .reason = intent.reason, .cause = {}, .resource = resource, .epoch = lease ? lease->epoch : Epoch{}, .wall_time_ns = wall,
                  .aggregate = aggregate_of(payload, about, resource), .version = {}};
  event.header.version = Version{state.version_of(event.header.aggregate).value + 1};
  event.payload = std::move(payload);
  answer.subject = log_subject(event.header.aggregate, event.header.version);
  if (intent.dry_run) return answer;
  const AppendResult result = ports_.appender->append_if_free(answer.subject, encode_event(event), event.header.id, kAppendLimit);
  switch (result.outcome) {
    case AppendResult::Outcome::kStored: answer.event.sequence = result.sequence; return answer;
    case AppendResult::Outcome::kConflict:
      return fail(Remedy::kRefold, "somebody else changed " + event.header.aggregate.kind + " " + event.header.aggregate.name +
                                       " in the same moment; look again and repeat");
    case AppendResult::Outcome::kUnknown: break;
  }
  return fail(Remedy::kRetry, "no answer from the log within 10 s: it may have happened; see `daarionctl events`, and repeat with the same --request-id",
              Effect::kMaybe);
}

}  // namespace daarion
