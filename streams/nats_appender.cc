#include "streams/nats_appender.h"

#include <chrono>
#include <thread>

#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = AppendResult::Outcome;

// The first try's wait, doubled with each: longer than any append of a healthy cluster (p99 3 ms). An answer that got lost, to a leader that
// hands over for one, costs a failover this much; asking again is harmless, since a repeat has the same id and expects nothing there.
constexpr Duration kFirstTry = std::chrono::milliseconds(100);
constexpr Duration kLongestTry = std::chrono::milliseconds(700);
constexpr Duration kPause = std::chrono::milliseconds(5);  // between tries, while the stream has no leader

class NatsAppender final : public Appender {
 public:
  explicit NatsAppender(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  AppendResult append(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    const auto end = Clock::now() + limit;
    const std::string id_name = to_text(id);
    for (Duration wait = kFirstTry;; wait = std::min(wait * 2, kLongestTry)) {
      const auto left = [&] { return std::max(Duration(end - Clock::now()), Duration(kPause)); };
      if (Clock::now() >= end) return {};
      AppendResult stored;
      const natsStatus s = publish(subject, payload, id_name, std::min(left(), wait), stored);
      if (s == NATS_OK) return stored;
      // Nobody there to take it: nobody to ask either. An earlier try of the same id shows itself at the next one.
      if (s == NATS_NO_RESPONDERS) {
        wait = kFirstTry / 2;
      } else {
        // A conflict, or no answer: what the leader has under the subject is what happened.
        const AppendResult found = read_back(subject, id_name, std::min(left(), wait));
        if (found.outcome != Outcome::kUnknown) return found;
      }
      std::this_thread::sleep_for(kPause);
    }
  }

 private:
  /// NATS_OK if the server says that it is stored, at a sequence that can be believed.
  natsStatus publish(const std::string& subject, const std::string& payload, const std::string& id, Duration wait, AppendResult& out) {
    jsPubOptions options{};
    jsPubOptions_Init(&options);
    options.MaxWait = to_wait_ms(wait);
    options.MsgId = id.c_str();
    options.ExpectNoMessage = true;
    jsPubAck* raw = nullptr;
    jsErrCode error{};
    const auto link = connection_->handles().link();
    const natsStatus s = js_Publish(&raw, link->js, subject.c_str(), payload.data(), static_cast<int>(payload.size()),
                                    &options, &error);
    const PubAckPtr ack(raw);
    if (s != NATS_OK) return s;
    // A repeat may be answered with sequence 0 by some servers: only a real sequence is an answer.
    if (ack->Sequence == 0) return NATS_ERR;
    out = {.id = 0, .outcome = Outcome::kStored, .sequence = {ack->Sequence}};
    return NATS_OK;
  }

  /// Asks the leader (a replica may be behind). kUnknown: nothing there, or no answer.
  AppendResult read_back(const std::string& subject, const std::string& id, Duration wait) {
    jsOptions options{};
    jsOptions_Init(&options);
    options.Wait = to_wait_ms(wait);
    natsMsg* raw = nullptr;
    jsErrCode error{};
    const auto link = connection_->handles().link();
    const natsStatus s = js_GetLastMsg(&raw, link->js, kClusterLog, subject.c_str(), &options, &error);
    const MsgPtr message(raw);
    if (s != NATS_OK) return {};
    const bool ours = header_of(message.get(), "Nats-Msg-Id") == id;
    return {.id = 0, .outcome = ours ? Outcome::kStored : Outcome::kConflict, .sequence = {natsMsg_GetSequence(message.get())}};
  }

  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::shared_ptr<Appender> make_nats_appender(std::shared_ptr<Connection> connection) {
  return std::make_shared<NatsAppender>(std::move(connection));
}

}  // namespace daarion
