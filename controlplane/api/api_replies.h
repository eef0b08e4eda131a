// Replies on cluster.api.<verb>: the same JSON as HTTP's, for services that talk NATS.
#pragma once

#include <string>

#include "controlplane/api/route_desk.h"
#include "controlplane/api/status.h"

namespace daarion {

/// Verbs: status, peers, nodes, resources, ready, routes, services, capabilities; resolve, of which the request is {"subject", "from"}, and
/// route, of which it is {"service", "region", "mode"}. Anything else, and a request
/// that cannot be answered: {"error"}. Threads: any.
std::string api_reply(const StatusView& view, RouteDesk& routes, const std::string& verb, const std::string& request);

}  // namespace daarion
