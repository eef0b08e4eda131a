// Keeps one site's NATS in step with the routes that the log asks for: the streams in place, and the table where services find it.
//
// Each table that the log gets is written to the bucket `cluster_routes`, key `table`, and announced on `cluster.route.changed`, both in the
// account APP of this node's site. Every node of the core tries; the bucket's own order settles who wrote: a table is put after exactly what was
// seen before (the whole stream's last sequence is expected, which is race-free on every server), and only who put it announces it. An edge has a
// bucket of its own, so that its services read and watch while it is cut off.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/routing.h"
#include "controlplane/core/state.h"
#include "streams/connection.h"
#include "streams/route_copies.h"
#include "streams/route_streams.h"

namespace daarion {

/// What a node is to the routes. `app`: account APP of its own site, as the user that may change streams.
struct RouteSite {
  std::shared_ptr<Connection> app;
  NodeId self;
  bool edge = false;
  std::string core_domain;
  std::function<RouteWork(const RoutePlan&)> servers = {};  // brings the servers' own configuration in step; null: somebody else does
  Duration verify_every = std::chrono::seconds(15);  // what somebody else changed or deleted is as it should be by then
};

inline constexpr const char* kRouteChanged = "cluster.route.changed";
// The bucket as a stream, and key `table` as a subject of it.
inline constexpr const char* kRouteTableStream = "KV_cluster_routes";
inline constexpr const char* kRouteTableSubject = "$KV.cluster_routes.table";

/// Threads: any; nothing blocks. Has two of its own: one writes tables, one looks after streams.
class RouteKeeper {
 public:
  virtual ~RouteKeeper() = default;
  /// The newest state; at once after each fold.
  virtual void folded(std::shared_ptr<const State> state) = 0;
  /// What could not be done for a while, for `status`.
  virtual std::vector<std::string> warnings() const = 0;
  /// How far behind their origins this site's copies are.
  virtual std::vector<CopyView> copies() const = 0;
};

/// `text_of`: the table as it is published, a JSON object with "log_id", "updated" (the newest event that changed anything of it) and "regressed"
/// (the newest LogRegressed before). `say` is told what was done.
std::unique_ptr<RouteKeeper> make_route_keeper(RouteSite site, std::function<std::string(const State&)> text_of, std::function<void(const std::string&)> say);

/// Puts the table unless a newer one of the same log is there; if it is not `fresh`, also not over one of the same event, which another version of us may
/// word otherwise. Returns whether it did. Errors: kRetry, kFixInput if it is no such object.
Result<bool> put_route_table(Connection& app, const std::string& text, Duration limit, bool fresh = true);

}  // namespace daarion
