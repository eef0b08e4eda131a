// The voter's rules, by the names of controlplane/core/lease.h.
#include "controlplane/core/voter.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// node3's voter, with a disk that writes when it is told to. Its own boot is boot(1), its first run run(3).
class VoterTest : public testing::Test {
 protected:
  VoterTest() { begin(); }

  /// A new run of the daemon, of the same boot or another.
  void begin(std::uint64_t new_run = 3, std::uint64_t new_boot = 1, Instant now = at(0), Duration uptime = seconds(100)) {
    voter.emplace(node(3), timers, disk, run(new_run), boot(new_boot), now, uptime);
    out = {};
    voter->start(out);
    sync(now);
  }
  /// The voter's host was rebooted, so that it is blank, and it has folded its own return, at 10 s.
  void reboot() {
    log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
    disk.boot = boot(1);
    begin(4, 2, at(10'000), seconds(100));
    fold(at(10'000));
  }
  /// Writes what is to be written, until nothing is.
  void sync(Instant now) {
    while (out.record) {
      disk = *out.record;
      const std::uint64_t generation = out.generation;
      out.record.reset();
      voter->on_recorded(generation, now, out);
      voter->on_state(log.state, now, out);
    }
  }
  void fold(Instant now) {
    voter->on_state(log.state, now, out);
    sync(now);
  }
  Beat beat(int n, const Claim& claim) {
    Beat b = beat_of(n, ++counter, log.state);
    b.claims = {claim};
    return b;
  }
  /// The answer to a claim: 'a'ccepted, 'r'efused, or ' ' for silence.
  char hear(const Beat& b, Instant now, bool write = true) {
    out.acks.clear();
    voter->on_beat(b, log.state, now, out);
    if (write) sync(now);
    return answered();
  }
  char hear(int n, const Claim& claim, Instant now) { return hear(beat(n, claim), now); }
  char answered() const {
    if (out.acks.empty()) return ' ';
    return !out.acks.back().accepted.empty() ? 'a' : 'r';
  }
  std::optional<Instant> promised(SessionId s, Instant now) const { return voter->promised_until(kPostgres, s, now); }
  bool votes(Instant now) const { return voter->may_vote(kPostgres, log.state, now); }

  LeaseTimers timers;
  Log log = log_with_holder();
  VoterRecord disk{.instance = instance(3), .log = log_id(), .voters = log.state.voters};
  std::optional<Voter> voter;
  VoterOutput out;
  std::uint64_t counter = 0;
};

const Claim kFirst = claim_of(1, session(1));
const Claim kSecond = claim_of(2, session(2));

TEST_F(VoterTest, PromisesForTheLengthAndTheDrift) {
  EXPECT_TRUE(votes(at(0)));
  EXPECT_EQ(hear(1, kFirst, at(10)), 'a');
  EXPECT_EQ(promised(session(1), at(10)), at(10 + 2020));
  EXPECT_FALSE(votes(at(2029)));
  EXPECT_TRUE(votes(at(2030)));
}

TEST_F(VoterTest, AckNamesEverythingThatMakesItCount) {
  hear(1, kFirst, at(0));
  const Ack& ack = out.acks.at(0);
  EXPECT_EQ(ack.voter, node(3));
  EXPECT_EQ(ack.instance, instance(3));
  EXPECT_EQ(ack.log, log_id());
  EXPECT_EQ(ack.voter_set, log.state.voters.id);
  EXPECT_EQ(ack.holder, node(1));
  EXPECT_EQ(ack.run, run(1));
  EXPECT_EQ(ack.counter, counter);
  EXPECT_EQ(ack.accepted.at(0), (AckedClaim{kPostgres, Epoch{1}, session(1), seconds(2), {}}));
}

/// An installation whose files were lost is followed by one that takes the session up from its guard.
TEST_F(VoterTest, AnEndThatComesWhileItsSessionIsPromisedAnewIsNotAcked) {
  hear(1, kFirst, at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1), .kind = DecisionKind::kKeep, .instance = instance(9)}, node(1), kPostgres, Epoch{2});
  fold(at(10));
  Beat taken_up = beat(1, claim_of(2, session(1)));
  taken_up.instance = instance(9);
  taken_up.run = run(9);
  hear(taken_up, at(20), false);
  ASSERT_TRUE(out.record);
  const std::uint64_t generation = out.generation;
  log.add(PromotionFailed{session(1), instance(9)}, node(1), kPostgres, Epoch{2});
  voter->on_state(log.state, at(30), out);
  out.acks.clear();
  voter->on_recorded(generation, at(40), out);
  EXPECT_TRUE(out.acks.empty());
  out.record.reset();
  EXPECT_TRUE(votes(at(40)));
}

TEST_F(VoterTest, EqualClaimMovesTheEnd) {
  hear(1, kFirst, at(0));
  EXPECT_EQ(hear(1, kFirst, at(500)), 'a');
  EXPECT_EQ(promised(session(1), at(500)), at(2520));
}

TEST_F(VoterTest, EqualClaimIsAckedAlsoAfterItsEndAndWhateverTheLogSays) {
  hear(1, kFirst, at(0));
  log.decide(2, 2, session(2));
  fold(at(100));
  EXPECT_EQ(hear(1, kFirst, at(200)), 'a');
  EXPECT_EQ(hear(1, kFirst, at(9000)), 'a');
}

TEST_F(VoterTest, HigherEpochWaitsForTheEndOfThePromise) {
  hear(1, kFirst, at(0));
  log.decide(2, 2, session(2));
  fold(at(100));
  EXPECT_EQ(hear(2, kSecond, at(2019)), 'r');
  EXPECT_EQ(out.acks.at(0).refused.at(0).promised, Epoch{1});
  EXPECT_EQ(hear(2, kSecond, at(2020)), 'a');
  EXPECT_FALSE(promised(session(1), at(2020)));
  EXPECT_EQ(hear(1, kFirst, at(2030)), 'r') << "one promise at a time";
  EXPECT_EQ(out.acks.at(0).refused.at(0).promised, Epoch{2});
}

TEST_F(VoterTest, LowerOrEqualEpochIsRefusedForEver) {
  log.decide(2, 2, session(2));
  fold(at(0));
  hear(2, kSecond, at(0));
  EXPECT_EQ(hear(1, kFirst, at(9000)), 'r');
  EXPECT_EQ(hear(1, claim_of(2, session(1)), at(9000)), 'r');
}

TEST_F(VoterTest, SameSessionMayRaiseItsEpochAtOnce) {
  hear(1, kFirst, at(0));
  EXPECT_EQ(hear(1, claim_of(2, session(1)), at(10)), 'a');
}

TEST_F(VoterTest, EndHeardByBeatFreesThePromise) {
  hear(1, kFirst, at(0));
  Beat end = beat_of(1, ++counter, log.state);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(100));
  EXPECT_TRUE(votes(at(100)));
  EXPECT_EQ(hear(2, kSecond, at(101)), 'a');
  EXPECT_EQ(hear(1, kFirst, at(9000)), 'r') << "no voter acks a session whose end it knows";
}

TEST_F(VoterTest, EndSaidByAnotherNodeIsNothing) {
  hear(1, kFirst, at(0));
  Beat end = beat_of(2, ++counter, log.state);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(100));
  EXPECT_FALSE(votes(at(100)));
}

