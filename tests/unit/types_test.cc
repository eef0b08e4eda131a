#include "controlplane/core/types.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace daarion {
namespace {

TEST(Types, IdTextHasTheFormOfAUuid) {
  EXPECT_EQ(id_text(0x0123456789abcdefULL, 0xfedcba9876543210ULL), "01234567-89ab-cdef-fedc-ba9876543210");
  EXPECT_EQ(id_text(0, 0), "00000000-0000-0000-0000-000000000000");
}

RC_GTEST_PROP(Types, IdTextIsReadBack, (std::uint64_t hi, std::uint64_t lo)) {
  std::uint64_t hi2 = 0, lo2 = 0;
  RC_ASSERT(parse_id_text(id_text(hi, lo), hi2, lo2));
  RC_ASSERT(hi2 == hi);
  RC_ASSERT(lo2 == lo);
}

TEST(Types, ParseTakesUpperCaseAndNoDashes) {
  std::uint64_t hi = 0, lo = 0;
  ASSERT_TRUE(parse_id_text("0123456789ABCDEFFEDCBA9876543210", hi, lo));
  EXPECT_EQ(hi, 0x0123456789abcdefULL);
  EXPECT_EQ(lo, 0xfedcba9876543210ULL);
}

TEST(Types, ParseRefusesAndLeavesTheNumbers) {
  for (const std::string bad : {"", "0123", "0123456789abcdeffedcba987654321g", "0123456789abcdeffedcba98765432100"}) {
    std::uint64_t hi = 7, lo = 8;
    EXPECT_FALSE(parse_id_text(bad, hi, lo)) << bad;
    EXPECT_EQ(hi, 7u);
    EXPECT_EQ(lo, 8u);
  }
}

TEST(Types, ValidIds) {
  for (const std::string good : {"a", "node1", "0", "pg-main_2", "abcdefghijklmnopqrstuvwxyz012345"}) EXPECT_TRUE(is_valid_id(good)) << good;
  for (const std::string bad : {"", "-a", "_a", "Node", "a.b", "a b", "a*", "abcdefghijklmnopqrstuvwxyz0123456"})
    EXPECT_FALSE(is_valid_id(bad)) << bad;
}

TEST(Types, LaterStaysAtNever) {
  const Instant t = Instant{} + std::chrono::seconds(1);
  EXPECT_EQ(later(t, std::chrono::seconds(2)), Instant{} + std::chrono::seconds(3));
  EXPECT_EQ(later(kNever, std::chrono::seconds(2)), kNever);
  EXPECT_EQ(later(t, Duration::max()), kNever);
}

TEST(Types, EmptyIdsMeanNone) {
  EXPECT_TRUE(SessionId{}.empty());
  EXPECT_FALSE((SessionId{0, 1}.empty()));
  EXPECT_FALSE((SessionId{1, 0}.empty()));
}

}  // namespace
}  // namespace daarion
