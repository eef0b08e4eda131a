// The Redis driver against real servers on loopback: what is Redis's own. What is asked of every driver is in conformance_test.cc.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <fstream>

#include "controlplane/core/write_refusal.h"
#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/redis/lineage.h"
#include "controlplane/drivers/redis/rdb_header.h"
#include "controlplane/drivers/redis/redis_driver.h"
#include "controlplane/drivers/redis/settings.h"
#include "controlplane/drivers/registry.h"
#include "tests/drivers/bed.h"

namespace daarion::redis {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::eventually;
using test::kLimit;
using test::ms_of;
using test::session;
using Steady = std::chrono::steady_clock;

constexpr const char* kPassword = "s3cret";

struct Node : test::EngineNode {
  /// As ours, or as an application (empty user).
  Result<Reply> ask(const Command& command, const char* user = kUser) {
    auto c = Connection::open({.host = address().host, .port = address().port, .user = user, .password = kPassword}, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->ask(command, kLimit);
  }
  std::string text(const Command& command, const char* user = kUser) {
    const auto said = ask(command, user);
    return !said ? said.error().message : said->kind == Reply::Kind::kNumber ? std::to_string(said->number) : said->text;
  }
  std::string info(const std::string& name) { return field(parse_info(text({"INFO"})), name); }
};

class Redis : public test::DriverBed<Node> {
 protected:
  Result<std::unique_ptr<Driver>> make_driver(const DriverConfig& config, EngineHost& host) override {
    return make_driver_with(config, kPassword, host);
  }
  void describe(DriverConfig& config) override {
    config.resource.id = ResourceId("redis");
    config.resource.engine = "redis";
    config.resource.sync = sync_;
    if (geteuid() == 0) config.engine_user = "redis";
  }
  std::vector<ReplicaLag> lag_of(Node& n) {
    const auto seen = dynamic_cast<RedisDriver&>(*n.driver).replicas();
    EXPECT_TRUE(seen) << seen.error().message;
    return seen.value_or(std::vector<ReplicaLag>{});
  }
  /// A replica that streams and has everything.
  Node& streaming(Node& from, int number) {
    Node& n = replica(number, from.name());
    EXPECT_TRUE(eventually([&] { return n.observe().streaming; })) << n.observe().health;
    EXPECT_TRUE(caught_up(from, n));
    return n;
  }
  SyncMode sync_ = SyncMode::kAsync;
};

TEST_F(Redis, LagIsTheServersOwnFigureOnBothEnds) {
  Node& a = primary(1);
  Node& b = streaming(a, 2);
  std::atomic<bool> ending = false;
  std::thread load([&] {
    auto c = Connection::open({.host = a.address().host, .port = a.address().port, .user = {}, .password = kPassword}, kLimit);
    const std::string value(1000, 'x');
    for (int i = 0; !ending && c; ++i) (void)(*c)->run(std::vector<Command>(50, Command{"SET", "k" + std::to_string(i % 1000), value}), kLimit);
  });
  int behind = 0;
  for (int i = 0; i < 40; ++i) {
    if (i == 20) b.host.stop(SIGSTOP);  // from here on it falls behind
    if (i < 20) {
      // Looked at in this order, the replica's place is between its place before and the primary's after.
      const auto before = std::stoull(b.info("slave_repl_offset"));
      const Lsn seen = b.observe().position.lsn;
      const auto after = std::stoull(a.info("master_repl_offset"));
      EXPECT_GE(seen.value, before);
      EXPECT_LE(seen.value, after);
    } else {
      const auto lag = lag_of(a);
      ASSERT_EQ(lag.size(), 1u);
      EXPECT_EQ(lag[0].node, NodeId("node2"));
      behind += lag[0].lag_bytes > 100'000;
    }
    std::this_thread::sleep_for(milliseconds(10));
  }
  ending = true;
  load.join();
  EXPECT_GT(behind, 0);
  EXPECT_TRUE(eventually([&] { return lag_of(a)[0].lag_ms >= 1000; }));
  b.host.stop(SIGCONT);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_TRUE(eventually([&] { const auto lag = lag_of(a); return lag.size() == 1 && lag[0].lag_bytes == 0; }));
}

TEST_F(Redis, ARestartedMasterIsAReplicaOfNobodyAndWipesNobody) {
  Node& a = primary(1);
  ASSERT_EQ(a.text({"SET", "precious", "1"}, ""), "OK");
  Node& b = streaming(a, 2);
  a.host.kill_all();
  fs::remove(a.data() + "/" + kDumpFile);  // it comes back empty
  EXPECT_EQ(a.observe().state, EngineState::kStopped);
  EXPECT_NE(a.observe().health.find("gone"), std::string::npos) << a.observe().health;
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().state == EngineState::kStandby; }));
  EXPECT_EQ(a.observe().position.identity, "") << "no data of this resource: never a candidate";
  EXPECT_NE(a.observe().health, "");
  EXPECT_EQ(a.text({"DBSIZE"}), "0");
  EXPECT_FALSE(a.run(Verb::kPromote, "", 2).ok) << "an empty primary";
  // The replica has been asking it for its stream all the time.
  EXPECT_TRUE(eventually([&] { return b.observe().health.find("has not streamed") != std::string::npos; }));
  EXPECT_EQ(b.text({"GET", "precious"}), "1");
  const DriverResult follows = b.run(Verb::kFollow, "node1");
  EXPECT_FALSE(follows.ok);
  EXPECT_NE(follows.message.find("replica itself"), std::string::npos) << follows.message;
  // And now by hand, with our own user: the replica must not be told to follow it, in any verb.
  ASSERT_EQ(a.text({"REPLICAOF", "NO", "ONE"}), "OK");
  for (const Verb verb : {Verb::kFollow, Verb::kRejoin}) {
    const DriverResult r = b.run(verb, "node1");
    EXPECT_FALSE(r.ok);
    EXPECT_NE(r.message.find("does not say whose data"), std::string::npos) << r.message;
  }
  ASSERT_TRUE(a.host.stop(SIGKILL));
  ASSERT_TRUE(a.host.wait_empty(kLimit));
  // The replica takes over; the empty one gets everything from it.
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  const DriverResult back = a.run(Verb::kFollow, "node2", 2);
  ASSERT_TRUE(back.ok) << back.message;
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; }));
  EXPECT_EQ(a.text({"GET", "precious"}), "1");
  EXPECT_EQ(a.observe().position.identity, b.observe().position.identity);
}

