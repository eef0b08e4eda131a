#include "tests/routing/ear.h"

#include <algorithm>
#include <charconv>

namespace daarion::test {
namespace {

constexpr std::chrono::milliseconds kAgain(50);
constexpr double kSameMoment = 1, kDay = 86'400;  // s

}  // namespace

void Remakings::look(const std::shared_ptr<Link>& link) {
  natsStatistics* raw = nullptr;
  if (natsStatistics_Create(&raw) != NATS_OK) return;
  std::uint64_t times = 0;
  if (natsConnection_GetStats(link->nc, raw) == NATS_OK) natsStatistics_GetCounts(raw, nullptr, nullptr, nullptr, nullptr, &times);
  natsStatistics_Destroy(raw);
  if (link_ && (link != link_ || times != of_link_)) {
    const std::lock_guard lock(mutex_);
    when_.push_back(std::chrono::steady_clock::now());
  }
  link_ = link, of_link_ = times;
}

double Remakings::since(Time at) const {
  const std::lock_guard lock(mutex_);
  double out = kDay;
  for (const Time when : when_)
    if (const double s = std::chrono::duration<double>(at - when).count(); s > -kSameMoment) out = std::min(out, std::max(s, 0.0));
  return out;
}

Ear::Ear(const NatsEndpoint& as) : connection_(Connection::open(as).value()), thread_([this] { run(); }) {}

void Ear::run() {
  std::shared_ptr<Link> link;
  Subscription all;
  while (!closed_) {
    if (auto now = connection_->handles().link(); now != link) {
      link = std::move(now);
      natsSubscription* raw = nullptr;
      if (natsConnection_SubscribeSync(&raw, link->nc, ">") != NATS_OK) {
        link.reset();
        std::this_thread::sleep_for(kAgain);
        continue;
      }
      natsSubscription_SetPendingLimits(raw, -1, -1);
      all.take(link, raw);
    }
    natsMsg* got = nullptr;
    const bool none = natsSubscription_NextMsg(&got, all.get(), kAgain.count()) != NATS_OK;
    remakings_.look(link);
    if (none) continue;
    const MsgPtr message(got);
    const std::string_view subject = natsMsg_GetSubject(got);
    if (subject.starts_with("_") || subject.starts_with("$")) continue;
    int number = 0;
    const std::string_view payload(natsMsg_GetData(got), static_cast<std::size_t>(natsMsg_GetDataLength(got)));
    const bool counts = std::from_chars(payload.begin(), payload.end(), number).ec == std::errc{};
    const std::lock_guard lock(mutex_);
    ++heard_[std::string(subject)];
    if (counts) take(std::string(subject), number);
  }
  all.reset();
  nats_ReleaseThreadMemory();
}

void Ear::take(const std::string& subject, int number) {
  auto& [count, came] = counts_[subject];
  const auto at = static_cast<std::size_t>(std::max(number, 0));
  if (came.size() <= at) came.resize(at + 1);
  ++(came[at] ? count.repeats : count.came);
  came[at] = true;
  if (count.newest >= 0 && number > count.newest + 1) count.gaps.push_back({count.newest + 1, number - 1, std::chrono::steady_clock::now()});
  count.newest = std::max(count.newest, number);
}

Ear::~Ear() {
  closed_ = true;
  thread_.join();
}

std::map<std::string, int> Ear::heard() const {
  const std::lock_guard lock(mutex_);
  return heard_;
}

Ear::Count Ear::count(const std::string& subject) const {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(subject);
  if (found == counts_.end()) return {};
  Count out = found->second.count;
  const auto came = [&](int number) { return found->second.came[static_cast<std::size_t>(number)]; };
  std::erase_if(out.gaps, [&](Gap& gap) {
    while (gap.from <= gap.to && came(gap.from)) ++gap.from;
    while (gap.from <= gap.to && came(gap.to)) --gap.to;
    return gap.from > gap.to;
  });
  return out;
}

}  // namespace daarion::test
