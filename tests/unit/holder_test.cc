#include "controlplane/core/holder.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// node1 claims (1, session 1) from beat 10 on.
class HolderTest : public testing::Test {
 protected:
  HolderTest() { holder.claim(Epoch{1}, session(1), 10, at(0)); }
  bool ack(int voter, std::uint64_t counter, std::int64_t sent_ms, std::int64_t now_ms, std::uint64_t epoch = 1, Sequence paused = {}) {
    return holder.on_ack(ack_of(voter, counter, epoch, session(1), log.state.voters, paused), at(sent_ms), log.state.voters, log.state,
                         at(now_ms));
  }
  bool refuse(int voter, std::uint64_t counter, std::uint64_t promised) {
    Ack a = ack_of(voter, counter, 1, session(1), log.state.voters);
    a.accepted.clear();
    a.refused.push_back({kPostgres, Epoch{1}, session(1), Epoch{promised}});
    return holder.on_ack(a, at(0), log.state.voters, log.state, at(1));
  }
  Log log = log_with_holder();
  LeaseTimers timers;
  Holder holder{kPostgres, timers};
};

TEST_F(HolderTest, NothingBeforeAMajority) {
  EXPECT_FALSE(ack(1, 10, 0, 1));
  EXPECT_FALSE(holder.has_lease(at(1)));
  EXPECT_EQ(holder.held(), Epoch{});
  EXPECT_EQ(holder.valid_until(), Instant{});
}

TEST_F(HolderTest, CountsFromTheSendTimeOfTheMajority) {
  ack(1, 10, 0, 1);
  EXPECT_TRUE(ack(2, 11, 100, 105));
  EXPECT_EQ(holder.held(), Epoch{1});
  EXPECT_EQ(holder.valid_until(), at(0 + 1980)) << "the second newest of the send times";
  EXPECT_EQ(holder.deadline(), at(1480));
  ack(1, 11, 100, 110);
  EXPECT_EQ(holder.valid_until(), at(100 + 1980));
  ack(3, 12, 300, 310);
  EXPECT_EQ(holder.valid_until(), at(100 + 1980));
}

TEST_F(HolderTest, LeaseEndsAtTheDeadlineNotAtValidUntil) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  EXPECT_TRUE(holder.has_lease(at(1479)));
  EXPECT_FALSE(holder.has_lease(at(1480)));
}

TEST_F(HolderTest, NeverMovesBack) {
  ack(1, 12, 300, 301);
  ack(2, 12, 300, 301);
  EXPECT_FALSE(ack(2, 10, 0, 302));
  EXPECT_FALSE(ack(3, 10, 0, 302));
  EXPECT_EQ(holder.valid_until(), at(2280));
}

TEST_F(HolderTest, AcksOfLongAgoGiveNothing) {
  ack(1, 10, 0, 2500);
  EXPECT_FALSE(ack(2, 10, 0, 2500));
  EXPECT_EQ(holder.held(), Epoch{});
}

TEST_F(HolderTest, AckBeforeTheClaimDoesNotCount) {
  ack(1, 9, 0, 1);
  EXPECT_FALSE(ack(2, 9, 0, 1));
  EXPECT_EQ(holder.held(), Epoch{});
}

TEST_F(HolderTest, AckOfAnotherClaimDoesNotCount) {
  ack(1, 10, 0, 1, 2);
  ack(2, 10, 0, 1, 2);
  EXPECT_EQ(holder.held(), Epoch{});
  Ack other = ack_of(2, 10, 1, session(9), log.state.voters);
  ack(1, 10, 0, 1);
  EXPECT_FALSE(holder.on_ack(other, at(0), log.state.voters, log.state, at(1)));
  EXPECT_EQ(holder.held(), Epoch{});
}

TEST_F(HolderTest, ShorterPromiseDoesNotCount) {
  ack(1, 10, 0, 1);
  Ack brief = ack_of(2, 10, 1, session(1), log.state.voters);
  brief.accepted[0].length = seconds(1);
  EXPECT_FALSE(holder.on_ack(brief, at(0), log.state.voters, log.state, at(1)));
}

/// The set with node4 as of a later event, and an ack that names it.
VoterSet set_of_four(const VoterSet& three) {
  return {.id = {0xE, 77}, .sequence = {77}, .voters = toggled(three.voters, {node(4), instance(4)}), .next = {{node(5), instance(5)}}};
}