TEST_F(Redis, AMasterThatWentBackIsNotFollowed) {
  Node& a = primary(1);
  a.observe();
  ASSERT_TRUE(eventually([&] { return a.info("rdb_bgsave_in_progress") == "0" && exists(a.data() + "/" + kDumpFile); }));
  Node& b = streaming(a, 2);
  fs::copy_file(a.data() + "/" + kDumpFile, base_ + "/old.rdb");
  for (int i = 0; i < 100; ++i) ASSERT_EQ(a.text({"SET", "k" + std::to_string(i), std::string(100, 'x')}, ""), "OK");
  ASSERT_TRUE(caught_up(a, b));
  a.host.kill_all();
  fs::copy_file(base_ + "/old.rdb", a.data() + "/" + kDumpFile, fs::copy_options::overwrite_existing);
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().state == EngineState::kStandby; }));
  EXPECT_LT(a.observe().position.lsn, b.observe().position.lsn) << "its dump says where it was";
  EXPECT_EQ(a.observe().position.timeline, 1u);
  ASSERT_EQ(a.text({"REPLICAOF", "NO", "ONE"}), "OK");  // by hand: the same timeline, and further back
  for (const Verb verb : {Verb::kFollow, Verb::kRejoin}) {
    const DriverResult r = b.run(verb, "node1");
    EXPECT_FALSE(r.ok);
    EXPECT_FALSE(r.diverged);
    EXPECT_NE(r.message.find("lost data that it had"), std::string::npos) << r.message;
  }
  EXPECT_EQ(b.text({"DBSIZE"}), "101");
}

