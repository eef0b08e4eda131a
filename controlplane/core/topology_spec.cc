#include "controlplane/core/topology_spec.h"

#include <algorithm>

namespace daarion {

bool ResourceSpec::has_member(const NodeId& node) const { return std::ranges::find(members, node) != members.end(); }

ResourceTags ResourceSpec::tags_of(const NodeId& node) const {
  const auto it = tags.find(node);
  return it == tags.end() ? ResourceTags{} : it->second;
}

std::uint32_t ResourceSpec::confirmations() const {
  if (sync == SyncMode::kAsync || engine == "redis" || members.size() < 2) return 0;
  // Quorum: with the primary itself, a majority of the members has every acknowledged write.
  return sync == SyncMode::kSync ? 1 : static_cast<std::uint32_t>(members.size() / 2);
}

std::vector<NodeId> ResourceSpec::confirmers_of(const NodeId& primary) const {
  std::vector<NodeId> all, able;
  for (const NodeId& node : members) {
    if (node == primary) continue;
    all.push_back(node);
    if (!tags_of(node).nofailover) able.push_back(node);
  }
  return able.size() < confirmations() ? all : able;
}

ServiceRole ServiceSpec::role_on(const NodeId& node) const {
  const auto at = std::ranges::find(on, node, &ServicePlace::node);
  return at == on.end() ? ServiceRole::kOff : at->role;
}

bool ServiceSpec::moves() const { return std::ranges::find(on, ServiceRole::kStandby, &ServicePlace::role) != on.end(); }

const NodeSpec* TopologySpec::node(const NodeId& id) const {
  const auto it = std::ranges::find(nodes, id, &NodeSpec::id);
  return it == nodes.end() ? nullptr : &*it;
}

const ResourceSpec* TopologySpec::resource(const ResourceId& id) const {
  const auto it = std::ranges::find(resources, id, &ResourceSpec::id);
  return it == resources.end() ? nullptr : &*it;
}

const ServiceSpec* TopologySpec::service(const std::string& name) const {
  const auto it = std::ranges::find(services, name, &ServiceSpec::name);
  return it == services.end() ? nullptr : &*it;
}

const char* text_of(ServiceRole role) {
  switch (role) {
    case ServiceRole::kOff: return "off";
    case ServiceRole::kActive: return "active";
    case ServiceRole::kStandby: return "standby";
    case ServiceRole::kRead: return "read";
  }
  return "unknown";
}

}  // namespace daarion
