// Neo4j observed, against processes of our own that answer as it does (tests/standins/neo4j.cc). What is read and judged of every answer is in
// tests/unit/neo4j_picture_test.cc; the real Community is in neo4j_real_test.cc.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/drivers/black_hole.h"
#include "tests/drivers/neo4j_rig.h"

namespace daarion::neo4j {
namespace {

namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;
using std::chrono::seconds;
using test::eventually;
using test::ms_of;

constexpr double kMost = 2500;  // ms of a look: its time, and as much again where a connection takes it

class Neo4j : public test::Neo4jRig {
 protected:
  /// So many cores, and read replicas after them; observed, and well.
  void cluster(int cores, int replicas = 0) {
    for (int n = 1; n <= cores + replicas; ++n) start(n, n <= cores ? "core" : "read_replica");
    observe("causal-cluster", cores + replicas, replicas);
    ASSERT_TRUE(eventually([&] { return well(); })) << problems();
  }
  int leader() { return look().primary.empty() ? 0 : std::stoi(seen_.primary.value.substr(4)); }
  /// A server that is neither the primary nor a read replica.
  int other() const { return seen_.primary == node(1) ? 2 : 1; }
};

TEST_F(Neo4j, TheClusterIsToldWholeWithTheLeaderOfEveryDatabase) {
  cluster(3, 1);
  EXPECT_EQ(seen_.elected_by, "Neo4j's raft");
  const int first = leader();
  const std::string made = cypher(first, "system", "CREATE DATABASE docs");
  std::string leaders;
  ASSERT_TRUE(eventually([&] {
    leaders.clear();
    for (const MemberView& m : look().members) leaders += m.seen.role + "; ";
    return leaders.find("docs") != std::string::npos;
  })) << made << leaders;
  for (const MemberView& m : seen_.members) {
    EXPECT_EQ(m.seen.state, m.seen.node == seen_.primary ? EngineState::kPrimary : EngineState::kStandby);
    EXPECT_EQ(m.seen.version, "5.26.0 enterprise");
    EXPECT_EQ(m.seen.identity, member(1).seen.identity);
    EXPECT_NE(m.seen.identity, "");
  }
  EXPECT_EQ(member(4).seen.role, "read replica");
  EXPECT_TRUE(member(first).seen.role.starts_with("leader (")) << member(first).seen.role;
  // Transactions are counted, and a copy that takes none lags.
  knob(4, R"({"stuck":true})");
  const std::uint64_t before = member(first).position.lsn.value;
  for (int i = 0; i < 5; ++i) EXPECT_NE(cypher(first, "neo4j", "CREATE (n)").find(R"("errors":[])"), std::string::npos);
  ASSERT_TRUE(eventually([&] { return look(), member(other()).position.lsn.value == before + 5; }));
  EXPECT_TRUE(member(4).lag_known);
  EXPECT_EQ(member(4).lag_transactions, 5u);
  ASSERT_TRUE(eventually([&] { return look(), member(4).lag_ms >= 200; }));
  EXPECT_EQ(member(other()).lag_transactions, 0u);
  knob(4, R"({"stuck":false})");
  EXPECT_TRUE(eventually([&] { return look(), member(4).lag_transactions == 0u && member(4).lag_ms == 0; }));
  const auto moved = observer_->act({.id = 1, .resource = ResourceId("neo4j"), .from = seen_.primary, .to = node(other()), .repair = {}});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().remedy, Remedy::kStepDown);
}

TEST_F(Neo4j, ALeaderThatIsLostIsFollowedByAnother) {
  cluster(3);
  const int lost = leader();
  hosts_[lost].kill_all();
  ASSERT_TRUE(eventually([&] { return leader() != 0 && leader() != lost; })) << problems();
  EXPECT_EQ(member(lost).seen.state, EngineState::kUnresponsive);
  EXPECT_NE(member(lost).seen.health, "");
  // Of three, one is no majority.
  hosts_[leader()].kill_all();
  ASSERT_TRUE(eventually([&] { return leader() == 0; }));
  EXPECT_TRUE(eventually([&] { return look(), problems().find("neo4j has no leader") != std::string::npos; })) << problems();
  start(lost);
  EXPECT_TRUE(eventually([&] { return leader() != 0; })) << problems();
}

TEST_F(Neo4j, OneThatNamesAnotherLeaderIsNamed) {
  cluster(3);
  const std::string id = ask(other(), "PUT", "/stand-in", "{}").answer.body;
  const NodeId primary = seen_.primary;
  knob(other(), R"({"names_leader":)" + id + "}");
  look();
  EXPECT_EQ(seen_.primary, primary);
  EXPECT_NE(problems().find(node(other()).value + " names another leader of neo4j"), std::string::npos) << problems();
}

TEST_F(Neo4j, LateBrokenAndFrozenAnswersCostTheirTimeAndNoMore) {
  cluster(3);
  const int ill = other();
  const NodeId primary = seen_.primary;
  knob(ill, R"({"delay_ms":10000})");
  auto begun = Steady::now();
  EXPECT_EQ(look().primary, primary);
  EXPECT_LT(ms_of(begun), kMost);
  EXPECT_EQ(member(ill).seen.health, "GET / on " + node(ill).value + ": no answer in time");
  // It is there, and its queries are late: for a while its last word stands.
  knob(ill, R"({"delay_ms":0})");
  ASSERT_TRUE(eventually([&] { return well(); }));
  knob(ill, R"({"query_delay_ms":10000})");
  begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), kMost);
  EXPECT_EQ(member(ill).seen.health, "");
  ASSERT_TRUE(eventually([&] { return look(), !member(ill).seen.health.empty(); }));
  EXPECT_EQ(member(ill).seen.health, "GET / is answered, and what its databases are asked is not in time");
  EXPECT_GE(ms_of(begun), to_ms(kHeld) - 1000);
  EXPECT_EQ(member(ill).seen.state, EngineState::kUnresponsive);
  knob(ill, R"({"query_delay_ms":0,"status":500})");
  look();
  EXPECT_NE(member(ill).seen.health.find("answer 500, Neo.DatabaseError.General.UnknownError: as it was told"), std::string::npos) << member(ill).seen.health;
  knob(ill, R"({"status":0,"garbage":true})");
  look();
  EXPECT_NE(member(ill).seen.health.find("no JSON"), std::string::npos) << member(ill).seen.health;
  knob(ill, R"({"garbage":false})");
  hosts_[ill].stop(SIGSTOP);
  begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), kMost);
  EXPECT_EQ(member(ill).seen.state, EngineState::kUnresponsive);
  hosts_[ill].stop(SIGCONT);
  EXPECT_TRUE(eventually([&] { return well(); })) << problems();
}

