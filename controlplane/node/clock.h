// NodeClock's now(): CLOCK_MONOTONIC_RAW + (CLOCK_BOOTTIME - CLOCK_MONOTONIC). Not slewed, and a suspended machine counts its sleep.
// The same on every process of one host.
#pragma once

#include "controlplane/core/types.h"

namespace daarion {

/// Nanoseconds since some moment before this boot. Source: clock_gettime, three reads.
Instant node_now();

/// How long this boot has lasted, sleep included. Source: CLOCK_BOOTTIME.
Duration node_uptime();

}  // namespace daarion
