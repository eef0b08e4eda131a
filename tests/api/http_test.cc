// HTTP over real sockets of this machine: what is answered, and that it is answered beside clients that are stuck.
#include "controlplane/api/http_server.h"
#include "controlplane/api/metrics.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/api/fake_cluster.h"

namespace daarion::test {
namespace {

using Clock = std::chrono::steady_clock;

/// One raw connection: what a client library would hide is what is tested.
class Raw {
 public:
  explicit Raw(std::uint32_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  ~Raw() { close(fd_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;
  bool send(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()); }
  /// All until the server closes, or `limit`.
  std::string read(std::chrono::milliseconds limit = std::chrono::seconds(5)) {
    std::string out;
    const auto end = Clock::now() + limit;
    char buffer[4096];
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
      pollfd one{.fd = fd_, .events = POLLIN, .revents = 0};
      if (left.count() <= 0 || poll(&one, 1, static_cast<int>(left.count())) <= 0) return out;
      const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) {
        closed = true;
        return out;
      }
      out.append(buffer, static_cast<std::size_t>(got));
    }
  }
  bool connected = false, closed = false;

 private:
  int fd_;
};

class HttpTest : public testing::Test {
 protected:
  HttpTest() {
    cluster.settle();
    server = *HttpServer::start("127.0.0.1", 0, [this] { return cluster.view(); }, std::make_shared<RouteDesk>());
  }
  std::string ask(const std::string& path, const std::string& method = "GET") {
    Raw raw(server->port());
    raw.send(method + " " + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    return raw.read();
  }
  static std::string body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }
  /// How long /health takes now; a minute if it does not come.
  std::chrono::milliseconds health() {
    const auto begin = Clock::now();
    const std::string answer = ask("/health");
    if (!answer.starts_with("HTTP/1.1 200")) return std::chrono::minutes(1);
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
  }
  FakeCluster cluster;
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpTest, AnswersFromMemory) {
  const std::string health = ask("/health");
  EXPECT_TRUE(health.starts_with("HTTP/1.1 200")) << health;
  EXPECT_NE(health.find("Cache-Control: no-store"), std::string::npos);
  EXPECT_TRUE(ask("/healthz").starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(ask("/ready").starts_with("HTTP/1.1 200"));
  EXPECT_EQ(body(ask("/cluster/status")), cluster.view()->status_json + "\n");
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/peers")))["node"], "node3");
  EXPECT_TRUE(ask("/postgres/primary").starts_with("HTTP/1.1 404")) << "node3 does not run it";
  EXPECT_TRUE(ask("/nothing").starts_with("HTTP/1.1 404"));
  EXPECT_NE(ask("/health", "OPTIONS").find("Allow: GET, HEAD, OPTIONS"), std::string::npos);
  const std::string head = ask("/health", "HEAD");
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200")) << head;
  EXPECT_EQ(body(head), "");
}

TEST_F(HttpTest, SaysWhereSubjectsGo) {
  cluster.route();
  const auto found = nlohmann::json::parse(body(ask("/cluster/resolve?subject=node.node1.local.gpu&from=NODE1")));
  EXPECT_EQ(found["class"], "node_local");
  EXPECT_EQ(found["nodes"], std::vector<std::string>{"node1"});
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/resolve?subject=cache.invalidate.x")))["from"], "node3");
  EXPECT_TRUE(ask("/cluster/resolve?subject=a..b").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(ask("/cluster/resolve").starts_with("HTTP/1.1 400"));
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/routes")))["rules"].size(), 3u);
}

TEST_F(HttpTest, SaysWhoServes) {
  cluster.serve();
  const auto services = nlohmann::json::parse(body(ask("/cluster/services")));
  EXPECT_EQ(services["services"][0]["active"], std::vector<std::string>{"node2"});
  EXPECT_EQ(services["services"][1]["readers"], (std::vector<std::string>{"node1", "node2"}));
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/capabilities")))["capabilities"].size(), 5u);
  const auto table = nlohmann::json::parse(body(ask("/cluster/routes")));
  EXPECT_EQ(table["services"], services["services"]) << "the table that services read says the same";
  EXPECT_EQ(table["updated"], 19);
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/resolve?subject=pictures.new&from=node1")))["service_nodes"], std::vector<std::string>{"node2"});
  EXPECT_TRUE(ask("/router/active").starts_with("HTTP/1.1 404")) << "node3 does not run it";
  EXPECT_EQ(nlohmann::json::parse(body(ask("/cluster/route?service=router&region=eu")))["nodes"][0]["node"], "node2");
  EXPECT_TRUE(ask("/cluster/route?service=swapper").starts_with("HTTP/1.1 503")) << "nobody serves it";
  EXPECT_TRUE(ask("/cluster/route?service=roter").starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(ask("/cluster/route").starts_with("HTTP/1.1 400"));
}

/// What a balancer is answered of a node whose engine is as given; the primary is known to be at 1000.
std::string balanced(const EngineReport& engine, const std::string& path, const ResourceTags& tags = {}) {
  FakeCluster cluster;
  auto view = std::make_shared<StatusView>(*cluster.view());
  view->roles = {role_of(engine, engine.state == EngineState::kPrimary, Lsn{1000}, tags)};
  const auto server = *HttpServer::start("127.0.0.1", 0, [view] { return view; }, std::make_shared<RouteDesk>());
  Raw raw(server->port());
  raw.send("GET /postgres" + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = raw.read();
  return answer.substr(9, 3) + " " + answer.substr(answer.find("\r\n\r\n") + 4);
}

TEST(Balanced, WhoReadsAReplicaSeesWhatItHasReplayed) {
  EngineReport paused = standby_at(1000);
  paused.streaming = true;
  paused.replayed = Lsn{400};
  EXPECT_EQ(balanced(paused, "/replica?lag=599"), "503 {\"primary\":false,\"replica\":true,\"balanced\":true,\"lag_bytes\":600}\n");
  EXPECT_TRUE(balanced(paused, "/replica?lag=600").starts_with("200"));
  EXPECT_TRUE(balanced(paused, "/read-only?lag=599").starts_with("503"));
  paused.replayed = Lsn{1000};
  EXPECT_TRUE(balanced(paused, "/replica?lag=0").starts_with("200"));
}

TEST(Balanced, ANodeTaggedNoloadbalanceTakesNoReads) {
  const ResourceTags tags{.noloadbalance = true};
  EngineReport engine = standby_at(1000);
  engine.streaming = true;
  engine.replayed = Lsn{1000};
  EXPECT_TRUE(balanced(engine, "/replica").starts_with("200"));
  EXPECT_TRUE(balanced(engine, "/replica", tags).starts_with("503"));
  EXPECT_TRUE(balanced(engine, "/read-only", tags).starts_with("503"));
  engine.state = EngineState::kPrimary;
  EXPECT_TRUE(balanced(engine, "/read-only").starts_with("200"));
  EXPECT_TRUE(balanced(engine, "/read-only", tags).starts_with("503"));
  EXPECT_TRUE(balanced(engine, "/primary", tags).starts_with("200")) << "whoever writes has nowhere else to go";
}

TEST(Balanced, APrimaryThatRefusesWritesIsNone) {
  EngineReport engine = standby_at(1000);
  engine.state = EngineState::kPrimary;
  engine.health = "it refuses writes: its last dump failed";
  EXPECT_TRUE(balanced(engine, "/primary").starts_with("503"));
  engine.health = "its last dump failed";
  EXPECT_TRUE(balanced(engine, "/primary").starts_with("200"));
}

TEST_F(HttpTest, AServicesNodesAreThoseNearestToWhoPublishesFirst) {
  cluster.serve();
  TopologySpec spec = cluster.view()->state->topology.spec;
  for (std::size_t i = 0; i < 3; ++i) spec.nodes[i].region = std::vector{"us-east", "eu-central", "eu-north"}[i];
  spec.services[1].on = {{node(1), ServiceRole::kActive}, {node(2), ServiceRole::kActive}, {node(3), ServiceRole::kActive}};
  spec.routes.push_back({.name = "notes", .subjects = {"notes.*"}, .cls = RouteClass::kEdgeLocal, .service = "memory"});
  cluster.add(TopologyChanged{spec, "hash"}, node(1));
  cluster.add(RouteTableChanged{plan_routes(spec).table}, node(1));
  const auto from = [this](const std::string& who) { return nlohmann::json::parse(body(ask("/cluster/resolve?subject=notes.new&from=" + who)))["service_nodes"].get<std::vector<std::string>>(); };
  EXPECT_EQ(from("node1"), (std::vector<std::string>{"node1", "node2", "node3"}));
  EXPECT_EQ(from("node2"), (std::vector<std::string>{"node2", "node3", "node1"}));
  EXPECT_EQ(from("node3"), (std::vector<std::string>{"node3", "node2", "node1"}));
}

TEST_F(HttpTest, ANodeThatIsAloneSendsNobodyToWhatMoves) {
  cluster.serve();
  TopologySpec spec = cluster.view()->state->topology.spec;
  for (ServiceSpec& s : spec.services) s.on.push_back({node(3), s.name == "router" ? ServiceRole::kStandby : ServiceRole::kActive});
  cluster.add(TopologyChanged{spec, "hash"}, node(1));
  for (const char* name : {"router", "memory"}) cluster.add(ServiceHealthChanged{.health = Health::kHealthy}, node(3), ResourceId(name));
  cluster.add(ServiceMoved{{node(3)}, service_evidence(*cluster.view()->state, *cluster.view()->state->topology.spec.service("router"))}, node(2), ResourceId("router"));
  cluster.beats(true, true);
  const std::string served = ask("/router/active");
  EXPECT_TRUE(served.starts_with("HTTP/1.1 200")) << served;
  EXPECT_FALSE(nlohmann::json::parse(body(served)).contains("reason"));
  cluster.pass(spec.lease.ttl - spec.lease.fence_budget);
  EXPECT_TRUE(ask("/router/active").starts_with("HTTP/1.1 200")) << "not before it would run its stop command";
  cluster.pass(milliseconds(1));
  const std::string alone = ask("/router/active");
  EXPECT_TRUE(alone.starts_with("HTTP/1.1 503")) << alone;
  const auto said = nlohmann::json::parse(body(alone));
  EXPECT_EQ(said["state"], "active") << "what its fold says, and why that does not count";
  EXPECT_EQ(said["reason"], "this node hears no majority of the voters: another one may be active");
  EXPECT_TRUE(ask("/router/read").starts_with("HTTP/1.1 200")) << "what it has may be read";
  EXPECT_TRUE(ask("/memory/active").starts_with("HTTP/1.1 200")) << "it does not move: nobody takes its place";
  cluster.beats(false, true);
  EXPECT_TRUE(ask("/router/active").starts_with("HTTP/1.1 200")) << "two of three are a majority";
}

TEST_F(HttpTest, ADrainedNodeIsNotReady) {
  cluster.add(MemberIntentChanged{MemberIntent::kDraining}, node(3));
  const std::string answer = ask("/ready");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
  EXPECT_EQ(nlohmann::json::parse(body(answer))["reasons"][0], "this node is draining");
  EXPECT_TRUE(ask("/health").starts_with("HTTP/1.1 200"));
}

TEST_F(HttpTest, MetricsHaveStableNames) {
  cluster.node2_problems = {"slot daarion_node1 keeps 1500 MB of WAL"};
  cluster.fail_over();
  const std::string text = body(ask("/metrics"));
  for (const char* line : {"daarion_resource_problems{resource=\"postgres\"} 1\n", "daarion_sequence 11\n", "daarion_ready 1\n", "daarion_degraded 1\n", "daarion_quorum_voters 3\n", "daarion_quorum_reachable 2\n", "daarion_waits 0\n",
                           "daarion_digest_disagreements 0\n", "daarion_node_silence_ms{peer=\"node1\"} 3000\n", "daarion_node_reachable{peer=\"node1\"} 0\n",
                           "daarion_resource_epoch{resource=\"postgres\"} 2\n", "daarion_resource_writable{resource=\"postgres\"} 1\n",
                           "daarion_resource_paused{resource=\"postgres\"} 0\n", "daarion_resource_holder{resource=\"postgres\",holder=\"node2\"} 1\n",
                           "daarion_replica_lag_bytes{resource=\"postgres\",replica=\"node1\"} 0\n", "daarion_replica_lag_ms{resource=\"postgres\",replica=\"node1\"} ",
                           "# TYPE daarion_lease_margin_min_ms gauge\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
}

TEST_F(HttpTest, MetricsSayWhoServes) {
  cluster.serve();
  const std::string text = body(ask("/metrics"));
  for (const char* line : {"daarion_service_active{service=\"router\",member=\"node1\"} 0\n", "daarion_service_active{service=\"router\",member=\"node2\"} 1\n",
                           "daarion_service_healthy{service=\"router\",member=\"node1\"} 0\n", "daarion_service_healthy{service=\"router\",member=\"node2\"} 1\n",
                           "daarion_service_check_broken{service=\"memory\",member=\"node2\"} 1\n", "daarion_service_flapping{service=\"router\",member=\"node1\"} 0\n",
                           "daarion_service_routed{service=\"router\"} 1\n", "daarion_service_routed{service=\"swapper\"} 0\n",
                           "daarion_service_moved_sequence{service=\"router\"} 16\n", "daarion_service_moved_sequence{service=\"swapper\"} 0\n",
                           "daarion_capability_provided{capability=\"vision\",agent=\"\"} 1\n", "daarion_capability_provided{capability=\"image\",agent=\"\"} 0\n",
                           "daarion_capability_provider{capability=\"vision\",agent=\"\",provider=\"api:mistral\"} 1\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
  EXPECT_EQ(text.find("daarion_service_healthy{service=\"memory\""), std::string::npos) << "nothing is known of it";
  EXPECT_EQ(text.find("capability=\"stt\""), std::string::npos) << "nobody was ever said to provide it";
}

TEST_F(HttpTest, MetricsSayHowFarCopiesAreBehind) {
  StatusView view = *cluster.view();
  EXPECT_EQ(metrics_text(view).find("route_behind_messages{"), std::string::npos) << "nothing is looked after here";
  view.copies = {{.stream = "MESSAGE", .origin = "MESSAGE_node3", .edge = node(3), .behind = 300, .stands_still = true}, {.stream = "MESSAGE", .origin = "MESSAGE_node4", .edge = node(4), .behind = {}}};
  const std::string text = metrics_text(view), labels = "{stream=\"MESSAGE\",origin=\"MESSAGE_node3\",edge=\"node3\"} ";
  EXPECT_NE(text.find("daarion_route_behind_messages" + labels + "300\n"), std::string::npos) << text;
  EXPECT_NE(text.find("daarion_route_stands_still" + labels + "1\n"), std::string::npos);
  EXPECT_EQ(text.find("node4\"} "), std::string::npos) << "it does not answer";
}

TEST_F(HttpTest, HealthAnswersBesideClientsThatNeverFinishTheirRequest) {
  std::vector<std::unique_ptr<Raw>> stuck;
  for (int i = 0; i < 16; ++i) {
    stuck.push_back(std::make_unique<Raw>(server->port()));
    ASSERT_TRUE(stuck.back()->connected);
    stuck.back()->send("GET /cluster/status HTTP/1.1\r\nX-Slow: ");
  }
  std::atomic<bool> ending{false};
  std::thread drip([&] {  // one byte each, well within any timeout of a single read
    while (!ending) {
      for (auto& raw : stuck) raw->send("a");
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  });
  for (int i = 0; i < 30; ++i) {
    EXPECT_LT(health(), std::chrono::seconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ending = true;
  drip.join();
  for (auto& raw : stuck) {
    raw->read(std::chrono::seconds(3));
    EXPECT_TRUE(raw->closed) << "a connection has an end, whatever its client does";
  }
}

TEST_F(HttpTest, HealthAnswersBesideClientsThatSayNothingOrDoNotRead) {
  std::vector<std::unique_ptr<Raw>> stuck;
  for (int i = 0; i < 16; ++i) {
    stuck.push_back(std::make_unique<Raw>(server->port()));
    if (i % 2) stuck.back()->send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
  }
  for (int i = 0; i < 10; ++i) EXPECT_LT(health(), std::chrono::seconds(1));
}

TEST_F(HttpTest, MoreStuckClientsThanThreadsOnlyDelay) {
  std::vector<std::unique_ptr<Raw>> stuck;
  for (int i = 0; i < 100; ++i) stuck.push_back(std::make_unique<Raw>(server->port()));
  EXPECT_LT(health(), std::chrono::seconds(5)) << "all threads are stuck for 2 s, then they are free";
}

TEST_F(HttpTest, BodiesAndHeadersAreBounded) {
  Raw raw(server->port());
  raw.send("POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
  EXPECT_FALSE(raw.read().starts_with("HTTP/1.1 200"));
  EXPECT_TRUE(raw.closed);
  Raw garbage(server->port());
  garbage.send(std::string(100'000, '\xff'));
  garbage.read();
  EXPECT_TRUE(garbage.closed);
  EXPECT_LT(health(), std::chrono::seconds(1));
}

TEST_F(HttpTest, EndsAtOnceAlsoWithClients) {
  std::vector<std::unique_ptr<Raw>> stuck;
  for (int i = 0; i < 8; ++i) stuck.push_back(std::make_unique<Raw>(server->port()));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto begin = Clock::now();
  server.reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
}

TEST(HttpServer, ATakenPortIsNamed) {
  FakeCluster cluster;
  const auto view = [&] { return cluster.view(); };
  const auto first = *HttpServer::start("127.0.0.1", 0, view);
  const auto second = HttpServer::start("127.0.0.1", first->port(), view);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find(std::to_string(first->port())), std::string::npos);
}

}  // namespace
}  // namespace daarion::test
