// Servers of a Neo4j on loopback, each a process of its own: our stand-in (tests/standins/neo4j.cc), or the real one from its jars.
#pragma once

#include <signal.h>

#include <fstream>
#include <map>

#include "controlplane/drivers/neo4j/neo4j_observer.h"
#include "controlplane/health/http_client.h"
#include "tests/drivers/bed.h"

namespace daarion::test {

class Neo4jRig : public testing::Test {
 protected:
  static constexpr const char* kPassword = "a-password-that-nobody-sees";

  void SetUp() override {
    std::random_device random;
    base_ = "/var/tmp/daarion-driver-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100'000);
    std::filesystem::create_directories(base_);
    subnet_ = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    port_ = 20'000 + random() % 10'000;
    setenv("NEO4J_PASSWORD", kPassword, 1);
  }
  void TearDown() override {
    observer_.reset();
    for (auto& [n, host] : hosts_) host.kill_all();
    unsetenv("NEO4J_PASSWORD");
    std::error_code ignored;
    if (HasFailure()) std::printf("kept: %s\n", base_.c_str());
    else std::filesystem::remove_all(base_, ignored);
  }

  static NodeId node(int n) { return NodeId("node" + std::to_string(n)); }
  std::string address(int n) const { return subnet_ + std::to_string(n); }
  std::string home(int n) const { return base_ + "/node" + std::to_string(n); }

  /// Where the server of node n lives, with a configuration that both kinds read.
  void settle(int n) {
    std::filesystem::create_directories(home(n) + "/conf");
    std::ofstream(home(n) + "/conf/neo4j.conf") 
        << "server.http.listen_address=" << address(n) << ":" << port_ << "\nserver.bolt.listen_address=" << address(n) << ":" << port_ + 1
                                                << "\ndbms.usage_report.enabled=false\nserver.memory.pagecache.size=16m\n";
  }
  void run(int n, std::vector<std::string> argv, std::vector<std::string> environment) {
    for (const char* where : {"--home-dir=", "--config-dir="}) argv.push_back(where + home(n) + (where[2] == 'c' ? "/conf" : ""));
    const auto started = hosts_[n].start({.argv = std::move(argv), .environment = std::move(environment), .user = {}, .directory = home(n),
        .log_file = home(n) + "/log"});
    ASSERT_TRUE(started) << started.error().message;
  }
  void start(int n, const std::string& place = "core", const std::string& edition = "enterprise", const std::string& version = "5.26.0") {
    settle(n);
    std::vector<std::string> environment{std::string("NEO4J_AUTH=neo4j/") + kPassword, "DAARION_STAND_IN_EDITION=" + edition, "DAARION_STAND_IN_VERSION=" +
        version,
                                         "DAARION_STAND_IN_PLACE=" + place};
    if (edition == "enterprise") environment.push_back("DAARION_STAND_IN_SHARED=" + base_ + "/shared");
    run(n, {DAARION_BIN "/daarion-neo4j-stand-in"}, std::move(environment));
  }

  /// Observed by node `self`; `replicas` are the last of so many nodes.
  void observe(const std::string& mode, int nodes, int replicas = 0, std::map<std::string, std::string> declared = {}, int self = 1) {
    ObserverConfig config{.self = node(self), .resource = {.id = ResourceId("neo4j"), .engine = "neo4j"}, .mode = mode, .peers = {}, .helpers = {},
        .declared = std::move(declared),
                          .state_folder = base_ + "/state"};
    for (int n = 1; n <= nodes; ++n) {
      config.peers.push_back({node(n), address(n), port_});
      if (n > nodes - replicas) config.declared["read_replicas"] += node(n).value + " ";
    }
    auto made = make_neo4j_observer(config);
    ASSERT_TRUE(made) << made.error().message;
    observer_ = std::move(*made);
  }
  const ResourceView& look() { return seen_ = observer_->observe(); }
  const MemberView& member(int n, const std::string& role = "") const {
    static const MemberView nobody;
    const auto at = std::ranges::find_if(seen_.members, [&](const MemberView& m) { return m.seen.node == node(n) &&
        (m.seen.role == kDumpRole) == (role == kDumpRole); });
    return at == seen_.members.end() ? nobody : *at;
  }
  std::string problems() const {
    std::string out;
    for (const std::string& p : seen_.problems) out += p + "\n";
    return out;
  }
  bool well() {
    look();
    return !seen_.primary.empty() && seen_.problems.empty() && std::ranges::all_of(seen_.members, [](const MemberView& m) { return m.seen.health.empty(); });
  }

  HttpReply ask(int n, const std::string& method, const std::string& path, const std::string& body = "") {
    return HttpClient(address(n), port_).call({.method = method, .path = path, .body = body, .headers = {{"Authorization", authorization()}}},
        std::chrono::seconds(5));
  }
  virtual std::string authorization() const { return "Basic bmVvNGo6YS1wYXNzd29yZC10aGF0LW5vYm9keS1zZWVz"; }  // neo4j:kPassword
  std::string cypher(int n, const std::string& database, const std::string& statement) {
    return ask(n, "POST", "/db/" + database + "/tx/commit", R"({"statements":[{"statement":")" + statement + R"("}]})").answer.body;
  }
  void knob(int n, const std::string& knobs) { ASSERT_EQ(ask(n, "PUT", "/stand-in", knobs).answer.status, 200); }

  std::string base_, subnet_;
  std::uint32_t port_ = 0;
  std::map<int, DirectHost> hosts_;
  std::unique_ptr<Observer> observer_;
  ResourceView seen_;
};

}  // namespace daarion::test
