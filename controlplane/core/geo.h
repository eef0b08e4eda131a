// Which nodes a request of some region should go to, the best first. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/services.h"

namespace daarion {

/// Round trips from one node to the others, as it measured them. Units: ms.
using RoundTrips = std::map<NodeId, double>;

struct GeoNode {
  NodeId node;
  std::string address, region;
  std::uint32_t port = 0;
  Health health = Health::kUnknown;
  int far = 0;                   // 0: of that region; 1: of the same part of the world; 2: elsewhere
  std::optional<double> rtt_ms;  // from the node that was asked
  bool operator==(const GeoNode&) const = default;
};

/// How far a node's region is from the one asked for: "eu" and "eu-central" are of "eu-central"; "eu-north" is of the same part. Empty: all alike.
int distance(const std::string& wanted, const std::string& region);

/// The service's nodes that can serve (with `reads`, those that can be read too): near before far, healthy before degraded, then by round trip, those
/// not measured last, then as declared.
std::vector<GeoNode> nearest_nodes(const State& state, const ServiceSpec& service, const std::string& region, const RoundTrips& round_trips, bool reads = false);

}  // namespace daarion