TEST_F(HolderTest, AcksOfTwoSetsDoNotAddUp) {
  const VoterSet three = log.state.voters, four = set_of_four(three);
  EXPECT_FALSE(holder.on_ack(ack_of(1, 10, 1, session(1), three), at(0), three, log.state, at(1)));
  EXPECT_FALSE(holder.on_ack(ack_of(2, 10, 1, session(1), four), at(0), four, log.state, at(1)));
  EXPECT_FALSE(holder.on_ack(ack_of(4, 10, 1, session(1), four), at(0), four, log.state, at(1))) << "two of four";
  EXPECT_TRUE(holder.on_ack(ack_of(1, 11, 1, session(1), four), at(5), four, log.state, at(6)));
  EXPECT_EQ(holder.valid_until(), at(1980)) << "the third newest of four";
}

TEST_F(HolderTest, AMajorityOfTheSetBeforeIsAsGood) {
  const VoterSet three = log.state.voters, four = set_of_four(three);
  holder.on_ack(ack_of(1, 10, 1, session(1), three), at(0), three, log.state, at(1));
  EXPECT_TRUE(holder.on_ack(ack_of(3, 10, 1, session(1), three), at(0), four, log.state, at(1)));
}

TEST_F(HolderTest, LearnsALaterSetFromAnAck) {
  const VoterSet three = log.state.voters, four = set_of_four(three);
  for (const int voter : {1, 2}) {
    Ack a = ack_of(voter, 10, 1, session(1), four);
    EXPECT_FALSE(holder.on_ack(a, at(0), three, log.state, at(1))) << "it does not know who is in it";
    a.set = {four};
    EXPECT_FALSE(holder.on_ack(a, at(0), three, log.state, at(1)));
  }
  EXPECT_TRUE(holder.on_ack(ack_of(4, 10, 1, session(1), four), at(0), three, log.state, at(1)));
}

TEST_F(HolderTest, TwoInstallationsOfANodeAreTwoVoters) {
  VoterSet four = log.state.voters;
  four.id = {0xE, 77};
  four.voters.push_back({node(3), instance(9)});
  EXPECT_FALSE(holder.on_ack(ack_of(1, 10, 1, session(1), four), at(0), four, log.state, at(1)));
  EXPECT_FALSE(holder.on_ack(ack_of(3, 10, 1, session(1), four), at(0), four, log.state, at(1)));
  Ack other = ack_of(3, 10, 1, session(1), four);
  other.instance = instance(9);
  EXPECT_TRUE(holder.on_ack(other, at(0), four, log.state, at(1)));
}

TEST_F(HolderTest, AckUnderAnotherVoterSetOrInstanceDoesNotCount) {
  ack(1, 10, 0, 1);
  VoterSet other = log.state.voters;
  other.id = EventId{0xE, 99};
  EXPECT_FALSE(holder.on_ack(ack_of(2, 10, 1, session(1), other), at(0), log.state.voters, log.state, at(1)));
  Ack replaced = ack_of(2, 10, 1, session(1), log.state.voters);
  replaced.instance = instance(9);
  EXPECT_FALSE(holder.on_ack(replaced, at(0), log.state.voters, log.state, at(1)));
  Ack stranger = ack_of(4, 10, 1, session(1), log.state.voters);
  EXPECT_FALSE(holder.on_ack(stranger, at(0), log.state.voters, log.state, at(1)));
  EXPECT_EQ(holder.held(), Epoch{});
}

TEST_F(HolderTest, SameVoterTwiceIsNoMajority) {
  ack(1, 10, 0, 1);
  EXPECT_FALSE(ack(1, 11, 100, 101));
  EXPECT_EQ(holder.held(), Epoch{});
}

TEST_F(HolderTest, RaisedEpochKeepsItsTimeAndMustBeEarned) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  holder.claim(Epoch{3}, session(1), 20, at(100));
  EXPECT_EQ(holder.valid_until(), at(1980));
  EXPECT_EQ(holder.held(), Epoch{1}) << "not yet the new number";
  ack(1, 20, 100, 101, 1);
  ack(2, 20, 100, 101, 1);
  EXPECT_EQ(holder.held(), Epoch{1});
  ack(1, 20, 100, 101, 3);
  ack(2, 20, 100, 101, 3);
  EXPECT_EQ(holder.held(), Epoch{3});
  EXPECT_EQ(holder.valid_until(), at(2080));
}

