#include "controlplane/core/observed_core.h"

#include <gtest/gtest.h>

#include "tests/unit/beside_node.h"

namespace daarion {
namespace {
using namespace test;

const ResourceId kRedis{"redis"};

struct Node : BesideNode<ObservedCore> {
  using BesideNode::BesideNode;
  std::vector<ObservedAction> actions;
  std::vector<ReplicaLagReported> lag;

  void heard(const ObservedOutput& out) override {
    if (const auto* run = std::get_if<RunObserved>(&out)) actions.push_back(run->action);
    if (const auto* report = std::get_if<Report>(&out)) lag.push_back(std::get<ReplicaLagReported>(report->payload));
  }
  void look(const ResourceView& view, std::int64_t ms) { take(ObservedLooked{kRedis, view}, ms); }
  void tick(std::int64_t ms) { take(ObservedTick{}, ms); }
  void acted(bool ok, const std::string& message, std::int64_t ms) { take(ObservedActed{actions.back(), ok, message}, ms); }
};

Log log_with_redis() {
  Log log;
  TopologySpec spec = spec_of_three();
  ResourceSpec redis;
  redis.id = kRedis;
  redis.engine = "redis";
  redis.declared_primary = node(1);
  redis.members = {node(1), node(2)};
  spec.resources.push_back(redis);
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{std::move(spec), "hash"});
  log.add(voters_of(3));
  for (int n = 1; n <= 3; ++n) log.add(MemberJoined{.instance = instance(n), .boot = boot(1)}, node(n));
  return log;
}

/// Redis on node1 and node2, three sentinels; all well.
ResourceView view_of(int primary = 1, std::uint64_t election = 1) {
  ResourceView v{.primary = node(primary), .elected_by = "Sentinel", .election = election, .members = {}, .problems = {}, .repairs = {}, .source = "sentinel"};
  for (int n = 1; n <= 2; ++n)
    v.members.push_back({.seen = {.node = node(n), .role = n == primary ? "primary" : "replica", .state = n == primary ? EngineState::kPrimary : EngineState::kStandby,
                                  .identity = "data", .version = "7.0.15", .health = ""},
                         .position = {}, .lag_known = n != primary, .lag_bytes = 12, .lag_ms = 34});
  for (int n = 1; n <= 3; ++n) v.members.push_back({.seen = {.node = node(n), .role = "sentinel", .state = EngineState::kStandby}});
  return v;
}
ResourceView with_lost(ResourceView v, std::size_t member, const std::string& why = "no answer") {
  v.members[member].seen.state = EngineState::kUnresponsive;
  v.members[member].seen.health = why;
  return v;
}
/// It says that all is well, and the others, who have begun, fold that.
void speak(Node& one, const std::vector<Node*>& others = {}) {
  one.begin();
  one.look(view_of(), 0);
  one.tick(100);
  for (Node* other : others) other->fold(110);
}
int said(const Log& log) { return count_of<ResourceObserved>(log); }
const ResourceObserved& now_of(const Log& log) { return log.state.observed_of(kRedis)->seen; }

TEST(ObservedCore, SaysWhatItSeesOnceAndThenChangesOnly) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  one.begin();
  two.begin(0, 1);
  one.look(view_of(), 0);
  two.look(view_of(), 0);
  EXPECT_EQ(said(log), 0) << "what is over in a moment is no change";
  EXPECT_LE(one.core.next_tick(), at(100));
  one.tick(100);
  two.fold(110);
  two.tick(200);
  ASSERT_EQ(said(log), 1);
  EXPECT_EQ(log.events.back().event.header.aggregate, (Aggregate{"resource", "redis"}));
  EXPECT_EQ(log.events.back().event.header.reason, "sentinel: primary node1");
  EXPECT_EQ(log.state.observed_of(kRedis)->observer, node(1));
  for (int i = 1; i < 100; ++i) {
    one.look(view_of(), 1000 * i);
    two.look(view_of(), 1000 * i);
  }
  EXPECT_EQ(said(log), 1);
  EXPECT_EQ(one.lag.size(), 10u) << "every 10 s";
  EXPECT_EQ(one.lag.back().lag_bytes, 12u);
  EXPECT_TRUE(two.lag.empty()) << "one node reports";
}

TEST(ObservedCore, AViewThatDiffersIsSaidByTheSpeakerAloneUnlessItReachesMore) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  two.begin(0, 1);
  speak(one, {&two});
  // The link between them is cut: each sees the other's processes as lost.
  const ResourceView from_two = with_lost(view_of(), 0), from_one = with_lost(view_of(), 1);
  for (int ms = 1000; ms < 60'000; ms += 500) {
    two.look(from_two, ms);
    one.look(from_one, ms);
    two.fold(ms);
  }
  EXPECT_EQ(said(log), 2) << "two views do not alternate";
  EXPECT_EQ(now_of(log).members[1].health, "no answer");
  EXPECT_EQ(log.events.back().event.header.reason, "sentinel: replica of node2: no answer");
  // The speaker's own link is what is cut.
  ResourceView blind = view_of();
  for (std::size_t i = 0; i < blind.members.size(); ++i) blind = with_lost(blind, i);
  for (int ms = 60'000; ms < 70'000; ms += 500) {
    one.look(blind, ms);
    two.fold(ms);
    two.look(from_two, ms);
    one.fold(ms);
  }
  EXPECT_EQ(said(log), 4) << "it says that it sees nothing, and who sees more says what";
  EXPECT_EQ(log.state.observed_of(kRedis)->observer, node(2));
}

