// The PostgreSQL driver against real servers on loopback.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/control.h"
#include "tests/drivers/postgres_bed.h"

namespace daarion::postgres {
namespace {

TEST_F(Postgres, StartsAsAStandbyWhateverBecameOfItsSignal) {
  Node& n = make(1);
  const DriverResult made = n.run(Verb::kProvision);
  ASSERT_TRUE(made.ok) << made.message;
  EXPECT_EQ(made.method, "initdb");
  EXPECT_TRUE(exists(n.data() + "/standby.signal"));
  EXPECT_EQ(n.observe().position.timeline, 1u);
  EXPECT_NE(n.observe().position.lsn.value, 0u);
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  EXPECT_EQ(n.value("CREATE TABLE t (i int)"), "cannot execute CREATE TABLE in a read-only transaction");
  // Whoever removes standby.signal by mistake finds it back at the next start.
  ASSERT_TRUE(n.run(Verb::kStop).ok);
  fs::remove(n.data() + "/standby.signal");
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  EXPECT_EQ(n.observe().state, EngineState::kStandby);
}

TEST_F(Postgres, APrimaryHasSlotsForItsMembersAndNoPasswordInSight) {
  Node& n = primary(1, 4);
  EXPECT_EQ(n.observe().position.timeline, 2u);
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

/// Its own would take minutes, of the time that checkpoints are spread over; nobody else may ask for one, and pg_rewind reads the timeline there.
TEST_F(Postgres, BeforeFifteenAPrimaryMakesACheckpointSoonAfterItsPromotion) {
  const auto programs = find_programs(0);  // /usr/lib/postgresql/15/bin
  ASSERT_TRUE(programs) << programs.error().message;
  if (number_of(fs::path(*programs).parent_path().filename()) >= 15) GTEST_SKIP() << "whoever rewinds asks for it";
  Node& n = primary(1);
  ASSERT_EQ(n.value("CREATE TABLE t AS SELECT generate_series(1, 200000) i; SELECT 'ok'"), "ok");
  n.host.kill_all();
  ASSERT_TRUE(n.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return n.observe().state == EngineState::kStandby; }));
  ASSERT_TRUE(n.run(Verb::kPromote, "", 5).ok);
  EXPECT_TRUE(eventually([&] { return n.value("SELECT timeline_id FROM pg_control_checkpoint()") == "3"; }));
}

TEST_F(Postgres, APrimaryCountsItsReplicas) {
  Node& a = primary(1);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_EQ(b.observe().position.lsn, a.observe().position.lsn);
  const auto seen = dynamic_cast<PostgresDriver&>(*a.driver).replicas();
  ASSERT_TRUE(seen) << seen.error().message;
  ASSERT_EQ(seen->size(), 1u);
  EXPECT_EQ((*seen)[0].node, NodeId("node2"));
  EXPECT_EQ((*seen)[0].state, "streaming");
  EXPECT_EQ((*seen)[0].sync_state, "async");
  EXPECT_EQ(a.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'daarion_node2'"), "t");
}

/// Places in the log only rise, so a lag is between the primary's place before less the replica's after, and the primary's after less the replica's before.
TEST_F(Postgres, LagUnderLoadIsTheServersOwnFigure) {
  Node& a = primary(1);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(a.sql("CREATE TABLE load (n int, text text)"));
  std::jthread load([&](const std::stop_token& ending) {
    auto c = Connection::open({.host = a.config.run_dir, .port = a.address().port, .user = "postgres", .password = "", .database = "postgres"}, kLimit);
    while (!ending.stop_requested() && c) (void)(*c)->query("INSERT INTO load SELECT n, repeat('x', 1000) FROM generate_series(1, 50) n", kLimit);
  });
  struct Places {
    std::uint64_t primary = 0, replica = 0;
  };
  const auto places = [&] {
    const auto rows = a.sql("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn, flush_lsn - '0/0'::pg_lsn FROM pg_stat_replication WHERE application_name = 'node2'");
    return rows && rows->size() == 1 ? Places{number_of((*rows)[0][0]), number_of((*rows)[0][1])} : Places{};
  };
  ASSERT_TRUE(eventually([&] { return places().replica > 0; })) << "it confirms something";
  const auto less = [](std::uint64_t x, std::uint64_t y) { return x > y ? x - y : 0; };
  const pid_t receiver = std::atoi(b.value("SELECT pid FROM pg_stat_wal_receiver").c_str());
  ASSERT_GT(receiver, 1);
  std::uint64_t most = 0;
  for (int i = 0; i < 30; ++i) {
    if (i == 15) kill(receiver, SIGSTOP);  // from here on it falls behind
    const Places before = places();
    const Lsn replica = i < 15 ? b.observe().position.lsn : Lsn{};
    const auto lag = dynamic_cast<PostgresDriver&>(*a.driver).replicas();
    const Places after = places();
    ASSERT_TRUE(lag) << lag.error().message;
    ASSERT_EQ(lag->size(), 1u);
    ASSERT_GT(before.primary, 0u);
    EXPECT_GE((*lag)[0].lag_bytes, less(before.primary, after.replica)) << i;
    EXPECT_LE((*lag)[0].lag_bytes, less(after.primary, before.replica)) << i;
    // The place that the replica tells by itself, of which `status` makes its lag.
    if (i < 15) {
      EXPECT_GE(replica.value, before.replica) << i;
      EXPECT_LE(replica.value, after.primary) << i;
    }
    most = std::max(most, (*lag)[0].lag_bytes);
  }
  EXPECT_TRUE(eventually([&] {
    const auto lag = dynamic_cast<PostgresDriver&>(*a.driver).replicas();
    return lag && lag->size() == 1 && (most = std::max(most, (*lag)[0].lag_bytes)) > 1'000'000;
  }));
  load.request_stop();
  load.join();
  std::printf("figure postgres_lag_under_load_most_bytes %llu\n", static_cast<unsigned long long>(most));
  kill(receiver, SIGCONT);
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_TRUE(eventually([&] {
    const auto lag = dynamic_cast<PostgresDriver&>(*a.driver).replicas();
    return lag && lag->size() == 1 && (*lag)[0].lag_bytes == 0;
  }));
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
  // Slots that node1 kept as a primary would hold its WAL for ever: as an heir it keeps its fellow's alone, where node2 keeps it.
  const std::string kept = b.value("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'daarion_node3'");
  EXPECT_TRUE(eventually([&] {
    a.observe();
    return a.value("SELECT string_agg(slot_name, ',') || ' ' || bool_and(restart_lsn >= '" + kept + "') FROM pg_replication_slots") == "daarion_node3 true";
  })) << a.value("SELECT string_agg(slot_name || ' ' || restart_lsn, ',') FROM pg_replication_slots") << "; node2 keeps it at " << kept;
}

/// Whom it follows has not made its first checkpoint since its promotion, and nobody may ask for one: before 15 that is so of every primary.
TEST_F(Postgres, WaitsForTheCheckpointThatARewindNeeds) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 200000) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_EQ(a.value("UPDATE t SET i = i + 1; SELECT 'ok'"), "ok");
  ASSERT_TRUE(caught_up(a, b));
  b.host.kill_all();
  ASSERT_EQ(a.value("INSERT INTO t SELECT generate_series(1, 1000); SELECT 'ok'"), "ok");
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kStart).ok);
  ASSERT_TRUE(eventually([&] { return b.observe().state == EngineState::kStandby; }));
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  ASSERT_EQ(b.value("REVOKE pg_checkpoint FROM replicator; SELECT timeline_id FROM pg_control_checkpoint()"), "2") << "its checkpoint is spread over minutes";
  const DriverResult early = a.run(Verb::kRejoin, "node2", 2);
  ASSERT_EQ(b.value("SELECT timeline_id FROM pg_control_checkpoint()"), "2") << "of this test: it came too soon";
  EXPECT_FALSE(early.ok) << early.method;
  EXPECT_EQ(early.method, "");
  EXPECT_NE(early.message.find("checkpoint node2"), std::string::npos) << early.message;
  EXPECT_FALSE(exists(a.data() + ".daarion-rewinding"));
  ASSERT_EQ(b.value("GRANT pg_checkpoint TO replicator; SELECT 'ok'"), "ok");
  const DriverResult later = a.run(Verb::kRejoin, "node2", 2);
  EXPECT_TRUE(later.ok) << later.message;
  EXPECT_EQ(later.method, "rewind");
}