TEST_F(HolderTest, AnotherSessionStartsFromNothing) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  holder.claim(Epoch{3}, session(3), 20, at(100));
  EXPECT_EQ(holder.held(), Epoch{});
  EXPECT_FALSE(holder.has_lease(at(101)));
}

TEST_F(HolderTest, DropForgetsTheClaim) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  holder.drop();
  EXPECT_FALSE(holder.claiming());
  EXPECT_FALSE(ack(2, 11, 10, 11));
  EXPECT_FALSE(holder.has_lease(at(11)));
}

TEST_F(HolderTest, ResumedClaimOfALivingGuardHoldsItsDeadline) {
  Holder again(kPostgres, timers);
  again.resume(Epoch{1}, session(1), at(1980), 1, at(500));
  EXPECT_EQ(again.held(), Epoch{1});
  EXPECT_TRUE(again.has_lease(at(1479)));
}

TEST_F(HolderTest, RefusedOnlyByAMajorityThatNamesAHigherPromise) {
  refuse(2, 10, 2);
  EXPECT_FALSE(holder.refused(log.state.voters));
  refuse(3, 10, 1);
  EXPECT_FALSE(holder.refused(log.state.voters)) << "voter 3 named no higher epoch";
  refuse(3, 11, 2);
  EXPECT_TRUE(holder.refused(log.state.voters));
  ack(3, 12, 0, 1);
  EXPECT_FALSE(holder.refused(log.state.voters)) << "it accepts again";
}

// ---- pause
TEST_F(HolderTest, DropsTheDeadlineWhenAMajorityNamesTheNewestPaused) {
  const Sequence paused = log.pause();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1);
  EXPECT_EQ(holder.valid_until(), at(1980));
  EXPECT_TRUE(ack(2, 11, 100, 101, 1, paused));
  EXPECT_TRUE(holder.endless());
  EXPECT_EQ(holder.deadline(), kNever);
}

TEST_F(HolderTest, OlderPausedIsNotTheNewest) {
  const Sequence first = log.pause();
  log.pause();
  ack(1, 10, 0, 1, 1, first);
  ack(2, 10, 0, 1, 1, first);
  EXPECT_FALSE(holder.endless());
}

TEST_F(HolderTest, NamedPausedIsNothingOnceResumedIsFolded) {
  const Sequence paused = log.pause();
  log.resume();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1, 1, paused);
  EXPECT_FALSE(holder.endless());
}

