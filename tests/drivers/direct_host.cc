#include "tests/drivers/direct_host.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "controlplane/drivers/exec_array.h"
#include "controlplane/drivers/subprocess.h"

namespace daarion {
namespace {

constexpr std::chrono::milliseconds kPoll{2};

/// Whether each thread has stopped, or is dead: one that runs on another processor goes on for a moment, and may answer.
bool all_stopped(pid_t pid) {
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", error)) {
    std::ifstream in(task.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(in), {}};
    const std::size_t name_ends = stat.rfind(')');
    if (name_ends != std::string::npos && std::string("TZX").find(stat[name_ends + 2]) == std::string::npos) return false;
  }
  return true;
}

}  // namespace

DirectHost::DirectHost() { prctl(PR_SET_CHILD_SUBREAPER, 1); }
DirectHost::~DirectHost() { kill_all(); }

Result<std::uint64_t> DirectHost::start(const EngineCommand& c) {
  if (running()) return fail(Remedy::kRetry, "start " + c.argv[0] + ": one runs already");
  auto user = find_user(c.user);
  if (!user) return tl::unexpected(user.error());
  const std::vector<char*> argv = exec_array(c.argv);
  const std::vector<char*> envp = exec_array(c.environment);
  const pid_t pid = fork();
  if (pid < 0) return fail(Remedy::kRetry, "start " + c.argv[0] + ": " + std::strerror(errno));
  if (pid == 0) {
    const int log = open(c.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    fchown(log, user->uid, user->gid) == 0 || geteuid() != 0 ? void() : _exit(126);
    close_range(3, ~0U, 0);
    if (user->uid != geteuid() &&
        (setgroups(user->groups.size(), user->groups.data()) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0))
      _exit(126);
    if (chdir(c.directory.c_str()) != 0) _exit(126);
    execve(argv[0], argv.data(), envp.data());
    _exit(127);
  }
  pid_ = pid;
  directory_ = c.directory;
  return ++incarnation_;
}

std::vector<pid_t> DirectHost::processes() const {
  std::vector<pid_t> out;
  if (pid_ != 0) out.push_back(pid_);
  std::error_code error;
  for (const auto& e : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(e.path().filename().c_str());
    if (pid <= 0 || pid == pid_) continue;
    if (!directory_.empty() && std::filesystem::read_symlink(e.path() / "cwd", error) == directory_ && !error) out.push_back(pid);
  }
  return out;
}

void DirectHost::reap() const {
  if (pid_ != 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = 0;
  for (const pid_t pid : processes())
    if (pid != pid_) waitpid(pid, nullptr, WNOHANG);
}

bool DirectHost::running() const {
  reap();
  return !processes().empty();
}

Result<void> DirectHost::stop(int signal) {
  if (pid_ != 0 && kill(pid_, signal) != 0) return fail(Remedy::kRetry, std::string("stop the engine: ") + std::strerror(errno));
  while (signal == SIGSTOP && pid_ != 0 && !all_stopped(pid_)) std::this_thread::sleep_for(kPoll);
  return {};
}

Result<void> DirectHost::wait_empty(Duration limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (running()) {
    if (std::chrono::steady_clock::now() >= until)
      return fail(Remedy::kRetry, "wait for the engine's end: not in time", Effect::kMaybe);
    std::this_thread::sleep_for(kPoll);
  }
  return {};
}

void DirectHost::kill_all() {
  while (running()) {
    for (const pid_t pid : processes()) kill(pid, SIGKILL);
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace daarion
