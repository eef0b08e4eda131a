#include "controlplane/daariond/hook.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <sstream>

#include "controlplane/drivers/subprocess.h"

namespace daarion {
namespace {

constexpr int kMaxLines = 50;  // of a command's output that the log takes

void log_output(const std::string& command, const std::string& text) {
  std::istringstream in(text);
  int lines = 0;
  for (std::string line; lines < kMaxLines && std::getline(in, line); ++lines)
    if (!line.empty()) spdlog::info("{}: {}", command, one_line(line));
}

}  // namespace

std::string one_line(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string command_of(const std::string& exec) { return exec.substr(0, exec.find(' ')); }

Result<void> run_hook(const HookRun& run) {
  ToolCommand command;
  std::istringstream words(run.exec);
  for (std::string word; words >> word;) command.argv.push_back(word);
  if (command.argv.empty()) return fail(Remedy::kRetry, "run a command: it has no name");
  command.argv.push_back(run.argument);
  command.environment = run.environment;
  command.environment.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  command.limit = run.limit;
  auto user = find_user("");
  if (!user) return tl::unexpected(user.error());
  command.user = std::move(*user);
  const auto ran = run_tool(command);
  if (!ran) return tl::unexpected(ran.error());
  log_output(command.argv[0], ran->output);
  log_output(command.argv[0], ran->errors);
  if (ran->exit_code == 0) return {};
  const std::string cause = one_line(cause_in(ran->errors));
  return fail(Remedy::kRetry, "run " + command.argv[0] + ": exit code " + std::to_string(ran->exit_code) + (cause.empty() ? "" : "; " + cause));
}

}  // namespace daarion
