// daarion-guard: a pair of processes that own one engine. See keeper.h and watcher.h; daariond starts it (guard_client.cc).
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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
constexpr int kLockLimitMs = 3000;    // an earlier pair that is still ending its engine
constexpr rlim_t kPlentyBytes = 256 << 20;

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
  prepare_to_kill();
  sched_param high{.sched_priority = kPriority};
  if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &high) != 0) std::fprintf(stderr, "daarion-guard: real-time priority is not allowed here\n");
  // Where little may be locked, a later growth of heap or stack past the limit would end the guard: then only what is there now.
  rlimit lockable{};
  const bool all = getrlimit(RLIMIT_MEMLOCK, &lockable) == 0 && (geteuid() == 0 || lockable.rlim_cur >= kPlentyBytes);
  if (mlockall(all ? MCL_CURRENT | MCL_FUTURE : MCL_CURRENT) != 0) std::fprintf(stderr, "daarion-guard: locking memory is not allowed here\n");
  if (!in_page("/proc/self/oom_score_adj", "-1000")) std::fprintf(stderr, "daarion-guard: the kernel may choose it when memory runs out\n");
}

void make_parents(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) mkdir(path.substr(0, at).c_str(), 0755);
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
  // Beside the data, not in the run folder: two daemons with different run folders still have one data directory.
  const std::string lock = beside_data(setup.data_dir, "lock");
  make_parents(lock);
  if (take_lock(lock) < 0) {
    std::fprintf(stderr, "daarion-guard: %s is held: another pair runs here, or still ends its engine\n", lock.c_str());
    return 1;
  }
  std::string why;
  if (kill_strays(setup.data_dir, noted_program(setup.data_dir), kStrayLimitMs, why) != Strays::kNone) {
    std::fprintf(stderr, "daarion-guard: an earlier engine may still run in %s: %s\n", setup.data_dir.c_str(), why.c_str());
    return 1;
  }
  if (!setup.cgroup.empty() && !make_cgroup(setup.cgroup)) {
    std::fprintf(stderr, "daarion-guard: no cgroup %s here: every descendant is killed one by one instead\n", setup.cgroup.c_str());
    setup.cgroup.clear();
  }
  for (const timespec step{0, 1'000'000}; !cgroup_empty(setup.cgroup); nanosleep(&step, nullptr)) kill_cgroup(setup.cgroup);
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
