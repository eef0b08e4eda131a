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
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "controlplane/drivers/exec_array.h"

namespace daarion {
namespace {

// A tool that talks without end must not fill our memory; its cause is in its last lines.
constexpr std::size_t kKeptBytes = 64 << 10;
constexpr int kExecFailed = 127;
// What can end does so within milliseconds of SIGKILL; a loaded machine may take longer to say so.
constexpr auto kEndOfKilled = std::chrono::milliseconds(500);
constexpr int kLookForEndMs = 10;

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

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

void wait_for(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

/// Whether it ends by then. That it has ended is told by waiting for it alone: one that is traced has ended for a pidfd, and is not given to its parent.
bool ends_by(pid_t pid, Steady::time_point limit, int& status) {
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  bool ended = false;
  for (bool told = process < 0; !(ended = waitpid(pid, &status, WNOHANG) != 0);) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - Steady::now()).count();
    if (left <= 0) break;
    pollfd end{process, POLLIN, 0};
    if (told) poll(nullptr, 0, kLookForEndMs);
    else told = poll(&end, 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30))) > 0;
  }
  if (process >= 0) close(process);
  return ended;
}

/// Whether a process of the group is there that has not ended: of a script that was killed, the program that it ran. What has ended and is only not
/// waited for by whoever it fell to does not count.
bool has_members(pid_t group) {
  if (kill(-group, 0) != 0 && errno == ESRCH) return false;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    if (!std::isdigit(static_cast<unsigned char>(at->path().filename().native()[0]))) continue;
    std::ifstream in(at->path() / "stat");
    std::string line;
    std::getline(in, line);
    const std::size_t name_end = line.rfind(')');  // the name may hold anything
    char state = 0;
    int parent = 0, of = 0;
    if (name_end != std::string::npos && std::sscanf(line.c_str() + name_end + 1, " %c %d %d", &state, &parent, &of) == 3 && of == group && state != 'Z' && state != 'X') return true;
  }
  return false;
}

/// Those that were killed and do not end. Each is waited for without waiting: here alone, so that its number is no other process's meanwhile.
class LeftBehind {
 public:
  void add(const std::vector<std::string>& argv, pid_t pid, bool reaped) {
    const std::lock_guard lock(mutex_);
    all_.push_back({argv, pid, reaped});
  }
  pid_t find(const std::vector<std::string>& argv) {
    const std::lock_guard lock(mutex_);
    std::erase_if(all_, [](One& one) { return has_ended(one.pid, one.reaped); });
    const auto at = std::ranges::find(all_, argv, &One::argv);
    return at == all_.end() ? 0 : at->pid;
  }
  static bool has_ended(pid_t pid, bool& reaped) {
    reaped = reaped || waitpid(pid, nullptr, WNOHANG) != 0;
    return reaped && !has_members(pid);
  }

 private:
  struct One {
    std::vector<std::string> argv;
    pid_t pid = 0;
    bool reaped = false;
  };
  std::mutex mutex_;
  std::vector<One> all_;
};

LeftBehind& all_left() {
  static LeftBehind all;
  return all;
}

/// Kills the tool with its group, and sees it end, unless it may be left and does not.
Error killed(const ToolCommand& c, pid_t pid, const std::string& errors) {
  kill(-pid, SIGKILL);
  const Error late{Remedy::kRetry, Effect::kMaybe, "run " + c.argv[0] + ": killed, not done in time; " + cause_in(errors)};
  if (!c.may_be_left) {
    wait_for(pid);
    return late;
  }
  bool reaped = false;
  for (const auto end = Steady::now() + kEndOfKilled; !LeftBehind::has_ended(pid, reaped); poll(nullptr, 0, kLookForEndMs)) {
    if (Steady::now() < end) continue;
    all_left().add(c.argv, pid, reaped);
    break;
  }
  return late;
}

}  // namespace

pid_t left_behind(const std::vector<std::string>& argv) { return all_left().find(argv); }

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
  if (const pid_t before = c.may_be_left ? left_behind(c.argv) : 0; before != 0)
    return fail(Remedy::kRetry, "run " + c.argv[0] + ": process " + std::to_string(before) + ", which was killed, does not end", Effect::kMaybe);
  const std::vector<char*> argv = exec_array(c.argv);
  const std::vector<char*> envp = exec_array(c.environment);
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
    if (ready == 0) return tl::unexpected(killed(c, pid, result.errors));
    heard = Steady::now();
    if (fds[0].revents != 0 && !drain(out.read, result.output)) out.close_read();
    if (fds[1].revents != 0 && !drain(err.read, result.errors)) err.close_read();
  }
  // It may live on after closing both: the limit is for the whole run.
  int status = 0;
  if (!ends_by(pid, start + c.limit, status)) return tl::unexpected(killed(c, pid, result.errors));
  result.exit_code = code_of(status);
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
