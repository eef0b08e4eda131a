// A whole cluster with Redis beside PostgreSQL: each has a lease of its own, and a node's planned end hands over both.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/cluster/fixture.h"
#include "tests/cluster/sentinel_words.h"
#include "tests/harness/figures.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::kOne;
using test::kTwo;
using test::kThree;

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

/// The first ResourceObserved that `source` told, from `from` on; null: none.
const LogEvent* told_by(const std::vector<LogEvent>& events, const std::string& source, Sequence from) {
  for (const LogEvent& e : events)
    if (const auto* seen = std::get_if<ResourceObserved>(&e.event.payload); seen != nullptr && e.sequence > from && seen->source == source) return &e;
  return nullptr;
}

TEST(RedisCluster, SentinelDecidesAndTheLogFollowsWithinASecond) {
  auto made = test::ScratchCluster::make(3, {}, "", false, "postgres", {"redis-sentinel"});
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto well = [](const std::string& primary) {
    return [primary](const dev::ClusterView& v) { return v.holder_of("redis") == primary && v.warnings.empty() && v.ready; };
  };
  // Nobody told servers and sentinels anything yet but the daemons.
  ASSERT_OK(cluster.await(kTwo, "node1 as the primary, all well", seconds(60), well("node1")));
  const dev::ResourceSeen redis = *cluster.view(kTwo)->resource("redis");
  EXPECT_EQ(redis.replicas.size(), 4u) << "a replica and three sentinels";
  EXPECT_TRUE(cluster.processes(kOne, Part::kGuard).empty()) << "nobody may end what Sentinel decides about";

  // Planned: a row for each ms before and after; what was acknowledged is there.
  dev::ProbeWriter one(cluster.redis_application(kOne), "one"), two(cluster.redis_application(kTwo), "two");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return one.count() > 50; }));
  const auto asked = test::switchover(cluster, kThree, kTwo, "planned", "redis");
  ASSERT_OK(asked);
  ASSERT_OK(cluster.await(kThree, "node2 as the primary, all well", seconds(30), well("node2")));
  ASSERT_OK(cluster.await_that("rows at node2", seconds(10), "", [&] { return two.count() > 50; }));
  one.stop();
  const auto missing = dev::missing_rows(cluster.redis_application(kTwo), one, seconds(5));
  ASSERT_OK(missing);
  EXPECT_TRUE(missing->empty()) << missing->size() << " of " << one.count() << " acknowledged rows";

  // Its host is lost. Each word of Sentinel is in the log within a second: that a server is down sentinels find by themselves, up to a second apart and
  // each of several servers, so it counts from the word to the node that put it there; the move from whoever said it first.
  const Sequence before{cluster.view(kThree)->sequence};
  test::SentinelWords to_one(cluster.sentinel(kOne)), to_three(cluster.sentinel(kThree));
  ASSERT_OK(cluster.await_that("subscriptions", seconds(5), "", [&] { return to_one.listening() && to_three.listening(); }));
  two.stop();
  dev::ProbeWriter back(cluster.redis_application(kOne), "back");
  ASSERT_OK(cluster.await_leaders_off({kTwo}, seconds(30)));
  const auto killed = cluster.kill(kTwo);
  ASSERT_OK(killed);
  ASSERT_OK(cluster.await(kThree, "node1 as the primary", seconds(30), [](const dev::ClusterView& v) { return v.holder_of("redis") == "node1"; }));
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return back.first_after(*killed) != kNever; }));
  // A sentinel hears of the move from the one that led, with its next hello.
  const redis::Target new_primary = cluster.redis_application(kOne);
  ASSERT_OK(cluster.await_that("the move in each sentinel's word", seconds(10), "", [&] { return to_one.moved_to(new_primary) != 0 && to_three.moved_to(new_primary) != 0; }));
  const auto log = test::read_log(cluster, Sequence{1}, Sequence{cluster.view(kThree)->sequence}, kTwo);
  ASSERT_OK(log);
  std::vector<double> delays;
  // Whichever word it was seen by: the one of the sentinel that led, of another that took it over, or a look at the servers.
  const auto moved_at = std::ranges::find_if(log->events, [&](const LogEvent& e) {
    const auto* seen = std::get_if<ResourceObserved>(&e.event.payload);
    return seen != nullptr && e.event.header.resource == ResourceId("redis") && e.sequence > before && seen->primary == kOne;
  });
  const LogEvent* moved = moved_at == log->events.end() ? nullptr : &*moved_at;
  for (const char* channel : {"+sdown", "+odown", "+switch-master"}) {
    const bool is_move = std::string(channel) == "+switch-master";
    const LogEvent* event = is_move ? moved : told_by(log->events, std::string("sentinel ") + channel, before);
    std::int64_t said = 0;
    if (is_move) {
      ASSERT_TRUE(moved != nullptr) << "it is in the log";
      said = std::min(to_one.moved_to(new_primary), to_three.moved_to(new_primary));
    } else if (event != nullptr) {
      said = (event->event.header.node == kOne ? to_one : to_three).newest(channel, event->stored_ns);
    }
    if (said == 0) continue;  // two words that come together are one event
    delays.push_back(static_cast<double>(event->stored_ns - said) / 1e6);
  }
  ASSERT_FALSE(delays.empty());
  const double worst = *std::ranges::max_element(delays);
  EXPECT_TRUE(test::say({.name = "sentinel_word_to_log_ms", .value = worst, .unit = "ms", .samples = delays, .limit = "<=1000", .ok = worst <= 1000}));
  ASSERT_NE(moved, nullptr);
  EXPECT_EQ(std::get<ResourceObserved>(moved->event.payload).primary, kOne);
  EXPECT_NE(moved->event.header.reason.find("primary node2 -> node1"), std::string::npos) << moved->event.header.reason;

  // It comes back as a replica, and everybody is of one mind again.
  ASSERT_OK(cluster.start(kTwo));
  ASSERT_OK(cluster.await(kTwo, "node1 as the primary, all well", seconds(60), well("node1")));
  back.stop();
}

}  // namespace
}  // namespace daarion
