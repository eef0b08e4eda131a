// Request and reply on cluster.api.<verb>, from both accounts, in the core and on an edge.
#include "streams/api_responder.h"

#include <atomic>

#include "tests/harness/figures.h"
#include "tests/integration/helpers.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr auto kApp = NatsServers::Account::kApp;

ApiHandler echo(const std::string& name, std::atomic<int>& calls) {
  return [name, &calls](const std::string& verb, const std::string& request) {
    ++calls;
    return "{\"by\":\"" + name + "\",\"verb\":\"" + verb + "\",\"request\":" + request + "}";
  };
}

TEST(ApiResponder, OneNodeAnswersEachRequestFromEitherAccount) {
  const NatsServers servers({.size = 3, .edges = 1});
  std::atomic<int> calls = 0;
  const auto a = connect(servers, {0, 1, 2}), b = connect(servers, {1, 2, 0});
  const auto one = make_nats_api_responder({a, b}, echo("node1", calls));
  const auto two = make_nats_api_responder({b, a}, echo("node2", calls));
  std::vector<std::shared_ptr<Connection>> clients{connect(servers, {2, 0, 1}), connect(servers, {2, 0, 1}, kApp), connect(servers, {0}, kApp),
                                                   connect(servers, {3}), connect(servers, {3}, kApp)};
  int asked = 0;
  for (const auto& client : clients) {
    ASSERT_TRUE(becomes([&] { return !ask(*client, "cluster.api.warm", "1", 500).empty(); })) << "client " << asked;
    calls = 0;
    for (int i = 0; i < 20; ++i, ++asked) {
      const std::string answer = ask(*client, "cluster.api.status", std::to_string(asked), 2000);
      EXPECT_NE(answer.find("\"verb\":\"status\",\"request\":" + std::to_string(asked)), std::string::npos) << answer;
    }
    EXPECT_EQ(calls, 20) << "each request is worked on once";
  }
}

TEST(ApiResponder, AnEdgeAnswersItsOwnClientsWhileItIsCutOff) {
  NatsServers servers({.size = 1, .edges = 1});
  std::atomic<int> calls = 0;
  const auto core = connect(servers, {0}), edge = connect(servers, {1});
  const auto at_core = make_nats_api_responder({core}, echo("core", calls));
  const auto at_edge = make_nats_api_responder({edge}, echo("edge", calls));
  const auto client = connect(servers, {1}, kApp);
  const auto by_edge = [&] { return ask(*client, "cluster.api.status", "1", 500).find("\"by\":\"edge\"") != std::string::npos; };
  ASSERT_TRUE(becomes(by_edge));
  servers.cut_edge();
  std::this_thread::sleep_for(milliseconds(300));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(by_edge());
  servers.heal_edge();
}

TEST(ApiResponder, GoesOnAfterItsServerWasAway) {
  NatsServers servers({.size = 1});
  std::atomic<int> calls = 0;
  const auto connection = connect(servers, {0});
  const auto responder = make_nats_api_responder({connection}, echo("node1", calls));
  const auto client = connect(servers, {0}, kApp);
  ASSERT_TRUE(becomes([&] { return !ask(*client, "cluster.api.status", "1", 500).empty(); }));
  servers.kill(0);
  servers.start(0);
  EXPECT_TRUE(becomes([&] { return !ask(*client, "cluster.api.status", "2", 500).empty(); }));
}

TEST(ApiResponder, ASlowVerbDoesNotHoldUpAnotherAndAFloodIsToldSo) {
  const NatsServers servers({.size = 1});
  std::atomic<bool> hold = true;
  const auto connection = connect(servers, {0});
  const auto responder = make_nats_api_responder({connection}, [&](const std::string& verb, const std::string&) {
    while (verb == "slow" && hold) std::this_thread::sleep_for(milliseconds(5));
    return "\"" + verb + "\"";
  });
  const auto client = connect(servers, {0}, kApp);
  ASSERT_TRUE(becomes([&] { return !ask(*client, "cluster.api.status", "1", 500).empty(); }));
  const auto post_slow = [&] { natsConnection_PublishRequestString(client->handles().link()->nc, "cluster.api.slow", "_INBOX.nobody", ""); };
  post_slow();
  EXPECT_EQ(ask(*client, "cluster.api.status", "1", 1000), "\"status\"");
  for (int i = 0; i < 200; ++i) post_slow();
  EXPECT_NE(ask(*client, "cluster.api.status", "1", 1000).find("RESOURCE_EXHAUSTED"), std::string::npos);
  hold = false;
  EXPECT_TRUE(becomes([&] { return ask(*client, "cluster.api.status", "1", 1000) == "\"status\""; }));
}

}  // namespace
}  // namespace daarion
