// The faults of a simulated run: dealt up front from its seed, each with a chance of its own, so that leaving one out changes no other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/knobs.h"

namespace daarion::sim {

class World;

struct Fault {
  int number = 0;            // from 1: its name in a script
  Duration at{};             // world time
  FaultKind kind = FaultKind::kDaemon;
  std::uint64_t chance = 0;  // of whom it meets and how long it lasts
  bool operator==(const Fault&) const = default;
};

/// The faults of a seed in order of time, numbered. Pure.
std::vector<Fault> deal_faults(std::uint64_t seed, const Knobs& knobs);

/// Lets it happen now.
void perform_fault(World& world, const Fault& fault);

std::string text_of(const Fault& fault);

}  // namespace daarion::sim
