#include "tests/harness/service.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <numeric>

#include "streams/nats_handles.h"

namespace daarion::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTry(500);  // one try's wait for an ack: what finds no leader is not answered, and not kept for the next one
constexpr milliseconds kAgain(50);
constexpr int kRestartEvery = 700;  // messages of a consumer

}  // namespace

bool full_size_is_asked_for() {
  std::ifstream parent("/proc/" + std::to_string(getppid()) + "/cmdline");
  const std::string words((std::istreambuf_iterator<char>(parent)), {});
  return std::getenv("ROUTING_FULL") != nullptr || words.find("routing-full") != std::string::npos;
}

Publisher::Publisher(const NatsEndpoint& as, std::string origin, const std::vector<std::string>& subjects, int least, const std::atomic<bool>& until, milliseconds pace)
    : connection_(Connection::open(as).value()), origin_(std::move(origin)) {
  for (const std::string& subject : subjects) lines_.emplace_back(std::make_unique<Line>())->subject = subject;
  for (const auto& line : lines_) line->thread = std::thread([this, &line = *line, least, &until, pace] { run(line, least, until, pace); });
}

Publisher::~Publisher() { join(); }

void Publisher::join() {
  for (const auto& line : lines_)
    if (line->thread.joinable()) line->thread.join();
}

int Publisher::acked() const {
  return std::accumulate(lines_.begin(), lines_.end(), 0, [](int sum, const auto& line) { return sum + line->acked; });
}

int Publisher::acked_of(const std::string& subject) const {
  const auto line = std::ranges::find(lines_, subject, &Line::subject);
  return line == lines_.end() ? 0 : (*line)->acked.load();
}

bool Publisher::put(const std::string& subject, const std::string& payload) {
  jsPubOptions options{};
  jsPubOptions_Init(&options);
  options.MaxWait = kTry.count();
  options.MsgId = payload.c_str();
  jsPubAck* raw = nullptr;
  const auto link = connection_->handles().link();
  const natsStatus s = js_Publish(&raw, link->js, subject.c_str(), payload.data(), static_cast<int>(payload.size()), &options, nullptr);
  const PubAckPtr ack(raw);
  return s == NATS_OK;
}

void Publisher::run(Line& line, int least, const std::atomic<bool>& until, milliseconds pace) {
  for (int n = 0; n < least || !until; ++n) {
    const std::string payload = origin_ + " " + line.subject.substr(0, line.subject.find('.')) + " " + std::to_string(n);
    while (!put(line.subject, payload)) std::this_thread::sleep_for(kAgain);
    ++line.acked;
    {
      const std::lock_guard lock(mutex_);
      line.done.push_back(Clock::now());
    }
    std::this_thread::sleep_for(pace);
  }
  nats_ReleaseThreadMemory();
}

/// One that was on its way when the server died counts from when it came through.
std::vector<double> Publisher::first_after_ms(Clock::time_point from) const {
  const std::lock_guard lock(mutex_);
  std::vector<double> out;
  for (const auto& line : lines_) {
    const auto first = std::ranges::upper_bound(line->done, from);
    if (first == line->done.end()) return {};
    out.push_back(std::chrono::duration<double, std::milli>(*first - from).count());
  }
  std::ranges::sort(out);
  return out;
}

double Publisher::longest_gap_ms(Clock::time_point from) const {
  const std::lock_guard lock(mutex_);
  Duration longest{};
  for (const auto& line : lines_) {
    auto before = from;
    for (auto at = std::ranges::upper_bound(line->done, from); at != line->done.end(); before = *at++) longest = std::max<Duration>(longest, *at - before);
    longest = std::max<Duration>(longest, Clock::now() - before);
  }
  return std::chrono::duration<double, std::milli>(longest).count();
}

SiteConsumer::SiteConsumer(Open open) : open_(std::move(open)), thread_([this] { run(); }) {}

SiteConsumer::SiteConsumer(std::unique_ptr<client::Client> client, const std::string& rule)
    : client_(std::move(client)), open_([this, rule](const SitePosition& position) { return client_->read(rule, position); }), thread_([this] { run(); }) {}

SiteConsumer::~SiteConsumer() {
  closed_ = true;
  thread_.join();
}

void SiteConsumer::run() {
  SitePosition position;
  for (int starts = 1; !closed_; ++starts) {
    const auto reader = open_(position);
    for (int n = 0; n < kRestartEvery && !closed_;) {
      const auto message = reader->next(milliseconds(100));
      if (message && !*message) continue;
      const std::lock_guard lock(mutex_);
      if (!message) {
        trouble_ = message.error().message;
        closed_ = true;
        break;
      }
      ++n;
      take(**message, starts);
    }
    position = reader->position();
  }
  nats_ReleaseThreadMemory();
}

void SiteConsumer::take(const SiteMessage& message, int starts) {
  const Where where{message.stream, message.sequence, message.stored_ns, starts};
  const auto [before, fresh] = where_.try_emplace(message.id, where);
  if (!fresh && message.redelivered) return void(++known_again_);
  if (!fresh && first_repeat_.empty()) first_repeat_ = "\"" + message.id + "\" at " + before->second.text() + ", then at " + where.text();
  given_.push_back(message.id);
}

std::string SiteConsumer::Where::text() const {
  return stream + " " + std::to_string(sequence) + " stored " + std::to_string(stored_ns) + " after " + std::to_string(starts) + " starts";
}

std::string SiteConsumer::first_repeat() const {
  const std::lock_guard lock(mutex_);
  return first_repeat_;
}

std::vector<std::string> SiteConsumer::given() const {
  const std::lock_guard lock(mutex_);
  return given_;
}

std::size_t SiteConsumer::count() const {
  const std::lock_guard lock(mutex_);
  return given_.size();
}

std::string SiteConsumer::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

int count_of(const std::vector<std::string>& given, const std::string& origin) {
  return static_cast<int>(std::ranges::count_if(given, [&](const std::string& id) { return id.starts_with(origin + " "); }));
}

std::string faults_of(const std::vector<std::string>& given, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  std::map<std::string, int> next;
  for (const std::string& id : given) {
    int& wanted = next[id.substr(0, id.find(' '))];
    if (std::atoi(id.substr(id.rfind(' ') + 1).c_str()) != wanted) return "\"" + id + "\" came where number " + std::to_string(wanted) + " should have come";
    ++wanted;
  }
  for (const auto& publisher : publishers)
    if (next[publisher->origin()] != publisher->acked())
      return "of " + publisher->origin() + " came " + std::to_string(next[publisher->origin()]) + " of " + std::to_string(publisher->acked());
  return {};
}

}  // namespace daarion::test
