#include "controlplane/health/round_trips.h"

#include <algorithm>
#include <chrono>

#include "controlplane/health/probe.h"

namespace daarion {
namespace {
constexpr Duration kLimit = std::chrono::seconds(1);           // beyond it a node is as good as unreachable from here
constexpr Duration kStep = std::chrono::milliseconds(100);     // how soon the thread ends
}  // namespace

RoundTripMeter::RoundTripMeter(std::vector<std::pair<NodeId, std::string>> others, std::uint32_t port, Duration every)
    : others_(std::move(others)), port_(port), every_(every), thread_([this] { run(); }) {}

RoundTripMeter::~RoundTripMeter() {
  ending_ = true;
  thread_.join();
}

RoundTrips RoundTripMeter::newest() const {
  const std::lock_guard lock(mutex_);
  RoundTrips out;
  for (const auto& [node, samples] : seen_)
    if (!samples.empty()) out[node] = *std::ranges::min_element(samples);
  return out;
}

void RoundTripMeter::run() {
  while (!ending_) {
    for (const auto& [node, address] : others_) {
      const auto took = connect_time(address, port_, kLimit);
      const std::lock_guard lock(mutex_);
      std::deque<double>& samples = seen_[node];
      if (!took) samples.clear();
      else samples.push_back(std::chrono::duration<double, std::milli>(*took).count());
      if (samples.size() > kKept) samples.pop_front();
      if (ending_) return;
    }
    for (Duration slept{}; slept < every_ && !ending_; slept += kStep) std::this_thread::sleep_for(std::min(kStep, every_));
  }
}

}  // namespace daarion
