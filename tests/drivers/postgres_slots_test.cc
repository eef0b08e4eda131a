// The members' replication slots, on real servers: what is kept for whom, for how long, and by whom after a failover.
#include <fstream>

#include "tests/drivers/postgres_bed.h"

namespace daarion::postgres {
namespace {

class PostgresSlots : public Postgres {};

/// A replica that is away holds back a bounded amount of the primary's log, then only a copy brings it back.
TEST_F(PostgresSlots, ASlotThatKeepsTooMuchIsSaidCutOffAndMadeAnew) {
  Node& a = primary(1);
  Node& b = replica(2);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(b.run(Verb::kStop).ok);
  set_up(a, {"max_slot_wal_keep_size = '128MB'", "wal_keep_size = 0", "max_wal_size = '32MB'", "min_wal_size = '32MB'"});
  const auto write_segments = [&](int n) {
    for (; n > 0; --n) ASSERT_EQ(a.value("SELECT pg_logical_emit_message(false, 'x', 'y'); SELECT pg_switch_wal(); SELECT 'ok'"), "ok");
  };
  write_segments(6);
  restart_daemon(a);
  const std::vector<std::string> near = a.observe().problems;
  EXPECT_TRUE(says(near, "slot daarion_node2 keeps ")) << testing::PrintToString(near);
  EXPECT_TRUE(says(near, " MB of WAL; beyond 128MB it is cut off, and node2 is copied anew")) << testing::PrintToString(near);
  write_segments(6);
  ASSERT_TRUE(a.sql("CHECKPOINT"));
  restart_daemon(a);
  const EngineReport gone = a.observe();
  ASSERT_EQ(gone.dropped_slots.size(), 2u) << "node3's too, which was never there";
  EXPECT_EQ(gone.dropped_slots[0].node, NodeId("node2"));
  EXPECT_EQ(gone.dropped_slots[0].slot, "daarion_node2");
  EXPECT_EQ(gone.dropped_slots[0].why, "it kept more WAL than max_slot_wal_keep_size (128MB): node2 is copied anew");
  EXPECT_EQ(a.value("SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'reserved'"), "2");
  EXPECT_TRUE(a.observe().dropped_slots.empty()) << "it is said once";
  const DriverResult back = b.run(Verb::kRejoin, "node1");
  ASSERT_TRUE(back.ok) << back.message;
  EXPECT_EQ(back.method, "rebuild");
  ASSERT_TRUE(b.run(Verb::kFollow, "node1").ok);
  ASSERT_TRUE(caught_up(a, b));
}

/// The cluster file names one more member, and the daemon is started again beside its running engine.
TEST_F(PostgresSlots, AMemberThatIsAddedIsLetInWithoutARestart) {
  Node& a = add(1);
  a.config.peers.resize(2);
  a.config.resource.members.resize(2);
  restart_daemon(a);
  for (const Verb verb : {Verb::kProvision, Verb::kStart, Verb::kPromote}) ASSERT_TRUE(a.run(verb).ok);
  a.observe();
  const std::string started = a.value("SELECT pg_postmaster_start_time()"), loaded = a.value("SELECT pg_conf_load_time()");
  const auto lines = [&] { return a.value("SELECT count(*) FROM pg_hba_file_rules WHERE address = '" + peers_[2].host + "'"); };
  EXPECT_EQ(lines(), "0");  // a refusal itself cannot be seen here: on the loopback every node comes from this host
  a.config.peers = peers_;
  a.config.resource.members.push_back(NodeId("node3"));
  restart_daemon(a);
  a.observe();
  EXPECT_TRUE(eventually([&] { return a.observe(), lines() == "2" && a.value("SELECT pg_conf_load_time()") != loaded; })) << lines();
  replica(3);
  EXPECT_EQ(a.value("SELECT pg_postmaster_start_time()"), started);
  EXPECT_EQ(a.value("SELECT active FROM pg_replication_slots WHERE slot_name = 'daarion_node3'"), "t");
}

/// One that is away while its primary is lost: the heir still has the WAL that it lacks, and nothing is copied.
TEST_F(PostgresSlots, TheHeirKeepsWhatItsFellowsLack) {
  Node& a = primary(1);
  Node& b = replica(2);
  Node& c = replica(3);
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(caught_up(a, c));
  const std::vector<std::string> small{"wal_keep_size = 0", "max_wal_size = '32MB'", "min_wal_size = '32MB'"};
  set_up(a, small);
  std::ofstream auto_conf(b.data() + "/postgresql.auto.conf", std::ios::app);
  for (const std::string& setting : small) auto_conf << setting << "\n";
  auto_conf.close();
  ASSERT_TRUE(b.sql("SELECT pg_reload_conf()"));
  const auto place_at_b = [&] { return b.value("SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'daarion_node3'"); };
  const auto look = [&] {
    restart_daemon(b);  // which looks at all that it keeps up
    b.observe();
  };
  look();
  EXPECT_EQ(b.value("SELECT string_agg(slot_name, ',') FROM pg_replication_slots"), "daarion_node3") << "neither its own nor its upstream's";
  // It goes on with the member.
  ASSERT_EQ(a.value("CREATE TABLE t AS SELECT generate_series(1, 1000) i; SELECT 'ok'"), "ok");
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(caught_up(a, c));
  const std::string here = a.value("SELECT pg_current_wal_lsn()");
  EXPECT_TRUE(eventually([&] {
    look();
    return b.value("SELECT restart_lsn >= " + quoted(here) + "::pg_lsn FROM pg_replication_slots WHERE slot_name = 'daarion_node3'") == "t";
  })) << place_at_b() << " of " << here;
  ASSERT_TRUE(c.run(Verb::kStop).ok);
  ASSERT_TRUE(caught_up(a, b));
  look();
  const std::string away = place_at_b();
  for (int i = 0; i < 8; ++i) ASSERT_EQ(a.value("INSERT INTO t VALUES (" + std::to_string(i) + "); SELECT pg_switch_wal(); SELECT 'ok'"), "ok");
  ASSERT_TRUE(a.sql("CHECKPOINT"));
  ASSERT_TRUE(caught_up(a, b));
  ASSERT_TRUE(b.sql("CHECKPOINT"));
  look();
  EXPECT_EQ(place_at_b(), away);
  a.host.kill_all();
  ASSERT_TRUE(b.run(Verb::kPromote, "", 2).ok);
  ASSERT_EQ(b.value("INSERT INTO t VALUES (8); SELECT pg_switch_wal(); CHECKPOINT; SELECT 'ok'"), "ok");
  b.observe();
  const DriverResult back = c.run(Verb::kRejoin, "node2", 2);
  ASSERT_TRUE(back.ok) << back.message;
  EXPECT_EQ(back.method, "follow");
  const DriverResult follows = c.run(Verb::kFollow, "node2", 2);
  ASSERT_TRUE(follows.ok) << follows.message;
  ASSERT_TRUE(eventually([&] { return c.observe().streaming; })) << c.observe().health;
  ASSERT_TRUE(caught_up(b, c));
  EXPECT_EQ(c.value("SELECT count(*) FROM t"), "1009");
  // A member that is no more: its slot goes where its upstream's has gone.
  Node& d = a;
  ASSERT_TRUE(d.run(Verb::kRejoin, "node2", 2).ok);
  ASSERT_TRUE(d.run(Verb::kFollow, "node2", 2).ok);
  ASSERT_TRUE(eventually([&] { return d.observe().streaming; })) << d.observe().health;
  restart_daemon(d);
  d.observe();
  EXPECT_EQ(d.value("SELECT string_agg(slot_name, ',') FROM pg_replication_slots"), "daarion_node3");
  d.config.resource.members.pop_back();
  restart_daemon(d);
  d.observe();
  EXPECT_EQ(d.value("SELECT count(*) FROM pg_replication_slots"), "0");
}

}  // namespace
}  // namespace daarion::postgres
