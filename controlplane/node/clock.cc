#include "controlplane/node/clock.h"

#include <time.h>

namespace daarion {
namespace {

Duration read_system(int id) {
  timespec t{};
  clock_gettime(id, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace

Instant node_time(Duration (*read)(int clock)) {
  // The difference of the two slewed clocks is the time suspended: it is constant while the machine is awake. Whoever is stopped between
  // two of the reads must not see a time that is yet to come: it would stretch a lease. In this order a stop makes the time too early, and
  // never earlier than the call.
  const Duration up = read(CLOCK_BOOTTIME);
  const Duration awake = read(CLOCK_MONOTONIC);
  const Duration raw = read(CLOCK_MONOTONIC_RAW);
  return Instant(raw + (up - awake));
}

Instant node_now() { return node_time(read_system); }

Duration node_uptime() { return read_system(CLOCK_BOOTTIME); }

}  // namespace daarion
