#include "controlplane/core/health.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/make.h"

namespace daarion {
namespace {
using namespace test;

const HealthVerdict kDegraded{.health = Health::kDegraded, .cause = "nats_connected=false"}, kWrong{.check_broken = true, .cause = "404"};

TEST(HealthFilter, FirstGoodLookCountsAndLaterOnesNeedTheirNumber) {
  HealthFilter filter(3, 2);
  EXPECT_EQ(filter.now().health, Health::kUnknown);
  EXPECT_TRUE(filter.step(kGood, at(0)));
  EXPECT_FALSE(filter.step(kBad, at(100))) << "one miss";
  EXPECT_TRUE(filter.in_doubt());
  EXPECT_TRUE(filter.step(kBad, at(200)));
  EXPECT_EQ(filter.now().health, Health::kBroken);
  EXPECT_EQ(filter.now().cause, "no answer");
  EXPECT_FALSE(filter.step(kGood, at(300)));
  EXPECT_FALSE(filter.step(kGood, at(400)));
  EXPECT_FALSE(filter.step(kBad, at(500))) << "begins to count anew";
  EXPECT_FALSE(filter.step(kGood, at(600)));
  EXPECT_FALSE(filter.step(kGood, at(700)));
  EXPECT_TRUE(filter.step(kGood, at(800)));
  EXPECT_EQ(filter.now(), ServiceHealthChanged{.health = Health::kHealthy});
  EXPECT_FALSE(filter.in_doubt());
}

TEST(HealthFilter, AnUnknownServiceIsNotBrokenByOneLook) {
  HealthFilter filter(2, 2);
  EXPECT_FALSE(filter.step(kBad, at(0)));
  EXPECT_EQ(filter.now().health, Health::kUnknown);
  EXPECT_TRUE(filter.step(kBad, at(100)));
  EXPECT_EQ(filter.now().health, Health::kBroken);
}

TEST(HealthFilter, ALookThatTookTheTimeOfSeveralCountsAsSoMany) {
  HealthFilter filter(2, 2);
  filter.step(kGood, at(0));
  EXPECT_TRUE(filter.step({.health = Health::kBroken, .cause = "no end", .looks = 2}, at(1000)));
  EXPECT_EQ(filter.now().health, Health::kBroken);
  EXPECT_FALSE(filter.step(kGood, at(1100))) << "it is well again by looks of their own";
  EXPECT_TRUE(filter.step(kGood, at(1200)));
}

TEST(HealthFilter, ABrokenCheckLeavesTheHealthAsItWas) {
  HealthFilter filter(2, 2);
  filter.step(kGood, at(0));
  EXPECT_FALSE(filter.step(kWrong, at(100)));
  EXPECT_TRUE(filter.step(kWrong, at(200)));
  EXPECT_EQ(filter.now(), (ServiceHealthChanged{.health = Health::kHealthy, .check_broken = true, .cause = "404"}));
  EXPECT_FALSE(filter.step(kWrong, at(300)));
  EXPECT_TRUE(filter.step(kGood, at(400))) << "it says something again";
  EXPECT_FALSE(filter.now().check_broken);
  EXPECT_EQ(filter.now().health, Health::kHealthy);
}

/// Down and up every second: the fourth fall is held until half a minute of good looks.
TEST(HealthFilter, HoldsDownWhatFlaps) {
  HealthFilter filter(1, 1);
  std::int64_t t = 0;
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(filter.step(kGood, at(t))) << i;
    EXPECT_EQ(filter.step(kBad, at(t + 500)), true) << i;
    t += 1000;
  }
  EXPECT_TRUE(filter.now().flapping);
  for (; t < 33'000; t += 1000) EXPECT_FALSE(filter.step(kGood, at(t))) << t;
  EXPECT_EQ(filter.now().health, Health::kBroken);
  filter.step(kBad, at(t));
  for (std::int64_t until = t + 30'000; t < until; t += 1000) EXPECT_FALSE(filter.step(kGood, at(t + 1))) << "one ill look begins the half minute anew";
  EXPECT_TRUE(filter.step(kGood, at(t + 1000)));
  EXPECT_EQ(filter.now(), ServiceHealthChanged{.health = Health::kHealthy});
  EXPECT_TRUE(filter.step(kBad, at(t + 2000)));
  EXPECT_FALSE(filter.now().flapping) << "its falls are forgotten";
}

TEST(HealthFilter, FallsThatAreFarApartAreNoFlapping) {
  HealthFilter filter(1, 1);
  for (int i = 0; i < 20; ++i) {
    filter.step(kGood, at(i * 30'000));
    filter.step(kBad, at(i * 30'000 + 100));
  }
  EXPECT_FALSE(filter.now().flapping);
}

TEST(HealthFilter, WhatIsStoppedIsNotKnownAndAStartThatFailsIsAFall) {
  HealthFilter filter(2, 2);
  filter.step(kGood, at(0));
  EXPECT_TRUE(filter.forget(at(100)));
  EXPECT_EQ(filter.now(), ServiceHealthChanged{});
  EXPECT_FALSE(filter.forget(at(200)));
  EXPECT_TRUE(filter.fail("start failed", at(300)));
  EXPECT_EQ(filter.now().health, Health::kBroken);
  for (int i = 1; i < 4; ++i) {
    filter.forget(at(300 + i));
    filter.fail("start failed", at(400 + i));
  }
  EXPECT_TRUE(filter.now().flapping) << "four starts failed";
  EXPECT_FALSE(filter.forget(at(1000))) << "it stays down for a while, so that nobody tries it at once";
  EXPECT_TRUE(filter.forget(at(31'000)));
}

/// Whatever the looks: what counts is what some run of equal looks said, and never moves on fewer than its number.
RC_GTEST_PROP(HealthFilterProperty, NeverMovesOnFewerLooksThanDeclared, ()) {
  const auto rise = static_cast<std::uint32_t>(*rc::gen::inRange(1, 5)), fall = static_cast<std::uint32_t>(*rc::gen::inRange(1, 5));
  HealthFilter filter(rise, fall);
  filter.step(kGood, at(0));
  std::uint32_t good = 1, ill = 0;  // in a row
  std::int64_t t = 0;
  const auto looks = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3));
  for (const int look : looks) {
    const Health before = filter.now().health;
    filter.step(look == 0 ? kGood : look == 1 ? kDegraded : kBad, at(t += 40'000));  // so slowly that nothing flaps
    good = look == 0 ? good + 1 : 0;
    ill = look == 0 ? 0 : ill + 1;
    const Health after = filter.now().health;
    if (rank_of(after) > rank_of(before)) RC_ASSERT(ill >= fall);
    if (after == Health::kHealthy && before != after) RC_ASSERT(good >= rise);
    if (good >= rise) RC_ASSERT(after == Health::kHealthy);
    if (ill >= fall + rise) RC_ASSERT(after != Health::kHealthy);
  }
}

TEST(Expectation, IsReadAndKept) {
  const auto kept = [](const char* expected, const char* text, std::optional<double> number = std::nullopt) { return keeps(*parse_expectation(expected), text, number); };
  EXPECT_TRUE(kept("true", "true"));
  EXPECT_FALSE(kept("true", "false"));
  EXPECT_TRUE(kept("3", "3.0", 3));
  EXPECT_TRUE(kept(">0", "1", 1));
  EXPECT_FALSE(kept(">0", "0", 0));
  EXPECT_FALSE(kept(">0", "many"));
  EXPECT_TRUE(kept(">= 2", "2", 2));
  EXPECT_TRUE(kept("<5", "4.9", 4.9));
  EXPECT_TRUE(kept("<=5", "5", 5));
  EXPECT_TRUE(kept("!=null", "x"));
  EXPECT_FALSE(kept("!= null", "null"));
  EXPECT_TRUE(kept("~rout", "the router"));
  EXPECT_FALSE(parse_expectation("> many"));
  EXPECT_FALSE(malformed_expectation("", "true").empty());
  EXPECT_FALSE(malformed_expectation("a", "").empty());
  EXPECT_FALSE(malformed_expectation("a", "<x").empty());
  EXPECT_TRUE(malformed_expectation("a", "<1").empty());
}

}  // namespace
}  // namespace daarion