/// A second host with the same node id says truly that it does not have the session; the first one still writes under it.
TEST_F(VoterTest, EndSaidByAnotherInstanceOfTheNodeIsNothing) {
  hear(1, kFirst, at(0));
  Beat end = beat_of(1, ++counter, log.state, 77);
  end.instance = instance(9);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(100));
  EXPECT_FALSE(votes(at(100)));
  EXPECT_EQ(promised(session(1), at(100)), at(2020));
  EXPECT_EQ(hear(2, kSecond, at(101)), 'r');
  EXPECT_EQ(hear(1, kFirst, at(200)), 'a') << "the first host goes on";
  EXPECT_FALSE(votes(at(2219)));
  EXPECT_TRUE(votes(at(2220))) << "its promise runs out by itself";
  end = beat_of(1, ++counter, log.state);
  end.ended = {{kPostgres, session(1)}};
  hear(1, kFirst, at(2300));
  hear(end, at(2301));
  EXPECT_TRUE(votes(at(2301)));
}

TEST_F(VoterTest, EndInTheLogByAnotherInstanceFreesNothing) {
  hear(1, kFirst, at(0));
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{2});
  log.add(PromotionFailed{session(1), instance(9)}, node(1), kPostgres, Epoch{2});
  ASSERT_TRUE(log.lease().has_ended(session(1))) << "a decision may be wrong in any way";
  fold(at(100));
  EXPECT_FALSE(votes(at(100)));
  EXPECT_EQ(promised(session(1), at(100)), at(2020));
}

TEST_F(VoterTest, EndByAnotherInstanceWhileTheRecordIsBeingWrittenFreesNothing) {
  hear(1, kFirst, at(0));
  hear(beat(1, claim_of(3, session(1))), at(10), false);  // the same session raises its epoch
  log.add(PromotionDecided{.to = node(1), .session = session(1), .instance = instance(9)}, node(2), kPostgres, Epoch{2});
  log.add(PromotionFailed{session(1), instance(9)}, node(1), kPostgres, Epoch{2});
  VoterOutput none;
  voter->on_state(log.state, at(20), none);
  sync(at(30));
  EXPECT_FALSE(votes(at(40)));
  EXPECT_TRUE(promised(session(1), at(40)));
}

TEST_F(VoterTest, PromiseOfAnOlderRecordIsAnyInstances) {
  disk.promises[kPostgres] = {.epoch = Epoch{1}, .session = session(1), .node = node(1), .longest = seconds(2)};
  disk.boot = boot(1);
  begin(4, 1, at(0));
  EXPECT_FALSE(votes(at(10)));
  Beat end = beat_of(1, ++counter, log.state);
  end.instance = instance(9);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(20));
  EXPECT_TRUE(votes(at(20)));
}

TEST_F(VoterTest, SaysToWhichInstanceItIsBound) {
  hear(1, kFirst, at(0));
  EXPECT_EQ(disk.promises.at(kPostgres).instance, instance(1));
  EXPECT_EQ(voter->promises(log.state, at(10)), (std::vector<PromiseNote>{{kPostgres, node(1), session(1), instance(1)}}));
}

TEST_F(VoterTest, EndInTheLogFreesThePromise) {
  hear(1, kFirst, at(0));
  log.release(1, 1, session(1));
  fold(at(100));
  EXPECT_TRUE(votes(at(100)));
  EXPECT_EQ(voter->vote(kPostgres, log.state, at(150)).over_ms, 50u);
  EXPECT_EQ(voter->vote(kPostgres, log.state, at(150)).highest, Epoch{1});
}

TEST_F(VoterTest, CompletedHigherEpochEndsOlderPromises) {
  log.pause();
  fold(at(0));
  hear(1, kFirst, at(0));
  EXPECT_EQ(promised(session(1), at(1)), kNever);
  log.decide(2, 2, session(2));
  fold(at(10));
  EXPECT_EQ(promised(session(1), at(10)), kNever) << "a decision alone ends nothing";
  log.complete(2, 2, session(2));
  fold(at(20));
  EXPECT_FALSE(promised(session(1), at(20)));
}

// ---- floor and fold check
TEST_F(VoterTest, EpochBelowTheLogIsRefused) {
  log.decide(5, 2, session(5));
  fold(at(0));
  EXPECT_EQ(hear(1, claim_of(4, session(4)), at(0)), 'r');
  EXPECT_EQ(hear(2, claim_of(5, session(5)), at(0)), 'a');
}

