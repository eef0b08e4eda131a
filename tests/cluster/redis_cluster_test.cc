// A whole cluster with Redis beside PostgreSQL: each has a lease of its own, and a node's planned end hands over both.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "controlplane/node/clock.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;

const NodeId kOne("node1"), kTwo("node2"), kThree("node3");

#define ASSERT_OK(result) \
  if (const auto& r = (result); !r) GTEST_FAIL() << r.error().message

TEST(RedisCluster, FailsOverApartFromPostgresAndHandsOverWithIt) {
  auto made = test::ScratchCluster::make(3, {}, "", false, "postgres", {"postgres", "redis"});
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  dev::ProbeWriter one(cluster.redis_application(kOne), "one"), two(cluster.redis_application(kTwo), "two");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return one.count() > 50; }));
  EXPECT_EQ(two.count(), 0u) << "a replica took a row";

  for (const dev::ProcessInfo& p : cluster.processes(kOne, Part::kRedis)) EXPECT_GE(getpriority(PRIO_PROCESS, static_cast<id_t>(p.id.pid)), 0) << "an engine took its starter's priority";

  const auto killed = cluster.kill(kOne, Part::kRedis);
  ASSERT_OK(killed);
  ASSERT_OK(cluster.await_that("rows at node2", seconds(10), cluster.log_of(kTwo, Part::kDaemon), [&] { return two.first_after(*killed) != kNever; }));
  const auto after = cluster.await_settled(seconds(30));
  ASSERT_OK(after);
  EXPECT_EQ(after->resource("redis")->epoch, 2u);
  EXPECT_EQ(after->holder_of("redis"), "node2");
  EXPECT_EQ(after->resource("postgres")->epoch, 1u) << "PostgreSQL was not concerned";
  EXPECT_EQ(after->holder_of("postgres"), "node1");

  // Planned, there and back: nothing that was acknowledged from here on is lost.
  dev::ProbeWriter home(cluster.redis_application(kOne), "home"), away(cluster.redis_application(kTwo), "away");
  ASSERT_OK(cluster.await_that("rows at node2", seconds(10), "", [&] { return away.count() > 50; }));
  ASSERT_OK(test::switchover(cluster, kThree, kOne, "back home", "redis"));
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), cluster.log_of(kOne, Part::kDaemon), [&] { return home.count() > 50; }));
  ASSERT_OK(cluster.await_settled(seconds(30)));
  ASSERT_OK(cluster.stop(kOne, seconds(30)));
  const std::size_t before = away.count();
  ASSERT_OK(cluster.await_that("rows at node2", seconds(10), cluster.log_of(kTwo, Part::kDaemon), [&] { return away.count() > before + 50; }));
  EXPECT_TRUE(cluster.processes(kOne, Part::kRedis).empty());
  const auto view = cluster.await(kTwo, "node2 writing both", seconds(10), [](const dev::ClusterView& v) { return v.holder_of("redis") == "node2" && v.holder_of("postgres") == "node2"; });
  ASSERT_OK(view);
  home.stop();
  away.stop();
  for (const dev::ProbeWriter* writer : {&home, &away}) {
    const auto missing = dev::missing_rows(cluster.redis_application(kTwo), *writer, seconds(5));
    ASSERT_OK(missing);
    EXPECT_TRUE(missing->empty()) << missing->size() << " of " << writer->count() << " rows of " << writer->name();
  }
  ASSERT_OK(cluster.start(kOne));
  ASSERT_OK(cluster.await_settled(seconds(30)));
}

}  // namespace
}  // namespace daarion
