// The PostgreSQL driver against real servers on loopback. What is not asked of the driver is asked of the server itself.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "controlplane/drivers/postgres/ancestry.h"
#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/postgres/control.h"
#include "controlplane/drivers/postgres/files.h"
#include "controlplane/drivers/postgres/marker.h"
#include "controlplane/drivers/postgres/settings.h"
#include "controlplane/drivers/registry.h"
#include "tests/drivers/direct_host.h"

namespace daarion::postgres {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;

constexpr seconds kLimit{20};  // of every wait; each is for a condition, and most take milliseconds
const Credentials kCredentials{"replicator", "s3cr:et\\pass"};

template <class Condition>
bool eventually(Condition&& condition) {
  for (const auto until = Steady::now() + kLimit; Steady::now() < until; std::this_thread::sleep_for(milliseconds(5)))
    if (condition()) return true;
  return condition();
}

double ms_of(Steady::time_point from) { return std::chrono::duration<double, std::milli>(Steady::now() - from).count(); }

SessionId session(std::uint64_t n) { return {0xabc, n}; }

struct Node {
  DirectHost host;
  DriverConfig config;
  std::unique_ptr<PostgresDriver> driver;
  std::uint64_t op = 0;

  DriverResult run(Verb verb, const char* upstream = "", std::uint64_t epoch = 1) {
    return driver->run({.op = ++op,
                        .resource = config.resource.id,
                        .verb = verb,
                        .epoch = {epoch},
                        .upstream = NodeId(upstream),
                        .session = session(epoch)});
  }
  EngineReport observe() { return driver->observe(); }
  Result<Rows> sql(const std::string& text) {
    auto c = Connection::open({.host = config.run_dir, .port = config.peers[0].port, .user = "postgres", .password = ""}, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->query(text, kLimit);
  }
  std::string value(const std::string& text) {
    auto rows = sql(text);
    return !rows ? rows.error().message : rows->empty() || (*rows)[0].empty() ? "" : (*rows)[0][0];
  }
  const std::string& data() const { return config.resource.data_dir; }
};

class Postgres : public testing::Test {
 protected:
  void SetUp() override {
    std::random_device random;
    base_ = "/var/tmp/daarion-pgtest-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100000);
    fs::create_directories(base_);
    chmod(base_.c_str(), 0755);
    subnet_ = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    port_ = 20000 + random() % 10000;
    for (int i = 1; i <= 3; ++i) peers_.push_back({NodeId("node" + std::to_string(i)), subnet_ + std::to_string(i), port_});
  }
  void TearDown() override {
    for (auto& n : nodes_) {
      n->driver.reset();
      n->host.kill_all();
    }
    if (HasFailure()) {
      std::printf("kept: %s\n", base_.c_str());
    } else {
      std::error_code ignored;
      fs::remove_all(base_, ignored);
    }
  }
  Node& make(int number, Credentials credentials = kCredentials) {
    auto n = std::make_unique<Node>();
    DriverConfig& c = n->config;
    c.self = NodeId("node" + std::to_string(number));
    c.resource.id = ResourceId("postgres");
    c.resource.engine = "postgresql";
    for (const PeerAddress& p : peers_) c.resource.members.push_back(p.node);
    c.peers = peers_;
    c.resource.data_dir = base_ + "/" + c.self.value + "/data";
    c.run_dir = base_ + "/" + c.self.value + "-run";
    if (geteuid() == 0) c.engine_user = "postgres";
    auto driver = make_driver_with(c, std::move(credentials), n->host);
    EXPECT_TRUE(driver) << driver.error().message;
    n->driver = std::move(*driver);
    nodes_.push_back(std::move(n));
    return *nodes_.back();
  }
  Node& primary(int number, std::uint64_t epoch = 1) {
    Node& n = make(number);
    for (const Verb verb : {Verb::kProvision, Verb::kStart, Verb::kPromote}) {
      const DriverResult r = n.run(verb, "", epoch);
      EXPECT_TRUE(r.ok) << r.message;
    }
    return n;
  }
  Node& replica(int number, const char* upstream = "node1") {
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
  std::string subnet_;
  std::uint32_t port_ = 0;
  std::vector<PeerAddress> peers_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

TEST_F(Postgres, IsNeverWritableBeforePromotion) {
  Node& n = make(1);
  EXPECT_EQ(n.observe().state, EngineState::kEmpty);
  const DriverResult made = n.run(Verb::kProvision);
  ASSERT_TRUE(made.ok) << made.message;
  EXPECT_EQ(made.method, "initdb");
  EXPECT_TRUE(exists(n.data() + "/standby.signal"));
  const EngineReport stopped = n.observe();
  EXPECT_EQ(stopped.state, EngineState::kStopped);
  EXPECT_EQ(stopped.position, made.position);
  EXPECT_EQ(stopped.position.timeline, 1u);
  EXPECT_NE(stopped.position.lsn.value, 0u);
  for (int i = 0; i < 2; ++i) {
    const DriverResult up = n.run(Verb::kStart);
    ASSERT_TRUE(up.ok) << up.message;
  }
  const EngineReport standby = n.observe();
  EXPECT_EQ(standby.state, EngineState::kStandby) << standby.health;
  EXPECT_EQ(standby.health, "");
  EXPECT_TRUE(standby.opened.empty());
  EXPECT_TRUE(standby.upstream.empty());
  EXPECT_EQ(n.value("CREATE TABLE t (i int)"), "cannot execute CREATE TABLE in a read-only transaction");
  // Whoever removes standby.signal by mistake finds it back at the next start.
  ASSERT_TRUE(n.run(Verb::kStop).ok);
  fs::remove(n.data() + "/standby.signal");
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  EXPECT_EQ(n.observe().state, EngineState::kStandby);
  ASSERT_TRUE(n.run(Verb::kProvision).ok);  // again: a success, and nothing lost
  EXPECT_EQ(n.observe().state, EngineState::kStandby);
}

TEST_F(Postgres, PromotesUnderItsSession) {
  Node& n = make(1);
  ASSERT_TRUE(n.run(Verb::kProvision).ok);
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  const auto from = Steady::now();
  const DriverResult done = n.run(Verb::kPromote, "", 4);
  std::printf("figure promote_ms %.1f\n", ms_of(from));
  ASSERT_TRUE(done.ok) << done.message;
  EXPECT_EQ(done.position.timeline, 2u);
  EXPECT_NE(done.position.lsn.value, 0u);
  const EngineReport r = n.observe();
  EXPECT_EQ(r.state, EngineState::kPrimary);
  EXPECT_EQ(r.opened, session(4));
  EXPECT_EQ(r.timeline_start, done.position.lsn);
  EXPECT_EQ(r.position.timeline, 2u);
  EXPECT_EQ(n.value("CREATE TABLE t (i int); SELECT 'ok'"), "ok");
  const DriverResult again = n.run(Verb::kPromote, "", 4);
  EXPECT_TRUE(again.ok) << again.message;
  EXPECT_EQ(again.position, done.position);
  const DriverResult older = n.run(Verb::kPromote, "", 3);
  EXPECT_FALSE(older.ok);
  EXPECT_NE(older.message.find("older"), std::string::npos) << older.message;
  EXPECT_EQ(n.value("SELECT count(*) FROM pg_replication_slots"), "2");
  // The password is in no file but its own, and in no statement.
  struct stat info {};
  ASSERT_EQ(stat((n.config.run_dir + "/postgres.pgpass").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(n.value("SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'replicator'"), "SCRAM-SHA-256$");
  // Crashed and started again it is a standby that still says what it had opened.
  n.host.kill_all();
  EXPECT_EQ(n.observe().state, EngineState::kStopped);
  EXPECT_EQ(n.observe().opened, session(4));
  EXPECT_EQ(n.observe().position.timeline, 2u);
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return n.observe().state == EngineState::kStandby; }));
  EXPECT_EQ(n.observe().opened, session(4));
}

TEST_F(Postgres, ReplicaByCopyStreams) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 1000) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  const EngineReport r = b.observe();
  EXPECT_EQ(r.state, EngineState::kStandby) << r.health;
  EXPECT_TRUE(r.streaming);
  EXPECT_EQ(r.upstream, NodeId("node1"));
  EXPECT_EQ(r.position.timeline, 2u);
  EXPECT_TRUE(r.opened.empty());
  EXPECT_EQ(r.inherited, session(1));
  EXPECT_EQ(r.inherited_from, NodeId("node1"));
  EXPECT_LT(r.contact_age_ms, 5000u);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_EQ(b.observe().position.lsn, a.observe().position.lsn);
  EXPECT_EQ(b.observe().position.identity, a.observe().position.identity);
  EXPECT_EQ(b.value("SELECT count(*) FROM t"), "1000");
  const auto seen = a.driver->replicas();
  ASSERT_TRUE(seen) << seen.error().message;
  ASSERT_EQ(seen->size(), 1u);
  EXPECT_EQ((*seen)[0].node, NodeId("node2"));
  EXPECT_EQ((*seen)[0].state, "streaming");
  EXPECT_EQ((*seen)[0].sync_state, "async");
  EXPECT_TRUE(b.run(Verb::kFollow, "node1").ok);  // again
  EXPECT_TRUE(b.run(Verb::kProvision, "node1").ok);
  EXPECT_EQ(a.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'daarion_node2'"), "t");
  const auto self = b.run(Verb::kFollow, "node2");
  EXPECT_FALSE(self.ok);
  EXPECT_NE(self.message.find("itself"), std::string::npos) << self.message;
  double worst = 0;
  for (int i = 0; i < 20; ++i) {
    const auto from = Steady::now();
    b.observe();
    worst = std::max(worst, ms_of(from));
  }
  std::printf("figure observe_standby_max_ms %.2f\n", worst);
  EXPECT_LT(worst, 500);
}

TEST_F(Postgres, FormerPrimaryRewindsAfterACrash) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 1000) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  Node& c = replica(3);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(caught_up(a, c));
  // What only node1 has: its replicas end first. node2 has all that node3 has: a primary writes records of its own at any time.
  ASSERT_TRUE(c.run(Verb::kStop).ok);
  ASSERT_TRUE(caught_up(a, b));
  b.host.kill_all();
  ASSERT_EQ(a.value("INSERT INTO t SELECT generate_series(5001, 6000); SELECT 'ok'"), "ok");
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return b.observe().state == EngineState::kStandby; }));
  const auto from = Steady::now();
  const DriverResult promoted = b.run(Verb::kPromote, "", 2);
  std::printf("figure promote_ms %.1f\n", ms_of(from));
  ASSERT_TRUE(promoted.ok) << promoted.message;
  EXPECT_EQ(promoted.position.timeline, 3u);
  ASSERT_EQ(b.value("INSERT INTO t SELECT generate_series(2001, 2100); SELECT 'ok'"), "ok");

  const DriverResult clean = c.run(Verb::kFollow, "node2", 2);
  EXPECT_TRUE(clean.ok) << clean.message;  // had less than node2, so its history is node2's

  const DriverResult parted = a.run(Verb::kFollow, "node2", 2);
  EXPECT_FALSE(parted.ok);
  EXPECT_TRUE(parted.diverged) << parted.message;
  EXPECT_EQ(a.observe().state, EngineState::kStopped);
  EXPECT_EQ(a.observe().opened, session(1));
  const DriverResult rejoined = a.run(Verb::kRejoin, "node2", 2);
  ASSERT_TRUE(rejoined.ok) << rejoined.message;
  EXPECT_EQ(rejoined.method, "rewind") << rejoined.message;
  EXPECT_TRUE(exists(a.data() + "/standby.signal"));
  EXPECT_TRUE(a.observe().opened.empty());
  const DriverResult again = a.run(Verb::kRejoin, "node2", 2);
  EXPECT_TRUE(again.ok) << again.message;
  const DriverResult follows = a.run(Verb::kFollow, "node2", 2);
  ASSERT_TRUE(follows.ok) << follows.message;
  for (Node* n : {&a, &c}) {
    ASSERT_TRUE(caught_up(b, *n));
    EXPECT_TRUE(n->observe().streaming);
    EXPECT_EQ(n->observe().position.timeline, 3u);
    EXPECT_EQ(n->observe().inherited, session(2));
    EXPECT_EQ(n->observe().inherited_from, NodeId("node2"));
    EXPECT_EQ(n->value("SELECT count(*) || ' ' || max(i) FROM t"), "1100 2100");
  }
  // Slots that node1 kept as a primary would hold its WAL for ever.
  EXPECT_TRUE(eventually([&] {
    a.observe();
    return a.value("SELECT count(*) FROM pg_replication_slots") == "0";
  }));
}

