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
#include <optional>
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
bool each_process(const Each& each) {
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return false;
  while (const dirent* entry = readdir(proc)) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && pid > 0) each(static_cast<pid_t>(pid));
  }
  closedir(proc);
  return true;
}

/// The pids in one of the kernel's lists of children.
void add_children(int list, std::vector<pid_t>& out) {
  char buffer[4096];
  std::string text;
  lseek(list, 0, SEEK_SET);
  for (ssize_t n = 0; (n = read(list, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at) break;
    out.push_back(static_cast<pid_t>(pid));
    at = *end == ' ' ? end + 1 : end;
  }
}

std::string children_path(pid_t pid, const char* thread) { return "/proc/" + std::to_string(pid) + "/task/" + thread + "/children"; }

/// Children of every thread of `pid`.
void add_children_of(pid_t pid, std::vector<pid_t>& out) {
  DIR* threads = opendir(("/proc/" + std::to_string(pid) + "/task").c_str());
  if (threads == nullptr) return;
  while (const dirent* entry = readdir(threads)) {
    if (entry->d_name[0] == '.') continue;
    const int list = open(children_path(pid, entry->d_name).c_str(), O_RDONLY | O_CLOEXEC);
    if (list < 0) continue;
    add_children(list, out);
    close(list);
  }
  closedir(threads);
}

int own_children = -1;  // this process's list, held open

struct Place {
  dev_t device = 0;
  ino_t file = 0;
  bool operator==(const Place&) const = default;
};
/// What a path leads to. Nothing with errno if it cannot be looked at.
std::optional<Place> place_of(const std::string& path) {
  struct stat s {};
  if (stat(path.c_str(), &s) != 0) return std::nullopt;
  return Place{s.st_dev, s.st_ino};
}

bool runs(pid_t pid, const std::string& program, const std::optional<Place>& exe) {
  const std::string link = "/proc/" + std::to_string(pid) + "/exe";
  if (exe && place_of(link) == exe) return true;
  // A program that was replaced while it runs: its file has no name any more, its link still tells what it was.
  char buffer[PATH_MAX];
  const ssize_t n = readlink(link.c_str(), buffer, sizeof buffer);
  return n > 0 && std::string(buffer, static_cast<std::size_t>(n)) == program + " (deleted)";
}

enum class Sight { kOther, kStray, kHidden };

Sight look_at(pid_t pid, const std::optional<Place>& place, const std::string& program, const std::optional<Place>& exe) {
  const auto cwd = place_of("/proc/" + std::to_string(pid) + "/cwd");
  if (!cwd && (errno == EACCES || errno == EPERM)) {
    if (geteuid() != 0) return Sight::kOther;  // another user's: ours run as this one
    std::string name = file_text("/proc/" + std::to_string(pid) + "/comm");
    if (!name.empty() && name.back() == '\n') name.pop_back();
    const std::string wanted = program.substr(program.rfind('/') + 1).substr(0, 15);
    return name == wanted ? Sight::kHidden : Sight::kOther;
  }
  return cwd && cwd == place && runs(pid, program, exe) ? Sight::kStray : Sight::kOther;
}

std::string real_path(const std::string& path) {
  char buffer[PATH_MAX];
  return realpath(path.c_str(), buffer) != nullptr ? buffer : path;
}

std::int64_t monotonic_ms() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
}

void pause_ns(long ns) {
  const timespec t{0, ns};
  nanosleep(&t, nullptr);
}

}  // namespace

void become_subreaper() { prctl(PR_SET_CHILD_SUBREAPER, 1); }

void prepare_to_kill() { own_children = open(children_path(getpid(), std::to_string(getpid()).c_str()).c_str(), O_RDONLY | O_CLOEXEC); }

bool kill_round() {
  const pid_t self = getpid();
  std::vector<pid_t> children;
  if (own_children >= 0) add_children(own_children, children);
  // Their ends are taken below and nowhere else, so these pids are still theirs.
  for (const pid_t pid : children) kill(pid, SIGKILL);
  std::set<pid_t> seen(children.begin(), children.end());
  std::vector<pid_t> todo = children;
  if (own_children < 0) todo.push_back(self);
  while (!todo.empty()) {
    const pid_t at = todo.back();
    todo.pop_back();
    std::vector<pid_t> below;
    add_children_of(at, below);
    for (const pid_t pid : below) {
      if (!seen.insert(pid).second) continue;
      todo.push_back(pid);
      // This pid may be another process's by now: the handle is taken first, then its line is looked at once more.
      const int fd = open_pidfd(pid);
      if (fd < 0) continue;
      pid_t up = pid;
      for (int depth = 0; depth < 64 && up > 1 && up != self; ++depth) up = parent_of(up);
      if (up == self) signal_pidfd(fd, SIGKILL);
      close(fd);
    }
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

Strays kill_strays(const std::string& directory, const std::string& program, int limit_ms, std::string& why) {
  if (directory.empty() || program.empty()) return Strays::kNone;
  const auto place = place_of(directory);
  if (!place && errno == ENOENT) return Strays::kNone;  // nobody can be in a folder that there is not
  const std::string path = real_path(program);
  const auto exe = place_of(program);
  for (const std::int64_t end = monotonic_ms() + limit_ms;;) {
    std::vector<pid_t> found;
    pid_t hidden = 0;
    const bool looked = each_process([&](pid_t pid) {
      const Sight sight = look_at(pid, place, path, exe);
      if (sight == Sight::kStray) found.push_back(pid);
      if (sight == Sight::kHidden) hidden = pid;
    });
    if (!looked || !place || hidden != 0) {
      why = hidden != 0 ? "process " + std::to_string(hidden) + " may be one: seeing its folder needs CAP_SYS_PTRACE" : "processes cannot be looked at";
      return Strays::kUnknown;
    }
    if (found.empty()) return Strays::kNone;
    if (monotonic_ms() > end) {
      why = "process " + std::to_string(found.front()) + " in " + directory + " does not end";
      return Strays::kLeft;
    }
    for (const pid_t pid : found) {
      const int fd = open_pidfd(pid);
      if (fd < 0) continue;
      if (look_at(pid, place, path, exe) == Sight::kStray) signal_pidfd(fd, SIGKILL);
      close(fd);
    }
    pause_ns(kBetweenRoundsNs);
  }
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
