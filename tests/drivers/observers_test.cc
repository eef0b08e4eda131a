// What every observer owes its caller, whatever its engine: a bounded look, words for a password that is refused, the same of what is the same, and to be
// well again once its servers are. Real sentinels and nats-servers; stand-ins for Qdrant and Neo4j.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/nats/nats_observer.h"
#include "controlplane/drivers/neo4j/neo4j_observer.h"
#include "controlplane/drivers/qdrant/qdrant_observer.h"
#include "controlplane/drivers/redis/render.h"
#include "controlplane/drivers/redis/sentinel.h"
#include "controlplane/drivers/redis/settings.h"
#include "tests/drivers/bed.h"
#include "tests/drivers/black_hole.h"
#include "tests/harness/nats_servers.h"

namespace daarion::test {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;

constexpr const char* kSecret = "s3cret-that-nobody-sees";
constexpr const char* kWrong = "an0ther-that-nobody-sees";
constexpr double kMost = 4000;  // ms of a look: its second, and what a busy machine adds; a black hole that is waited for costs a minute and more
constexpr int kNodes = 3;

NodeId node(int n) { return NodeId("node" + std::to_string(n)); }

/// One engine's processes, and observers of them or of addresses where nobody answers.
class Rig {
 public:
  virtual ~Rig() {
    for (auto& host : hosts_) host->kill_all();
    std::error_code ignored;
    if (!base_.empty()) fs::remove_all(base_, ignored);
  }
  virtual void start() = 0;
  /// Of the processes, or of black holes at their ports.
  virtual std::unique_ptr<Observer> observer(const std::string& password, bool holes = false) = 0;
  virtual std::string refusal() const = 0;  // the words of it
  virtual void stand_still() { signal_all(SIGSTOP); }
  virtual void go_on() { signal_all(SIGCONT); }

 protected:
  Rig() {
    std::random_device random;
    base_ = "/var/tmp/daarion-observers-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100'000);
    fs::create_directories(base_);
    chmod(base_.c_str(), 0755);
    subnet_ = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    port_ = 20'000 + random() % 10'000;
  }
  std::string address(int n, bool hole = false) const { return subnet_ + std::to_string(hole ? 100 + n : n); }
  void run(EngineCommand command) {
    hosts_.push_back(std::make_unique<DirectHost>());
    const auto started = hosts_.back()->start(command);
    ASSERT_TRUE(started) << started.error().message;
  }
  void signal_all(int signal) {
    for (auto& host : hosts_) kill(host->first(), signal);
  }
  std::vector<PeerAddress> peers(std::uint32_t port, bool holes) {
    std::vector<PeerAddress> out;
    for (int n = 1; n <= kNodes; ++n) {
      out.push_back({node(n), address(n, holes), port});
      if (holes) holes_.push_back(std::make_unique<BlackHole>(address(n, true), port));
    }
    return out;
  }
  static std::unique_ptr<Observer> taken(Result<std::unique_ptr<Observer>> made) {
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }

