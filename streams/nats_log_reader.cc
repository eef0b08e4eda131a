#include "streams/nats_log_reader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>

#include "streams/bulk_reader.h"
#include "streams/js_request.h"
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
// One get: 1 ms from a healthy server, and on Debian's every live event costs one. Waiting longer for a frozen one would be felt in a
// failover, asking another is cheap.
constexpr Duration kGetLimit = milliseconds(100);
// A fresh message may reach the follower that answers a direct get a little later than us.
constexpr Duration kGetAgain = milliseconds(2);
// Without news the end of the log is asked for this often: a lost tail costs at most this, beats usually tell sooner.
constexpr Duration kLookEvery = milliseconds(500);
constexpr Duration kLookLimit = milliseconds(500);
constexpr Duration kLookStep = milliseconds(50);  // how soon a reader that ends lets go
// No consumer could be made (no meta leader), or it was silent: meanwhile messages are fetched one by one, thousands a second.
constexpr Duration kBulkAgain = std::chrono::seconds(3);
constexpr std::size_t kKept = 64;                   // messages whose memory is kept between reads of the tail

class NatsLogReader final : public LogReader {
 public:
  NatsLogReader(std::vector<LogSource> sources, Sequence from) : sources_(std::move(sources)), want_(from.value) {
    for (const LogSource& source : sources_) {
      Listener* tail = tails_.emplace_back(std::make_unique<Listener>(source.connection, "cluster.events.>")).get();
      threads_.emplace_back([this, tail] { hear_tail(*tail); });
    }
    threads_.emplace_back([this, sources = sources_] { look_on(sources); });
  }

  ~NatsLogReader() override {
    closed_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  Result<std::span<StoredMessage>> read(std::size_t most, Duration wait) override {
    if (taken_at_ < taken_.size()) return give(most);
    const auto end = Clock::now() + wait;
    do {
      // First, and alone while it goes on: what the tail holds is further on.
      if (bulk_) {
        from_bulk(end - Clock::now());
        if (!taken_.empty()) return give(most);
        continue;
      }
      if (from_tail(most)) return give(most);
      if (known_end() < want_) {
        await_news(end);
        continue;
      }
      if (known_end() - want_ >= kBulkGap && Clock::now() >= bulk_after_) begin_bulk();
      if (bulk_) continue;
      if (get(want_)) return give(most);
      std::this_thread::sleep_for(std::min(kGetAgain, std::max(Duration(end - Clock::now()), Duration{})));
    } while (Clock::now() < end);
    return std::span<StoredMessage>{};
  }

  void heard_head(Sequence head) override {
    const std::lock_guard lock(mutex_);
    heard_ = std::max(heard_, head.value);
  }

 private:
  void hear_tail(Listener& tail) {
    while (!closed_) {
      const MsgPtr message = tail.next(kStepMs);
      if (message) take_tail(message.get());
    }
    nats_ReleaseThreadMemory();
  }

  /// Asks for the log's end, on a thread of its own: while the stream has no leader nobody answers, and the tail must not wait for that.
  void look_on(const std::vector<LogSource>& sources) {
    while (!closed_) {
      for (std::size_t i = 0; i < sources.size(); ++i)
        if (!closed_ && sources[i].connection->connected()) look(sources[i]);
      const auto again = Clock::now() + kLookEvery;
      while (!closed_ && Clock::now() < again) std::this_thread::sleep_for(kLookStep);
    }
    nats_ReleaseThreadMemory();
  }

  /// The log's own end is the end, also where more was heard of: a log that lost events does not have them, and asking for them again and
  /// again would be in vain. A mirror may be behind.
  void look(const LogSource& source) {
    std::uint64_t tail = 0, heard = 0;
    {
      const std::lock_guard lock(mutex_);
      tail = tail_end_;
      heard = heard_;
    }
    const auto head = make_nats_log_info(source.connection, source.stream)->head(kLookLimit);
    if (!head) return;
    const std::uint64_t last = head->head.value;
    {
      const std::lock_guard lock(mutex_);
      asked_end_ = std::max(asked_end_, last);
      // Nothing newer was heard since the question.
      if (source.stream == kClusterLog && last < std::max({tail, heard, asked_end_}) && tail == tail_end_ && heard == heard_) {
        tail_end_ = std::min(tail_end_, last);
        heard_ = std::min(heard_, last);
        asked_end_ = last;
        ahead_.erase(ahead_.upper_bound(last), ahead_.end());
      }
    }
    news_.notify_one();
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
      StoredMessage message{.sequence = {at}, .stored_ns = server_time_ns(header_of(m, "Nats-Time-Stamp")),
                            .subject = header_of(m, "Nats-Subject"), .payload = data_of(m)};
      if (message.stored_ns != 0 && ahead_.size() < kAhead) ahead_.insert_or_assign(at, std::move(message));
    }
    news_.notify_one();
  }

