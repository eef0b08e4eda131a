#include "controlplane/api/views.h"

#include <time.h>

#include <array>
#include <cstdio>

#include "controlplane/core/capability.h"
#include "controlplane/core/decide.h"
#include "controlplane/core/override.h"
#include "controlplane/core/services.h"
#include "controlplane/core/sync_set.h"
#include "controlplane/core/voter_set.h"

namespace daarion {

std::string position_text(const Position& p) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%X/%X on timeline %llu", static_cast<unsigned>(p.lsn.value >> 32),
                static_cast<unsigned>(p.lsn.value), static_cast<unsigned long long>(p.timeline));
  return text.data();
}

namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }

std::string short_id(const auto& id) { return to_text(id).substr(0, 8); }

std::string names(const std::vector<VoterInstance>& voters) {
  std::string out;
  for (const VoterInstance& v : voters) out += (out.empty() ? "" : " ") + v.node.value;
  return out;
}

std::string names(const std::vector<NodeId>& nodes) {
  std::string out;
  for (const NodeId& n : nodes) out += (out.empty() ? "" : " ") + n.value;
  return out;
}

std::string one_per_semicolon(std::string lines) {
  while (lines.ends_with('\n')) lines.pop_back();
  for (std::size_t at = 0; (at = lines.find('\n', at)) != std::string::npos; at += 2) lines.replace(at, 1, "; ");
  return lines.empty() ? "no node knows which" : lines;
}

struct Summary {
  std::string operator()(const LogCreated& p) const { return "cluster " + p.cluster + ", log " + to_text(p.log); }
  std::string operator()(const LogRegressed& p) const { return "events " + number(p.head.value + 1) + " to " + number(p.folded.value) + " were lost: " + one_per_semicolon(p.known_lost); }
  std::string operator()(const FeatureLevelRaised& p) const { return "to " + number(p.level); }
  std::string operator()(const VoterSetChanged& p) const {
    std::string by;
    for (const SetWord& word : p.words) by += (by.empty() ? "; on the word of " : " ") + word.voter.value;
    return "voters " + names(p.voters) + (p.next.empty() ? "" : ", next " + p.next.front().node.value) + by;
  }
  std::string operator()(const TopologyChanged& p) const { return "file " + p.file_hash; }
  std::string operator()(const MemberJoined& p) const { return std::string(text_of(p.role)) + " at " + p.address + ", " + p.software; }
  std::string operator()(const MemberUnreachable& p) const { return "silent for " + number(p.silent_ms) + " ms"; }
  std::string operator()(const MemberReturned& p) const { return "run " + short_id(p.run) + ", " + p.software; }
  std::string operator()(const MemberIntentChanged& p) const { return std::string("intent ") + text_of(p.intent); }
  std::string operator()(const PromotionDecided& p) const {
    return std::string(text_of(p.kind)) + " to " + p.to.value + ", session " + short_id(p.session) + ", loss " +
           loss_text(p.evidence, p.loss_bytes);
  }
  std::string operator()(const PromotionCompleted& p) const {
    return "from " + position_text(p.position) + "; claimed in " + number(p.claimed_ms) + " ms, promoted in " + number(p.promoted_ms) + " ms";
  }
  std::string operator()(const SyncSetChanged& p) const { return text_of(Confirmers{p.members, p.needed}) + " confirm each commit"; }
  std::string operator()(const PromotionFailed& p) const { return "session " + short_id(p.session) + " ended"; }
  std::string operator()(const LeaseReleased& p) const {
    return std::string(text_of(p.cause)) + ", session " + short_id(p.session) + (p.final_position ? ", stopped at " + position_text(p.position) : "");
  }
  std::string operator()(const ReplicaProvisioned& p) const { return p.method + (p.source.empty() ? "" : " from " + p.source.value); }
  std::string operator()(const ReplicaRejoined& p) const { return p.method + " from " + p.source.value; }
  std::string operator()(const ReplicaDiverged& p) const { return "from " + p.source.value + " at " + position_text(p.position); }
  std::string operator()(const ReplicaRemoved&) const { return {}; }
  std::string operator()(const SlotDropped& p) const { return p.slot; }
  std::string operator()(const RejoinRequested&) const { return "its data are to be copied anew"; }
  std::string operator()(const RestartRequested&) const { return "its engine is to be stopped and started"; }
  std::string operator()(const ReplicaRestarted& p) const { return "at " + position_text(p.position); }
  std::string operator()(const RouteTableChanged& p) const { return number(p.rules.size()) + " rules"; }
  std::string operator()(const CapabilityMoved& p) const { return p.capability + " to " + (p.provider.empty() ? "nobody" : p.provider); }
  std::string operator()(const ServiceHealthChanged& p) const {
    return std::string(text_of(p.health)) + (p.check_broken ? ", its check is broken" : "") + (p.flapping ? ", flapping" : "") + (p.cause.empty() ? "" : ": " + p.cause);
  }
  std::string operator()(const ServiceMoved& p) const { return p.active.empty() ? "nobody is active" : "active on " + names(p.active); }
  std::string operator()(const ResourceObserved& p) const {
    std::string out = p.primary.empty() ? "no primary" : "primary " + p.primary.value;
    for (const MemberSeen& m : p.members)
      if (!m.health.empty()) out += "; " + m.role + " of " + m.node.value + ": " + m.health;
    for (const std::string& problem : p.problems) out += "; " + problem;
    return out;
  }
  std::string operator()(const Paused&) const { return "automatic failover is off"; }
  std::string operator()(const Resumed&) const { return "automatic failover is on"; }
  std::string operator()(const SwitchoverRequested& p) const {
    return (p.forced ? "failover from " : "switchover from ") + p.from.value + " to " + (p.to.empty() ? "the best candidate" : p.to.value) +
           (p.allow_data_loss ? ", data loss allowed" : "");
  }
  std::string operator()(const FencingConfirmed& p) const { return "session " + short_id(p.session) + ": " + p.how; }
  std::string operator()(const OverrideGranted& p) const { return "voters " + names(p.voters) + "; the others" + (p.off.empty() ? "" : ", and " + names(p.off)) + ": " + p.others_off; }
  std::string operator()(const ReplicaLagReported& p) const {
    return p.node.value + " is " + number(p.lag_bytes) + " B behind " + p.primary.value + ", " + p.state;
  }
  std::string operator()(const HealthReported& p) const { return p.node.value + " " + p.what + (p.healthy ? " healthy" : ": " + p.cause); }
};

