#include "streams/nats_log_reader.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>

#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Beyond this distance an ordered consumer is faster than one get per message, also counting its set-up.
constexpr std::uint64_t kBulkGap = 64;
// What the tail may run ahead of the reader. More is dropped here, and fetched when its turn comes.
constexpr std::size_t kAhead = 8192;
constexpr Duration kGetLimit = milliseconds(500);
// A fresh message may reach the follower that answers a direct get a little later than us.
constexpr Duration kGetAgain = milliseconds(2);
// Without news the end of the log is asked for this often: a lost tail costs at most this, beats usually tell sooner.
constexpr Duration kIdleLook = milliseconds(500);
constexpr std::int64_t kHeartbeatNs = 500'000'000;  // of the ordered consumer: its default notices a dead server after 10 s
constexpr std::int64_t kTailStepMs = 50;            // how soon a reader that ends lets go of its tail
constexpr Duration kBulkSilence = milliseconds(1500);

class NatsLogReader final : public LogReader {
 public:
  NatsLogReader(std::vector<std::shared_ptr<Connection>> connections, std::string stream, Sequence from)
      : connections_(std::move(connections)), stream_(std::move(stream)), want_(from.value) {
    for (const auto& connection : connections_) {
      Listener* tail = tails_.emplace_back(std::make_unique<Listener>(connection, "cluster.events.>")).get();
      threads_.emplace_back([this, tail] { hear_tail(*tail); });
    }
  }

