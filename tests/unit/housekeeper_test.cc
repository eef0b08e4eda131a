#include "controlplane/core/housekeeper.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// Seen from node1 unless said otherwise; every voter is heard at 0.
class HousekeeperTest : public testing::Test {
 protected:
  HousekeeperTest() { hear_all(at(0)); }
  void hear_all(Instant now) {
    for (int n = 1; n <= 3; ++n) hear(n, now);
  }
  void hear(int n, Instant now, std::vector<NodeId> suspects = {}, const std::string& topology = "hash") {
    Beat b = beat_of(n, ++counter, log.state);
    b.suspects = std::move(suspects);
    b.topology_hash = topology;
    peers.hear(b, now);
  }
  std::vector<MemberWish> advance(Instant now, bool blank = false) {
    const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(1), .instance = instance(1),
                           .caught_up = true, .start = at(0)};
    return housekeeper.advance(c, head, blank, now, recorded);
  }
  static Identity identity(const std::string& topology = "hash") {
    return {.self = node(1), .run = run(1), .boot = boot(1), .instance = instance(1), .software = "1", .fresh_log = log_id(7),
            .topology_hash = topology, .log_sync = {}};
  }
  template <class T>
  static const T* wish(const std::vector<MemberWish>& out) {
    for (const MemberWish& w : out)
      if (const T* p = std::get_if<T>(&w.wish.payload)) return p;
    return nullptr;
  }
  void join(int n) { log.add(MemberJoined{.instance = instance(n), .boot = boot(static_cast<std::uint64_t>(n))}, node(n)); }

  Log log;
  TopologySpec spec = spec_of_three();
  Peers peers{node(1)};
  Housekeeper housekeeper{identity()};
  LogHead head{.exists = true};
  LogId recorded;
  std::uint64_t counter = 0;
};

TEST_F(HousekeeperTest, WaitsForTheLog) {
  head.exists = false;
  EXPECT_TRUE(advance(at(0)).empty());
  ASSERT_TRUE(housekeeper.wait());
  EXPECT_FALSE(housekeeper.wait()->unblock.empty());
}

TEST_F(HousekeeperTest, CreatesTheLogAfterTimeToHearOfAnother) {
  EXPECT_TRUE(advance(at(0)).empty());
  EXPECT_TRUE(advance(at(199)).empty());
  const auto out = advance(at(200));
  ASSERT_NE(wish<LogCreated>(out), nullptr);
  EXPECT_EQ(wish<LogCreated>(out)->log, log_id(7));
}

TEST_F(HousekeeperTest, NeverCreatesOverALogThatHasEvents) {
  head.head = Sequence{5};
  advance(at(0));
  EXPECT_TRUE(advance(at(5000)).empty());
}

TEST_F(HousekeeperTest, ThenTheTopologyThenTheVoters) {
  log.add(LogCreated{log_id(), "test", {}});
  join(1);
  advance(at(0));
  EXPECT_NE(wish<TopologyChanged>(advance(at(200))), nullptr);
  log.add(TopologyChanged{spec, "hash"});
  advance(at(300));
  hear_all(at(400));
  const auto out = advance(at(500));
  ASSERT_NE(wish<VoterSetChanged>(out), nullptr);
  EXPECT_EQ(*wish<VoterSetChanged>(out), voters_of(3));
}

TEST_F(HousekeeperTest, FirstVoterSetNeedsEveryDeclaredVoter) {
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{spec, "hash"});
  join(1);
  hear(1, at(4000));
  hear(2, at(4000));
  EXPECT_EQ(wish<VoterSetChanged>(advance(at(4000))), nullptr);
  ASSERT_TRUE(housekeeper.wait());
  EXPECT_EQ(housekeeper.wait()->what, "every declared voter to be heard once; silent: node3");
}

TEST_F(HousekeeperTest, JoinsOnce) {
  log = log_with_voters();
  EXPECT_NE(wish<MemberJoined>(advance(at(0))), nullptr);
  join(1);
  EXPECT_TRUE(advance(at(0)).empty());
}

