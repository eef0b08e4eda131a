#include "controlplane/api/incident_view.h"

#include <algorithm>

#include "controlplane/api/views.h"
#include "controlplane/core/incident.h"

namespace daarion {
namespace {

constexpr std::uint64_t kBack = 2000;    // events before the one that was asked for: an incident is some dozens
constexpr std::uint64_t kAhead = 5000;   // and after it: a node may be away for long, while others go on

std::int64_t ms_between(std::int64_t from_ns, std::int64_t to_ns) { return (to_ns - from_ns) / 1'000'000; }

void add_phase(v1::IncidentMove& out, const char* name, std::int64_t after_ms, Sequence sequence, std::string detail) {
  v1::Phase& phase = *out.add_phases();
  phase.set_name(name);
  phase.set_after_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, after_ms)));
  phase.set_sequence(sequence.value);
  phase.set_detail(std::move(detail));
}

/// The seconds of a promotion: from when the lease was over to the engine open.
void add_phases(const PromotionDecided& decided, const LogEvent& decision, const LogEvent* end, std::int64_t began_ns, v1::IncidentMove& out) {
  const std::int64_t at = ms_between(began_ns, decision.stored_ns);
  std::uint64_t over_ms = 0;
  for (const VoteEvidence& v : decided.evidence.votes) over_ms = std::max(over_ms, v.over_ms);
  if (!decided.evidence.votes.empty())
    add_phase(out, "free", at - static_cast<std::int64_t>(over_ms), {}, "the first voter's promise is over");
  add_phase(out, "decided", at, decision.sequence, std::to_string(decided.evidence.votes.size()) + " of " + std::to_string(decided.evidence.voters) + " voters");
  if (end == nullptr) return;
  const auto* done = std::get_if<PromotionCompleted>(&end->event.payload);
  if (done == nullptr) return add_phase(out, "failed", ms_between(began_ns, end->stored_ns), end->sequence, end->event.header.reason);
  const auto claimed = static_cast<std::int64_t>(done->claimed_ms), promoted = static_cast<std::int64_t>(done->promoted_ms);
  add_phase(out, "claimed", at + claimed, {}, "a majority of voters promised");
  add_phase(out, "promoted", at + claimed + promoted, {}, "the engine is open for writing");
  add_phase(out, "completed", ms_between(began_ns, end->stored_ns), end->sequence, "in the log");
}

v1::Incident view(const Incident& incident, const std::vector<LogEvent>& events) {
  v1::Incident out;
  const auto of = [&](std::size_t step) -> const LogEvent& { return events[incident.steps[step].event]; };
  out.set_node(incident.node.value);
  out.set_title(incident.title);
  out.set_planned(incident.planned);
  out.set_began(time_text(incident.began_ns));
  out.set_duration_ms(ms_between(incident.began_ns, of(incident.steps.size() - 1).stored_ns));
  out.set_over(incident.open.empty());
  for (const std::string& open : incident.open) out.add_open(open);
  for (const IncidentMove& m : incident.moves) {
    v1::IncidentMove& move = *out.add_moves();
    const LogEvent& decision = of(m.decided);
    const LogEvent* end = m.done ? &of(*m.done) : nullptr;
    move.set_what(m.what);
    move.set_kind(m.kind);
    move.set_from(m.from);
    move.set_to(m.to);
    move.set_sequence(decision.sequence.value);
    move.set_state(m.pending ? "pending" : m.failed ? "failed" : "done");
    move.set_done_ms(ms_between(incident.began_ns, (end != nullptr ? *end : decision).stored_ns));
    move.set_reason(decision.event.header.reason);
    if (const auto why = explain(decision)) {
      move.set_loss_bytes(why->loss_bytes());
      move.set_loss_unknown(why->loss_unknown());
      *move.mutable_candidates() = why->candidates();
    }
    if (const auto* decided = std::get_if<PromotionDecided>(&decision.event.payload)) add_phases(*decided, decision, end, incident.began_ns, move);
  }
  for (const IncidentStep& s : incident.steps) {
    const LogEvent& event = events[s.event];
    v1::IncidentStep& step = *out.add_steps();
    *step.mutable_event() = view_of(event, log_subject(event.event.header.aggregate, event.event.header.version));
    step.set_after_ms(ms_between(incident.began_ns, event.stored_ns));
    if (s.led_by) step.set_led_by(of(*s.led_by).sequence.value);
    step.set_stated(s.stated);
  }
  return out;
}

}  // namespace

Result<v1::Incident> incident_at(const OpenReader& open, Sequence at, Sequence head) {
  const std::string what = "the incident of event " + std::to_string(at.value);
  if (at.value == 0 || at > head) return fail(Remedy::kFixInput, what + ": the log has events 1 to " + std::to_string(head.value));
  const Sequence first{at.value > kBack ? at.value - kBack : 1}, last{std::min(head.value, at.value + kAhead)};
  const auto events = events_of(open, first, last);
  if (!events) return tl::unexpected(events.error());
  const auto incident = incident_of(*events, at);
  if (incident) return view(*incident, *events);
  const LogEvent& event = (*events)[at.value - first.value];
  return fail(Remedy::kFixInput, what + ": " + payload_name(event.event.payload) + " (" + event.event.header.reason +
                                     ") is part of none: no node lost anything by it; see `daarionctl events`");
}

}  // namespace daarion
