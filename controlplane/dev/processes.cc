#include "controlplane/dev/processes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "controlplane/dev/netns.h"
#include "controlplane/node/clock.h"

extern char** environ;

namespace daarion::dev {
namespace {

constexpr std::chrono::milliseconds kEndPoll{2};

std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string of_proc(pid_t pid, const char* what) { return "/proc/" + std::to_string(pid) + "/" + what; }

std::string folder_entry(const std::string& folder) {
  std::string out = kFolderVariable;
  out += '=';
  return out += folder;
}

bool is_inside(const std::string& path, const std::string& folder) { return path == folder || path.starts_with(folder + "/"); }

/// Programs of ours and of the engines: only these are taken by folder alone.
bool is_program_of_a_node(const std::string& name) {
  static const std::set<std::string> kNames = {"daariond", "daarion-guard", "daarion-keeper", "daarion-watcher", "nats-server", "postgres", "initdb", "redis-server"};
  return kNames.contains(name) || name.starts_with("pg_");
}

bool has_variable(pid_t pid, const std::string& wanted) {
  const std::string environment = read_whole(of_proc(pid, "environ"));
  for (std::size_t at = 0; at < environment.size();) {
    const std::size_t end = std::min(environment.find('\0', at), environment.size());
    if (environment.compare(at, end - at, wanted) == 0) return true;
    at = end + 1;
  }
  return false;
}

bool works_in(const ProcessInfo& p, const std::string& folder) {
  if (!is_program_of_a_node(p.name)) return false;
  std::error_code error;
  const auto cwd = std::filesystem::read_symlink(of_proc(p.id.pid, "cwd"), error);
  return (!error && is_inside(cwd.string(), folder)) || p.command.find(folder + "/") != std::string::npos;
}

std::vector<ProcessInfo> all_processes() {
  std::vector<ProcessInfo> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    if (auto info = look_at(pid); info && !info->ended()) out.push_back(std::move(*info));
  }
  return out;
}

}  // namespace

std::optional<ProcessInfo> look_at(pid_t pid) {
  const std::string stat = read_whole(of_proc(pid, "stat"));
  // The name is in brackets and may hold anything: fields are counted from the last bracket.
  const std::size_t open = stat.find('('), close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return std::nullopt;
  ProcessInfo out;
  out.id.pid = pid;
  out.name = stat.substr(open + 1, close - open - 1);
  std::istringstream fields(stat.substr(close + 1));
  std::string skipped;
  fields >> out.state >> out.parent;
  for (int field = 5; field < 20; ++field) fields >> skipped;
  fields >> out.threads >> skipped;
  if (!(fields >> out.id.start)) return std::nullopt;
  out.command = read_whole(of_proc(pid, "cmdline"));
  std::ranges::replace(out.command, '\0', ' ');
  return out;
}

bool lives(const ProcessId& id) {
  const auto seen = look_at(id.pid);
  return seen && seen->id == id && !seen->ended();
}

bool send_signal(const ProcessId& id, int signal) { return lives(id) && ::kill(id.pid, signal) == 0; }

