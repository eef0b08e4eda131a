// From the declared rules to what every server and stream must be. Pure.
//
// HOW A MESSAGE REACHES EVERY SITE ONCE. The core's servers are one site, with one JetStream domain; every edge is a site of its own. A
// replicated message is captured once, where it is published: in core by `<RULE>`, on an edge by `<RULE>_<edge>`. `<RULE>` also sources every
// `<RULE>_<edge>`, and each edge mirrors `<RULE>` as `<RULE>_MIRROR`: one order everywhere, and an edge publishes and reads while it is cut off.
// The leaf link denies the bare subjects both ways: otherwise both sides would capture each message, and either one might acknowledge it.
//
//   rule message, core node1 node2, edge node3        core: MESSAGE           subjects message.>, sources MESSAGE_node3
//                                                     node3: MESSAGE_node3    subjects message.>
//                                                     node3: MESSAGE_MIRROR   mirror of MESSAGE
//
// HOW A MESSAGE STAYS. What is local to a node is denied on every leaf link and every route, and each server denies its clients what is local
// to another node; what is local to a site is denied on leaf links. The denies name patterns, not nodes, except those of a node's clients:
// a node that joins or retires changes its sources, its streams and the others' permissions, and no leaf link.
//
// The plan is kept by rule and by site, not as their product: what one site needs is expanded when it is asked for.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/topology_spec.h"

namespace daarion {

struct State;

/// Nodes that many streams name alike: one list for all of them. A value.
class NodeList {
 public:
  NodeList() = default;
  NodeList(std::vector<NodeId> nodes) : nodes_(std::make_shared<const std::vector<NodeId>>(std::move(nodes))) {}
  std::vector<NodeId>::const_iterator begin() const { return nodes_ ? nodes_->begin() : std::vector<NodeId>::const_iterator{}; }
  std::vector<NodeId>::const_iterator end() const { return nodes_ ? nodes_->end() : std::vector<NodeId>::const_iterator{}; }
  bool operator==(const NodeList& other) const { return nodes_ == other.nodes_ || std::equal(begin(), end(), other.begin(), other.end()); }

 private:
  std::shared_ptr<const std::vector<NodeId>> nodes_;
};

/// One stream of one JetStream domain.
struct StreamPlan {
  std::string name;
  std::vector<std::string> subjects;             // it captures; empty: a mirror
  NodeList sources;                              // edges whose streams of this rule it takes in
  std::string rule_stream;                       // <RULE>: what it mirrors, or what its sources' names begin with
  bool mirror = false;
  std::uint32_t replicas = 1;
  std::uint64_t max_age_s = 0, max_bytes = 0;    // 0: no limit
  std::map<std::string, std::string> consumers;  // durable name -> filter
  bool operator==(const StreamPlan&) const = default;
};

struct RoutePlan {
  std::vector<RouteRule> table;       // patterns as they are meant; what is local to a node with one pattern per member
  std::vector<NodeId> core, edges;    // members, by site, in the file's order
  std::uint32_t core_servers = 0;     // the witness's too
  std::vector<std::string> local;     // patterns of what is local to a node, with {node_id}
  std::vector<std::string> leaf_denies, route_denies;  // patterns that do not pass
  bool operator==(const RoutePlan&) const = default;

  bool is_edge(const NodeId& node) const;
  bool is_member(const NodeId& node) const;
};

/// The nodes that have a core server of their own; each other one is an edge, with a JetStream domain named as itself.
bool in_core(const TopologySpec& spec, const NodeId& node);

/// The members that the log shows as retired.
std::set<NodeId> retired_in(const State& state);

/// What the rules ask for. `retired`: nodes of the spec that are members no more.
RoutePlan plan_routes(const TopologySpec& spec, const std::set<NodeId>& retired = {});

/// The plan that the log's topology and members ask for; RouteTableChanged says its table to those who follow the log.
RoutePlan plan_of(const State& state);

/// What is denied to be on any leaf link whatever the rules: each site makes its own of it.
inline constexpr const char* kOwnOfEachSite = "cluster.>";

std::string stream_of(const RouteRule& rule);                            // "AGENT_RUN"
std::string edge_stream_of(const RouteRule& rule, const NodeId& edge);   // "AGENT_RUN_node3"
std::string edge_stream_of(const std::string& rule_stream, const NodeId& edge);
std::string mirror_of(const RouteRule& rule);                            // "AGENT_RUN_MIRROR"

/// The streams of the core, or of one edge, in the rules' order.
std::vector<StreamPlan> core_streams(const RoutePlan& plan);
std::vector<StreamPlan> edge_streams(const RoutePlan& plan, const NodeId& edge);

/// What the clients of a node's server may neither publish nor hear: what is local to the other members.
std::vector<std::string> client_denies(const RoutePlan& plan, const NodeId& node);

/// What lies between two plans.
struct PlanChange {
  enum class Kind { kCreate, kChange, kRetire };  // a stream that is not planned any more is kept, with what it holds
  Kind kind = Kind::kCreate;
  NodeId edge;       // whose domain; empty: the core's
  StreamPlan stream; // as it is to be; retired: as it was
  std::string what;  // of a change
  bool operator==(const PlanChange&) const = default;
};
struct PlanDiff {
  std::vector<PlanChange> streams;
  std::vector<std::string> leaf_added, leaf_removed, route_added, route_removed;
  std::vector<NodeId> joined, left;
  bool clients = false;  // what clients are denied changes on the members' servers
  bool operator==(const PlanDiff&) const = default;
  bool empty() const { return *this == PlanDiff{}; }
};
PlanDiff diff_of(const RoutePlan& from, const RoutePlan& to);

/// One line for each, as an operator reads it: "+ core: stream MESSAGE captures message.>".
std::vector<std::string> lines_of(const PlanDiff& diff);

}  // namespace daarion