TEST_F(HolderTest, ResumedArmsAgainAndAcksOfOlderBeatsDoNotPauseIt) {
  const Sequence paused = log.pause();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1, 1, paused);
  ASSERT_TRUE(holder.endless());
  const Sequence resumed = log.resume();
  EXPECT_TRUE(holder.on_state(log.state, at(50'000), 500));
  EXPECT_EQ(holder.valid_until(), at(50'000 + 1980));
  EXPECT_EQ(holder.resumed(), resumed);
  EXPECT_FALSE(holder.on_state(log.state, at(50'001), 501)) << "once";
  const Sequence again = log.pause();
  ack(1, 499, 50'000, 50'001, 1, again);
  ack(2, 499, 50'000, 50'001, 1, again);
  EXPECT_FALSE(holder.endless());
  ack(1, 500, 50'002, 50'003, 1, again);
  ack(2, 500, 50'002, 50'003, 1, again);
  EXPECT_TRUE(holder.endless());
}

/// Voters that fold the word that it is off keep their promises for one length beyond the newest beat that they acked. A wrong word must leave no
/// more to the holder, or it writes on for ever once it is cut off.
TEST_F(HolderTest, TheWordThatItIsOffLeavesItWhatItsAcksGive) {
  const Sequence paused = log.pause();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1, 1, paused);
  ack(1, 90, 20'000, 20'001, 1, paused);
  ack(2, 91, 20'250, 20'251, 1, paused);
  ASSERT_TRUE(holder.endless());
  log.add(FencingConfirmed{session(1), "wrong"}, node(3), kPostgres);
  EXPECT_TRUE(holder.on_state(log.state, at(20'300), 100));
  EXPECT_EQ(holder.valid_until(), at(20'000 + 1980));
  EXPECT_TRUE(ack(1, 100, 20'500, 20'501, 1, paused)) << "a voter that has not folded the word yet";
  ack(2, 100, 20'500, 20'501, 1, paused);
  EXPECT_FALSE(holder.endless()) << "not for that pause again";
  EXPECT_EQ(holder.valid_until(), at(20'500 + 1980));
  const Sequence again = log.pause();
  ack(1, 101, 20'750, 20'751, 1, again);
  ack(2, 101, 20'750, 20'751, 1, again);
  EXPECT_TRUE(holder.endless()) << "a Paused that came after the word";
}

TEST_F(HolderTest, AnOverrideLeavesAnEndlessLeaseWhatItsAcksGive) {
  EXPECT_FALSE(holder.end_endless(at(0), 5)) << "it has an end";
  const Sequence paused = log.pause();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1, 1, paused);
  ASSERT_TRUE(holder.endless());
  EXPECT_TRUE(holder.end_endless(at(300), 100));
  EXPECT_EQ(holder.valid_until(), at(1980));
  EXPECT_FALSE(holder.end_endless(at(300), 100));
}

TEST_F(HolderTest, TheWordThatItIsOffEndsAHolderThatNobodyAcks) {
  const Sequence paused = log.pause();
  ack(1, 10, 0, 1, 1, paused);
  ack(2, 10, 0, 1, 1, paused);
  Holder next{kPostgres, timers};
  next.resume(Epoch{1}, session(1), kNever, 200, at(60'000));
  log.add(FencingConfirmed{session(1), "powered off"}, node(3), kPostgres);
  EXPECT_TRUE(next.on_state(log.state, at(60'001), 200));
  EXPECT_FALSE(next.has_lease(at(60'001)));
}

TEST_F(HolderTest, MarginNamesTheSlowestOfTheMajority) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  ack(1, 11, 250, 251);
  ack(3, 11, 250, 1000);
  EXPECT_EQ(holder.margin().least, milliseconds(480));
  EXPECT_EQ(holder.margin().slowest, node(3));
}

TEST(SentBeats, KnowsTheNewestOnly) {
  SentBeats sent;
  for (std::uint64_t n = 1; n <= 300; ++n) sent.sent(n, at(static_cast<std::int64_t>(n)));
  EXPECT_EQ(sent.at(300), at(300));
  EXPECT_EQ(sent.at(45), at(45));
  EXPECT_FALSE(sent.at(44));
  EXPECT_FALSE(sent.at(301));
}

RC_GTEST_PROP(HolderProperty, ValidUntilIsTheMajoritysSendTimeAndNeverMovesBack, ()) {
  const Log log = log_with_voters(5);
  const LeaseTimers timers;
  Holder holder(kPostgres, timers);
  holder.claim(Epoch{1}, session(1), 1, at(0));
  std::map<int, Instant> newest;
  Instant wanted{}, now = at(0);
  for (int i = *rc::gen::inRange(0, 60); i > 0; --i) {
    now += milliseconds(*rc::gen::inRange(0, 200));
    const int voter = *rc::gen::inRange(1, 6);
    const Instant sent = now - milliseconds(*rc::gen::inRange(0, 2500));
    const Instant before = holder.valid_until();
    holder.on_ack(ack_of(voter, 1, 1, session(1), log.state.voters), sent, log.state.voters, log.state, now);
    newest[voter] = newest.contains(voter) ? std::max(newest[voter], sent) : sent;
    std::vector<Instant> times;
    for (const auto& [v, t] : newest) times.push_back(t);
    std::ranges::sort(times, std::greater<>());
    if (times.size() >= 3 && times[2] + milliseconds(1980) > now) wanted = std::max(wanted, times[2] + milliseconds(1980));
    RC_ASSERT(holder.valid_until() == wanted);
    RC_ASSERT(holder.valid_until() >= before);
  }
}

/// Numbers of Paused are sequences, and a lost tail's are given again: acks of beats from before name nothing any more.
TEST_F(HolderTest, FoldedAnewItCountsNoAckOfAnOlderBeatTowardsAPause) {
  ack(1, 10, 0, 1);
  ack(2, 10, 0, 1);
  const Sequence paused = log.pause();
  holder.refold(20);
  EXPECT_EQ(holder.resumed(), Sequence{});
  ack(1, 19, 100, 101, 1, paused);
  ack(2, 19, 100, 101, 1, paused);
  EXPECT_FALSE(holder.endless());
  EXPECT_EQ(holder.valid_until(), at(100 + 1980)) << "they are acks all the same";
  ack(1, 20, 200, 201, 1, paused);
  ack(2, 20, 200, 201, 1, paused);
  EXPECT_TRUE(holder.endless());
}

}  // namespace
}  // namespace daarion
