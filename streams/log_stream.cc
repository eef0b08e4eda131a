#include "streams/log_stream.h"

#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "streams/nats_handles.h"
#include "streams/provision.h"

namespace daarion {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kTelemetryAgeNs = 7 * 86'400 * kNs;
constexpr std::int64_t kTelemetryBytes = 1LL << 30;
// What an edge can report while it is cut off: 7 days of 400 B/s, for ten nodes' worth of reports.
constexpr std::int64_t kOutboxBytes = 256LL << 20;

constexpr const char* kNeverDelete = "do not delete it: it is the log; give the setting back by hand";
constexpr const char* kOnlyReports = "it holds reports only: it may be deleted, and is then made anew";

/// `here` names this side of the link.
Json external(const std::string& domain, const std::string& here) { return external_of(domain, "cluster.sync." + here); }

Result<void> provision(Connection& connection, const Json& wanted, const char* if_refused, Duration limit) {
  return provision_stream(connection, wanted, if_refused, limit).map([](const std::string&) {});
}

class NatsLogInfo final : public LogInfo {
 public:
  NatsLogInfo(std::shared_ptr<Connection> connection, std::string stream) : connection_(std::move(connection)), stream_(std::move(stream)) {}

  Result<LogHead> head(Duration limit) override {
    const auto info = js_request(*connection_, "$JS.API.STREAM.INFO." + stream_, nullptr, limit);
    if (!info) return tl::unexpected(info.error());
    if (js_error_code(*info) == kNoSuchStream) return LogHead{.exists = false, .head = {}};
    if (info->contains("error")) return fail(Remedy::kRetry, "look at stream " + stream_ + ": " + js_error_text(*info));
    // Where nobody leads any replica answers, by its own store.
    const std::string leader = info->contains("cluster") ? (*info)["cluster"].value("leader", "") : "its server";
    if (leader.empty()) return fail(Remedy::kRetry, "look at stream " + stream_ + ": nobody leads it");
    const Json& state = info->at("state");
    const std::uint64_t first = state.value("first_seq", std::uint64_t{0});
    // A replica that was made anew may keep its raft log, lead by it, and have nothing of what came before (nats-server 2.9.10).
    if (first > 1) return fail(Remedy::kStepDown, "stream " + stream_ + " begins with event " + std::to_string(first) + " at " + leader + ", which leads it: it lacks what came before");
    return LogHead{.exists = true, .head = {state.value("last_seq", std::uint64_t{0})}};
  }

  Result<LogLook> look(const EventHead& event, Duration limit) override {
    const Sequence at = event.sequence;
    const auto [s, error, message] = leaders_message(connection_->handles().link()->js, stream_, at.value, limit);
    if (s != NATS_OK && static_cast<int>(error) != kNoMessage)
      return fail(Remedy::kRetry, "look at event " + std::to_string(at.value) + " of " + stream_ + ": " + natsStatus_GetText(s));
    const bool same = s == NATS_OK && event.is(header_of(message.get(), "Nats-Msg-Id"), natsMsg_GetTime(message.get()));
    if (same) return LogLook{.same = true, .head = at};
    const auto range = range_in_touch(*connection_, stream_, limit);
    if (!range) return tl::unexpected(range.error());
    const Sequence head{range->last};
    if (s != NATS_OK && head >= at) return fail(Remedy::kRetry, "look at event " + std::to_string(at.value) + " of " + stream_ + ": it came just now");
    return LogLook{.same = false, .head = head};
  }

 private:
  std::shared_ptr<Connection> connection_;
  std::string stream_;
};

}  // namespace

std::string outbox_of(const NodeId& edge) { return "CLUSTER_OUTBOX_" + edge.value; }

