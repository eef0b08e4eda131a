#include "controlplane/topology/lint_nats.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "controlplane/topology/render.h"

namespace daarion {
namespace {

class NatsLinter {
 public:
  NatsLinter(const ClusterFile& file, const DataSystem& system) : f_(file), s_(system) {}

  std::vector<Finding> run() {
    form();
    if (out_.empty()) against_servers();
    return std::move(out_);
  }

 private:
  void say(Severity severity, const char* rule, int line, std::string message) {
    out_.push_back({severity, rule, line > 0 ? line : s_.line, "NATS: " + std::move(message)});
  }

  void form() {
    std::map<NodeId, std::string> of;
    for (const NatsClusterSpec& c : s_.clusters) {
      if (c.name.empty()) say(Severity::kError, "nats_cluster_name", c.line, "a cluster has no name; give it one");
      if (std::ranges::count(s_.clusters, c.name, &NatsClusterSpec::name) > 1 && &c != &*std::ranges::find(s_.clusters, c.name, &NatsClusterSpec::name))
        say(Severity::kError, "nats_cluster_name", c.line, "two clusters are called " + c.name + "; rename one");
      if (c.nodes.empty()) say(Severity::kError, "nats_cluster_empty", c.line, "cluster " + c.name + " has no nodes; name them in `nodes:`");
      for (const NodeId& node : c.nodes)
        if (const auto [there, fresh] = of.emplace(node, c.name); !fresh)
          say(Severity::kError, "nats_node_twice", c.line, node.value + " is in " + (there->second == c.name ? c.name + " twice" : there->second + " and in " + c.name) + "; a node has one place");
      if (!c.leafnode_to.empty() && (c.leafnode_to == c.name || std::ranges::find(s_.clusters, c.leafnode_to, &NatsClusterSpec::name) == s_.clusters.end()))
        say(Severity::kError, "nats_leafnode_to", c.line, "cluster " + c.name + " is leafnode_to " + c.leafnode_to + ", " + (c.leafnode_to == c.name ? "itself" : "which there is none") +
                                                            "; name the core");
    }
  }

  /// "core", and what its servers would be: those of nodes that vote and are not the witness.
  void against_servers() {
    std::map<NodeId, bool> core;  // whether the node's own server, for its applications, is one of the core
    for (const NatsServerPlan& server : nats_plan(f_)) core[server.node] = core[server.node] || server.kind == NatsServerPlan::Kind::kCore;
    std::vector<std::string> hubs;
    for (const NatsClusterSpec& c : s_.clusters) {
      const bool hub = c.leafnode_to.empty();
      if (hub) hubs.push_back(c.name);
      for (const NodeId& node : c.nodes) {
        const bool is_core = core[node];
        if (is_core && !hub)
          say(Severity::kWarning, "nats_not_as_voters", c.line, c.name + " has " + node.value + " as a leaf node, and " + node.value + " is in control.voters, so its server is one of the core; change one");
        if (!is_core && hub)
          say(Severity::kWarning, "nats_not_as_voters", c.line, c.name + " has " + node.value + ", whose server is a leaf node: " +
              (node == f_.spec.witness ? "it is control.witness, and the core's server beside it takes no applications" : "it is not in control.voters") + "; change one");
      }
    }
    if (hubs.size() > 1)
      say(Severity::kWarning, "nats_two_cores", 0, hubs[0] + " and " + hubs[1] + " are both no leaf nodes; there is one core, of control.voters; give one `leafnode_to`");
    for (const NodeSpec& node : f_.spec.nodes)
      if (std::ranges::none_of(s_.clusters, [&](const NatsClusterSpec& c) { return std::ranges::find(c.nodes, node.id) != c.nodes.end(); }))
        say(Severity::kWarning, "nats_node_missing", 0, node.id.value + " is in no cluster of the block, and has a server all the same: " +
                                                              (core[node.id] ? "one of the core, for it is in control.voters" : "a leaf node") + "; add it");
  }

  const ClusterFile& f_;
  const DataSystem& s_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> lint_nats(const ClusterFile& file) {
  std::vector<Finding> out;
  for (const DataSystem& system : file.systems)
    if (system.engine == "nats" && !system.clusters.empty()) std::ranges::move(NatsLinter(file, system).run(), std::back_inserter(out));
  return out;
}

}  // namespace daarion
