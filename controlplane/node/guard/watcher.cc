#include "controlplane/node/guard/watcher.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "controlplane/node/clock.h"
#include "controlplane/node/guard/processes.h"

namespace daarion::guard {
namespace {

// How often the page is looked at. The deadline lies fence_budget (500 ms) before the lease's end.
constexpr int kLookMs = 20;
// What the keeper is given to begin after the deadline, and between two pulses of a fence that it works on.
constexpr std::int64_t kGraceNs = 100'000'000;

std::int64_t now_ns() { return node_now().time_since_epoch().count(); }

/// Pre: the keeper is dead or was sent SIGKILL: everything below it becomes this process's own.
void end_everything(Page& page, const std::string& cgroup) {
  begin_fence(page);
  do {
    kill_cgroup(cgroup);
    kill_until_empty([&] { kill_cgroup(cgroup); });
  } while (!cgroup_empty(cgroup));
}

}  // namespace

int watch(pid_t keeper, Page& page, const std::string& cgroup) {
  const int handle = static_cast<int>(syscall(SYS_pidfd_open, keeper, 0));
  std::uint64_t pulse = page.pulse.load();
  std::int64_t pulse_at = now_ns();
  bool was_fencing = false;
  for (;;) {
    pollfd fd{handle, POLLIN, 0};
    (void)poll(&fd, 1, kLookMs);
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(keeper), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == keeper) break;  // it ended
    const std::int64_t now = now_ns();
    const std::int64_t deadline = page.deadline.load();
    const bool fencing = deadline == kFencing;
    const std::uint64_t beat = page.pulse.load();
    if (beat != pulse || fencing != was_fencing) pulse = beat, pulse_at = now;
    was_fencing = fencing;
    const bool late = fencing ? now - pulse_at > kGraceNs : deadline != kNoDeadline && now - deadline > kGraceNs;
    // The swap decides: an extension that came first has saved it.
    if (!late || (!fencing && !fence_if_due(page, now - kGraceNs))) continue;
    kill(keeper, SIGKILL);
    end_everything(page, cgroup);
    // Words last: a log that blocks must not hold up the fence.
    std::fprintf(stderr, "daarion-guard[%d] the keeper %d did not fence: ended it and everything below\n", getpid(), keeper);
    return 1;
  }
  int status = 0;
  const bool clean = waitpid(keeper, &status, 0) == keeper && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  end_everything(page, cgroup);
  return clean ? 0 : 1;
}

}  // namespace daarion::guard