Result<void> provision_core_streams(Connection& connection, int replicas, Duration limit, const std::vector<EdgeDomain>& edges) {
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
  Json telemetry = {{"name", kClusterTelemetry},
                    {"subjects", {"cluster.telemetry.>"}},
                    {"retention", "limits"},
                    {"storage", "file"},
                    {"num_replicas", replicas},
                    {"max_bytes", kTelemetryBytes},
                    {"max_age", kTelemetryAgeNs},
                    {"discard", "old"},
                    {"allow_direct", true}};
  // From 1: without it a source that has given nothing yet begins, after a restart, at the time of our own last message, and what
  // waited in the outbox before that is lost (nats-server 2.9).
  for (const EdgeDomain& edge : edges)
    telemetry["sources"].push_back({{"name", outbox_of(edge.edge)}, {"opt_start_seq", 1}, {"external", external(edge.domain, "core")}});
  if (const auto done = provision(connection, log, kNeverDelete, limit); !done) return done;
  return provision(connection, telemetry, kOnlyReports, limit);
}

Result<void> provision_edge_outbox(Connection& leaf, const NodeId& edge, Duration limit) {
  const Json outbox = {{"name", outbox_of(edge)},
                       {"subjects", {"cluster.telemetry.>"}},
                       {"retention", "limits"},
                       {"storage", "file"},
                       {"num_replicas", 1},
                       {"max_bytes", kOutboxBytes},
                       {"max_age", kTelemetryAgeNs},
                       {"discard", "old"},
                       {"allow_direct", true}};
  return provision(leaf, outbox, kOnlyReports, limit);
}

Result<void> provision_edge_mirrors(Connection& leaf, const std::string& core_domain, const NodeId& edge, Duration limit) {
  const Json log = {{"name", kLogMirror},
                    {"retention", "limits"},
                    {"storage", "file"},
                    {"num_replicas", 1},
                    {"max_msgs", -1},
                    {"max_bytes", -1},
                    {"max_age", 0},
                    {"deny_delete", true},
                    {"deny_purge", true},
                    {"allow_direct", true},
                    {"mirror", {{"name", kClusterLog}, {"external", external(core_domain, edge.value)}}}};
  const Json telemetry = {{"name", kTelemetryMirror},
                          {"retention", "limits"},
                          {"storage", "file"},
                          {"num_replicas", 1},
                          {"max_bytes", kTelemetryBytes},
                          {"max_age", kTelemetryAgeNs},
                          {"discard", "old"},
                          {"allow_direct", true},
                          {"mirror", {{"name", kClusterTelemetry}, {"external", external(core_domain, edge.value)}}}};
  if (const auto done = provision(leaf, log, kOnlyACopy, limit); !done) return done;
  return provision(leaf, telemetry, kOnlyACopy, limit);
}

std::shared_ptr<LogInfo> make_nats_log_info(std::shared_ptr<Connection> connection, std::string stream) {
  return std::make_shared<NatsLogInfo>(std::move(connection), std::move(stream));
}

Result<StreamRange> range_in_touch(Connection& connection, const std::string& stream, Duration limit, std::optional<Duration> heard_within,
                                   const std::string& domain) {
  const auto info = js_request(connection, js_api(domain) + ".STREAM.INFO." + stream, nullptr, limit);
  if (!info) return tl::unexpected(info.error());
  if (!info->contains("state")) return fail(Remedy::kRetry, "look at stream " + stream + ": " + js_error_text(*info));
  if (!in_touch(*info, heard_within)) return fail(Remedy::kRetry, "look at stream " + stream + ": its leader has not heard a majority of its replicas");
  return StreamRange{.first = info->at("state").value("first_seq", std::uint64_t{0}), .last = info->at("state").value("last_seq", std::uint64_t{0})};
}

std::string stream_leader(Connection& connection, const std::string& stream, Duration limit) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, limit);
  if (!info || !info->contains("cluster")) return {};
  return info->at("cluster").value("leader", "");
}

Result<void> step_down_stream_leader(Connection& connection, const std::string& stream, Duration limit, const std::string& domain) {
  const auto done = js_request(connection, js_api(domain) + ".STREAM.LEADER.STEPDOWN." + stream, nullptr, limit);
  if (!done) return tl::unexpected(done.error());
  if (done->contains("error")) return fail(Remedy::kRetry, "step down the leader of " + stream + ": " + js_error_text(*done));
  return {};
}

}  // namespace daarion
