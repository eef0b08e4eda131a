#include "controlplane/api/log_views.h"

#include <time.h>

#include <cctype>
#include <deque>
#include <nlohmann/json.hpp>

#include "consumers/state_codec.h"
#include "controlplane/api/json.h"
#include "controlplane/api/views.h"
#include "controlplane/core/capability.h"
#include "controlplane/core/fold.h"
#include "proto/daarion/v1/state.pb.h"
#include "streams/codec.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

// One look at the log for one event; a stream election takes longer, but direct gets do not need the leader.
constexpr Duration kReadLimit = std::chrono::seconds(3);
constexpr std::uint64_t kLookBack = 256;      // events before a decision among which its cause is looked for; it is a beat or two away
constexpr std::uint64_t kLookAhead = 10'000;  // and after it, for its end: a promotion takes seconds
constexpr std::uint64_t kLookAheadMove = 256; // a service's or a capability's move has no end, but may be followed by another
constexpr std::uint64_t kProgressEvery = 1000;

Result<StoredMessage> read_one(LogReader& reader, Sequence expected) {
  auto message = reader.next(kReadLimit);
  if (!message) return tl::unexpected(message.error());
  if (!*message) return fail(Remedy::kRetry, "read event " + std::to_string(expected.value) + ": it did not come in 3 s; see `daarionctl status`");
  return std::move(**message);
}

Result<LogEvent> read_event(LogReader& reader, Sequence expected) {
  const auto message = read_one(reader, expected);
  if (!message) return tl::unexpected(message.error());
  return decode_event(*message);
}

const SessionId* session_of(const Payload& payload) {
  if (const auto* p = std::get_if<PromotionCompleted>(&payload)) return &p->session;
  if (const auto* p = std::get_if<PromotionFailed>(&payload)) return &p->session;
  if (const auto* p = std::get_if<LeaseReleased>(&payload)) return &p->session;
  return nullptr;
}

/// Whether it is news of a place: of the node, or of the service there.
bool speaks_of(const LogEvent& event, const std::string& service, const NodeId& node) {
  const EventHeader& h = event.event.header;
  if (std::holds_alternative<ServiceHealthChanged>(event.event.payload)) return h.node == node && h.resource.value == service;
  const bool member = std::holds_alternative<MemberUnreachable>(event.event.payload) || std::holds_alternative<MemberReturned>(event.event.payload) ||
                      std::holds_alternative<MemberIntentChanged>(event.event.payload);
  return member && h.aggregate.name == node.value;
}

/// What moved a service or a capability: the event that it names, else the newest of a place that it could choose, since it last moved.
const LogEvent* trigger_of_move(const LogEvent& decision, const std::deque<LogEvent>& before) {
  const EventHeader& h = decision.event.header;
  std::vector<ProviderPlace> places;
  if (const auto* service = std::get_if<ServiceMoved>(&decision.event.payload))
    for (const ServiceEvidence& e : service->evidence) places.push_back({h.resource.value, e.node});
  else
    for (const ProviderEvidence& e : std::get<CapabilityMoved>(decision.event.payload).evidence)
      if (auto place = provider_place(e.provider)) places.push_back(std::move(*place));
  const LogEvent* found = nullptr;
  for (const LogEvent& event : before) {
    const EventHeader& e = event.event.header;
    if (!h.cause.empty() && e.id == h.cause) return &event;
    if (event.sequence == decision.sequence) break;
    if (e.aggregate == h.aggregate) found = nullptr;
    if (std::holds_alternative<TopologyChanged>(event.event.payload)) found = &event;
    if (std::ranges::any_of(places, [&](const ProviderPlace& p) { return speaks_of(event, p.service, p.node); })) found = &event;
  }
  return found;
}

/// What led to the promotion: the event that it names, else the newest that could have, since the resource's last completion.
const LogEvent* trigger_of(const LogEvent& decision, const std::deque<LogEvent>& before) {
  if (!std::holds_alternative<PromotionDecided>(decision.event.payload)) return trigger_of_move(decision, before);
  const EventHeader& h = decision.event.header;
  const PromotionDecided& decided = std::get<PromotionDecided>(decision.event.payload);
  const bool asked = decided.kind == DecisionKind::kSwitchover || decided.kind == DecisionKind::kForced;
  const LogEvent* found = nullptr;
  for (const LogEvent& event : before) {
    const EventHeader& e = event.event.header;
    if (!h.cause.empty() && e.id == h.cause) return &event;
    const bool ours = e.resource == h.resource;
    if (ours && std::holds_alternative<PromotionCompleted>(event.event.payload)) found = nullptr;
    if (asked && ours && std::holds_alternative<SwitchoverRequested>(event.event.payload)) found = &event;
    if (asked || decided.kind == DecisionKind::kBootstrap) continue;
    if (ours && std::holds_alternative<LeaseReleased>(event.event.payload)) found = &event;
    if (std::holds_alternative<MemberUnreachable>(event.event.payload) && e.aggregate.name == decided.evidence.last_holder.value) found = &event;
  }
  return found;
}

