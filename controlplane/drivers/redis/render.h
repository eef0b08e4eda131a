// What a redis-server and a redis-sentinel are started with where Sentinel decides. Pure; of plain values, for who prints it.
#pragma once

#include <string>

#include "controlplane/core/topology_spec.h"

namespace daarion::redis {

std::string server_config(const ResourceSpec& resource, const NodeId& node, const std::string& host, const std::string& folder, const std::string& password);
/// sentinel.conf, to start with: Sentinel writes into it itself, and is told by the daemons what to monitor.
std::string sentinel_config(const std::string& host, std::uint32_t port, const std::string& folder, const std::string& password);

}  // namespace daarion::redis
