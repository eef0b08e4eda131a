#include "tests/harness/busy_loops.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace daarion::test {

BusyLoops::BusyLoops(unsigned per_core, int nice) {
  const unsigned count = per_core * std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < count; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      (void)::setpriority(PRIO_PROCESS, 0, nice);
      volatile unsigned long spin = 0;
      for (;;) spin = spin + 1;
    }
    if (child > 0) children_.push_back(child);
  }
}

BusyLoops::~BusyLoops() {
  for (const pid_t child : children_) ::kill(child, SIGKILL);
  for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
}

}  // namespace daarion::test