TEST_F(Neo4j, OneThatAnswersAfterTenSecondsIsBackThen) {
  cluster(1);
  knob(1, R"({"delay_ms":10000})");
  look();
  EXPECT_TRUE(seen_.primary.empty());
  knob(1, R"({"delay_ms":0})");
  EXPECT_TRUE(eventually([&] { return well(); })) << problems();
}

TEST_F(Neo4j, ABlackHoleCostsItsTimeAndNoMore) {
  const test::BlackHole hole(address(1), port_);
  observe("causal-cluster", 1);
  const auto begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), kMost);
  EXPECT_EQ(member(1).seen.state, EngineState::kUnresponsive);
  EXPECT_NE(member(1).seen.health, "");
}

TEST_F(Neo4j, AWrongPasswordIsSaidAndNotShown) {
  cluster(1);
  setenv("NEO4J_PASSWORD", "another-password", 1);
  observe("causal-cluster", 1);
  look();
  EXPECT_NE(member(1).seen.health.find("it refuses the password of neo4j (401, Neo.ClientError.Security.Unauthorized: Invalid credential.)"),
      std::string::npos) << member(1).seen.health;
  EXPECT_EQ((member(1).seen.health + problems()).find("another-password"), std::string::npos);
  EXPECT_EQ(member(1).seen.state, EngineState::kUnresponsive) << "who is not let in reaches nothing: another node may";
  setenv("NEO4J_PASSWORD", kPassword, 1);
  knob(1, R"({"expired":true})");
  observe("causal-cluster", 1);
  look();
  EXPECT_NE(member(1).seen.health.find("must be changed before it is used"), std::string::npos) << member(1).seen.health;
}