TEST_F(Postgres, RebuildsWhenRewindingIsImpossible) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 10) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(b.run(Verb::kStop).ok);
  ASSERT_EQ(a.value("INSERT INTO t VALUES (77); SELECT 'ok'"), "ok");
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kStart).ok);
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  ASSERT_EQ(b.value("INSERT INTO t VALUES (11); SELECT 'ok'"), "ok");
  for (const auto& e : fs::directory_iterator(a.data() + "/pg_wal"))
    if (e.is_regular_file() && e.path().filename().string().size() == 24) fs::remove(e.path());
  const DriverResult broken = a.run(Verb::kFollow, "node2", 2);
  EXPECT_TRUE(broken.diverged) << broken.message;
  // A rewind that was cut off leaves a note; nothing is started on such data.
  std::ofstream(a.data() + ".daarion-rewinding") << "node2\n";
  EXPECT_TRUE(a.observe().diverged);
  EXPECT_FALSE(a.run(Verb::kStart).ok);
  EXPECT_TRUE(a.run(Verb::kFollow, "node2", 2).diverged);
  fs::remove(a.data() + ".daarion-rewinding");
  const DriverResult r = a.run(Verb::kRejoin, "node2", 2);
  ASSERT_TRUE(r.ok) << r.message;
  EXPECT_EQ(r.method, "rebuild");
  EXPECT_FALSE(exists(a.data() + ".daarion-new"));
  EXPECT_FALSE(exists(a.data() + ".daarion-rewinding"));
  const DriverResult follows = a.run(Verb::kFollow, "node2", 2);
  ASSERT_TRUE(follows.ok) << follows.message;
  ASSERT_TRUE(caught_up(b, a));
  EXPECT_EQ(a.value("SELECT count(*) || ' ' || max(i) FROM t"), "11 11");
}

