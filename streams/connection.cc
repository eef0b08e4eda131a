#include "streams/connection.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

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
// After a server's error, as a refused password, it is tried again this often: soon enough after it was set right, and no storm in its log meanwhile.
constexpr Duration kAfterError = std::chrono::seconds(1);

// Unanswered requests of one kind, after which the server is left: one may be lost with a leader; and how far apart two of them still tell of the same.
constexpr int kUnanswered = 2;
constexpr Duration kSameSilence = std::chrono::seconds(10);
constexpr Duration kLongestPatience = std::chrono::seconds(30);

/// "nats://user:password@host:1" without what must not be printed.
std::string without_credentials(const std::string& url) {
  const std::size_t host = url.find('@');
  const std::size_t scheme = url.find("://");
  if (host == std::string::npos) return url;
  return (scheme == std::string::npos ? std::string{} : url.substr(0, scheme + 3)) + url.substr(host + 1);
}

/// The server's own word on the credentials. A busy server may say "Authentication Timeout" of good ones: that is another error to the library.
bool is_refused(natsConnection* nc) {
  const char* text = nullptr;
  return natsConnection_GetLastError(nc, &text) == NATS_CONNECTION_AUTH_FAILED;
}

void ignore_event(natsConnection*, void*) {}
void ignore_error(natsConnection*, natsSubscription*, natsStatus, void*) {}

}  // namespace

std::string new_inbox() {
  std::uint64_t bits[2] = {};
  (void)!getrandom(bits, sizeof bits, 0);
  return "_INBOX." + id_text(bits[0], bits[1]);
}

Connection::Connection(std::unique_ptr<Handles> handles) : handles_(std::move(handles)) {}

Connection::~Connection() = default;

/// Tries each server once before it returns.
natsStatus Connection::Handles::begin(Link& next) const {
  natsStatus s = natsConnection_Connect(&next.nc, options.get());
  if (s == NATS_NOT_YET_CONNECTED) s = NATS_OK;
  jsOptions js{};
  jsOptions_Init(&js);
  return s == NATS_OK ? natsConnection_JetStream(&next.js, next.nc, &js) : s;
}

/// What was begun is the current link from now on, if it could be. Needs `mutex`, as make().
natsStatus Connection::Handles::take(std::shared_ptr<Link> next, natsStatus begun) {
  made = std::chrono::steady_clock::now();
  refused = begun == NATS_OK && is_refused(next->nc);
  if (begun == NATS_OK) current = std::move(next);
  return begun;
}

natsStatus Connection::Handles::make() {
  auto next = std::make_shared<Link>();
  const natsStatus begun = begin(*next);
  return take(std::move(next), begun);
}

std::shared_ptr<Link> Connection::Handles::link() {
  std::shared_ptr<Link> old;  // ended outside the lock
  const std::lock_guard lock(mutex);
  const natsConnStatus status = natsConnection_Status(current->nc);
  if (status == NATS_CONN_STATUS_CONNECTED) refused = false;
  // Endless reconnects end at a server that answers the greeting with an error, whichever: what it was is known when it is made anew.
  if (status == NATS_CONN_STATUS_CLOSED && !moving_ && std::chrono::steady_clock::now() >= made + kAfterError) {
    old = current;
    (void)make();
  }
  return current;
}