TEST_F(VoterTest, FloorStaysWhenTheLogIsLostBehindIt) {
  log.decide(5, 2, session(5));
  fold(at(0));
  hear(2, claim_of(5, session(5)), at(0));
  log = log_with_holder();
  EXPECT_EQ(hear(1, claim_of(4, session(4)), at(9000)), 'r');
  begin(4, 1, at(9000));
  EXPECT_EQ(disk.floors.at(kPostgres), Epoch{5});
  EXPECT_EQ(hear(1, claim_of(4, session(4)), at(20'000)), 'r') << "and over a restart";
}

// ---- record
TEST_F(VoterTest, NoAckBeforeTheRecordIsOnDisk) {
  EXPECT_EQ(hear(beat(1, kFirst), at(0), false), ' ');
  ASSERT_TRUE(out.record);
  EXPECT_EQ(out.record->promises.at(kPostgres).session, session(1));
  EXPECT_FALSE(votes(at(0))) << "what is being written may already be a promise";
  const Beat newer = beat(1, kFirst);
  EXPECT_EQ(hear(newer, at(50), false), ' ');
  sync(at(60));
  ASSERT_EQ(out.acks.size(), 1u);
  EXPECT_EQ(out.acks[0].counter, newer.counter) << "the newest beat that was heard meanwhile";
  EXPECT_EQ(promised(session(1), at(60)), at(60 + 2020));
}

TEST_F(VoterTest, OtherClaimsMeetSilenceWhileARecordIsBeingWritten) {
  hear(beat(1, kFirst), at(0), false);
  EXPECT_EQ(hear(beat(2, kSecond), at(1), false), ' ');
  sync(at(2));
  EXPECT_EQ(disk.promises.at(kPostgres).session, session(1));
}

TEST_F(VoterTest, EqualClaimWritesNothing) {
  hear(1, kFirst, at(0));
  EXPECT_EQ(hear(beat(1, kFirst), at(1), false), 'a');
  EXPECT_FALSE(out.record);
}

TEST_F(VoterTest, LongerLengthIsRecordedFirst) {
  hear(1, kFirst, at(0));
  EXPECT_EQ(hear(beat(1, claim_of(1, session(1), seconds(4))), at(1), false), ' ');
  sync(at(1));
  EXPECT_EQ(answered(), 'a');
  EXPECT_EQ(disk.promises.at(kPostgres).longest, seconds(4));
}

TEST_F(VoterTest, RestartInTheSameBootCountsThePromiseAsMadeNow) {
  hear(1, kFirst, at(0));
  begin(4, 1, at(1000));
  EXPECT_FALSE(voter->blank());
  EXPECT_EQ(promised(session(1), at(1000)), at(1000 + 2020));
  EXPECT_EQ(hear(2, kSecond, at(1001)), 'r');
  EXPECT_EQ(hear(1, kFirst, at(1002)), 'a');
  EXPECT_EQ(disk.earlier_runs, std::vector{run(3)});
}

TEST_F(VoterTest, SilentBeforeItsOwnRunIsOnDisk) {
  voter.emplace(node(3), timers, disk, run(4), boot(1), at(0), seconds(100));
  out = {};
  voter->start(out);
  EXPECT_FALSE(voter->answers(log.state, at(0)));
  EXPECT_EQ(hear(beat(1, kFirst), at(0), false), ' ');
  sync(at(1));
  EXPECT_TRUE(voter->answers(log.state, at(1)));
}

// ---- blank and returned
TEST_F(VoterTest, BlankAfterARebootUntilUpForTheLengthAndReturned) {
  hear(1, claim_of(1, session(1), seconds(4)), at(0));
  begin(4, 2, at(10'000), seconds(1));
  EXPECT_TRUE(voter->blank());
  EXPECT_TRUE(voter->wants_return(log.state));
  EXPECT_EQ(hear(1, kFirst, at(10'001)), ' ');
  log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
  fold(at(10'010));
  EXPECT_FALSE(voter->wants_return(log.state));
  EXPECT_TRUE(voter->blank()) << "up for 1 s, promised 4 s";
  EXPECT_FALSE(votes(at(13'039)));
  voter->on_time(log.state, at(13'040), out);
  sync(at(13'040));
  EXPECT_FALSE(voter->blank());
  EXPECT_TRUE(votes(at(13'040)));
}

TEST_F(VoterTest, BlankAsLongAsTheReturnIsNotFolded) {
  begin(4, 2, at(10'000), seconds(100));
  voter->on_time(log.state, at(99'000), out);
  EXPECT_TRUE(voter->blank());
  log.add(MemberReturned{instance(3), boot(1), run(3)}, node(3));
  fold(at(99'000));
  EXPECT_TRUE(voter->blank()) << "a return of an earlier boot";
}

TEST_F(VoterTest, RestartedDaemonIsAsBlankAsTheOneBeforeIt) {
  hear(1, claim_of(1, session(1), seconds(4)), at(0));
  begin(4, 2, at(10'000), seconds(1));
  ASSERT_TRUE(voter->blank());
  begin(5, 2, at(10'500), milliseconds(1500));
  EXPECT_TRUE(voter->blank()) << "the record may be an old one, whoever reads it";
  EXPECT_TRUE(voter->wants_return(log.state));
  log.add(MemberReturned{instance(3), boot(2), run(5)}, node(3));
  fold(at(13'040));
  ASSERT_FALSE(voter->blank());
  begin(6, 2, at(14'000), seconds(5));
  EXPECT_FALSE(voter->blank()) << "it had returned in this boot";
}

TEST_F(VoterTest, EqualClaimMustPassTheLogAfterAReboot) {
  hear(1, kFirst, at(0));
  log.decide(2, 2, session(2));
  log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
  begin(4, 2, at(10'000), seconds(100));
  fold(at(10'000));
  ASSERT_FALSE(voter->blank());
  EXPECT_EQ(hear(1, kFirst, at(10'001)), 'r');
  EXPECT_EQ(hear(2, kSecond, at(10'002)), 'a');
}

TEST_F(VoterTest, FreshRecordIsNotBlank) {
  disk = {.instance = instance(3), .log = log_id(), .voters = log.state.voters};
  begin();
  EXPECT_FALSE(voter->blank());
}

// ---- pause
TEST_F(VoterTest, PausedPromiseHasNoEndAndIsNamed) {
  hear(1, kFirst, at(0));
  const Sequence paused = log.pause();
  fold(at(100));
  EXPECT_EQ(disk.promises.at(kPostgres).paused, paused);
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(1, kFirst, at(99'000)), 'a');
  EXPECT_EQ(out.acks.at(0).accepted.at(0).paused, paused);
}

TEST_F(VoterTest, PausedIsNotNamedBeforeItIsOnDisk) {
  hear(1, kFirst, at(0));
  log.pause();
  voter->on_state(log.state, at(100), out);
  EXPECT_EQ(hear(beat(1, kFirst), at(101), false), 'a');
  EXPECT_EQ(out.acks.at(0).accepted.at(0).paused, Sequence{});
}

TEST_F(VoterTest, ResumedInTheLogAloneGivesNoEnd) {
  hear(1, kFirst, at(0));
  log.pause();
  fold(at(100));
  log.resume();
  fold(at(200));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
}

TEST_F(VoterTest, ResumedNamedByTheHoldersBeatGivesAnEnd) {
  hear(1, kFirst, at(0));
  const Sequence paused = log.pause();
  fold(at(100));
  const Sequence resumed = log.resume();
  fold(at(200));
  Beat b = beat(1, kFirst);
  b.resumed = {{kPostgres, paused}};
  hear(b, at(250));
  EXPECT_EQ(promised(session(1), at(250)), kNever) << "not later than the Paused";
  b = beat(1, kFirst);
  b.resumed = {{kPostgres, resumed}};
  EXPECT_EQ(hear(b, at(300)), 'a');
  EXPECT_EQ(out.acks.at(0).accepted.at(0).paused, Sequence{});
  EXPECT_EQ(promised(session(1), at(300)), at(2320));
  EXPECT_EQ(disk.promises.at(kPostgres).paused, Sequence{});
}

TEST_F(VoterTest, AnEndlessPromiseByAPauseThatTheLogLostIsTold) {
  hear(1, kFirst, at(0));
  const Log before = log;
  log.resume(), log.resume();
  const Sequence paused = log.pause();
  fold(at(100));
  EXPECT_FALSE(voter->silence(log.state, at(100))) << "failover is off as the log shows";
  log = before;
  log.add(LogRegressed{.folded = paused, .head = before.state.applied, .known_lost = {}}, node(1));
  fold(at(200));
  ASSERT_TRUE(voter->silence(log.state, at(200))) << "also where the log has not come so far again";
  EXPECT_EQ(voter->silence(log.state, at(200))->what, "an end of the pause of event " + std::to_string(paused.value) + ", which the log has lost: until then nobody takes over postgres");
  EXPECT_EQ(voter->silence(log.state, at(200))->unblock, "daarionctl resume postgres --reason TEXT");
  log.resume();
  fold(at(250));
  EXPECT_TRUE(voter->silence(log.state, at(250))) << "its number is below that of the pause: it is said again";
  const Sequence resumed = (log.resume(), log.resume());
  fold(at(300));
  EXPECT_FALSE(voter->silence(log.state, at(300))) << "the holder's to name";
  Beat b = beat(1, kFirst);
  b.resumed = {{kPostgres, resumed}};
  hear(b, at(310));
  EXPECT_EQ(promised(session(1), at(310)), at(2330));
}

TEST_F(VoterTest, ResumedNamedForAnotherSessionGivesNoEnd) {
  hear(1, kFirst, at(0));
  log.pause();
  fold(at(100));
  const Sequence resumed = log.resume();
  Beat b = beat(2, kSecond);
  b.resumed = {{kPostgres, resumed}};
  EXPECT_EQ(hear(b, at(99'000)), 'r');
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
}

TEST_F(VoterTest, EndlessPromiseSurvivesARestart) {
  hear(1, kFirst, at(0));
  log.pause();
  fold(at(100));
  begin(4, 1, at(200));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(2, kSecond, at(99'000)), 'r');
  EXPECT_EQ(voter->promises(log_with_holder().state, at(99'000)), (std::vector<PromiseNote>{{kPostgres, node(1), session(1), instance(1), true}}))
      << "whatever the log has lost";
}

TEST_F(VoterTest, FencingConfirmedGivesTheEndlessOneLength) {
  hear(1, kFirst, at(0));
  log.pause();
  fold(at(100));
  log.add(FencingConfirmed{session(1), "powered off"}, node(1), kPostgres);
  fold(at(1000));
  EXPECT_EQ(promised(session(1), at(1000)), at(1000 + 2020));
  EXPECT_TRUE(votes(at(3020)));
}

/// What ends an endless promise to an instance that is gone for good: its node's new instance cannot.
TEST_F(VoterTest, FencingConfirmedByAnOperatorNeedsNoInstance) {
  log.pause();
  fold(at(0));
  hear(1, kFirst, at(0));
  Beat end = beat_of(1, ++counter, log.state, 77);
  end.instance = instance(9);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(100));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  log.add(FencingConfirmed{session(1), "the disk was destroyed"}, node(2), kPostgres);
  fold(at(100'000));
  EXPECT_TRUE(votes(at(100'000 + 2020)));
}

TEST_F(VoterTest, FencingConfirmedOfAnotherSessionIsNothing) {
  hear(1, kFirst, at(0));
  log.pause();
  fold(at(100));
  log.add(FencingConfirmed{session(2), "powered off"}, node(1), kPostgres);
  fold(at(1000));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
}

TEST_F(VoterTest, FencingConfirmedDoesNotShortenAPromiseWithAnEnd) {
  hear(1, kFirst, at(0));
  log.add(FencingConfirmed{session(1), "wrong word"}, node(1), kPostgres);
  fold(at(100));
  EXPECT_EQ(promised(session(1), at(100)), at(2020));
}

TEST_F(VoterTest, BlankVoterOwesThePausedHolderAnEndlessPromise) {
  log.pause();
  reboot();
  EXPECT_FALSE(voter->blank());
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(2, kSecond, at(99'000)), 'r');
  EXPECT_EQ(disk.promises.at(kPostgres).instance, instance(1)) << "as the log's decision named it";
  Beat end = beat_of(1, ++counter, log.state, 77);
  end.instance = instance(9);
  end.ended = {{kPostgres, session(1)}};
  hear(end, at(99'001));
  EXPECT_EQ(promised(session(1), at(99'001)), kNever);
}

/// Simulator seed 93366: the completion of the raised epoch never came.
TEST_F(VoterTest, BlankVoterOwesItForTheEpochThatTheHolderRaised) {
  log.pause();
  log.decide(5, 1, session(1), DecisionKind::kKeep);
  reboot();
  EXPECT_EQ(disk.promises.at(kPostgres).epoch, Epoch{5});
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(1, claim_of(5, session(1)), at(99'000)), 'a');
}

/// Its record is of a backup, from when it had promised a session that is over by now.
TEST_F(VoterTest, BlankVoterOwesARaisedEpochBesideAnOldPromise) {
  log.pause();
  log.decide(5, 1, session(1), DecisionKind::kKeep);
  disk.promises[kPostgres] = {.epoch = Epoch{4}, .session = session(2), .node = node(2), .longest = seconds(2), .paused = {}, .instance = instance(2)};
  reboot();
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(2, claim_of(6, session(3)), at(99'000)), 'r');
}

/// Who has not folded yet that it was raised would retire, were it told of a higher promise to a rival.
TEST_F(VoterTest, RefusesALowerClaimOfTheSameSessionAsNoRivals) {
  log.pause();
  log.decide(5, 1, session(1), DecisionKind::kKeep);
  reboot();
  ASSERT_EQ(hear(1, kFirst, at(99'000)), 'r');
  EXPECT_EQ(out.acks[0].refused[0].promised, Epoch{});
}

TEST_F(VoterTest, BlankVoterOwesItAlsoWhenResumedMeanwhile) {
  log.pause();
  log.resume();
  log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
  begin(4, 2, at(10'000), seconds(100));
  fold(at(10'000));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever) << "the holder may not have folded Resumed yet";
}

/// The holder armed itself for one length when it folded Resumed, and a voter that refuses its claim owes it that all the same. The record had
/// no promise to it: seed 710 of the simulator.
TEST_F(VoterTest, WhatABlankVoterOwesLastsOneLengthBeyondThePause) {
  log.pause();
  log.resume();
  reboot();
  log.decide(2, 2, session(2), DecisionKind::kForced);
  fold(at(10'010));
  Beat b = beat(1, kFirst);
  b.resumed = {{kPostgres, log.state.newest_resumed(kPostgres)}};
  EXPECT_EQ(hear(b, at(20'000)), 'r') << "the log is higher, and this voter was blank";
  EXPECT_EQ(promised(session(1), at(20'000)), at(22'020));
  EXPECT_FALSE(votes(at(22'019)));
  EXPECT_EQ(hear(2, kSecond, at(22'019)), 'r');
  EXPECT_EQ(hear(2, kSecond, at(22'020)), 'a');
}

TEST_F(VoterTest, FencingConfirmedGivesWhatABlankVoterOwesOneLengthToo) {
  log.pause();
  reboot();
  log.add(FencingConfirmed{session(1), "powered off"}, node(1), kPostgres);
  fold(at(20'000));
  EXPECT_FALSE(votes(at(22'019)));
  EXPECT_TRUE(votes(at(22'020)));
}

TEST_F(VoterTest, BlankVoterStaysSilentWhileANewerDecisionIsOpen) {
  log.pause();
  log.decide(2, 2, session(2), DecisionKind::kForced);
  log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
  begin(4, 2, at(10'000), seconds(100));
  fold(at(10'000));
  EXPECT_EQ(hear(2, kSecond, at(10'001)), ' ');
  EXPECT_FALSE(votes(at(10'001)));
  log.complete(2, 2, session(2));
  fold(at(10'010));
  EXPECT_EQ(promised(session(2), at(99'000)), kNever);
  EXPECT_EQ(hear(2, kSecond, at(10'020)), 'a');
}

/// node2 is gone for good, and the other voters are not a majority without this one: a word on node2 must be possible, and be asked for.
TEST_F(VoterTest, WhatItIsSilentForIsNamedAndEndsWithTheWordOnIt) {
  log.pause();
  log.decide(2, 2, session(2), DecisionKind::kForced);
  reboot();
  EXPECT_EQ(hear(2, kSecond, at(10'001)), ' ');
  EXPECT_EQ(voter->promises(log.state, at(10'001)), (std::vector<PromiseNote>{{kPostgres, node(2), session(2), instance(2), true}}));
  const auto wait = voter->silence(log.state, at(10'001));
  ASSERT_TRUE(wait);
  EXPECT_NE(wait->what.find("epoch 2 of postgres was decided for node2"), std::string::npos) << wait->what;
  EXPECT_NE(wait->unblock.find("daarionctl confirm-fencing postgres --holder node2"), std::string::npos) << wait->unblock;
  log.add(FencingConfirmed{session(2), "powered off"}, node(1), kPostgres);
  fold(at(10'010));
  EXPECT_FALSE(voter->withholds(kPostgres));
  EXPECT_FALSE(voter->silence(log.state, at(10'010)));
  EXPECT_EQ(promised(session(1), at(99'000)), kNever) << "the holder that the log shows is owed its own";
}

/// The record is of the middle of a raise: the session's pause is known by the log alone.
TEST_F(VoterTest, BlankVoterOwesItAlsoToAHolderThatItPromisedAHigherEpoch) {
  log.pause();
  log.decide(3, 1, session(1), DecisionKind::kKeep);
  disk.promises[kPostgres] = {.epoch = Epoch{3}, .session = session(1), .node = node(1), .longest = seconds(2), .paused = {}, .instance = instance(1)};
  reboot();
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(disk.promises.at(kPostgres).epoch, Epoch{3});
}

TEST_F(VoterTest, ANewPromiseToASessionThatIsSaidToBeOffHasAnEnd) {
  log.pause();
  log.decide(2, 2, session(2), DecisionKind::kForced);
  log.add(FencingConfirmed{session(2), "wrong word"}, node(1), kPostgres);
  fold(at(0));
  EXPECT_EQ(hear(2, kSecond, at(10)), 'a');
  EXPECT_EQ(out.acks.at(0).accepted.at(0).paused, Sequence{});
  EXPECT_EQ(promised(session(2), at(10)), at(2030));
}

TEST_F(VoterTest, BlankVoterStaysSilentAlsoWhileADecisionThatWasOvertakenIsOpen) {
  log.release(1, 1, session(1));
  log.decide(2, 2, session(2));
  log.pause();
  log.decide(3, 1, session(3), DecisionKind::kForced);
  log.add(PromotionFailed{session(3), instance(1)}, node(1), kPostgres, Epoch{3});
  reboot();
  EXPECT_FALSE(votes(at(10'001))) << "node2 may write under epoch 2, without an end";
  log.complete(2, 2, session(2));
  fold(at(10'010));
  EXPECT_EQ(promised(session(2), at(99'000)), kNever);
}

/// A holder that raised its epoch must find voters for it, or it is fenced for nothing: seed 17731 of the simulator.
TEST_F(VoterTest, BlankVoterAnswersAHolderThatRaisesItsEpoch) {
  log.pause();
  log.decide(3, 1, session(1), DecisionKind::kKeep);
  reboot();
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
  EXPECT_EQ(hear(1, claim_of(3, session(1)), at(10'010)), 'a');
  EXPECT_EQ(promised(session(1), at(99'000)), kNever);
}

/// A lost tail lets the log name an epoch again: seed 58568 of the simulator.
TEST_F(VoterTest, BlankVoterOwesNothingToAHolderOfAnEpochThatItPromisedToAnotherSession) {
  log.pause();
  log.decide(2, 2, session(2), DecisionKind::kForced);
  log.complete(2, 2, session(2));
  disk.promises[kPostgres] = {.epoch = Epoch{2}, .session = session(7), .node = node(1), .longest = seconds(2), .paused = {}, .instance = instance(1)};
  reboot();
  EXPECT_EQ(disk.promises.at(kPostgres).session, session(7)) << "one epoch, one session, for ever";
  EXPECT_EQ(hear(2, kSecond, at(10'001)), 'r');
  EXPECT_FALSE(promised(session(2), at(10'001)));
}

// ---- who it is
/// The log lost its first events, and the set was appended anew at the same place.
TEST_F(VoterTest, ASetThatTheLogLostIsLeftForTheOneThatIsThere) {
  VoterSet other = log.state.voters;
  other.id = EventId{77, 77};
  log.state.voters = other;
  EXPECT_EQ(hear(1, kFirst, at(0)), ' ');
  fold(at(1));
  EXPECT_EQ(disk.voters.id, other.id);
  EXPECT_EQ(hear(1, kFirst, at(2)), 'a');
}

TEST_F(VoterTest, AFoldThatHasNotReachedItsSetChangesNothing) {
  VoterSet other = log.state.voters;
  other.id = EventId{77, 77};
  other.sequence = Sequence{1};
  log.state.voters = other;
  disk.voters.sequence = Sequence{log.state.applied.value + 1};
  begin();
  fold(at(1));
  EXPECT_NE(disk.voters.id, other.id);
  const auto wait = voter->silence(log.state, at(1));
  ASSERT_TRUE(wait);
  EXPECT_NE(wait->what.find("has not reached the voter set"), std::string::npos) << wait->what;
}

TEST_F(VoterTest, AnotherInstallationThanTheSetNamesSaysSo) {
  disk.instance = instance(9);
  begin();
  const auto wait = voter->silence(log.state, at(1));
  ASSERT_TRUE(wait);
  EXPECT_NE(wait->what.find("not the installation that the voter set names"), std::string::npos) << wait->what;
  EXPECT_FALSE(wait->unblock.empty());
}

TEST_F(VoterTest, CloneOfItsRecordSilencesIt) {
  Beat clone = beat_of(3, 1, log.state, 99);
  hear(clone, at(0));
  EXPECT_TRUE(voter->clone_heard());
  EXPECT_FALSE(votes(at(0)));
  EXPECT_EQ(hear(1, kFirst, at(1)), ' ');
}

TEST_F(VoterTest, OwnEarlierRunIsNoClone) {
  begin(4, 1, at(0));
  hear(beat_of(3, 1, log.state, 3), at(1));
  EXPECT_FALSE(voter->clone_heard());
}

TEST_F(VoterTest, BeatOfAnotherLogIsNotAnswered) {
  Beat b = beat(1, kFirst);
  b.log = log_id(2);
  EXPECT_EQ(hear(b, at(0)), ' ');
  b.log = {};
  EXPECT_EQ(hear(b, at(0)), ' ');
}

TEST_F(VoterTest, ForeignLogSilencesIt) {
  log.state.log.log = log_id(2);
  voter->on_state(log.state, at(0), out);
  EXPECT_TRUE(voter->foreign_log(log.state));
  EXPECT_FALSE(votes(at(0)));
  EXPECT_EQ(voter->record().log, log_id(1));
}

// ---- an override
TEST_F(VoterTest, OverrideIsTakenUpOnlyWhenWhatWasPromisedBeforeHasRunOut) {
  hear(1, claim_of(1, session(1), seconds(3)), at(0));
  log.add(log.override_for({3}));
  fold(at(100));
  const Claim next = claim_of(log.lease().epoch.value + 1, session(2));
  EXPECT_FALSE(voter->foreign_log(log.state));
  EXPECT_EQ(disk.log, log_id()) << "a daemon that is restarted meanwhile waits again";
  EXPECT_EQ(hear(2, next, at(3129)), ' ');
  EXPECT_FALSE(votes(at(3129)));
  EXPECT_NE(voter->silence(log.state, at(200))->what.find("an override was granted"), std::string::npos);
  EXPECT_EQ(voter->next_change(at(3100)), at(100 + 3030)) << "the longest length that it promised";
  voter->on_time(log.state, at(3130), out);
  sync(at(3130));
  EXPECT_EQ(disk.log, log.state.log.log);
  EXPECT_EQ(disk.root, log_id());
  EXPECT_EQ(disk.overrides, 1u);
  EXPECT_EQ(hear(2, next, at(3131)), 'a');
}

TEST_F(VoterTest, OverrideIsWaitedForAnewByANewRun) {
  log.add(log.override_for({3}));
  fold(at(100));
  begin(4, 1, at(1500));
  fold(at(1500));
  EXPECT_FALSE(votes(at(2200)));
  voter->on_time(log.state, at(1500 + 2020), out);
  sync(at(1500 + 2020));
  EXPECT_TRUE(votes(at(1500 + 2020)));
}

TEST_F(VoterTest, WhoIsLeftOutByAnOverrideAnswersNobodyUnderIt) {
  log.add(log.override_for({1}));
  fold(at(0));
  fold(at(5000));
  EXPECT_EQ(disk.log, log.state.log.log);
  EXPECT_EQ(hear(1, claim_of(5000, session(5)), at(5001)), ' ');
}

TEST_F(VoterTest, HearingOfAnOverrideSilencesOneThatHasNotFoldedIt) {
  ASSERT_EQ(hear(1, kFirst, at(0)), 'a');
  const Log cut_off = log;
  log.add(log.override_for({2}));
  Beat theirs = beat_of(2, ++counter, log.state);
  theirs.root = log.state.log.root;
  theirs.overrides = 1;
  log = cut_off;
  hear(theirs, at(100));
  EXPECT_EQ(voter->overridden_by(), node(2));
  EXPECT_EQ(hear(1, kFirst, at(200)), ' ') << "what it held is fenced within a lease";
  EXPECT_FALSE(votes(at(5000)));
  EXPECT_NE(voter->silence(log.state, at(200))->what.find("node2 goes on with this log under another name"), std::string::npos);
  EXPECT_EQ(voter->word(log.state, at(9000)), std::nullopt);
}

TEST_F(VoterTest, AnOverrideThatOthersHaveLostSilencesNobodyAnyMore) {
  Beat theirs = beat_of(1, ++counter, log.state);
  theirs.root = log_id();
  theirs.log = LogId{7, 7};
  theirs.overrides = 1;
  hear(theirs, at(0));
  EXPECT_TRUE(voter->overridden());
  EXPECT_FALSE(votes(at(1)));
  hear(beat_of(2, ++counter, log.state), at(2));
  EXPECT_TRUE(voter->overridden()) << "another one says nothing of it";
  hear(beat_of(1, ++counter, log.state), at(3));
  EXPECT_FALSE(voter->overridden());
  EXPECT_TRUE(votes(at(4)));
}

TEST_F(VoterTest, ARecordThatOlderSoftwareRewroteIsStillOfItsLog) {
  log.add(log.override_for({3}));
  fold(at(0));
  fold(at(5000));
  disk.root = {};
  disk.overrides = 0;
  begin(4, 1, at(6000));
  fold(at(6000));
  EXPECT_FALSE(voter->foreign_log(log.state));
  EXPECT_EQ(disk.root, log_id());
  EXPECT_EQ(disk.overrides, 1u);
}

TEST_F(VoterTest, ABeatFromBeforeTheOverrideSilencesNobody) {
  Beat old = beat(1, kFirst);
  log.add(log.override_for({3}));
  fold(at(0));
  fold(at(5000));
  hear(old, at(5001));
  EXPECT_TRUE(voter->overridden_by().empty());
  EXPECT_TRUE(votes(at(5002)));
}

TEST_F(VoterTest, OfTwoOverridesOfOneLogTheOneWithTheHigherIdGoesOn) {
  log.add(log.override_for({3}));
  fold(at(0));
  fold(at(5000));
  Beat theirs = beat_of(1, ++counter, log.state);
  theirs.root = log_id();
  theirs.overrides = 1;
  theirs.log.hi = 0;
  hear(theirs, at(5001));
  EXPECT_TRUE(votes(at(5002))) << "it is the other one that falls silent";
  theirs = beat_of(1, ++counter, log.state);
  theirs.root = log_id();
  theirs.overrides = 1;
  theirs.log.hi = ~0ULL;
  hear(theirs, at(5003));
  EXPECT_FALSE(votes(at(5004)));
}

TEST_F(VoterTest, AFoldThatIsBehindAnOverrideIsNotGoneBackTo) {
  const Log before = log;
  log.add(log.override_for({3}));
  fold(at(0));
  fold(at(5000));
  const LogId name = disk.log;
  log = before;
  fold(at(6000));
  fold(at(12'000));
  EXPECT_EQ(disk.log, name);
  EXPECT_FALSE(votes(at(12'001)));
}

TEST_F(VoterTest, AnOverrideThatTheLogLostIsGoneBackFromAndGrantedAgain) {
  const Log before = log;
  log.add(log.override_for({3}));
  fold(at(0));
  fold(at(5000));
  log = before;
  log.add(LogRegressed{.folded = Sequence{disk.voters.sequence}, .head = before.state.applied}, node(3));
  fold(at(6000));
  EXPECT_EQ(hear(1, kFirst, at(6001)), ' ');
  fold(at(9000));
  EXPECT_EQ(disk.log, log_id());
  EXPECT_EQ(disk.voters.id, log.state.voters.id);
  log.add(log.override_for({3}));
  fold(at(9100));
  fold(at(12'000));
  EXPECT_EQ(disk.log, log.state.log.log);
  EXPECT_TRUE(votes(at(12'001)));
}

TEST_F(VoterTest, NoVoterWithoutItsPlaceInTheSet) {
  log.change_set({node(3), instance(3)}, {{node(3), instance(9)}});
  log.change_set({node(3), instance(9)});
  fold(at(0));
  ASSERT_EQ(disk.voters.voters.size(), 3u);
  EXPECT_FALSE(votes(at(0))) << "the set names another instance of node3";
  EXPECT_EQ(hear(1, kFirst, at(0)), ' ');
}

TEST_F(VoterTest, ChangedSetIsOnDiskBeforeTheNextAckAndTheClaimPassesTheLogAgain) {
  hear(1, kFirst, at(0));
  log.decide(2, 2, session(2));
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  voter->on_state(log.state, at(10), out);
  EXPECT_EQ(hear(beat(1, kFirst), at(11), false), ' ');
  sync(at(12));
  EXPECT_EQ(disk.voters.id, log.state.voters.id);
  EXPECT_EQ(hear(1, kFirst, at(13)), 'r');
}

TEST_F(VoterTest, AClaimThatIsBeingWrittenWhenTheSetChangesPassesTheLogAgain) {
  EXPECT_EQ(hear(beat(1, kFirst), at(0), false), ' ');
  log.decide(2, 2, session(2));
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  voter->on_state(log.state, at(1), out);
  sync(at(2));
  EXPECT_EQ(answered(), ' ') << "no ack under the new set of a claim that the old one let pass";
  EXPECT_EQ(hear(1, kFirst, at(3)), 'r');
}

TEST_F(VoterTest, AFoldThatIsBehindDoesNotTakeItBackToAnEarlierSet) {
  const State before = log.state;
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  fold(at(0));
  ASSERT_EQ(disk.voters.id, log.state.voters.id);
  voter->on_state(before, at(10), out);
  EXPECT_EQ(voter->record().voters.id, log.state.voters.id);
  EXPECT_EQ(voter->vote(kPostgres, before, at(11)).voter_set, log.state.voters.id);
}

TEST_F(VoterTest, TheRecordThatNamesASetHasTheFloorsOfItsFold) {
  log.decide(8, 1, session(8));
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  voter->on_state(log.state, at(0), out);
  ASSERT_TRUE(out.record);
  ASSERT_EQ(out.record->voters.id, log.state.voters.id);
  EXPECT_EQ(out.record->floors.at(kPostgres), Epoch{8}) << "restarted now, it would promise an earlier epoch under the new set";
}

// ---- its word for a change of the set (voter_set.h)
TEST_F(VoterTest, GivesItsWordOnceItHasNamedTheSetForALength) {
  EXPECT_FALSE(voter->word(log.state, at(2019)));
  ASSERT_TRUE(voter->word(log.state, at(2020)));
  EXPECT_TRUE(voter->word(log.state, at(2020))->empty()) << "it promised nothing";
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  EXPECT_FALSE(voter->word(log.state, at(3000))) << "the state is ahead of what it names";
  fold(at(3000));
  EXPECT_FALSE(voter->word(log.state, at(5019)));
  EXPECT_TRUE(voter->word(log.state, at(5020)));
  begin(4, 1, at(6000));
  EXPECT_FALSE(voter->word(log.state, at(8019))) << "a new run does not know";
  EXPECT_TRUE(voter->word(log.state, at(8020)));
}

TEST_F(VoterTest, TheLengthIsTheLongestThatItPromised) {
  log.decide(1, 1, session(1));
  fold(at(0));
  hear(1, claim_of(1, session(1), seconds(10)), at(0));
  EXPECT_FALSE(voter->word(log.state, at(10'099)));
  EXPECT_TRUE(voter->word(log.state, at(10'100)));
}

TEST_F(VoterTest, NoWordBeforeTheChangedSetIsOnDisk) {
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  voter->on_state(log.state, at(0), out);
  EXPECT_FALSE(voter->word(log.state, at(60'000))) << "a crash would take it back to the set before";
  sync(at(60'000));
  EXPECT_TRUE(voter->word(log.state, at(62'020)));
}

TEST_F(VoterTest, NoWordWhileThePromisedEpochIsAboveTheLog) {
  hear(1, claim_of(7, session(1)), at(0));
  EXPECT_FALSE(voter->word(log.state, at(60'000))) << "the log has lost it";
  log.decide(6, 2, session(2));
  fold(at(60'000));
  EXPECT_FALSE(voter->word(log.state, at(60'000)));
  log.decide(7, 1, session(1));
  fold(at(60'001));
  const auto word = voter->word(log.state, at(60'001));
  ASSERT_TRUE(word);
  EXPECT_EQ(*word, (std::vector<PromisedEpoch>{{kPostgres, Epoch{7}}}));
}

TEST_F(VoterTest, NoWordWhileAPromiseHasNoEndNorForALengthAfter) {
  log.decide(1, 1, session(1));
  fold(at(0));
  hear(1, claim_of(1, session(1)), at(0));
  ASSERT_TRUE(voter->word(log.state, at(2020)));
  log.pause();
  fold(at(1000));
  EXPECT_FALSE(voter->word(log.state, at(60'000)));
  const Sequence resumed = log.resume();
  fold(at(60'000));
  EXPECT_FALSE(voter->word(log.state, at(60'000))) << "the log alone says nothing: the holder may not have folded it";
  Beat b = beat(1, claim_of(1, session(1)));
  b.resumed = {{kPostgres, resumed}};
  hear(b, at(61'000));
  EXPECT_FALSE(voter->word(log.state, at(63'019))) << "a holder that resumes arms for a length without an ack";
  EXPECT_TRUE(voter->word(log.state, at(63'020)));
}

TEST_F(VoterTest, TheEndOfAnEndlessPromiseCountsTheLengthAnew) {
  log.decide(1, 1, session(1));
  fold(at(0));
  hear(1, claim_of(1, session(1)), at(0));
  log.pause();
  fold(at(1000));
  log.release(1, 1, session(1));
  fold(at(9000));
  EXPECT_FALSE(voter->word(log.state, at(11'019)));
  EXPECT_TRUE(voter->word(log.state, at(11'020)));
}

TEST_F(VoterTest, NoWordOfABlankVoterNorAfterALossUntilALengthHasPassed) {
  log.add(LogRegressed{log.state.applied, log.state.applied, ""}, node(2));
  fold(at(9000));
  EXPECT_FALSE(voter->word(log.state, at(11'019)));
  EXPECT_TRUE(voter->word(log.state, at(11'020)));
  disk.boot = boot(1);
  begin(4, 2, at(12'000));
  EXPECT_FALSE(voter->word(log.state, at(60'000))) << "blank";
  log.add(MemberReturned{instance(3), boot(2), run(4)}, node(3));
  fold(at(60'000));
  EXPECT_FALSE(voter->word(log.state, at(62'019)));
  EXPECT_TRUE(voter->word(log.state, at(62'020)));
}

TEST_F(VoterTest, AcksBringTheSetWhereTheBeatNamesAnother) {
  hear(1, kFirst, at(0));
  Beat b = beat(1, kFirst);
  hear(b, at(1));
  ASSERT_EQ(out.acks.size(), 1u);
  EXPECT_TRUE(out.acks[0].set.empty());
  b = beat(1, kFirst);
  b.voter_set = EventId{9, 9};
  hear(b, at(2));
  ASSERT_EQ(out.acks.size(), 1u);
  ASSERT_EQ(out.acks[0].set.size(), 1u);
  EXPECT_EQ(out.acks[0].set[0], log.state.voters);
}

/// The log lost the set, and does not reach its place again.
TEST_F(VoterTest, GoesBackToAnEarlierSetWhereTheLogSaysThatItLostEvents) {
  Log before = log;
  log.add(LogRegressed{log.state.applied, log.state.applied, ""}, node(2));
  log.pause();
  log.change_set({node(4), instance(4)}, {{node(5), instance(5)}});
  fold(at(0));
  const EventId lost = log.state.voters.id;
  ASSERT_EQ(disk.voters.id, lost);
  Log stale = before;
  stale.add(LogRegressed{stale.state.applied, stale.state.applied, ""}, node(2));
  log = stale;
  fold(at(10));
  EXPECT_EQ(disk.voters.id, lost) << "that loss was known when the set was taken up: this fold is behind";
  log = before;
  log.resume();
  log.add(LogRegressed{Sequence{6}, log.state.applied, ""}, node(2));
  ASSERT_LT(log.state.applied, disk.voters.sequence);
  fold(at(20));
  EXPECT_EQ(disk.voters.id, log.state.voters.id);
}

TEST_F(VoterTest, VotesNameTheSetAndTheInstance) {
  const Vote v = voter->vote(kPostgres, log.state, at(0));
  EXPECT_EQ(v.voter_set, log.state.voters.id);
  EXPECT_EQ(v.instance, instance(3));
  EXPECT_EQ(v.log, log_id());
}

TEST_F(VoterTest, NextChangeIsTheEndOfThePromise) {
  EXPECT_EQ(voter->next_change(at(0)), kNever);
  hear(1, kFirst, at(0));
  EXPECT_EQ(voter->next_change(at(1)), at(2020));
  EXPECT_EQ(voter->promises(log.state, at(1)).size(), 1u);
  EXPECT_TRUE(voter->promises(log.state, at(2020)).empty());
}

// ---- the heart of the argument, under random beats, records, restarts and events
RC_GTEST_PROP(VoterProperty, OnePromiseAtATime, ()) {
  const LeaseTimers timers;
  Log log = log_with_holder();
  VoterRecord disk{.instance = instance(3), .log = log_id(), .voters = log.state.voters};
  std::uint64_t runs = 3, boots = 1, counter = 0;
  Instant now = at(0);
  auto voter = std::make_unique<Voter>(node(3), timers, disk, run(runs), boot(boots), now, seconds(100));
  std::optional<std::pair<VoterRecord, std::uint64_t>> writing;
  std::map<SessionId, std::pair<Instant, Epoch>> acked;  // until when each session may count on this voter at most
  std::set<SessionId> ended;  // by the word of their own nodes
  VoterOutput out;
  const auto take = [&] {
    if (out.record) writing = {*out.record, out.generation};
    for (const Ack& ack : out.acks)
      for (const AckedClaim& a : ack.accepted) {
        for (const auto& [other, until] : acked) {
          if (other == a.session || ended.contains(other)) continue;
          RC_ASSERT(until.first <= now);  // "another claim is acked only when the promise is over"
          RC_ASSERT(until.second < a.epoch);
        }
        RC_ASSERT(disk.promises.at(kPostgres).session == a.session);  // "on disk before its first ack"
        auto& until = acked[a.session];
        until = {std::max(until.first, a.paused.value ? kNever : now + a.length), std::max(until.second, a.epoch)};
      }
    out = {};
  };
  voter->start(out);
  take();
  for (int step = *rc::gen::inRange(10, 80); step > 0; --step) {
    now += milliseconds(*rc::gen::element(0, 1, 10, 100, 500, 900, 1000, *rc::gen::inRange(0, 700)));
    const auto who = *rc::gen::inRange<std::uint64_t>(1, 4);
    switch (*rc::gen::inRange(0, 9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        Beat b = beat_of(static_cast<int>(who), ++counter, log.state);
        if (who == 3) b.instance = instance(9);
        if (ended.contains(session(who))) break;  // its guard never takes it again
        b.claims = {claim_of(*rc::gen::inRange<std::uint64_t>(1, 7), session(who))};
        voter->on_beat(b, log.state, now, out);
        break;
      }
      case 4: {  // an end, said by the session's own node
        if (*rc::gen::inRange(0, 3) != 0) break;
        Beat b = beat_of(static_cast<int>(who), ++counter, log.state);
        if (who == 3) b.instance = instance(9);
        b.ended = {{kPostgres, session(who)}};
        if (*rc::gen::arbitrary<bool>())
          b.instance = instance(77);  // a second host with its id: it knows nothing of the session
        else
          ended.insert(session(who));
        voter->on_beat(b, log.state, now, out);
        break;
      }
      case 5:
        if (*rc::gen::inRange(0, 4) == 0) log.add(Paused{});
        voter->on_state(log.state, now, out);
        break;
      case 6:  // the daemon is killed: what was not written is lost
        if (*rc::gen::inRange(0, 3) != 0) break;
        writing.reset();
        voter = std::make_unique<Voter>(node(3), timers, disk, run(++runs), boot(boots), now, seconds(100));
        voter->start(out);
        break;
      default:
        if (!writing) break;
        disk = writing->first;
        const std::uint64_t generation = writing->second;
        writing.reset();
        voter->on_recorded(generation, now, out);
    }
    take();
  }
}

/// The log may lose an epoch that this voter folded and never promised: its votes name it all the same.
TEST_F(VoterTest, VotesNameAnEpochThatTheLogHasLost) {
  log.decide(1, 1, session(1));
  log.decide(7, 2, session(7));
  fold(at(0));
  log = log_with_voters();
  EXPECT_EQ(voter->vote(kPostgres, log.state, at(10)).highest, Epoch{7});
}

}  // namespace
}  // namespace daarion