TEST_F(Postgres, SwitchesOverWithoutLoss) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t (i int); SELECT 'ok'"), "ok");
  Node& b = replica(2);
  // Two rounds there and back, with writes until the stop.
  Node* from = &a;
  Node* to = &b;
  std::uint64_t epoch = 1;
  int rows = 0;
  for (int round = 0; round < 4; ++round) {
    ASSERT_EQ(from->value("INSERT INTO t SELECT generate_series(1, 5000); SELECT 'ok'"), "ok");
    rows += 5000;
    const auto began = Steady::now();
    const DriverResult stopped = from->run(Verb::kStop);
    ASSERT_TRUE(stopped.ok) << stopped.message;
    const double stop_ms = ms_of(began);
    const EngineReport r = to->observe();
    ASSERT_EQ(r.position, stopped.position) << "received " << lsn_text(r.position.lsn) << ", final "
                                            << lsn_text(stopped.position.lsn);
    const auto promoting = Steady::now();
    const DriverResult promoted = to->run(Verb::kPromote, "", ++epoch);
    ASSERT_TRUE(promoted.ok) << promoted.message;
    std::printf("figure stop_ms %.1f promote_ms %.1f\n", stop_ms, ms_of(promoting));
    EXPECT_EQ(promoted.position.lsn, stopped.position.lsn);
    EXPECT_TRUE(from->run(Verb::kStop).ok);  // again
    const DriverResult follows = from->run(Verb::kFollow, to->config.self.value.c_str(), epoch);
    ASSERT_TRUE(follows.ok) << follows.message;
    ASSERT_TRUE(caught_up(*to, *from));
    EXPECT_EQ(from->value("SELECT count(*) FROM t"), std::to_string(rows));
    EXPECT_TRUE(from->observe().opened.empty());
    std::swap(from, to);
  }
}

