// One look at a service: HTTP, TCP or a command.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/health.h"
#include "controlplane/core/topology_spec.h"

namespace daarion {

/// Looks at the service at this address, and says what was found. Never fails: what goes wrong is the service's state, or the check's.
/// `environment` is a command's own, beside PATH. Threads: any; blocks for about check.timeout.
HealthVerdict look_at(const ServiceSpec& service, const std::string& address, const std::vector<std::string>& environment = {});

/// How long a TCP connection takes until it is there or refused: one round trip. Nothing: neither came within the limit, or no such address.
std::optional<Duration> connect_time(const std::string& address, std::uint32_t port, Duration limit);

}  // namespace daarion
