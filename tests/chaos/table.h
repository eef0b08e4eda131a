// What runs of chaos found, by kind of fault, as a table for docs/failure-modes.md: read from their histories.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "tests/chaos/checker.h"

namespace daarion::chaos {

/// The text of a fault's line "verdict" in a history; the table reads it again.
std::string verdict_text(const Verdict& v);

/// Markdown: a row for each kind that was made, over all the histories together, in the order of kinds(). Errors: kFixInput if a file cannot
/// be read, or a line of it is no history's. A fault that was made again, because the machine stood still beside it, counts once.
Result<std::string> table_of(const std::vector<std::string>& histories);

}  // namespace daarion::chaos