// node1 opens timeline 2, alone, and dies; node2, who never heard of it, opens its own timeline 2 at the same place.
/// Both sides have the timeline's number and its history: only pg_control says that a replica wrote on it, until its next start as one.
TEST_F(Postgres, AReplicaThatWasOpenedByHandIsRebuilt) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 10) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  b.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kStart, "node1").ok) << "a crash alone is no news";
  EXPECT_FALSE(b.observe().diverged);
  b.host.kill_all();
  fs::remove(b.data() + "/standby.signal");
  DirectHost by_hand;
  ASSERT_TRUE(by_hand.start({.argv = {*find_programs(0) + "/postgres", "-D", b.data()}, .environment = {}, .user = b.config.engine_user, .directory = b.data(), .log_file = base_ + "/by-hand.log"}));
  ASSERT_TRUE(eventually([&] { return b.value("INSERT INTO t VALUES (77); SELECT 'ok'") == "ok"; }));
  by_hand.kill_all();
  ASSERT_EQ(a.value("INSERT INTO t SELECT generate_series(1, 10000); SELECT 'ok'"), "ok");  // the writer is further on: no position tells
  ASSERT_TRUE(b.run(Verb::kStart, "node1").ok);
  ASSERT_TRUE(eventually([&] { return b.observe().state == EngineState::kStandby; }));
  EXPECT_TRUE(b.observe().diverged);
  EXPECT_NE(b.observe().health.find("opened by hand"), std::string::npos) << b.observe().health;
  const DriverResult r = b.run(Verb::kRejoin, "node1");
  ASSERT_TRUE(r.ok) << r.message;
  EXPECT_EQ(r.method, "rebuild");
  ASSERT_TRUE(b.run(Verb::kFollow, "node1").ok);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_FALSE(b.observe().diverged) << "neither after the copy, whose pg_control is a primary's";
  EXPECT_EQ(b.value("SELECT count(*) FROM t WHERE i = 77"), "1") << "the writer's own, of its series";
  EXPECT_EQ(b.value("SELECT count(*) FROM t"), "10010");
}