void Connection::Handles::note_answer(const std::shared_ptr<Link>& link, const std::string& question, natsStatus outcome) {
  if (!leaves || servers.size() < 2) return;
  std::string said;
  std::shared_ptr<Link> old;  // ended outside the lock
  {
    const std::lock_guard lock(mutex);
    if (link != current || moving_) return;
    if (outcome != NATS_TIMEOUT) {
      unanswered_.erase(question);
      if (outcome == NATS_OK && question == moved_for_) patience_ = kPatience;
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    std::erase_if(unanswered_, [&](const auto& u) { return now - u.second.last > kSameSilence; });
    Unanswered& silence = unanswered_.try_emplace(question, Unanswered{.since = now}).first->second;
    silence.last = now;
    if (++silence.asked < kUnanswered || now - silence.since < patience_) return;
    if (natsConnection_Status(current->nc) != NATS_CONN_STATUS_CONNECTED) return;  // the library is on its way to another one
    said = turn(question);
    moving_ = true;
  }
  auto next = std::make_shared<Link>();
  const natsStatus begun = begin(*next);  // who has no answer waits for it, and nobody else
  {
    const std::lock_guard lock(mutex);
    moving_ = false;
    old = current;
    if (take(std::move(next), begun) != NATS_OK) return;
  }
  leaves(said);
}

/// Has the next server tried first from now on. Needs `mutex`. Returns what that means, in words.
std::string Connection::Handles::turn(const std::string& question) {
  char at[256] = "";
  (void)!natsConnection_GetConnectedUrl(current->nc, at, sizeof at);
  const std::string left = without_credentials(at);
  const auto here = std::ranges::find(servers, left, without_credentials);
  // Where it is none of them, the first is as good as any.
  std::ranges::rotate(servers, here == servers.end() ? servers.begin() : here + 1);
  std::vector<const char*> order;
  for (const std::string& server : servers) order.push_back(server.c_str());
  (void)natsOptions_SetServers(options.get(), order.data(), static_cast<int>(order.size()));
  unanswered_.clear();
  moved_for_ = question;
  patience_ = std::min(patience_ * 2, kLongestPatience);
  return "requests at " + left + " have no answer (" + question + "): asking " + without_credentials(servers.front()) + " from now on";
}

Result<std::shared_ptr<Connection>> Connection::open(const NatsEndpoint& endpoint) {
  auto handles = std::make_unique<Handles>();
  std::vector<std::string>& texts = handles->servers;
  std::vector<const char*> urls;
  handles->leaves = endpoint.leaves;
  for (const std::string& url : endpoint.urls) {
    // The library would take the URL's user before the endpoint's.
    texts.push_back(endpoint.user.empty() ? url : without_credentials(url));
    handles->urls += (handles->urls.empty() ? "" : ", ") + without_credentials(url);
  }
  for (const std::string& text : texts) urls.push_back(text.c_str());
  natsOptions* raw = nullptr;
  natsStatus s = natsOptions_Create(&raw);
  handles->options.reset(raw);
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
  set(natsOptions_SetCustomInboxPrefix(raw, new_inbox().c_str()));
  set(natsOptions_SetRetryOnFailedConnect(raw, true, ignore_event, nullptr));  // with a callback it does not wait
  set(natsOptions_SetErrorHandler(raw, ignore_error, nullptr));               // the default prints
  set(natsOptions_SetIgnoreDiscoveredServers(raw, true));                     // declared servers only: a leaf or witness is not ours to use
  if (s != NATS_OK) return fail(Remedy::kFixInput, "connect to NATS at " + handles->urls + ": " + natsStatus_GetText(s));
  s = handles->make();
  if (s != NATS_OK) return fail(Remedy::kFixInput, "connect to NATS at " + handles->urls + ": " + natsStatus_GetText(s));
  return std::shared_ptr<Connection>(new Connection(std::move(handles)));
}

bool Connection::connected() const { return natsConnection_Status(handles_->link()->nc) == NATS_CONN_STATUS_CONNECTED; }

Result<void> Connection::wait_connected(Duration limit) const {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!connected()) {
    bool refused = is_refused(handles_->link()->nc);
    {
      const std::lock_guard lock(handles_->mutex);
      refused = refused || handles_->refused;
    }
    if (refused)
      return fail(Remedy::kFixInput, "connect to NATS at " + handles_->urls +
                                         ": the server refuses this user or password; compare them with the accounts in its configuration");
    if (std::chrono::steady_clock::now() > end)
      return fail(Remedy::kRetry, "connect to NATS at " + handles_->urls + ": no server let us in within " + std::to_string(to_ms(limit)) +
                                      " ms; is nats-server running there, and not overloaded?");
    std::this_thread::sleep_for(kLook);
  }
  return {};
}

}  // namespace daarion
