// Which faults a run makes, in which order: a function of seed and minutes alone. Pure.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/chaos/kind.h"

namespace daarion::chaos {

/// Chance that is the same on every machine: the standard's distributions are not.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : next_(seed) {}
  /// For one fault of a run: not moved by what other faults drew.
  Chance(std::uint64_t seed, const std::string& name, std::size_t round);
  std::uint64_t below(std::uint64_t n) { return next_() % n; }
  bool coin() { return below(2) == 0; }
  template <class T>
  const T& one_of(const std::vector<T>& from) { return from[below(from.size())]; }

 private:
  std::mt19937_64 next_;
};

/// Dealt, not drawn: the quick ones first, shuffled, if all do not fit; else every kind once, shuffled, and again from the start while
/// there is time. Names of kinds; those that cannot be made are left out.
std::vector<std::string> deal(const std::vector<Kind>& kinds, std::uint64_t seed, double minutes);

}  // namespace daarion::chaos
