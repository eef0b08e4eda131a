#include "controlplane/core/geo.h"

#include <gtest/gtest.h>

#include "tests/unit/service_log.h"

namespace daarion {
namespace {
using namespace test;

TEST(Geo, KnowsHowFarARegionIs) {
  EXPECT_EQ(distance("", "anywhere"), 0);
  EXPECT_EQ(distance("eu-north", "eu-north"), 0);
  EXPECT_EQ(distance("eu", "eu-north"), 0) << "of it";
  EXPECT_EQ(distance("eu-north", "eu-central"), 1);
  EXPECT_EQ(distance("eu-north", "eu"), 1);
  EXPECT_EQ(distance("eu", "us-east"), 2);
  EXPECT_EQ(distance("eu", "europa"), 2) << "a name that only begins alike";
}

Log log_with_gateways() {
  TopologySpec spec = spec_with_services();
  spec.nodes[0].region = "eu-central";
  spec.nodes[1].region = "eu-north";
  spec.nodes[2].region = "us-east";
  spec.services.push_back({.name = "gateway", .port = 9300, .on = {{node(1), ServiceRole::kActive}, {node(2), ServiceRole::kActive}, {node(3), ServiceRole::kActive}}});
  Log log = log_with_services(spec);
  for (int n = 1; n <= 3; ++n) say(log, "gateway", n, Health::kHealthy);
  return log;
}

std::vector<int> order(const Log& log, const std::string& region, const RoundTrips& trips = {}, const std::string& service = "gateway", bool reads = false) {
  std::vector<int> out;
  for (const GeoNode& n : nearest_nodes(log.state, *log.state.topology.spec.service(service), region, trips, reads)) out.push_back(n.node.value.back() - '0');
  return out;
}

TEST(Geo, OrdersByRegionThenHealthThenRoundTrip) {
  Log log = log_with_gateways();
  EXPECT_EQ(order(log, "us"), (std::vector{3, 1, 2}));
  EXPECT_EQ(order(log, "eu-north"), (std::vector{2, 1, 3}));
  EXPECT_EQ(order(log, "eu"), (std::vector{1, 2, 3})) << "as declared";
  EXPECT_EQ(order(log, "eu", {{node(1), 30}, {node(2), 4}, {node(3), 0.1}}), (std::vector{2, 1, 3}));
  EXPECT_EQ(order(log, "eu", {{node(2), 40}}), (std::vector{2, 1, 3})) << "what was not measured comes last";
  EXPECT_EQ(order(log, "", {{node(1), 30}, {node(2), 4}, {node(3), 0.1}}), (std::vector{3, 2, 1}));
  say(log, "gateway", 2, Health::kDegraded);
  EXPECT_EQ(order(log, "eu", {{node(1), 30}, {node(2), 4}}), (std::vector{1, 2, 3}));
}

TEST(Geo, LeavesOutWhoCannotServe) {
  Log log = log_with_gateways();
  say(log, "gateway", 1, Health::kBroken);
  EXPECT_EQ(order(log, "eu"), (std::vector{2, 3}));
  log.add(MemberIntentChanged{MemberIntent::kDraining}, node(2));
  EXPECT_EQ(order(log, "eu"), (std::vector{3}));
  log.add(MemberUnreachable{}, node(3));
  EXPECT_TRUE(order(log, "eu").empty());
  EXPECT_EQ(order(log, "eu", {}, "memory"), (std::vector{1}));
  log.add(MemberIntentChanged{MemberIntent::kActive}, node(2));
  EXPECT_EQ(order(log, "eu-north", {}, "memory", true), (std::vector{2, 1})) << "reads go to the near one";
  const auto nodes = nearest_nodes(log.state, *log.state.topology.spec.service("memory"), "eu", {{node(1), 2.5}});
  ASSERT_EQ(nodes.size(), 1u);
  EXPECT_EQ(nodes[0].address, "host1");
  EXPECT_EQ(nodes[0].port, 8000u);
  EXPECT_EQ(nodes[0].rtt_ms, 2.5);
}

}  // namespace
}  // namespace daarion