void add_phase(v1::Explanation& out, const char* name, std::uint64_t after_ms, Sequence sequence, const std::string& detail) {
  v1::Phase& phase = *out.add_phases();
  phase.set_name(name);
  phase.set_after_ms(after_ms);
  phase.set_sequence(sequence.value);
  phase.set_detail(detail);
}

/// Adds what `event` says of the decision. Returns whether that was its end.
bool follow(const LogEvent& decision, const LogEvent& event, v1::Explanation& out) {
  const std::uint64_t after_ms = event.stored_ns > decision.stored_ns ? static_cast<std::uint64_t>(event.stored_ns - decision.stored_ns) / 1'000'000 : 0;
  if (!std::holds_alternative<PromotionDecided>(decision.event.payload)) {
    if (event.event.header.aggregate != decision.event.header.aggregate) return false;
    add_phase(out, "moved again", after_ms, event.sequence, event.event.header.reason);
    return true;
  }
  const PromotionDecided& decided = std::get<PromotionDecided>(decision.event.payload);
  if (event.event.header.resource != decision.event.header.resource) return false;
  if (std::holds_alternative<PromotionDecided>(event.event.payload)) {
    add_phase(out, "superseded", after_ms, event.sequence, "another decision came before this one's end");
    return true;
  }
  const SessionId* session = session_of(event.event.payload);
  if (session == nullptr || *session != decided.session) return false;
  if (const auto* done = std::get_if<PromotionCompleted>(&event.event.payload)) {
    add_phase(out, "claimed", done->claimed_ms, {}, "a majority of voters acknowledged the claim");
    add_phase(out, "promoted", done->claimed_ms + done->promoted_ms, {}, "the engine is open for writing");
    add_phase(out, "completed", after_ms, event.sequence, event.event.header.reason);
  } else {
    add_phase(out, std::holds_alternative<PromotionFailed>(event.event.payload) ? "failed" : "ended", after_ms, event.sequence, event.event.header.reason);
  }
  return true;
}

template <class Message>
Json part(const std::string& bytes) {
  Message message;
  message.ParseFromString(bytes);  // our own encoding, just made
  return Json::parse(to_json(message));
}

