#include "streams/site_reader.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <thread>

#include "streams/delivery.h"
#include "streams/js_request.h"
#include "streams/nats_handles.h"
#include "streams/route_keeper.h"

namespace daarion {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kConsumerAgain = milliseconds(250);      // after a consumer could not be made
constexpr Duration kAsk = seconds(1);
constexpr std::int64_t kTurnMs = 3;                 // of two streams each is waited for in turn: the most that a message waits for the other
// How far back what came last is looked for: first, and where it was not found. A replica that is behind may not have it yet; a stream that was
// made anew never will, and is read by its numbers in the end.
constexpr std::array<std::uint64_t, 3> kBack = {Repeats::kOverlap, 4096, 65'536};
constexpr int kRounds = 80;  // of looking all the way back, kConsumerAgain apart; while no consumer can be made none is over
constexpr std::int64_t kClocksNs = 5'000'000'000;    // by how much the servers' may differ
constexpr Duration kTableEvery = seconds(5);         // at the table, for announcements that were missed while nothing was connected

/// One stream as it is read: by a consumer of its own, made anew whenever anything of it is missing.
struct Tail {
  std::string stream;
  std::uint64_t next = 1;
  std::uint64_t from = 1;       // where the present consumer was told to begin
  std::uint64_t until = 0;      // below it messages without an id are not new; 0: the present consumer reads nothing over again
  bool searching = false;       // it has not met yet what came last
  std::size_t tries = 0;        // consumers that did not, of this round
  int rounds = 0;               // that found nothing of it
  Subscription subscription;    // of the present consumer's messages; none: there is no consumer
  std::string inbox;            // that it sends to, new for each: what an earlier one still sends goes nowhere
  std::uint64_t delivered = 0;  // by it
  bool caught_up = false;       // it was at the stream's end once
  Clock::time_point heard{}, again{};
};

class NatsSiteReader final : public SiteReader {
 public:
  NatsSiteReader(std::shared_ptr<Connection> app, std::vector<std::string> streams, SitePosition from) : app_(std::move(app)), repeats_(from) {
    for (std::string& stream : streams) {
      Tail& tail = tails_.emplace_back();
      if (const auto at = from.next.find(stream); at != from.next.end()) tail.next = at->second;
      tail.stream = std::move(stream);
    }
  }

  Result<std::optional<SiteMessage>> next(Duration limit) override {
    const auto end = Clock::now() + limit;
    const std::int64_t step_ms = tails_.size() == 1 ? kStepMs : kTurnMs;
    for (std::size_t turn = 0;; ++turn) {
      if (auto ready = get_ready(); !ready) return tl::unexpected(ready.error());
      bool any = false;
      for (Tail& tail : tails_)
        if (auto given = take(tail, 0, any)) return given;
      if (any) continue;
      const auto left_ms = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
      if (left_ms <= 0) return std::nullopt;
      Tail& tail = tails_[turn % tails_.size()];
      if (!tail.subscription) std::this_thread::sleep_for(milliseconds(std::min(left_ms, step_ms)));
      else if (auto given = take(tail, std::min(left_ms, step_ms), any)) return given;
    }
  }

  SitePosition position() const override {
    SitePosition out{.next = {}, .owed = repeats_.owed()};
    repeats_.add_to(out);
    for (const Tail& tail : tails_) out.next[tail.stream] = tail.next;
    return out;
  }

 private:
  Result<void> get_ready() {
    if (auto link = app_->handles().link(); link != link_) {
      for (Tail& tail : tails_) tail.subscription.reset();
      link_ = std::move(link);
    }
    const auto now = Clock::now();
    for (Tail& tail : tails_) {
      if (tail.subscription && now > tail.heard + kSilence) tail.subscription.reset();
      if (!tail.subscription && now >= tail.again)
        if (auto made = make_consumer(tail); !made) return made;
      // What waits in the first is to be known before its repeats come.
      if (!tail.caught_up) break;
    }
    return {};
  }

  Result<void> make_consumer(Tail& tail) {
    tail.again = Clock::now() + kConsumerAgain;
    tail.inbox = new_inbox();
    natsSubscription* raw = nullptr;
    // The subject itself: nats-server 2.9 does not see a wildcard as somebody who listens.
    if (natsConnection_SubscribeSync(&raw, link_->nc, tail.inbox.c_str()) != NATS_OK) return {};
    tail.subscription.take(link_, raw);
    tail.searching = &tail == &tails_.back() && repeats_.overlap() > 0 && tail.next > 1 && tail.rounds < kRounds;
    tail.until = tail.searching ? tail.next : 0;
    tail.from = !tail.searching ? tail.next : tail.next > kBack[tail.tries] ? tail.next - kBack[tail.tries] : 1;
    const Json config = {{"deliver_subject", tail.inbox}, {"deliver_policy", "by_start_sequence"}, {"opt_start_seq", tail.from}, {"ack_policy", "none"},
                         {"max_deliver", 1}, {"idle_heartbeat", kHeartbeatNs}, {"mem_storage", true}, {"num_replicas", 1}};
    const auto answer = js_request(*app_, "$JS.API.CONSUMER.CREATE." + tail.stream, Json{{"stream_name", tail.stream}, {"config", config}}, kAsk);
    if (answer && !answer->contains("error")) {
      tail.delivered = 0;
      tail.heard = Clock::now();
      const bool nothing = answer->value("num_pending", std::uint64_t{0}) == 0;
      if (nothing && tail.searching) not_found(tail);
      tail.caught_up |= nothing;
      return {};
    }
    tail.subscription.reset();
    if (!answer || js_error_passes(*answer)) return {};
    if (js_error_code(*answer) != kNoSuchStream) return fail(Remedy::kFixInput, "read stream " + tail.stream + ": " + js_error_text(*answer));
    tail.caught_up = true;  // nothing waits there
    return {};
  }

  /// The tail's next message within the time, if it has one that was not given before. `any` is set if it had anything.
  std::optional<SiteMessage> take(Tail& tail, std::int64_t wait_ms, bool& any) {
    natsMsg* raw = nullptr;
    if (!tail.subscription) return std::nullopt;
    const natsStatus s = natsSubscription_NextMsg(&raw, tail.subscription.get(), wait_ms);
    const MsgPtr message(raw);
    if (s != NATS_OK) {
      if (s != NATS_TIMEOUT) tail.subscription.reset();
      return std::nullopt;
    }
    any = true;
    tail.heard = Clock::now();
    const std::string_view subject = natsMsg_GetSubject(raw);
    // A message has the subject that it was stored under: only what a consumer says of itself comes under the inbox.
    if (subject == tail.inbox) {
      const std::string last = header_of(raw, "Nats-Last-Consumer");
      if (!last.empty() && std::strtoull(last.c_str(), nullptr, 10) != tail.delivered) tail.subscription.reset();
      return std::nullopt;
    }
    const auto delivery = parse_ack_subject(natsMsg_GetReply(raw));
    if (!delivery || delivery->nth != ++tail.delivered) {  // the library had no room for some
      tail.subscription.reset();
      return std::nullopt;
    }
    std::string id = header_of(raw, "Nats-Msg-Id");
    if (tail.searching && !find(tail, id, *delivery)) return std::nullopt;
    tail.rounds = 0;
    const bool over_again = delivery->sequence < tail.until;
    if (!over_again) tail.next = delivery->sequence + 1;
    tail.caught_up |= delivery->pending == 0;
    const std::string first_stored = header_of(raw, kFirstStored);
    const std::int64_t first_ns = std::strtoll(first_stored.c_str(), nullptr, 10);
    const bool redelivered = !first_stored.empty() && (first_ns <= 0 || !repeats_.reaches(first_ns - kClocksNs));
    if (!(id.empty() ? !over_again : repeats_.first(id, &tail == &tails_.back(), delivery->stored_ns))) return std::nullopt;
    return SiteMessage{.subject = std::string(subject), .payload = data_of(raw), .id = std::move(id), .stream = tail.stream, .sequence = delivery->sequence,
                       .stored_ns = delivery->stored_ns, .redelivered = redelivered};
  }

  /// Whether the message is of what came last. What stands before that was given.
  bool find(Tail& tail, const std::string& id, const Delivery& at) {
    if (repeats_.came(id, at.stored_ns)) {
      tail.searching = false;
      tail.tries = 0;
      return true;
    }
    if (at.pending == 0) not_found(tail);
    return false;
  }

  /// Another consumer looks further back, or begins again a little later.
  void not_found(Tail& tail) {
    const bool further = tail.from > 1 && tail.tries + 1 < kBack.size();
    tail.tries = further ? tail.tries + 1 : 0;
    tail.subscription.reset();
    if (further) tail.again = {};
    else ++tail.rounds;
  }

  std::shared_ptr<Connection> app_;
  std::deque<Tail> tails_;  // they stay where they are
  Repeats repeats_;
  std::shared_ptr<Link> link_;
};

class NatsTableFollower final : public TableFollower {
 public:
  NatsTableFollower(std::shared_ptr<Connection> app, std::function<void(const std::string&)> tell)
      : app_(std::move(app)), tell_(std::move(tell)), thread_([this] { run(); }) {}
  ~NatsTableFollower() override {
    closed_ = true;
    thread_.join();
  }

 private:
  void run() {
    Listener changed(app_, kRouteChanged);
    Clock::time_point due{};
    while (!closed_) {
      if (changed.next(kStepMs)) due = {};
      if (Clock::now() < due) continue;
      due = Clock::now() + (look() ? kTableEvery : kConsumerAgain);
    }
    nats_ReleaseThreadMemory();
  }

  /// Whether there was a table.
  bool look() {
    jsOptions options = js_options(kAsk);
    natsMsg* raw = nullptr;
    const auto link = app_->handles().link();
    if (js_GetLastMsg(&raw, link->js, kRouteTableStream, kRouteTableSubject, &options, nullptr) != NATS_OK) return false;
    const MsgPtr message(raw);
    if (std::string text = data_of(message.get()); text != told_) tell_(told_ = std::move(text));
    return true;
  }

  std::shared_ptr<Connection> app_;
  const std::function<void(const std::string&)> tell_;
  std::string told_;
  std::atomic<bool> closed_ = false;
  std::thread thread_;
};

}  // namespace

Repeats::Repeats(const SitePosition& from, std::size_t remember)
    : owed_(from.owed), recent_(from.recent.begin(), from.recent.end()), remember_(remember), since_ns_(from.since_ns) {
  if (from.next.empty()) since_ns_ = std::numeric_limits<std::int64_t>::min();
  else if (from.since_ns == 0) since_ns_ = std::numeric_limits<std::int64_t>::max();
  for (const std::string& id : from.recent) order_.emplace_back(id, from.since_ns);
}

void Repeats::add_to(SitePosition& position) const {
  const auto begin = order_.end() - static_cast<std::ptrdiff_t>(overlap());
  for (auto at = begin; at != order_.end(); ++at) position.recent.push_back(at->first);
  if (begin != order_.end()) position.since_ns = begin->second;
}

bool Repeats::came(const std::string& id, std::int64_t stored_ns) const {
  const bool from_when = since_ns_ != std::numeric_limits<std::int64_t>::max();
  return recent_.contains(id) && (!from_when || since_ns_ <= stored_ns + kClocksNs);
}

bool Repeats::first(const std::string& id, bool final, std::int64_t stored_ns) {
  if (id.empty()) return true;
  if (recent_.contains(id)) return false;
  if (!final) return owed_.insert(id).second;
  recent_.insert(id);
  order_.emplace_back(id, stored_ns);
  if (since_ns_ == std::numeric_limits<std::int64_t>::max()) since_ns_ = stored_ns;
  if (order_.size() > remember_) {
    recent_.erase(order_.front().first);
    order_.pop_front();
    since_ns_ = std::max(since_ns_, order_.front().second);
  }
  return owed_.erase(id) == 0;
}

std::unique_ptr<SiteReader> read_site(std::shared_ptr<Connection> app, std::vector<std::string> streams, SitePosition from) {
  return std::make_unique<NatsSiteReader>(std::move(app), std::move(streams), std::move(from));
}

std::unique_ptr<TableFollower> follow_table(std::shared_ptr<Connection> app, std::function<void(const std::string&)> tell) {
  return std::make_unique<NatsTableFollower>(std::move(app), std::move(tell));
}

}  // namespace daarion
