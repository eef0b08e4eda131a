// Replies on cluster.api.<verb>: the same JSON as HTTP's, for services that talk NATS.
#pragma once

#include <string>

#include "controlplane/api/status.h"

namespace daarion {

/// Verbs: status, peers, nodes, resources, ready. Anything else: {"error", "verbs"}. Pure.
std::string api_reply(const StatusView& view, const std::string& verb);

}  // namespace daarion