  /// What the tail holds from the next one on, without a gap. False: not the next one.
  bool from_tail(std::size_t most) {
    begin_taking();
    const std::lock_guard lock(mutex_);
    ahead_.erase(ahead_.begin(), ahead_.lower_bound(want_));
    for (std::uint64_t at = want_; taken_.size() < most && !ahead_.empty() && ahead_.begin()->first == at; ++at)
      taken_.add() = std::move(ahead_.extract(ahead_.begin()).mapped());
    return !taken_.empty();
  }

  std::uint64_t known_end() {
    const std::lock_guard lock(mutex_);
    return std::max({tail_end_, heard_, asked_end_});
  }

  void await_news(Clock::time_point until) {
    std::unique_lock lock(mutex_);
    news_.wait_until(lock, until, [&] { return std::max(tail_end_, asked_end_) >= want_; });
  }

  void begin_taking() {
    if (!bulk_ && taken_.size() > kKept) taken_ = {};  // catch-up is over
    taken_.clear();
    taken_at_ = 0;
  }

  std::span<StoredMessage> give(std::size_t most) {
    const auto out = taken_.from(taken_at_, most);
    taken_at_ += out.size();
    want_ = out.back().sequence.value + 1;
    return out;
  }

  /// Each source in turn: a mirror that is not there yet answers "no message". One that does not answer goes to the end.
  /// The stream's leader is asked: a replica that came back with what the log has lost may keep it, beside what came later, and a direct get
  /// is answered by any. Only while nobody leads does any do; whoever folds looks at each event once more (LogJudge).
  bool get(std::uint64_t sequence) {
    begin_taking();
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const LogSource& source = sources_[i];
      if (!source.connection->connected()) continue;
      const auto link = source.connection->handles().link();
      auto [s, error, message] = leaders_message(link->js, source.stream, sequence, kGetLimit);
      if (s == NATS_TIMEOUT || static_cast<int>(error) == kNobodyLeads) {
        jsOptions options = js_options(kGetLimit);
        jsDirectGetMsgOptions by{};
        jsDirectGetMsgOptions_Init(&by);
        by.Sequence = sequence;
        natsMsg* raw = nullptr;
        s = js_DirectGetMsg(&raw, link->js, source.stream.c_str(), &options, &by);
        message.reset(raw);
      }
      if (s == NATS_OK && natsMsg_GetSequence(message.get()) == sequence) {
        taken_.add() = {.sequence = {sequence}, .stored_ns = natsMsg_GetTime(message.get()), .subject = natsMsg_GetSubject(message.get()),
                        .payload = data_of(message.get())};
        return true;
      }
      if (s != NATS_TIMEOUT) continue;
      ask_last(i);
      return false;
    }
    return false;
  }

  void ask_last(std::size_t index) {
    const auto at = sources_.begin() + static_cast<std::ptrdiff_t>(index);
    std::rotate(at, at + 1, sources_.end());
  }

  void begin_bulk() {
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (!sources_[i].connection->connected()) continue;
      bulk_ = BulkReader::begin(sources_[i], want_);
      bulk_source_ = i;
      if (bulk_) return;
    }
    bulk_after_ = Clock::now() + kBulkAgain;
  }

  void from_bulk(Duration wait) {
    begin_taking();
    const auto outcome = bulk_->take(taken_, wait);
    if (outcome != BulkReader::Outcome::kGoing) bulk_.reset();  // at the end the tail goes on from here
    if (outcome == BulkReader::Outcome::kStalled) {  // or it is a mirror that is behind: begin again where we are, with another source first
      ask_last(bulk_source_);
      bulk_after_ = Clock::now() + kBulkAgain;
    }
  }

  std::vector<LogSource> sources_;         // in the order in which they are asked
  std::atomic<std::uint64_t> want_;        // the next sequence to give; only the reader writes it
  std::vector<std::unique_ptr<Listener>> tails_;
  std::atomic<bool> closed_ = false;
  std::unique_ptr<BulkReader> bulk_;
  Gulp taken_;                             // from anywhere; given up to taken_at_
  std::size_t taken_at_ = 0;
  std::size_t bulk_source_ = 0;
  Clock::time_point bulk_after_{};
  std::mutex mutex_;                       // guards what follows: the listening threads write it
  std::condition_variable news_;
  std::map<std::uint64_t, StoredMessage> ahead_;
  std::uint64_t heard_ = 0;                // from beats
  std::uint64_t tail_end_ = 0;
  std::uint64_t asked_end_ = 0;
  std::vector<std::thread> threads_;       // last: they use all of the above
};

}  // namespace

std::unique_ptr<LogReader> make_nats_log_reader(std::vector<LogSource> sources, Sequence from) {
  return std::make_unique<NatsLogReader>(std::move(sources), from);
}

std::unique_ptr<LogReader> make_nats_log_reader(const std::vector<std::shared_ptr<Connection>>& connections, const std::string& stream,
                                                Sequence from) {
  std::vector<LogSource> sources;
  for (const auto& connection : connections) sources.push_back({connection, stream});
  return make_nats_log_reader(std::move(sources), from);
}

}  // namespace daarion
