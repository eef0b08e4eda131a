#include "streams/nats_appender.h"

#include <chrono>
#include <thread>

#include "streams/log_stream.h"
#include "streams/nats_handles.h"

namespace daarion {
namespace {

using Clock = std::chrono::steady_clock;
using Outcome = AppendResult::Outcome;

// One try. Longer than any append of a healthy cluster, short enough to read back and try again within a limit of seconds.
constexpr Duration kTry = std::chrono::milliseconds(700);
constexpr Duration kPause = std::chrono::milliseconds(20);  // between tries, while the stream has no leader

class NatsAppender final : public Appender {
 public:
  explicit NatsAppender(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  AppendResult append(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    const auto end = Clock::now() + limit;
    const std::string id_name = to_text(id);
    while (true) {
      const Duration left = end - Clock::now();
      if (left <= Duration{}) return {};
      AppendResult stored;
      if (publish(subject, payload, id_name, std::min(left, kTry), stored)) return stored;
      // A conflict, or no answer: what the leader has under the subject is what happened.
      const AppendResult found = read_back(subject, id_name, std::min(std::max(Duration(end - Clock::now()), Duration(kPause)), kTry));
      if (found.outcome != Outcome::kUnknown) return found;
      std::this_thread::sleep_for(kPause);
    }
  }

 private:
  /// True if the server says that it is stored, at a sequence that can be believed.
  bool publish(const std::string& subject, const std::string& payload, const std::string& id, Duration wait, AppendResult& out) {
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
    // A repeat may be answered with sequence 0 by some servers: only a real sequence is an answer.
    if (s != NATS_OK || ack->Sequence == 0) return false;
    out = {.id = 0, .outcome = Outcome::kStored, .sequence = {ack->Sequence}};
    return true;
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
