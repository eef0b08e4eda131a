#include "controlplane/core/decider.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// Seen from node2 unless said otherwise: node1 held epoch 1 at position 1000 and fell silent at 0, node2 has everything.
class DeciderTest : public testing::Test {
 protected:
  DeciderTest() {
    Beat b = beat_of(1, 0, log.state);
    b.claims = {claim_of(1, session(1))};
    b.engines = {standby_at(1000)};
    b.engines[0].state = EngineState::kPrimary;
    peers.hear(b, at(-1500));
    b.counter = 1;
    peers.hear(b, at(0));
    advance(at(0));  // it sees the lease before any vote comes
  }
  void hear_replica(Instant now, std::uint64_t lsn = 1000, SessionId next = session(2)) {
    Beat b = beat_of(2, ++counter, log.state);
    b.next = {{kPostgres, next}};
    b.engines = {standby_at(lsn)};
    peers.hear(b, now);
  }
  void vote(int voter, Instant now, std::uint64_t highest = 1) {
    decider.on_vote({.voter = node(voter), .instance = instance(voter), .run = run(1), .log = log_id(), .voter_set = log.state.voters.id,
                     .resource = kPostgres, .highest = Epoch{highest}, .over_ms = 5},
                    now);
  }
  std::optional<Decider::Nomination> advance(Instant now, int self = 2) {
    return decider.advance(context(self), now);
  }
  DeciderContext context(int self) const {
    return {.state = log.state, .peers = peers, .spec = spec, .self = node(self), .instance = instance(self), .software = "test",
            .caught_up = caught_up, .start = at(-10'000), .live_wishes = wishes, .log_ns = log_ns};
  }
  std::string waits_for() const { return decider.wait() ? decider.wait()->what : ""; }

  Log log = log_with_holder();
  TopologySpec spec = spec_of_three();
  Peers peers{node(2)};
  Decider decider{kPostgres};
  bool caught_up = true;
  std::vector<ResourceId> wishes;
  std::uint64_t counter = 0;
  std::int64_t log_ns = 0;
};

/// Commits wait for one of the others, where three run it.
TEST_F(DeciderTest, WhereCommitsWaitedForReplicasAsManyAreHeardAsShowWhatWasAcknowledged) {
  spec.resources[0].members = {node(1), node(2), node(3)};
  spec.resources[0].sync = SyncMode::kSync;
  const auto decides = [&](Instant now) {
    hear_replica(now);
    vote(2, now);
    vote(3, now);
    advance(now);
    hear_replica(now + milliseconds(20));
    return advance(now + milliseconds(200));
  };
  EXPECT_FALSE(decides(at(2500)));
  EXPECT_NE(waits_for().find("1 of the 2 replicas that confirmed the writes of node1 show what they have, 2 must"), std::string::npos) << waits_for();
  log.add(SyncSetChanged{session(1), {node(2)}, 1}, node(1), kPostgres, Epoch{1});
  const auto nomination = decides(at(2750));
  ASSERT_TRUE(nomination) << waits_for();
  EXPECT_EQ(nomination->decision.to, node(2));
  EXPECT_EQ(nomination->evidence.sync, (std::vector<SyncEvidence>{{node(1), {node(2)}, 1}}));
  EXPECT_EQ(nomination->decision, decide(nomination->evidence));
}

/// node1 again, under another session that nobody heard: what waited for node2 alone may wait for both by now, and its clean end is not its last word.
TEST_F(DeciderTest, WhoWasNamedAgainMayHaveWrittenUnderWhatIsDeclared) {
  spec.resources[0].members = {node(1), node(2), node(3)};
  spec.resources[0].sync = SyncMode::kSync;
  log.add(SyncSetChanged{session(1), {node(2)}, 1}, node(1), kPostgres, Epoch{1});
  log.add(LeaseReleased{.session = session(1), .cause = EndCause::kReleased, .final_position = true, .position = {1, Lsn{1000}, "db"}, .instance = instance(1)}, node(1),
          kPostgres, Epoch{1});
  log.decide(2, 1, session(11));
  const Evidence e = Decider::gather(kPostgres, context(2), at(2500));
  EXPECT_EQ(e.sync, (std::vector<SyncEvidence>{{node(1), {node(2)}, 1}, {node(1), {node(2), node(3)}, 1}}));
  EXPECT_FALSE(e.final_position);
}

TEST_F(DeciderTest, SaysNothingWhileTheLeaseLives) {
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500)));
  EXPECT_EQ(waits_for(), "");
}

TEST_F(DeciderTest, DecidesWithAMajorityOfVotesWithinABeat) {
  vote(2, at(2500));
  vote(3, at(2600));
  hear_replica(at(2600));
  advance(at(2600));
  const auto n = advance(at(2610));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->decision.instance, instance(2)) << "of the beat that offered the session";
  ASSERT_TRUE(n);
  EXPECT_EQ(n->decision.to, node(2));
  EXPECT_EQ(n->decision.session, session(2));
  EXPECT_EQ(n->decision.epoch, Epoch{2});
  EXPECT_EQ(n->evidence.votes.size(), 2u);
  EXPECT_EQ(n->evidence.last_holder, node(1));
  EXPECT_EQ(n->evidence.last_position.lsn, Lsn{1000});
  EXPECT_EQ(decide(n->evidence), n->decision) << "a decision made again from its evidence is the same";
}

