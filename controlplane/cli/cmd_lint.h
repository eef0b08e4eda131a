#pragma once

#include "controlplane/cli/exit_code.h"

namespace CLI {
class App;
}

namespace daarion {

/// `daarionctl lint [FILE]`: findings on stdout. kOk without errors, kFailed with one, kUsage if the file cannot be read.
void add_lint(CLI::App& app, ExitCode& code);

}  // namespace daarion