  std::string base_, subnet_;
  std::uint32_t port_ = 0;
  std::vector<std::unique_ptr<DirectHost>> hosts_;
  std::vector<std::unique_ptr<BlackHole>> holes_;
};

class SentinelRig : public Rig {
  void start() override {
    const SystemUser user = *find_user(geteuid() == 0 ? "redis" : "");
    const auto process = [&](int n, const std::string& name, const std::string& file, const std::string& text, std::vector<std::string> more) {
      const std::string folder = base_ + "/" + name + std::to_string(n);
      ASSERT_TRUE(make_folder(folder, 0700, user));
      ASSERT_TRUE(write_file(folder + "/" + file, text, 0600, user));
      EngineCommand command{.argv = {"/usr/bin/redis-server", folder + "/" + file}, .environment = {}, .user = geteuid() == 0 ? "redis" : "", .directory = folder, .log_file = folder + "/log"};
      command.argv.insert(command.argv.end(), more.begin(), more.end());
      run(std::move(command));
    };
    for (int n = 1; n <= kNodes; ++n) {
      const PeerAddress own{node(n), address(n), port_};
      DriverConfig config{.self = node(n), .resource = resource(), .peers = {own}, .run_dir = base_ + "/server" + std::to_string(n), .engine_user = {}};
      config.resource.data_dir = config.run_dir;
      process(n, "server", "redis.conf", redis::render_settings(config, nullptr, kSecret, false), redis::as_nobodys_replica());
      process(n, "sentinel", "sentinel.conf", redis::sentinel_config(address(n), port_ + 1, base_ + "/sentinel" + std::to_string(n), kSecret), {"--sentinel"});
    }
  }
  std::unique_ptr<Observer> observer(const std::string& password, bool holes) override {
    return taken(redis::make_sentinel_with({.self = node(1), .resource = resource(), .mode = "sentinel", .peers = peers(port_, holes), .helpers = peers(port_ + 1, holes),
                                            // So long that nobody is elected while the processes stand still.
                                            .declared = {{"down_after_ms", "30000"}, {"failover_timeout_ms", "60000"}}}, password));
  }
  std::string refusal() const override { return "WRONGPASS"; }
  static ResourceSpec resource() {
    ResourceSpec out;
    out.id = ResourceId("redis");
    out.engine = "redis";
    out.declared_primary = node(1);
    for (int n = 1; n <= kNodes; ++n) out.members.push_back(node(n));
    return out;
  }
};

class QdrantRig : public Rig {
  void start() override {
    for (int n = 1; n <= kNodes; ++n) {
      const std::string storage = base_ + "/node" + std::to_string(n);
      fs::create_directories(storage);
      EngineCommand command{.argv = {DAARION_BIN "/daarion-qdrant-stand-in", "--uri", "http://" + address(n) + ":6335/"},
                            .environment = {"QDRANT__SERVICE__HOST=" + address(n), "QDRANT__SERVICE__HTTP_PORT=" + std::to_string(port_), std::string("QDRANT__SERVICE__API_KEY=") + kSecret,
                                            "QDRANT__STORAGE__STORAGE_PATH=" + storage + "/storage", "DAARION_STAND_IN_SHARED=" + base_ + "/shared"},
                            .user = {}, .directory = storage, .log_file = storage + "/log"};
      if (n > 1) command.argv.insert(command.argv.end(), {"--bootstrap", "http://" + address(1) + ":6335/"});
      run(std::move(command));
    }
  }
  std::unique_ptr<Observer> observer(const std::string& password, bool holes) override {
    setenv("QDRANT_API_KEY", password.c_str(), 1);
    auto made = make_qdrant_observer({.self = node(1), .resource = {.id = ResourceId("qdrant"), .engine = "qdrant"}, .mode = "sharded", .peers = peers(port_, holes)});
    unsetenv("QDRANT_API_KEY");
    return taken(std::move(made));
  }
  std::string refusal() const override { return "refuses the API key"; }
};

class Neo4jRig : public Rig {
  void start() override {
    for (int n = 1; n <= kNodes; ++n) {
      const std::string home = base_ + "/node" + std::to_string(n);
      fs::create_directories(home + "/conf");
      std::ofstream(home + "/conf/neo4j.conf") << "server.http.listen_address=" << address(n) << ":" << port_ << "\nserver.bolt.listen_address=" << address(n) << ":" << port_ + 1 << "\n";
      run({.argv = {DAARION_BIN "/daarion-neo4j-stand-in", "--home-dir=" + home, "--config-dir=" + home + "/conf"},
           .environment = {std::string("NEO4J_AUTH=neo4j/") + kSecret, "DAARION_STAND_IN_EDITION=enterprise", "DAARION_STAND_IN_VERSION=5.26.0", "DAARION_STAND_IN_PLACE=core",
                           "DAARION_STAND_IN_SHARED=" + base_ + "/shared"},
           .user = {}, .directory = home, .log_file = home + "/log"});
    }
  }
  std::unique_ptr<Observer> observer(const std::string& password, bool holes) override {
    setenv("NEO4J_PASSWORD", password.c_str(), 1);
    auto made = make_neo4j_observer({.self = node(1), .resource = {.id = ResourceId("neo4j"), .engine = "neo4j"}, .mode = "causal-cluster", .peers = peers(port_, holes),
                                     .helpers = {}, .declared = {}, .state_folder = base_ + "/state"});
    unsetenv("NEO4J_PASSWORD");
    return taken(std::move(made));
  }
  std::string refusal() const override { return "refuse"; }
};

class NatsRig : public Rig {
  void start() override { servers_ = std::make_unique<NatsServers>(NatsServers::Options{.size = kNodes}); }
  std::unique_ptr<Observer> observer(const std::string& password, bool holes) override {
    const NatsServers& servers = *servers_;
    auto sys = servers.endpoint({0, 1, 2}, "test", NatsServers::Account::kSys), control = servers.endpoint({0, 1, 2}, "test");
    if (password == kWrong) sys.password = control.password = password;
    if (holes) {
      sys.urls.clear();
      for (const PeerAddress& peer : peers(port_, true)) sys.urls.push_back("nats://" + peer.host + ":" + std::to_string(peer.port));
      control.urls = sys.urls;
    }
    ObserverConfig config;
    config.nats = std::make_shared<const NatsAccess>(NatsAccess{.sys = *Connection::open(sys), .control = *Connection::open(control), .app = {}, .servers = nats_plan(servers.file())});
    return taken(make_nats_observer(config));
  }
  std::string refusal() const override { return "refuses this user or password"; }
  void stand_still() override {
    for (int i = 0; i < kNodes; ++i) servers_->freeze(i);
  }
  void go_on() override {
    for (int i = 0; i < kNodes; ++i) servers_->thaw(i);
  }
  std::unique_ptr<NatsServers> servers_;
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Rig>()> make;
};

class Observers : public testing::TestWithParam<Kind> {
 protected:
  static bool well(const ResourceView& v) {
    return !v.primary.empty() && v.problems.empty() && v.repairs.empty() &&
           std::ranges::all_of(v.members, [](const MemberView& m) { return m.seen.health.empty() && m.seen.state != EngineState::kUnknown; });
  }
  static std::string told(const ResourceView& v) {
    std::string out = "primary " + v.primary.value + " by " + v.elected_by + ", election " + std::to_string(v.election);
    for (const MemberView& m : v.members) out += "\n  " + m.seen.role + " of " + m.seen.node.value + " " + text_of(m.seen.state) + " " + m.seen.identity + " " + m.seen.version + ": " + m.seen.health;
    for (const std::string& p : v.problems) out += "\n  problem: " + p;
    for (const RepairStep& r : v.repairs) out += "\n  repair: " + r.name;
    return out;
  }
  static bool comes(const std::function<bool()>& what) {
    for (const auto until = Steady::now() + std::chrono::seconds(60); Steady::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(20)))
      if (what()) return true;
    return false;
  }
  /// A look, and that it was bounded.
  static ResourceView look(Observer& o) {
    const auto begun = Steady::now();
    ResourceView out = o.observe();
    EXPECT_LT(ms_of(begun), kMost) << told(out);
    return out;
  }
  /// With what is to be mended mended, as the core has it done.
  static ::testing::AssertionResult becomes_well(Observer& o) {
    ResourceView view;
    const bool done = comes([&] {
      view = look(o);
      if (!well(view) && !view.repairs.empty()) (void)o.act({.id = 1, .resource = ResourceId("it"), .from = {}, .to = {}, .repair = view.repairs[0].name});
      return well(view);
    });
    return done ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << told(view);
  }
  void SetUp() override {
    rig_ = GetParam().make();
    rig_->start();
  }
  std::unique_ptr<Rig> rig_;
};