Result<ProcessId> spawn(const Spawn& what) {
  std::vector<std::string> environment = what.environment;
  environment.push_back(folder_entry(what.folder));
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view inherited(*variable);
    const std::string_view name = inherited.substr(0, inherited.find('=') + 1);
    if (std::ranges::none_of(environment, [&](const std::string& ours) { return ours.starts_with(name); })) environment.emplace_back(inherited);
  }
  std::vector<char*> argv, envp;
  for (const std::string& a : what.argv) argv.push_back(const_cast<char*>(a.c_str()));
  for (const std::string& e : environment) envp.push_back(const_cast<char*>(e.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return fail(Remedy::kRetry, "start " + what.argv[0] + ": " + std::strerror(errno));
  const pid_t middle = ::fork();
  if (middle < 0) return fail(Remedy::kRetry, "start " + what.argv[0] + ": " + std::strerror(errno));
  if (middle == 0) {
    // Twice, so that init is its parent: we may end before it, and need not wait for it.
    ::setsid();
    const pid_t child = ::fork();
    if (child != 0) {
      [[maybe_unused]] const auto told = ::write(pipe_fds[1], &child, sizeof child);
      _exit(child > 0 ? 0 : 1);
    }
    const int log = ::open(what.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const int none = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (log < 0 || ::chdir(what.folder.c_str()) != 0) _exit(126);
    if (!what.netns.empty() && !enter_netns(what.netns)) {
      const int error = errno;
      [[maybe_unused]] const auto told = ::write(pipe_fds[1], &error, sizeof error);
      _exit(126);
    }
    ::dup2(none, STDIN_FILENO);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    // The pipe's own end goes when exec succeeds, and tells its error when it does not.
    ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    sigset_t none_blocked;
    ::sigemptyset(&none_blocked);
    ::sigprocmask(SIG_SETMASK, &none_blocked, nullptr);
    ::execvpe(argv[0], argv.data(), envp.data());
    const int error = errno;
    [[maybe_unused]] const auto told = ::write(pipe_fds[1], &error, sizeof error);
    _exit(127);
  }
  ::close(pipe_fds[1]);
  pid_t child = -1;
  int error = 0;
  const bool told = ::read(pipe_fds[0], &child, sizeof child) == sizeof child && child > 0;
  const bool failed = told && ::read(pipe_fds[0], &error, sizeof error) == sizeof error;
  ::close(pipe_fds[0]);
  ::waitpid(middle, nullptr, 0);
  if (!told) return fail(Remedy::kRetry, "start " + what.argv[0] + ": no process could be made");
  if (failed) return fail(Remedy::kFixInput, "start " + what.argv[0] + ": " + std::strerror(error));
  if (const auto seen = look_at(child)) return seen->id;
  return fail(Remedy::kRetry, "start " + what.argv[0] + ": it ended at once; its log is " + what.log_file);
}

Result<std::string> run_to_end(const std::vector<std::string>& argv, const std::string& input) {
  // Input and output pass through files without a name: neither side can fill a pipe and wait for the other.
  const int in = ::memfd_create("in", MFD_CLOEXEC), out = ::memfd_create("out", MFD_CLOEXEC), error = ::memfd_create("error", MFD_CLOEXEC);
  const auto text_of = [](int fd) {
    std::string text(static_cast<std::size_t>(std::max<off_t>(0, ::lseek(fd, 0, SEEK_END))), '\0');
    if (::pread(fd, text.data(), text.size(), 0) < 0) text.clear();
    return text;
  };
  Result<std::string> result = fail(Remedy::kRetry, "run " + argv[0] + ": " + std::strerror(errno));
  const bool ready = in >= 0 && out >= 0 && error >= 0 && ::write(in, input.data(), input.size()) == static_cast<ssize_t>(input.size()) && ::lseek(in, 0, SEEK_SET) == 0;
  const pid_t child = ready ? ::fork() : -1;
  if (child == 0) {
    ::dup2(in, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(error, STDERR_FILENO);
    std::vector<char*> arguments;
    for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  if (child > 0 && ::waitpid(child, &status, 0) == child) {
    std::string said = text_of(error);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) result = text_of(out);
    else if (WIFEXITED(status) && WEXITSTATUS(status) == 127) result = fail(Remedy::kFixInput, "run " + argv[0] + ": no such program");
    else result = fail(Remedy::kFixInput, "run " + argv[0] + ": " + said.substr(0, said.find('\n')));
  }
  for (const int fd : {in, out, error})
    if (fd >= 0) ::close(fd);
  return result;
}

std::vector<ProcessInfo> processes_of(const std::string& folder) {
  std::vector<ProcessInfo> all = all_processes();
  std::set<pid_t> own;  // ourselves and our ancestors
  for (pid_t pid = ::getpid(); pid > 0;) {
    own.insert(pid);
    const auto at = std::ranges::find(all, pid, [](const ProcessInfo& p) { return p.id.pid; });
    pid = at == all.end() ? 0 : at->parent;
  }
  const std::string wanted = folder_entry(folder);
  std::set<pid_t> found;
  for (const ProcessInfo& p : all)
    if (!own.contains(p.id.pid) && (has_variable(p.id.pid, wanted) || works_in(p, folder))) found.insert(p.id.pid);
  for (bool more = true; more;) {
    more = false;
    for (const ProcessInfo& p : all)
      if (!own.contains(p.id.pid) && found.contains(p.parent)) more |= found.insert(p.id.pid).second;
  }
  std::erase_if(all, [&](const ProcessInfo& p) { return !found.contains(p.id.pid); });
  return all;
}

Result<Instant> kill_all_of(const std::string& folder, Duration limit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  std::optional<Instant> first;
  // Looked at twice: a process has neither environment nor arguments for the moment in which it becomes another program.
  for (bool none_before = false;;) {
    const std::vector<ProcessInfo> left = processes_of(folder);
    if (!first) first = node_now();
    if (left.empty() && none_before) return *first;
    none_before = left.empty();
    for (const ProcessInfo& p : left) send_signal(p.id, SIGKILL);
    if (std::chrono::steady_clock::now() > until)
      return fail(Remedy::kRetry, "end the processes of " + folder + ": " + std::to_string(left.size()) + " still live, e.g. " + left.front().command);
    std::this_thread::sleep_for(kEndPoll);
  }
}

Result<void> write_pid_file(const std::string& path, const ProcessId& id) {
  std::ofstream out(path, std::ios::trunc);
  out << id.pid << " " << id.start << "\n";
  out.close();
  if (!out) return fail(Remedy::kFixInput, "write " + path + ": " + std::strerror(errno));
  return {};
}

std::optional<ProcessId> read_pid_file(const std::string& path) {
  std::ifstream in(path);
  ProcessId id;
  if (!(in >> id.pid >> id.start) || id.pid <= 0) return std::nullopt;
  return id;
}

std::string tail_of(const std::string& path, int lines) {
  std::ifstream in(path);
  std::deque<std::string> last;
  for (std::string line; std::getline(in, line);) {
    last.push_back(line);
    if (last.size() > static_cast<std::size_t>(lines)) last.pop_front();
  }
  std::string out;
  for (const std::string& line : last) out += "  | " + line + "\n";
  return out;
}

}  // namespace daarion::dev
