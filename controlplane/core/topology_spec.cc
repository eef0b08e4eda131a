#include "controlplane/core/topology_spec.h"

#include <algorithm>

namespace daarion {

bool ResourceSpec::has_member(const NodeId& node) const { return std::ranges::find(members, node) != members.end(); }

ResourceTags ResourceSpec::tags_of(const NodeId& node) const {
  const auto it = tags.find(node);
  return it == tags.end() ? ResourceTags{} : it->second;
}

const NodeSpec* TopologySpec::node(const NodeId& id) const {
  const auto it = std::ranges::find(nodes, id, &NodeSpec::id);
  return it == nodes.end() ? nullptr : &*it;
}

const ResourceSpec* TopologySpec::resource(const ResourceId& id) const {
  const auto it = std::ranges::find(resources, id, &ResourceSpec::id);
  return it == resources.end() ? nullptr : &*it;
}

}  // namespace daarion