TEST_F(Redis, AFormerMasterTakesTheRestOrAWholeCopy) {
  Node& a = primary(1);
  ASSERT_EQ(a.text({"SET", "base", "1"}, ""), "OK");
  Node& b = streaming(a, 2);
  // Saved before node2 took over: node1's data are a beginning of node2's, and it takes the rest.
  ASSERT_TRUE(eventually([&] { return a.text({"SAVE"}) == "OK"; }));  // refused while one is made in the background
  a.observe();
  ASSERT_EQ(a.text({"SET", "more", "1"}, ""), "OK");
  ASSERT_TRUE(caught_up(a, b));
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  b.observe();
  const DriverResult back = a.run(Verb::kFollow, "node2", 2);
  ASSERT_TRUE(back.ok) << back.message;
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; }));
  EXPECT_EQ(b.info("sync_partial_ok"), "1");
  EXPECT_EQ(b.info("sync_full"), "0");
  EXPECT_EQ(a.text({"GET", "more"}), "1");
  EXPECT_EQ(a.observe().position.timeline, 2u);
  // It streams, and is left as it is, unless a person wants a whole copy.
  ASSERT_TRUE(a.run(Verb::kRejoin, "node2", 2).ok);
  EXPECT_EQ(b.info("sync_full"), "0");
  ASSERT_TRUE(a.run(Verb::kRejoin, "node2", 2, true).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; }));
  EXPECT_EQ(b.info("sync_full"), "1");
  EXPECT_EQ(a.text({"GET", "more"}), "1");
  EXPECT_FALSE(exists(a.data() + "/before-copy.rdb")) << "the copy is there";
  // Cut off in the midst of such a copy: what it had is put back.
  ASSERT_TRUE(eventually([&] { return a.text({"SAVE"}) == "OK"; }));
  a.host.kill_all();
  ASSERT_EQ(std::rename((a.data() + "/dump.rdb").c_str(), (a.data() + "/before-copy.rdb").c_str()), 0);
  ASSERT_TRUE(a.run(Verb::kFollow, "node2", 2).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; }));
  EXPECT_EQ(b.info("sync_full"), "1") << "it goes on with it";
  EXPECT_FALSE(exists(a.data() + "/before-copy.rdb"));
  // The same where its server runs on, without data and with nobody to copy from.
  ASSERT_TRUE(eventually([&] { return a.text({"SAVE"}) == "OK"; }));
  a.host.kill_all();
  ASSERT_EQ(std::rename((a.data() + "/dump.rdb").c_str(), (a.data() + "/aside.rdb").c_str()), 0);
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_EQ(std::rename((a.data() + "/aside.rdb").c_str(), (a.data() + "/before-copy.rdb").c_str()), 0);
  EXPECT_EQ(a.observe().state, EngineState::kStopped);
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().state == EngineState::kStandby; }));
  EXPECT_FALSE(a.observe().position.identity.empty());
  ASSERT_TRUE(a.run(Verb::kFollow, "node2", 2).ok);
  ASSERT_TRUE(eventually([&] { return a.observe().streaming; }));
  // Now node2 writes what nobody gets, saves it, and dies: its data have parted from those of whom takes over.
  a.host.stop(SIGSTOP);
  ASSERT_EQ(b.text({"SET", "lost", "1"}, ""), "OK");
  ASSERT_TRUE(eventually([&] { return b.text({"SAVE"}) == "OK"; }));
  b.observe();
  b.host.kill_all();
  a.host.stop(SIGCONT);
  const DriverResult promoted = a.run(Verb::kPromote, "", 3);
  ASSERT_TRUE(promoted.ok) << promoted.message;
  a.observe();
  if (promoted.position.lsn < b.observe().position.lsn) {  // what was on its way may have reached node1 all the same
    const DriverResult parted = b.run(Verb::kFollow, "node1", 3);
    EXPECT_TRUE(parted.diverged) << parted.message;
    const DriverResult rejoined = b.run(Verb::kRejoin, "node1", 3);
    ASSERT_TRUE(rejoined.ok) << rejoined.message;
    EXPECT_EQ(rejoined.method, "full-copy");
    EXPECT_EQ(rejoined.position.timeline, 3u);
    EXPECT_TRUE(exists(b.data() + "/parted.rdb")) << "what was lost can be looked for";
    EXPECT_EQ(b.text({"GET", "lost"}), "");
    EXPECT_TRUE(b.run(Verb::kRejoin, "node1", 3).ok);
  }
  ASSERT_TRUE(b.run(Verb::kFollow, "node1", 3).ok);
  ASSERT_TRUE(eventually([&] { return b.observe().streaming; }));
  EXPECT_EQ(b.text({"GET", "more"}), "1");
}

