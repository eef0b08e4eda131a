#include "controlplane/api/views.h"

#include <time.h>

#include <array>
#include <cstdio>

#include "controlplane/core/decide.h"

namespace daarion {
namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }

std::string lsn_text(const Position& p) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%X/%X on timeline %llu", static_cast<unsigned>(p.lsn.value >> 32),
                static_cast<unsigned>(p.lsn.value), static_cast<unsigned long long>(p.timeline));
  return text.data();
}

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
  std::string operator()(const VoterSetChanged& p) const { return "voters " + names(p.voters); }
  std::string operator()(const TopologyChanged& p) const { return "file " + p.file_hash; }
  std::string operator()(const MemberJoined& p) const { return std::string(text_of(p.role)) + " at " + p.address + ", " + p.software; }
  std::string operator()(const MemberUnreachable& p) const { return "silent for " + number(p.silent_ms) + " ms"; }
  std::string operator()(const MemberReturned& p) const { return "run " + short_id(p.run) + ", " + p.software; }
  std::string operator()(const MemberIntentChanged& p) const { return std::string("intent ") + text_of(p.intent); }
  std::string operator()(const PromotionDecided& p) const {
    return std::string(text_of(p.kind)) + " to " + p.to.value + ", session " + short_id(p.session) + ", loss at most " +
           number(p.loss_bytes) + " B";
  }
  std::string operator()(const PromotionCompleted& p) const {
    return "from " + lsn_text(p.position) + "; claimed in " + number(p.claimed_ms) + " ms, promoted in " + number(p.promoted_ms) + " ms";
  }
  std::string operator()(const PromotionFailed& p) const { return "session " + short_id(p.session) + " ended"; }
  std::string operator()(const LeaseReleased& p) const {
    return std::string(text_of(p.cause)) + ", session " + short_id(p.session) + (p.final_position ? ", stopped at " + lsn_text(p.position) : "");
  }
  std::string operator()(const ReplicaProvisioned& p) const { return p.method + (p.source.empty() ? "" : " from " + p.source.value); }
  std::string operator()(const ReplicaRejoined& p) const { return p.method + " from " + p.source.value; }
  std::string operator()(const ReplicaDiverged& p) const { return "from " + p.source.value + " at " + lsn_text(p.position); }
  std::string operator()(const ReplicaRemoved&) const { return {}; }
  std::string operator()(const SlotDropped& p) const { return p.slot; }
  std::string operator()(const RouteTableChanged& p) const { return number(p.rules.size()) + " rules"; }
  std::string operator()(const CapabilityMoved& p) const { return p.capability + " to " + p.provider; }
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
  std::string operator()(const OverrideGranted& p) const { return "voters " + names(p.voters) + "; the others: " + p.others_off; }
  std::string operator()(const ReplicaLagReported& p) const {
    return p.node.value + " is " + number(p.lag_bytes) + " B behind " + p.primary.value + ", " + p.state;
  }
  std::string operator()(const HealthReported& p) const { return p.node.value + " " + p.what + (p.healthy ? " healthy" : ": " + p.cause); }
};

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
    v1::CandidateVerdict& to = *out.add_candidates();
    to.set_node(candidate.node.value);
    to.set_eligible(verdicts[i].eligible);
    to.set_rule(verdicts[i].rule);
    to.set_detail(verdicts[i].detail);
    to.set_lag_bytes(lag_bytes(evidence, candidate));
    to.set_lag_ms(candidate.lag_ms);
    to.set_engine_state(text_of(candidate.engine.state));
    to.set_beat_age_ms(candidate.beat_age_ms);
  }
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

Result<v1::Explanation> explain(const LogEvent& event) {
  const auto* decided = std::get_if<PromotionDecided>(&event.event.payload);
  if (decided == nullptr)
    return fail(Remedy::kFixInput, "explain " + number(event.sequence.value) + ": it is a " + payload_name(event.event.payload) +
                                       ", not a decision; `daarionctl events` lists PromotionDecided events");
  const bool kept = decided->kind == DecisionKind::kKeep;
  v1::Explanation out = explain_with(decided->evidence, decided->verdicts);
  out.set_sequence(event.sequence.value);
  out.set_time(time_text(event.stored_ns));
  out.set_resource(event.event.header.resource.value);
  out.set_kind(text_of(decided->kind));
  out.set_epoch(event.event.header.epoch.value);
  out.set_to(decided->to.value);
  out.set_reason(event.event.header.reason);
  out.set_actor(event.event.header.actor);
  out.set_loss_bytes(decided->loss_bytes);
  out.set_agrees(true);
  if (kept) return out;  // a holder's answer to a needless nomination: there was nothing to choose
  const Decision again = decide(decided->evidence);
  const auto differs = [&](const std::string& what) {
    out.add_differences(what);
    out.set_agrees(false);
  };
  if (!again.to) differs("now nobody: " + again.reason);
  if (again.to && *again.to != decided->to) differs("now to " + again.to->value + ", then to " + decided->to.value);
  if (again.loss_bytes != decided->loss_bytes)
    differs("now loss at most " + number(again.loss_bytes) + " B, then " + number(decided->loss_bytes) + " B");
  for (std::size_t i = 0; i < again.verdicts.size() && i < decided->verdicts.size(); ++i)
    if (again.verdicts[i] != decided->verdicts[i])
      differs(again.verdicts[i].node.value + ": now " + again.verdicts[i].rule + " (" + again.verdicts[i].detail + "), then " +
              decided->verdicts[i].rule + " (" + decided->verdicts[i].detail + ")");
  if (again.verdicts.size() != decided->verdicts.size()) differs("another number of verdicts");
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
  out.set_agrees(true);
  return out;
}

}  // namespace daarion
