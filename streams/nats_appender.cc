#include "streams/nats_appender.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "streams/js_request.h"
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
constexpr Duration kAppendPause = std::chrono::milliseconds(5);  // between tries, while the stream has no leader
constexpr Duration kLookAgain = std::chrono::milliseconds(20);
constexpr Duration kCalm = std::chrono::seconds(1);

// Sent and not answered yet, of one append_all: as many as the library's own publisher has. What is lost with a leader is asked for
// again one by one.
constexpr std::size_t kInFlight = 4000;
constexpr Duration kAnswersSilence = std::chrono::milliseconds(700);  // no answer for so long: the rest is asked for one by one

/// Many appends on the way, and their answers, which come in any order.
class Pipeline {
 public:
  Pipeline(std::shared_ptr<Link> link, const std::vector<AppendItem>& items) : link_(std::move(link)), items_(items), answers_(items.size()) {
    natsSubscription* subscription = nullptr;
    if (natsConnection_SubscribeSync(&subscription, link_->nc, (inbox_ + ".*").c_str()) == NATS_OK) subscription_.take(link_, subscription);
  }

  /// What the stream answered; kUnknown where it said anything but "stored", or nothing.
  std::vector<AppendResult> run(Clock::time_point end) {
    if (!subscription_) return answers_;
    std::size_t sent = 0, answered = 0;
    while (answered < items_.size()) {
      for (; sent < items_.size() && sent - answered < kInFlight; ++sent)
        if (!send(sent)) return answers_;
      // Half of them, or at the end all: a wake-up for each answer would cost as much as the append.
      for (const std::size_t enough = sent == items_.size() ? 0 : kInFlight / 2; sent - answered > enough; ++answered) {
        const Duration left = std::min<Duration>(end - Clock::now(), kAnswersSilence);
        if (left <= Duration{} || !take(to_wait_ms(left))) return answers_;
      }
    }
    return answers_;
  }

 private:
  bool send(std::size_t i) {
    natsMsg* raw = nullptr;
    const std::string& payload = items_[i].payload;
    if (natsMsg_Create(&raw, items_[i].subject.c_str(), (inbox_ + "." + std::to_string(i)).c_str(), payload.data(),
                       static_cast<int>(payload.size())) != NATS_OK)
      return false;
    const MsgPtr message(raw);
    return natsMsgHeader_Set(raw, "Nats-Msg-Id", to_text(items_[i].id).c_str()) == NATS_OK &&
           natsMsgHeader_Set(raw, "Nats-Expected-Last-Subject-Sequence", "0") == NATS_OK && natsConnection_PublishMsg(link_->nc, raw) == NATS_OK;
  }
  /// One answer, if there is one within the time.
  bool take(std::int64_t wait_ms) {
    natsMsg* raw = nullptr;
    if (natsSubscription_NextMsg(&raw, subscription_.get(), wait_ms) != NATS_OK) return false;
    const MsgPtr message(raw);
    const std::size_t i = std::strtoull(natsMsg_GetSubject(raw) + inbox_.size() + 1, nullptr, 10);
    const auto json = nlohmann::json::parse(natsMsg_GetData(raw), natsMsg_GetData(raw) + natsMsg_GetDataLength(raw), nullptr, false);
    const std::uint64_t sequence = json.is_object() && !json.contains("error") ? json.value("seq", std::uint64_t{0}) : 0;
    if (i < answers_.size() && sequence != 0) answers_[i] = {.id = 0, .outcome = Outcome::kStored, .sequence = {sequence}};
    return true;
  }

  std::shared_ptr<Link> link_;
  const std::vector<AppendItem>& items_;
  std::vector<AppendResult> answers_;
  const std::string inbox_ = new_inbox();
  Subscription subscription_;
};

