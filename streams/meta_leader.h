// Who leads JetStream's meta group, and asking it to hand over. Consumers and streams cannot be made while it has no leader.
// Both need a connection to the account SYS.
#pragma once

#include <string>

#include "streams/connection.h"

namespace daarion {

/// The server that says itself that it leads the core's meta group. Empty: none said so within `limit`, or the server is standalone.
std::string meta_leader(Connection& sys, Duration limit);
/// Asks it to hand over, to the server of this name if one is given: servers before 2.11 take whom they like. Errors: kRetry.
Result<void> step_down_meta_leader(Connection& sys, Duration limit, const std::string& preferred = {});
/// Takes a server out of the meta group, and so out of every stream's replicas, for ever: one that is alive would turn its JetStream off. The
/// streams get replicas elsewhere where there is room. Errors: kRetry, it may be out.
Result<void> remove_meta_peer(Connection& sys, const std::string& server, Duration limit);

}  // namespace daarion
