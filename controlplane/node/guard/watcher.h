// The outer guard: the keeper's parent. It does one thing: if the keeper dies, or the deadline passed and the keeper does nothing
// about it, it ends the keeper and everything below it, until nothing is left.
#pragma once

#include <sys/types.h>

#include <string>

#include "controlplane/node/guard/page.h"

namespace daarion::guard {

/// Watches until the keeper has ended and no process is left. Returns the exit code: the keeper's, or 1 if it had to act.
/// Pre: subreaper, parent of `keeper`.
int watch(pid_t keeper, Page& page, const std::string& cgroup);

}  // namespace daarion::guard
