#include "controlplane/core/evidence.h"

#include <gtest/gtest.h>

namespace daarion {
namespace {

TEST(Evidence, TextsAreTheWordsOfTheCli) {
  EXPECT_EQ(text_of(MemberIntent::kMaintenance), std::string("maintenance"));
  EXPECT_EQ(text_of(DecisionKind::kKeep), std::string("keep"));
  EXPECT_EQ(text_of(DecisionKind::kSwitchover), std::string("switchover"));
  EXPECT_EQ(text_of(EngineState::kUnresponsive), std::string("unresponsive"));
}

TEST(Evidence, ComparesWhole) {
  Evidence a;
  a.candidates.emplace_back();
  Evidence b = a;
  EXPECT_EQ(a, b);
  b.candidates[0].engine.contact_age_ms = 1;
  EXPECT_NE(a, b);
}

}  // namespace
}  // namespace daarion
