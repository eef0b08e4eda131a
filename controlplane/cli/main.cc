// daarionctl: one group of commands per file; this only knows what all of them share.
#include <CLI/CLI.hpp>

#include <cstdio>

#include "controlplane/api/names.h"
#include "controlplane/cli/cmd_dev.h"
#include "controlplane/cli/commands.h"
#include "controlplane/version.h"

namespace {

using daarion::ExitCode;

/// One line that says what is wrong and where help is.
std::string in_one_line(const CLI::App& app, const CLI::Error& error) {
  std::string what = error.what();
  for (char& c : what)
    if (c == '\n' || c == '\r') c = ' ';
  const CLI::App* command = &app;
  for (auto parsed = command->get_subcommands(); !parsed.empty(); parsed = command->get_subcommands()) command = parsed.back();
  const std::string called = command == &app ? "daarionctl" : "daarionctl " + command->get_name();
  if (command == &app)
    if (const auto rest = app.remaining(); !rest.empty()) {
      std::vector<std::string> known;
      for (const CLI::App* sub : app.get_subcommands([](const CLI::App* c) { return !c->get_group().empty(); })) known.push_back(sub->get_name());
      const std::string near = daarion::nearest_name(rest[0], known);
      what = "unknown command " + rest[0] + (near.empty() ? "" : "; did you mean " + near + "?");
    }
  return "daarionctl: " + what + "; see `" + called + " --help`\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("DAARION control plane: who may write, who follows, and why.", "daarionctl");
  daarion::Globals globals;
  ExitCode code = ExitCode::kOk;
  app.set_version_flag("--version", std::string("daarionctl ") + daarion::kVersion + " (" + daarion::kCommit + ")");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", globals.servers, "A node's gRPC address; may be given again, the first that answers is asked. Else DAARION_SERVER (a,b)")
      ->type_name("HOST:PORT")->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--context", globals.context, "A cluster file: every node of it may be asked. Else DAARION_CONFIG, else 127.0.0.1:9350")->type_name("FILE");
  app.add_option("--timeout", globals.timeout_s, "Of a call, and of what is waited for")->type_name("SEC")->check(CLI::Range(0.1, 86'400.0))->capture_default_str();
  app.add_option("-o,--output", globals.form, "table, json or yaml; markdown of an incident")
      ->check(CLI::IsMember({"table", "json", "yaml", "markdown"}))->capture_default_str();
  app.parse_complete_callback([&] {
    if (globals.form == "markdown" && !app.got_subcommand("incident")) throw CLI::ValidationError("--output", "markdown is for `daarionctl incident`");
  });
  app.footer("Names in any case: NODE1 is node1. Changes need --reason, and take --expect-seq, --request-id, --dry-run.\n"
             "Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 degraded, 5 refused or no quorum, 6 precondition moved, 7 timed out.");
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) { return in_one_line(*failed, error); });
  daarion::add_status(app, globals, code);
  daarion::add_change(app, globals, code);
  daarion::add_events(app, globals, code);
  daarion::add_why(app, globals, code);
  daarion::add_incident(app, globals, code);
  daarion::add_state(app, globals, code);
  daarion::add_routes(app, globals, code);
  daarion::add_services(app, globals, code);
  daarion::add_connect(app, globals, code);
  daarion::add_render(app, globals, code);
  daarion::add_lint(app, globals, code);
  daarion::add_prestart(app, code);
  daarion::add_dev(app, code);
  daarion::add_completion(app, globals, code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  return static_cast<int>(code);
}
