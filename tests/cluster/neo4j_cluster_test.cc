// A cluster of real daemons that observe a Neo4j: leaders per database go into the log, a lost leader is followed, lag is told; of Community the one
// instance and its dumps. What runs as Neo4j is the stand-in.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "controlplane/health/http_client.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::kOne;
using test::kTwo;

class Neo4jCluster : public testing::Test {
 protected:
  void make(int nodes, const std::string& engine) {
    auto made = test::ScratchCluster::make(nodes, {}, "", false, "postgres", {engine});
    ASSERT_OK(made);
    scratch_.emplace(std::move(*made));
    ASSERT_OK(cluster().start_all());
  }
  dev::LocalCluster& cluster() { return **scratch_; }
  bool await(const std::string& what, const std::function<bool(const dev::ClusterView&)>& condition) {
    const auto seen = cluster().await(kTwo, what, seconds(90), condition);
    EXPECT_TRUE(seen) << seen.error().message;
    return seen.has_value();
  }
  static bool warns(const dev::ClusterView& v, const std::string& of) {
    return std::ranges::any_of(v.warnings, [&](const std::string& w) { return w.find(of) != std::string::npos; });
  }
  HttpAnswer get(const NodeId& node, const std::string& path) {
    HttpClient client(cluster().address_of(node), cluster().file().http_port);
    return client.call({.path = path}, seconds(5)).answer;
  }
  /// The reasons of what the log says of it, one below the other.
  std::string told() {
    const auto log = test::read_log(cluster(), Sequence{1}, Sequence{cluster().view(kTwo)->sequence}, NodeId());
    std::string out;
    if (!log) return log.error().message;
    for (const LogEvent& e : log->events)
      if (e.event.header.resource == ResourceId("neo4j") && std::holds_alternative<ResourceObserved>(e.event.payload)) out += e.event.header.reason + "\n";
    return out;
  }
  std::optional<test::ScratchCluster> scratch_;
};

TEST_F(Neo4jCluster, ItsLeadersAreInTheLogAndOneThatIsLostIsFollowed) {
  make(4, "neo4j");
  ASSERT_TRUE(await("a leader, all well", [](const dev::ClusterView& v) { return !v.holder_of("neo4j").empty() && v.warnings.empty() && v.ready; }));
  const std::string status = get(kTwo, "/cluster/status").body;
  for (const char* word : {R"("elected_by":"Neo4j's raft")", R"("holder_role":"leader ()", R"("holder_version":"5.26.0 enterprise")",
      R"("role":"read replica")", R"("lag_transactions":)"})
    EXPECT_NE(status.find(word), std::string::npos) << word << " in " << status;
  EXPECT_NE(get(kTwo, "/metrics").body.find("daarion_replica_lag_transactions{"), std::string::npos);
  const NodeId lost(cluster().view(kTwo)->holder_of("neo4j"));
  ASSERT_OK(cluster().kill(lost, Part::kNeo4j));
  ASSERT_TRUE(await("another leader", [&](const dev::ClusterView& v) { return !v.holder_of("neo4j").empty() && v.holder_of("neo4j") != lost.value && warns(v,
      "of " + lost.value + ": GET / on"); }));
  ASSERT_OK(cluster().start(lost, Part::kNeo4j));
  ASSERT_TRUE(await("all well again", [](const dev::ClusterView& v) { return !v.holder_of("neo4j").empty() && v.warnings.empty(); }));
  EXPECT_NE(told().find("primary " + lost.value + " -> "), std::string::npos) << told();
}

TEST_F(Neo4jCluster, CommunityIsWatchedAndDumpedByItsNode) {
  make(3, "neo4j-community");
  ASSERT_TRUE(cluster().await(kOne, "the instance and its dumps", seconds(90), [](const dev::ClusterView& v) { return v.holder_of("neo4j") == "node1"; }));
  ASSERT_TRUE(await("the word of node1, elsewhere too", [](const dev::ClusterView& v) { return v.holder_of("neo4j") == "node1" && v.warnings.empty(); }));
  ASSERT_TRUE(await("a dump", [&](const dev::ClusterView&) { return told().find("dump of node1 is of 20") != std::string::npos; })) << told();
  EXPECT_TRUE(std::filesystem::exists(cluster().node_folder(kOne) + "/neo4j/neo4j.dump"));
  ASSERT_OK(cluster().kill(kOne, Part::kNeo4j));
  ASSERT_TRUE(await("the instance missed", [](const dev::ClusterView& v) { return v.holder_of("neo4j").empty() && warns(v, "instance of node1"); }));
  ASSERT_OK(cluster().start(kOne, Part::kNeo4j));
  ASSERT_TRUE(await("all well again", [](const dev::ClusterView& v) { return v.holder_of("neo4j") == "node1" && v.warnings.empty(); }));
}

}  // namespace
}  // namespace daarion