TEST_F(Redis, TheListOfTimelinesSurvivesFlushAll) {
  Node& a = primary(1, 7);
  Node& b = streaming(a, 2);
  const EngineReport before = b.observe();
  a.observe();
  ASSERT_EQ(a.text({"FLUSHALL"}, ""), "OK");
  ASSERT_TRUE(eventually([&] { return b.text({"DBSIZE"}) == "0"; }));
  const EngineReport flushed = b.observe();
  EXPECT_EQ(flushed.position.timeline, 7u);
  EXPECT_EQ(flushed.position.identity, before.position.identity);
  EXPECT_EQ(flushed.inherited, session(7));
  a.observe();
  EXPECT_TRUE(eventually([&] { return b.text({"EXISTS", kTimelinesKey}) == "1"; }));
}

TEST_F(Redis, ApplicationsCannotSayWhoWrites) {
  Node& a = primary(1);
  Node& b = streaming(a, 2);
  const std::vector<Command> denied{{"REPLICAOF", "NO", "ONE"}, {"SLAVEOF", "NO", "ONE"}, {"FAILOVER"}, {"SHUTDOWN"}, {"CONFIG", "SET", "replica-read-only", "no"},
                                    {"ACL", "SETUSER", "x"}};
  for (const Command& command : denied) EXPECT_NE(b.text(command, "").find("NOPERM"), std::string::npos) << command[0] << ": " << b.text(command, "");
  EXPECT_NE(b.text({"SET", "k", "v"}, "").find("READONLY"), std::string::npos);
  EXPECT_EQ(b.observe().state, EngineState::kStandby);
  // The password is in the one file that is ours alone.
  for (const auto& entry : fs::recursive_directory_iterator(base_)) {
    if (!entry.is_regular_file() || entry.path().filename() == "redis.conf") continue;
    EXPECT_EQ(read_file(entry.path().string()).value_or("").find(kPassword), std::string::npos) << entry.path();
  }
  EXPECT_EQ(fs::status(a.data() + "/redis.conf").permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(Redis, WritesWaitForReplicasAsDeclared) {
  sync_ = SyncMode::kSync;
  Node& a = primary(1);
  EXPECT_NE(a.text({"SET", "k", "v"}, "").find("NOREPLICAS"), std::string::npos);
  EXPECT_NE(a.observe().health.find("refuses writes"), std::string::npos) << a.observe().health;
  EXPECT_EQ(a.observe().position.timeline, 1u) << "its own first write was not refused";
  Node& b = streaming(a, 2);
  EXPECT_TRUE(eventually([&] { return a.text({"SET", "k", "v"}, "") == "OK"; }));
  EXPECT_EQ(a.observe().health, "");
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_EQ(b.text({"GET", "k"}), "v");
}

TEST_F(Redis, APrimaryThatCannotDumpRefusesWritesAndSaysSo) {
  Node& a = primary(1);
  EXPECT_TRUE(takes_writes(a.observe().state, a.observe().health));
  // What it would rename its dump to is a folder that is not empty: so every dump fails.
  const std::string dump = a.data() + "/dump.rdb";
  ASSERT_TRUE(eventually([&] { return fs::is_regular_file(dump); }));
  fs::rename(dump, a.data() + "/dump.kept");
  fs::create_directories(dump + "/in-the-way");
  ASSERT_TRUE(eventually([&] { return a.text({"BGSAVE"}).find("started") != std::string::npos; })) << "one is under way";
  ASSERT_TRUE(eventually([&] { return a.text({"SET", "k", "v"}, "").find("MISCONF") != std::string::npos; })) << a.text({"SET", "k", "v"}, "");
  const EngineReport ill = a.observe();
  EXPECT_EQ(ill.state, EngineState::kPrimary);
  EXPECT_FALSE(takes_writes(ill.state, ill.health)) << ill.health;
  EXPECT_NE(ill.health.find("its last dump failed"), std::string::npos) << ill.health;
  // Who has set it not to refuse for that is only told of the dump.
  a.text({"CONFIG", "SET", "stop-writes-on-bgsave-error", "no"});
  EXPECT_EQ(a.text({"SET", "k", "v"}, ""), "OK");
  EXPECT_TRUE(takes_writes(a.observe().state, a.observe().health));
  EXPECT_NE(a.observe().health.find("its last dump failed"), std::string::npos);
  a.text({"CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"});
  fs::remove_all(dump);
  ASSERT_TRUE(eventually([&] { return a.text({"BGSAVE"}).find("started") != std::string::npos; })) << "one is under way";
  EXPECT_TRUE(eventually([&] { return a.observe().health.empty(); })) << a.observe().health;
  EXPECT_EQ(a.text({"SET", "k", "v"}, ""), "OK");
}

TEST_F(Redis, AForeignServerAtThePortIsNotFollowed) {
  Node& a = primary(1);
  Node& b = streaming(a, 2);
  a.host.kill_all();
  // Somebody starts a Redis of his own where the primary was.
  DirectHost stranger;
  const std::string folder = base_ + "/stranger";
  fs::create_directories(folder);
  fs::permissions(folder, fs::perms::all);
  ASSERT_TRUE(stranger.start({.argv = {"/usr/bin/redis-server", "--port", std::to_string(a.address().port), "--bind", a.address().host, "--dir", folder, "--save", ""},
                              .environment = {}, .user = b.config.engine_user, .directory = folder, .log_file = base_ + "/stranger.log"}));
  ASSERT_TRUE(eventually([&] { return Connection::open({.host = a.address().host, .port = a.address().port, .user = {}, .password = {}}, kLimit).has_value(); }));
  const DriverResult r = b.run(Verb::kFollow, "node1");
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.message.find("REDIS_PASSWORD"), std::string::npos) << r.message;
  EXPECT_TRUE(eventually([&] { return b.observe().health.find("has not streamed") != std::string::npos; }));
  EXPECT_EQ(b.text({"EXISTS", kTimelinesKey}), "1") << "and it took nothing from it by itself";
  stranger.kill_all();
}

TEST_F(Redis, ARefusedConfigurationIsNamed) {
  Node& n = make(1);
  ASSERT_TRUE(n.run(Verb::kProvision).ok);
  std::ofstream(n.data() + "/local.conf") << "maxmemory 64mb\n";
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  const auto memory = n.ask({"CONFIG", "GET", "maxmemory"});
  ASSERT_TRUE(memory && memory->list.size() == 2) << "the operator's own settings are read";
  EXPECT_EQ(memory->list[1].text, "67108864");
  ASSERT_TRUE(n.run(Verb::kStop).ok);
  std::ofstream(n.data() + "/local.conf") << "maxmemroy 64mb\n";
  const auto from = Steady::now();
  const DriverResult r = n.run(Verb::kStart);
  EXPECT_FALSE(r.ok);
  EXPECT_NE(r.message.find("maxmemroy"), std::string::npos) << r.message;
  EXPECT_LT(ms_of(from), 3000);
}

TEST(RedisRegistry, NamesWhatIsMissing) {
  DirectHost host;
  DriverConfig config;
  config.resource.engine = "redis";
  unsetenv("REDIS_PASSWORD");
  const auto bare = make_driver(config, host);
  ASSERT_FALSE(bare);
  EXPECT_NE(bare.error().message.find("REDIS_PASSWORD is not set"), std::string::npos);
}

TEST(RedisLineage, JudgesByOpenings) {
  const auto opened = [](std::uint64_t n, std::uint64_t start, const char* node = "node1") { return Opening{session(n), {n}, NodeId(node), {start}, {}}; };
  const Lineage up{.identity = "i", .timeline = 5, .end = {900}, .writable = true, .openings = {{1, opened(1, 0)}, {4, opened(4, 300)}, {5, opened(5, 880)}}};
  Lineage own{.identity = "i", .timeline = 4, .end = {880}, .writable = false, .openings = {{1, opened(1, 0)}, {4, opened(4, 300)}}};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kMayFollow);
  own.end = {881};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kParted);
  own = {.identity = "i", .timeline = 3, .end = {10}, .writable = false, .openings = {{3, opened(3, 5)}}};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kParted);  // a timeline that is not in its history
  own = {.identity = "i", .timeline = 5, .end = {901}, .writable = false, .openings = up.openings};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kWentBack);
  own.end = {900};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kMayFollow);
  own.openings[4].session = session(9);
  EXPECT_EQ(judge(own, up).kinship, Kinship::kParted);
  own = {.identity = "i", .timeline = 6, .end = {1}, .writable = false, .openings = {}};
  EXPECT_EQ(judge(own, up).kinship, Kinship::kNotYet);
  EXPECT_EQ(judge({.identity = "j", .timeline = 1}, up).kinship, Kinship::kOtherSystem);
  EXPECT_EQ(judge({}, up).kinship, Kinship::kMayFollow);
  EXPECT_EQ(judge({}, {.writable = true}).kinship, Kinship::kNotYet);
  Lineage replica = up;
  replica.writable = false;
  EXPECT_EQ(judge({}, replica).kinship, Kinship::kNotYet);
}

