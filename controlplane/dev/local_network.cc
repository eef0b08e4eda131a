// Links between the nodes of a local cluster whose nodes have network namespaces.
#include <algorithm>

#include "controlplane/dev/local_cluster.h"

namespace daarion::dev {

std::map<NodeId, std::string> LocalCluster::addresses() const {
  std::map<NodeId, std::string> out;
  for (const NodeId& node : nodes()) out[node] = address_of(node);
  return out;
}

Result<NodeNetwork*> LocalCluster::need_network() {
  if (network_) return &*network_;
  return fail(Remedy::kFixInput, "change links of the local cluster in " + folder_ + ": its nodes share this machine's network; start one with `daarionctl dev up --netns`");
}

Result<void> LocalCluster::cut(const NodeId& from, const NodeId& to, bool one_way, int percent) {
  auto network = need_network();
  if (!network) return tl::unexpected(network.error());
  if (from == to) return fail(Remedy::kFixInput, "cut " + from.value + " from itself: name two nodes");
  std::vector<LostPackets> lost = (*network)->lost();
  const auto set = [&](const NodeId& a, const NodeId& b) {
    std::erase_if(lost, [&](const LostPackets& p) { return p.from == a && p.to == b; });
    lost.push_back({a, b, percent});
  };
  set(from, to);
  if (!one_way) set(to, from);
  return (*network)->lose(lost);
}

Result<void> LocalCluster::heal(const NodeId& a, const NodeId& b) {
  auto network = need_network();
  if (!network) return tl::unexpected(network.error());
  std::vector<LostPackets> lost = (*network)->lost();
  std::erase_if(lost, [&](const LostPackets& p) { return (p.from == a && p.to == b) || (p.from == b && p.to == a); });
  return (*network)->lose(lost);
}

Result<void> LocalCluster::heal() {
  auto network = need_network();
  if (!network) return tl::unexpected(network.error());
  return (*network)->lose({});
}

}  // namespace daarion::dev