class PostgresSync : public Postgres {
 protected:
  void describe(DriverConfig& config) override {
    Postgres::describe(config);
    config.resource.sync = SyncMode::kSync;
  }
  static DriverResult set_sync(Node& n, std::vector<NodeId> nodes) {
    return n.driver->run({.op = 99, .resource = n.config.resource.id, .verb = Verb::kSetSync, .epoch = Epoch{1}, .confirmers = std::move(nodes), .confirmations = 1});
  }
  static std::string names_of(Node& n) { return n.value("SHOW synchronous_standby_names"); }
};

/// It acknowledges what those have whom it was told of, and says when they hold all that was acknowledged before (core/sync_set.h).
TEST_F(PostgresSync, WaitsForWhomItIsToldAndSaysWhenTheyHoldAll) {
  const NodeId two("node2"), three("node3");
  const std::vector<NodeId> both{two, three}, first{two};
  Node& a = primary(1);
  EXPECT_EQ(names_of(a), R"(FIRST 1 ("node2", "node3"))");
  EXPECT_EQ(a.observe().confirmers, both);
  EXPECT_EQ(a.observe().confirmations, 1u);
  EXPECT_FALSE(a.observe().confirmed_all) << "nobody streams";
  Node& b = replica(2);
  Node& c = replica(3);
  ASSERT_TRUE(eventually([&] { return a.observe().followers.size() == 2; }));
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 100) i; SELECT 'ok'"), "ok");
  ASSERT_TRUE(eventually([&] { return a.observe().confirmed_all; }));

  c.host.kill_all();
  ASSERT_TRUE(eventually([&] { return a.observe().followers == first; }));
  const DriverResult told = set_sync(a, first);
  ASSERT_TRUE(told.ok) << told.message;
  EXPECT_EQ(names_of(a), R"(FIRST 1 ("node2"))");
  const EngineReport at_once = a.observe();
  EXPECT_EQ(at_once.confirmers, first);
  EXPECT_FALSE(at_once.confirmed_all) << "what node3 confirmed until now is not known to be on node2";
  EXPECT_TRUE(eventually([&] { return a.observe().confirmed_all; }));
  // A daemon that is started again, with a file that declares both, widens nothing by itself.
  restart_daemon(a);
  EXPECT_TRUE(eventually([&] { return a.observe().confirmed_all; }));
  for (int i = 0; i < 5; ++i) a.observe();
  EXPECT_EQ(names_of(a), R"(FIRST 1 ("node2"))");

  set_up(a, {"synchronous_standby_names = ''"});
  const DriverResult other = set_sync(a, both);
  EXPECT_FALSE(other.ok);
  EXPECT_NE(other.message.find("ALTER SYSTEM RESET synchronous_standby_names"), std::string::npos) << other.message;
  ASSERT_TRUE(a.sql("ALTER SYSTEM RESET synchronous_standby_names"));
  ASSERT_TRUE(set_sync(a, both).ok);
  EXPECT_EQ(names_of(a), R"(FIRST 1 ("node2", "node3"))");

  // Of a standby the file has the declared set, and with it it is opened, whatever was set by hand.
  ASSERT_TRUE(caught_up(a, b));
  a.host.kill_all();
  set_up(b, {"synchronous_standby_names = 'FIRST 1 (\"node3\")'"});
  ASSERT_TRUE(eventually([&] { return names_of(b) == R"(FIRST 1 ("node3"))"; }));
  const DriverResult refused = b.run(Verb::kPromote, "", 2);
  EXPECT_FALSE(refused.ok);
  EXPECT_NE(refused.message.find("ALTER SYSTEM RESET"), std::string::npos) << refused.message;
  EXPECT_EQ(b.observe().state, EngineState::kStandby);
  ASSERT_TRUE(b.sql("ALTER SYSTEM RESET synchronous_standby_names"));
  const DriverResult opened = b.run(Verb::kPromote, "", 2);
  ASSERT_TRUE(opened.ok) << opened.message;
  EXPECT_EQ(names_of(b), R"(FIRST 1 ("node1", "node3"))");
  EXPECT_FALSE(b.observe().confirmed_all);
}

