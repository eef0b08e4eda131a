#include "controlplane/node/clock.h"

#include <gtest/gtest.h>
#include <time.h>

namespace daarion {
namespace {
using std::chrono::milliseconds;
using std::chrono::seconds;

// A machine that has been awake for the true time, and suspended for an hour before. Its process is stopped before one of the reads.
Duration true_time{};
int reads = 0, stopped_before = 0;

Duration read_stopped(int clock) {
  if (++reads == stopped_before) true_time += seconds(1);
  return clock == CLOCK_BOOTTIME ? true_time + seconds(3600) : true_time;
}

TEST(NodeClock, AStopBetweenItsReadsNeverMakesItLate) {
  for (stopped_before = 0; stopped_before <= 4; ++stopped_before) {
    true_time = seconds(100);
    reads = 0;
    const Instant called = Instant(true_time + seconds(3600));
    const Instant now = node_time(read_stopped);
    EXPECT_LE(now, Instant(true_time + seconds(3600))) << "stopped before read " << stopped_before << ": a lease would be stretched";
    EXPECT_GE(now, called) << "stopped before read " << stopped_before << ": time would go back";
  }
}

TEST(NodeClock, GoesOn) {
  const Instant first = node_now();
  timespec nap{0, 2'000'000};
  nanosleep(&nap, nullptr);
  EXPECT_GE(node_now() - first, milliseconds(1));
  EXPECT_GT(node_uptime(), Duration{});
}

}  // namespace
}  // namespace daarion
