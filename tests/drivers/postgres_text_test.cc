// What the PostgreSQL driver reads and writes as text, without a server.
#include <gtest/gtest.h>

#include <cstdlib>

#include "controlplane/drivers/marker.h"
#include "controlplane/drivers/postgres/ancestry.h"
#include "controlplane/drivers/postgres/control.h"
#include "controlplane/drivers/postgres/settings.h"
#include "controlplane/drivers/registry.h"
#include "tests/drivers/postgres_bed.h"

namespace daarion::postgres {
namespace {

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
  for (const char* node : {"node1", "a-b", "a_b", "a-db", "a--b", "a_db", "a-_-b"}) EXPECT_EQ(node_of_slot(slot_of(NodeId(node))), NodeId(node));
  EXPECT_TRUE(node_of_slot("debezium").empty());
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
  using Read = std::pair<std::vector<NodeId>, std::uint32_t>;
  EXPECT_EQ(read_sync_names(R"(ANY 2 ("node2", "node-3"))"), (Read{{NodeId("node2"), NodeId("node-3")}, 2}));
  EXPECT_EQ(read_sync_names(sync_names(c.resource, {NodeId("node-3")}, 1)), (Read{{NodeId("node-3")}, 1}));
  EXPECT_EQ(read_sync_names(""), Read{});
  EXPECT_EQ(read_sync_names("node2"), Read{}) << "not of our writing";
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
  Lineage theirs = up;
  theirs.openings = {{3, {session(1), {7}, NodeId("node2")}}};
  own = {.identity = "7", .timeline = 3, .end = {700}, .history = {{1, {100}}, {2, {500}}}, .openings = {{3, {session(2), {9}, NodeId("node3")}}}};
  EXPECT_EQ(judge(own, theirs, never).kinship, Kinship::kSameNumber);
  theirs.writable = false;
  EXPECT_EQ(judge(own, theirs, never).kinship, Kinship::kBehind) << "ours may be the newer one";
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