/// Two hosts under one id would answer each other in the log for ever.
TEST_F(HousekeeperTest, SaysItsInstanceOnceAndNamesTheOtherHost) {
  log = log_with_voters();
  log.add(MemberJoined{.instance = instance(9), .boot = boot(9)}, node(1));
  EXPECT_NE(wish<MemberReturned>(advance(at(0))), nullptr);
  EXPECT_FALSE(housekeeper.wait()) << "a replaced disk";
  log.add(MemberReturned{instance(1), boot(1), run(1), "1", 1}, node(1));
  EXPECT_TRUE(advance(at(10)).empty());
  log.add(MemberReturned{instance(9), boot(9), run(9), "1", 1}, node(1));
  EXPECT_EQ(wish<MemberReturned>(advance(at(20))), nullptr);
  EXPECT_EQ(wish<MemberReturned>(advance(at(30))), nullptr);
  ASSERT_TRUE(housekeeper.wait());
  EXPECT_EQ(housekeeper.wait()->what, "the end of another host that runs as node1");
  EXPECT_EQ(housekeeper.wait()->since, at(20));
  EXPECT_NE(wish<MemberReturned>(advance(at(40), true)), nullptr) << "a blank voter waits for its own";
  log.add(MemberUnreachable{3000, {node(2), node(3)}}, node(1));
  EXPECT_NE(wish<MemberReturned>(advance(at(50))), nullptr) << "this host is heard again";
}

TEST_F(HousekeeperTest, ReturnsAfterARebootAReplacedDiskOrSilence) {
  log = log_with_voters();
  log.add(MemberJoined{.instance = instance(1), .boot = boot(9)}, node(1));
  EXPECT_NE(wish<MemberReturned>(advance(at(0))), nullptr) << "another boot";
  log.add(MemberReturned{instance(9), boot(1), run(1), "1", 1}, node(1));
  EXPECT_NE(wish<MemberReturned>(advance(at(0))), nullptr) << "another instance";
  log.add(MemberReturned{instance(1), boot(1), run(1), "1", 1}, node(1));
  EXPECT_EQ(wish<MemberReturned>(advance(at(0))), nullptr);
  EXPECT_NE(wish<MemberReturned>(advance(at(0), true)), nullptr) << "its voter is blank and waits for it";
  log.add(MemberUnreachable{3000, {node(2), node(3)}}, node(1));
  EXPECT_NE(wish<MemberReturned>(advance(at(0))), nullptr) << "was called unreachable";
}

TEST_F(HousekeeperTest, SilentMemberNeedsAMajorityOfObservers) {
  log = log_with_voters();
  for (int n = 1; n <= 3; ++n) join(n);
  hear_all(at(0));
  hear(2, at(2900));
  advance(at(3000));
  EXPECT_EQ(wish<MemberUnreachable>(advance(at(3300))), nullptr) << "node2 does not suspect it";
  hear(2, at(3400), {node(3)});
  advance(at(3400));
  const auto out = advance(at(3700));
  const MemberUnreachable* silent = wish<MemberUnreachable>(out);
  ASSERT_NE(silent, nullptr);
  EXPECT_EQ(silent->observers, (std::vector{node(1), node(2)}));
  EXPECT_EQ(silent->silent_ms, 3700u);
  EXPECT_EQ(out[0].about, node(3));
}

TEST_F(HousekeeperTest, NewTopologyOnceEveryVoterHasIt) {
  log = log_with_voters();
  join(1);
  housekeeper = Housekeeper(identity("new"));
  hear(1, at(0), {}, "new");
  hear(2, at(0), {}, "new");
  hear(3, at(0), {}, "hash");
  advance(at(0));
  EXPECT_TRUE(advance(at(1000)).empty());
  hear(3, at(1000), {}, "new");
  advance(at(1000));
  EXPECT_NE(wish<TopologyChanged>(advance(at(1200))), nullptr);
}

