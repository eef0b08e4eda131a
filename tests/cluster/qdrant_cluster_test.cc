// A cluster of real daemons that keep Qdrant's declared shape. What runs as Qdrant is the stand-in, or what DAARION_QDRANT names.
#include <gtest/gtest.h>

#include <algorithm>

#include "controlplane/health/http_client.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::kOne;
using test::kTwo;
using test::kThree;

std::size_t times(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

TEST(QdrantCluster, IsKeptAsDeclaredAndTheLogSaysWhatWasMovedAndWhy) {
  auto made = test::ScratchCluster::make(3, {}, "", false, "postgres", {"qdrant"});
  ASSERT_TRUE(made) << made.error().message;
  dev::LocalCluster& cluster = **made;
  const auto started = cluster.start_all();
  ASSERT_TRUE(started) << started.error().message;
  const auto well = [](const dev::ClusterView& v) { return !v.holder_of("qdrant").empty() && v.warnings.empty() && v.ready; };
  const auto await = [&](const std::string& what, const std::function<bool(const dev::ClusterView&)>& condition) {
    const auto seen = cluster.await(kTwo, what, seconds(60), condition);
    EXPECT_TRUE(seen) << seen.error().message;
    return seen.has_value();
  };
  ASSERT_TRUE(await("a leader of the raft, all well", well));
  const auto ask = [&](const std::string& method, const std::string& path, const std::string& body = "") {
    HttpClient client(cluster.address_of(kOne), dev::ports_of(cluster.file()).qdrant);
    return client.call({.method = method, .path = path, .body = body, .headers = {{"api-key", cluster.secrets()["QDRANT_API_KEY"]}}}, seconds(10)).answer;
  };

  // One copy of each shard is made; two are declared.
  const Sequence before{cluster.view(kTwo)->sequence};
  ASSERT_EQ(ask("PUT", "/collections/docs", R"({"vectors":{"size":2,"distance":"Dot"},"shard_number":2,"replication_factor":1})").status, 200);
  ASSERT_EQ(ask("PUT", "/collections/docs/points", R"({"points":[{"id":1,"vector":[0.1,0.2]},{"id":2,"vector":[0.3,0.4]}]})").status, 200);
  const auto short_of = [](const dev::ClusterView& v) {
    return std::ranges::any_of(v.warnings, [](const std::string& w) { return w.find("docs/0: 1 of 2 replicas are whole") != std::string::npos; });
  };
  ASSERT_TRUE(await("docs named as short", short_of));
  ASSERT_EQ(ask("PATCH", "/collections/docs", R"({"params":{"replication_factor":2}})").status, 200);
  ASSERT_TRUE(await("docs mended", well));
  EXPECT_EQ(times(ask("GET", "/collections/docs/cluster").body, "Active"), 4u);

  // An auditor finds each step, and why.
  const auto log = test::read_log(cluster, Sequence{1}, Sequence{cluster.view(kTwo)->sequence}, NodeId());
  ASSERT_TRUE(log) << log.error().message;
  for (const char* step : {"replicate docs/0 from ", "replicate docs/1 from "}) {
    const bool told = std::ranges::any_of(log->events, [&](const LogEvent& e) {
      return e.sequence > before && std::holds_alternative<ResourceObserved>(e.event.payload) && e.event.header.reason.find(step) != std::string::npos &&
             e.event.header.reason.find("1 of 2 replicas are whole") != std::string::npos;
    });
    EXPECT_TRUE(told) << step;
  }

  // A peer is lost, and comes back.
  const auto killed = cluster.kill(kThree, Part::kQdrant);
  ASSERT_TRUE(killed) << killed.error().message;
  ASSERT_TRUE(await("node3's peer missed", [](const dev::ClusterView& v) {
    return std::ranges::any_of(v.warnings, [](const std::string& w) { return w.find("of node3: GET /cluster on node3") != std::string::npos; });
  }));
  EXPECT_FALSE(cluster.view(kTwo)->holder_of("qdrant").empty()) << "two of three are a majority";
  const auto again = cluster.start(kThree, Part::kQdrant);
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_TRUE(await("all well", well));
}

}  // namespace
}  // namespace daarion
