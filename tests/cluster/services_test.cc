// Services and the GPU in a whole cluster: killed, degraded, drained, lost with their host, started and stopped by command.
#include <gtest/gtest.h>
#include <httplib.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "controlplane/health/probe.h"
#include "controlplane/node/clock.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/service_rig.h"

namespace daarion {
namespace {

using std::chrono::seconds;
using test::kOne;
using test::kTwo;
using test::kThree;
using test::write_script;

constexpr std::uint32_t kRouter = 9102, kMemory = 8000, kCold = 9310;

class Services : public testing::Test {
 protected:
  void begin() {
    auto made = test::ScratchCluster::make(3);
    ASSERT_OK(made);
    cluster_ = std::make_unique<test::ScratchCluster>(std::move(*made));
    const std::string folder = cluster().folder(), prefix = cluster().address_of(kOne).substr(0, cluster().address_of(kOne).rfind('.') + 1);
    // The command starts it in a session of its own: what it started outlives it.
    write_script(folder + "/start", "DAARION_DEV_NODE=" + folder + "/$DAARION_NODE setsid " + dev::program("daarion-stand-in") + " " + prefix +
                                        "${DAARION_NODE#node} " + folder + "/$DAARION_NODE $DAARION_PORT </dev/null >/dev/null 2>&1 &\necho $! > " + folder + "/$DAARION_NODE/$1.pid");
    write_script(folder + "/stop", "read pid < " + folder + "/$DAARION_NODE/$1.pid || exit 0\nkill $pid; rm " + folder + "/$DAARION_NODE/$1.pid");
    write_script(folder + "/probe", "test -e " + folder + "/gpu && echo GPU 0");
    test::add_to_file(cluster(), "services:\n"
                                 "  router: {port: 9102, health: /health, on: {node1: active, node2: standby}, expect: {nats_connected: true}}\n"
                                 "  memory: {port: 8000, health: /health, on: {node1: active, node2: read}}\n"
                                 "  cold:   {port: 9310, health: tcp, on: {node1: active, node2: standby}, hooks: {start: " + folder + "/start, stop: " + folder + "/stop}}\n"
                                 "gpu: {probe: " + folder + "/probe, text: GPU 0, interval: 200ms, rise: 3}\n"
                                 "capabilities:\n  vision: [gpu@node1, api:mistral]\n");
    set_gpu(true);
    for (const NodeId& node : {kOne, kTwo}) {
      auto router = test::start_stand_in(cluster(), node, {kRouter});
      ASSERT_OK(router);
      routers_[node] = *router;
      ASSERT_OK(test::start_stand_in(cluster(), node, {kMemory}));
    }
    ASSERT_OK(cluster().start_all());
    ASSERT_OK(cluster().await_settled(seconds(60)));
    auto table = test::TableReader::open(cluster(), kThree);  // of the edge: what comes there has come everywhere
    ASSERT_OK(table);
    table_ = std::make_unique<test::TableReader>(std::move(*table));
  }

  dev::LocalCluster& cluster() { return **cluster_; }
  void set_gpu(bool there) {
    if (there) std::ofstream(cluster().folder() + "/gpu") << "x";
    else std::filesystem::remove(cluster().folder() + "/gpu");
  }
  bool listens(const NodeId& node, std::uint32_t port) {
    ServiceSpec spec{.name = "any", .port = port};
    spec.check.kind = ServiceCheck::Kind::kTcp;
    return look_at(spec, cluster().address_of(node)).health == Health::kHealthy;
  }
  void expect_active(const std::string& service, const std::vector<std::string>& nodes) {
    const auto seen = table_->await(service + " active on " + nlohmann::json(nodes).dump(), seconds(30), [&](const test::TableReader& t) { return t.active(service) == nodes; });
    ASSERT_TRUE(seen) << seen.error().message << "\n" << dev::tail_of(cluster().log_of(kOne, dev::Part::kDaemon), 30);
  }
  void expect_provider(const std::string& provider) {
    const auto seen = table_->await("vision by " + provider, seconds(30), [&](const test::TableReader& t) { return t.provider("vision") == provider; });
    ASSERT_TRUE(seen) << seen.error().message;
  }
  void expect_runs_on(const NodeId& node, const NodeId& other) {
    const auto done = cluster().await_that("cold on " + node.value + " alone", seconds(20), cluster().log_of(node, dev::Part::kDaemon), [&] { return listens(node, kCold) && !listens(other, kCold); });
    ASSERT_TRUE(done) << done.error().message;
  }
  /// What a client gets of the router through HAProxy; empty: nothing.
  static std::string ask_router(const std::string& haproxy) {
    httplib::Client client(haproxy, static_cast<int>(kRouter));
    client.set_connection_timeout(1);
    client.set_read_timeout(2);
    const auto answer = client.Get("/health");
    return answer && answer->status == 200 ? answer->body : "";
  }
  nlohmann::json place(const std::string& service, const std::string& node) {
    const nlohmann::json table = table_->newest();
    for (const auto& s : table["services"])
      for (const auto& p : s["places"])
        if (s["name"] == service && p["node"] == node) return p;
    return {};
  }