// ---- the voter set: seen by node1 at 3 s and later, so that who was heard at 0 alone is lost
class VoterSetTest : public HousekeeperTest {
 protected:
  VoterSetTest() {
    log = log_with_voters();
    for (int n = 1; n <= 3; ++n) join(n);
  }
  /// A beat of the node's installation that gives its word for the set.
  void word(int n, int its_instance, Instant now, EventId set, std::vector<PromisedEpoch> promised = {}) {
    Beat b = beat_of(n, ++counter, log.state, static_cast<std::uint64_t>(its_instance));
    b.instance = instance(its_instance);
    b.topology_hash = "hash";
    b.ready_for = set;
    b.promised = std::move(promised);
    peers.hear(b, now);
  }
  void words(const std::vector<int>& nodes, Instant now) {
    for (const int n : nodes) word(n, n, now, log.state.voters.id);
  }
  std::optional<VoterSetChanged> change(Instant now, std::string* reason = nullptr) {
    for (const MemberWish& w : advance(now)) {
      const auto* p = std::get_if<VoterSetChanged>(&w.wish.payload);
      if (p == nullptr) continue;
      if (reason != nullptr) *reason = w.wish.reason;
      EXPECT_EQ(objection(log.state, *p), "");
      return *p;
    }
    return std::nullopt;
  }
  /// The same with the voter's turn waited for.
  std::optional<VoterSetChanged> change_after(Instant now, std::string* reason = nullptr) {
    EXPECT_FALSE(change(now)) << "another voter may be quicker";
    return change(now + milliseconds(200), reason);
  }
  std::string waits() const { return housekeeper.set_wait() ? housekeeper.set_wait()->what : ""; }
  const VoterInstance old{node(3), instance(3)}, fresh{node(3), instance(9)};
};

TEST_F(VoterSetTest, AReplacedDiskLeavesFirstAndThenTheNewOneJoins) {
  words({1, 2}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  std::string reason;
  const auto leaves = change_after(at(3000), &reason);
  ASSERT_TRUE(leaves);
  EXPECT_EQ(leaves->voters, (voters_of(2).voters));
  EXPECT_EQ(leaves->next, std::vector{fresh});
  EXPECT_EQ(leaves->base, log.state.voters.id);
  ASSERT_EQ(leaves->words.size(), 2u);
  EXPECT_NE(reason.find("the disk of node3 was replaced: instance 00000000 for 00000000; node3 (instance 00000000) leaves"), std::string::npos) << reason;
  log.add(*leaves);
  EXPECT_FALSE(change(at(3300)));
  EXPECT_NE(waits().find("the word of a majority; missing: node1, node2"), std::string::npos) << waits();
  words({1, 2}, at(6000));
  EXPECT_FALSE(change(at(6000)));
  EXPECT_NE(waits().find("node3 to be heard"), std::string::npos) << waits();
  word(3, 9, at(6000), {});
  EXPECT_FALSE(change(at(6000)));
  EXPECT_NE(waits().find("the word of node3"), std::string::npos) << waits();
  word(3, 9, at(6000), log.state.voters.id);
  const auto joins = change_after(at(6000), &reason);
  ASSERT_TRUE(joins);
  EXPECT_EQ(joins->voters, (std::vector<VoterInstance>{{node(1), instance(1)}, {node(2), instance(2)}, fresh}));
  EXPECT_TRUE(joins->next.empty());
  EXPECT_NE(reason.find("joins"), std::string::npos) << reason;
  log.add(*joins);
  EXPECT_FALSE(change(at(6300)));
  EXPECT_FALSE(change(at(7000)));
  EXPECT_EQ(waits(), "");
}

TEST_F(VoterSetTest, NobodyIsReplacedWhoWasHeardALittleWhileAgo) {
  word(3, 3, at(1000), {});
  words({1, 2}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3400)));
  EXPECT_EQ(waits(), "");
  words({1, 2}, at(3600));
  word(3, 9, at(3600), log.state.voters.id);
  EXPECT_TRUE(change_after(at(3600)));
}

TEST_F(VoterSetTest, OfTwoHostsUnderOneIdTheOneThatVotesStays) {
  words({1, 2}, at(3000));
  word(3, 3, at(3000), log.state.voters.id);
  word(3, 9, at(3001), log.state.voters.id);
  EXPECT_FALSE(change(at(3001)));
  EXPECT_FALSE(change(at(3300)));
  EXPECT_EQ(waits(), "");
}

