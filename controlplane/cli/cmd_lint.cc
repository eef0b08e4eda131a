// lint: a cluster file judged without a cluster.
#include <CLI/CLI.hpp>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/api/json.h"
#include "controlplane/api/lint_view.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"
#include "controlplane/topology/finding.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

struct LintOptions {
  std::string path = "cluster.yaml";
  std::string subjects;
  bool strict = false;
};

/// The first field of each line; a line that begins with # says nothing.
std::vector<std::string> subjects_in(std::istream& in) {
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);)
    if (const std::string subject = line.substr(0, line.find_first_of("\t \r")); !subject.empty() && subject[0] != '#') out.push_back(subject);
  return out;
}

ExitCode run_lint(const Globals& globals, const LintOptions& options) {
  const std::string& path = options.path;
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return say({ExitCode::kUsage, "read " + path + ": no such file or no right to read it; name the cluster file as the argument"});
  std::vector<std::string> subjects;
  if (!options.subjects.empty()) {
    std::ifstream listed(options.subjects);
    if (!listed) return say({ExitCode::kUsage, "read " + options.subjects + ": no such file or no right to read it; --subjects names a file with one subject a line"});
    subjects = subjects_in(listed);
  }
  const v1::LintResponse found = lint_view(text.str(), options.strict, subjects);
  Json out = {{"schema_version", 1}, {"file", path}};
  out.update(Json::parse(to_json(found)));
  if (!print_data(globals, out.dump())) {
    for (const v1::LintFinding& f : found.findings()) {
      const Severity severity = f.severity() == "error" ? Severity::kError : f.severity() == "warning" ? Severity::kWarning : Severity::kNote;
      print(clean(text_of(Finding{severity, f.rule(), static_cast<int>(f.line()), f.message()}, path)) + "\n");
    }
    print(std::to_string(found.errors()) + " errors, " + std::to_string(found.warnings()) + " warnings, " + std::to_string(found.notes()) + " notes\n");
  }
  return found.ok() ? ExitCode::kOk : ExitCode::kFailed;
}

}  // namespace

void add_lint(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto options = std::make_shared<LintOptions>();
  CLI::App* command = app.add_subcommand("lint", "Check a cluster file: form, quorums, timers, ports, routing rules. Changes nothing. Exit code 1 if there is an error.");
  command->add_option("file", options->path, "The cluster file")->capture_default_str();
  command->add_option("--subjects", options->subjects, "Also name each subject of this file that no rule covers: one a line, the rest of a line is not read")->type_name("FILE");
  command->add_flag("--strict", options->strict, "Fail on warnings too");
  command->callback([options, &globals, &code] { code = run_lint(globals, *options); });
}

}  // namespace daarion
