// The client library's handles with owners. Included by the .cc files of streams/ alone.
#pragma once

#include <nats/nats.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "streams/connection.h"

namespace daarion {

inline constexpr std::int64_t kStepMs = 50;  // how soon a thread that listens lets go when it is to end
// Of a consumer: the server's default notices a lost one after 10 s. Without three of them it is taken as gone.
inline constexpr std::int64_t kHeartbeatNs = 500'000'000;
inline constexpr Duration kSilence = std::chrono::milliseconds(1500);

template <auto Destroy>
struct Destroyer {
  template <class T>
  void operator()(T* p) const { Destroy(p); }
};
using MsgPtr = std::unique_ptr<natsMsg, Destroyer<natsMsg_Destroy>>;
using OptionsPtr = std::unique_ptr<natsOptions, Destroyer<natsOptions_Destroy>>;
using StreamInfoPtr = std::unique_ptr<jsStreamInfo, Destroyer<jsStreamInfo_Destroy>>;
using PubAckPtr = std::unique_ptr<jsPubAck, Destroyer<jsPubAck_Destroy>>;
using MetaPtr = std::unique_ptr<jsMsgMetaData, Destroyer<jsMsgMetaData_Destroy>>;

/// A subject for answers, from the kernel's randomness: the library's own ids are not safe across threads.
std::string new_inbox();

/// One life of the library's connection. It ends for ever, whatever its options say, when the server answers the greeting with an error.
struct Link {
  natsConnection* nc = nullptr;
  jsCtx* js = nullptr;
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() {
    if (nc != nullptr) natsConnection_Close(nc);  // joins the library's reader
    for (natsSubscription* sub : parked) natsSubscription_Destroy(sub);
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
  }
  void park(natsSubscription* sub) {
    const std::lock_guard lock(mutex);
    parked.push_back(sub);
  }

 private:
  std::mutex mutex;
  std::vector<natsSubscription*> parked;  // ended while nobody could say whether the reader is past them; few: one per lost link or stall
};

/// A subscription on a link. Freed only when the library's reader is past it: libnats before 3.6.1 frees it under a message that is
/// being delivered (measured: a reader of a busy log crashed its process). Threads: one at a time.
class Subscription {
 public:
  Subscription() = default;
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() { reset(); }

  void take(std::shared_ptr<Link> link, natsSubscription* sub) {
    reset();
    link_ = std::move(link);
    sub_ = sub;
  }
  void reset() {
    if (sub_ != nullptr) {
      natsSubscription_Unsubscribe(sub_);
      // The answer to a ping comes through the same reader, after whatever it was delivering.
      const bool past = natsConnection_Status(link_->nc) == NATS_CONN_STATUS_CONNECTED && natsConnection_FlushTimeout(link_->nc, kFlushMs) == NATS_OK;
      if (past) natsSubscription_Destroy(sub_);
      else link_->park(sub_);
    }
    sub_ = nullptr;
    link_.reset();
  }
  natsSubscription* get() const { return sub_; }
  explicit operator bool() const { return sub_ != nullptr; }

 private:
  static constexpr std::int64_t kFlushMs = 500;
  std::shared_ptr<Link> link_;
  natsSubscription* sub_ = nullptr;
};

struct Connection::Handles {
  /// The present link, made anew if the last one ended: keep it for as long as its pointers are used. Threads: any.
  std::shared_ptr<Link> link();
  /// Begins the next link. Needs `mutex`, unless nobody else knows this yet.
  natsStatus make();
  /// What became of a request on that link. A server may answer pings and not pass on what another one answers (measured with 2.9.10: for 90 s after
  /// that one had started anew; and a server whose way to the leader's is cut): where the same question has no answer for some seconds, the next
  /// server of the list is asked from then on. Threads: any.
  void note_answer(const std::shared_ptr<Link>& link, const std::string& question, natsStatus outcome);