v1::CandidateVerdict& add_candidate(v1::Explanation& out, const std::string& name, bool eligible, const std::string& rule, const std::string& detail) {
  v1::CandidateVerdict& to = *out.add_candidates();
  to.set_node(name);
  to.set_eligible(eligible);
  to.set_rule(rule);
  to.set_detail(detail);
  return to;
}

v1::Explanation explain_with(const Evidence& evidence, const std::vector<Verdict>& verdicts) {
  v1::Explanation out;
  out.set_resource(evidence.resource.value);
  out.set_kind(text_of(evidence.kind));
  out.set_decider(evidence.decider.value);
  out.set_software(evidence.software);
  out.set_voters(evidence.voters);
  out.set_last_holder(evidence.last_holder.value);
  out.set_last_position_age_ms(evidence.last_position_age_ms);
  out.set_write_rate(evidence.write_rate);
  for (const VoteEvidence& vote : evidence.votes) {
    v1::VoteView& to = *out.add_votes();
    to.set_voter(vote.voter.value);
    to.set_highest_epoch(vote.highest.value);
    to.set_over_ms(vote.over_ms);
    to.set_age_ms(vote.age_ms);
  }
  for (std::size_t i = 0; i < evidence.candidates.size() && i < verdicts.size(); ++i) {
    const CandidateEvidence& candidate = evidence.candidates[i];
    v1::CandidateVerdict& to = add_candidate(out, candidate.node.value, verdicts[i].eligible, verdicts[i].rule, verdicts[i].detail);
    to.set_lag_bytes(lag_bytes(evidence, candidate));
    to.set_lag_ms(candidate.lag_ms);
    to.set_engine_state(text_of(candidate.engine.state));
    to.set_beat_age_ms(candidate.beat_age_ms);
  }
  return out;
}

/// Adds what this software decides otherwise from the same evidence.
v1::Explanation explain_promotion(const PromotionDecided& decided) {
  v1::Explanation out = explain_with(decided.evidence, decided.verdicts);
  out.set_kind(text_of(decided.kind));
  out.set_to(decided.to.value);
  out.set_loss_bytes(decided.loss_bytes);
  out.set_loss_unknown(decided.evidence.end_unknown);
  if (decided.kind == DecisionKind::kKeep) return out;  // a holder's answer to a needless nomination: there was nothing to choose
  const Decision again = decide(decided.evidence);
  if (!again.to) out.add_differences("now nobody: " + again.reason);
  if (again.to && *again.to != decided.to) out.add_differences("now to " + again.to->value + ", then to " + decided.to.value);
  if (again.loss_bytes != decided.loss_bytes)
    out.add_differences("now loss at most " + number(again.loss_bytes) + " B, then " + number(decided.loss_bytes) + " B");
  for (std::size_t i = 0; i < again.verdicts.size() && i < decided.verdicts.size(); ++i)
    if (again.verdicts[i] != decided.verdicts[i])
      out.add_differences(again.verdicts[i].node.value + ": now " + again.verdicts[i].rule + " (" + again.verdicts[i].detail + "), then " +
                          decided.verdicts[i].rule + " (" + decided.verdicts[i].detail + ")");
  if (again.verdicts.size() != decided.verdicts.size()) out.add_differences("another number of verdicts");
  return out;
}

