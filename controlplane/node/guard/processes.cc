#include "controlplane/node/guard/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

namespace daarion::guard {
namespace {

constexpr long kBetweenRoundsNs = 1'000'000;

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }
void signal_pidfd(int fd, int signal) { (void)syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0); }

std::string file_text(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string out;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(fd, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  return out;
}

/// The parent, from /proc/<pid>/stat: the second field after the name's last bracket. 0 if the process is gone.
pid_t parent_of(pid_t pid) {
  const std::string stat = file_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t after = stat.rfind(')');
  int parent = 0;
  char state = 0;
  if (after == std::string::npos || std::sscanf(stat.c_str() + after + 1, " %c %d", &state, &parent) != 2) return 0;
  return parent;
}

template <class Each>
void each_process(const Each& each) {
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return;
  while (const dirent* entry = readdir(proc)) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && pid > 0) each(static_cast<pid_t>(pid));
  }
  closedir(proc);
}

/// Every process below `root`, by the parents that /proc names.
std::vector<pid_t> below(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  each_process([&](pid_t pid) { children.emplace(parent_of(pid), pid); });
  std::vector<pid_t> out;
  std::set<pid_t> seen{root};
  std::vector<pid_t> todo{root};
  while (!todo.empty()) {
    const pid_t at = todo.back();
    todo.pop_back();
    const auto [from, to] = children.equal_range(at);
    for (auto it = from; it != to; ++it) {
      if (!seen.insert(it->second).second) continue;
      out.push_back(it->second);
      todo.push_back(it->second);
    }
  }
  return out;
}

std::string link_target(const std::string& path) {
  char buffer[PATH_MAX];
  const ssize_t n = readlink(path.c_str(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string{};
}

bool is_stray(pid_t pid, const std::string& directory, const std::string& program) {
  const std::string proc = "/proc/" + std::to_string(pid);
  std::string runs = link_target(proc + "/exe");
  if (const std::size_t gone = runs.rfind(" (deleted)"); gone != std::string::npos) runs.erase(gone);  // upgraded under it
  return runs == program && link_target(proc + "/cwd") == directory;
}

std::string real_path(const std::string& path) {
  char buffer[PATH_MAX];
  return realpath(path.c_str(), buffer) != nullptr ? buffer : path;
}

void pause_ns(long ns) {
  const timespec t{0, ns};
  nanosleep(&t, nullptr);
}

}  // namespace

void become_subreaper() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

bool kill_round() {
  const pid_t self = getpid();
  for (const pid_t pid : below(self)) {
    // A pid that was read may be another process's by now: the handle is taken first, then the pid is looked at once more.
    const int fd = open_pidfd(pid);
    if (fd < 0) continue;
    pid_t up = pid;
    for (int depth = 0; depth < 64 && up > 1 && up != self; ++depth) up = parent_of(up);
    if (up == self) signal_pidfd(fd, SIGKILL);
    close(fd);
  }
  for (;;) {
    const pid_t gone = waitpid(-1, nullptr, WNOHANG);
    if (gone > 0) continue;
    return gone < 0 && errno == ECHILD;
  }
}

void kill_until_empty(const std::function<void()>& each) {
  while (!kill_round()) {
    each();
    pause_ns(kBetweenRoundsNs);
  }
}

std::vector<pid_t> strays(const std::string& directory, const std::string& program) {
  std::vector<pid_t> out;
  if (directory.empty() || program.empty()) return out;
  const std::string place = real_path(directory), exe = real_path(program);
  each_process([&](pid_t pid) {
    if (is_stray(pid, place, exe)) out.push_back(pid);
  });
  return out;
}

bool kill_strays(const std::string& directory, const std::string& program, int limit_ms) {
  const std::string place = real_path(directory), exe = real_path(program);
  for (int left = limit_ms; left >= 0; --left) {
    const std::vector<pid_t> found = strays(directory, program);
    if (found.empty()) return true;
    for (const pid_t pid : found) {
      const int fd = open_pidfd(pid);
      if (fd < 0) continue;
      if (is_stray(pid, place, exe)) signal_pidfd(fd, SIGKILL);
      close(fd);
    }
    pause_ns(kBetweenRoundsNs);
  }
  return false;
}

bool make_cgroup(const std::string& folder) {
  if (folder.empty()) return false;
  return (mkdir(folder.c_str(), 0755) == 0 || errno == EEXIST) && access((folder + "/cgroup.kill").c_str(), W_OK) == 0;
}

void kill_cgroup(const std::string& folder) {
  if (folder.empty()) return;
  const int fd = open((folder + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, "1", 1);
  close(fd);
}

bool cgroup_empty(const std::string& folder) {
  return folder.empty() || file_text(folder + "/cgroup.events").find("populated 1") == std::string::npos;
}

}  // namespace daarion::guard
