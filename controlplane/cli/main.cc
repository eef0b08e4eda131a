// daarionctl: one subcommand per file; this only knows their names.
#include <CLI/CLI.hpp>

#include <cstdio>

#include "controlplane/cli/cmd_dev.h"
#include "controlplane/cli/cmd_lint.h"

int main(int argc, char** argv) {
  using daarion::ExitCode;
  CLI::App app("DAARION control plane: who may write, who follows, and why.", "daarionctl");
  app.set_version_flag("--version", std::string("daarionctl ") + DAARION_VERSION + " (" + DAARION_COMMIT + ")");
  app.require_subcommand(1);
  app.footer("Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 degraded, 5 refused or no quorum, 6 precondition moved, 7 timed out.");
  ExitCode code = ExitCode::kOk;
  daarion::add_dev(app, code);
  daarion::add_lint(app, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  return static_cast<int>(code);
}
