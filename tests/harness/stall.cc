#include "tests/harness/stall.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>

namespace daarion::test {
namespace {

constexpr std::chrono::milliseconds kEvery{5};
constexpr std::size_t kMostStops = 100'000;

}  // namespace

Duration StallTicker::now() { return std::chrono::steady_clock::now().time_since_epoch(); }

StallTicker::StallTicker() : thread_([this] {
  // Above daemons and servers; children that are forked meanwhile do not inherit it.
  sched_param priority{};
  priority.sched_priority = 50;
  real_time_ = pthread_setschedparam(pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) == 0;
  while (!ending_) {
    const Duration before = now();
    std::this_thread::sleep_for(kEvery);
    const Duration late = now() - before - kEvery;
    if (late < kEvery) continue;
    const std::lock_guard lock(mutex_);
    if (stops_.size() < kMostStops) stops_.push_back({before, late});
  }
}) {}

StallTicker::~StallTicker() {
  ending_ = true;
  thread_.join();
}

Duration StallTicker::longest_since(Duration from) const {
  const std::lock_guard lock(mutex_);
  Duration longest{};
  for (const Stop& s : stops_)
    if (s.at + kEvery + s.length >= from) longest = std::max(longest, s.length);
  return longest;
}

}  // namespace daarion::test
