// How long the way to the other nodes is: a TCP connection to each, now and then. A refusal tells the time as well as an answer.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "controlplane/core/geo.h"
#include "controlplane/core/types.h"

namespace daarion {

/// Threads: any; it has one of its own.
class RoundTripMeter {
 public:
  /// `others`: node and address. The port need not be open, only not filtered.
  RoundTripMeter(std::vector<std::pair<NodeId, std::string>> others, std::uint32_t port, Duration every = std::chrono::seconds(5));
  ~RoundTripMeter();

  /// The least of the newest few of each; those that did not answer the last time are left out.
  RoundTrips newest() const;

 private:
  void run();

  static constexpr std::size_t kKept = 6;  // the least of them: what else the machines did counts for nothing
  const std::vector<std::pair<NodeId, std::string>> others_;
  const std::uint32_t port_;
  const Duration every_;
  mutable std::mutex mutex_;
  std::map<NodeId, std::deque<double>> seen_;  // guarded by mutex_
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace daarion
