#include "controlplane/core/subject.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace daarion {
namespace {

TEST(Subject, HasTokensAndWildcards) {
  EXPECT_EQ(tokens_of("a.b.c"), (std::vector<std::string_view>{"a", "b", "c"}));
  EXPECT_EQ(tokens_of(""), (std::vector<std::string_view>{""}));
  for (const char* good : {"message", "agents.agent:sofia.invoke", "a.b-c.d_e", "a*b"}) EXPECT_TRUE(is_subject(good)) << good;
  for (const char* bad : {"", ".a", "a.", "a..b", "a.*", "a.>", "a b", "a.\tb"}) EXPECT_FALSE(is_subject(bad)) << bad;
  for (const char* good : {"a.*", "*.b", "a.>", ">", "*"}) EXPECT_TRUE(is_pattern(good)) << good;
  for (const char* bad : {"a.>.b", "a*.b", "a.>b", "", "a..*"}) EXPECT_FALSE(is_pattern(bad)) << bad;
}

TEST(Subject, AStarAtTheEndMeansEverythingBelow) {
  EXPECT_EQ(as_prefix("message.*"), "message.>");
  EXPECT_EQ(as_prefix("node.{node_id}.local.*"), "node.{node_id}.local.>");
  for (const char* as_it_is : {"message.>", "a.*.b", "message", "*"}) EXPECT_EQ(as_prefix(as_it_is), as_it_is);
  EXPECT_TRUE(matches("message.>", "message.received.helion"));
  EXPECT_FALSE(matches("message.*", "message.received.helion")) << "NATS's own reading";
  EXPECT_FALSE(matches("message.>", "message"));
}

TEST(Subject, NamesTheNode) {
  EXPECT_TRUE(has_node_token("node.{node_id}.local.>"));
  EXPECT_FALSE(has_node_token("node.x{node_id}.local"));
  EXPECT_EQ(with_node("node.{node_id}.local.>", "node1"), "node.node1.local.>");
}

// ---- against every subject of up to four tokens of two letters
std::vector<std::string> all_subjects() {
  std::vector<std::string> out, last = {""};
  for (int length = 1; length <= 4; ++length) {
    std::vector<std::string> next;
    for (const std::string& begin : last)
      for (const char* token : {"a", "b"}) next.push_back(begin + (begin.empty() ? "" : ".") + token);
    out.insert(out.end(), next.begin(), next.end());
    last = std::move(next);
  }
  return out;
}

std::string arbitrary_pattern() {
  const int length = *rc::gen::inRange(1, 4);
  std::string out;
  for (int i = 0; i < length; ++i) out += (out.empty() ? "" : ".") + *rc::gen::element<std::string>("a", "b", "*");
  return *rc::gen::arbitrary<bool>() && length < 3 ? out + ".>" : out;
}

/// A second way to say it: token by token, from the end of the pattern.
bool matches_slowly(const std::string& pattern, const std::string& subject) {
  const auto p = tokens_of(pattern), s = tokens_of(subject);
  const bool tail = p.back() == ">";
  if (tail ? s.size() < p.size() : s.size() != p.size()) return false;
  for (std::size_t i = p.size() - (tail ? 1 : 0); i-- > 0;)
    if (p[i] != "*" && p[i] != s[i]) return false;
  return true;
}

RC_GTEST_PROP(SubjectProperty, MatchOverlapAndCoverAgreeWithEverySubject, ()) {
  const std::string a = arbitrary_pattern(), b = arbitrary_pattern();
  RC_ASSERT(is_pattern(a));
  bool both = false, beyond = false;
  for (const std::string& subject : all_subjects()) {
    const bool in_a = matches_slowly(a, subject), in_b = matches_slowly(b, subject);
    RC_ASSERT(matches(a, subject) == in_a);
    both |= in_a && in_b;
    beyond |= in_b && !in_a;
  }
  RC_ASSERT(overlap(a, b) == both);
  RC_ASSERT(overlap(a, b) == overlap(b, a));
  // Two letters are too few to tell "*" from both of them: a cover is never claimed wrongly, and always seen where no token is a letter of one only.
  if (covers(a, b)) RC_ASSERT(!beyond);
  if (!beyond) RC_ASSERT(overlap(a, b));
}

}  // namespace
}  // namespace daarion
