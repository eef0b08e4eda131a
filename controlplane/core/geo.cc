#include "controlplane/core/geo.h"

#include <algorithm>
#include <limits>

#include "controlplane/core/health.h"

namespace daarion {

int distance(const std::string& wanted, const std::string& region) {
  if (wanted.empty() || region == wanted || region.starts_with(wanted + "-")) return 0;
  return region.substr(0, region.find('-')) == wanted.substr(0, wanted.find('-')) ? 1 : 2;
}

std::vector<GeoNode> nearest_nodes(const State& state, const ServiceSpec& service, const std::string& region, const RoundTrips& round_trips, bool reads) {
  const std::vector<PlaceView> places = places_of(state, service);
  std::vector<GeoNode> out;
  for (const NodeId& id : routed(places, reads)) {
    const NodeSpec* node = state.topology.spec.node(id);
    if (node == nullptr) continue;
    const auto measured = round_trips.find(id);
    out.push_back({.node = id, .address = node->address, .region = node->region, .port = service.port, .health = std::ranges::find(places, id, &PlaceView::node)->health,
                   .far = distance(region, node->region), .rtt_ms = measured == round_trips.end() ? std::nullopt : std::optional(measured->second)});
  }
  std::ranges::stable_sort(out, {}, [](const GeoNode& n) { return std::tuple(n.far, rank_of(n.health), n.rtt_ms.value_or(std::numeric_limits<double>::max())); });
  return out;
}

}  // namespace daarion