TEST_F(DeciderTest, WaitsForAMajorityOfVotesAndNamesIt) {
  vote(2, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500)));
  EXPECT_EQ(waits_for(), "a majority of votes: 1 of 3");
  EXPECT_EQ(decider.wait()->unblock, "daarionctl nodes");
}

TEST_F(DeciderTest, VotesTooFarApartAreNoMajority) {
  vote(2, at(2500));
  vote(3, at(2851));
  hear_replica(at(2851));
  EXPECT_FALSE(advance(at(2851)));
  EXPECT_EQ(waits_for(), "a majority of votes: 1 of 3");
}

TEST_F(DeciderTest, VotesOfOthersDoNotCount) {
  vote(2, at(2500));
  vote(4, at(2500));
  Vote foreign{.voter = node(3), .instance = instance(9), .log = log_id(), .voter_set = log.state.voters.id, .resource = kPostgres};
  decider.on_vote(foreign, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500)));
  foreign.instance = instance(3);
  foreign.voter_set = EventId{1, 1};
  decider.on_vote(foreign, at(2500));
  EXPECT_FALSE(advance(at(2500)));
  foreign.voter_set = log.state.voters.id;
  foreign.log = log_id(2);
  decider.on_vote(foreign, at(2500));
  EXPECT_FALSE(advance(at(2500)));
}

TEST_F(DeciderTest, VotersDecideOneAfterTheOther) {
  vote(1, at(2500));
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500), 3));
  EXPECT_EQ(decider.next_change(), at(2520));
  EXPECT_FALSE(advance(at(2519), 3));
  EXPECT_TRUE(advance(at(2520), 3));
  EXPECT_TRUE(advance(at(2520), 1)) << "the first waits for nobody";
}

TEST_F(DeciderTest, OnlyVotersDecide) {
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500), 4));
  EXPECT_FALSE(advance(at(2600), 4));
}

TEST_F(DeciderTest, WaitsForItsFold) {
  caught_up = false;
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2550)));
  EXPECT_EQ(waits_for(), "this node's fold to reach the head of the log");
}

TEST_F(DeciderTest, VotesBeforeTheNewestDecisionAreVoid) {
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  ASSERT_TRUE(advance(at(2500)));
  log.decide(2, 2, session(2));
  EXPECT_FALSE(advance(at(2510)));
  EXPECT_EQ(waits_for(), "") << "votes of before speak of another lease";
}

TEST_F(DeciderTest, OneTtlForTheSessionThatWasNamed) {
  advance(at(2400));
  log.decide(2, 2, session(2));
  advance(at(2500));
  vote(2, at(4400));
  vote(3, at(4400));
  hear_replica(at(4400));
  EXPECT_FALSE(advance(at(4400)));
  EXPECT_EQ(waits_for(), "session of epoch 2 on node2 to claim");
  EXPECT_EQ(decider.next_change(), at(4500));
  EXPECT_TRUE(advance(at(4500)));
}

/// Every daemon was started anew at once: nobody has heard node1 write, and its engine replays while its replica is up.
class RestartedTest : public testing::Test {
 protected:
  void hear(int n, Instant now, EngineState state, std::uint64_t lsn) {
    Beat b = beat_of(n, ++counter, log.state);
    b.next = {{kPostgres, session(static_cast<std::uint64_t>(n) + 20)}};
    b.engines = {standby_at(lsn)};
    b.engines[0].state = state;
    peers.hear(b, now);
  }
  std::optional<Decider::Nomination> decide_at(Instant now) {
    for (const int voter : {2, 3})
      decider.on_vote({.voter = node(voter), .instance = instance(voter), .run = run(1), .log = log_id(), .voter_set = log.state.voters.id, .resource = kPostgres,
                       .highest = Epoch{1}, .over_ms = 5}, now);
    return decider.advance({.state = log.state, .peers = peers, .spec = spec, .self = node(2), .instance = instance(2), .software = "test", .caught_up = true,
                            .start = at(0), .live_wishes = {}}, now);
  }
  Log log = log_with_holder();
  TopologySpec spec = spec_of_three();
  Peers peers{node(2)};
  Decider decider{kPostgres};
  std::uint64_t counter = 0;
};

TEST_F(RestartedTest, WaitsForThePositionOfWhoWroteLast) {
  (void)decide_at(at(0));
  for (int ms = 500; ms <= 2000; ms += 500) {
    hear(1, at(ms), EngineState::kStopped, 0);
    hear(2, at(ms), EngineState::kStandby, 900);
    EXPECT_FALSE(decide_at(at(ms))) << ms;
  }
  ASSERT_TRUE(decider.wait());
  EXPECT_EQ(decider.wait()->what, "the position of node1, which wrote last, or may have, and is not up yet");
  hear(1, at(2500), EngineState::kStandby, 1000);
  hear(2, at(2500), EngineState::kStandby, 900);
  const auto nominated = decide_at(at(2500));
  ASSERT_TRUE(nominated);
  EXPECT_EQ(nominated->decision.to, node(1));
  EXPECT_FALSE(nominated->evidence.end_unknown) << "it has what it wrote";
}

