// Whether the machine itself stood still beside a measurement: a thread at real-time priority that only wakes up, and notes when it was late.
#pragma once

#include <chrono>

namespace daarion::test {

/// Runs for the whole life of the process. Threads: any.
/// The longest time for which it was not woken, since `from`; the epoch of time: since the process began.
std::chrono::milliseconds longest_stall(std::chrono::steady_clock::time_point from = {});

/// CPU time that the hypervisor took from this machine since its boot, all cores together. Source: /proc/stat, in steps of 10 ms.
long long steal_ms();

/// Beside one measurement: whether the machine took more than 200 ms from it, so that it says nothing about what was measured.
class Disturbance {
 public:
  Disturbance() : begun_(std::chrono::steady_clock::now()), steal_(steal_ms()) {}
  bool disturbed() const { return longest_stall(begun_) > kLimit || steal_ms() - steal_ > kLimit.count(); }

 private:
  static constexpr std::chrono::milliseconds kLimit{200};
  std::chrono::steady_clock::time_point begun_;
  long long steal_;
};

}  // namespace daarion::test