TEST_F(VoterSetTest, WaitsForTheWordsOfAMajorityForThisSetAndNotAboveTheLog) {
  word(3, 9, at(3000), log.state.voters.id);
  words({1}, at(3000));
  const auto refused = [&](Instant now, const char* missing) {
    EXPECT_FALSE(change(now));
    EXPECT_FALSE(change(now + milliseconds(200)));
    EXPECT_NE(waits().find(missing), std::string::npos) << waits();
    EXPECT_EQ(housekeeper.set_wait()->unblock, "daarionctl nodes");
  };
  word(2, 2, at(3000), {});
  refused(at(3000), "missing: node2, node3");
  word(2, 2, at(3300), EventId{0xE, 1});
  refused(at(3300), "missing: node2, node3");
  word(2, 2, at(3600), log.state.voters.id, {{kPostgres, Epoch{1}}});
  refused(at(3600), "missing: node2, node3");
  word(2, 8, at(3900), log.state.voters.id);
  refused(at(3900), "a majority of the voters that there would be then");
  words({2}, at(4200));
  EXPECT_TRUE(change_after(at(4200)));
  EXPECT_FALSE(change(at(6500))) << "their words are older than a lease";
}

TEST_F(VoterSetTest, AWordFromBeforeALossOfTheLogDoesNotCount) {
  words({1, 2}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  log.add(LogRegressed{log.state.applied, log.state.applied, ""}, node(2));
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3200)));
  words({1, 2}, at(3300));
  EXPECT_TRUE(change_after(at(3300)));
}

TEST_F(VoterSetTest, APausedClusterWaits) {
  words({1, 2}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  log.pause();
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3200)));
  ASSERT_TRUE(housekeeper.set_wait());
  EXPECT_EQ(housekeeper.set_wait()->unblock, "daarionctl resume --reason TEXT");
  log.resume();
  EXPECT_TRUE(change_after(at(3300)));
}

TEST_F(VoterSetTest, FurtherVotersJoinOnceANumberThatIsWorthItIsThere) {
  for (int n = 4; n <= 5; ++n) spec.voters.push_back(node(n));
  words({1, 2, 3, 4}, at(3000));
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3300)));
  EXPECT_NE(waits().find("node5 to be heard: it is declared a voter"), std::string::npos) << waits();
  words({1, 2, 3, 4, 5}, at(3500));
  const auto fourth = change_after(at(3500));
  ASSERT_TRUE(fourth);
  EXPECT_EQ(fourth->voters, voters_of(4).voters);
  EXPECT_EQ(fourth->next, (std::vector<VoterInstance>{{node(5), instance(5)}}));
  log.add(*fourth);
  words({1, 2, 3, 4, 5}, at(4000));
  const auto fifth = change_after(at(4000));
  ASSERT_TRUE(fifth);
  EXPECT_EQ(fifth->voters, voters_of(5).voters);
}

TEST_F(VoterSetTest, ALivingVoterLeavesAfterTheOneInItsPlaceHasJoined) {
  spec.voters = {node(1), node(2), node(4)};
  words({1, 2, 3}, at(3000));
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3200))) << "two would be worth less than three";
  words({1, 2, 3, 4}, at(3300));
  const auto joins = change_after(at(3300));
  ASSERT_TRUE(joins);
  EXPECT_EQ(joins->voters, voters_of(4).voters);
  EXPECT_EQ(joins->next, std::vector{old});
  log.add(*joins);
  words({1, 2, 3, 4}, at(4000));
  std::string reason;
  const auto leaves = change_after(at(4000), &reason);
  ASSERT_TRUE(leaves);
  EXPECT_EQ(leaves->voters, (std::vector<VoterInstance>{{node(1), instance(1)}, {node(2), instance(2)}, {node(4), instance(4)}}));
  EXPECT_NE(reason.find("node3 is no longer declared a voter"), std::string::npos) << reason;
}