TEST_F(Postgres, TwoTimelinesOfOneNumberHaveParted) {
  Node& a = make(1);
  ASSERT_TRUE(a.run(Verb::kProvision).ok);
  Node& b = make(2);
  fs::create_directories(base_ + "/node2");
  const fs::path copy = b.data();
  ASSERT_EQ(std::system(("cp -a " + a.data() + " " + b.data()).c_str()), 0);
  for (Node* n : {&a, &b}) ASSERT_TRUE(n->run(Verb::kStart).ok);
  const DriverResult first = a.run(Verb::kPromote, "", 1);
  ASSERT_TRUE(first.ok) << first.message;
  a.host.kill_all();
  const DriverResult second = b.run(Verb::kPromote, "", 2);
  ASSERT_TRUE(second.ok) << second.message;
  ASSERT_EQ(first.position, second.position);
  ASSERT_EQ(b.value("CREATE TABLE t AS SELECT generate_series(1, 100000) i; SELECT 'ok'"), "ok");
  const DriverResult parted = a.run(Verb::kFollow, "node2", 2);
  EXPECT_TRUE(parted.diverged) << parted.message;
  const DriverResult r = a.run(Verb::kRejoin, "node2", 2);
  ASSERT_TRUE(r.ok) << r.message;
  EXPECT_EQ(r.method, "rebuild");
  ASSERT_TRUE(a.run(Verb::kFollow, "node2", 2).ok);
  ASSERT_TRUE(caught_up(b, a));
  EXPECT_EQ(a.value("SELECT count(*) FROM t"), "100000");
}

