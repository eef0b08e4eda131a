#include "controlplane/core/routing.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "controlplane/core/subject.h"
#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;
using Texts = std::vector<std::string>;

/// The users' own cluster: two core nodes, an edge with the witness.
TopologySpec users_cluster() {
  TopologySpec spec = spec_of_three();
  spec.witness = node(3);
  spec.routes = {
      {.name = "message", .subjects = {"message.*"}, .max_age_s = 7, .max_bytes = 10},
      {.name = "agent_run", .subjects = {"agent.run.*"}, .max_age_s = 9, .service = "crewai", .consumers = {{"runner", "agent.run.requested.*"}}},
      {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
      {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
  return spec;
}

TEST(Routing, PlansEverySite) {
  const RoutePlan plan = plan_routes(users_cluster());
  EXPECT_EQ(plan.core, (std::vector{node(1), node(2)}));
  EXPECT_EQ(plan.edges, std::vector{node(3)});
  const auto core = core_streams(plan);
  ASSERT_EQ(core.size(), 2u);
  EXPECT_EQ(core[1].name, "AGENT_RUN");
  EXPECT_EQ(core[1].subjects, Texts{"agent.run.>"});
  EXPECT_EQ(core[1].sources, std::vector{node(3)});
  EXPECT_EQ(core[1].replicas, 3u) << "the witness has the third";
  EXPECT_EQ(core[1].consumers.at("runner"), "agent.run.requested.>");
  const auto edge = edge_streams(plan, node(3));
  ASSERT_EQ(edge.size(), 4u);
  EXPECT_EQ(edge[0].name, "MESSAGE_node3");
  EXPECT_EQ(edge[0].subjects, Texts{"message.>"});
  EXPECT_EQ(edge[0].replicas, 1u);
  EXPECT_TRUE(edge[2].consumers.empty()) << "work is taken in one place";
  EXPECT_EQ(edge[1].name, "MESSAGE_MIRROR");
  EXPECT_TRUE(edge[1].mirror && edge[1].subjects.empty());
  EXPECT_EQ(edge[1].rule_stream, "MESSAGE");
}

TEST(Routing, DeniesOnLinksWhatDoesNotPassAndToClientsWhatIsOthers) {
  const RoutePlan plan = plan_routes(users_cluster());
  EXPECT_EQ(plan.leaf_denies, (Texts{"cluster.>", "message.>", "agent.run.>", "node.*.local.>", "cache.invalidate.>"}));
  EXPECT_EQ(plan.route_denies, Texts{"node.*.local.>"});
  EXPECT_EQ(client_denies(plan, node(2)), (Texts{"node.node1.local.>", "node.node3.local.>"}));
  EXPECT_EQ(plan.table[2].subjects, (Texts{"node.node1.local.>", "node.node2.local.>", "node.node3.local.>"}));
}

TEST(Routing, ANodeNamedLikeATokenIsNotTakenForIt) {
  TopologySpec spec = users_cluster();
  spec.nodes[0].id = NodeId("local");
  spec.nodes[1].id = NodeId("node");
  const RoutePlan plan = plan_routes(spec);
  EXPECT_EQ(client_denies(plan, NodeId("local")), (Texts{"node.node.local.>", "node.node3.local.>"}));
}

TEST(Routing, OneServerHasOneReplica) {
  TopologySpec spec = users_cluster();
  spec.voters = {node(1)};
  EXPECT_EQ(core_streams(plan_routes(spec))[0].replicas, 1u);
}

TEST(Routing, ANodeThatJoinsOrRetiresChangesSourcesStreamsAndPermissionsButNoLink) {
  TopologySpec spec = users_cluster();
  const RoutePlan before = plan_routes(spec);
  spec.nodes.push_back({node(4), "host4", "region", NodeRole::kEdge});
  const RoutePlan after = plan_routes(spec);
  const PlanDiff joins = diff_of(before, after);
  EXPECT_EQ(lines_of(joins), (Texts{"+ node node4", "~ core: stream MESSAGE: also sources node4", "+ node4: stream MESSAGE_node4 captures message.>",
                                    "+ node4: stream MESSAGE_MIRROR mirrors MESSAGE", "~ core: stream AGENT_RUN: also sources node4",
                                    "+ node4: stream AGENT_RUN_node4 captures agent.run.>", "+ node4: stream AGENT_RUN_MIRROR mirrors AGENT_RUN",
                                    "~ what clients are denied that is local to another node"}));
  const PlanDiff leaves = diff_of(after, plan_routes(spec, {node(4)}));
  EXPECT_EQ(leaves.left, std::vector{node(4)});
  EXPECT_TRUE(leaves.clients);
  EXPECT_EQ(plan_routes(spec, {node(4)}), before);
}

TEST(Routing, ARuleThatGoesLeavesItsStreams) {
  TopologySpec spec = users_cluster();
  const RoutePlan before = plan_routes(spec);
  spec.routes.erase(spec.routes.begin());
  spec.routes[0].max_age_s = 10;
  EXPECT_EQ(lines_of(diff_of(before, plan_routes(spec))),
            (Texts{"~ core: stream AGENT_RUN: max_age 10 s, not 9 s", "~ node3: stream AGENT_RUN_node3: max_age 10 s, not 9 s",
                   "~ node3: stream AGENT_RUN_MIRROR: max_age 10 s, not 9 s", "- core: stream MESSAGE: no rule asks for it; it is kept",
                   "- node3: stream MESSAGE_node3: no rule asks for it; it is kept", "- node3: stream MESSAGE_MIRROR: no rule asks for it; it is kept",
                   "- leaf links deny message.>", "! restart the edges' nats-servers for what leaf links deny; a reload does not take it up"}));
}

TEST(Routing, FollowsTheLogsMembers) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{users_cluster(), "hash"});
  EXPECT_EQ(plan_of(log.state), plan_routes(users_cluster()));
  for (int n = 1; n <= 3; ++n) log.add(MemberJoined{.instance = instance(n)}, node(n));
  log.add(MemberIntentChanged{.intent = MemberIntent::kRetired}, node(2));
  EXPECT_EQ(plan_of(log.state), plan_routes(users_cluster(), {node(2)}));
}

// ---- any rules, any members
TopologySpec arbitrary_spec() {
  TopologySpec spec;
  spec.cluster = "c";
  const int nodes = *rc::gen::inRange(1, 7);
  for (int n = 1; n <= nodes; ++n) spec.nodes.push_back({node(n), "host", "region", NodeRole::kReplica});
  spec.voters = {node(1)};
  if (nodes >= 3) spec.voters = {node(1), node(2), node(3)};
  if (nodes >= 3 && *rc::gen::arbitrary<bool>()) spec.witness = node(3);
  const int rules = *rc::gen::inRange(0, 5);
  for (int r = 0; r < rules; ++r) {
    RouteRule rule{.name = "r" + std::to_string(r)};
    rule.cls = *rc::gen::element(RouteClass::kReplicated, RouteClass::kNodeLocal, RouteClass::kEdgeLocal);
    rule.subjects = {"s" + std::to_string(r) + (rule.cls == RouteClass::kNodeLocal ? ".{node_id}.*" : ".*")};
    if (rule.cls == RouteClass::kReplicated) rule.max_bytes = *rc::gen::inRange<std::uint64_t>(0, 3);
    spec.routes.push_back(rule);
  }
  return spec;
}

std::map<std::pair<std::string, std::string>, StreamPlan> every_stream(const RoutePlan& plan) {
  std::map<std::pair<std::string, std::string>, StreamPlan> out;
  for (const StreamPlan& s : core_streams(plan)) out[{"", s.name}] = s;
  for (const NodeId& edge : plan.edges)
    for (const StreamPlan& s : edge_streams(plan, edge)) out[{edge.value, s.name}] = s;
  return out;
}

/// The diff, carried out, is the other plan; nothing is between a plan and itself.
RC_GTEST_PROP(RoutingProperty, ADiffCarriedOutIsTheOtherPlan, ()) {
  const RoutePlan from = plan_routes(arbitrary_spec()), to = plan_routes(arbitrary_spec());
  RC_ASSERT(diff_of(to, to).empty());
  auto streams = every_stream(from);
  for (const PlanChange& c : diff_of(from, to).streams) {
    const std::pair key(c.edge.value, c.stream.name);
    RC_ASSERT((c.kind == PlanChange::Kind::kCreate) == !streams.contains(key));
    if (c.kind == PlanChange::Kind::kRetire) streams.erase(key);
    else streams[key] = c.stream;
  }
  RC_ASSERT(streams == every_stream(to));
}

RC_GTEST_PROP(RoutingProperty, WhatIsLocalPassesNoLinkAndNothingElseIsDeniedOnRoutes, ()) {
  const RoutePlan plan = plan_routes(arbitrary_spec());
  for (const RouteRule& rule : plan.table)
    for (const std::string& subject : rule.subjects) {
      const auto denied = [&](const Texts& by) { return std::ranges::any_of(by, [&](const std::string& p) { return covers(p, subject); }); };
      RC_ASSERT(denied(plan.leaf_denies));
      RC_ASSERT(denied(plan.route_denies) == (rule.cls == RouteClass::kNodeLocal));
    }
  for (const std::string& denied : client_denies(plan, node(1))) RC_ASSERT(denied.find(".node1.") == std::string::npos);
}

}  // namespace
}  // namespace daarion
