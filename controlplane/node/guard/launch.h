// Starts an engine's first process as a child of the caller.
#pragma once

#include <sys/types.h>

#include <string>

#include "controlplane/core/result.h"
#include "controlplane/node/guard/protocol.h"

namespace daarion::guard {

/// Forks and executes. In the child: its own session, ordinary priority, no inherited file, the user asked for, the cgroup if there is
/// one, and SIGKILL when the caller dies. Errors: kRetry with the system's word; also if the program could not be executed.
Result<pid_t> launch_engine(const Launch& launch, const std::string& cgroup);

}  // namespace daarion::guard
