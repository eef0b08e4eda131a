#include "streams/connection.h"

#include <sys/random.h>

#include <chrono>
#include <thread>

#include "streams/nats_handles.h"

namespace daarion {
namespace {

// A frozen server must be noticed well within the lease's 1.48 s: two missed pings of 250 ms.
constexpr std::int64_t kPingMs = 250;
constexpr int kPingsOut = 2;
constexpr std::int64_t kReconnectMs = 100;
constexpr std::int64_t kReconnectJitterMs = 50;
constexpr std::int64_t kConnectMs = 500;      // one server's turn: a black hole must not hold up the next one
constexpr std::int64_t kWriteDeadlineMs = 500;
constexpr int kReconnectBuffer = 64 * 1024;   // what is published while cut is stale by then; small, since it cannot be 0
constexpr Duration kLook = std::chrono::milliseconds(5);

/// The library's own ids are not safe across threads: inboxes get a prefix from the kernel's randomness.
std::string inbox_prefix() {
  std::uint64_t bits[2] = {};
  (void)!getrandom(bits, sizeof bits, 0);
  return "_INBOX." + id_text(bits[0], bits[1]);
}

void ignore_event(natsConnection*, void*) {}
void ignore_error(natsConnection*, natsSubscription*, natsStatus, void*) {}

}  // namespace

Connection::Connection(std::unique_ptr<Handles> handles) : handles_(std::move(handles)) {}

Connection::~Connection() {
  jsCtx_Destroy(handles_->js);
  natsConnection_Close(handles_->nc);
  natsConnection_Destroy(handles_->nc);
}

Result<std::shared_ptr<Connection>> Connection::open(const NatsEndpoint& endpoint) {
  auto handles = std::make_unique<Handles>();
  std::vector<const char*> urls;
  for (const std::string& url : endpoint.urls) {
    urls.push_back(url.c_str());
    handles->urls += (handles->urls.empty() ? "" : ", ") + url;
  }
  natsOptions* raw = nullptr;
  natsStatus s = natsOptions_Create(&raw);
  const OptionsPtr options(raw);
  const auto set = [&](natsStatus done) { s = s == NATS_OK ? done : s; };
  set(natsOptions_SetServers(raw, urls.data(), static_cast<int>(urls.size())));
  set(natsOptions_SetNoRandomize(raw, true));
  if (!endpoint.user.empty()) set(natsOptions_SetUserInfo(raw, endpoint.user.c_str(), endpoint.password.c_str()));
  set(natsOptions_SetName(raw, endpoint.name.c_str()));
  set(natsOptions_SetPingInterval(raw, kPingMs));
  set(natsOptions_SetMaxPingsOut(raw, kPingsOut));
  set(natsOptions_SetTimeout(raw, kConnectMs));
  set(natsOptions_SetMaxReconnect(raw, -1));
  set(natsOptions_SetReconnectWait(raw, kReconnectMs));
  set(natsOptions_SetReconnectJitter(raw, kReconnectJitterMs, kReconnectJitterMs));
  set(natsOptions_SetReconnectBufSize(raw, kReconnectBuffer));
  set(natsOptions_SetWriteDeadline(raw, kWriteDeadlineMs));
  set(natsOptions_SetCustomInboxPrefix(raw, inbox_prefix().c_str()));
  set(natsOptions_SetRetryOnFailedConnect(raw, true, ignore_event, nullptr));  // with a callback it does not wait
  set(natsOptions_SetErrorHandler(raw, ignore_error, nullptr));               // the default prints
  set(natsOptions_SetIgnoreDiscoveredServers(raw, true));                     // declared servers only: a leaf or witness is not ours to use
  if (s != NATS_OK) return fail(Remedy::kFixInput, "connect to NATS at " + handles->urls + ": " + natsStatus_GetText(s));
  s = natsConnection_Connect(&handles->nc, raw);
  if (s == NATS_NOT_YET_CONNECTED) s = NATS_OK;
  jsOptions js{};
  jsOptions_Init(&js);
  if (s == NATS_OK) s = natsConnection_JetStream(&handles->js, handles->nc, &js);
  if (s != NATS_OK) return fail(Remedy::kFixInput, "connect to NATS at " + handles->urls + ": " + natsStatus_GetText(s));
  return std::shared_ptr<Connection>(new Connection(std::move(handles)));
}

bool Connection::connected() const { return natsConnection_Status(handles_->nc) == NATS_CONN_STATUS_CONNECTED; }

Result<void> Connection::wait_connected(Duration limit) const {
  const auto end = std::chrono::steady_clock::now() + limit;
  const char* last = nullptr;
  while (!connected()) {
    const natsStatus s = natsConnection_GetLastError(handles_->nc, &last);
    if (s == NATS_CONNECTION_AUTH_FAILED)
      return fail(Remedy::kFixInput, "connect to NATS at " + handles_->urls + ": the server refuses this user or password");
    if (std::chrono::steady_clock::now() > end)
      return fail(Remedy::kRetry, "connect to NATS at " + handles_->urls + ": no server answered in " + std::to_string(to_ms(limit)) +
                                      " ms; is nats-server running there?");
    std::this_thread::sleep_for(kLook);
  }
  return {};
}

}  // namespace daarion
