// The plan's streams on the running NATS, in the account APP: made where they are missing, mended where they differ, never deleted. A stream
// that no rule asks for any more is kept, with what it holds.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/routing.h"
#include "streams/connection.h"

namespace daarion {

/// Messages that mirrors and sources fetch come under "_route.sync.<site>": no rule may take of it.
inline constexpr const char* kRouteSync = "_route.sync.";
inline constexpr const char* kRouteBucket = "cluster_routes";

/// What was done, in words, and the first thing that could not be done; the others are done nevertheless.
struct RouteWork {
  std::vector<std::string> done;
  Result<void> left = {};
};

/// The core's streams, their consumers, and the bucket of the route table. `app`: account APP of a core server.
RouteWork apply_core_routes(Connection& app, const RoutePlan& plan, Duration limit);

/// What stands in the plan's way on the running NATS, a line for each: streams that are not of the plan and capture what it captures, and sites that
/// do not answer. `app`: as above, of any site. Blocks for up to 10 s and `limit`.
std::vector<std::string> in_the_way(Connection& app, const RoutePlan& plan, const std::string& core_domain, Duration limit);

/// An edge's own streams, its mirrors and its own bucket, on its own JetStream. `app`: account APP of its leaf server.
/// A mirror is made only once its origin answers over the leaf link.
RouteWork apply_edge_routes(Connection& app, const RoutePlan& plan, const NodeId& edge, const std::string& core_domain, Duration limit);

}  // namespace daarion
