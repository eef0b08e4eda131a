// A bed for real engines of any kind: folders, addresses and ports of a test's own, nodes that end with it.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/drivers/direct_host.h"

namespace daarion::test {

inline constexpr std::chrono::seconds kLimit{20};  // of every wait; each is for a condition, and most take milliseconds

template <class Condition>
bool eventually(Condition&& condition) {
  using Steady = std::chrono::steady_clock;
  for (const auto until = Steady::now() + kLimit; Steady::now() < until; std::this_thread::sleep_for(std::chrono::milliseconds(5)))
    if (condition()) return true;
  return condition();
}

inline double ms_of(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count();
}

inline SessionId session(std::uint64_t n) { return {0xabc, n}; }

struct EngineNode {
  DirectHost host;
  DriverConfig config;
  std::unique_ptr<Driver> driver;
  std::uint64_t op = 0;

  DriverResult run(Verb verb, const std::string& upstream = "", std::uint64_t epoch = 1, bool anew = false) {
    return driver->run({.op = ++op,
                        .resource = config.resource.id,
                        .verb = verb,
                        .epoch = {epoch},
                        .upstream = NodeId(upstream),
                        .session = session(epoch),
                        .anew = anew});
  }
  EngineReport observe() { return driver->observe(); }
  const std::string& data() const { return config.resource.data_dir; }
  const std::string& name() const { return config.self.value; }
  const PeerAddress& address() const {
    for (const PeerAddress& p : config.peers)
      if (p.node == config.self) return p;
    return config.peers.front();
  }
};

/// `Node` is an EngineNode, or derives from it.
template <class Node>
class DriverBed : public testing::Test {
 protected:
  void SetUp() override {
    std::random_device random;
    base_ = "/var/tmp/daarion-driver-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100000);
    std::filesystem::create_directories(base_);
    chmod(base_.c_str(), 0755);
    const std::string subnet = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    const std::uint32_t port = 20000 + random() % 10000;
    for (int i = 1; i <= 3; ++i) peers_.push_back({NodeId("node" + std::to_string(i)), subnet + std::to_string(i), port});
  }
  void TearDown() override {
    for (auto& n : nodes_) {
      n->driver.reset();
      n->host.kill_all();
    }
    if (this->HasFailure()) {
      std::printf("kept: %s\n", base_.c_str());
    } else {
      std::error_code ignored;
      std::filesystem::remove_all(base_, ignored);
    }
  }
  /// Makes the driver of a node that was added.
  virtual Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) = 0;
  /// The resource: id, engine, system user.
  virtual void describe(DriverConfig& config) = 0;

  Node& add(int number) {
    auto n = std::make_unique<Node>();
    DriverConfig& c = n->config;
    c.self = NodeId("node" + std::to_string(number));
    for (const PeerAddress& p : peers_) c.resource.members.push_back(p.node);
    c.peers = peers_;
    c.resource.data_dir = base_ + "/" + c.self.value + "/data";
    c.run_dir = base_ + "/" + c.self.value + "-run";
    describe(c);
    nodes_.push_back(std::move(n));
    return *nodes_.back();
  }
  Node& make(int number) {
    Node& n = add(number);
    restart_daemon(n);
    return n;
  }
  /// As a daemon that is started, again where one was, beside its engine.
  void restart_daemon(Node& n) {
    auto driver = make_driver(n.config, n.host);
    ASSERT_TRUE(driver) << driver.error().message;
    n.driver = std::move(*driver);
  }
  Node& primary(int number, std::uint64_t epoch = 1) {
    Node& n = make(number);
    for (const Verb verb : {Verb::kProvision, Verb::kStart, Verb::kPromote}) {
      const DriverResult r = n.run(verb, "", epoch);
      EXPECT_TRUE(r.ok) << r.message;
    }
    n.observe();  // the daemon looks after each verb: what a primary keeps up is there
    return n;
  }
  Node& replica(int number, const std::string& upstream = "node1") {
    Node& n = make(number);
    for (const Verb verb : {Verb::kProvision, Verb::kFollow}) {
      const DriverResult r = n.run(verb, upstream);
      EXPECT_TRUE(r.ok) << r.message;
    }
    return n;
  }
  /// The replica has and shows everything that the primary wrote.
  static bool caught_up(Node& from, Node& to) {
    const Lsn at = from.observe().position.lsn;
    return eventually([&] { return to.observe().replayed >= at; });
  }

  std::string base_;
  std::vector<PeerAddress> peers_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace daarion::test
