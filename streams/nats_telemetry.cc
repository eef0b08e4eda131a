#include "streams/nats_telemetry.h"

#include <sys/random.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "streams/mailbox.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kReportsQueued = 4096;            // about ten minutes of a node's reports
constexpr Duration kTry = milliseconds(500);     // one try's wait for the stream's answer
constexpr Duration kTryPause = milliseconds(100);   // while the server is away, or its stream has no leader
// Of a server that is there: longer than two elections of the stream. Then the report is lost, and the next one has its turn.
constexpr Duration kGiveUp = std::chrono::seconds(20);

struct Report {
  std::string subject, payload, id;
};

class NatsTelemetry final : public TelemetryPublisher {
 public:
  explicit NatsTelemetry(std::shared_ptr<Connection> connection) : connection_(std::move(connection)), thread_([this] { run(); }) {}
  ~NatsTelemetry() override {
    closed_ = true;
    queue_.close();
    thread_.join();
  }

  void publish(const std::string& subject, const std::string& payload) override {
    std::uint64_t bits[2] = {};
    (void)!getrandom(bits, sizeof bits, 0);
    if (!queue_.push_fresh({subject, payload, id_text(bits[0], bits[1])})) ++lost_;
  }
  std::uint64_t lost() const override { return lost_; }

 private:
  void run() {
    while (!closed_) {
      const auto report = queue_.pop(std::chrono::seconds(1));
      if (report && !deliver(*report) && !closed_) ++lost_;
    }
    nats_ReleaseThreadMemory();
  }

  /// A server that is away is waited for without an end: then the queue is the bound.
  bool deliver(const Report& report) {
    auto begun = Clock::now();
    while (!closed_ && Clock::now() < begun + kGiveUp) {
      if (!connection_->connected())
        begun = Clock::now();
      else if (store(report))
        return true;
      std::this_thread::sleep_for(kTryPause);
    }
    return false;
  }

  /// No Expected-* header: it would travel with the message, and stall those who source it (servers before 2.10.14).
  bool store(const Report& report) {
    jsPubOptions options{};
    jsPubOptions_Init(&options);
    options.MaxWait = to_wait_ms(kTry);
    options.MsgId = report.id.c_str();
    jsPubAck* raw = nullptr;
    const auto link = connection_->handles().link();
    const natsStatus s = js_Publish(&raw, link->js, report.subject.c_str(), report.payload.data(), static_cast<int>(report.payload.size()),
                                    &options, nullptr);
    const PubAckPtr ack(raw);
    return s == NATS_OK;
  }

  std::shared_ptr<Connection> connection_;
  Mailbox<Report> queue_{kReportsQueued};
  std::atomic<std::uint64_t> lost_ = 0;
  std::atomic<bool> closed_ = false;
  std::thread thread_;
};

}  // namespace

std::shared_ptr<TelemetryPublisher> make_nats_telemetry(std::shared_ptr<Connection> connection) {
  return std::make_shared<NatsTelemetry>(std::move(connection));
}

}  // namespace daarion
