#include "controlplane/cli/cmd_lint.h"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/topology/cluster_file.h"
#include "controlplane/topology/lint.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(Severity severity) {
  return severity == Severity::kError ? "error" : severity == Severity::kWarning ? "warning" : "note";
}

ExitCode run(const std::string& path, const std::string& form, bool strict) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) {
    std::fprintf(stderr, "daarionctl: read %s: no such file or no right to read it; name the cluster file as the argument\n", path.c_str());
    return ExitCode::kUsage;
  }
  ParsedFile parsed = parse_cluster_file(text.str());
  // A file that does not read well is not judged further: what lint would say of its half could mislead.
  if (!has_errors(parsed.findings))
    for (Finding& finding : lint(parsed.file)) parsed.findings.push_back(std::move(finding));
  std::size_t errors = 0, warnings = 0, notes = 0;
  for (const Finding& f : parsed.findings) ++(f.severity == Severity::kError ? errors : f.severity == Severity::kWarning ? warnings : notes);
  if (form == "json") {
    Json findings = Json::array();
    for (const Finding& f : parsed.findings)
      findings.push_back({{"severity", name_of(f.severity)}, {"rule", f.rule}, {"line", f.line}, {"message", f.message}});
    std::printf("%s\n", Json{{"schema_version", 1}, {"file", path}, {"errors", errors}, {"warnings", warnings}, {"notes", notes}, {"findings", findings}}.dump(2).c_str());
  } else {
    for (const Finding& f : parsed.findings) std::printf("%s\n", text_of(f, path).c_str());
    std::printf("%zu errors, %zu warnings, %zu notes\n", errors, warnings, notes);
  }
  return errors > 0 || (strict && warnings > 0) ? ExitCode::kFailed : ExitCode::kOk;
}

}  // namespace

void add_lint(CLI::App& app, ExitCode& code) {
  struct Options {
    std::string path = "cluster.yaml", form = "table";
    bool strict = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("lint", "Check a cluster file: form, quorums, timers, ports. Changes nothing.");
  command->add_option("file", options->path, "The cluster file")->capture_default_str();
  command->add_option("-o,--output", options->form, "table or json")->check(CLI::IsMember({"table", "json"}))->capture_default_str();
  command->add_flag("--strict", options->strict, "Fail on warnings too");
  command->callback([options, &code] { code = run(options->path, options->form, options->strict); });
}

}  // namespace daarion