TEST_F(Postgres, ForeignFolderIsLeftUntouched) {
  Node& n = make(1);
  fs::create_directories(n.data());
  std::ofstream(n.data() + "/theirs") << "precious";
  const auto before = fs::last_write_time(n.data());
  EXPECT_EQ(n.observe().state, EngineState::kForeign);
  EXPECT_NE(n.observe().health.find("daarion.json"), std::string::npos);
  for (const Verb verb : {Verb::kProvision, Verb::kStart, Verb::kFollow, Verb::kRejoin, Verb::kPromote}) {
    const DriverResult r = n.run(verb, verb == Verb::kStart || verb == Verb::kPromote ? "" : "node2");
    EXPECT_FALSE(r.ok);
    EXPECT_NE(r.message.find("untouched"), std::string::npos) << r.message;
  }
  EXPECT_EQ(fs::last_write_time(n.data()), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(n.data()), fs::directory_iterator{}), 1);
}

TEST_F(Postgres, NamesAWrongPassword) {
  Node& a = primary(1);
  Node& b = make(2, {"replicator", "wrong"});
  const auto r = b.run(Verb::kProvision, "node1");
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.message.find("password authentication failed"), std::string::npos) << r.message;
  EXPECT_NE(r.message.find("PG_REPLICATION_PASSWORD"), std::string::npos) << r.message;
  EXPECT_EQ(b.observe().state, EngineState::kEmpty);
  a.host.kill_all();
  const auto from = Steady::now();
  EXPECT_FALSE(b.run(Verb::kProvision, "node1").ok);
  EXPECT_LT(ms_of(from), 3000);
}

TEST_F(Postgres, ObservesAFrozenEngineInTime) {
  Node& a = primary(1);
  ASSERT_EQ(a.observe().state, EngineState::kPrimary);
  a.host.stop(SIGSTOP);
  for (int i = 0; i < 3; ++i) {
    const auto from = Steady::now();
    const EngineReport r = a.observe();
    const double took = ms_of(from);
    if (i == 0) std::printf("figure observe_frozen_ms %.1f\n", took);
    EXPECT_EQ(r.state, EngineState::kUnresponsive);
    EXPECT_NE(r.health, "");
    EXPECT_LT(took, 600);
  }
  const auto stopping = Steady::now();
  const DriverResult stopped = a.run(Verb::kStop);
  EXPECT_FALSE(stopped.ok);
  EXPECT_EQ(stopped.position, Position{});
  EXPECT_LT(ms_of(stopping), 5000);
  a.host.kill_all();
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(a.run(Verb::kPromote, "", 2).ok);
  EXPECT_TRUE(eventually([&] { return a.observe().state == EngineState::kPrimary; }));
  double worst = 0;
  double sum = 0;
  for (int i = 0; i < 50; ++i) {
    const auto from = Steady::now();
    EXPECT_EQ(a.observe().state, EngineState::kPrimary);
    worst = std::max(worst, ms_of(from));
    sum += ms_of(from);
  }
  std::printf("figure observe_primary_ms mean %.2f max %.2f\n", sum / 50, worst);
}

TEST(PostgresRegistry, NamesWhatIsMissing) {
  DirectHost host;
  DriverConfig config;
  config.resource.id = ResourceId("x");
  config.resource.engine = "oracle";
  const auto none = make_driver(config, host);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("postgresql"), std::string::npos);
  config.resource.engine = "postgresql";
  unsetenv("PG_REPLICATION_USER");
  const auto bare = make_driver(config, host);
  ASSERT_FALSE(bare);
  EXPECT_NE(bare.error().message.find("PG_REPLICATION_USER is not set"), std::string::npos);
}

TEST(PostgresControl, RecordsEndAfterPageHeaders) {
  constexpr std::uint64_t page = 8192;
  constexpr std::uint64_t segment = 16 << 20;
  EXPECT_EQ(advance({0x3000028}, 114, page, segment).value, 0x30000a0u);
  EXPECT_EQ(advance({0x3001fb0}, 80, page, segment).value, 0x3002000u);  // fills its page: no header yet
  EXPECT_EQ(advance({0x3001fb0}, 114, page, segment).value, 0x3002000u + 24 + 40);
  EXPECT_EQ(advance({0x3ffffb0}, 114, page, segment).value, 0x4000000u + 40 + 40);
}