TEST(RedisDump, TellsItsStreamAndPlace) {
  const auto aux = [](const std::string& name, const std::string& value) { return '\xFA' + std::string(1, static_cast<char>(name.size())) + name + value; };
  const std::string id(40, 'a');
  const std::string text = "REDIS0010" + aux("redis-ver", "\x06" "7.0.15") + aux("repl-id", "(" + id) + aux("repl-offset", std::string("\xC2\x40\xE2\x01\x00", 5)) + "\xFE";
  EXPECT_EQ(parse_rdb_header(text), (RdbHeader{id, {123456}}));
  EXPECT_EQ(parse_rdb_header("REDIS0010" + aux("repl-offset", "\x0b" "12345678901") + "\xFF"), (RdbHeader{"", {12345678901}}));
  for (std::size_t n = 0; n < text.size(); ++n) (void)parse_rdb_header(text.substr(0, n));  // no byte beyond the end is read
  EXPECT_FALSE(parse_rdb_header("RIFF0010"));
  EXPECT_FALSE(read_rdb_header("/nonexistent"));
}

TEST(RedisSettings, AServerAlwaysFollowsSomebody) {
  DriverConfig c;
  c.self = NodeId("node1");
  c.resource.data_dir = "/data";
  for (const char* n : {"node1", "node2", "node3"}) {
    c.resource.members.push_back(NodeId(n));
    c.peers.push_back({NodeId(n), "10.0.0.1", 6379});
  }
  const auto has = [&](const std::string& text, const std::string& line) { return text.find("\n" + line + "\n") != std::string::npos; };
  EXPECT_TRUE(has(render_settings(c, nullptr, "p\"w", false), "replicaof 127.0.0.1 0"));
  EXPECT_TRUE(has(render_settings(c, &c.peers[1], "p\"w", false), "replicaof 10.0.0.1 6379"));
  EXPECT_TRUE(has(render_settings(c, nullptr, "p\"w", false), "masterauth \"p\\\"w\""));
  EXPECT_TRUE(has(render_settings(c, nullptr, "pw", true), "include \"/data/local.conf\""));
  EXPECT_EQ(replicas_to_write(c.resource), 0u);
  c.resource.sync = SyncMode::kSync;
  EXPECT_EQ(replicas_to_write(c.resource), 1u);
  c.resource.sync = SyncMode::kQuorum;
  EXPECT_EQ(replicas_to_write(c.resource), 1u);
}

}  // namespace
}  // namespace daarion::redis