  ~NatsLogReader() override {
    closed_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  Result<std::optional<StoredMessage>> next(Duration wait) override {
    const auto end = Clock::now() + wait;
    do {
      if (auto message = from_tail()) return advance(std::move(*message));
      if (auto message = from_bulk()) return advance(std::move(*message));
      if (known_end() >= want_) {
        if (known_end() - want_ >= kBulkGap && !bulk_) begin_bulk();
        if (bulk_) continue;
        if (auto message = get(want_)) return advance(std::move(*message));
        std::this_thread::sleep_for(std::min(kGetAgain, std::max(Duration(end - Clock::now()), Duration{})));
        continue;
      }
      if (Clock::now() >= looked_ + kIdleLook) {
        looked_ = Clock::now();
        if (const auto checked = look(); !checked) return tl::unexpected(checked.error());
        continue;
      }
      await_tail(std::min(end, looked_ + kIdleLook));
    } while (Clock::now() < end);
    return std::optional<StoredMessage>{};
  }

  void heard_head(Sequence head) override { heard_ = std::max(heard_, head.value); }

 private:
  void hear_tail(Listener& tail) {
    while (!closed_) {
      const MsgPtr message = tail.next(kTailStepMs);
      if (message) take_tail(message.get());
    }
    nats_ReleaseThreadMemory();
  }

  /// A stored event, as the stream published it again. Servers before 2.10 do not give its time, which the fold needs: then only
  /// its sequence is news, and the message is fetched.
  void take_tail(natsMsg* m) {
    const std::string sequence = header_of(m, "Nats-Sequence");
    const std::string origin = header_of(m, "Nats-Stream");
    if (sequence.empty() || origin != kClusterLog) return;
    const std::uint64_t at = std::strtoull(sequence.c_str(), nullptr, 10);
    {
      const std::lock_guard lock(mutex_);
      tail_end_ = std::max(tail_end_, at);
      StoredMessage message{.sequence = {at}, .stored_ns = parse_time(header_of(m, "Nats-Time-Stamp")),
                            .subject = header_of(m, "Nats-Subject"), .payload = data_of(m)};
      if (message.stored_ns != 0 && ahead_.size() < kAhead) ahead_.emplace(at, std::move(message));
    }
    news_.notify_one();
  }

  /// "2026-11-24T01:02:03.123456789Z" in ns since 1970; 0 if it is no such text.
  static std::int64_t parse_time(const std::string& text) {
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

  std::optional<StoredMessage> from_tail() {
    const std::lock_guard lock(mutex_);
    ahead_.erase(ahead_.begin(), ahead_.lower_bound(want_));
    const auto at = ahead_.find(want_);
    if (at == ahead_.end()) return std::nullopt;
    return std::move(ahead_.extract(at).mapped());
  }

  std::uint64_t known_end() {
    const std::lock_guard lock(mutex_);
    return std::max({tail_end_, heard_, asked_end_});
  }

  void await_tail(Clock::time_point until) {
    std::unique_lock lock(mutex_);
    news_.wait_until(lock, until, [&] { return tail_end_ >= want_; });
  }

  std::optional<StoredMessage> advance(StoredMessage message) {
    want_ = message.sequence.value + 1;
    return message;
  }

  /// Each connection in turn: a replica that is not there yet answers "no message".
  std::optional<StoredMessage> get(std::uint64_t sequence) {
    for (const auto& connection : connections_) {
      if (!connection->connected()) continue;
      jsOptions options{};
      jsOptions_Init(&options);
      options.Wait = to_wait_ms(kGetLimit);
      jsDirectGetMsgOptions by{};
      jsDirectGetMsgOptions_Init(&by);
      by.Sequence = sequence;
      natsMsg* raw = nullptr;
      const auto link = connection->handles().link();
      const natsStatus s = js_DirectGetMsg(&raw, link->js, stream_.c_str(), &options, &by);
      const MsgPtr message(raw);
      if (s != NATS_OK || natsMsg_GetSequence(message.get()) != sequence) continue;
      return StoredMessage{.sequence = {sequence}, .stored_ns = natsMsg_GetTime(message.get()),
                           .subject = natsMsg_GetSubject(message.get()), .payload = data_of(message.get())};
    }
    return std::nullopt;
  }

  /// Asks the leader for the log's end. Errors: kStop if the log ends before what was read.
  Result<void> look() {
    for (const auto& connection : connections_) {
      if (!connection->connected()) continue;
      const auto head = make_nats_log_info(connection, stream_)->head(kGetLimit);
      if (!head) continue;
      if (head->head.value + 1 < want_ && stream_ == kClusterLog)
        return fail(Remedy::kStop, "read " + stream_ + ": it ends at " + std::to_string(head->head.value) + ", but " +
                                       std::to_string(want_ - 1) + " was read before: the log lost events");
      const std::lock_guard lock(mutex_);
      asked_end_ = head->head.value;
      return {};
    }
    return {};
  }

  void begin_bulk() {
    for (const auto& connection : connections_) {
      if (!connection->connected()) continue;
      jsSubOptions options{};
      jsSubOptions_Init(&options);
      options.Stream = stream_.c_str();
      options.Ordered = true;
      options.Config.DeliverPolicy = js_DeliverByStartSequence;
      options.Config.OptStartSeq = want_;
      options.Config.Heartbeat = kHeartbeatNs;
      natsSubscription* raw = nullptr;
      jsErrCode error{};
      auto link = connection->handles().link();
      if (js_SubscribeSync(&raw, link->js, "cluster.log.>", nullptr, &options, &error) != NATS_OK) continue;
      bulk_.take(std::move(link), raw);
      return;
    }
    std::this_thread::sleep_for(milliseconds(20));  // no server can make a consumer now
  }

  std::optional<StoredMessage> from_bulk() {
    if (!bulk_) return std::nullopt;
    natsMsg* raw = nullptr;
    const natsStatus s = natsSubscription_NextMsg(&raw, bulk_.get(), to_wait_ms(kBulkSilence));
    const MsgPtr message(raw);
    jsMsgMetaData* raw_meta = nullptr;
    if (s != NATS_OK || natsMsg_GetMetaData(&raw_meta, message.get()) != NATS_OK) {
      bulk_.reset();  // it stalled: begin again where we are
      return std::nullopt;
    }
    const MetaPtr meta(raw_meta);
    if (meta->Sequence.Stream != want_) {
      bulk_.reset();
      return std::nullopt;
    }
    StoredMessage out{.sequence = {meta->Sequence.Stream}, .stored_ns = meta->Timestamp, .subject = natsMsg_GetSubject(message.get()),
                      .payload = data_of(message.get())};
    if (meta->NumPending == 0) bulk_.reset();  // at the end: the tail goes on from here
    return out;
  }

  std::vector<std::shared_ptr<Connection>> connections_;
  std::string stream_;
  std::uint64_t want_;
  std::uint64_t heard_ = 0;       // from beats
  std::vector<std::unique_ptr<Listener>> tails_;
  std::vector<std::thread> threads_;
  std::atomic<bool> closed_ = false;
  Subscription bulk_;
  Clock::time_point looked_{};
  std::mutex mutex_;              // guards what follows: the library's threads write it
  std::condition_variable news_;
  std::map<std::uint64_t, StoredMessage> ahead_;
  std::uint64_t tail_end_ = 0;
  std::uint64_t asked_end_ = 0;
};

}  // namespace

std::unique_ptr<LogReader> make_nats_log_reader(std::vector<std::shared_ptr<Connection>> connections, std::string stream, Sequence from) {
  return std::make_unique<NatsLogReader>(std::move(connections), std::move(stream), from);
}

}  // namespace daarion