TEST(PostgresSettings, SlotNamesAreUnique) {
  EXPECT_EQ(slot_of(NodeId("node1")), "daarion_node1");
  EXPECT_NE(slot_of(NodeId("a-b")), slot_of(NodeId("a_b")));
  EXPECT_NE(slot_of(NodeId("a-db")), slot_of(NodeId("a--b")));
}

TEST(PostgresSettings, RenderSyncModes) {
  DriverConfig c;
  c.self = NodeId("node1");
  for (const char* n : {"node1", "node2", "node-3"}) {
    c.resource.members.push_back(NodeId(n));
    c.peers.push_back({NodeId(n), "10.0.0.1", 5432});
  }
  const auto has = [&](const std::string& line) {
    return render_settings(c, nullptr, kCredentials).find(line + "\n") != std::string::npos;
  };
  EXPECT_TRUE(has("synchronous_standby_names = ''"));
  c.resource.sync = SyncMode::kSync;
  EXPECT_TRUE(has(R"(synchronous_standby_names = 'FIRST 1 ("node2", "node-3")')"));
  c.resource.sync = SyncMode::kQuorum;
  EXPECT_TRUE(has(R"(synchronous_standby_names = 'ANY 1 ("node2", "node-3")')"));
  EXPECT_TRUE(has("primary_conninfo = ''"));
  const std::string follows = render_settings(c, &c.peers[1], kCredentials);
  EXPECT_EQ(follows.find("pass"), follows.find("password_encryption"));  // and no password or passfile before it
  EXPECT_EQ(follows.find(kCredentials.password), std::string::npos);
  EXPECT_EQ(render_pass_file(kCredentials), "*:*:*:replicator:s3cr\\:et\\\\pass\n");
}

TEST(PostgresAncestry, JudgesByHistoryAndOpenings) {
  const auto never = [](std::uint64_t, Lsn) { return false; };
  const auto past = [](std::uint64_t, Lsn) { return true; };
  const Lineage up{.identity = "7", .timeline = 3, .end = {900}, .writable = true, .history = {{1, {100}}, {2, {500}}}};
  EXPECT_EQ(judge({.identity = "8", .timeline = 2}, up, never).kinship, Kinship::kOtherSystem);
  Lineage own{.identity = "7", .timeline = 2, .end = {500}, .history = {{1, {100}}}};
  EXPECT_EQ(judge(own, up, never).kinship, Kinship::kMayFollow);
  EXPECT_EQ(judge(own, up, past).kinship, Kinship::kParted);
  own.end = {501};
  EXPECT_EQ(judge(own, up, never).kinship, Kinship::kParted);
  own = {.identity = "7", .timeline = 3, .end = {700}, .history = {{1, {100}}, {2, {500}}}};
  EXPECT_EQ(judge(own, up, past).kinship, Kinship::kMayFollow);
  own.history[1].end = {400};
  EXPECT_EQ(judge(own, up, never).kinship, Kinship::kSameNumber);
  own = {.identity = "7", .timeline = 4, .end = {700}, .history = {{1, {100}}, {2, {500}}, {3, {600}}}};
  EXPECT_EQ(judge(own, up, never).kinship, Kinship::kParted);
  Lineage standby = up;
  standby.writable = false;
  EXPECT_EQ(judge(own, standby, never).kinship, Kinship::kBehind);
}

TEST(PostgresMarker, ReadsWhatItWrote) {
  const Marker m{NodeId("node1"), ResourceId("postgres"), "7123", {{2, {session(9), {4}, NodeId("node2")}}}};
  EXPECT_EQ(parse_marker(to_text(m)), m);
  EXPECT_FALSE(parse_marker("{\"schema\": 2}"));
  EXPECT_FALSE(parse_marker("not json"));
}

}  // namespace
}  // namespace daarion::postgres
