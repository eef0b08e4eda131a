#include "controlplane/core/peers.h"

#include <gtest/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

Beat primary_beat(int n, std::uint64_t counter, std::uint64_t epoch, std::uint64_t lsn, std::uint64_t timeline = 1) {
  Beat b = beat_of(n, counter, {});
  b.claims = {claim_of(epoch, session(epoch))};
  b.engines = {standby_at(lsn, timeline)};
  b.engines[0].state = EngineState::kPrimary;
  return b;
}
Beat marked(int n, std::uint64_t counter, std::uint64_t sequence, const Chain& chain) {
  Beat b = beat_of(n, counter, {});
  b.applied = Sequence{sequence};
  b.chain = chain;
  return b;
}

TEST(Peers, RepeatsAndOlderBeatsAreDropped) {
  Peers peers(node(1));
  EXPECT_TRUE(peers.hear(beat_of(2, 5, {}), at(0)));
  EXPECT_FALSE(peers.hear(beat_of(2, 5, {}), at(10)));
  EXPECT_FALSE(peers.hear(beat_of(2, 4, {}), at(10)));
  EXPECT_EQ(peers.find(node(2))->heard, at(0));
  EXPECT_TRUE(peers.hear(beat_of(2, 6, {}), at(10)));
}

TEST(Peers, WhatWaitedInABufferIsLate) {
  Peers peers(node(1));
  EXPECT_TRUE(peers.late(node(2), run(2), 1)) << "never heard";
  peers.hear(beat_of(2, 5, {}), at(0));
  const RunId now = beat_of(2, 5, {}).run;
  EXPECT_FALSE(peers.late(node(2), now, 4)) << "the paths differ by a little";
  EXPECT_FALSE(peers.late(node(2), now, 6));
  EXPECT_TRUE(peers.late(node(2), now, 3));
  EXPECT_TRUE(peers.late(node(2), run(77), 5)) << "of an earlier life";
}

TEST(Peers, ANewRunCountsFromTheBeginning) {
  Peers peers(node(1));
  peers.hear(beat_of(2, 50, {}), at(0));
  EXPECT_TRUE(peers.hear(beat_of(2, 1, {}, 77), at(10)));
}

Beat sent_at(std::uint64_t sent, std::uint64_t counter, std::uint64_t life, int host) {
  Beat b = beat_of(2, counter, {});
  b.run = run(life);
  b.boot = boot(host);
  b.sent_ms = sent;
  return b;
}

