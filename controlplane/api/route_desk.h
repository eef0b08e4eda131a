// Where subjects go, as the API says it: resolutions and the route table, from the fold alone, and what another cluster file would change.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/geo.h"
#include "controlplane/core/resolve.h"
#include "controlplane/core/result.h"
#include "controlplane/core/state.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

/// The table that the log's newest RouteTableChanged carries, with the members and their sites, who serves, and who provides what.
/// Version 0: there is no table yet.
v1::RouteTable route_table_of(const State& state);

/// Threads: any. The compiled rules and the cache are kept for as long as the log's topology and members are the same.
class RouteDesk {
 public:
  /// What stands in a plan's way on the running NATS, a line for each; null: nobody looks.
  using InTheWay = std::function<std::vector<std::string>(const RoutePlan&)>;
  explicit RouteDesk(std::map<std::string, NodeId> aliases = {}, InTheWay in_the_way = {}) : aliases_(std::move(aliases)), in_the_way_(std::move(in_the_way)) {}

  /// `from`: the node that publishes it, by any of its names; the service's nodes are those nearest to it first, as by route(). Errors: kFixInput for an unknown node, or a text that is no subject.
  Result<v1::Resolution> resolve(const State& state, const std::string& subject, const std::string& from);

  /// The round trips that this node measured, as they are now.
  void measured(RoundTrips round_trips);
  /// Where requests of a region should go, the best first; `from` is this node. Errors: kFixInput for an unknown service.
  Result<v1::GeoRoute> route(const State& state, const std::string& service, const std::string& region, const std::string& from, bool reads = false) const;

  /// What the cluster file's text would change of the routes, and what stands in the way of that, or its findings where it has errors. Changes nothing.
  v1::RoutePlan plan(const State& state, const std::string& text) const;

 private:
  Resolver& resolver_of(const State& state);  // with the lock

  const std::map<std::string, NodeId> aliases_;
  const InTheWay in_the_way_;
  mutable std::mutex mutex_;  // guards what follows
  RoundTrips round_trips_;
  std::string file_hash_;
  Sequence topology_;
  std::set<NodeId> retired_;
  std::unique_ptr<Resolver> resolver_;
};

}  // namespace daarion
