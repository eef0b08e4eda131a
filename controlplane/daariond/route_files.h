// The part of the nats-servers' configuration that follows the members: written beside their configuration, and taken up by a reload.
#pragma once

#include <string>

#include "controlplane/core/result.h"
#include "controlplane/core/routing.h"
#include "controlplane/topology/render.h"

namespace daarion {

/// Writes <folder>/<server>.routes.conf of each of `node`'s servers where the plan asks for another one, and has the server, whose process
/// <folder>/<server>.pid names, read it. Returns what was done, in words; empty: nothing. A server that does not run reads it when it starts.
/// Errors: kFixInput, naming the file that cannot be written.
Result<std::string> keep_route_files(const ClusterFile& file, const NodeId& node, const std::string& folder, const RoutePlan& plan);

}  // namespace daarion