/// A switchover: node1 stopped cleanly, node2 was named, may have written, and everything was killed before the log had its completion.
TEST_F(RestartedTest, WaitsForOneThatWasNamedAndMayHaveWritten) {
  log.add(LeaseReleased{session(1), EndCause::kReleased, true, {1, Lsn{1000}, "db"}, instance(1)}, node(1), kPostgres, Epoch{1});
  log.decide(2, 2, session(2), DecisionKind::kSwitchover);
  (void)decide_at(at(0));
  std::optional<Decider::Nomination> nominated;
  int ms = 500;
  for (; ms <= 20'000 && !nominated; ms += 500) {
    hear(1, at(ms), EngineState::kStandby, 1000);
    hear(2, at(ms), EngineState::kStarting, 0);
    nominated = decide_at(at(ms));
    if (nominated || ms <= 3000) continue;
    EXPECT_EQ(decider.wait()->what, "the position of node2, which wrote last, or may have, and is not up yet") << ms;
  }
  ASSERT_TRUE(nominated);
  EXPECT_EQ(nominated->decision.to, node(1));
  EXPECT_GE(ms, 10'000);
  EXPECT_TRUE(nominated->evidence.end_unknown) << "node2 did not come up";
}

TEST_F(RestartedTest, CountsTheLossFromWhatWhoWroteLastShows) {
  spec.resources[0].tags[node(1)].nofailover = true;
  (void)decide_at(at(0));
  hear(1, at(500), EngineState::kStandby, 1000);
  hear(2, at(500), EngineState::kStandby, 900);
  (void)decide_at(at(500));
  hear(1, at(800), EngineState::kStandby, 1000);
  hear(2, at(800), EngineState::kStandby, 900);
  const auto nominated = decide_at(at(800));
  ASSERT_TRUE(nominated);
  EXPECT_EQ(nominated->decision.to, node(2));
  EXPECT_EQ(nominated->decision.loss_bytes, 100u);
  EXPECT_FALSE(nominated->evidence.end_unknown);
}

TEST_F(RestartedTest, WaitsForNobodyWhoIsSilentAndNotForEver) {
  (void)decide_at(at(0));
  hear(2, at(500), EngineState::kStandby, 900);
  (void)decide_at(at(500));
  hear(2, at(800), EngineState::kStandby, 900);
  const auto at_once = decide_at(at(800));
  ASSERT_TRUE(at_once) << "node1 is not there";
  EXPECT_TRUE(at_once->evidence.end_unknown);
  EXPECT_EQ(at_once->decision.loss_bytes, 0u) << "of what is known";
  std::optional<Decider::Nomination> nominated;
  int ms = 1000;
  for (; ms < 20'000 && !nominated; ms += 500) {
    hear(1, at(ms), EngineState::kStopped, 0);
    hear(2, at(ms), EngineState::kStandby, 900);
    nominated = decide_at(at(ms));
  }
  ASSERT_TRUE(nominated) << "its engine never comes up";
  EXPECT_EQ(nominated->decision.to, node(2));
  EXPECT_GE(ms, 10'000);
  EXPECT_TRUE(nominated->evidence.end_unknown);
}

TEST_F(DeciderTest, SaysThatTheLossIsUnknownWhereOneThatWasNamedMayHaveWritten) {
  spec.resources[0].members = {node(1), node(2), node(3)};
  log.decide(2, 3, session(3));
  const auto unknown = [&](Instant now) { return Decider::preview(kPostgres, context(2), true, now).evidence.end_unknown; };
  hear_replica(at(2500));
  EXPECT_TRUE(unknown(at(2500))) << "node3 was named and is not heard";
  Beat b = beat_of(3, ++counter, log.state);
  b.engines = {standby_at(900)};
  peers.hear(b, at(2600));
  EXPECT_TRUE(unknown(at(2600))) << "a standby; its beat may have been long on its way, and it have opened its engine since";
  b.counter = ++counter;
  b.ended = {{kPostgres, session(3)}};
  peers.hear(b, at(2700));
  EXPECT_FALSE(unknown(at(2700))) << "a standby whose session is over";
  EXPECT_TRUE(unknown(at(5000))) << "and silent since";
  log.add(PromotionFailed{session(3), instance(3)}, node(3), kPostgres, Epoch{2});
  EXPECT_FALSE(unknown(at(5000))) << "it said that it did not";
}

/// Seen in chaos: three decisions in six seconds for a node that heard votes and beats, and nothing of the log.
TEST_F(DeciderTest, NamesASessionOnceWhileItsNodeDoesNotReadTheLog) {
  advance(at(2400));
  const Sequence before = log.state.applied;
  log.decide(2, 2, session(2));
  advance(at(2500));
  const auto again = [&](Instant now, Sequence read, SessionId next) {
    vote(2, now, 2);
    vote(3, now, 2);
    Beat b = beat_of(2, ++counter, log.state);
    b.next = {{kPostgres, next}};
    b.engines = {standby_at(1000)};
    b.applied = read;
    peers.hear(b, now);
    advance(now);
    return advance(now + std::chrono::milliseconds(200));
  };
  EXPECT_FALSE(again(at(4500), before, session(2)));
  EXPECT_EQ(waits_for(), "node2 to read event " + std::to_string(log.state.applied.value) + " of the log, which names it; it has not yet");
  EXPECT_FALSE(again(at(60'000), before, session(2)));
  EXPECT_TRUE(again(at(61'000), before, session(3))) << "it runs again: the session that was named is no more";
  EXPECT_TRUE(again(at(62'000), log.state.applied, session(2))) << "it has read its name, and does not claim";
}

/// Such a decision would be over as soon as it is made, and the next one would name it again: forty a second.
TEST_F(DeciderTest, NamesNoSessionWhoseEndTheLogShows) {
  log.add(PromotionDecided{.to = node(2), .session = session(2)}, node(1), kPostgres, Epoch{2});
  log.add(PromotionFailed{session(2), instance(9)}, node(2), kPostgres, Epoch{2});
  advance(at(2400));
  vote(2, at(2500), 2);
  vote(3, at(2500), 2);
  hear_replica(at(2500));
  advance(at(2500));
  EXPECT_FALSE(advance(at(2700)));
  EXPECT_NE(waits_for().find("no session"), std::string::npos) << waits_for();
}

TEST_F(DeciderTest, DecidesAtOnceWhenTheNamedSessionFailed) {
  log.decide(2, 2, session(2));
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{2});
  advance(at(2500));
  vote(2, at(2600), 2);
  vote(3, at(2600), 2);
  hear_replica(at(2600), 1000, session(3));
  const auto n = advance(at(2600));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->decision.epoch, Epoch{3});
}

TEST_F(DeciderTest, WaitsLongerAfterEachNominationThatFails) {
  const auto fail = [&](std::uint64_t epoch, std::int64_t t) {
    log.decide(static_cast<int>(epoch), 2, session(static_cast<int>(epoch)));
    log.add(PromotionFailed{session(static_cast<int>(epoch)), instance(2)}, node(2), kPostgres, Epoch{epoch});
    advance(at(t));
  };
  const auto tries = [&](std::uint64_t epoch, std::int64_t t) {
    vote(2, at(t), epoch - 1);
    vote(3, at(t), epoch - 1);
    hear_replica(at(t), 1000, session(static_cast<int>(epoch)));
    return advance(at(t)).has_value();
  };
  fail(2, 2500);
  EXPECT_TRUE(tries(3, 2501)) << "one failure may be bad luck";
  std::int64_t t = 2600;
  std::uint64_t epoch = 3;
  for (const std::int64_t pause : {500, 1000, 2000, 4000, 8000, 8000}) {
    fail(epoch, t);
    EXPECT_FALSE(tries(epoch + 1, t + pause - 1)) << "after epoch " << epoch;
    EXPECT_NE(waits_for().find("the last " + std::to_string(epoch - 1) + " ended without a promotion, the last one on node2"), std::string::npos) << waits_for();
    EXPECT_EQ(decider.next_change(), at(t + pause));
    EXPECT_TRUE(tries(epoch + 1, t + pause)) << "after epoch " << epoch;
    t += pause + 100;
    ++epoch;
  }
  log.complete(static_cast<int>(epoch), 2, session(static_cast<int>(epoch)));
  advance(at(t));
  EXPECT_TRUE(tries(epoch + 1, t + 1)) << "a promotion ends the count";
}

TEST_F(DeciderTest, TheEndOfALeaseThatWasDecidedAgainIsNoNominationThatFailed) {
  log.add(PromotionDecided{.to = node(1), .session = session(1), .kind = DecisionKind::kKeep, .instance = instance(9)}, node(1), kPostgres, Epoch{2});
  log.add(PromotionFailed{session(1), instance(9)}, node(1), kPostgres, Epoch{2});
  log.decide(3, 2, session(2));
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{3});
  advance(at(2500));
  vote(2, at(2501), 3);
  vote(3, at(2501), 3);
  hear_replica(at(2501), 1000, session(3));
  EXPECT_TRUE(advance(at(2501))) << waits_for();
}

TEST_F(DeciderTest, APersonsWishDoesNotWaitForNominationsThatFailed) {
  for (int epoch : {2, 3, 4}) {
    log.decide(epoch, 2, session(epoch));
    log.add(PromotionFailed{session(epoch), instance(2)}, node(2), kPostgres, Epoch{static_cast<std::uint64_t>(epoch)});
  }
  advance(at(2500));
  vote(2, at(2501), 4);
  vote(3, at(2501), 4);
  hear_replica(at(2501), 1000, session(5));
  ASSERT_FALSE(advance(at(2501)));
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 60'000}, node(1), kPostgres, Epoch{4});
  wishes = {kPostgres};
  EXPECT_TRUE(advance(at(2501)));
}

TEST_F(DeciderTest, AsksForFreshPositionsButNotForEver) {
  hear_replica(at(2000));
  vote(2, at(2500));
  vote(3, at(2500));
  EXPECT_FALSE(advance(at(2500))) << "the position is older than the votes";
  EXPECT_EQ(decider.next_change(), at(2650));
  EXPECT_FALSE(advance(at(2649)));
  EXPECT_TRUE(advance(at(2650)));
}

TEST_F(DeciderTest, PromotionsOutsideTheWindowAreForgotten) {
  spec.max_promotions = 1;
  spec.promotion_window_s = 100;
  log.state.leases[kPostgres].promotions_ns = {log.state.applied_ns - 50'000'000'000};
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  EXPECT_FALSE(advance(at(2500)));
  EXPECT_EQ(waits_for(), "1 automatic promotions in the window, limit 1 (control.max_promotions)");
  EXPECT_EQ(decider.wait()->unblock, "daarionctl failover postgres --to node2 --reason TEXT");
  const Decider::Nomination then = Decider::preview(kPostgres, context(2), true, at(2500));
  EXPECT_EQ(then.decision.reason, waits_for()) << "why-not says the same";
  EXPECT_EQ(then.decision.unblock, decider.wait()->unblock);
  log.state.applied_ns += 60'000'000'000;
  EXPECT_TRUE(advance(at(2500)));
}

TEST_F(DeciderTest, TheWindowMovesOnAlsoInALogThatStandsStill) {
  spec.max_promotions = 1;
  spec.promotion_window_s = 100;
  log.state.leases[kPostgres].promotions_ns = {log.state.applied_ns};
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  log_ns = log.state.applied_ns + 99'000'000'000;
  EXPECT_FALSE(advance(at(2500)));
  log_ns = log.state.applied_ns + 100'000'000'000;
  EXPECT_TRUE(advance(at(2500)));
}

TEST_F(DeciderTest, TheWindowBeginsWithTheCompletion) {
  spec.max_promotions = 1;
  spec.promotion_window_s = 100;
  log.decide(2, 2, session(2));
  LogEvent done = log.make(PromotionCompleted{.session = session(2), .instance = instance(2)}, node(2), kPostgres, Epoch{2});
  done.stored_ns = log.state.applied_ns + 90'000'000'000;  // it took so long
  log.add(done);
  const auto promotions = [&](std::int64_t after_ns) {
    log_ns = done.stored_ns + after_ns;
    return Decider::preview(kPostgres, context(2), true, at(2500)).evidence.promotions;
  };
  EXPECT_EQ(promotions(99'000'000'000), 1u) << "189 s after the decision";
  EXPECT_EQ(promotions(100'000'000'000), 0u);
}

/// node1 was paused and is gone; the voters' beats show whom they are bound to.
class LostHolderTest : public DeciderTest {
 protected:
  LostHolderTest() { log.pause(); }
  void bound(int voter, Instant now, bool suspects = true, bool endless = true) {
    Beat b = beat_of(voter, ++counter, log.state);
    b.promises = {{kPostgres, node(1), session(1), instance(1), endless}};
    if (suspects) b.suspects = {node(1)};
    if (voter == 2) b.next = {{kPostgres, session(2)}}, b.engines = {standby_at(1000)};
    peers.hear(b, now);
  }
  std::optional<LostHolder> lost(Instant now) { return lost_holder(kPostgres, context(2), now); }
};

TEST_F(LostHolderTest, IsNamedWithTheCommandThatEndsTheWait) {
  bound(2, at(5000));
  bound(3, at(5000));
  EXPECT_FALSE(advance(at(5000)));
  EXPECT_EQ(waits_for(), "word that node1 is off: it was paused, is silent for 5000 ms, and the promises of node2, node3 to it have no end");
  EXPECT_EQ(decider.wait()->unblock, "daarionctl confirm-fencing postgres --holder node1 --reason TEXT");
  const Instant since = decider.wait()->since;
  bound(2, at(6000));
  bound(3, at(6000));
  advance(at(6000));
  EXPECT_EQ(decider.wait()->since, since) << "the same wait";
  const Decision then = Decider::preview(kPostgres, context(2), true, at(6000)).decision;
  EXPECT_FALSE(then.to);
  EXPECT_EQ(then.unblock, decider.wait()->unblock);
  log.resume();
  EXPECT_TRUE(lost(at(6000))) << "it cannot be told that the pause is over";
}

TEST_F(LostHolderTest, IsNoneWhileAnybodyHearsIt) {
  bound(2, at(5000), false);
  bound(3, at(5000), false);
  EXPECT_FALSE(lost(at(5000))) << "this node alone is cut off from it";
  bound(2, at(5001));
  bound(3, at(5001));
  EXPECT_TRUE(lost(at(5001)));
  peers.hear(beat_of(1, 2, log.state), at(5002));
  EXPECT_FALSE(lost(at(5003)));
}

TEST_F(LostHolderTest, IsTheHostThatWasThereBeforeItsNodeWasRebuilt) {
  peers.hear(beat_of(1, 2, log.state), at(1000));
  Beat rebuilt = beat_of(1, 1, log.state);
  rebuilt.instance = instance(9);
  rebuilt.run = run(9);
  peers.hear(rebuilt, at(3000));
  const auto bound_at = [&](Instant now) {
    bound(2, now, false);
    bound(3, now, false);
    return lost(now);
  };
  EXPECT_FALSE(bound_at(at(3001))) << "it may run beside the other one";
  const auto found = bound_at(at(5000));
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->replaced);
  EXPECT_EQ(found->silent_ms, 4000u);
  EXPECT_FALSE(advance(at(5000)));
  EXPECT_EQ(waits_for(), "word that the host that was node1 before is off: it was paused, is silent for 4000 ms, and the promises of node2, node3 to it have no end");
  peers.hear(beat_of(1, 3, log.state), at(5100));
  EXPECT_FALSE(bound_at(at(5101))) << "both run";
}

TEST_F(LostHolderTest, IsNoneWhereTheNewInstallationTookTheSessionUp) {
  peers.hear(beat_of(1, 2, log.state), at(1000));
  Beat rebuilt = beat_of(1, 1, log.state);
  rebuilt.instance = instance(9);
  rebuilt.run = run(9);
  rebuilt.claims = {claim_of(1, session(1))};
  peers.hear(rebuilt, at(4900));
  bound(2, at(5000), false);
  bound(3, at(5000), false);
  EXPECT_FALSE(lost(at(5000))) << "its guard went on when its files were lost";
  rebuilt.counter = 2;
  rebuilt.claims = {};
  peers.hear(rebuilt, at(5001));
  bound(2, at(5001), false);
  bound(3, at(5001), false);
  EXPECT_TRUE(lost(at(5001)));
}

TEST_F(LostHolderTest, IsNoneBeforeAPromiseWithAnEndWouldBeOver) {
  bound(2, at(2400));
  bound(3, at(2400));
  EXPECT_FALSE(lost(at(2400)));
}

TEST_F(LostHolderTest, IsNoneIfAMajorityIsFree) {
  bound(2, at(5000));
  Beat b = beat_of(3, ++counter, log.state);
  peers.hear(b, at(5000));
  EXPECT_TRUE(lost(at(5000))) << "one vote is no majority";
  peers.hear(beat_of(2, ++counter, log.state), at(5100));
  EXPECT_FALSE(lost(at(5100)));
}

TEST_F(LostHolderTest, IsNoneOnceTheWordIsGivenUntilTheNextPause) {
  bound(2, at(5000));
  bound(3, at(5000));
  log.add(FencingConfirmed{session(1), "powered off"}, node(3), kPostgres);
  EXPECT_FALSE(lost(at(5000)));
  log.pause();
  EXPECT_TRUE(lost(at(5000)));
}

TEST_F(LostHolderTest, IsNoneWhereThePromisesHaveAnEnd) {
  bound(2, at(5000), true, false);
  bound(3, at(5000), true, false);
  EXPECT_FALSE(lost(at(5000))) << "a daemon that was restarted counts its promise anew";
}

/// Every server lost what was not synced: no event says that there was a pause, nor that the log regressed. The voters' records do.
TEST_F(LostHolderTest, IsNamedAlsoWhereTheLogLostThePause) {
  log = log_with_holder();
  bound(2, at(5000));
  bound(3, at(5000));
  EXPECT_TRUE(lost(at(5000)));
}

TEST_F(DeciderTest, APauseIsEndedWhereItWasSaid) {
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  log.pause();
  EXPECT_FALSE(advance(at(2500)));
  EXPECT_EQ(decider.wait()->unblock, "daarionctl resume --reason TEXT");
  log.add(Paused{}, node(1), kPostgres);
  EXPECT_FALSE(advance(at(2501)));
  EXPECT_EQ(decider.wait()->unblock, "daarionctl resume postgres --reason TEXT");
}

TEST_F(DeciderTest, WriterThatOnlyBeatsShowedIsTheLastHolder) {
  log.decide(2, 2, session(2));
  Beat b = beat_of(2, ++counter, log.state);
  b.claims = {claim_of(2, session(2))};
  b.engines = {standby_at(1500, 2)};
  b.engines[0].state = EngineState::kPrimary;
  b.engines[0].timeline_start = Lsn{1000};
  peers.hear(b, at(3000));
  vote(1, at(9000), 2);
  vote(3, at(9000), 2);
  advance(at(4000), 3);
  vote(1, at(9000), 2);
  vote(3, at(9000), 2);
  const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(3), .instance = instance(3), .caught_up = true};
  const auto n = Decider::preview(kPostgres, c, false, at(9000));
  EXPECT_EQ(n.evidence.last_holder, node(2));
  EXPECT_EQ(n.evidence.last_position, (Position{2, Lsn{1500}, "db"}));
  EXPECT_EQ(n.evidence.timelines.back(), (TimelineStart{2, Lsn{1000}, session(2)}));
}

// The first writer ended before its completion was in the log. What it wrote is there: the resource is not made from nothing a second time, neither on
// the disk that its node has now nor for want of a declared primary.
TEST(DeciderFirst, AWriterThatOnlyBeatsShowedIsNotBegunAnew) {
  Log log = log_with_voters();
  log.decide(1, 1, session(1), DecisionKind::kBootstrap);
  Peers peers{node(2)};
  const auto preview = [&] {
    const DeciderContext c{.state = log.state, .peers = peers, .spec = spec_of_three(), .self = node(2), .instance = instance(2), .caught_up = true};
    return Decider::preview(kPostgres, c, false, at(9000));
  };
  EXPECT_EQ(preview().evidence.kind, DecisionKind::kBootstrap);
  Beat writer = beat_of(1, 1, log.state);
  writer.claims = {claim_of(1, session(1))};
  writer.engines = {standby_at(1500)};
  writer.engines[0].state = EngineState::kPrimary;
  peers.hear(writer, at(3000));
  Beat replica = beat_of(2, 1, log.state);
  replica.next = {{kPostgres, session(2)}};
  replica.engines = {standby_at(1500)};
  peers.hear(replica, at(9000));
  Beat wiped = beat_of(1, 1, log.state, 7);
  wiped.next = {{kPostgres, session(3)}};
  wiped.engines = {{.resource = kPostgres, .state = EngineState::kEmpty}};
  peers.hear(wiped, at(9000));
  const auto n = preview();
  EXPECT_EQ(n.evidence.kind, DecisionKind::kFailover);
  EXPECT_EQ(n.evidence.last_holder, node(1));
  EXPECT_EQ(n.decision.to, node(2)) << n.decision.reason;
}

// The log lost the completion under which node2's engine was opened, and named its session again under an epoch that never had its majority.
TEST_F(DeciderTest, AnOpeningThatTheLogDoesNotShowIsHistory) {
  log.release(1, 1, session(1));
  log.decide(3, 2, session(2));
  const auto heard = [&](const SessionId& opened) {
    Beat b = beat_of(2, ++counter, log.state);
    b.next = {{kPostgres, session(3)}};
    b.engines = {standby_at(1500, 2)};
    b.engines[0].opened = opened;
    b.engines[0].timeline_start = Lsn{1000};
    peers.hear(b, at(9000));
    return Decider::preview(kPostgres, context(3), false, at(9000));
  };
  EXPECT_EQ(heard(session(2)).evidence.last_holder, node(2)) << "its completion did not come yet";
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{3});
  EXPECT_EQ(heard({}).evidence.last_holder, node(1)) << "it does not say who opened it";
  const auto n = heard(session(2));
  EXPECT_EQ(n.evidence.last_holder, node(2));
  EXPECT_EQ(n.evidence.last_position, (Position{2, Lsn{1500}, "db"}));
  EXPECT_EQ(n.evidence.timelines.back(), (TimelineStart{2, Lsn{1000}, session(2)}));
  EXPECT_EQ(n.decision.to, node(2)) << n.decision.reason;
}

// Two promotions in a row from timeline 1: the log shows the first one's timeline 2, and not yet the second one's, which is another.
TEST_F(DeciderTest, AnOpeningOfTheSameNumberUnderALaterEpochIsHistory) {
  log.decide(2, 1, session(5));
  log.complete(2, 1, session(5), {2, Lsn{800}, "db"});
  log.release(2, 1, session(5));
  const auto heard = [&](int n, std::uint64_t lsn, std::uint64_t opener, std::uint64_t epoch) {
    Beat b = beat_of(n, ++counter, log.state);
    b.next = {{kPostgres, session(static_cast<std::uint64_t>(n) + 20)}};
    b.engines = {standby_at(lsn, 2)};
    b.engines[0].opened = session(opener);
    b.engines[0].opened_epoch = Epoch{epoch};
    b.engines[0].timeline_start = Lsn{850};
    peers.hear(b, at(9000));
    return Decider::preview(kPostgres, context(3), false, at(9000));
  };
  EXPECT_EQ(heard(2, 5000, 7, 1).evidence.last_holder, node(1)) << "it was opened before, and lost";
  const auto n = heard(2, 1500, 7, 3);
  EXPECT_EQ(n.evidence.last_holder, node(2));
  EXPECT_EQ(n.evidence.last_position, (Position{2, Lsn{1500}, "db"}));
  EXPECT_EQ(n.evidence.timelines.back(), (TimelineStart{2, Lsn{850}, session(7)}));
  EXPECT_EQ(n.decision.to, node(2)) << n.decision.reason;
}

// And its node is lost with it: a replica that followed it has what is left.
TEST_F(DeciderTest, AnOpeningOfALostNodeThatTheLogDoesNotShowIsHistory) {
  log.release(1, 1, session(1));
  Beat b = beat_of(2, ++counter, log.state);
  b.next = {{kPostgres, session(3)}};
  b.engines = {standby_at(1500, 2)};
  b.engines[0].inherited = session(9);
  b.engines[0].inherited_from = node(3);
  b.engines[0].timeline_start = Lsn{1000};
  b.engines[0].contact_age_ms = 7000;
  peers.hear(b, at(9000));
  const auto n = Decider::preview(kPostgres, context(2), false, at(9000));
  EXPECT_EQ(n.evidence.last_holder, node(3));
  EXPECT_EQ(n.evidence.last_position, (Position{2, Lsn{1500}, "db"}));
  EXPECT_EQ(n.evidence.last_position_age_ms, 7000u) << "it may have written since";
  EXPECT_EQ(n.decision.to, node(2)) << n.decision.reason;
}

TEST_F(DeciderTest, WishGivesItsKindAndItsTarget) {
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .forced = true, .allow_data_loss = true}, node(1), kPostgres);
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500), 1);
  wishes = {kPostgres};
  const auto n = advance(at(2500));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->evidence.kind, DecisionKind::kForced);
  EXPECT_EQ(n->evidence.wanted, node(2));
  EXPECT_EQ(n->decision.loss_bytes, 999u + n->evidence.write_rate * n->evidence.last_position_age_ms / 1000);
  EXPECT_FALSE(n->evidence.end_unknown) << "its beats showed it writing";
}

TEST_F(DeciderTest, StatesTheEventThatItFollows) {
  const auto newest = [&] { return log.events.back().event.header.id; };
  const auto cause = [&] { return cause_of(Decider::preview(kPostgres, context(2), true, at(2500)).evidence, context(2)); };
  EXPECT_TRUE(cause().empty()) << "a lease that ran out is no event";
  log.add(MemberUnreachable{.silent_ms = 3000, .observers = {node(2), node(3)}}, node(1));
  EXPECT_EQ(cause(), newest()) << "its holder is silent";
  log.add(MemberReturned{.instance = instance(1), .boot = boot(2), .run = run(2)}, node(1));
  EXPECT_TRUE(cause().empty());
  log.release(1, 1, session(1), EndCause::kCrashed);
  const EventId released = newest();
  log.add(MemberUnreachable{.silent_ms = 3000, .observers = {node(2), node(3)}}, node(3));
  EXPECT_EQ(cause(), released) << "another node's silence led to nothing";
  log.decide(2, 2, session(2));
  log.add(PromotionFailed{session(2), instance(2)}, node(2), kPostgres, Epoch{2});
  EXPECT_EQ(cause(), newest());
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .valid_ms = 30'000}, node(3), kPostgres);
  const EventId asked = newest();
  EXPECT_NE(cause(), asked) << "void";
  wishes = {kPostgres};
  EXPECT_EQ(cause(), asked);
}

TEST_F(DeciderTest, WishThatRanOutIsNone) {
  log.add(SwitchoverRequested{.from = node(1), .to = node(2), .forced = true, .allow_data_loss = true}, node(1), kPostgres);
  vote(2, at(2500));
  vote(3, at(2500));
  hear_replica(at(2500));
  const auto n = advance(at(2500));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->evidence.kind, DecisionKind::kFailover);
}

TEST_F(DeciderTest, SwitchoverGivesTheWantedNodeSomeTime) {
  spec.resources[0].members = {node(1), node(2), node(3)};
  log.add(SwitchoverRequested{.from = node(1), .to = node(3)}, node(1), kPostgres);
  log.add(LeaseReleased{session(1), EndCause::kReleased, true, {1, Lsn{1000}, "db"}, instance(1)}, node(1), kPostgres, Epoch{1});
  wishes = {kPostgres};
  const auto all = [&](Instant now) {
    vote(2, now);
    vote(3, now);
    hear_replica(now);
    return advance(now);
  };
  for (int ms = 2500; ms < 4000; ms += 100) {
    EXPECT_FALSE(all(at(ms))) << ms;
    EXPECT_EQ(waits_for(), "the position of node3, which was asked for");
  }
  const auto n = all(at(4000));
  ASSERT_TRUE(n);
  EXPECT_EQ(n->decision.to, node(2));
}

TEST_F(DeciderTest, WaitKeepsItsBeginning) {
  vote(2, at(2500));
  advance(at(2500));
  const Instant since = decider.wait()->since;
  advance(at(2600));
  EXPECT_EQ(decider.wait()->since, since);
}

TEST_F(DeciderTest, WaitKeepsItsBeginningWhileItsNumbersGrow) {
  for (const std::int64_t ms : {2500, 2700, 2900}) {
    vote(2, at(ms));
    vote(3, at(ms));
    hear_replica(at(ms), 1);
    spec.resources[0].max_lag.bytes = 10;
    EXPECT_FALSE(advance(at(ms)));
    EXPECT_NE(waits_for().find("silent for " + std::to_string(ms) + " ms"), std::string::npos) << waits_for();
    EXPECT_EQ(decider.wait()->since, at(2500));
  }
}

TEST(TakeUp, OnlyMeasuresMayDiffer) {
  std::optional<Wait> wait;
  take_up(wait, {kPostgres, "node2 silent for 5 ms, 7 bytes", "", at(1)});
  take_up(wait, {kPostgres, "node2 silent for 60 ms, 800 bytes", "", at(2)});
  EXPECT_EQ(wait->since, at(1));
  EXPECT_EQ(wait->what, "node2 silent for 60 ms, 800 bytes");
  take_up(wait, {kPostgres, "node3 silent for 60 ms, 800 bytes", "", at(3)});
  EXPECT_EQ(wait->since, at(3));
  take_up(wait, {kPostgres, "epoch 2", "", at(4)});
  take_up(wait, {kPostgres, "epoch 3", "", at(5)});
  EXPECT_EQ(wait->since, at(5));
}

TEST_F(DeciderTest, PreviewOfALossNamesTheNextPrimary) {
  hear_replica(at(100));
  const DeciderContext c{.state = log.state, .peers = peers, .spec = spec, .self = node(3), .instance = instance(3), .caught_up = true};
  EXPECT_EQ(Decider::preview(kPostgres, c, true, at(110)).decision.to, node(2));
  EXPECT_FALSE(decider.wait());
}

}  // namespace
}  // namespace daarion
