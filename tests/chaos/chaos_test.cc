// What of chaos is pure: the deal, and what is proved from writes and log.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>

#include "tests/chaos/deal.h"
#include "tests/chaos/history.h"
#include "tests/chaos/judge.h"
#include "tests/chaos/table.h"
#include "tests/unit/temp_folder.h"

namespace daarion::chaos {
namespace {

using std::chrono::milliseconds;

const NodeId kOne("node1"), kTwo("node2");

NodeWrites writes(const NodeId& node, std::vector<int> at_ms) {
  NodeWrites out{node, {}};
  for (const int ms : at_ms) out.writes.push_back({.sent = Instant(milliseconds(ms)), .at = Instant(milliseconds(ms)), .n = static_cast<std::uint64_t>(ms), .id = 0});
  return out;
}
Promoted promoted(const NodeId& to, int at_ms) { return {to, Instant(milliseconds(at_ms))}; }

TEST(Deal, ThirtyMinutesMakeEveryKindThatCanBeMade) {
  for (const std::uint64_t seed : {1U, 2U, 77U}) {
    const auto dealt = deal(kinds(), seed, 30);
    int cost = 0;
    const std::set<std::string> made(dealt.begin(), dealt.end());
    for (const Kind& k : kinds()) {
      EXPECT_EQ(made.contains(k.name), k.not_yet.empty()) << k.name;
      cost += static_cast<int>(std::ranges::count(dealt, k.name)) * k.cost_s;
    }
    EXPECT_LE(cost, 30 * 60) << "the kinds no longer fit into 30 minutes";
  }
}

TEST(Deal, IsAFunctionOfSeedAndMinutes) {
  EXPECT_EQ(deal(kinds(), 5, 30), deal(kinds(), 5, 30));
  EXPECT_NE(deal(kinds(), 5, 30), deal(kinds(), 6, 30));
  Chance a(3, "flapping", 0), b(3, "flapping", 0), other(3, "flapping", 1);
  const auto first = a.below(1'000'000);
  EXPECT_EQ(first, b.below(1'000'000));
  EXPECT_NE(first, other.below(1'000'000));
}

TEST(Deal, TwoMinutesAreTheQuickOnesWhateverTheSeed) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const auto dealt = deal(kinds(), seed, 2);
    for (const Kind& k : kinds()) EXPECT_TRUE(!k.quick || std::ranges::count(dealt, k.name) == 1) << k.name << " does not fit into two minutes";
  }
}

TEST(Kinds, NamesAreOnceAndLimitsAreGiven) {
  std::set<std::string> names;
  for (const Kind& k : kinds()) {
    EXPECT_TRUE(names.insert(k.name).second) << k.name;
    if (!k.not_yet.empty()) continue;
    EXPECT_TRUE(k.run) << k.name;
    EXPECT_GT(k.outage_ms, 0) << k.name;
    EXPECT_GE(k.most_promotions, k.fewest_promotions) << k.name;
  }
}

TEST(Strays, AFailoverOfTheLogIsNone) {
  EXPECT_EQ(strays_of({writes(kOne, {1, 2, 3}), writes(kTwo, {2000, 2005})}, kOne, {promoted(kTwo, 1500)}).count, 0u);
  EXPECT_EQ(strays_of({writes(kOne, {1, 2, 9000}), writes(kTwo, {2000, 2005})}, kOne, {promoted(kTwo, 1500), promoted(kOne, 8000)}).count, 0u) << "there and back";
  EXPECT_EQ(strays_of({writes(kOne, {1, 2, 900})}, kOne, {promoted(kOne, 500)}).count, 0u) << "the same node again";
}

TEST(Strays, AnOldHolderThatGoesOnIsSeen) {
  const Strays s = strays_of({writes(kOne, {1, 2, 2002, 2004}), writes(kTwo, {2000, 2003, 2005})}, kOne, {promoted(kTwo, 1500)});
  EXPECT_EQ(s.count, 2u);
  EXPECT_EQ(s.node, kOne);
  EXPECT_EQ(s.numbers, (std::vector<std::uint64_t>{2002, 2004}));
}

TEST(Strays, APromotionThatComesLaterExcusesNothing) {
  EXPECT_EQ(strays_of({writes(kOne, {1, 2, 2002}), writes(kTwo, {2000, 2005})}, kOne, {promoted(kTwo, 1500), promoted(kOne, 5000)}).count, 1u);
  EXPECT_EQ(strays_of({writes(kOne, {1, 2}), writes(kTwo, {1400})}, kOne, {promoted(kTwo, 1500)}).count, 1u) << "before its decision";
  EXPECT_EQ(strays_of({writes(kTwo, {1400})}, kOne, {}).count, 1u) << "without any";
}

