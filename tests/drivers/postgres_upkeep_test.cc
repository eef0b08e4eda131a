// What a daemon keeps up while its PostgreSQL runs, and what a person is told of it: what its host lacks, settings that stand in the way.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/fitness.h"
#include "tests/drivers/postgres_bed.h"

namespace daarion::postgres {
namespace {

/// The catalogs are the primary's; libraries and extensions are each host's own. Here both are on one host, so both lack the same.
TEST_F(Postgres, SaysWhatItsDataNeedAndItsHostDoesNotHave) {
  Node& a = primary(1);
  const std::string library = base_ + "/mine.so";
  fs::copy_file(a.value("SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'") + "/refint.so", library);
  ASSERT_TRUE(a.sql("CREATE DATABASE shop"));
  ASSERT_TRUE(a.sql("CREATE FUNCTION mine() RETURNS trigger AS '" + library + "', 'check_primary_key' LANGUAGE C", "shop"));
  ASSERT_TRUE(a.sql("SET allow_system_table_mods = on; INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) "
                    "VALUES (99999, 'postgis', 10, 2200, false, '3.3')", "shop"));
  fs::remove(library);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  set_up(b, {"shared_preload_libraries = 'pg_stat_statements, nowhere'", "max_connections = 150"});
  const std::vector<std::string> lacks = {"extension postgis (database shop)", "library " + library + " (database shop)"};
  EXPECT_TRUE(eventually([&] { return b.observe().lacks == lacks; })) << testing::PrintToString(b.observe().lacks);
  EXPECT_TRUE(eventually([&] { return a.observe().lacks == lacks; })) << testing::PrintToString(a.observe().lacks);
  EXPECT_TRUE(a.observe().problems.empty()) << testing::PrintToString(a.observe().problems);
  EXPECT_EQ(b.observe().problems, std::vector<std::string>{"a restart of PostgreSQL is pending, for max_connections, shared_preload_libraries"});
  EXPECT_TRUE(b.observe().blocked.empty());
}

TEST_F(Postgres, ProgramsThatAreGoneOrOfAnotherMajorVersionAreSaid) {
  Node& n = make(1);
  ASSERT_TRUE(n.run(Verb::kProvision).ok);
  const std::string folder = base_ + "/bin", version = std::to_string(major_of(n.data()));
  fs::create_directory(folder);
  std::ofstream(folder + "/postgres") << "#!/bin/sh\necho 'postgres (PostgreSQL) 9.6.24'\n";
  fs::permissions(folder + "/postgres", fs::perms(0755));
  const auto user = find_user(n.config.engine_user);
  ASSERT_TRUE(user);
  const Target server{.host = n.config.run_dir, .port = n.address().port, .user = kSuperuser, .password = ""};
  Fitness own, other, gone;
  const auto lack = [&](Fitness& fitness, const std::string& programs) {
    fitness.step(1, server, {programs, *user, ""}, n.data());
    return fitness.lacks().empty() ? "" : fitness.lacks()[0];
  };
  EXPECT_TRUE(eventually([&] {
    lack(own, *find_programs(0));
    return !lack(other, folder).empty() && !lack(gone, base_ + "/nowhere").empty();
  }));
  EXPECT_EQ(lack(own, *find_programs(0)), "");
  EXPECT_EQ(lack(other, folder), "the programs of PostgreSQL " + version + " in " + folder + ": those are of 9");
  EXPECT_NE(lack(gone, base_ + "/nowhere").find("/nowhere: cannot run " + base_ + "/nowhere/postgres"), std::string::npos) << lack(gone, base_ + "/nowhere");
}

TEST_F(Postgres, AStandbyThatHasLessOfASettingReplaysNoMoreAndSaysSo) {
  Node& a = primary(1);
  if (number_of(a.value("SHOW server_version_num")) < 140000) GTEST_SKIP() << "before 14 it ends";
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(b.sql("SELECT pg_wal_replay_pause()"));
  EXPECT_TRUE(eventually([&] { return says(b.observe().problems, "pg_wal_replay_resume()"); }));
  EXPECT_TRUE(b.observe().blocked.empty());
  ASSERT_TRUE(b.sql("SELECT pg_wal_replay_resume()"));
  EXPECT_TRUE(eventually([&] { return b.observe().problems.empty(); }));

  set_up(a, {"max_connections = 150"});
  ASSERT_TRUE(a.run(Verb::kStop).ok);
  ASSERT_TRUE(a.run(Verb::kStart).ok);
  ASSERT_TRUE(a.run(Verb::kPromote, "", 2).ok);
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 10) i; SELECT 'ok'"), "ok");
  EXPECT_TRUE(eventually([&] { return b.observe().blocked.find("max_connections is 100 here and 150 on its primary") != std::string::npos; })) << b.observe().blocked;
  EXPECT_EQ(b.observe().state, EngineState::kStandby);

  b.host.kill_all();
  const DriverResult fewer = b.run(Verb::kFollow, "node1", 2);
  EXPECT_FALSE(fewer.ok);
  EXPECT_NE(fewer.message.find("max_connections = 100 is a lower setting than on the primary server"), std::string::npos) << fewer.message;
  std::ofstream(b.data() + "/postgresql.auto.conf", std::ios::app) << "max_connections = 150\n";
  const DriverResult enough = b.run(Verb::kFollow, "node1", 2);
  ASSERT_TRUE(enough.ok) << enough.message;
  ASSERT_TRUE(caught_up(a, b));
  EXPECT_TRUE(b.observe().blocked.empty());
}

TEST_F(Postgres, ADaemonThatBeginsBesideItsEngineHasItReadItsSettings) {
  Node& a = primary(1);
  for (int i = 0; i < 5; ++i) a.observe();  // it has looked at all that it keeps up
  ASSERT_EQ(a.value("SHOW work_mem"), "4MB");
  std::ofstream(a.data() + "/postgresql.conf", std::ios::app) << "\nwork_mem = '7MB'\n";
  for (int i = 0; i < 5; ++i) a.observe();
  EXPECT_EQ(a.value("SHOW work_mem"), "4MB") << "nobody has asked for it";
  restart_daemon(a);
  EXPECT_TRUE(eventually([&] { return a.observe(), a.value("SHOW work_mem") == "7MB"; })) << a.value("SHOW work_mem");
}

}  // namespace
}  // namespace daarion::postgres
