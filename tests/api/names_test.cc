#include "controlplane/api/names.h"

#include <gtest/gtest.h>

namespace daarion {
namespace {

const std::vector<std::string> kNodes = {"node1", "node2", "node3"};

TEST(FoldName, AnyCaseAndEveryAliasIsTheId) {
  const std::map<std::string, NodeId> aliases = {{"noda1", NodeId("node1")}};
  EXPECT_EQ(*fold_name("node", "NODE1", kNodes, aliases), "node1");
  EXPECT_EQ(*fold_name("node", "NoDa1", kNodes, aliases), "node1");
}

TEST(FoldName, WrongNamesGetTheNearestOne) {
  const auto text = [](const std::string& name) { return fold_name("node", name, kNodes).error().message; };
  EXPECT_EQ(text("nod2"), "unknown node nod2; did you mean node2? there are: node1, node2, node3");
  EXPECT_EQ(text("frankfurt"), "unknown node frankfurt; there are: node1, node2, node3");
  EXPECT_EQ(text("a\nb"), "unknown node a?b; there are: node1, node2, node3");
  EXPECT_EQ(text("n\xd0\xbe" "de1").substr(0, 13), "unknown node ") << "a letter of another script is another name";
  EXPECT_LT(text(std::string(1000, 'x')).size(), 150u);
  EXPECT_EQ(fold_name("resource", "x", {}).error().message, "unknown resource x; there is none");
}

}  // namespace
}  // namespace daarion
