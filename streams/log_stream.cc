#include "streams/log_stream.h"

#include <nlohmann/json.hpp>

#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Json = nlohmann::json;

constexpr int kNoSuchStream = 10059;
constexpr std::int64_t kNs = 1'000'000'000;
constexpr std::int64_t kDuplicateWindowNs = 600 * kNs;  // longer than any retry; correctness does not rest on it

/// One request to JetStream's API: raw JSON, because the client's structs lack fields and would drop them on update.
Result<Json> request(Connection& connection, const std::string& subject, const Json& body, Duration limit) {
  natsMsg* raw = nullptr;
  const std::string text = body.is_null() ? std::string{} : body.dump();
  const auto link = connection.handles().link();
  const natsStatus s = natsConnection_Request(&raw, link->nc, subject.c_str(), text.data(), static_cast<int>(text.size()),
                                              to_wait_ms(limit));
  const MsgPtr message(raw);
  if (s != NATS_OK) return fail(Remedy::kRetry, "ask JetStream " + subject + ": " + natsStatus_GetText(s), Effect::kMaybe);
  const std::string answer = data_of(message.get());
  Json json = Json::parse(answer, nullptr, false);
  if (json.is_discarded()) return fail(Remedy::kRetry, "ask JetStream " + subject + ": it answered no JSON", Effect::kMaybe);
  return json;
}

int error_code(const Json& answer) { return answer.contains("error") ? answer["error"].value("err_code", 0) : 0; }
std::string error_text(const Json& answer) {
  return answer["error"].value("description", "unknown error") + " (" + std::to_string(error_code(answer)) + ")";
}

/// The settings of ours that the stream does not have, as one line; empty: none.
std::string difference(const Json& wanted, const Json& found) {
  std::string out;
  for (const auto& [key, value] : wanted.items())
    if (!found.contains(key) ? !(value == false || value == 0) : found[key] != value)
      out += (out.empty() ? "" : ", ") + key + " is " + (found.contains(key) ? found[key].dump() : "unset") + ", wanted " + value.dump();
  return out;
}

Result<void> provision(Connection& connection, const Json& wanted, Duration limit) {
  const std::string name = wanted.at("name");
  const auto info = request(connection, "$JS.API.STREAM.INFO." + name, nullptr, limit);
  if (!info) return tl::unexpected(info.error());
  if (error_code(*info) == kNoSuchStream) {
    const auto made = request(connection, "$JS.API.STREAM.CREATE." + name, wanted, limit);
    if (!made) return tl::unexpected(made.error());
    if (made->contains("error")) return fail(Remedy::kRetry, "create stream " + name + ": " + error_text(*made));
    return {};
  }
  if (info->contains("error")) return fail(Remedy::kRetry, "look at stream " + name + ": " + error_text(*info));
  Json config = info->at("config");
  const std::string differs = difference(wanted, config);
  if (differs.empty()) return {};
  config.update(wanted);
  const auto mended = request(connection, "$JS.API.STREAM.UPDATE." + name, config, limit);
  if (!mended) return tl::unexpected(mended.error());
  if (mended->contains("error"))
    return fail(Remedy::kFixInput, "mend stream " + name + " (" + differs + "): " + error_text(*mended));
  return {};
}

class NatsLogInfo final : public LogInfo {
 public:
  NatsLogInfo(std::shared_ptr<Connection> connection, std::string stream) : connection_(std::move(connection)), stream_(std::move(stream)) {}

  Result<LogHead> head(Duration limit) override {
    const auto info = request(*connection_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    if (error_code(*info) == kNoSuchStream) return LogHead{.exists = false, .head = {}};
    if (info->contains("error")) return fail(Remedy::kRetry, "look at stream " + stream_ + ": " + error_text(*info));
    return LogHead{.exists = true, .head = {info->at("state").value("last_seq", std::uint64_t{0})}};
  }

 private:
  std::shared_ptr<Connection> connection_;
  std::string stream_;
};

}  // namespace

Result<void> provision_core_streams(Connection& connection, int replicas, Duration limit) {
  const Json log = {{"name", kClusterLog},
                    {"subjects", {"cluster.log.>"}},
                    {"retention", "limits"},
                    {"storage", "file"},
                    {"num_replicas", replicas},
                    {"max_msgs", -1},
                    {"max_bytes", -1},
                    {"max_age", 0},
                    {"discard", "new"},
                    {"duplicate_window", kDuplicateWindowNs},
                    {"deny_delete", true},
                    {"deny_purge", true},
                    {"allow_direct", true},
                    {"republish", {{"src", "cluster.log.>"}, {"dest", "cluster.events.>"}}}};
  const Json telemetry = {{"name", kClusterTelemetry},
                          {"subjects", {"cluster.telemetry.>"}},
                          {"retention", "limits"},
                          {"storage", "file"},
                          {"num_replicas", replicas},
                          {"max_bytes", 1LL << 30},
                          {"max_age", 7 * 86'400 * kNs},
                          {"discard", "old"},
                          {"allow_direct", true}};
  if (const auto done = provision(connection, log, limit); !done) return done;
  return provision(connection, telemetry, limit);
}

Result<void> provision_edge_mirror(Connection& connection, const std::string& core_domain, const std::string& edge, Duration limit) {
  const Json mirror = {{"name", kLogMirror},
                       {"retention", "limits"},
                       {"storage", "file"},
                       {"num_replicas", 1},
                       {"max_msgs", -1},
                       {"max_bytes", -1},
                       {"max_age", 0},
                       {"deny_delete", true},
                       {"deny_purge", true},
                       {"allow_direct", true},
                       {"mirror",
                        {{"name", kClusterLog},
                         {"external", {{"api", "$JS." + core_domain + ".API"}, {"deliver", "cluster.sync." + edge}}}}}};
  return provision(connection, mirror, limit);
}

std::shared_ptr<LogInfo> make_nats_log_info(std::shared_ptr<Connection> connection, std::string stream) {
  return std::make_shared<NatsLogInfo>(std::move(connection), std::move(stream));
}

std::string stream_leader(Connection& connection, const std::string& stream, Duration limit) {
  const auto info = request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, limit);
  if (!info || !info->contains("cluster")) return {};
  return info->at("cluster").value("leader", "");
}

Result<void> step_down_stream_leader(Connection& connection, const std::string& stream, Duration limit) {
  const auto done = request(connection, "$JS.API.STREAM.LEADER.STEPDOWN." + stream, nullptr, limit);
  if (!done) return tl::unexpected(done.error());
  if (done->contains("error")) return fail(Remedy::kRetry, "step down the leader of " + stream + ": " + error_text(*done));
  return {};
}

}  // namespace daarion