  OptionsPtr options;
  std::string urls;  // for messages, without passwords
  std::function<void(const std::string&)> leaves;
  std::mutex mutex;  // guards what follows
  std::shared_ptr<Link> current;
  std::chrono::steady_clock::time_point made{};
  bool refused = false;  // the credentials, when the link was made
  std::vector<std::string> servers;  // as given to the library, the first to be tried first

 private:
  struct Unanswered {
    std::chrono::steady_clock::time_point since, last;
    int asked = 0;
  };
  std::string turn(const std::string& question);
  natsStatus begin(Link& next) const;
  natsStatus take(std::shared_ptr<Link> next, natsStatus begun);

  std::map<std::string, Unanswered> unanswered_;  // by question, on the current link
  bool moving_ = false;                           // another link is being made, without the lock
  std::string moved_for_;                         // the question of the newest move
  Duration patience_ = kPatience;                 // doubled with each move that brought no answer to it
  static constexpr Duration kPatience = std::chrono::seconds(2);
};

/// A subscription that goes on when its connection's link was made anew. Threads: one at a time.
class Listener {
 public:
  /// `group`: the queue group, of which one member gets each message; empty: every subscriber gets it.
  Listener(std::shared_ptr<Connection> connection, std::string subject, std::string group = {})
      : connection_(std::move(connection)), subject_(std::move(subject)), group_(std::move(group)) {
    follow();
  }
  /// The next message, or nothing within about `wait_ms`; never returns at once without one.
  MsgPtr next(std::int64_t wait_ms) {
    follow();
    natsMsg* raw = nullptr;
    const natsStatus s = subscription_ ? natsSubscription_NextMsg(&raw, subscription_.get(), wait_ms) : NATS_CONNECTION_CLOSED;
    if (s != NATS_OK && s != NATS_TIMEOUT) std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
    return MsgPtr(raw);
  }

 private:
  void follow() {
    auto link = connection_->handles().link();
    if (link == link_ && subscription_) return;
    subscription_.reset();
    link_ = std::move(link);
    natsSubscription* raw = nullptr;
    const natsStatus s = group_.empty() ? natsConnection_SubscribeSync(&raw, link_->nc, subject_.c_str())
                                        : natsConnection_QueueSubscribeSync(&raw, link_->nc, subject_.c_str(), group_.c_str());
    if (s == NATS_OK) subscription_.take(link_, raw);
  }
  std::shared_ptr<Connection> connection_;
  std::string subject_;
  std::string group_;
  std::shared_ptr<Link> link_;
  Subscription subscription_;
};

inline std::string header_of(natsMsg* msg, const char* key) {
  const char* value = nullptr;
  return natsMsgHeader_Get(msg, key, &value) == NATS_OK && value != nullptr ? value : "";
}
inline std::string data_of(natsMsg* msg) {
  return {natsMsg_GetData(msg), static_cast<std::size_t>(natsMsg_GetDataLength(msg))};
}
inline std::int64_t to_wait_ms(Duration d) { return std::max<std::int64_t>(1, to_ms(d)); }
inline jsOptions js_options(Duration wait) {
  jsOptions options{};
  jsOptions_Init(&options);
  options.Wait = to_wait_ms(wait);
  return options;
}

/// What the stream's leader has at a sequence: by the API that nobody else answers; a direct get may be any replica's. `domain`: JetStream's; empty:
/// the connection's own.
struct LeadersMessage {
  natsStatus status = NATS_OK;
  jsErrCode error{};
  MsgPtr message;  // if the status is NATS_OK
};
inline LeadersMessage leaders_message(jsCtx* js, const std::string& stream, std::uint64_t sequence, Duration limit, const std::string& domain = {}) {
  LeadersMessage out;
  jsOptions options = js_options(limit);
  if (!domain.empty()) options.Domain = domain.c_str();
  natsMsg* raw = nullptr;
  out.status = js_GetMsg(&raw, js, stream.c_str(), sequence, &options, &out.error);
  out.message.reset(raw);
  return out;
}

}  // namespace daarion
