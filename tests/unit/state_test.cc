#include "controlplane/core/state.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

TEST(State, EmptyStateKnowsNothing) {
  const State s;
  EXPECT_EQ(s.lease(kPostgres), nullptr);
  EXPECT_EQ(s.member(node(1)), nullptr);
  EXPECT_EQ(s.newest_paused(kPostgres), Sequence{});
  EXPECT_FALSE(s.paused(kPostgres));
  EXPECT_EQ(s.version_of({"lease", "postgres"}), Version{});
  EXPECT_EQ(s.version_of({"replica", "no-dot"}), Version{});
  EXPECT_EQ(s.version_of({"nonsense", "x"}), Version{});
}

TEST(State, MajorityOfVoterSets) {
  for (const auto& [size, majority] : {std::pair(1, 1u), {2, 2u}, {3, 2u}, {4, 3u}, {5, 3u}}) {
    VoterSet set;
    set.voters = voters_of(size).voters;
    EXPECT_EQ(set.majority(), majority) << size;
  }
}

TEST(State, VoterIsNodeAndInstance) {
  const Log log = log_with_voters();
  EXPECT_TRUE(log.state.voters.has(node(1), instance(1)));
  EXPECT_FALSE(log.state.voters.has(node(1), instance(2)));
  EXPECT_FALSE(log.state.voters.has(node(9), instance(1)));
}

TEST(State, NewestPausedIsOfClusterOrResource) {
  Log log;
  const Sequence cluster = log.add(Paused{});
  EXPECT_EQ(log.state.newest_paused(kPostgres), cluster);
  const Sequence own = log.add(Paused{}, node(1), kPostgres);
  EXPECT_EQ(log.state.newest_paused(kPostgres), own);
  EXPECT_EQ(log.state.newest_paused(ResourceId("redis")), cluster);
}

TEST(State, PausedUntilBothAreResumed) {
  Log log;
  log.add(Paused{});
  log.add(Paused{}, node(1), kPostgres);
  log.add(Resumed{});
  EXPECT_TRUE(log.state.paused(kPostgres));
  EXPECT_FALSE(log.state.paused(ResourceId("redis")));
  const Sequence last = log.add(Resumed{}, node(1), kPostgres);
  EXPECT_FALSE(log.state.paused(kPostgres));
  EXPECT_EQ(log.state.newest_resumed(kPostgres), last);
}

TEST(State, HasHolderUntilItsSessionEnds) {
  Log log = log_with_holder();
  EXPECT_TRUE(log.lease().has_holder());
  log.release(1, 1, session(1));
  EXPECT_FALSE(log.lease().has_holder());
  EXPECT_TRUE(log.lease().has_ended(session(1)));
  EXPECT_FALSE(log.lease().has_ended(session(2)));
}

TEST(State, VersionsCountPerAggregate) {
  Log log = log_with_holder();
  log.add(ReplicaProvisioned{}, node(2), kPostgres);
  log.add(MemberJoined{}, node(2));
  EXPECT_EQ(log.state.version_of({"cluster", "log"}), Version{2});
  EXPECT_EQ(log.state.version_of({"topology", "spec"}), Version{1});
  EXPECT_EQ(log.state.version_of({"lease", "postgres"}), Version{2});
  EXPECT_EQ(log.state.version_of({"replica", "postgres.node2"}), Version{1});
  EXPECT_EQ(log.state.version_of({"member", "node2"}), Version{1});
  EXPECT_EQ(log.state.version_of({"operator", "cluster"}), Version{});
}

}  // namespace
}  // namespace daarion
