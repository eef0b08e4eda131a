// Where subjects go, as the API says it: resolutions, the route table, and what another cluster file would change. From the fold alone.
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
  explicit RouteDesk(std::map<std::string, NodeId> aliases = {}) : aliases_(std::move(aliases)) {}

  /// `from`: the node that publishes it, by any of its names; the service's nodes are those nearest to it first, as by route(). Errors: kFixInput for an unknown node, or a text that is no subject.
  Result<v1::Resolution> resolve(const State& state, const std::string& subject, const std::string& from);

  /// The round trips that this node measured, as they are now.
  void measured(RoundTrips round_trips);
  /// Where requests of a region should go, the best first; `from` is this node. Errors: kFixInput for an unknown service.
  Result<v1::GeoRoute> route(const State& state, const std::string& service, const std::string& region, const std::string& from, bool reads = false) const;

  /// What the cluster file's text would change of the routes, or its findings where it has errors; and what `in_the_way` finds of it. Changes nothing.
  static v1::RoutePlan plan(const State& state, const std::string& text, const std::function<std::vector<std::string>(const RoutePlan&)>& in_the_way = {});

 private:
  Resolver& resolver_of(const State& state);  // with the lock

  const std::map<std::string, NodeId> aliases_;
  mutable std::mutex mutex_;  // guards what follows
  RoundTrips round_trips_;
  std::string file_hash_;
  Sequence topology_;
  std::set<NodeId> retired_;
  std::unique_ptr<Resolver> resolver_;
};

}  // namespace daarion
