// nats-prestart: what is to be looked at before a nats-server starts, for its unit.
#include <CLI/CLI.hpp>

#include <fstream>
#include <memory>

#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"
#include "controlplane/drivers/nats/store.h"

namespace daarion {
namespace {

/// The value of `store_dir: "..."` as `render nats` writes it; empty: there is none.
std::string store_in(std::istream& configuration) {
  for (std::string line; std::getline(configuration, line);) {
    const std::size_t key = line.find_first_not_of(" \t");
    if (key == std::string::npos || line.compare(key, 10, "store_dir:") != 0) continue;
    const std::size_t from = line.find('"', key), to = line.rfind('"');
    if (from < to) return line.substr(from + 1, to - from - 1);
  }
  return {};
}

ExitCode run_prestart(const std::string& path) {
  std::ifstream in(path);
  if (!in) return say({ExitCode::kUsage, "read " + path + ": no such file or no right to read it; name the configuration that `daarionctl render nats` made"});
  const std::string store = store_in(in);
  if (store.empty()) return say({ExitCode::kUsage, "read " + path + ": it has no line with store_dir and a path in quotes, as `daarionctl render nats` makes it"});
  const auto done = mend_nats_store(store);
  if (!done) return say({ExitCode::kFailed, done.error().message});
  if (!done->empty()) print(clean(*done) + "\n");
  return ExitCode::kOk;
}

}  // namespace

void add_prestart(CLI::App& app, ExitCode& code) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("nats-prestart", "Before a nats-server starts: takes out what a full disk left in its store that it would not come back from.");
  command->add_option("file", *path, "The server's configuration, as `daarionctl render nats` makes it")->required()->type_name("FILE");
  command->footer("For ExecStartPre of the server's unit, as its user (deploy/systemd). The server may not run.");
  command->callback([path, &code] { code = run_prestart(*path); });
}

}  // namespace daarion
