// daarion-guard: a pair of processes that own one engine. See keeper.h and watcher.h; daariond starts it (guard_client.cc).
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <time.h>

#include "controlplane/node/guard/keeper.h"
#include "controlplane/node/guard/processes.h"
#include "controlplane/node/guard/watcher.h"

namespace {

using namespace daarion::guard;

constexpr int kPriority = 20;        // above the daemon's protocol thread: the fence is what must not be late
constexpr int kStrayLimitMs = 5000;
constexpr int kLockLimitMs = 10'000; // an earlier pair that is still ending its engine

int usage() {
  std::fprintf(stderr, "usage: daarion-guard --socket PATH --data-dir PATH [--cgroup PATH]\n"
                       "Started by daariond, one pair per engine: it starts the engine, and ends it when the lease ends.\n");
  return 2;
}

bool in_page(const std::string& path, const char* text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = write(fd, text, std::strlen(text)) > 0;
  close(fd);
  return ok;
}

/// What is allowed here is taken; a guard without it still fences, only later under load.
void harden() {
  sched_param high{.sched_priority = kPriority};
  if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &high) != 0) std::fprintf(stderr, "daarion-guard: real-time priority is not allowed here\n");
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) std::fprintf(stderr, "daarion-guard: locking memory is not allowed here\n");
  if (!in_page("/proc/self/oom_score_adj", "-1000")) std::fprintf(stderr, "daarion-guard: the kernel may choose it when memory runs out\n");
}

/// Both guards hold the lock by one open file: it is free when both are gone, and not before.
int take_lock(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  const timespec step{0, 10'000'000};
  for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += 10) {
    if (waited >= kLockLimitMs) {
      close(fd);
      return -1;
    }
    nanosleep(&step, nullptr);
  }
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  Setup setup;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--socket") setup.socket = argv[i + 1];
    else if (key == "--data-dir") setup.data_dir = argv[i + 1];
    else if (key == "--cgroup") setup.cgroup = argv[i + 1];
    else return usage();
  }
  if (argc % 2 == 0 || setup.socket.empty() || setup.data_dir.empty()) return usage();
  // Ended by their daemon or by the deadline, and by nothing softer than SIGKILL: a service manager's SIGTERM goes to all at once.
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGUSR1, SIGUSR2}) signal(s, SIG_IGN);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
  if (take_lock(setup.socket + ".lock") < 0) {
    std::fprintf(stderr, "daarion-guard: %s.lock is held: another pair runs, or still ends its engine\n", setup.socket.c_str());
    return 1;
  }
  if (!kill_strays(setup.data_dir, noted_program(setup.socket), kStrayLimitMs)) {
    std::fprintf(stderr, "daarion-guard: processes of an earlier engine in %s do not end\n", setup.data_dir.c_str());
    return 1;
  }
  if (!setup.cgroup.empty() && !make_cgroup(setup.cgroup)) {
    std::fprintf(stderr, "daarion-guard: no cgroup %s here: every descendant is killed one by one instead\n", setup.cgroup.c_str());
    setup.cgroup.clear();
  }
  while (!cgroup_empty(setup.cgroup)) kill_cgroup(setup.cgroup);
  void* shared = mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  Page& page = *new (shared) Page;
  become_subreaper();
  prctl(PR_SET_NAME, "daarion-watcher");
  const pid_t watcher = getpid();
  const pid_t keeper = fork();
  if (keeper < 0) return 1;
  harden();  // each for itself: neither priority nor locked memory passes to a child
  if (keeper > 0) {
    const int code = watch(keeper, page, setup.cgroup);
    if (code == 0) unlink(setup.socket.c_str());
    return code;
  }
  prctl(PR_SET_NAME, "daarion-keeper");
  become_subreaper();
  if (getppid() != watcher) return 1;  // it died before this one could watch it
  return Keeper(setup, page, watcher).serve();
}
