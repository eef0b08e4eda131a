#pragma once

#include "controlplane/cli/exit_code.h"

namespace CLI {
class App;
}

namespace daarion {

/// `daarionctl dev up|status|kill|stop|pause|resume|start|cut|loss|heal|down|shell`: a whole cluster of real processes on loopback addresses,
/// or each node in a network namespace.
/// kOk; kFailed if something did not come about; kUsage if there is no such node, part or cluster.
void add_dev(CLI::App& app, ExitCode& code);

}  // namespace daarion