TEST_F(VoterSetTest, NeverBelowAMajorityThatIsHeard) {
  log = log_with_voters(5);
  spec.voters = {node(1), node(2), node(3)};
  words({3, 4, 5}, at(3000));
  word(1, 1, at(3000), log.state.voters.id);
  for (const Instant now : {at(3000), at(3200)}) {
    const auto leaves = change(now);
    if (now == at(3200)) {
      ASSERT_TRUE(leaves);
      EXPECT_EQ(leaves->voters.size(), 4u);
      log.add(*leaves);
    }
  }
  // node2 is lost, and now node3 too: of node1, node2, node3 alone there would be no majority.
  words({1, 4, 5}, at(9000));
  EXPECT_FALSE(change(at(9000)));
  EXPECT_FALSE(change(at(9200)));
  EXPECT_NE(waits().find("a majority of the voters that there would be then"), std::string::npos) << waits();
}

/// In passing, the one that was to come next is replaced once more.
TEST_F(VoterSetTest, AnEvenNumberMayBeFollowedByAnotherThanItNamedOnceItNamesThat) {
  log.change_set(old, {fresh});
  words({1, 2}, at(3000));
  word(3, 10, at(3000), log.state.voters.id);
  std::string reason;
  const auto renames = change_after(at(3000), &reason);
  ASSERT_TRUE(renames);
  EXPECT_EQ(renames->voters, voters_of(2).voters);
  EXPECT_EQ(renames->next, (std::vector<VoterInstance>{{node(3), instance(10)}}));
  EXPECT_NE(reason.find("is the next to join"), std::string::npos) << reason;
  log.add(*renames);
  words({1, 2}, at(6000));
  word(3, 10, at(6000), log.state.voters.id);
  const auto joins = change_after(at(6000));
  ASSERT_TRUE(joins);
  EXPECT_EQ(joins->voters.size(), 3u);
}