TEST(ObservedCore, AnElectionIsSaidByWhoHearsOfItFirst) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2}, three{log, 3};
  two.begin(0, 1);
  three.begin(0, 2);
  speak(one, {&two, &three});
  ResourceView after = with_lost(view_of(2, 2), 0);
  after.source = "sentinel +switch-master";
  three.look(after, 5000);
  three.tick(5119);
  EXPECT_EQ(said(log), 1) << "two others come first";
  three.tick(5120);
  ASSERT_EQ(said(log), 2);
  EXPECT_EQ(now_of(log).primary, node(2));
  EXPECT_EQ(log.state.observed_of(kRedis)->moved, log.state.observed_of(kRedis)->changed);
  EXPECT_EQ(log.events.back().event.header.reason, "sentinel +switch-master: primary node1 -> node2; replica of node1: no answer");
  // Somebody who still sees the time before has nothing to say.
  two.fold(5130);
  for (int ms = 5200; ms < 20'000; ms += 1000) two.look(view_of(), ms);
  EXPECT_EQ(said(log), 2);
}

TEST(ObservedCore, ALostSpeakerIsReplaced) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  two.begin(0, 0);
  speak(one, {&two});
  for (int ms = 1000; ms < 5000; ms += 500) two.look(with_lost(view_of(), 0, "down"), ms);
  EXPECT_EQ(said(log), 1) << "the speaker sees that too";
  log.add(MemberUnreachable{.silent_ms = 2000, .observers = {node(2), node(3)}}, node(1));
  two.fold(5000);
  two.look(with_lost(view_of(), 0, "down"), 5100);
  ASSERT_EQ(said(log), 2);
  EXPECT_EQ(log.state.observed_of(kRedis)->observer, node(2));
}

