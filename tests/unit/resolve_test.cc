#include "controlplane/core/resolve.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <fstream>
#include <sstream>

#include "controlplane/core/subject.h"
#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

TopologySpec users() {
  TopologySpec spec = spec_of_three();
  spec.witness = node(3);
  spec.routes = {{.name = "message", .subjects = {"message.*"}},
                 {.name = "attachment", .subjects = {"attachment.*"}},
                 {.name = "agent_run", .subjects = {"agent.run.*"}, .service = "crewai"},
                 {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
                 {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
  return spec;
}

/// Every row from the field has the class that stands in it.
TEST(Resolve, GivesEveryRowFromTheFieldItsClass) {
  std::ifstream in(std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/subjects.tsv");
  std::string line;
  std::getline(in, line);
  Resolver resolver(plan_routes(users()));
  int rows = 0;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string subject, origin, cls;
    std::getline(fields, subject, '\t');
    std::getline(fields, origin, '\t');
    std::getline(fields, cls, '\t');
    const Resolution& r = resolver.resolve(subject, NodeId(origin));
    EXPECT_EQ(class_text(r), cls) << subject << ": " << r.reason;
    EXPECT_EQ(r.nodes.empty(), cls == "uncovered") << subject;
    ++rows;
  }
  EXPECT_EQ(rows, 12);
}

TEST(Resolve, SaysStreamNodesServiceAndWhy) {
  Resolver resolver(plan_routes(users()));
  const Resolution& core = resolver.resolve("agent.run.requested.helion", node(1));
  EXPECT_EQ(core.rule, "agent_run");
  EXPECT_EQ(core.stream, "AGENT_RUN");
  EXPECT_EQ(core.mirror, "");
  EXPECT_EQ(core.service, "crewai");
  EXPECT_EQ(core.nodes, (std::vector{node(1), node(2), node(3)}));
  EXPECT_EQ(core.reason, "rule agent_run takes agent.run.>: captured by AGENT_RUN in the core, mirrored by every edge");
  const Resolution& edge = resolver.resolve("agent.run.requested.helion", node(3));
  EXPECT_EQ(edge.stream, "AGENT_RUN_node3");
  EXPECT_EQ(edge.mirror, "AGENT_RUN_MIRROR");
  EXPECT_FALSE(edge.dead_letter);
  EXPECT_TRUE(resolver.resolve("attachment.failed.dlq", node(1)).dead_letter);
}

TEST(Resolve, WhatIsLocalStays) {
  Resolver resolver(plan_routes(users()));
  EXPECT_EQ(resolver.resolve("node.node1.local.gpu.temp", node(1)).nodes, std::vector{node(1)});
  const Resolution& others = resolver.resolve("node.node1.local.gpu.temp", node(2));
  EXPECT_EQ(others.cls, RouteClass::kNodeLocal);
  EXPECT_TRUE(others.nodes.empty());
  EXPECT_NE(others.reason.find("local to node1: node2 may not publish it"), std::string::npos);
  EXPECT_EQ(resolver.resolve("cache.invalidate.user", node(3)).nodes, std::vector{node(3)});
  EXPECT_EQ(resolver.resolve("cache.invalidate.user", node(2)).nodes, (std::vector{node(1), node(2)}));
}

TEST(Resolve, NamesWhatNobodyCanPublish) {
  Resolver resolver(plan_routes(users()));
  for (const char* bad : {"message.*", "message..x", "", "message. x"}) {
    const Resolution& r = resolver.resolve(bad, node(1));
    EXPECT_FALSE(r.covered);
    EXPECT_NE(r.reason.find("no message can be published"), std::string::npos) << bad;
  }
  EXPECT_EQ(resolver.resolve("message.x", node(9)).reason, "it is published on no member of the cluster");
  EXPECT_EQ(resolver.resolve("agent.runs.created", node(1)).reason, "no rule covers it; the nearest is agent.run.> of rule agent_run");
}

/// With patterns that overlap, which lint refuses, the file's first rule has it, found by any path of the tree.
TEST(Resolve, TheFirstRuleOfTheFileWins) {
  TopologySpec spec = users();
  spec.routes = {{.name = "stars", .subjects = {"a.*.c"}}, {.name = "exact", .subjects = {"a.b.c"}}, {.name = "all", .subjects = {">"}}};
  Resolver resolver(plan_routes(spec));
  EXPECT_EQ(resolver.resolve("a.b.c", node(1)).rule, "stars");
  EXPECT_EQ(resolver.resolve("a.b.d", node(1)).rule, "all");
  std::swap(spec.routes[0], spec.routes[1]);
  Resolver swapped(plan_routes(spec));
  EXPECT_EQ(swapped.resolve("a.b.c", node(1)).rule, "exact");
  EXPECT_EQ(swapped.resolve("a.x.c", node(1)).rule, "stars");
}

/// The tree says what a walk over all patterns says, asked again and past the cache's size too.
RC_GTEST_PROP(ResolveProperty, TheTreeAndTheCacheAgreeWithAWalkOverAllPatterns, ()) {
  TopologySpec spec = users();
  spec.routes.clear();
  const int rules = *rc::gen::inRange(0, 8);
  const auto token = rc::gen::element<std::string>("a", "b", "c", "*");
  for (int r = 0; r < rules; ++r) {
    const auto tokens = *rc::gen::container<std::vector<std::string>>(static_cast<std::size_t>(*rc::gen::inRange(1, 4)), token);
    std::string pattern;
    for (const std::string& t : tokens) pattern += (pattern.empty() ? "" : ".") + t;
    spec.routes.push_back({.name = "r" + std::to_string(r), .subjects = {*rc::gen::arbitrary<bool>() ? pattern + ".>" : pattern}});
  }
  const RoutePlan plan = plan_routes(spec);
  Resolver resolver(plan);
  for (int twice = 0; twice < 2; ++twice)
    for (const char* subject : {"a", "b.a", "a.b", "a.b.c", "c.c.c", "b.a.c.a", "d", "a.d", "c.a.b.b.a"}) {
      std::string expected;
      for (const RouteRule& rule : plan.table)
        if (expected.empty() && matches(rule.subjects[0], subject)) expected = rule.name;
      const Resolution& r = resolver.resolve(subject, node(1));
      RC_ASSERT(r.rule == expected);
      RC_ASSERT(r.covered == !expected.empty());
    }
}

TEST(Resolve, RemembersMoreSubjectsThanItHasPlacesFor) {
  Resolver resolver(plan_routes(users()));
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 100'000; ++i) {
      const std::string text = std::to_string(i);
      const Resolution& r = resolver.resolve(i % 2 ? "message." + text : "other." + text, node(1 + i % 3));
      ASSERT_EQ(r.covered, i % 2 == 1);
      ASSERT_EQ(r.stream, !r.covered ? "" : i % 3 == 2 ? "MESSAGE_node3" : "MESSAGE");
    }
}

}  // namespace
}  // namespace daarion
