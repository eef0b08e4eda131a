// An operator's command, run to its end.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"

namespace daarion {

struct HookRun {
  std::string exec;                       // words split at spaces, no shell; the first is an absolute path
  std::string argument;                   // the last word
  Duration limit{};                       // then it is killed, with its process group
  std::vector<std::string> environment;   // NAME=value; of the daemon's own nothing is passed on: it holds passwords
};

/// Runs it; its output goes to the log. Errors: kRetry, naming the command, if it could not be started, did not end in time, or ended
/// with another exit code than 0. Threads: any; blocks.
Result<void> run_hook(const HookRun& run);

/// One line of what may be many: control characters become spaces.
std::string one_line(std::string text);

/// What it is called by in warnings: the first word.
std::string command_of(const std::string& exec);

}  // namespace daarion