constexpr const char* kNoEvidence = "the event has no evidence: it is of software that kept none";

v1::Explanation explain_service(const ServiceMoved& moved) {
  v1::Explanation out;
  out.set_kind("service");
  out.set_to(names(moved.active));
  for (const Verdict& v : verdicts_of(moved.evidence)) add_candidate(out, v.node.value, v.eligible, v.rule, v.detail);
  const auto again = decide_service(moved.evidence);
  if (moved.evidence.empty()) out.add_differences(kNoEvidence);
  else if (!again) out.add_differences("now it would stay as it was, then active on " + names(moved.active));
  else if (again->active != moved.active) out.add_differences("now active on " + names(again->active) + ", then on " + names(moved.active));
  return out;
}

v1::Explanation explain_capability(const CapabilityMoved& moved) {
  const auto said = [](const std::string& provider) { return provider.empty() ? std::string("nobody") : provider; };
  v1::Explanation out;
  out.set_kind("capability");
  out.set_resource(moved.capability);
  out.set_to(moved.provider);
  for (const ProviderEvidence& p : moved.evidence) add_candidate(out, p.provider, p.usable, p.usable ? "usable" : p.known ? "not_usable" : "unknown", p.cause);
  const ProviderChoice again = choose_provider(moved.evidence);
  if (moved.evidence.empty()) out.add_differences(kNoEvidence);
  else if (again.provider != moved.provider) out.add_differences("now " + said(again.provider) + " (" + again.reason + "), then " + said(moved.provider));
  return out;
}

}  // namespace

std::string time_text(std::int64_t ns) {
  const time_t seconds = ns / 1'000'000'000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + n, text.size() - n, ".%03dZ", static_cast<int>(ns / 1'000'000 % 1000));
  return text.data();
}

std::string summary_of(const Payload& payload) { return std::visit(Summary{}, payload); }

std::string loss_text(const Evidence& evidence, std::uint64_t loss_bytes) {
  if (evidence.end_unknown) return "unknown, as nobody heard how far the last holder wrote";
  return "at most " + number(loss_bytes) + " B";
}

v1::EventView view_of(const LogEvent& event, const std::string& subject) {
  const EventHeader& h = event.event.header;
  v1::EventView out;
  out.set_sequence(event.sequence.value);
  out.set_time(time_text(event.stored_ns));
  out.set_subject(subject);
  out.set_type(payload_name(event.event.payload));
  out.set_id(to_text(h.id));
  out.set_node(h.node.value);
  out.set_actor(h.actor);
  out.set_reason(h.reason);
  if (!h.cause.empty()) out.set_cause(to_text(h.cause));
  out.set_resource(h.resource.value);
  out.set_epoch(h.epoch.value);
  out.set_summary(summary_of(event.event.payload));
  if (const auto* decided = std::get_if<PromotionDecided>(&event.event.payload)) {
    out.set_kind(text_of(decided->kind));
    out.set_to(decided->to.value);
  } else if (const auto* asked = std::get_if<SwitchoverRequested>(&event.event.payload)) {
    out.set_to(asked->to.value);
  } else if (const auto* observed = std::get_if<ResourceObserved>(&event.event.payload)) {
    out.set_to(observed->primary.value);
    if (observed->source == kSwitchoverFailed) out.set_kind("failed");
  }
  return out;
}

