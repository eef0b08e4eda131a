// Findings about a cluster file as the API shows them: the same on the server and in daarionctl, which needs none.
#pragma once

#include <string>
#include <vector>

#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

/// Reads and judges the text of a cluster file. One that does not read well is not judged further: what lint would say of its half
/// could mislead. Errors: none; everything is a finding. `strict`: ok only without warnings. `subjects`: those that no rule covers are named.
v1::LintResponse lint_view(const std::string& text, bool strict, const std::vector<std::string>& subjects = {});

}  // namespace daarion
