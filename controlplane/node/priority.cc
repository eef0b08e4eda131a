#include "controlplane/node/priority.h"

#include <sched.h>
#include <sys/resource.h>

namespace daarion {
namespace {

// Nine times the share of an ordinary process: enough to be woken before it, not enough to starve it.
constexpr int kPreferredNice = -10;

}  // namespace

void prefer_this_thread() {
  const sched_param none{.sched_priority = 0};
  if (sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none) == 0) (void)setpriority(PRIO_PROCESS, 0, kPreferredNice);
}

// On Linux both are of the calling thread alone.
PreferredChildren::PreferredChildren() : before_(getpriority(PRIO_PROCESS, 0)) { (void)setpriority(PRIO_PROCESS, 0, kPreferredNice); }
PreferredChildren::~PreferredChildren() { (void)setpriority(PRIO_PROCESS, 0, before_); }

}  // namespace daarion