TEST_F(Neo4j, WhatDiffersIsNamed) {
  cluster(3, 1);
  const int odd = other();
  knob(odd, R"({"version":"5.13.0","store":"0123456789ABCDEF","state":"Cordoned","unhealthy":true})");
  look();
  EXPECT_NE(problems().find("versions differ: 5.13 on " + node(odd).value), std::string::npos) << problems();
  EXPECT_NE(problems().find(node(odd).value + ": its neo4j has other data than the leader's"), std::string::npos) << problems();
  EXPECT_NE(problems().find(node(odd).value + " is Cordoned"), std::string::npos) << problems();
  EXPECT_NE(member(odd).seen.health.find("has met an error"), std::string::npos);
  EXPECT_EQ(member(odd).seen.identity, "0123456789ABCDEF");
  // Before 5: other columns, other roles, no SHOW SERVERS.
  knob(odd, R"({"version":"4.4.38","store":null,"state":"Enabled","unhealthy":false})");
  look();
  EXPECT_NE(problems().find("4.4 on " + node(odd).value), std::string::npos) << problems();
  EXPECT_EQ(member(odd).seen.health, "");
  EXPECT_TRUE(member(odd).lag_known);
  knob(odd, R"({"version":"5.26.0","unknown_rows":true})");
  look();
  EXPECT_NE(member(odd).seen.health.find("no row of "), std::string::npos) << member(odd).seen.health;
  knob(odd, R"({"unknown_rows":false,"edition":"community"})");
  look();
  EXPECT_NE(problems().find("Neo4j Community on " + node(odd).value + " beside Enterprise"), std::string::npos) << problems();
}

TEST_F(Neo4j, CommunityIsOneInstanceThatIsWatchedAndBlocksNothing) {
  for (int n = 1; n <= 2; ++n) start(n, "core", "community");
  observe("causal-cluster", 2);
  ASSERT_TRUE(eventually([&] { return look().primary == node(1) && member(2).seen.state == EngineState::kStandby; })) << problems();
  EXPECT_NE(problems().find("Neo4j Community: clustering needs Enterprise. node1's is managed as one instance"), std::string::npos) << problems();
  EXPECT_NE(problems().find("nobody copies to node2"), std::string::npos) << problems();
  EXPECT_EQ(seen_.elected_by, "nobody (one instance)");
  EXPECT_NE(member(1).seen.identity, member(2).seen.identity);
  EXPECT_EQ(member(1).position.lsn.value, 3u) << "by its bookmark: Community says it nowhere else";
  for (int i = 0; i < 300; ++i) cypher(1, "neo4j", "CREATE (n)");
  look();
  EXPECT_EQ(member(1).position.lsn.value, 303u);
  // It is restarted, then comes back empty: another identity.
  const std::string identity = member(1).seen.identity;
  hosts_[1].kill_all();
  look();
  EXPECT_TRUE(seen_.primary.empty());
  EXPECT_EQ(seen_.elected_by, "nobody (one instance)");
  EXPECT_EQ(member(1).seen.role, "instance");
  start(1, "core", "community");
  ASSERT_TRUE(eventually([&] { return look().primary == node(1); }));
  EXPECT_EQ(member(1).seen.identity, identity);
  EXPECT_EQ(member(1).position.lsn.value, 303u);
  hosts_[1].kill_all();
  fs::remove_all(home(1) + "/data");
  start(1, "core", "community");
  ASSERT_TRUE(eventually([&] { return look().primary == node(1); }));
  EXPECT_NE(member(1).seen.identity, identity);
}

TEST_F(Neo4j, Community44IsRead) {
  start(1, "core", "community", "4.4.38");
  observe("single", 1);
  ASSERT_TRUE(eventually([&] { return well(); })) << problems();
  EXPECT_EQ(member(1).seen.version, "4.4.38 community");
  EXPECT_EQ(member(1).position.lsn.value, 0u) << "4.4 tells no transaction";
}

