#include "controlplane/node/clock.h"

#include <time.h>

namespace daarion {
namespace {

Duration read(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace

Instant node_now() {
  // The difference of the two slewed clocks is the time suspended: it is constant while the machine is awake, up to the few
  // hundred ns between the two reads.
  const Duration slept = read(CLOCK_BOOTTIME) - read(CLOCK_MONOTONIC);
  return Instant(read(CLOCK_MONOTONIC_RAW) + slept);
}

Duration node_uptime() { return read(CLOCK_BOOTTIME); }

}  // namespace daarion
