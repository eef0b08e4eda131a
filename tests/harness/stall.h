// Whether the machine itself stopped while something was measured.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::test {

/// A thread at real-time priority (where allowed) that wakes every 5 ms and notes how much too late: nothing of ours can hold it up,
/// so what does is the machine, or its hypervisor. Instants are steady_clock's, as seen by now().
class StallTicker {
 public:
  StallTicker();
  ~StallTicker();
  StallTicker(const StallTicker&) = delete;
  StallTicker& operator=(const StallTicker&) = delete;
  static Duration now();
  /// The longest stop seen since `from`, a reading of now(). At least 5 ms long ones are known.
  Duration longest_since(Duration from) const;
  bool real_time() const { return real_time_; }

 private:
  struct Stop {
    Duration at, length;
  };
  std::atomic<bool> ending_ = false;
  std::atomic<bool> real_time_ = false;
  mutable std::mutex mutex_;
  std::vector<Stop> stops_;
  std::thread thread_;
};

}  // namespace daarion::test