TEST_F(Postgres, RebuildsWhenRewindingIsImpossible) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 10) i; SELECT 'ok'"), "ok");
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_NO_FATAL_FAILURE(part(a, b, "INSERT INTO t VALUES (77)"));
  ASSERT_EQ(b.value("INSERT INTO t VALUES (11); SELECT 'ok'"), "ok");
  lose_wal(a);
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

/// In a mount that nobody else sees, with a disk of its own.
TEST_F(Postgres, CopiesNothingWhereThereIsNoRoomForIt) {
  const std::string disk = base_ + "/node1";
  fs::create_directories(disk);
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || mount("daarion", disk.c_str(), "tmpfs", 0, "size=256m,mode=755") != 0)
    GTEST_SKIP() << "it may not mount";
  Node& a = primary(1);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_NO_FATAL_FAILURE(part(a, b, "CREATE TABLE t AS SELECT 1"));
  lose_wal(a);
  const std::string ballast = disk + "/ballast";
  std::ofstream(ballast) << std::string(fs::space(disk).available - (8U << 20), 'x');
  const DriverResult full = a.run(Verb::kRejoin, "node2", 2);
  EXPECT_FALSE(full.ok);
  EXPECT_NE(full.message.find("a whole copy needs "), std::string::npos) << full.message;
  EXPECT_EQ(full.method, "") << "nothing was copied";
  EXPECT_EQ(b.value("SELECT count(*) FROM pg_stat_replication"), "0");
  fs::remove(ballast);
  const DriverResult roomy = a.run(Verb::kRejoin, "node2", 2);
  EXPECT_TRUE(roomy.ok) << roomy.message;
  EXPECT_EQ(roomy.method, "rebuild");
  nodes_.clear();
  umount2(disk.c_str(), MNT_DETACH);
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
  // Nothing is wrong with them now: left as they are, unless a person wants a whole copy.
  const auto whole = [&](bool anew) {
    std::ofstream(b.data() + "/left-over") << "x";
    const DriverResult again = b.run(Verb::kRejoin, "node1", 1, anew);
    EXPECT_TRUE(again.ok) << again.message;
    EXPECT_TRUE(b.run(Verb::kFollow, "node1").ok);
    EXPECT_TRUE(caught_up(a, b));
    EXPECT_EQ(exists(b.data() + "/left-over"), !anew);
    return again.method;
  };
  EXPECT_EQ(whole(false), "follow");
  EXPECT_EQ(whole(true), "rebuild");
  const DriverResult backwards = a.run(Verb::kRejoin, "node2", 1, true);
  EXPECT_FALSE(backwards.ok);
  EXPECT_NE(backwards.message.find("node2 is not open for writing"), std::string::npos) << backwards.message;
}

