#include "tests/harness/stalls.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace daarion::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kTick{5};
constexpr milliseconds kNoted{10};     // shorter ones are ordinary scheduling
constexpr std::size_t kKept = 4096;    // the newest

class Ticker {
 public:
  Ticker() : thread_([this] { run(); }) {}
  ~Ticker() {
    closed_ = true;
    thread_.join();
  }
  milliseconds longest(Clock::time_point from) {
    const std::lock_guard lock(mutex_);
    if (from == Clock::time_point{}) return longest_;
    milliseconds out{};
    for (const Stall& stall : stalls_)
      if (stall.end > from) out = std::max(out, std::chrono::duration_cast<milliseconds>(std::min(stall.length, stall.end - from)));
    return out;
  }

 private:
  struct Stall {
    Clock::time_point end;
    Clock::duration length;
  };
  void run() {
    sched_param high{.sched_priority = 50};
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &high);  // where it is not allowed, a busy machine looks like a stall too
    Clock::time_point last = Clock::now();
    while (!closed_) {
      std::this_thread::sleep_for(kTick);
      const auto now = Clock::now();
      const auto late = now - last - kTick;
      last = now;
      if (late < kNoted) continue;
      const std::lock_guard lock(mutex_);
      longest_ = std::max(longest_, std::chrono::duration_cast<milliseconds>(late));
      stalls_.push_back({now, late});
      if (stalls_.size() > kKept) stalls_.pop_front();
    }
  }
  std::mutex mutex_;
  std::deque<Stall> stalls_;
  milliseconds longest_{};
  std::atomic<bool> closed_ = false;
  std::thread thread_;
};

Ticker ticker;  // from before main(): whoever measures need not remember to begin it

}  // namespace

milliseconds longest_stall(Clock::time_point from) { return ticker.longest(from); }

long long steal_ms() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  long long field[8] = {};
  stat >> cpu;
  for (long long& f : field) stat >> f;
  return field[7] * 1000 / sysconf(_SC_CLK_TCK);
}

}  // namespace daarion::test