TEST_P(Observers, ABlackHoleCostsItsTimeAndNoMore) {
  const auto o = rig_->observer(kSecret, true);
  ResourceView view;
  EXPECT_TRUE(comes([&] {
    view = look(*o);
    return std::ranges::all_of(view.members, [](const MemberView& m) { return m.seen.state == EngineState::kUnresponsive && !m.seen.health.empty(); });
  })) << told(view);
  EXPECT_TRUE(view.primary.empty());
  EXPECT_FALSE(view.members.empty());
}

TEST_P(Observers, APasswordThatIsRefusedIsNamedAndNotShown) {
  const auto right = rig_->observer(kSecret);
  ASSERT_TRUE(becomes_well(*right));
  const auto wrong = rig_->observer(kWrong);
  ResourceView view;
  EXPECT_TRUE(comes([&] {
    view = look(*wrong);
    return std::ranges::all_of(view.members, [&](const MemberView& m) { return m.seen.health.find(rig_->refusal()) != std::string::npos; });
  })) << told(view);
  EXPECT_TRUE(view.primary.empty()) << told(view);
  for (const char* secret : {kSecret, kWrong}) EXPECT_EQ(told(view).find(secret), std::string::npos);
}

TEST_P(Observers, LookedAtAgainNothingIsAnother) {
  const auto o = rig_->observer(kSecret);
  ASSERT_TRUE(becomes_well(*o));
  const ResourceView first = look(*o);
  ASSERT_TRUE(well(first)) << told(first);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(told(look(*o)), told(first));
}

TEST_P(Observers, WhatStoodStillIsSaidAndIsWellAgainOnceItGoesOn) {
  const auto o = rig_->observer(kSecret);
  ASSERT_TRUE(becomes_well(*o));
  rig_->stand_still();
  ResourceView view;
  EXPECT_TRUE(comes([&] { return !well(view = look(*o)); })) << told(view);
  rig_->go_on();
  EXPECT_TRUE(becomes_well(*o));
}

template <class T>
Kind kind(const char* name) {
  return {name, [] { return std::unique_ptr<Rig>(std::make_unique<T>()); }};
}
INSTANTIATE_TEST_SUITE_P(Engines, Observers, testing::Values(kind<SentinelRig>("sentinel"), kind<QdrantRig>("qdrant"), kind<Neo4jRig>("neo4j"), kind<NatsRig>("nats")),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace daarion::test
