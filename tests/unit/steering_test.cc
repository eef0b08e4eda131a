#include "controlplane/core/steering.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// Seen from node1 or node2, with all three voters heard. node1 holds the lease.
struct Scene {
  explicit Scene(int self) : self(self), peers(node(self)) {
    for (int n = 1; n <= 3; ++n) peers.hear(beat_of(n, 1, log.state), at(0));
  }
  std::vector<StepDown> advance(const LeadersSeen& leaders, Instant now) {
    const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(self), .instance = instance(self)};
    return steering.advance(c, leaders, now);
  }
  int self;
  TopologySpec spec = spec_of_three();
  Log log = log_with_holder();
  Peers peers;
  Steering steering;
};

TEST(Steering, MovesBothLeadersOffTheHolder) {
  Scene s(1);
  const auto out = s.advance({node(1), node(1)}, at(1));
  ASSERT_EQ(out.size(), 2u);
  EXPECT_FALSE(out[0].meta);
  EXPECT_TRUE(out[1].meta);
}

TEST(Steering, LeavesLeadersElsewhereAlone) {
  Scene s(1);
  EXPECT_TRUE(s.advance({node(2), node(3)}, at(1)).empty());
  EXPECT_TRUE(s.advance({{}, {}}, at(1)).empty());
}

TEST(Steering, NotMoreOftenThanEveryTwoSeconds) {
  Scene s(1);
  EXPECT_EQ(s.advance({node(1), node(2)}, at(1)).size(), 1u);
  EXPECT_TRUE(s.advance({node(1), node(2)}, at(1900)).empty());
  for (int n = 1; n <= 3; ++n) s.peers.hear(beat_of(n, 2, s.log.state), at(2000));
  EXPECT_EQ(s.advance({node(1), node(2)}, at(2001)).size(), 1u);
}

TEST(Steering, ThenOffWhoAnEngineElected) {
  Scene s(1);
  s.log.add(ResourceObserved{.primary = node(2)}, node(1), ResourceId("redis"));
  EXPECT_EQ(s.advance({node(2), node(3)}, at(1)).size(), 1u);
  // node3 too: then nobody is without, and only leases count.
  s.log.add(ResourceObserved{.primary = node(3)}, node(1), ResourceId("qdrant"));
  for (int n = 1; n <= 3; ++n) s.peers.hear(beat_of(n, 2, s.log.state), at(2400));
  EXPECT_TRUE(s.advance({node(2), node(3)}, at(2500)).empty());
  EXPECT_EQ(s.advance({node(1), node(3)}, at(2500)).size(), 1u);
}

TEST(Steering, NotOffWhereNatsItselfElectedThem) {
  Scene s(1);
  s.spec.resources.push_back({.id = ResourceId("nats"), .engine = "nats"});
  s.log.add(ResourceObserved{.primary = node(2)}, node(1), ResourceId("nats"));
  EXPECT_TRUE(s.advance({node(2), node(2)}, at(1)).empty()) << "that is the leader which would be steered: for ever";
  EXPECT_EQ(s.advance({node(1), node(2)}, at(1)).size(), 1u);
}

TEST(Steering, OffWhoIsDrainedAndKeptOff) {
  for (const MemberIntent intent : {MemberIntent::kDraining, MemberIntent::kMaintenance, MemberIntent::kDisabled}) {
    Scene s(1);
    EXPECT_TRUE(s.advance({node(2), node(2)}, at(1)).empty());
    s.log.add(MemberIntentChanged{intent}, node(2));
    EXPECT_EQ(s.advance({node(2), node(2)}, at(1)).size(), 2u);
    for (int n = 1; n <= 3; ++n) s.peers.hear(beat_of(n, 2, s.log.state), at(2400));
    EXPECT_EQ(s.advance({node(3), node(2)}, at(2500)).size(), 1u) << "one that came back there";
    s.log.add(MemberIntentChanged{MemberIntent::kActive}, node(2));
    for (int n = 1; n <= 3; ++n) s.peers.hear(beat_of(n, 3, s.log.state), at(4900));
    EXPECT_TRUE(s.advance({node(2), node(2)}, at(5000)).empty());
  }
}

TEST(Steering, ALeaseWeighsMoreThanADrain) {
  Scene s(1);
  s.log.add(MemberIntentChanged{MemberIntent::kDraining}, node(2));
  s.log.add(MemberIntentChanged{MemberIntent::kDraining}, node(3));
  EXPECT_EQ(s.advance({node(1), node(2)}, at(1)).size(), 1u) << "off the holder; nobody else is free, and node2 leads on";
  // An engine's primary leads sooner than a node that is drained.
  s.log.add(MemberIntentChanged{MemberIntent::kActive}, node(3));
  s.log.add(ResourceObserved{.primary = node(3)}, node(1), ResourceId("redis"));
  for (int n = 1; n <= 3; ++n) s.peers.hear(beat_of(n, 2, s.log.state), at(2400));
  EXPECT_EQ(s.advance({node(3), node(2)}, at(2500)).size(), 1u);
}

TEST(Steering, OnlyTheFirstLiveVoterSteers) {
  Scene s(2);
  EXPECT_TRUE(s.advance({node(1), {}}, at(1)).empty());
  s.peers.hear(beat_of(2, 2, s.log.state), at(5500));
  s.peers.hear(beat_of(3, 2, s.log.state), at(5500));
  EXPECT_EQ(s.advance({node(1), {}}, at(5600)).size(), 1u) << "node1 has been silent for longer than a ttl";
}

TEST(Steering, NobodyWhileAServerMayHaveJustDied) {
  Scene s(2);
  for (const int ms : {1100, 2500, 4900}) {
    s.peers.hear(beat_of(2, static_cast<std::uint64_t>(ms), s.log.state), at(ms - 50));
    s.peers.hear(beat_of(3, static_cast<std::uint64_t>(ms), s.log.state), at(ms - 50));
    EXPECT_TRUE(s.advance({node(1), node(1)}, at(ms)).empty()) << "a leader would hand over to node1 for as long as it remembers it";
  }
}

TEST(Steering, NodeThatIsNamedCountsAsHolder) {
  Scene s(1);
  s.log.decide(2, 2, session(2));
  EXPECT_EQ(s.advance({node(2), {}}, at(1)).size(), 1u);
}

TEST(Steering, NotWithoutThreeVoters) {
  Scene s(1);
  s.log.state.voters.voters = voters_of(1).voters;
  EXPECT_TRUE(s.advance({node(1), {}}, at(1)).empty());
}

}  // namespace
}  // namespace daarion