std::optional<int> digits(const std::string& text, std::size_t at, std::size_t n) {
  int value = 0;
  for (std::size_t i = at; i < at + n; ++i) {
    if (i >= text.size() || !std::isdigit(static_cast<unsigned char>(text[i]))) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

}  // namespace

Result<LogEvent> event_at(const OpenReader& open, Sequence at) {
  auto reader = open(at);
  if (!reader) return tl::unexpected(reader.error());
  return read_event(**reader, at);
}

Result<std::vector<LogEvent>> events_of(const OpenReader& open, Sequence first, Sequence last) {
  auto reader = open(first);
  if (!reader) return tl::unexpected(reader.error());
  std::vector<LogEvent> out;
  for (Sequence next = first; next <= last; ++next.value) {
    auto event = read_event(**reader, next);
    if (!event) return tl::unexpected(event.error());
    out.push_back(std::move(*event));
  }
  return out;
}

Result<v1::Explanation> explain_at(const OpenReader& open, Sequence at, Sequence head) {
  if (at.value == 0 || at > head)
    return fail(Remedy::kFixInput, "explain " + std::to_string(at.value) + ": the log has events 1 to " + std::to_string(head.value));
  Sequence next{at.value > kLookBack ? at.value - kLookBack : 1};
  auto reader = open(next);
  if (!reader) return tl::unexpected(reader.error());
  std::deque<LogEvent> before;
  for (; next <= at; ++next.value) {
    auto event = read_event(**reader, next);
    if (!event) return tl::unexpected(event.error());
    before.push_back(std::move(*event));
  }
  const LogEvent decision = before.back();
  if (std::holds_alternative<VoterSetChanged>(decision.event.payload) || std::holds_alternative<OverrideGranted>(decision.event.payload)) {
    // Its evidence is in part what the log said before it: who voted, what was decided, who was paused.
    const auto folded = at.value == 1 ? Result<Folded>(Folded{}) : fold_log(open, {.sequence = Sequence{at.value - 1}}, {});
    if (!folded) return tl::unexpected(folded.error());
    return explain_set(decision, folded->state);
  }
  auto out = explain(decision);
  if (!out) return out;
  if (const LogEvent* event = trigger_of(decision, before))
    *out->mutable_trigger() = view_of(*event, log_subject(event->event.header.aggregate, event->event.header.version));
  add_phase(*out, "decided", 0, at, decision.event.header.reason);
  const std::uint64_t ahead = std::holds_alternative<PromotionDecided>(decision.event.payload) ? kLookAhead : kLookAheadMove;
  for (; next <= head && next.value <= at.value + ahead; ++next.value) {
    const auto event = read_event(**reader, next);
    if (!event || follow(decision, *event, *out)) break;  // what is known of the decision is worth more than what is not of its end
  }
  return out;
}

Result<Folded> fold_log(const OpenReader& open, const FoldLimit& limit, const Gone& gone, const std::function<void(const State&)>& progress) {
  Folded out;
  auto reader = open(Sequence{1});
  if (!reader) return tl::unexpected(reader.error());
  std::vector<StateKey> touched;
  while (out.state.applied < limit.sequence) {
    if (gone && gone()) return fail(Remedy::kRetry, "fold the log: whoever asked has gone");
    const auto message = read_one(**reader, Sequence{out.state.applied.value + 1});
    if (!message) return tl::unexpected(message.error());
    if (message->stored_ns > limit.time_ns) break;
    const auto event = decode_event(*message);
    if (!event) return tl::unexpected(event.error());
    fold_into(out.state, *event, touched);
    touched.clear();
    out.chain = chain_next(out.chain, *message);
    if (progress && out.state.applied.value % kProgressEvery == 0) progress(out.state);
  }
  if (out.state.applied.value == 0) return fail(Remedy::kFixInput, "the log has no event at or before that time; `daarionctl events --from 1` shows its first");
  return out;
}

std::string state_json(const State& state) {
  Json out = {{"log", Json::object()}, {"voters", Json::object()}, {"topology", Json::object()}, {"members", Json::object()},
              {"leases", Json::object()}, {"replicas", Json::object()}, {"operators", Json::object()}, {"routes", Json::object()},
              {"observed", Json::object()}, {"requests", Json::array()}};
  for (const StateKey& key : keys_of(state)) {
    const auto bytes = encode_part(state, key);
    if (!bytes) continue;
    switch (key.table) {
      case Table::kLog: out["log"] = part<v1::LogState>(*bytes); break;
      case Table::kVoters: out["voters"] = part<v1::VoterSetState>(*bytes); break;
      case Table::kTopology: out["topology"] = part<v1::TopologyState>(*bytes); break;
      case Table::kMember: out["members"][key.name] = part<v1::MemberState>(*bytes); break;
      case Table::kLease: out["leases"][key.name] = part<v1::LeaseState>(*bytes); break;
      case Table::kReplica: out["replicas"][key.name] = part<v1::ReplicaState>(*bytes); break;
      case Table::kOperator: out["operators"][key.name] = part<v1::OperatorState>(*bytes); break;
      case Table::kRoute: out["routes"][key.name] = part<v1::RouteState>(*bytes); break;
      case Table::kService: out["services"][key.name] = part<v1::ServiceState>(*bytes); break;
      case Table::kServiceHealth: out["service_health"][key.name] = part<v1::ServiceHealthState>(*bytes); break;
      case Table::kObserved: out["observed"][key.name] = part<v1::ObservedState>(*bytes); break;
      case Table::kRequest: out["requests"] = part<v1::Requests>(*bytes)["requests"]; break;
    }
  }
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::optional<std::int64_t> parse_time(const std::string& text) {
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't' && text[10] != ' ') || text[13] != ':' || text[16] != ':') return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  std::size_t at = 19;
  std::int64_t fraction_ns = 0;
  if (at < text.size() && text[at] == '.') {
    std::int64_t unit = 100'000'000;
    const std::size_t first = ++at;
    for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])); ++at, unit /= 10) fraction_ns += (text[at] - '0') * unit;
    if (at == first) return std::nullopt;
  }
  std::int64_t offset_s = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    const auto hours = digits(text, at + 1, 2), minutes = digits(text, at + 4, 2);
    if (!hours || !minutes || text[at + 3] != ':' || *hours > 23 || *minutes > 59 || text.size() != at + 6) return std::nullopt;
    offset_s = (*hours * 3600 + *minutes * 60) * (text[at] == '+' ? 1 : -1);
  } else if (text.substr(at) != "Z" && text.substr(at) != "z") {
    return std::nullopt;
  }
  tm parts{};
  parts.tm_year = *year - 1900, parts.tm_mon = *month - 1, parts.tm_mday = *day;
  parts.tm_hour = *hour, parts.tm_min = *minute, parts.tm_sec = *second;
  const std::int64_t seconds = timegm(&parts);
  if (parts.tm_mday != *day) return std::nullopt;  // the 31st of a month that has 30 days
  return (seconds - offset_s) * 1'000'000'000 + fraction_ns;
}

}  // namespace daarion