  std::unique_ptr<test::ScratchCluster> cluster_;
  std::unique_ptr<test::TableReader> table_;
  std::map<NodeId, dev::ProcessId> routers_;
};

TEST_F(Services, MoveWithTheirHealthTheirNodesIntentAndItsLoss) {
  begin();
  if (HasFatalFailure()) return;
  expect_active("router", {"node1"});
  expect_active("cold", {"node1"});
  expect_active("memory", {"node1"});
  EXPECT_EQ(table_->newest()["services"][2]["moved"], 0) << "cold was moved before it had begun";
  expect_provider("gpu@node1");
  expect_runs_on(kOne, kTwo);

  test::set_health(cluster(), kTwo, kRouter, R"({"status":"ok","nats_connected":true,"of":"node2"})");
  const auto started = test::start_haproxy(cluster());
  ASSERT_OK(started);
  const std::string& haproxy = *started;
  // It begins with all of them, until its first checks.
  int in_a_row = 0;
  ASSERT_OK(cluster().await_that("node1's router alone through HAProxy", seconds(20), cluster().folder() + "/haproxy.log", [&] {
    const std::string body = ask_router(haproxy);
    in_a_row = body.empty() || body.find("node2") != std::string::npos ? 0 : in_a_row + 1;
    return in_a_row >= 20;
  }));
  const Instant killed = node_now();
  dev::send_signal(routers_[kOne], SIGKILL);
  ASSERT_OK(cluster().await_that("node2's router through HAProxy", seconds(20), cluster().folder() + "/haproxy.log", [&] { return ask_router(haproxy).find("node2") != std::string::npos; }));
  std::printf("router killed: HAProxy sends to node2 after %lld ms\n", static_cast<long long>(to_ms(node_now() - killed)));
  expect_active("router", {"node2"});
  EXPECT_EQ(place("router", "node1")["state"], "standby");

  // By content: it answers 200, and says that it is not well.
  test::set_health(cluster(), kTwo, kRouter, R"({"status":"ok","nats_connected":false})");
  ASSERT_OK(table_->await("a degraded router", seconds(20), [&](const test::TableReader&) { return place("router", "node2")["health"] == "degraded"; }));
  EXPECT_EQ(place("router", "node2")["cause"], "nats_connected=false, expected true");
  EXPECT_EQ(table_->active("router"), std::vector<std::string>{"node2"}) << "better than nothing";
  const auto again = test::start_stand_in(cluster(), kOne, {kRouter});
  ASSERT_OK(again);
  expect_active("router", {"node1"});

  set_gpu(false);
  expect_provider("api:mistral");
  set_gpu(true);
  expect_provider("gpu@node1");

  // A drained node is given up by everything that can go elsewhere.
  test::set_health(cluster(), kTwo, kRouter, "");
  ASSERT_OK(table_->await("a healthy router on node2", seconds(20), [&](const test::TableReader&) { return place("router", "node2")["health"] == "healthy"; }));
  const std::string ctl = dev::program("daarionctl") + " --server " + cluster().server_of(kTwo) + " ";
  ASSERT_EQ(std::system((ctl + "drain node1 --reason test >&2 < /dev/null").c_str()), 0);
  expect_active("router", {"node2"});
  expect_active("cold", {"node2"});
  expect_active("memory", {});
  EXPECT_EQ(place("memory", "node1")["state"], "off");
  expect_runs_on(kTwo, kOne);
  expect_provider("api:mistral");
  ASSERT_EQ(std::system((ctl + "undrain node1 --reason test >&2 < /dev/null").c_str()), 0);
  expect_active("memory", {"node1"});
  expect_active("router", {"node2"});

  ASSERT_OK(cluster().kill(kTwo));
  expect_active("router", {"node1"});
  ASSERT_OK(cluster().await_that("node1's router through HAProxy again", seconds(20), cluster().folder() + "/haproxy.log", [&] { return !ask_router(haproxy).empty(); }));
  expect_active("cold", {"node1"});
  expect_runs_on(kOne, kTwo);

  const auto now = cluster().view(kOne);
  ASSERT_OK(now);
  const auto replayed = test::replay(cluster(), kOne, Sequence{now->sequence});
  ASSERT_OK(replayed);
  EXPECT_TRUE(replayed->equal() || replayed->live_digest().empty()) << "the fold of all of it gives the same state";
}

}  // namespace
}  // namespace daarion