TEST(ObservedCore, AnEngineThatFlapsIsSaidMoreSeldom) {
  Log log = log_with_redis();
  Node one{log, 1};
  one.begin();
  std::int64_t ms = 0;
  for (; ms < 60'000; ms += 500) one.look(ms / 1000 % 2 == 0 ? view_of() : with_lost(view_of(), 4), ms);
  EXPECT_LE(said(log), 16) << "60 changes in a minute";
  const int before = said(log);
  for (; ms < 180'000; ms += 500) one.look(with_lost(view_of(), 4), ms);
  EXPECT_LE(said(log), before + 1);
  EXPECT_EQ(now_of(log).members[4].health, "no answer") << "the end is told";
}

TEST(ObservedCore, WhatTakesDumpsIsAProcessOfItsOwnWhoseNodeSpeaks) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  two.begin(0, 1);
  // Both look; node2 cannot see what only node1 knows.
  ResourceView from_one = view_of(), from_two = view_of();
  from_one.members.push_back({.seen = {.node = node(1), .role = kDumpRole, .state = EngineState::kStandby, .identity = "2026-11-26T03:00:09Z"}});
  from_two.members.push_back({.seen = {.node = node(1), .role = kDumpRole, .state = EngineState::kUnknown}});
  two.look(from_two, 0);
  two.tick(1000);
  ASSERT_EQ(log.state.observed_of(kRedis)->observer, node(2));
  one.begin(1100);
  one.look(from_one, 1100);
  one.tick(2000);
  EXPECT_EQ(log.state.observed_of(kRedis)->observer, node(1)) << "it reaches one process more";
  EXPECT_EQ(log.events.back().event.header.reason, "sentinel: dump of node1 is of 2026-11-26T03:00:09Z");
  from_one.members.back().seen.health = "the dump of 2026-11-27T03:00:00Z failed: exit code 1";
  one.look(from_one, 3000);
  one.tick(4000);
  EXPECT_EQ(log.events.back().event.header.reason, "sentinel: dump of node1: the dump of 2026-11-27T03:00:00Z failed: exit code 1");
  EXPECT_EQ(said(log), 3);
}

TEST(ObservedCore, PassesASwitchoverOnOnceAndSaysThatItFailed) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  two.begin(0, 1);
  speak(one);
  two.look(view_of(), 100);
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 30'000}, node(3), kRedis);
  one.fold(1000);
  two.fold(1000);
  two.tick(5000);
  EXPECT_TRUE(two.actions.empty()) << "the speaker does";
  ASSERT_EQ(one.actions.size(), 1u);
  EXPECT_EQ(one.actions[0].from, node(1));
  EXPECT_EQ(one.actions[0].to, node(2));
  one.acted(false, "NOGOODSLAVE", 1100);
  one.look(view_of(), 1200);
  one.tick(1300);
  EXPECT_EQ(one.actions.size(), 1u) << "not again";
  ASSERT_EQ(now_of(log).problems, std::vector<std::string>{"switchover failed: NOGOODSLAVE"});
  EXPECT_EQ(now_of(log).source, kSwitchoverFailed);
  for (int ms = 2000; ms < 40'000; ms += 1000) one.look(view_of(), ms);
  EXPECT_TRUE(now_of(log).problems.empty()) << "it is void by now";
}

TEST(ObservedCore, ASwitchoverThatCameAboutNamesTheRequestAsItsCause) {
  Log log = log_with_redis();
  Node one{log, 1};
  speak(one);
  log.add(SwitchoverRequested{.from = node(1), .to = {}, .valid_ms = 30'000}, node(3), kRedis);
  const EventId asked = log.events.back().event.header.id;
  one.fold(1000);
  one.acted(true, "asked", 1010);
  one.look(view_of(2, 2), 1900);
  EXPECT_EQ(now_of(log).primary, node(2));
  EXPECT_EQ(log.events.back().event.header.cause, asked);
  // A daemon that starts later leaves it alone.
  Node again{log, 1};
  again.begin(3000);
  again.look(view_of(2, 2), 3000);
  again.tick(4000);
  EXPECT_TRUE(again.actions.empty());
}

TEST(ObservedCore, StatesTheEventThatItFollows) {
  Log log = log_with_redis();
  Node one{log, 1};
  speak(one);
  one.look(with_lost(view_of(), 0, "objectively down"), 1000);
  one.tick(1200);
  const EventHeader down = log.events.back().event.header;
  ASSERT_EQ(now_of(log).members[0].health, "objectively down");
  EXPECT_TRUE(down.cause.empty()) << "nothing in the log led to it";
  one.look(view_of(2, 2), 2000);
  ASSERT_EQ(now_of(log).primary, node(2));
  EXPECT_EQ(log.events.back().event.header.cause, down.id) << "down, so another was elected";
  log.add(MemberUnreachable{.silent_ms = 2000, .observers = {node(1), node(3)}}, node(2));
  const EventId silent = log.events.back().event.header.id;
  one.fold(3000);
  one.look(with_lost(view_of(2, 2), 0), 3000);
  one.tick(3300);
  EXPECT_TRUE(log.events.back().event.header.cause.empty()) << "node1 is heard";
  one.look(with_lost(with_lost(view_of(2, 2), 0), 1), 4000);
  one.tick(4300);
  EXPECT_EQ(log.events.back().event.header.cause, silent) << "node2's process with its node";
}

TEST(ObservedCore, MendsOneStepAtATimeWithPatienceAndNotWhilePaused) {
  Log log = log_with_redis();
  Node one{log, 1}, two{log, 2};
  one.begin();
  two.begin(0, 1);
  ResourceView broken = view_of();
  broken.problems = {"sentinel of node3 monitors nothing"};
  broken.repairs = {{"monitor node3", "tell it", seconds(3)}, {"set node3", "set it", seconds(0)}};
  one.look(broken, 0);
  two.look(broken, 0);
  one.tick(100);
  two.fold(110);
  ASSERT_EQ(one.actions.size(), 1u);
  EXPECT_EQ(one.actions[0].repair, "set node3") << "the other one may mend itself";
  one.tick(3500);
  EXPECT_EQ(one.actions.size(), 1u) << "one at a time";
  one.acted(true, "done", 3600);
  one.tick(3700);
  EXPECT_EQ(one.actions.size(), 1u) << "not before it was looked at again";
  broken.repairs.pop_back();
  one.look(broken, 3800);
  ASSERT_EQ(one.actions.size(), 2u);
  EXPECT_EQ(one.actions[1].repair, "monitor node3");
  one.acted(false, "no answer", 4000);
  EXPECT_EQ(one.core.warnings().size(), 1u);
  for (int ms = 4100; ms < 64'000; ms += 100) {
    one.look(broken, ms);
    if (one.actions.size() > 2 && ms % 1000 == 0) one.acted(false, "no answer", ms);
  }
  EXPECT_LE(one.actions.size(), 7u) << "more and more seldom";
  EXPECT_TRUE(two.actions.empty());
  const std::size_t before = one.actions.size();
  log.add(Paused{}, node(1), kRedis);
  one.fold(64'000);
  for (int ms = 64'000; ms < 200'000; ms += 1000) {
    one.acted(false, "no answer", ms);
    one.look(broken, ms);
  }
  EXPECT_EQ(one.actions.size(), before);
  one.look(view_of(), 200'000);
  EXPECT_TRUE(one.core.warnings().empty());
}

}  // namespace
}  // namespace daarion
