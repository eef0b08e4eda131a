// The one source of chance in a simulation: same seed, same run.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}

  /// From [low, high], both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  Duration between(Duration low, Duration high) { return Duration(between(low.count(), high.count())); }
  bool chance(double p) { return static_cast<double>(engine_() >> 11) * 0x1.0p-53 < p; }
  std::uint64_t bits() { return engine_(); }
  template <class T>
  const T& pick(const std::vector<T>& items) {
    return items[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(items.size()) - 1))];
  }
  template <class Tag>
  StrongId<Tag> id() {
    return {engine_() | 1, engine_()};
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace daarion::sim
