#include "controlplane/node/guard/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "controlplane/drivers/exec_array.h"

namespace daarion::guard {
namespace {

constexpr int kExecLimitMs = 2000;

void write_text(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, text, std::strlen(text));
  close(fd);
}

/// Between fork and exec: system calls only. Says on `report` which step failed.
[[noreturn]] void become(const Launch& l, char* const* argv, char* const* envp, const gid_t* groups, const char* cgroup_procs, pid_t parent, int report) {
  const auto give_up = [&](const char* step) {
    const int error = errno;
    std::array<char, 256> text{};
    std::strncpy(text.data(), step, text.size() - 1);
    (void)!write(report, text.data(), text.size());
    (void)!write(report, &error, sizeof error);
    _exit(127);
  };
  setsid();
  if (cgroup_procs != nullptr) write_text(cgroup_procs, "0");
  write_text("/proc/self/oom_score_adj", "0");
  sched_param ordinary{};
  sched_setscheduler(0, SCHED_OTHER, &ordinary);
  const int null = open("/dev/null", O_RDONLY);
  const int log = open(l.command.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0640);
  if (log < 0) give_up("open its log file");
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (dup2(report, 3) < 0) give_up("keep a file");
  fcntl(3, F_SETFD, FD_CLOEXEC);
  report = 3;
  close_range(4, ~0U, 0);
  struct sigaction ordinary_action {};
  ordinary_action.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) sigaction(s, &ordinary_action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (l.switch_user && (setgroups(l.groups.size(), groups) != 0 || setgid(l.gid) != 0 || setuid(l.uid) != 0)) give_up("become its user");
  umask(0077);
  if (chdir(l.command.directory.c_str()) != 0) give_up("enter its folder");
  // After the change of user, which would clear it. A parent that died before this line is seen by its pid.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  execve(argv[0], argv, envp);
  give_up("execute it");
  _exit(127);
}

}  // namespace

Result<pid_t> launch_engine(const Launch& launch, const std::string& cgroup) {
  const std::vector<char*> argv = exec_array(launch.command.argv);
  const std::vector<char*> envp = exec_array(launch.command.environment);
  const std::vector<gid_t> groups(launch.groups.begin(), launch.groups.end());
  const std::string procs = cgroup.empty() ? "" : cgroup + "/cgroup.procs";
  const std::string what = "start " + launch.command.argv[0] + ": ";
  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0) return fail(Remedy::kRetry, what + std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    const std::string why = std::strerror(errno);
    close(report[0]), close(report[1]);
    return fail(Remedy::kRetry, what + why);
  }
  if (pid == 0) become(launch, argv.data(), envp.data(), groups.data(), procs.empty() ? nullptr : procs.c_str(), parent, report[1]);
  close(report[1]);
  // Until exec closes the pipe: a few ms. A child that hangs before (a disk that does not answer) must not hold up the guard.
  std::array<char, 256> step{};
  int error = 0;
  pollfd done{report[0], POLLIN, 0};
  if (poll(&done, 1, kExecLimitMs) == 0) {
    kill(pid, SIGKILL);
    close(report[0]);
    return fail(Remedy::kRetry, what + "it did not come to its program in " + std::to_string(kExecLimitMs) + " ms", Effect::kMaybe);
  }
  const bool failed = read(report[0], step.data(), step.size()) == static_cast<ssize_t>(step.size());
  if (failed) (void)!read(report[0], &error, sizeof error);
  close(report[0]);
  if (!failed) return pid;
  waitpid(pid, nullptr, 0);
  return fail(Remedy::kRetry, what + "cannot " + step.data() + ": " + std::strerror(error));
}

}  // namespace daarion::guard
