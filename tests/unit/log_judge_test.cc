#include "controlplane/node/log_judge.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

/// A fold of events 1 to 100, and a log that a test changes.
class LogJudgeTest : public testing::Test {
 protected:
  LogJudgeTest() {
    for (std::uint64_t s = 1; s <= 100; ++s) heads.push_back({Sequence{s}, EventId{1, s}, "Paused", "operator.cluster." + std::to_string(s), Epoch{}});
    for (const EventHead& head : heads) log[head.sequence.value] = head.id;
  }
  void cut(std::uint64_t after) { log.erase(log.upper_bound(after), log.end()); }
  std::optional<LogLost> judge(Instant now) {
    return judged.judge(
        log_id(), heads,
        [&](const EventHead& head) -> Result<LogLook> {
          ++looks;
          if (silent) return fail(Remedy::kRetry, "nobody answers");
          const auto at = log.find(head.sequence.value);
          if (at != log.end() && at->second == head.id) return LogLook{.same = true, .head = head.sequence};
          return LogLook{.same = false, .head = Sequence{log.empty() ? 0 : log.rbegin()->first}};
        },
        now);
  }
  EventHeads heads;
  std::map<std::uint64_t, EventId> log;
  LogJudge judged{milliseconds(250)};
  bool silent = false;
  int looks = 0;
};

TEST_F(LogJudgeTest, ALogThatHasItAllIsNotSuspected) {
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(judge(at(i * 250)));
  looks = 0;
  judge(at(30'000));
  EXPECT_EQ(looks, 2) << "the newest event and one other, once all were looked at";
}

TEST_F(LogJudgeTest, AnotherLeaderMayHaveAnotherEventInAnOldPlace) {
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(judge(at(i * 250)));
  log[95] = EventId{2, 95};
  judged.look_again();
  EXPECT_FALSE(judge(at(25'000)));
  EXPECT_TRUE(judged.doubts());
  const auto lost = judge(at(25'250));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->head, Sequence{94});
  EXPECT_EQ(lost->folded, Sequence{95});
}

TEST_F(LogJudgeTest, BelievesItASecondTimeABeatLater) {
  judge(at(0));
  cut(90);
  EXPECT_FALSE(judge(at(250)));
  EXPECT_FALSE(judge(at(300)));
  const auto lost = judge(at(500));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->log, log_id());
  EXPECT_EQ(lost->folded, Sequence{100});
  EXPECT_EQ(lost->head, Sequence{90});
  EXPECT_EQ(std::ranges::count(lost->known, '\n'), 10);
  EXPECT_NE(lost->known.find("91 Paused operator.cluster.91 " + to_text(EventId{1, 91})), std::string::npos) << lost->known;
}

TEST_F(LogJudgeTest, AnAnswerThatIsRightAgainEndsTheDoubt) {
  const auto whole = log;
  cut(90);
  EXPECT_FALSE(judge(at(0)));
  log = whole;
  EXPECT_FALSE(judge(at(250)));
  cut(90);
  EXPECT_FALSE(judge(at(500)));
  EXPECT_TRUE(judge(at(750)));
}

/// It lost events while nobody answered, and grew past what was folded: the newest event is the log's all the same.
TEST_F(LogJudgeTest, AMixedFoldIsFoundSoonAfterAnInterruption) {
  for (int i = 0; i < 100; ++i) judge(at(i * 250));
  silent = true;
  judge(at(25'000));
  silent = false;
  for (std::uint64_t s = 96; s <= 99; ++s) log[s] = EventId{2, s};
  EXPECT_FALSE(judge(at(25'250)));
  const auto lost = judge(at(25'500));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->folded, Sequence{99});
  EXPECT_EQ(lost->head, Sequence{95});
}

TEST_F(LogJudgeTest, NobodyAnsweringIsNoLoss) {
  cut(90);
  silent = true;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(judge(at(i * 250)));
}

TEST_F(LogJudgeTest, ALogThatWentOnWithOthersIsFoundByTheirIds) {
  cut(90);
  for (std::uint64_t s = 91; s <= 120; ++s) log[s] = EventId{2, s};
  judge(at(0));
  const auto lost = judge(at(250));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->head, Sequence{90});
}

TEST_F(LogJudgeTest, AnOlderEventThatIsAnotherIsFoundToo) {
  log[40] = EventId{2, 40};
  std::optional<LogLost> lost;
  for (int i = 0; i < 200 && !lost; ++i) lost = judge(at(i * 250));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->folded, Sequence{40});
  EXPECT_EQ(lost->head, Sequence{39});
}

TEST_F(LogJudgeTest, WhatIsOlderThanTheHeadsIsLostAtMostFromTheLogsEnd) {
  heads.erase(heads.begin(), heads.begin() + 50);
  cut(20);
  judge(at(0));
  const auto lost = judge(at(250));
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->head, Sequence{20});
  EXPECT_NE(lost->known.find("30 older ones"), std::string::npos) << lost->known;
}

TEST(LinesOf, NamesTheNewestAndCountsTheOthers) {
  EventHeads heads;
  for (std::uint64_t s = 1; s <= 200; ++s) heads.push_back({Sequence{s}, EventId{1, s}, "PromotionDecided", "lease.postgres.1", Epoch{7}});
  const std::string lines = lines_of(heads, Sequence{100}, Sequence{200});
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(lines, '\n')), kHeadsNamed + 1);
  EXPECT_TRUE(lines.starts_with("36 older ones\n137 PromotionDecided lease.postgres.1 epoch 7 ")) << lines;
}

TEST(JoinedLoss, IsOneWhereTheSecondIsOfTheSameTail) {
  const LogLost all{log_id(), Sequence{122}, Sequence{100}, "a\n"}, one{log_id(), Sequence{106}, Sequence{105}, "b\n"};
  EXPECT_EQ(joined(all, one), all);
  const LogLost both = joined(one, all);
  EXPECT_EQ(both.head, Sequence{100});
  EXPECT_EQ(both.folded, Sequence{122});
  EXPECT_EQ(joined(all, LogLost{log_id(), Sequence{140}, Sequence{130}, "c"}).known, "c");
}

}  // namespace
}  // namespace daarion