TEST(Peers, ABeatOfTheRunBeforeThatComesLateIsNoNews) {
  Peers peers(node(1));
  EXPECT_TRUE(peers.hear(sent_at(1000, 50, 1, 1), at(0)));
  EXPECT_TRUE(peers.hear(sent_at(2000, 1, 2, 1), at(1000)));
  EXPECT_FALSE(peers.hear(sent_at(1000, 50, 1, 1), at(1010))) << "again";
  EXPECT_FALSE(peers.hear(sent_at(1250, 51, 1, 1), at(1010)));
  EXPECT_TRUE(peers.hear(sent_at(2250, 2, 2, 1), at(1250)));
  EXPECT_TRUE(peers.hear(sent_at(500, 1, 3, 1), at(1500))) << "a machine put back to a snapshot: its clock went back";
  EXPECT_TRUE(peers.hear(sent_at(750, 2, 3, 1), at(1750)));
  EXPECT_FALSE(peers.hear(sent_at(600, 20, 2, 1), at(2000)));
  EXPECT_TRUE(peers.hear(sent_at(600, 20, 2, 1), at(62'000))) << "the snapshot has its memory too: nothing else came for a minute";
}

/// Simulator seed 14929: the second host's beat came between, and the first one's older beat was taken for news.
TEST(Peers, TwoHostsOfOneNameAreHeardEachInItsOrder) {
  Peers peers(node(1));
  EXPECT_TRUE(peers.hear(sent_at(1000, 16, 1, 1), at(0)));
  EXPECT_TRUE(peers.hear(sent_at(70, 3, 2, 2), at(10)));
  EXPECT_FALSE(peers.hear(sent_at(500, 14, 1, 1), at(20)));
  EXPECT_FALSE(peers.hear(sent_at(70, 3, 2, 2), at(30)));
  EXPECT_TRUE(peers.hear(sent_at(1250, 17, 1, 1), at(250)));
  EXPECT_TRUE(peers.hear(sent_at(320, 4, 2, 2), at(260)));
}

TEST(Peers, SilenceCountsFromTheStartIfNeverHeard) {
  Peers peers(node(1));
  EXPECT_EQ(peers.silent(node(2), at(500), at(100)), milliseconds(400));
  peers.hear(beat_of(2, 1, {}), at(300));
  EXPECT_EQ(peers.silent(node(2), at(500), at(100)), milliseconds(200));
  EXPECT_EQ(peers.find(node(3)), nullptr);
}

TEST(Peers, HeadIsOfThisLogOnly) {
  Peers peers(node(1));
  Beat ours = beat_of(2, 1, {}), other = beat_of(3, 1, {});
  ours.log = log_id(1);
  ours.applied = Sequence{7};
  other.log = log_id(2);
  other.applied = Sequence{99};
  peers.hear(ours, at(0));
  peers.hear(other, at(0));
  EXPECT_EQ(peers.head({.log = log_id(1)}), Sequence{7});
}

TEST(Peers, PrimaryIsWhoClaimsAndWrites) {
  Peers peers(node(3));
  Beat no_claim = primary_beat(1, 1, 1, 100);
  no_claim.claims.clear();
  peers.hear(no_claim, at(0));
  EXPECT_EQ(peers.primary(kPostgres), nullptr);
  peers.hear(primary_beat(1, 2, 1, 100), at(10));
  ASSERT_NE(peers.primary(kPostgres), nullptr);
  EXPECT_EQ(peers.primary(kPostgres)->node, node(1));
  peers.hear(primary_beat(2, 1, 2, 200, 2), at(20));
  EXPECT_EQ(peers.primary(kPostgres)->node, node(2));
  peers.hear(primary_beat(1, 3, 1, 900), at(30));
  EXPECT_EQ(peers.primary(kPostgres)->node, node(2)) << "an older epoch says nothing";
}

TEST(Peers, PositionOfThePrimaryNeverFallsOnATimeline) {
  Peers peers(node(3));
  peers.hear(primary_beat(1, 1, 1, 500), at(0));
  peers.hear(primary_beat(1, 2, 1, 400), at(10));
  EXPECT_EQ(peers.primary(kPostgres)->position.lsn, Lsn{500});
}

TEST(Peers, WriteRateIsThatOfTheBusiestSecondOfLate) {
  Peers peers(node(3));
  const auto rate_after = [&](std::uint64_t beat, std::uint64_t lsn, int ms) {
    peers.hear(primary_beat(1, beat, 1, lsn), at(ms));
    return peers.primary(kPostgres)->rate();
  };
  EXPECT_EQ(rate_after(1, 1000, 0), 0u);
  EXPECT_FALSE(peers.primary(kPostgres)->measured()) << "it was looked at once";
  EXPECT_EQ(rate_after(2, 2000, 500), 2000u) << "the first second, as far as it came";
  EXPECT_TRUE(peers.primary(kPostgres)->measured());
  EXPECT_EQ(rate_after(3, 5000, 2000), 2000u);
  for (std::uint64_t n = 4; n <= 10; ++n) EXPECT_EQ(rate_after(n, 5000 + n, 1000 * static_cast<int>(n - 1)), 2000u) << "a lull promises nothing, beat " << n;
  EXPECT_EQ(rate_after(11, 5012, 10'000), 4u) << "eight seconds ago";
}

TEST(Peers, APrimaryThatNobodyWritesToYetIsNotMeasuredAtOnce) {
  Peers peers(node(3));
  for (std::uint64_t n = 1; n <= 4; ++n) peers.hear(primary_beat(1, n, 1, 1000), at(250 * static_cast<int>(n)));
  EXPECT_FALSE(peers.primary(kPostgres)->measured());
  peers.hear(primary_beat(1, 5, 1, 1000), at(1250));
  EXPECT_TRUE(peers.primary(kPostgres)->measured()) << "idle for a second";
}

TEST(Peers, ALookOfAboutTheSameMomentMeasuresNothing) {
  Peers peers(node(3));
  const auto hear = [&](std::uint64_t counter, std::uint64_t looked, std::uint64_t lsn, int ms, int age) {
    Beat beat = primary_beat(1, counter, 1, lsn);
    beat.sent_ms = looked + static_cast<std::uint64_t>(age);
    beat.engines[0].age_ms = static_cast<std::uint64_t>(age);
    peers.hear(beat, at(ms));
  };
  hear(1, 5000, 1000, 0, 0);
  hear(2, 5014, 2200, 600, 0);  // late by 586 ms, which are none of the window
  hear(3, 5014, 2200, 700, 679);
  const PrimaryTrack& track = *peers.primary(kPostgres);
  EXPECT_FALSE(track.measured()) << "one commit within 14 ms";
  hear(4, 5200, 21'000, 800, 500);
  EXPECT_TRUE(track.measured());
  EXPECT_EQ(track.rate(), 100'000u) << "by the clock of who wrote";
}

/// A process that stood still for 3 s hears what came meanwhile at once.
TEST(Peers, LateBeatsTellOfWhenTheyWereSent) {
  Peers peers(node(3));
  const auto hear = [&](std::uint64_t counter, std::uint64_t sent, std::uint64_t lsn, int ms) {
    Beat beat = primary_beat(1, counter, 1, lsn);
    beat.sent_ms = sent;
    beat.engines[0].age_ms = 10;
    peers.hear(beat, at(ms));
  };
  hear(1, 5000, 1000, 0);
  hear(2, 5500, 2000, 500);
  for (std::uint64_t n = 3; n <= 7; ++n) hear(n, 4500 + 500 * n, 1000 * n, 3600);  // the last one was sent at 3000
  const PrimaryTrack& track = *peers.primary(kPostgres);
  EXPECT_EQ(track.heard, at(2990));
  EXPECT_EQ(track.rate(), 2000u);
  EXPECT_EQ(peers.find(node(1))->heard, at(3600));

  // Its clock stood still, as of a virtual machine: for a while all of its beats seem late, then that is how long they take.
  for (std::uint64_t n = 8; n <= 130; ++n) hear(n, 1000 * n, 7000, 10'000 + 1000 * static_cast<int>(n));
  EXPECT_EQ(peers.primary(kPostgres)->heard, at(139'990));
  // A restarted daemon is of the same clock, a rebooted host is not.
  Beat again = primary_beat(1, 1, 1, 8000);
  again.run = run(9);
  again.sent_ms = 139'000;
  peers.hear(again, at(152'000));
  EXPECT_EQ(peers.primary(kPostgres)->heard, at(149'000));
  again.counter = 2;
  again.boot = boot(9);
  again.sent_ms = 100;
  peers.hear(again, at(160'000));
  EXPECT_EQ(peers.primary(kPostgres)->heard, at(160'000));
}

TEST(Peers, EqualSequenceWithAnotherChainDisagrees) {
  Peers peers(node(1));
  peers.folded({Sequence{7}, {}, "aa"});
  peers.hear(marked(2, 1, 7, "aa"), at(0));
  peers.hear(marked(3, 1, 7, "bb"), at(0));
  EXPECT_EQ(peers.disagreeing(), (std::map<NodeId, Sequence>{{node(3), Sequence{7}}}));
  peers.folded({Sequence{8}, {}, "cc"});
  peers.hear(marked(3, 2, 8, "cc"), at(1));
  EXPECT_TRUE(peers.disagreeing().empty()) << "it agrees again";
}

TEST(Peers, DigestAloneCanDisagree) {
  Peers peers(node(1));
  peers.folded({Sequence{7}, Digest{1, 1}, "aa"});
  Beat b = marked(2, 1, 7, "aa");
  b.digest = Digest{1, 2};
  peers.hear(b, at(0));
  EXPECT_TRUE(peers.disagreeing().contains(node(2)));
}

TEST(Peers, MarkAheadIsComparedWhenOurFoldGetsThere) {
  Peers peers(node(1));
  peers.folded({Sequence{5}, {}, "x"});
  peers.hear(marked(2, 1, 6, "aa"), at(0));
  EXPECT_TRUE(peers.disagreeing().empty());
  peers.folded({Sequence{6}, {}, "bb"});
  EXPECT_TRUE(peers.disagreeing().contains(node(2)));
}

TEST(Peers, SequencesThatWereSkippedAreNotJudged) {
  Peers peers(node(1));
  peers.folded({Sequence{5}, {}, "x"});
  peers.folded({Sequence{9}, {}, "y"});
  peers.hear(marked(2, 1, 7, "z"), at(0));
  peers.hear(marked(3, 1, 9, ""), at(0));
  EXPECT_TRUE(peers.disagreeing().empty());
}

TEST(Peers, BeatsFromBeforeTheLogEndedEarlierNameNoMore) {
  Log log = log_with_voters();
  Peers peers{node(1)};
  Beat beat = beat_of(2, 1, log.state);
  beat.applied = Sequence{50};
  peers.hear(beat, at(0));
  peers.log_ends({.log = log_id()}, Sequence{40}, at(0));
  EXPECT_EQ(peers.head({.log = log_id()}), Sequence{50}) << "asked no later than it was heard";
  peers.log_ends({.log = log_id()}, Sequence{40}, at(1));
  EXPECT_EQ(peers.head({.log = log_id()}), Sequence{40});
}

}  // namespace
}  // namespace daarion
