#include "controlplane/drivers/subprocess.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

namespace daarion {
namespace {

// A tool that talks without end must not fill our memory; its cause is in its last lines.
constexpr std::size_t kKeptBytes = 64 << 10;
constexpr int kExecFailed = 127;

using Steady = std::chrono::steady_clock;

struct Pipe {
  int read = -1;
  int write = -1;
  Pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) == 0) read = ends[0], write = ends[1];
  }
  ~Pipe() { close_read(), close_write(); }
  void close_read() {
    if (read >= 0) close(std::exchange(read, -1));
  }
  void close_write() {
    if (write >= 0) close(std::exchange(write, -1));
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

/// Between fork and exec: system calls only.
[[noreturn]] void become(const ToolCommand& c, char* const* argv, char* const* envp, int out, int err, pid_t parent) {
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  close_range(3, ~0U, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (c.user.uid != geteuid()) {
    if (setgroups(c.user.groups.size(), c.user.groups.data()) != 0 || setgid(c.user.gid) != 0 || setuid(c.user.uid) != 0)
      _exit(kExecFailed);
  }
  if (chdir(c.directory.c_str()) != 0) _exit(kExecFailed);
  // A tool ends with its daemon: the next one may begin the same work in the same folder. Set after the change of user, which clears it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);
  execve(argv[0], argv, envp);
  _exit(kExecFailed);
}

/// Reads what is there. False at the end of the pipe.
bool drain(int fd, std::string& into) {
  std::array<char, 8192> buffer{};
  const ssize_t n = read(fd, buffer.data(), buffer.size());
  if (n < 0) return errno == EINTR || errno == EAGAIN;
  into.append(buffer.data(), static_cast<std::size_t>(n));
  if (into.size() > kKeptBytes) into.erase(0, into.size() - kKeptBytes);
  return n > 0;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<SystemUser> find_user(const std::string& name) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (name.empty())
    getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found);
  else
    getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) {
    if (name.empty()) return SystemUser{std::to_string(geteuid()), geteuid(), getegid(), {}};
    return fail(Remedy::kFixInput,
                "find system user " + name + ": there is none; install the engine's package or set another user");
  }
  SystemUser user{found->pw_name, found->pw_uid, found->pw_gid, {}};
  int count = 64;
  user.groups.resize(static_cast<std::size_t>(count));
  if (getgrouplist(user.name.c_str(), user.gid, user.groups.data(), &count) < 0) count = 0;
  user.groups.resize(static_cast<std::size_t>(count));
  return user;
}

Result<ToolResult> run_tool(const ToolCommand& c) {
  const std::vector<char*> argv = pointers(c.argv);
  const std::vector<char*> envp = pointers(c.environment);
  Pipe out;
  Pipe err;
  if (out.read < 0 || err.read < 0) return fail(Remedy::kRetry, "run " + c.argv[0] + ": " + std::strerror(errno));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail(Remedy::kRetry, "run " + c.argv[0] + ": " + std::strerror(errno));
  if (pid == 0) become(c, argv.data(), envp.data(), out.write, err.write, parent);
  setpgid(pid, pid);
  out.close_write();
  err.close_write();
  const auto start = Steady::now();
  auto heard = start;
  ToolResult result;
  while (out.read >= 0 || err.read >= 0) {
    auto limit = start + c.limit;
    if (c.idle_limit != Duration{}) limit = std::min(limit, heard + c.idle_limit);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - Steady::now()).count();
    std::array<pollfd, 2> fds{pollfd{out.read, POLLIN, 0}, pollfd{err.read, POLLIN, 0}};
    const int ready = left <= 0 ? 0 : poll(fds.data(), fds.size(), static_cast<int>(std::min<std::int64_t>(left, 1 << 30)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      kill(-pid, SIGKILL);
      wait_for(pid);
      return fail(Remedy::kRetry, "run " + c.argv[0] + ": killed, not done in time; " + cause_in(result.errors), Effect::kMaybe);
    }
    heard = Steady::now();
    if (fds[0].revents != 0 && !drain(out.read, result.output)) out.close_read();
    if (fds[1].revents != 0 && !drain(err.read, result.errors)) err.close_read();
  }
  // It may live on after closing both: the limit is for the whole run.
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  pollfd end{process, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(start + c.limit - Steady::now()).count();
  const bool ended = process < 0 || poll(&end, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 1 << 30))) != 0;
  if (process >= 0) close(process);
  if (!ended) kill(-pid, SIGKILL);
  result.exit_code = wait_for(pid);
  if (!ended) return fail(Remedy::kRetry, "run " + c.argv[0] + ": killed, not done in time; " + cause_in(result.errors), Effect::kMaybe);
  if (result.exit_code == kExecFailed && result.errors.empty()) result.errors = "cannot run " + c.argv[0] + " as " + c.user.name;
  return result;
}

std::string cause_in(const std::string& errors) {
  std::string last;
  std::string cause;
  std::size_t from = 0;
  while (from < errors.size()) {
    const std::size_t to = std::min(errors.find_first_of("\r\n", from), errors.size());
    std::string line = errors.substr(from, to - from);
    from = to + 1;
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (line.find("error:") != std::string::npos || line.find("FATAL:") != std::string::npos) cause = line;
    last = std::move(line);
  }
  return cause.empty() ? last : cause;
}

}  // namespace daarion
