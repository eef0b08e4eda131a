#include "controlplane/api/lint_view.h"

#include <algorithm>
#include <iterator>

#include "controlplane/topology/cluster_file.h"
#include "controlplane/topology/lint.h"
#include "controlplane/topology/lint_routes.h"

namespace daarion {

v1::LintResponse lint_view(const std::string& text, bool strict, const std::vector<std::string>& subjects) {
  ParsedFile parsed = parse_cluster_file(text);
  if (!has_errors(parsed.findings)) {
    std::vector<Finding> found = lint(parsed.file);
    if (!has_errors(found)) std::ranges::move(lint_subjects(parsed.file, subjects), std::back_inserter(found));
    std::ranges::move(found, std::back_inserter(parsed.findings));
  }
  v1::LintResponse out;
  for (const Finding& finding : parsed.findings) {
    v1::LintFinding& to = *out.add_findings();
    switch (finding.severity) {
      case Severity::kError: out.set_errors(out.errors() + 1), to.set_severity("error"); break;
      case Severity::kWarning: out.set_warnings(out.warnings() + 1), to.set_severity("warning"); break;
      case Severity::kNote: out.set_notes(out.notes() + 1), to.set_severity("note"); break;
    }
    to.set_rule(finding.rule);
    to.set_line(static_cast<std::uint32_t>(finding.line));
    to.set_message(finding.message);
  }
  out.set_ok(out.errors() == 0 && (out.warnings() == 0 || !strict));
  return out;
}

}  // namespace daarion
