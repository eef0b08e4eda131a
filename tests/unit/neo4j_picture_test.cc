// What is read of Neo4j's answers, the one picture that is made of many words, and when a dump is due: values in, values out.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "controlplane/drivers/neo4j/client.h"
#include "controlplane/drivers/neo4j/neo4j_observer.h"

namespace daarion::neo4j {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

const Instant kNow{hours(1)};
NodeId node(std::size_t n) { return NodeId("node" + std::to_string(n)); }
std::string id_of(std::size_t n) { return "server-" + std::to_string(n); }

/// A cluster of `cores` cores and node4 as a read replica, that node n is part of. All databases are led by node1 but docs, which node2 leads.
Word word(std::size_t n, std::size_t cores = 3, std::uint64_t transaction = 100) {
  Word w{.node = node(n), .reached = true, .version = "5.26.0", .edition = "enterprise", .bolt = "10.0.0." + std::to_string(n) + ":7687", .clustered = true};
  for (const char* database : {"neo4j", "docs", "system"}) {
    Raft raft{.member = id_of(n), .leader = id_of(std::string(database) == "docs" ? 2 : 1), .voters = {}, .core = n <= cores};
    for (std::size_t i = 1; i <= cores; ++i) raft.voters.insert(id_of(i));
    w.copies[database] = {.id = std::string(database) + "-data", .role = "primary", .kind = "standard", .requested = "online", .current = "online", .message = {},
                          .is_default = std::string(database) == "neo4j", .transaction = transaction, .raft = raft};
  }
  w.whole = true;
  return w;
}
Word silent(std::size_t n) { return {.node = node(n), .reached = false, .error = "no answer in time"}; }
Word community(std::size_t n) {
  Word w{.node = node(n), .reached = true, .version = "5.26.0", .edition = "community", .bolt = "10.0.0.1:7687"};
  w.copies["neo4j"] = {.id = "A" + std::to_string(n), .role = "primary", .kind = "standard", .requested = "online", .current = "online", .message = {}, .writer = true, .is_default = true, .transaction = 6};
  w.whole = true;
  return w;
}
Declared declared(std::size_t cores = 3, bool replica = true) {
  Declared d;
  for (std::size_t n = 1; n <= cores; ++n) d.cores.push_back(node(n));
  if (replica) d.read_replicas.push_back(node(4));
  for (std::size_t n = 1; n <= 4; ++n) d.addresses[node(n)] = "10.0.0." + std::to_string(n);
  d.max_lag = seconds(30);
  return d;
}
Picture seen(const Declared& d, std::vector<Word> words, History h = {}, Instant now = kNow) {
  const auto believed = believe(h, std::move(words), now);
  return picture_of(d, believed, h, now);
}
std::string says(const Picture& p, const std::string& code = "") {
  std::string out;
  for (const Problem& problem : p.problems)
    if (code.empty() || problem.code == code) out += problem.code + ": " + problem.text + "\n";
  return out;
}
const MemberView& member(const Picture& p, std::size_t n) { return *std::ranges::find_if(p.members, [&](const MemberView& m) { return m.seen.node == node(n); }); }

// ---- what the real servers answered (Community 5.26.0 and 4.4.38), and what is published of Enterprise
constexpr const char* kRoot5 =
    R"({"bolt_routing":"neo4j://10.0.0.1:7687","query":"http://10.0.0.1:7474/db/{databaseName}/query/v2","transaction":"http://10.0.0.1:7474/db/{databaseName}/tx","bolt_direct":"bolt://10.0.0.1:7687","neo4j_version":"5.26.0","neo4j_edition":"community"})";
constexpr const char* kDatabases5 =
    R"({"results":[{"columns":["name","type","aliases","access","databaseID","serverID","address","role","writer","requestedStatus","currentStatus","statusMessage","default","home","currentPrimariesCount","currentSecondariesCount","requestedPrimariesCount","requestedSecondariesCount","creationTime","lastStartTime","lastStopTime","store","lastCommittedTxn","replicationLag","constituents","options"],"data":[{"row":["neo4j","standard",[],"read-write","DBD6C8FB","34cfab5d-5ef7-471e-9dbf-73f0c0a806c0","localhost:7687","primary",true,"online","online","",true,true,1,0,null,null,"2026-11-26T22:36:27.997Z","2026-11-26T22:36:27.997Z",null,"record-aligned-1.1",null,0,[],{}],"meta":[]},{"row":["system","system",[],"read-write","537351D1","34cfab5d-5ef7-471e-9dbf-73f0c0a806c0","localhost:7687","primary",true,"online","online","",false,false,1,0,null,null,"2026-11-26T22:36:27.997Z","2026-11-26T22:36:27.997Z",null,"record-aligned-1.1",null,0,[],{}],"meta":[]}]}],"errors":[],"lastBookmarks":["FB:kcwQAAAAAAAAAAAAAAAAAAAAASqQ"]})";
constexpr const char* kDatabases4 =
    R"({"results":[{"columns":["name","aliases","access","databaseID","serverID","address","role","requestedStatus","currentStatus","error","default","home","lastCommittedTxn","replicationLag"],"data":[{"row":["neo4j",[],"read-write","6EF5F4D9","1cd1cf63-e418-4676-a5d8-b3d360e7041a","localhost:7687","standalone","online","online","",true,true,null,0],"meta":[]}]}],"errors":[]})";
constexpr const char* kStatus =
    R"([{"databaseName":"neo4j","databaseUuid":"f4dacc01","databaseStatus":{"lastAppliedRaftIndex":-1,"votingMembers":["0cff51ad","90ff5df1","99ca7cd0"],"memberId":"90ff5df1","leader":"0cff51ad","millisSinceLastLeaderMessage":0,"raftCommandsPerSecond":0.0,"core":true,"participatingInRaftGroup":true,"healthy":true}},{"databaseName":"system","databaseUuid":"00000000-0000-0000-0000-000000000001","databaseStatus":{"lastAppliedRaftIndex":7,"votingMembers":[],"memberId":"90ff5df1","leader":null,"core":false,"participatingInRaftGroup":false,"isHealthy":false}}])";

TEST(Neo4jAnswers, OfARealCommunityAreRead) {
  Word w;
  ASSERT_TRUE(read_discovery(kRoot5, w));
  EXPECT_EQ(w.version, "5.26.0");
  EXPECT_EQ(w.edition, "community");
  EXPECT_EQ(w.bolt, "10.0.0.1:7687");
  ASSERT_TRUE(read_databases(kDatabases5, w));
  ASSERT_EQ(w.copies.size(), 2u);
  const Copy& home = w.copies.at("neo4j");
  EXPECT_EQ(home, (Copy{.id = "DBD6C8FB", .role = "primary", .kind = "standard", .requested = "online", .current = "online", .message = "", .writer = true, .is_default = true,
                        .transaction = {}, .raft = {}}));
  EXPECT_FALSE(w.copies.at("system").is_default);
  // 4.4 has other columns, and roles of its own.
  Word old{.bolt = "10.0.0.4:7687"};
  ASSERT_TRUE(read_databases(kDatabases4, old));
  EXPECT_TRUE(old.copies.at("neo4j").writer);
  EXPECT_TRUE(old.copies.at("neo4j").is_default);
}

TEST(Neo4jAnswers, ABookmarkTellsTheNewestTransaction) {
  EXPECT_EQ(transaction_in(R"({"lastBookmarks":["FB:kcwQeteWdKsITFazZAKaLvLgPAaQ"]})"), 6u);
  EXPECT_EQ(transaction_in(R"({"lastBookmarks":["FB:kcwQAAAAAAAAAAAAAAAAAAAAASqQ"]})"), 42u);
  for (const char* none : {R"({"results":[]})", R"({"lastBookmarks":[]})", R"({"lastBookmarks":["neo4j:bookmark:v1:tx42"]})", R"({"lastBookmarks":["FB:kcwQ"]})",
                           R"({"lastBookmarks":[7]})", "no JSON"})
    EXPECT_FALSE(transaction_in(none)) << none;
}

TEST(Neo4jAnswers, OfAClusterAreReadRowByRow) {
  Word w{.version = "5.26.0", .edition = "enterprise", .bolt = "10.0.0.2:7687"};
  ASSERT_TRUE(read_status(kStatus, w));
  EXPECT_TRUE(w.clustered);
  EXPECT_EQ(w.copies.at("neo4j").raft->leader, "0cff51ad");
  EXPECT_EQ(w.copies.at("neo4j").raft->voters.size(), 3u);
  EXPECT_TRUE(w.copies.at("neo4j").raft->healthy);
  EXPECT_EQ(w.copies.at("system").raft->leader, "");
  EXPECT_FALSE(w.copies.at("system").raft->healthy);
  EXPECT_FALSE(w.copies.at("system").raft->core);
  const auto rows = [](const std::string& of) {
    return R"({"results":[{"columns":["name","databaseID","serverID","address","role","requestedStatus","currentStatus","lastCommittedTxn","default"],"data":[)" + of + R"(]}],"errors":[]})";
  };
  // Its own row by the id of the server, else by the address; never another's.
  ASSERT_TRUE(read_databases(rows(R"({"row":["neo4j","X","0cff51ad","10.0.0.1:7687","primary","online","online",2342,true]},
                                     {"row":["neo4j","X","90ff5df1","10.9.9.9:7687","primary","online","online",2341,true]},
                                     {"row":["system","Y","a name","10.0.0.2:7687","secondary","online","online",40,false]})"), w));
  EXPECT_EQ(w.copies.at("neo4j").transaction, 2341u);
  EXPECT_TRUE(w.copies.at("neo4j").raft.has_value());
  EXPECT_EQ(w.copies.at("system").transaction, 40u);
  EXPECT_EQ(w.error, "");
  ASSERT_TRUE(read_databases(rows(R"({"row":["neo4j","X","other","10.0.0.1:7687","primary","online","online",2342,true]})"), w));
  EXPECT_TRUE(w.copies.empty());
  EXPECT_NE(w.error.find("no row of neo4j has its server id (90ff5df1) or its address (10.0.0.2:7687)"), std::string::npos) << w.error;
  ASSERT_TRUE(read_servers(R"({"results":[{"columns":["serverId","name","address","state","health"],"data":[{"row":["0cff51ad","server1","10.0.0.1:7687","Enabled","Available"]},{"row":["72bd","s3",null,"Free","Unavailable"]}]}],"errors":[]})", w));
  EXPECT_EQ(w.servers.at(0), (Server{"0cff51ad", "server1", "10.0.0.1:7687", "Enabled", "Available"}));
  EXPECT_EQ(w.servers.at(1).address, "");
}

TEST(Neo4jAnswers, ThatCannotBeReadSayWhyAndLeaveTheWordAsItWas) {
  const Word before{.version = "5.1"};
  for (const char* text : {"", "<html>", "[]", "{}", R"({"neo4j_version":5,"neo4j_edition":"x"})", R"({"results":[]})", R"({"results":[{"columns":["name"],"data":[{"row":["a","b"]}]}]})",
                           R"({"results":[{"columns":["name"],"data":[{"row":["a"]}]}]})", R"([{"databaseName":"a"}])", R"([{"databaseName":"a","databaseStatus":{"memberId":7}}])"}) {
    Word w = before;
    EXPECT_FALSE(read_discovery(text, w)) << text;
    EXPECT_FALSE(read_databases(text, w)) << text;
    EXPECT_FALSE(read_servers(text, w)) << text;
    if (std::string(text) != "[]") {
      EXPECT_FALSE(read_status(text, w)) << text;
    }
    EXPECT_EQ(w.copies, before.copies) << text;
    EXPECT_EQ(w.version, before.version) << text;
  }
  EXPECT_EQ(error_in(R"({"errors":[{"code":"Neo.ClientError.Security.Unauthorized","message":"Invalid credential."}]})"), "Neo.ClientError.Security.Unauthorized: Invalid credential.");
  EXPECT_EQ(error_in(R"({"results":[],"errors":[]})"), "");
}

/// A text of half a letter cannot be read again from the log.
TEST(Neo4jAnswers, OnlyPlainTextGetsIntoAnEvent) {
  EXPECT_EQ(plain_text("na\xc3\xafve\xff\x01 \"x\"\r\nmore", 160), "na??ve?? \"x\"");
  EXPECT_EQ(plain_text("abc", 2), "ab");
  EXPECT_EQ(error_in("\xff\xfe <html>"), "?? <html>");
  Word w;
  ASSERT_TRUE(read_discovery(R"({"neo4j_version":"5.é","neo4j_edition":"Community"})", w));
  EXPECT_EQ(w.version, "5.??");
  EXPECT_EQ(w.edition, "community");
}

RC_GTEST_PROP(Neo4jAnswers, NoTextBreaksTheReaders, (const std::string& noise)) {
  const std::string good[] = {kRoot5, kDatabases5, kStatus};
  for (const std::string& text : good) {
    std::string broken = text;
    const auto at = *rc::gen::inRange<std::size_t>(0, broken.size());
    broken.replace(at, std::min<std::size_t>(noise.size(), broken.size() - at), noise);
    Word w;
    (void)read_discovery(broken, w);
    (void)read_status(broken, w);
    (void)read_databases(broken, w);
    (void)read_servers(broken, w);
    (void)transaction_in(broken);
    (void)error_in(broken);
  }
}

// ---- a cluster
TEST(Neo4jPicture, EveryDatabaseHasALeaderOfItsOwn) {
  const Picture p = seen(declared(), {word(1), word(2), word(3), word(4)});
  EXPECT_EQ(says(p), "");
  EXPECT_EQ(p.primary, node(1));
  EXPECT_EQ(p.leaders, (std::map<std::string, NodeId>{{"docs", node(2)}, {"neo4j", node(1)}, {"system", node(1)}}));
  EXPECT_EQ(p.elected_by, "Neo4j's raft");
  EXPECT_EQ(member(p, 1).seen.role, "leader (neo4j, system)");
  EXPECT_EQ(member(p, 1).seen.state, EngineState::kPrimary);
  EXPECT_EQ(member(p, 2).seen.role, "core (leads docs)");
  EXPECT_EQ(member(p, 3).seen.role, "core");
  EXPECT_EQ(member(p, 4).seen.role, "read replica");
  EXPECT_EQ(member(p, 4).seen.version, "5.26.0 enterprise");
  EXPECT_EQ(member(p, 4).seen.identity, "neo4j-data");
  EXPECT_EQ(member(p, 4).position.lsn.value, 100u);
  for (const MemberView& m : p.members) EXPECT_EQ(m.seen.health, "") << m.seen.node.value;
}

TEST(Neo4jPicture, ALeaderIsOneWhomAMajorityNames) {
  // node1 was cut off, and still takes itself for the leader.
  std::vector<Word> words{word(1), word(2), word(3)};
  for (std::size_t i : {1u, 2u}) words[i].copies["neo4j"].raft->leader = id_of(3);
  Picture p = seen(declared(3, false), words);
  EXPECT_EQ(p.primary, node(3));
  EXPECT_NE(says(p, "views_differ").find("node1 names another leader of neo4j"), std::string::npos) << says(p);
  // Where only that one answers, nobody is believed.
  p = seen(declared(3, false), {word(1), silent(2), silent(3)});
  EXPECT_TRUE(p.primary.empty());
  EXPECT_NE(says(p, "no_majority").find("neo4j: 1 of 3 voters"), std::string::npos) << says(p);
  // Two of two cores are needed.
  words = {word(1, 2), silent(2)};
  words[0].copies["neo4j"].raft->leader = "";
  p = seen(declared(2, false), words);
  EXPECT_TRUE(p.primary.empty());
  EXPECT_NE(says(p, "no_leader").find("neo4j has no leader: node1 knows none"), std::string::npos) << says(p);
  // A majority names one that does not answer here.
  p = seen(declared(3, false), {silent(1), word(2), word(3)});
  EXPECT_TRUE(p.primary.empty());
  EXPECT_NE(says(p, "leader_away").find("neo4j is led by server server-1"), std::string::npos) << says(p);
  EXPECT_EQ(p.leaders.at("docs"), node(2));
}

TEST(Neo4jPicture, WhatIsNotAsDeclaredIsNamed) {
  std::vector<Word> words{word(1), word(2), word(3), word(4)};
  words[3].copies["neo4j"].raft->core = true;
  words[2].copies["neo4j"].raft->core = false;
  words[2].version = "5.13.0";
  words[1].copies["neo4j"].id = "something else";
  words[1].copies["docs"].current = "quarantined";
  words[1].copies["docs"].message = "By operator";
  words[0].copies["neo4j"].raft->voters.erase(id_of(2));
  words[0].servers = {{.id = id_of(1), .name = "a", .address = "10.0.0.1:7687", .state = "Enabled", .health = {}}, {.id = id_of(2), .name = "b", .address = "10.0.0.2:7687", .state = "Free", .health = {}},
                      {.id = "server-9", .name = "nine", .address = "10.0.0.9:7687", .state = "Enabled", .health = {}}};
  const Picture p = seen(declared(), words);
  EXPECT_NE(says(p, "role_differs").find("node3 is declared as a core, and is a read replica of neo4j"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "role_differs").find("node4 is declared as a read replica, and votes"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "versions_differ").find("5.13 on node3, 5.26 on node1, node2, node4"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "other_store").find("node2: its neo4j has other data than the leader's (somethin, not neo4j-da)"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "not_online").find("docs on node2 is quarantined: By operator"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "no_vote").find("node2 does not vote for neo4j"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "not_enabled").find("node2 is not enabled: ENABLE SERVER 'server-2'"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "stranger").find("server nine at 10.0.0.9:7687 is on none of the declared nodes"), std::string::npos) << says(p);
  words = {word(1), word(2), word(3), word(4)};
  words[2].clustered = false;
  for (auto& [name, copy] : words[2].copies) copy.raft.reset();
  EXPECT_NE(says(seen(declared(), words), "not_clustered").find("node3"), std::string::npos);
}

TEST(Neo4jPicture, IllnessIsAMembersHealth) {
  std::vector<Word> words{word(1), word(2), word(3), silent(4)};
  words[1].copies["neo4j"].current = "dirty";
  words[1].copies["neo4j"].message = "An error occurred! Unable to start database";
  words[2].copies["docs"].raft->healthy = false;
  const Picture p = seen(declared(), words);
  EXPECT_EQ(member(p, 2).seen.health, "neo4j is dirty: An error occurred! Unable to start database");
  EXPECT_EQ(member(p, 3).seen.health, "its docs has met an error and cannot write; see its log");
  EXPECT_EQ(member(p, 4).seen.health, "no answer in time");
  EXPECT_EQ(member(p, 4).seen.state, EngineState::kUnresponsive);
  EXPECT_EQ(p.primary, node(1));
}

TEST(Neo4jPicture, LagIsCountedInTransactionsAndItsTimeMeasured) {
  History h;
  const Declared d = declared();
  const auto look = [&](std::uint64_t leader, std::uint64_t replica, Instant now) {
    const auto words = believe(h, {word(1, 3, leader), word(2, 3, leader), word(3, 3, leader), word(4, 3, replica)}, now);
    const Picture p = picture_of(d, words, h, now);
    remember_heads(h, p, words, now);
    return p;
  };
  Picture p = look(100, 100, kNow);
  EXPECT_TRUE(member(p, 4).lag_known);
  EXPECT_EQ(member(p, 4).lag_transactions, 0u);
  EXPECT_EQ(member(p, 4).lag_ms, 0u);
  look(105, 100, kNow + seconds(1));
  p = look(110, 102, kNow + seconds(5));
  EXPECT_EQ(member(p, 4).lag_transactions, 8u);
  EXPECT_EQ(member(p, 4).lag_ms, 4000u) << "it lacks 103 to 105, which the leader had at 1 s";
  p = look(110, 106, kNow + seconds(20));
  EXPECT_EQ(member(p, 4).lag_ms, 15'000u) << "it has what there was at 1 s, and not what there was at 5 s";
  EXPECT_EQ(says(p, "lags"), "");
  p = look(110, 106, kNow + seconds(36));
  EXPECT_NE(says(p, "lags").find("node4 lags in neo4j for longer than 30 s"), std::string::npos) << says(p);
  // Another leader has less: what was measured is nothing any more.
  p = look(50, 50, kNow + seconds(40));
  p = look(50, 50, kNow + seconds(41));
  EXPECT_EQ(member(p, 4).lag_ms, 0u);
  EXPECT_FALSE(member(p, 1).lag_known && member(p, 1).lag_transactions.value_or(0) > 0);
}

TEST(Neo4jPicture, OneThatIsLateIsTakenAtItsLastWordForAWhile) {
  History h;
  const Declared d = declared(3, false);
  believe(h, {word(1), word(2), word(3)}, kNow);
  Word late{.node = node(1), .reached = true, .late = true, .error = "POST /db/system/tx/commit on node1: no answer in time", .version = "5.26.0", .edition = "enterprise"};
  auto words = believe(h, {late, word(2), word(3)}, kNow + seconds(4));
  EXPECT_EQ(picture_of(d, words, h, kNow + seconds(4)).primary, node(1));
  words = believe(h, {late, word(2), word(3)}, kNow + kHeld);
  const Picture p = picture_of(d, words, h, kNow + kHeld);
  EXPECT_EQ(member(p, 1).seen.state, EngineState::kUnresponsive);
  EXPECT_NE(member(p, 1).seen.health.find("no answer in time"), std::string::npos);
  // One that is gone, or another version, is not.
  EXPECT_FALSE(believe(h, {silent(1)}, kNow + seconds(1))[0].reached);
  late.version = "5.27.0";
  EXPECT_FALSE(believe(h, {late}, kNow + seconds(1))[0].whole);
}

TEST(Neo4jPicture, NobodyAnswers) {
  const Picture p = seen(declared(), {silent(1), silent(2), silent(3), silent(4)});
  EXPECT_TRUE(p.primary.empty());
  EXPECT_NE(says(p, "nobody_answers"), "");
  EXPECT_EQ(p.members.size(), 4u);
  EXPECT_EQ(p.elected_by, "Neo4j's raft");
}

// ---- Community
TEST(Neo4jPicture, CommunityIsOneInstanceAndSaysSo) {
  Picture p = seen(declared(2), {community(1), community(2), silent(4)});
  EXPECT_TRUE(p.community);
  EXPECT_EQ(p.primary, node(1));
  EXPECT_EQ(p.elected_by, "nobody (one instance)");
  EXPECT_NE(says(p, "community").find("clustering needs Enterprise. node1's is managed as one instance"), std::string::npos) << says(p);
  EXPECT_NE(says(p, "community").find("nobody copies to node2"), std::string::npos) << says(p);
  EXPECT_EQ(member(p, 1).seen.role, "instance");
  EXPECT_EQ(member(p, 1).seen.state, EngineState::kPrimary);
  EXPECT_EQ(member(p, 1).position.lsn.value, 6u);
  EXPECT_FALSE(member(p, 2).lag_known);
  // Also while it is stopped: what it was stays known.
  History h;
  believe(h, {community(1), community(2)}, kNow);
  p = seen(declared(2, false), {silent(1), silent(2)}, h);
  EXPECT_TRUE(p.community);
  EXPECT_TRUE(p.primary.empty());
  EXPECT_EQ(member(p, 1).seen.role, "instance");
  EXPECT_NE(says(p, "community"), "");
  // Beside an Enterprise it is what is wrong.
  p = seen(declared(3, false), {word(1), word(2), community(3)});
  EXPECT_FALSE(p.community);
  EXPECT_EQ(p.primary, node(1));
  EXPECT_NE(says(p, "editions_differ").find("Community on node3 beside Enterprise on node1, node2"), std::string::npos) << says(p);
}

TEST(Neo4jPicture, ModeSingle) {
  Declared d = declared(1, false);
  d.cluster = false;
  Picture p = seen(d, {community(1)});
  EXPECT_EQ(says(p), "");
  EXPECT_EQ(p.primary, node(1));
  Word broken = community(1);
  broken.copies["neo4j"].current = "offline";
  p = seen(d, {broken});
  EXPECT_TRUE(p.primary.empty());
  EXPECT_EQ(member(p, 1).seen.health, "neo4j is offline");
  p = seen(d, {word(1)});
  EXPECT_NE(says(p, "clustered"), "");
  EXPECT_EQ(p.primary, node(1));
}

/// Whatever is answered: every declared node is a member, at most one is the primary, and it answers.
RC_GTEST_PROP(Neo4jPicture, IsAlwaysWhole, ()) {
  std::vector<Word> words;
  for (std::size_t n = 1; n <= 4; ++n) {
    Word w = *rc::gen::element(word(n), silent(n), community(n), word(n, 1), word(n, 2));
    if (!w.copies.empty() && *rc::gen::inRange(0, 3) == 0) w.copies.begin()->second.raft.reset();
    for (auto& [name, copy] : w.copies)
      if (copy.raft && *rc::gen::inRange(0, 2) == 0) copy.raft->leader = *rc::gen::element(std::string(), id_of(1), id_of(2), id_of(7));
    words.push_back(std::move(w));
  }
  const Picture p = seen(declared(), words);
  RC_ASSERT(p.members.size() == 4u);
  std::size_t primaries = 0;
  for (const MemberView& m : p.members)
    if (m.seen.state == EngineState::kPrimary) ++primaries, RC_ASSERT(m.seen.node == p.primary);
  RC_ASSERT(primaries == (p.primary.empty() ? 0u : 1u));
}

// ---- dumps
constexpr std::int64_t kHour = 3'600'000, kDay = 24 * kHour, kThree = 20'000 * kDay + 3 * kHour;  // 03:00 of some day
DumpPlan nightly() { return {.exec = "/bin/true", .file = {}, .every = hours(24), .at = hours(3), .timeout = minutes(30), .max_age = hours(30)}; }

TEST(Neo4jDump, IsDueOnceInItsHour) {
  DumpRecord r{.since = kThree - 20 * kHour};
  EXPECT_FALSE(dump_due(nightly(), r, kThree - 1));
  EXPECT_TRUE(dump_due(nightly(), r, kThree));
  EXPECT_TRUE(dump_due(nightly(), r, kThree + kHour));
  EXPECT_FALSE(dump_due(nightly(), r, kThree + kHour + 1)) << "missed: not made up for in the day";
  r.begun = kThree + 5;
  EXPECT_FALSE(dump_due(nightly(), r, kThree + 10)) << "once, also if it failed";
  EXPECT_TRUE(dump_due(nightly(), r, kThree + kDay));
  r.begun = kThree + 2 * kDay;
  EXPECT_FALSE(dump_due(nightly(), r, kThree + kDay)) << "a clock that went back";
  EXPECT_FALSE(dump_due(nightly(), {.since = kThree + 60'000}, kThree + 120'000)) << "configured this minute: the next night's is the first";
}

TEST(Neo4jDump, ThatFailedOrIsTooOldIsSaid) {
  DumpRecord r{.since = kThree};
  EXPECT_EQ(dump_trouble(nightly(), r, false, kThree + kDay), "");
  EXPECT_EQ(dump_trouble(nightly(), r, false, kThree + 31 * kHour), "no dump was made since " + utc_text(kThree));
  r.begun = kThree + kDay, r.ended = r.succeeded = kThree + kDay + 9000;
  EXPECT_EQ(dump_trouble(nightly(), r, false, kThree + 2 * kDay), "");
  EXPECT_EQ(dump_trouble(nightly(), r, false, kThree + 3 * kDay), "the newest dump is of " + utc_text(r.succeeded) + ", older than 30 h");
  r.begun = kThree + 2 * kDay;
  EXPECT_EQ(dump_trouble(nightly(), r, true, kThree + 2 * kDay + 1), "") << "it runs";
  EXPECT_NE(dump_trouble(nightly(), r, false, kThree + 2 * kDay + 1).find("was not seen to end"), std::string::npos);
  r.ended = r.begun + 1, r.error = "exit code 1; The database is in use";
  EXPECT_EQ(dump_trouble(nightly(), r, false, kThree + 2 * kDay + 5), "the dump of " + utc_text(r.begun) + " failed: exit code 1; The database is in use");
  EXPECT_EQ(dump_record(to_text(r)), r);
  EXPECT_EQ(dump_record("{"), DumpRecord{});
  EXPECT_EQ(utc_text(1'764'190'809'000), "2025-11-26T21:00:09Z");
}

TEST(Neo4jDump, IsAProcessOfTheViewThatOnlyItsNodeSees) {
  Declared d = declared(1, false);
  d.cluster = false;
  const Picture down = seen(d, {silent(1)});
  const ResourceView there = view_of(d, down, DumpSeen{.known = true, .runs = true, .record = {.since = 1, .begun = kThree, .ended = 0, .succeeded = kThree - kDay, .error = {}}, .trouble = {}});
  ASSERT_EQ(there.members.size(), 2u);
  EXPECT_EQ(there.members[0].seen.health, "stopped for the dump that began at " + utc_text(kThree));
  EXPECT_EQ(there.members[1].seen.role, kDumpRole);
  EXPECT_EQ(there.members[1].seen.state, EngineState::kStandby);
  EXPECT_EQ(there.members[1].seen.identity, utc_text(kThree - kDay));
  const ResourceView elsewhere = view_of(d, down, DumpSeen{});
  EXPECT_EQ(elsewhere.members[1].seen.state, EngineState::kUnknown);
  EXPECT_EQ(elsewhere.members[0].seen.health, "no answer in time");
  EXPECT_EQ(view_of(d, down, std::nullopt).members.size(), 1u);
}

}  // namespace
}  // namespace daarion::neo4j
