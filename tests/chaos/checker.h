// One fault, and what is proved of it afterwards.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/chaos/judge.h"
#include "tests/chaos/kind.h"
#include "tests/chaos/world.h"

namespace daarion::chaos {

struct Verdict {
  std::string kind;
  double outage_ms = 0;       // longest time without an acknowledged write
  double election_ms = 0;     // of it the log had no leader: nats-server's own time, which comes on top of the limit
  double recovery_ms = 0;     // from the heal to everything as before, the replicas of the log included
  double stray_ms = 0;        // from the first to the last write of a node without an epoch
  std::size_t strays = 0, lost = 0, promotions = 0;
  std::vector<std::string> violations;  // of safety, or of what the kind may cost
  bool timing_only = true;    // all violations are of how long it took: a machine that stood still is an excuse
  bool broken = false;        // the cluster did not come back: the next fault needs a new one
};

/// Rows that were acknowledged and are gone, each within an announced bound: they may be missing at the end.
using LostRows = std::set<std::pair<std::string, std::uint64_t>>;

/// Makes the fault and checks what was seen. Throws test::Failed only if the cluster was not whole before.
Verdict run_fault(World& world, const Kind& kind, std::uint64_t seed, std::size_t round, LostRows& lost);

/// At the end: every acknowledged row is there but for `lost`; the whole log replayed gives one digest on every node and in the edge's
/// mirror. Returns violations.
std::vector<std::string> check_end(World& world, const LostRows& lost);

}  // namespace daarion::chaos
