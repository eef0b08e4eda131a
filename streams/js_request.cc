#include "streams/js_request.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "streams/nats_handles.h"

namespace daarion {

using Json = nlohmann::json;

namespace {
constexpr std::int64_t kInTouchNs = 2'500'000'000;  // an idle leader sends one after 1 to 2 s
constexpr std::int64_t kNeverHeardNs = 3600'000'000'000;

std::string sent_text(const Json& body) { return body.is_null() ? std::string{} : body.dump(); }
}  // namespace

Result<Json> js_request(Connection& connection, const std::string& subject, const Json& body, Duration limit) {
  natsMsg* raw = nullptr;
  const std::string text = sent_text(body);
  const auto link = connection.handles().link();
  const natsStatus s = natsConnection_Request(&raw, link->nc, subject.c_str(), text.data(), static_cast<int>(text.size()),
                                              to_wait_ms(limit));
  const MsgPtr message(raw);
  connection.handles().note_answer(link, subject, s);
  if (s != NATS_OK) return fail(Remedy::kRetry, "ask JetStream " + subject + ": " + natsStatus_GetText(s), Effect::kMaybe);
  Json json = Json::parse(data_of(message.get()), nullptr, false);
  if (!json.is_object()) return fail(Remedy::kRetry, "ask JetStream " + subject + ": it answered no JSON", Effect::kMaybe);
  return json;
}

Result<void> ask_together(Connection& connection, const std::vector<JsonRequest>& requests, const TakeAnswer& take, Duration limit) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + limit;
  const auto link = connection.handles().link();
  const std::string inbox = new_inbox() + ".";  // what follows it is the request's place
  natsSubscription* raw = nullptr;
  natsStatus s = natsConnection_SubscribeSync(&raw, link->nc, (inbox + "*").c_str());
  Subscription answers;
  if (s == NATS_OK) answers.take(link, raw);
  for (std::size_t i = 0; i < requests.size() && s == NATS_OK; ++i) {
    const std::string text = sent_text(requests[i].body);
    s = natsConnection_PublishRequest(link->nc, requests[i].subject.c_str(), (inbox + std::to_string(i)).c_str(), text.data(), static_cast<int>(text.size()));
  }
  if (s != NATS_OK) return fail(Remedy::kRetry, std::string("ask nats-servers: ") + natsStatus_GetText(s));
  while (Clock::now() < end) {
    natsMsg* raw_answer = nullptr;
    if (natsSubscription_NextMsg(&raw_answer, answers.get(), to_wait_ms(end - Clock::now())) != NATS_OK) break;
    const MsgPtr message(raw_answer);
    const std::size_t place = std::strtoul(natsMsg_GetSubject(raw_answer) + inbox.size(), nullptr, 10);
    const Json answer = Json::parse(data_of(raw_answer), nullptr, false);
    if (!take(place, answer.is_object() ? answer : Json())) break;
  }
  return {};
}

std::string js_api(const std::string& domain) { return domain.empty() ? "$JS.API" : "$JS." + domain + ".API"; }

std::int64_t server_time_ns(const std::string& text) {
  tm parts{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%dT%d:%d:%d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min,
                  &parts.tm_sec, &used) != 6)
    return 0;
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  std::int64_t ns = static_cast<std::int64_t>(timegm(&parts)) * 1'000'000'000;
  std::int64_t unit = 100'000'000;
  for (std::size_t i = static_cast<std::size_t>(used) + 1; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, unit /= 10)
    ns += (text[i] - '0') * unit;
  return ns;
}

int js_error_code(const Json& answer) { return answer.contains("error") ? answer["error"].value("err_code", 0) : 0; }

std::string js_error_text(const Json& answer) {
  if (!answer.contains("error")) return "an answer of another kind";
  return answer["error"].value("description", "unknown error") + " (" + std::to_string(js_error_code(answer)) + ")";
}

bool in_touch(const Json& info, std::optional<Duration> heard_within) {
  if (!info.contains("cluster") || !info["cluster"].contains("replicas")) return true;  // a server alone
  const std::int64_t within_ns = heard_within ? heard_within->count() : kInTouchNs;
  std::size_t heard = 1;
  for (const Json& replica : info["cluster"]["replicas"])
    heard += !replica.value("offline", false) && replica.value("active", kNeverHeardNs) < within_ns ? 1 : 0;
  return heard >= (info["cluster"]["replicas"].size() + 1) / 2 + 1;
}

bool js_error_passes(const Json& answer) { return answer.contains("error") && answer["error"].value("code", 0) == 503; }

}  // namespace daarion