TEST_F(VoterSetTest, APauseOfWhatIsNotDeclaredAnyMoreIsNoPause) {
  log.add(Paused{}, node(1), ResourceId("gone"));
  words({1, 2}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  EXPECT_TRUE(change_after(at(3000))) << waits();
}

TEST_F(VoterSetTest, SaysWhyAWordIsMissing) {
  words({1}, at(3000));
  word(3, 9, at(3000), log.state.voters.id);
  Beat b = beat_of(2, ++counter, log.state);
  b.topology_hash = "hash";
  b.promises = {{.resource = kPostgres, .node = node(1), .session = session(1), .endless = true}};
  peers.hear(b, at(3000));
  EXPECT_FALSE(change(at(3000)));
  EXPECT_NE(waits().find("node2 (its promise of postgres has no end)"), std::string::npos) << waits();
}

TEST_F(VoterSetTest, ASetThatAPowerCutCouldTakeIsNotChanged) {
  Identity slow = identity();
  slow.log_sync = seconds(150);
  housekeeper = Housekeeper(slow);
  advance(at(0));
  for (const std::int64_t ms : {3000, 149'900}) {
    words({1, 2}, at(ms));
    word(3, 9, at(ms), log.state.voters.id);
    EXPECT_FALSE(change(at(ms)));
    EXPECT_NE(waits().find("the present set to be on the disks of the log's servers"), std::string::npos) << waits();
  }
  EXPECT_TRUE(change_after(at(150'000)));
}

TEST_F(VoterSetTest, OnlyAVoterOfTheSetChangesIt) {
  log.state.voters.voters[0].instance = instance(8);
  words({2, 3}, at(3000));
  word(1, 1, at(3000), log.state.voters.id);
  EXPECT_FALSE(change(at(3000)));
  EXPECT_FALSE(change(at(3300)));
  EXPECT_EQ(waits(), "");
}

TEST_F(HousekeeperTest, SuspectsAreSilentForLongerThanATtl) {
  const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(1), .start = at(0)};
  EXPECT_TRUE(suspects(c, at(2000)).empty());
  EXPECT_EQ(suspects(c, at(2001)), (std::vector{node(2), node(3)}));
}

// ---- a log that lost events
TEST_F(HousekeeperTest, AnEmptyLogIsNotBegunAnewWhereTheRecordNamesOne) {
  recorded = log_id(3);
  EXPECT_TRUE(advance(at(0)).empty());
  EXPECT_TRUE(advance(at(10'000)).empty());
  ASSERT_TRUE(housekeeper.wait());
  EXPECT_NE(housekeeper.wait()->what.find("restore it from a backup"), std::string::npos);
}

TEST_F(HousekeeperTest, TellsWhatTheLogLostUnlessAnotherNodeHas) {
  log = log_with_voters();
  for (int n = 1; n <= 3; ++n) join(n);
  const std::uint64_t head_now = log.state.applied.value;
  housekeeper.on(LogLost{log_id(), Sequence{head_now + 9}, Sequence{head_now}, "what was there"}, {});
  advance(at(0));
  const auto out = advance(at(1000));
  const auto* told = wish<LogRegressed>(out);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->folded, Sequence{head_now + 9});
  EXPECT_EQ(told->head, Sequence{head_now});
  EXPECT_EQ(told->known_lost, "what was there");
  log.add(LogRegressed{Sequence{head_now + 8}, Sequence{head_now}, ""}, node(2));
  EXPECT_NE(wish<LogRegressed>(advance(at(1100))), nullptr) << "the other one had folded less";
  log.add(LogRegressed{Sequence{head_now + 9}, Sequence{head_now}, ""}, node(2));
  EXPECT_EQ(wish<LogRegressed>(advance(at(1200))), nullptr);
}

TEST_F(HousekeeperTest, AnEarlierLossIsNotThisOne) {
  log = log_with_voters();
  for (int n = 1; n <= 3; ++n) join(n);
  log.add(LogRegressed{Sequence{100}, Sequence{1}, ""}, node(2));
  housekeeper.on(LogLost{log_id(), Sequence{20}, log.state.applied, ""}, {});
  advance(at(0));
  EXPECT_NE(wish<LogRegressed>(advance(at(1000))), nullptr);
}

/// Two replicas hold different events at one place: the log shows the one, then the other, then the one again.
TEST_F(HousekeeperTest, ALossOfTheSamePlacesIsAnotherThanTheOneBefore) {
  log = log_with_voters();
  for (int n = 1; n <= 3; ++n) join(n);
  const std::uint64_t head_now = log.state.applied.value;
  log.add(LogRegressed{Sequence{head_now + 1}, Sequence{head_now}, "the one"}, node(2));
  housekeeper.on(LogLost{log_id(), Sequence{head_now + 1}, Sequence{head_now}, "the other"}, log.state.log.regressions);
  advance(at(0));
  const auto out = advance(at(1000));
  const auto* told = wish<LogRegressed>(out);
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(told->known_lost, "the other");
  log.add(*told, node(3));
  EXPECT_EQ(wish<LogRegressed>(advance(at(1200))), nullptr) << "another node was faster";
}

// ---- the route table
TEST_F(HousekeeperTest, TheTableFollowsTopologyAndMembersAndIsSaidOnce) {
  TopologySpec routed = spec;
  routed.routes = {{.name = "message", .subjects = {"message.*"}}, {.name = "own", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal}};
  log = log_with_voters();
  for (int n = 1; n <= 3; ++n) join(n);
  advance(at(0));
  EXPECT_EQ(wish<RouteTableChanged>(advance(at(1000))), nullptr) << "no rules, no table";
  log.add(TopologyChanged{routed, "hash"});
  EXPECT_EQ(wish<RouteTableChanged>(advance(at(1000))), nullptr) << "another voter may be quicker";
  const auto out = advance(at(1200));
  const auto* table = wish<RouteTableChanged>(out);
  ASSERT_NE(table, nullptr);
  ASSERT_EQ(table->rules.size(), 2u);
  EXPECT_EQ(table->rules[0].subjects, std::vector<std::string>{"message.>"});
  EXPECT_EQ(table->rules[1].subjects, (std::vector<std::string>{"node.node1.local.>", "node.node2.local.>", "node.node3.local.>"}));
  log.add(*table);
  EXPECT_EQ(wish<RouteTableChanged>(advance(at(9000))), nullptr);
  log.add(MemberIntentChanged{.intent = MemberIntent::kRetired}, node(3));
  advance(at(9000));
  const auto without = advance(at(9200));
  ASSERT_NE(wish<RouteTableChanged>(without), nullptr);
  EXPECT_EQ(wish<RouteTableChanged>(without)->rules[1].subjects, (std::vector<std::string>{"node.node1.local.>", "node.node2.local.>"}));
}

}  // namespace
}  // namespace daarion
