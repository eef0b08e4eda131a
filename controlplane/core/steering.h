// Keeps raft leaders off the nodes that hold leases. A step-down costs 0.28 s of appends, an election after a death 4 to 9 s: a
// node that is holder and leader at once would make its own failover wait for that election. Primaries that an engine elected by itself come
// third: their failover does not wait for the log, but what the log says of it does. Second are nodes that are drained: they are about to be stopped.
#pragma once

#include "controlplane/core/decider.h"
#include "controlplane/core/io.h"

namespace daarion {

class Steering {
 public:
  /// Which leaders should step down now. Only the first live voter steers, not more often than every 2 s each,
  /// and not while a voter has been silent for 1 to 5 s: its server might be handed the lead, and be dead.
  std::vector<StepDown> advance(const DeciderContext& context, const LeadersSeen& leaders, Instant now);

 private:
  Instant last_log_{};
  Instant last_meta_{};
};

}  // namespace daarion
