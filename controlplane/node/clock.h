// NodeClock's now(): CLOCK_MONOTONIC_RAW + (CLOCK_BOOTTIME - CLOCK_MONOTONIC). Not slewed, and a suspended machine counts its sleep.
// The same on every process of one host.
#pragma once

#include "controlplane/core/types.h"

namespace daarion {

/// Nanoseconds since some moment before this boot. Source: clock_gettime, three reads.
Instant node_now();

/// The same of other clocks: for tests. read: a clock of clock_gettime's.
Instant node_time(Duration (*read)(int clock));

/// How long this boot has lasted, sleep included. Source: CLOCK_BOOTTIME.
Duration node_uptime();

}  // namespace daarion
