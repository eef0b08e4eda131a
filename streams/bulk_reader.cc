#include "streams/bulk_reader.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "streams/delivery.h"
#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr Duration kSetUp = milliseconds(500);
// Of three servers one is the right one: all miss it once in 2000 times, and messages are fetched one by one for a while.
constexpr int kPlacements = 19;
// While messages flow they are left to gather in the library's queue: a thread that waits there is woken for each, by a system call of the
// thread that reads the socket. After a pause in the flow the next one is waited for.
constexpr Duration kGather = std::chrono::microseconds(200);
constexpr Duration kFlowPause = milliseconds(2);
// One hand-over: enough to make its cost small, and few enough to overlap.
constexpr std::size_t kGulp = 512;
// What may wait for the fold: some 2 MB, which stay in the processor's cache. Beyond it the library's own queue and the consumer's flow control hold
// the server back.
constexpr std::size_t kWaiting = 4096;

class NatsBulkReader final : public BulkReader {
 public:
  NatsBulkReader(std::shared_ptr<Link> link, natsSubscription* subscription, std::uint64_t from) : want_(from) {
    subscription_.take(std::move(link), subscription);
    thread_ = std::thread([this] { run(); });
  }
  ~NatsBulkReader() override {
    closed_ = true;
    room_.notify_one();
    thread_.join();
  }

  Outcome take(Gulp& out, Duration wait) override {
    out.clear();
    std::unique_lock lock(mutex_);
    came_.wait_for(lock, wait, [&] { return !ready_.empty() || outcome_ != Outcome::kGoing; });
    std::swap(out, ready_);
    room_.notify_one();
    return outcome_;
  }

 private:
  void run() {
    Gulp gulp;
    auto heard = Clock::now();
    Outcome outcome = Outcome::kGoing;
    bool flows = false;  // messages came a moment ago
    while (!closed_ && outcome == Outcome::kGoing) {
      outcome = add(gulp, flows || !gulp.empty() ? 0 : kStepMs);
      if (!drained_ && outcome == Outcome::kGoing && gulp.size() < kGulp) continue;
      const auto now = Clock::now();
      if (!gulp.empty()) {
        heard = now;
        hand_over(gulp, Outcome::kGoing);
      } else if (now > heard + kSilence) {
        outcome = Outcome::kStalled;
      }
      flows = now <= heard + kFlowPause;
      if (drained_ && flows) std::this_thread::sleep_for(kGather);
    }
    hand_over(gulp, outcome);
    nats_ReleaseThreadMemory();
  }

  /// The next message of the library, if it has one within the time.
  Outcome add(Gulp& gulp, std::int64_t wait_ms) {
    natsMsg* raw = nullptr;
    const natsStatus s = natsSubscription_NextMsg(&raw, subscription_.get(), wait_ms);
    const MsgPtr message(raw);
    drained_ = s == NATS_TIMEOUT;
    if (drained_) return Outcome::kGoing;
    const auto delivery = s == NATS_OK ? parse_ack_subject(natsMsg_GetReply(message.get())) : std::nullopt;
    if (!delivery) return Outcome::kStalled;
    // The library made another consumer, which may read elsewhere.
    if (consumer_.empty()) consumer_ = delivery->consumer;
    if (delivery->sequence != want_ || consumer_ != delivery->consumer) return Outcome::kStalled;
    ++want_;
    StoredMessage& to = gulp.add();
    to.sequence = {delivery->sequence};
    to.stored_ns = delivery->stored_ns;
    to.subject.assign(natsMsg_GetSubject(message.get()));
    to.payload.assign(natsMsg_GetData(message.get()), static_cast<std::size_t>(natsMsg_GetDataLength(message.get())));
    return delivery->pending == 0 ? Outcome::kEnd : Outcome::kGoing;
  }

  void hand_over(Gulp& gulp, Outcome outcome) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return closed_ || ready_.size() < kWaiting; });
    if (ready_.empty()) std::swap(ready_, gulp);
    else
      for (StoredMessage& message : gulp.from(0, gulp.size())) std::swap(ready_.add(), message);
    gulp.clear();
    outcome_ = outcome;
    came_.notify_one();
  }

  Subscription subscription_;
  std::uint64_t want_;    // of the thread
  std::string consumer_;  // of the thread; empty: nothing came yet
  bool drained_ = false;  // of the thread
  std::atomic<bool> closed_ = false;
  std::mutex mutex_;      // guards what follows
  std::condition_variable came_, room_;
  Gulp ready_;
  Outcome outcome_ = Outcome::kGoing;
  std::thread thread_;    // last: it uses all of the above
};

/// The server that the consumer reads at; empty: a standalone one, or unknown.
std::string server_of(natsSubscription* subscription) {
  jsConsumerInfo* info = nullptr;
  if (natsSubscription_GetConsumerInfo(&info, subscription, nullptr, nullptr) != NATS_OK) return {};
  std::string leader = info->Cluster != nullptr && info->Cluster->Leader != nullptr ? info->Cluster->Leader : "";
  jsConsumerInfo_Destroy(info);
  return leader;
}

}  // namespace

/// At the stream's leader: another replica may hold what the log has lost. A consumer is put at a server by chance.
std::unique_ptr<BulkReader> BulkReader::begin(const LogSource& source, std::uint64_t from) {
  const std::string leader = stream_leader(*source.connection, source.stream, kSetUp);
  jsOptions limits = js_options(kSetUp);
  jsSubOptions options{};
  jsSubOptions_Init(&options);
  options.Stream = source.stream.c_str();
  options.Ordered = true;
  options.Config.DeliverPolicy = js_DeliverByStartSequence;
  options.Config.OptStartSeq = from;
  options.Config.Heartbeat = kHeartbeatNs;
  auto link = source.connection->handles().link();
  for (int i = 0; i < kPlacements; ++i) {
    natsSubscription* raw = nullptr;
    jsErrCode error{};
    if (js_SubscribeSync(&raw, link->js, "cluster.log.>", &limits, &options, &error) != NATS_OK) return nullptr;
    if (leader.empty() || server_of(raw) == leader) return std::make_unique<NatsBulkReader>(std::move(link), raw, from);
    Subscription elsewhere;
    elsewhere.take(link, raw);
  }
  return nullptr;
}

}  // namespace daarion
