#include "controlplane/core/topology_spec.h"

#include <gtest/gtest.h>

#include "controlplane/core/lease.h"
#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

TEST(TopologySpec, FindsNodesAndResources) {
  const TopologySpec spec = spec_of_three();
  ASSERT_NE(spec.node(node(2)), nullptr);
  EXPECT_EQ(spec.node(node(2))->address, "host2");
  EXPECT_EQ(spec.node(node(9)), nullptr);
  ASSERT_NE(spec.resource(kPostgres), nullptr);
  EXPECT_EQ(spec.resource(ResourceId("redis")), nullptr);
}

TEST(TopologySpec, MembersAndTags) {
  TopologySpec spec = spec_of_three();
  ResourceSpec& postgres = spec.resources[0];
  postgres.tags[node(2)] = {.nofailover = true, .priority = 7};
  EXPECT_TRUE(postgres.has_member(node(1)));
  EXPECT_FALSE(postgres.has_member(node(3)));
  EXPECT_TRUE(postgres.tags_of(node(2)).nofailover);
  EXPECT_EQ(postgres.tags_of(node(1)), ResourceTags{});
}

TEST(TopologySpec, WhoConfirmsCommits) {
  TopologySpec spec = spec_of_three();
  ResourceSpec& r = spec.resources[0];
  r.members = {node(1), node(2), node(3)};
  EXPECT_EQ(r.confirmations(), 0u);
  r.sync = SyncMode::kSync;
  EXPECT_EQ(r.confirmations(), 1u);
  EXPECT_EQ(r.confirmers_of(node(2)), (std::vector{node(1), node(3)}));
  r.tags[node(3)] = {.nofailover = true};
  EXPECT_EQ(r.confirmers_of(node(1)), std::vector{node(2)}) << "what only node3 has, nobody could be promoted with";
  EXPECT_EQ(r.confirmers_of(node(2)), std::vector{node(1)});
  r.tags[node(2)] = {.nofailover = true};
  EXPECT_EQ(r.confirmers_of(node(1)), (std::vector{node(2), node(3)})) << "there is nobody else";
  r.tags.clear();
  r.members = {node(1), node(2), node(3), node(4), node(5)};
  r.sync = SyncMode::kQuorum;
  EXPECT_EQ(r.confirmations(), 2u);
  r.engine = "redis";
  EXPECT_EQ(r.confirmations(), 0u);
  r.engine = "postgresql";
  r.members = {node(1)};
  EXPECT_EQ(r.confirmations(), 0u);
}

TEST(TopologySpec, TimersOfTheLeaseKeepTheirOrder) {
  // fence_done < valid_until <= end of promise, for clocks that differ by the drift.
  const LeaseTimers t;
  const Duration valid = holder_length(t.ttl, t.drift_ppm);
  EXPECT_LT(valid, t.ttl);
  EXPECT_GT(promise_length(t.ttl, t.drift_ppm), t.ttl);
  EXPECT_LT(t.fence_budget, valid);
  EXPECT_EQ(valid, milliseconds(1980));
  EXPECT_EQ(promise_length(t.ttl, t.drift_ppm), milliseconds(2020));
}

}  // namespace
}  // namespace daarion
