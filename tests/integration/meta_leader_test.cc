// JetStream's meta group: who leads it, and handing over.
#include "streams/meta_leader.h"

#include <nlohmann/json.hpp>

#include "tests/harness/figures.h"
#include "tests/integration/helpers.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

/// An ephemeral consumer, which only the meta leader can make.
bool makes_consumer(Connection& connection, std::int64_t limit_ms) {
  const std::string body = R"({"stream_name":"CLUSTER_LOG","config":{"deliver_subject":"test.nobody","ack_policy":"none","inactive_threshold":1000000000,"num_replicas":1,"mem_storage":true}})";
  const auto answer = nlohmann::json::parse(ask(connection, "$JS.API.CONSUMER.CREATE.CLUSTER_LOG", body, limit_ms), nullptr, false);
  return answer.is_object() && !answer.contains("error");
}

TEST(MetaLeader, IsEmptyOnAStandaloneServerAndNotWaitedFor) {
  const NatsServers servers({.size = 1});
  const auto sys = connect(servers, {0}, NatsServers::Account::kSys);
  const auto begun = Clock::now();
  EXPECT_EQ(meta_leader(*sys, seconds(3)), "");
  EXPECT_LT(Clock::now() - begun, seconds(1));
}

TEST(MetaLeader, HandsOverAndConsumersCanBeMadeAgainSoon) {
  const NatsServers servers({.size = 3, .edges = 1});
  const auto control = connect(servers, {0, 1, 2}), sys = connect(servers, {1, 2, 0}, NatsServers::Account::kSys);
  provision(*control, 3);
  std::vector<double> outages, hand_overs;
  for (int round = 0; round < 5; ++round) {
    std::string before;
    ASSERT_TRUE(becomes([&] { return !(before = meta_leader(*sys, seconds(1))).empty(); }));
    ASSERT_TRUE(becomes([&] { return makes_consumer(*control, 500); }));
    const auto begun = Clock::now();
    const auto done = step_down_meta_leader(*sys, seconds(2));
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_TRUE(becomes([&] { return makes_consumer(*control, 20); }));
    outages.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
    std::string after;
    ASSERT_TRUE(becomes([&] { return !(after = meta_leader(*sys, milliseconds(200))).empty(); }));
    hand_overs.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
    EXPECT_NE(after, before);
  }
  say_machine(servers.version());
  say({.name = "meta_step_down_consumer_create_ms", .value = median(outages), .unit = "ms", .samples = outages, .limit = "<=3000",
       .ok = std::ranges::max(outages) <= 3000});
  say({.name = "meta_step_down_new_leader_ms", .value = median(hand_overs), .unit = "ms", .samples = hand_overs, .limit = "", .ok = true});
  EXPECT_LE(std::ranges::max(outages), 3000);
}

TEST(MetaLeader, IsFoundAgainAfterItDied) {
  NatsServers servers({.size = 3});
  const auto sys = connect(servers, {0, 1, 2}, NatsServers::Account::kSys);
  std::string before;
  ASSERT_TRUE(becomes([&] { return !(before = meta_leader(*sys, seconds(1))).empty(); }));
  for (int i = 0; i < 3; ++i)
    if (servers.name(i) == before) servers.kill(i);
  std::string after;
  ASSERT_TRUE(becomes([&] { return !(after = meta_leader(*sys, milliseconds(500))).empty(); }));
  EXPECT_NE(after, before) << "the dead leader's name must not be said while nobody leads";
}

}  // namespace
}  // namespace daarion
