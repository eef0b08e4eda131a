// The faults of a simulated run, dealt from its seed.
#pragma once

#include "tests/sim/world.h"

namespace daarion::sim {

/// Schedules knobs().faults faults and the operator's doings between the two times.
void schedule_faults(World& world, Instant from, Instant until);

}  // namespace daarion::sim