/// Before the first checkpoint after its promotion the server counts itself as consistent from there on, and answers while it reads its own log.
TEST_F(Postgres, APrimaryThatCrashedSoonAfterItsPromotionShowsAllThatItHas) {
  Node& a = primary(1);
  ASSERT_EQ(a.value("CREATE TABLE t (i bigint, t text); SELECT 'ok'"), "ok");
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  ASSERT_EQ(b.value("INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 60000) i; SELECT 'ok'"), "ok");
  const Lsn written = b.observe().position.lsn;
  b.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kStart).ok);
  EngineReport first;
  ASSERT_TRUE(eventually([&] { return (first = b.observe()).state == EngineState::kStandby; }));
  EXPECT_GE(first.position.lsn, written) << "as soon as it has a position, it is that of all it has";
}

TEST_F(Postgres, AReplicaThatStreamsOnToAnotherTimelineLearnsWhoOpenedIt) {
  Node& a = primary(1);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  const EngineReport before = b.observe();
  EXPECT_EQ(before.opened_epoch, a.observe().opened_epoch);
  EXPECT_EQ(before.inherited, a.observe().opened);
  a.host.kill_all();
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(a.run(Verb::kPromote, "", 5).ok);
  EngineReport now;
  EXPECT_TRUE(eventually([&] { return (now = b.observe()).position.timeline > before.position.timeline && !now.inherited.empty(); })) << now.health;
  EXPECT_EQ(now.opened_epoch, Epoch{5});
  EXPECT_EQ(now.inherited, a.observe().opened);
  EXPECT_EQ(now.inherited_from, NodeId("node1"));
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

}  // namespace
}  // namespace daarion::postgres
