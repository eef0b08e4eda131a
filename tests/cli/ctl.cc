#include "tests/cli/ctl.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace daarion::test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

Ran run(const std::vector<std::string>& args, const std::vector<std::string>& env, std::chrono::seconds limit, std::size_t lines, int terminal = -1) {
  char folder[] = "/tmp/daarionctl-XXXXXX";
  if (mkdtemp(folder) == nullptr) return {};
  const std::string out = std::string(folder) + "/out", err = std::string(folder) + "/err";
  std::vector<std::string> words = {DAARIONCTL}, vars = {"USER=ann", "PATH=/usr/bin:/bin"};
  words.insert(words.end(), args.begin(), args.end());
  vars.insert(vars.end(), env.begin(), env.end());
  const auto pointers = [](std::vector<std::string>& from) {
    std::vector<char*> to;
    for (std::string& s : from) to.push_back(s.data());
    to.push_back(nullptr);
    return to;
  };
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  if (terminal < 0) posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  else posix_spawn_file_actions_adddup2(&files, terminal, 0);
  posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT, 0600);
  posix_spawn_file_actions_addopen(&files, 2, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t pid = 0;
  Ran ran;
  const int started = posix_spawn(&pid, DAARIONCTL, &files, nullptr, pointers(words).data(), pointers(vars).data());
  posix_spawn_file_actions_destroy(&files);
  const auto end = std::chrono::steady_clock::now() + limit;
  int status = 0;
  bool ended = started != 0;
  while (!ended) {
    ended = waitpid(pid, &status, WNOHANG) == pid;
    if (ended) break;
    const std::string so_far = lines ? text_of(out) : "";
    if (std::chrono::steady_clock::now() > end || (lines && static_cast<std::size_t>(std::ranges::count(so_far, '\n')) >= lines)) {
      kill(pid, lines ? SIGTERM : SIGKILL);
      waitpid(pid, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (ended && started == 0 && WIFEXITED(status)) ran.code = WEXITSTATUS(status);
  ran.out = text_of(out);
  ran.err = text_of(err);
  unlink(out.c_str());
  unlink(err.c_str());
  rmdir(folder);
  return ran;
}

}  // namespace

Ran daarionctl(const std::vector<std::string>& args, const std::vector<std::string>& env) { return run(args, env, std::chrono::seconds(30), 0); }

Ran daarionctl_typed(const std::string& line, const std::vector<std::string>& args, const std::vector<std::string>& env) {
  int person = -1, terminal = -1;
  if (openpty(&person, &terminal, nullptr, nullptr, nullptr) != 0) return {};
  const std::string typed = line + "\n";
  const bool ok = write(person, typed.data(), typed.size()) == static_cast<ssize_t>(typed.size());
  const Ran ran = ok ? run(args, env, std::chrono::seconds(30), 0, terminal) : Ran{};
  close(terminal);
  close(person);
  return ran;
}

Ran daarionctl_until(std::size_t lines, const std::vector<std::string>& args, const std::vector<std::string>& env) {
  return run(args, env, std::chrono::seconds(10), lines);
}

}  // namespace daarion::test