LogEvent decision(std::uint64_t epoch, std::uint64_t session, std::int64_t stored_ns) {
  LogEvent e{.sequence = {epoch}, .stored_ns = stored_ns, .event = {}};
  e.event.header.epoch = {epoch};
  e.event.payload = PromotionDecided{.session = {1, session}};
  return e;
}
LogEvent completion(std::uint64_t epoch, std::uint64_t session, std::int64_t stored_ns) {
  LogEvent e = decision(epoch, session, stored_ns);
  e.event.payload = PromotionCompleted{.session = {1, session}};
  return e;
}

TEST(LostLog, AnEpochThatWasGivenIsNotGivenAgain) {
  const std::vector<LogEvent> lost = {decision(20, 1, 1000), completion(20, 1, 1000)};
  EXPECT_EQ(epochs_given_again({decision(20, 2, 1001)}, lost).size(), 1u);
  EXPECT_EQ(epochs_given_again({decision(20, 2, 1001), completion(20, 1, 1002)}, {lost[0]}).size(), 1u) << "its completion came late";
  EXPECT_TRUE(epochs_given_again({decision(20, 2, 1001)}, {lost[0]}).empty()) << "nobody wrote under it";
  EXPECT_EQ(epochs_given_again({decision(19, 2, 1001)}, lost).size(), 1u);
  EXPECT_TRUE(epochs_given_again({decision(21, 2, 1001)}, lost).empty());
  EXPECT_TRUE(epochs_given_again({decision(20, 1, 1001)}, lost).empty()) << "the same, made again";
  EXPECT_TRUE(epochs_given_again({decision(20, 2, 999)}, lost).empty()) << "the log changed from one append to the other";
  EXPECT_TRUE(epochs_given_again({decision(20, 2, 1001)}, {}).empty());
}

TEST(LostLog, ADecisionThatCameAndWasLostCountsByWhoCompletedItsEpoch) {
  LogEvent done = completion(20, 1, 15'000'000'000);
  done.event.header.node = kTwo;
  LogEvent told = decision(0, 1, 16'000'000'000);
  told.event.payload = LogRegressed{Sequence{150}, Sequence{149}, "150 PromotionDecided lease.postgres.42 epoch 20 00000000-0000-0000-0000-000000000001\n151 Paused operator.cluster.3 00000000-0000-0000-0000-000000000002\n"};
  const Promotions p = promotions_of({done, told}, 0);
  ASSERT_EQ(p.to.size(), 1u);
  EXPECT_EQ(p.to[0].to, kTwo);
  EXPECT_EQ(p.to[0].at, Instant(std::chrono::seconds(5)));
  EXPECT_EQ(p.decided, 1u);
  EXPECT_TRUE(p.loss_unknown);
  EXPECT_TRUE(promotions_of({told}, 0).to.empty()) << "nobody says that it was opened";
  EXPECT_TRUE(promotions_of({done}, 0).to.empty()) << "nobody says that it was decided";
}

TEST(Table, ReadsWhatRunsWrote) {
  const test::TempFolder folder;
  Verdict v{.kind = "host_killed", .outage_ms = 2100, .recovery_ms = 900, .lost = 7, .promotions = 1};
  {
    History history(folder / "a.jsonl");
    history.add("deal", {{"text", "3 faults by seed 1"}});
    history.say("", "  a note of what was done");
    history.add("verdict", {{"text", verdict_text(v)}});
    v.violations = {"slow"};
    v.outage_ms = 9000;
    history.add("verdict", {{"text", verdict_text(v)}});
    history.add("again", {{"text", "host_killed: the machine stood still beside it"}});
    v.violations.clear();
    v.outage_ms = 2300;
    history.add("verdict", {{"text", verdict_text(v)}});
    v.kind = "daemon_away";
    v.outage_ms = 5300;
    v.election_ms = 2100;
    history.add("verdict", {{"text", verdict_text(v)}});
  }
  const auto table = table_of({folder / "a.jsonl"});
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_NE(table->find("| the holder's host loses power | 2 | 2300 | 3500 | 0.9 | 2 | 14 | 0 |"), std::string::npos) << *table;
  EXPECT_NE(table->find("| the holder's daemon dies and stays away | 1 | 5300 | 3500 + 2100 | 0.9 | 1 | 7 | 0 |"), std::string::npos) << *table;
  EXPECT_NE(table->find("3 faults by seed 1."), std::string::npos);
  std::ofstream(folder / "b.jsonl") << "{\"what\":\"verdict\",\"text\":\"nonsense\"}\n";
  EXPECT_FALSE(table_of({folder / "b.jsonl"}));
  EXPECT_FALSE(table_of({folder / "missing.jsonl"}));
}

}  // namespace
}  // namespace daarion::chaos
