// What the simulator does as a tool: one run from a script, batches of seeds, the hunt for planted bugs, shrinking.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/faults.h"
#include "tests/sim/world.h"

namespace daarion::sim {

/// All that a run is made of: the same script is the same run.
struct Script {
  std::uint64_t seed = 0;
  std::uint64_t salt = 0;  // another chance for everything but the faults and the knobs
  Knobs knobs;
  std::vector<Fault> faults;
  std::size_t dealt = 0;         // how many faults the seed dealt
  std::vector<std::string> off;  // knobs turned off
};
Script deal_script(std::uint64_t seed);
/// The arguments of daarion-sim that make this script again.
std::string command_of(const Script& script);

struct Outcome {
  std::uint64_t seed = 0;
  std::string failure;  // empty: nothing was broken
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::uint64_t simulated_ms = 0;
  Duration settled_after{-1};
  Counters counters;
  std::vector<std::uint64_t> marks;
};
Outcome run_script(const Script& script, bool trace);

/// What was broken, without when and who: "invariant 1", "liveness", ...
std::string kind_of(const std::string& failure);

/// What a batch or a hunt leaves in the ledger.
struct Deed {
  std::string tier;
  std::uint64_t seeds = 0;
  std::uint64_t simulated_ms = 0;
  std::uint64_t faults = 0;
  std::string result;
  bool good = false;
};

/// Seeds 1 to `seeds`, every 50th twice. Prints failures, marks, counters and figures.
Deed run_batch(std::uint64_t seeds, unsigned threads, bool all_marks);

/// Plants each bug, or the one named, and runs seeds from 1 on until one breaks an invariant. Prints the table.
Deed hunt_plants(std::uint64_t seeds, unsigned threads, const std::string& only);

/// The shortest script found that still breaks what this one breaks: fewer faults, knobs off, a shorter phase. Deterministic.
/// Pre: it breaks something.
Script shrink(const Script& script);

}  // namespace daarion::sim