class NatsAppender final : public Appender {
 public:
  explicit NatsAppender(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  AppendResult append(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    const auto end = Clock::now() + limit;
    const std::string id_name = to_text(id);
    for (Duration wait = kFirstTry;; wait = std::min(wait * 2, kLongestTry)) {
      const auto left = [&] { return std::max(Duration(end - Clock::now()), Duration(kAppendPause)); };
      if (Clock::now() >= end) return {};
      AppendResult stored;
      const auto sent = Clock::now();
      const natsStatus s = publish(subject, payload, id_name, std::min(left(), wait), stored);
      if (s == NATS_OK) {
        stored_at_ = Clock::now();
        return stored;
      }
      // Nobody there to take it: nobody to ask either. An earlier try of the same id shows itself at the next one.
      if (s == NATS_NO_RESPONDERS) {
        wait = kFirstTry / 2;
      } else {
        // A conflict, or no answer: what the leader has under the subject is what happened.
        // One that is cut off takes it and can never store it, and numbers wrong when it leads again (docs/adr/0006): it is published again only
        // where a majority of the replicas was heard since.
        for (;;) {
          const AppendResult found = read_back(subject, id_name, std::min(left(), wait));
          if (found.outcome != Outcome::kUnknown) return found;
          if (Clock::now() >= end) return {};
          if (range_in_touch(*connection_, kClusterLog, std::min(left(), wait), Clock::now() - sent)) break;
          std::this_thread::sleep_for(kAppendPause);
        }
      }
      std::this_thread::sleep_for(kAppendPause);
    }
  }

  AppendResult append_if_free(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) override {
    const auto end = Clock::now() + limit;
    // What a majority stored for this node a moment ago says the same of the leader, and this node is the one that appends now.
    if (Clock::now() - stored_at_.load() < kCalm) return append(subject, payload, id, limit);
    const nlohmann::json of_subject = {{"subjects_filter", subject}};
    for (;; std::this_thread::sleep_for(kLookAgain)) {
      const Duration left = end - Clock::now();
      if (left <= Duration{}) return {};
      const auto info = js_request(*connection_, "$JS.API.STREAM.INFO." + std::string(kClusterLog), of_subject, std::min<Duration>(left, kFirstTry));
      if (!info) continue;                   // a frozen leader would take it when it wakes, beside what another led meanwhile
      if (info->contains("error")) break;    // nobody leads the log, or JetStream: the append finds out
      const auto state = info->find("state");
      const bool taken = state != info->end() && state->contains("subjects") && (*state)["subjects"].is_object() && (*state)["subjects"].contains(subject);
      if (taken) {
        const AppendResult found = read_back(subject, to_text(id), std::min<Duration>(left, kFirstTry));
        if (found.outcome != Outcome::kUnknown) return found;
      } else if (in_touch(*info)) {
        break;
      }
    }
    return append(subject, payload, id, std::max(Duration(end - Clock::now()), Duration(kAppendPause)));
  }

  std::vector<AppendResult> append_all(const std::vector<AppendItem>& items, Duration limit) override {
    const auto end = Clock::now() + limit;
    std::vector<AppendResult> results = Pipeline(connection_->handles().link(), items).run(end);
    for (std::size_t i = 0; i < items.size(); ++i)
      if (results[i].outcome == Outcome::kUnknown)
        results[i] = append(items[i].subject, items[i].payload, items[i].id, std::max(Duration(end - Clock::now()), Duration{}));
    return results;
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
    connection_->handles().note_answer(link, "append", s);
    if (s != NATS_OK) return s;
    // A repeat may be answered with sequence 0 by some servers: only a real sequence is an answer.
    if (ack->Sequence == 0) return NATS_ERR;
    out = {.id = 0, .outcome = Outcome::kStored, .sequence = {ack->Sequence}};
    return NATS_OK;
  }

  /// Asks the leader (a replica may be behind). kUnknown: nothing there, or no answer.
  AppendResult read_back(const std::string& subject, const std::string& id, Duration wait) {
    jsOptions options = js_options(wait);
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
  std::atomic<Clock::time_point> stored_at_{};  // an append of this node, the newest
};

}  // namespace

std::shared_ptr<Appender> make_nats_appender(std::shared_ptr<Connection> connection) {
  return std::make_shared<NatsAppender>(std::move(connection));
}

}  // namespace daarion