namespace {
void fill_header(const LogEvent& event, v1::Explanation& out) {
  const EventHeader& h = event.event.header;
  out.set_sequence(event.sequence.value);
  out.set_time(time_text(event.stored_ns));
  if (!h.resource.empty()) out.set_resource(h.resource.value);
  out.set_epoch(h.epoch.value);
  out.set_reason(h.reason);
  out.set_actor(h.actor);
  if (out.decider().empty()) out.set_decider(h.node.value);
  out.set_agrees(out.differences().empty());
}

/// Every voter of before and after: whether it stays, joins or leaves, and what was said of it.
void add_voters(const std::vector<VoterInstance>& before, const std::vector<VoterInstance>& after, const std::function<std::string(const VoterInstance&)>& said,
                v1::Explanation& out) {
  std::vector<VoterInstance> all = before;
  std::ranges::copy_if(after, std::back_inserter(all), [&](const VoterInstance& v) { return std::ranges::find(before, v) == before.end(); });
  std::ranges::sort(all, {}, [](const VoterInstance& v) { return std::pair(v.node, v.instance); });
  for (const VoterInstance& v : all) {
    const bool was = std::ranges::find(before, v) != before.end(), is = std::ranges::find(after, v) != after.end();
    const std::string more = said(v);
    add_candidate(out, v.node.value, is, was && is ? "stays" : is ? "joins" : "leaves", "instance " + short_id(v.instance) + (more.empty() ? "" : "; " + more));
  }
}

void add_words(const VoterSetChanged& change, const State& before, v1::Explanation& out) {
  add_voters(before.voters.voters, change.voters, [&](const VoterInstance& v) {
    const auto word = std::ranges::find_if(change.words, [&](const SetWord& w) { return w.voter == v.node && w.instance == v.instance; });
    std::string said = word == change.words.end() ? (before.voters.has(v.node, v.instance) ? "gave no word" : "") : "gave its word";
    if (word != change.words.end())
      for (const PromisedEpoch& p : word->promised) said += ", promised " + p.resource.value + " up to epoch " + number(p.epoch.value);
    if (std::ranges::find(change.next, v) != change.next.end()) said += std::string(said.empty() ? "" : ", ") + "is the next to leave";
    return said;
  }, out);
  for (const VoterInstance& v : change.next)
    if (!before.voters.has(v.node, v.instance) && std::ranges::find(change.voters, v) == change.voters.end())
      add_candidate(out, v.node.value, false, "next", "instance " + short_id(v.instance) + "; is the next to join");
}
}  // namespace

Result<v1::Explanation> explain_set(const LogEvent& event, const State& before) {
  v1::Explanation out;
  std::string refused;
  if (const auto* change = std::get_if<VoterSetChanged>(&event.event.payload)) {
    out.set_kind("voter_set");
    out.set_to(names(change->voters));
    add_words(*change, before, out);
    refused = objection(before, *change);
  } else if (const auto* granted = std::get_if<OverrideGranted>(&event.event.payload)) {
    out.set_kind("override");
    out.set_to(names(granted->voters));
    add_voters(before.voters.voters, granted->voters, [&](const VoterInstance& v) {
      return std::ranges::find(granted->voters, v) == granted->voters.end() ? "said to be off: " + granted->others_off : std::string{};
    }, out);
    refused = objection(before, *granted);
  } else {
    return fail(Remedy::kFixInput, "explain " + number(event.sequence.value) + ": it is a " + payload_name(event.event.payload) + ", not of who votes");
  }
  out.set_voters(static_cast<std::uint32_t>(before.voters.voters.size()));
  fill_header(event, out);
  v1::Phase& taken = *out.add_phases();
  taken.set_name(refused.empty() ? "taken" : "refused");
  taken.set_sequence(event.sequence.value);
  taken.set_detail(refused.empty() ? "by the fold: it follows from the state before" : "by the fold: " + refused);
  return out;
}

Result<v1::Explanation> explain(const LogEvent& event) {
  v1::Explanation out;
  if (const auto* decided = std::get_if<PromotionDecided>(&event.event.payload)) out = explain_promotion(*decided);
  else if (const auto* service = std::get_if<ServiceMoved>(&event.event.payload)) out = explain_service(*service);
  else if (const auto* capability = std::get_if<CapabilityMoved>(&event.event.payload)) out = explain_capability(*capability);
  else
    return fail(Remedy::kFixInput, "explain " + number(event.sequence.value) + ": it is a " + payload_name(event.event.payload) +
                                       ", not a decision; `daarionctl events` lists PromotionDecided, ServiceMoved, CapabilityMoved, VoterSetChanged and OverrideGranted events");
  fill_header(event, out);
  return out;
}

std::string as_hypothesis(std::string text, const NodeId& holder, const std::string& says) {
  static const std::string kNever = ": never heard in this log";
  const std::string part = holder.value + kNever;
  if (const auto at = text.find(part); !holder.empty() && at != std::string::npos) text.replace(at, part.size(), holder.value + ": " + says);
  return text;
}

v1::Explanation explain_now(const Decider::Nomination& nomination) {
  v1::Explanation out = explain_with(nomination.evidence, nomination.decision.verdicts);
  const NodeId& holder = nomination.evidence.last_holder;
  for (v1::CandidateVerdict& c : *out.mutable_candidates()) {
    if (c.node() != holder.value || c.rule() != "unreachable" || !c.detail().starts_with("never heard")) continue;
    c.set_rule("holder");
    c.set_detail("taken as dead");
  }
  out.set_epoch(nomination.decision.epoch.value);
  if (nomination.decision.to) out.set_to(nomination.decision.to->value);
  out.set_reason(as_hypothesis(nomination.decision.reason, holder));
  out.set_unblock(nomination.decision.unblock);
  out.set_loss_bytes(nomination.decision.loss_bytes);
  out.set_loss_unknown(nomination.evidence.end_unknown);
  out.set_agrees(true);
  return out;
}

}  // namespace daarion