// ---- dumps
class Neo4jDumps : public Neo4j {
 protected:
  /// A period so short that one is always due; the hour is this one.
  std::map<std::string, std::string> every_period(const std::string& script, const std::string& file = "") {
    const std::string path = base_ + "/dump.sh";
    std::ofstream(path) << "#!/bin/sh\n" << script;
    chmod(path.c_str(), 0755);
    return {{"dump_exec", path + " " + base_}, {"dump_file", file}, {"dump_every_ms", "1000"}, {"dump_at_ms", "0"}, {"dump_timeout_ms", "500"},
        {"dump_max_age_ms", "1500"}};
  }
  DumpRecord kept() { return dump_record(read(base_ + "/state/neo4j/dump.json")); }
  static std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(Neo4jDumps, AreTakenWhenTheyAreDueAndToldByTheirNode) {
  start(1, "core", "community");
  observe("single", 1, 0, every_period("echo $DAARION_NODE >> $1/dumped\n", base_ + "/dumped"));
  ASSERT_TRUE(eventually([&] { return look(), member(1, kDumpRole).seen.identity.size() > 0; }));
  EXPECT_EQ(member(1, kDumpRole).seen.health, "");
  EXPECT_EQ(member(1, kDumpRole).seen.identity, utc_text(kept().succeeded));
  ASSERT_TRUE(eventually([&] { return look(), read(base_ + "/dumped") == "node1\nnode1\n"; })) << read(base_ + "/dumped");
  // Elsewhere nothing is begun, and nothing known; in maintenance nothing is begun.
  observe("single", 1, 0, every_period("echo other >> $1/dumped\n"), 2);
  look();
  EXPECT_EQ(member(1, kDumpRole).seen.state, EngineState::kUnknown);
  observe("single", 1, 0, every_period("echo other >> $1/dumped\n"), 1);
  observer_->told({{node(1), MemberIntent::kMaintenance}});
  const DumpRecord before = kept();
  ASSERT_TRUE(eventually([&] { return look(), !member(1, kDumpRole).seen.health.empty(); }));
  EXPECT_NE(member(1, kDumpRole).seen.health.find("the newest dump is of " + utc_text(before.succeeded) + ", older than 0 min"), std::string::npos) << member(1, kDumpRole).seen.health;
  EXPECT_EQ(kept(), before);
}

TEST_F(Neo4jDumps, ThatFailHangOrWriteNothingAreSaid) {
  start(1, "core", "community");
  const auto trouble = [&](const std::string& what) {
    return eventually([&] { return look(), member(1, kDumpRole).seen.health.find(what) != std::string::npos; });
  };
  observe("single", 1, 0, every_period("echo Dump failed for databases: neo4j >&2; exit 1\n"));
  EXPECT_TRUE(trouble("failed: exit code 1; Dump failed for databases: neo4j")) << member(1, kDumpRole).seen.health;
  EXPECT_EQ(seen_.primary, node(1)) << "it blocks nothing";
  observe("single", 1, 0, every_period("true\n", base_ + "/nothing"));
  EXPECT_TRUE(trouble("it ended well, and " + base_ + "/nothing is not there")) << member(1, kDumpRole).seen.health;
  std::ofstream(base_ + "/old") << "x";
  fs::last_write_time(base_ + "/old", fs::file_time_type::clock::now() - std::chrono::hours(1));
  observe("single", 1, 0, every_period("true\n", base_ + "/old"));
  EXPECT_TRUE(trouble(base_ + "/old is of ")) << member(1, kDumpRole).seen.health;
  observe("single", 1, 0, every_period("sleep 30\n"));
  const auto begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), kMost);
  EXPECT_TRUE(trouble("killed, not done in time")) << member(1, kDumpRole).seen.health;
}

TEST_F(Neo4jDumps, AnInstanceThatIsStoppedForItsDumpIsNotIll) {
  start(1, "core", "community");
  observe("single", 1, 0, every_period("while [ ! -e $1/go ]; do sleep 0.02; done\n"));
  ASSERT_TRUE(eventually([&] { return look(), kept().begun > 0 && kept().ended < kept().begun; }));
  hosts_[1].kill_all();
  look();
  EXPECT_EQ(member(1).seen.health.substr(0, 34), "stopped for the dump that began at") << member(1).seen.health;
  std::ofstream(base_ + "/go") << "x";
  EXPECT_TRUE(eventually([&] { return look(), !member(1, kDumpRole).seen.identity.empty(); })) << member(1, kDumpRole).seen.health;
}

TEST_F(Neo4jDumps, AnEnterpriseClusterHasNone) {
  for (int n = 1; n <= 3; ++n) start(n);
  observe("causal-cluster", 3, 0, every_period("touch $1/dumped\n"));
  ASSERT_TRUE(eventually([&] { return well(); })) << problems();
  EXPECT_EQ(seen_.members.size(), 3u);
  EXPECT_FALSE(fs::exists(base_ + "/dumped"));
}

}  // namespace
}  // namespace daarion::neo4j
