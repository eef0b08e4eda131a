// The part of the nats-servers' configuration that follows the members: written beside their configuration, and taken up by a reload.
#pragma once

#include <string>

#include "controlplane/core/routing.h"
#include "controlplane/topology/render.h"
#include "streams/route_streams.h"

namespace daarion {

/// Writes <folder>/<server>.routes.conf of each of `node`'s servers where the plan asks for another one, and has the server, whose process
/// <folder>/<server>.pid names, read it, again each time that its monitor says that it read its configuration before. What a leaf link denies is taken
/// up by a start alone: <folder>/<server>.leaf-denies is as old as its last change. Left: what a running server does not have. A server that does not
/// run reads it when it starts. Errors in what is left: kFixInput, naming the file that cannot be written; kRetry, naming what to do. Blocks for
/// seconds where a monitor does not answer.
RouteWork keep_route_files(const ClusterFile& file, const NodeId& node, const std::string& folder, const RoutePlan& plan);

}  // namespace daarion
