// A core and edges with the users' rules applied, and what publishes, listens and counts on them.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/routing.h"
#include "streams/route_copies.h"
#include "streams/route_streams.h"
#include "tests/harness/replicas.h"
#include "tests/harness/service.h"
#include "tests/integration/helpers.h"
#include "tests/unit/make.h"

namespace daarion::test {

/// The rules of the users' own file, smaller.
std::vector<RouteRule> users_rules();

/// How large it is. Three core servers and one edge, unless asked otherwise.
struct RouteWorld {
  int core = 3;          // servers; with a witness, the last of them stands beside the first edge
  bool witness = false;
  int edges = 1;
  std::string binary = {};  // as NatsServers::Options
  int nodes() const { return core - (witness ? 1 : 0) + edges; }
  /// How many times the work of three nodes at two sites it makes at the same pace: each message goes to every site. The machine is the same.
  int load() const { return std::max(1, nodes() * (edges + 1) / 6); }
};

/// Servers with the plan in place: node1, ... in the core, and the nodes "edge", "edge2", ...
class RouteRig {
 public:
  explicit RouteRig(RouteWorld world = {});
  const RouteWorld world;
  NatsServers servers;
  RoutePlan plan;
  std::vector<int> core_nodes, edge_nodes;           // indices of the servers that have applications
  std::shared_ptr<Connection> core;                  // account APP, as the user that may change streams
  std::vector<std::shared_ptr<Connection>> edges;    // the same, in the order of edge_nodes
  std::shared_ptr<Connection> edge;                  // the first of them

  static constexpr int kEdge = 3;  // index of the edge's server, where there are three in the core
  NodeId node(int index) const { return NodeId(servers.name(index)); }
  std::vector<int> nodes() const;  // core_nodes, edge_nodes
  /// A service that publishes at these servers, the first one its own.
  std::unique_ptr<Publisher> publisher(const std::vector<int>& order, std::vector<std::string> subjects, int least, const std::atomic<bool>& until,
                                       std::chrono::milliseconds pace = Publisher::kPace) const;
  /// A plan that has this rule too.
  RoutePlan plan_with(const RouteRule& rule) const;
  RouteWork apply_core() { return apply_core_routes(*core, plan, std::chrono::seconds(2)); }
  RouteWork apply_edge(std::size_t which = 0) { return apply_edge_routes(*edges[which], plan, node(edge_nodes[which]), "core", std::chrono::seconds(2)); }
};

/// Who looks after the copies of a rig, as the nodes' daemons do.
class CopyKeepers {
 public:
  CopyKeepers(RouteRig& rig, Duration still);
  /// One look of all nodes, as their daemons do it every 15 s; the edges' plans too.
  std::vector<RouteWork> tend();
  std::vector<std::unique_ptr<CopyKeeper>> cores, edges;

 private:
  RouteRig& rig_;
};
/// How long a stream of the core takes a message for a repeat, and so how old one must be to be put again. Returns whether it is so.
bool set_repeat_window(Connection& core, const std::string& stream, Duration window);

/// The stream's last sequence; 0 also where nobody answers.
std::uint64_t last_sequence_of(Connection& connection, const std::string& stream);

/// A log whose topology is that of the servers.
Log log_of(const RouteRig& rig);

}  // namespace daarion::test
