#include "tests/chaos/stream_backup.h"

#include <chrono>

#include "streams/js_request.h"
#include "streams/nats_handles.h"

namespace daarion::chaos {
namespace {
constexpr int kNoSuchStream = 10059;
constexpr std::chrono::seconds kTry{3};
}  // namespace

Result<StreamBackup> back_up(Connection& connection, const std::string& stream, Duration limit) {
  const auto link = connection.handles().link();
  const std::string inbox = new_inbox();
  natsSubscription* raw_subscription = nullptr;
  if (natsConnection_SubscribeSync(&raw_subscription, link->nc, inbox.c_str()) != NATS_OK) return fail(Remedy::kRetry, "listen for the backup of " + stream);
  Subscription subscription;
  subscription.take(link, raw_subscription);
  const auto begun = js_request(connection, "$JS.API.STREAM.SNAPSHOT." + stream, {{"deliver_subject", inbox}, {"no_consumers", true}, {"chunk_size", 65536}}, limit);
  if (!begun) return tl::unexpected(begun.error());
  if (!begun->contains("config")) return fail(Remedy::kRetry, "back up " + stream + ": " + js_error_text(*begun));
  StreamBackup out{.config = (*begun)["config"].dump(), .state = (*begun)["state"].dump(), .chunks = {}};
  for (;;) {
    natsMsg* raw = nullptr;
    if (natsSubscription_NextMsg(&raw, subscription.get(), to_wait_ms(limit)) != NATS_OK) return fail(Remedy::kRetry, "back up " + stream + ": its end did not come");
    const MsgPtr message(raw);
    if (natsMsg_GetDataLength(raw) == 0) return out;
    out.chunks.push_back(data_of(raw));
    if (natsMsg_GetReply(raw) != nullptr) (void)natsConnection_PublishString(link->nc, natsMsg_GetReply(raw), "");
  }
}

namespace {

Result<void> restore_once(Connection& connection, const std::string& stream, const StreamBackup& backup, Duration limit) {
  const auto gone = js_request(connection, "$JS.API.STREAM.DELETE." + stream, nullptr, kTry);
  if (!gone) return tl::unexpected(gone.error());
  if (gone->contains("error") && js_error_code(*gone) != kNoSuchStream) return fail(Remedy::kRetry, "delete " + stream + ": " + js_error_text(*gone));
  const auto begun = js_request(connection, "$JS.API.STREAM.RESTORE." + stream, {{"config", nlohmann::json::parse(backup.config)}, {"state", nlohmann::json::parse(backup.state)}}, limit);
  if (!begun) return tl::unexpected(begun.error());
  const std::string to = begun->value("deliver_subject", "");
  if (to.empty()) return fail(Remedy::kRetry, "restore " + stream + ": " + js_error_text(*begun));
  const auto link = connection.handles().link();
  const auto send = [&](const std::string& chunk) {
    natsMsg* raw = nullptr;
    const natsStatus s = natsConnection_Request(&raw, link->nc, to.c_str(), chunk.data(), static_cast<int>(chunk.size()), to_wait_ms(limit));
    const MsgPtr answer(raw);
    return s == NATS_OK ? data_of(answer.get()) : std::string("{\"error\":{\"description\":\"") + natsStatus_GetText(s) + "\"}}";
  };
  for (const std::string& chunk : backup.chunks)
    if (const std::string said = send(chunk); said.find("\"error\"") != std::string::npos) return fail(Remedy::kRetry, "restore " + stream + ": " + said);
  if (const std::string said = send(""); said.find("\"error\"") != std::string::npos) return fail(Remedy::kRetry, "end the restore of " + stream + ": " + said);
  return {};
}

}  // namespace

Result<void> restore(Connection& connection, const std::string& stream, const StreamBackup& backup, Duration limit) {
  // An answer may be lost with a leader that hands over: then the stream is gone, or there, at the next try.
  const auto end = std::chrono::steady_clock::now() + 2 * limit;
  const std::uint64_t last = nlohmann::json::parse(backup.state).value("last_seq", std::uint64_t{0});
  for (;;) {
    const auto done = restore_once(connection, stream, backup, limit);
    if (done) return done;
    const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, kTry);
    if (info && info->contains("state") && info->at("state").value("last_seq", std::uint64_t{0}) == last) return {};
    if (std::chrono::steady_clock::now() >= end) return done;
  }
}

}  // namespace daarion::chaos
