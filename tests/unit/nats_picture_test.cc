// What is read of nats-servers' answers, and the one view that is made of many words: values in, values out.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "controlplane/core/helper_role.h"
#include "controlplane/drivers/nats/client.h"

namespace daarion::nats {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

NodeId node(int n) { return NodeId("node" + std::to_string(n)); }

/// Two nodes of the core, the witness beside the edge's own, and the words of a cluster that is well: node1 leads the meta group, node2 the stream.
struct Scene {
  std::vector<Server> planned = {{.kind = Kind::kCore, .node = node(1), .name = "node1", .domain = "core", .route = 6222, .leaf = 7422},
                                 {.kind = Kind::kCore, .node = node(2), .name = "node2", .domain = "core", .route = 6222, .leaf = 7422},
                                 {.kind = Kind::kWitness, .node = node(3), .name = "node3-witness", .domain = "core", .route = 6223},
                                 {.kind = Kind::kLeaf, .node = node(3), .name = "node3", .domain = "node3"}};
  std::map<std::string, Word> words;
  History history;
  Instant now{std::chrono::hours(1)};

  Scene() {
    Stream stream{.account = "APP", .name = "MESSAGE", .leader = "node2", .wanted = 3, .others = {{"node1"}, {"node3-witness"}},
                  .origins = {{.stream = "MESSAGE_node3", .domain = "node3", .silent = seconds(1)}}};
    for (const char* name : {"node1", "node2", "node3-witness"}) {
      Word word{.server = name, .id = std::string("ID-OF-") + name, .version = "2.9.10", .answers = true, .jetstream = true, .stored = 10, .may_store = 1000,
                .meta_leader = "node1", .meta_size = 3, .routes = std::set<std::string>{}, .streams = std::vector{stream}};
      for (const char* other : {"node1", "node2", "node3-witness"})
        if (std::string(other) != name) word.routes->insert(std::string("ID-OF-") + other);
      words[name] = word;
    }
    words["node3"] = {.server = "node3", .answers = true, .jetstream = true};
  }
  Stream& stream_at(const std::string& server) { return words[server].streams->front(); }
  void for_stream(const std::function<void(Stream&)>& change) {
    for (const char* name : {"node1", "node2", "node3-witness"}) change(stream_at(name));
  }
  ResourceView look() {
    std::vector<Word> heard;
    for (const auto& [name, word] : words) heard.push_back(word);
    const auto believed = believe(history, heard, now);
    return view_of(planned, history, believed, now);
  }
  /// A look each second until so much later.
  ResourceView after(Duration time) {
    ResourceView out;
    for (const Instant end = now + time; now < end; now += seconds(1)) out = look();
    return look();
  }
  std::string problems_after(Duration time) {
    std::string out;
    for (const std::string& problem : after(time).problems) out += problem + "\n";
    return out;
  }
};

const MemberSeen& member(const ResourceView& view, int n, const std::string& role) {
  return std::ranges::find_if(view.members, [&](const MemberView& m) { return m.seen.node == node(n) && m.seen.role == role; })->seen;
}
std::string all_health(const ResourceView& view) {
  std::string out;
  for (const MemberView& m : view.members) out += m.seen.health;
  return out;
}

/// What the log would say between the two views.
std::string change(const ResourceView& before, const ResourceView& now) {
  const auto observed = [](const ResourceView& view) {
    ResourceObserved out{.primary = view.primary};
    for (const MemberView& m : view.members) out.members.push_back(m.seen);
    return out;
  };
  return change_between(observed(before), observed(now));
}

/// That it is said once it has stood for `patience`, not before, and no more once it is over.
void expect_said(Scene& s, Duration patience, const std::string& text, const std::function<void()>& mend) {
  EXPECT_EQ(s.problems_after(patience - seconds(1)), "") << "said too early: " << text;
  EXPECT_NE(s.problems_after(seconds(4)).find(text), std::string::npos) << s.problems_after(Duration{});
  mend();
  EXPECT_EQ(s.problems_after(seconds(1)), "");
}

TEST(NatsPicture, OfAClusterThatIsWellHasNoProblem) {
  Scene s;
  for (const Duration later : {Duration{}, Duration(minutes(2))}) {
    const ResourceView view = s.after(later);
    EXPECT_EQ(view.primary, node(1));
    EXPECT_EQ(view.elected_by, "JetStream's meta group");
    EXPECT_TRUE(view.problems.empty()) << view.problems[0];
    EXPECT_EQ(all_health(view), "");
    ASSERT_EQ(view.members.size(), 4u);
    EXPECT_EQ(member(view, 1, kServerRole).state, EngineState::kPrimary);
    EXPECT_EQ(member(view, 2, kServerRole).state, EngineState::kStandby);
    EXPECT_EQ(member(view, 3, kWitnessRole).identity, "ID-OF-node3-");
    EXPECT_EQ(member(view, 3, kWitnessRole).version, "2.9.10");
    EXPECT_EQ(member(view, 3, kLeafRole).state, EngineState::kStandby);
  }
}

TEST(NatsPicture, AServersLagIsThatOfTheStreamItLagsInMostAndItsTimeMeasured) {
  Scene s;
  const auto lead = [&](std::uint64_t last, std::uint64_t witness_lacks) {
    s.for_stream([&](Stream& stream) { stream.last = last, stream.others[1].lag = witness_lacks; });
    s.now += seconds(5);
    return s.look();
  };
  const auto lag = [](const ResourceView& view, int n, const std::string& role) {
    return *std::ranges::find_if(view.members, [&](const MemberView& m) { return m.seen.node == node(n) && m.seen.role == role; });
  };
  ResourceView view = lead(100, 0);
  EXPECT_TRUE(lag(view, 3, kWitnessRole).lag_known);
  EXPECT_EQ(lag(view, 3, kWitnessRole).lag_transactions, 0u);
  EXPECT_FALSE(lag(view, 2, kServerRole).lag_known) << "it leads all there is";
  EXPECT_FALSE(lag(view, 3, kLeafRole).lag_known) << "of an edge's streams its own node tells";
  lead(200, 100);
  view = lead(300, 150);
  EXPECT_EQ(lag(view, 3, kWitnessRole).lag_transactions, 150u);
  EXPECT_EQ(lag(view, 3, kWitnessRole).lag_ms, 5000u) << "it lacks 151 to 200, which the leader had 5 s ago";
  EXPECT_EQ(lag(view, 1, kServerRole).lag_ms, 0u);
  // A server that is gone lags in nothing: it has no answer.
  s.words.erase("node3-witness");
  view = s.after(kHeld);
  EXPECT_FALSE(lag(view, 3, kWitnessRole).lag_known);
}

TEST(NatsPicture, ServersThatWereNotHeardYetAreNotIllAtOnce) {
  Scene s;
  s.words.clear();
  ResourceView view = s.look();
  EXPECT_EQ(member(view, 1, kServerRole).state, EngineState::kUnknown);
  EXPECT_EQ(all_health(view), "");
  view = s.after(kHeld);
  EXPECT_EQ(member(view, 1, kServerRole).health, "no answer");
  EXPECT_EQ(member(view, 1, kServerRole).state, EngineState::kUnresponsive);
}

TEST(NatsPicture, AServerThatIsSilentIsTakenAtItsLastWordForAMoment) {
  Scene s;
  s.after(seconds(5));
  s.words.erase("node2");
  EXPECT_EQ(all_health(s.look()), "");
  const ResourceView view = s.after(kHeld);
  EXPECT_EQ(member(view, 2, kServerRole).health, "no answer");
  EXPECT_EQ(s.problems_after(minutes(2)).find("node2"), std::string::npos) << "its member says so, and its routes and replicas are not told apart from that";
}

TEST(NatsPicture, TheLastLeaderStandsWhileAnElectionMayTakePlace) {
  Scene s;
  s.after(seconds(5));
  s.words.erase("node1");  // and the others go on naming it
  EXPECT_EQ(s.after(seconds(9)).primary, node(1));
  s.words["node2"].meta_leader = s.words["node3-witness"].meta_leader = "node2";
  EXPECT_EQ(s.look().primary, node(2));
  // Without another one it is said.
  s.words["node2"].meta_leader = "";
  EXPECT_EQ(s.after(seconds(8)).primary, node(2));
  const ResourceView none = s.after(seconds(13));
  EXPECT_EQ(none.primary, NodeId());
  ASSERT_FALSE(none.problems.empty());
  EXPECT_NE(none.problems[0].find("meta group has no leader"), std::string::npos);
}

TEST(NatsPicture, ARestartIsAnotherIdentity) {
  Scene s;
  const ResourceView before = s.look();
  s.words["node2"].id = "ANOTHER-ID-OF-IT";
  const ResourceView now = s.look();
  EXPECT_EQ(change(before, now), "server of node2 was restarted");
}

TEST(NatsPicture, TheWitnessAndTheLeafOfOneNodeAreTwo) {
  Scene s;
  s.after(seconds(5));
  const ResourceView before = s.look();
  s.words.erase("node3");
  const ResourceView now = s.after(kHeld);
  EXPECT_EQ(member(now, 3, kWitnessRole).health, "");
  EXPECT_NE(member(now, 3, kLeafRole).health.find("no leafnode connection"), std::string::npos);
  const std::string told = change(before, now);
  EXPECT_TRUE(told.starts_with("leaf of node3: no leafnode connection: does its server run, and reach port 7422")) << told;
}

TEST(NatsPicture, AServerWhoseJetStreamHangsOrIsOff) {
  Scene s;
  s.after(seconds(5));
  const Word well = s.words["node2"];
  s.words["node2"] = {.server = "node2", .id = well.id, .version = well.version, .routes = well.routes};
  EXPECT_EQ(all_health(s.after(kJetStream - seconds(1))), "");
  EXPECT_NE(all_health(s.after(seconds(2))).find("does not answer"), std::string::npos);
  EXPECT_EQ(s.problems_after(minutes(1)), "") << "what it had said of its streams stands";
  s.words["node2"] = well;
  EXPECT_EQ(all_health(s.look()), "");
  s.words["node2"].jetstream = false;
  EXPECT_NE(all_health(s.after(kJetStream)).find("is off"), std::string::npos);
}

TEST(NatsPicture, ARouteThatIsMissing) {
  Scene s;
  s.words["node2"].routes->erase("ID-OF-node3-witness");
  expect_said(s, kRoute, "no route between the servers of node2 and node3: open ports 6222 and 6223",
              [&] { s.words["node2"].routes->insert("ID-OF-node3-witness"); });
}

TEST(NatsPicture, VersionsThatDifferForLongerThanAnUpgradeTakes) {
  Scene s;
  s.words["node1"].version = "2.10.27";
  expect_said(s, kUpgrade, "(2.10.27 on node1; 2.9.10 on node2, node3)", [&] { s.words["node2"].version = s.words["node3-witness"].version = "2.10.27"; });
}

TEST(NatsPicture, AMetaGroupThatCountsALostServer) {
  Scene s;
  s.words["node1"].meta_size = 4;
  s.words["node1"].meta_others = {{"node2"}, {"node3-witness"}, {.server = "node4", .current = false, .offline = true}};
  expect_said(s, kCopies, "counts 4 servers, and 3 are planned: node4 counts for every majority; once it is off for good, `daarionctl retire NODE`", [&] { s.words["node1"].meta_size = 3; });
}

TEST(NatsPicture, AServerThatNobodyPlanned) {
  Scene s;
  s.words["node9"] = {.server = "node9", .id = "X", .version = "2.9.10", .answers = true, .jetstream = true};
  s.after(kRoute - seconds(1));
  EXPECT_NE(s.problems_after(seconds(2)).find("server node9 is one of the core, and not planned"), std::string::npos);
}

TEST(NatsPicture, AStoreThatIsNearlyFullStaysSoUntilThereIsSomeRoom) {
  Scene s;
  s.words["node2"].stored = 820;
  s.after(kJetStream - seconds(1));
  EXPECT_NE(s.problems_after(seconds(2)).find("the server of node2 stores more than 80 %"), std::string::npos);
  s.words["node2"].stored = 770;
  EXPECT_NE(s.problems_after(seconds(2)), "") << "at the limit it does not come and go";
  s.words["node2"].stored = 740;
  EXPECT_EQ(s.problems_after(seconds(2)), "");
}

TEST(NatsPicture, WhatAVersionLosesIsANoteAndAFaultAProblem) {
  Scene s;
  const auto notes = [&] {
    std::string out;
    for (const std::string& note : s.after(kJetStream).notes) out += note + "\n";
    return out;
  };
  EXPECT_NE(notes().find("nats-server 2.9.10 of node1, node2, node3: a server that was frozen or cut off may lack"), std::string::npos) << notes();
  EXPECT_NE(notes().find("the servers of node1, node2, node3 sync every 2 minutes, as all before 2.10 do: one power cut"), std::string::npos) << notes();
  EXPECT_EQ(s.problems_after(kUpgrade / 2), "") << "Debian's version is no reason to be degraded for ever";
  const auto all = [&](const char* version, std::optional<Duration> sync) {
    for (const char* name : {"node1", "node2", "node3-witness"}) s.words[name].version = version, s.words[name].sync = sync;
  };
  all("2.10.27", minutes(2));
  EXPECT_EQ(notes(), "the servers of node1, node2, node3 sync every 2 minutes or more rarely: one power cut of them all may take what was acknowledged in that time; "
                     "control.nats.sync_interval sets it\n");
  all("2.10.27", seconds(1));
  EXPECT_EQ(notes(), "");
  all("2.12.8", Duration{});
  EXPECT_EQ(notes(), "");
  all("2.10.14", Duration{});
  EXPECT_NE(notes().find("sync their rafts' logs every 2 minutes whatever sync_interval says"), std::string::npos) << notes();
  all("a fork", std::nullopt);
  EXPECT_EQ(notes(), "");
  EXPECT_EQ(s.problems_after(kJetStream), "");
  all("2.10.22", seconds(1));
  EXPECT_EQ(s.problems_after(kJetStream - seconds(1)), "");
  EXPECT_NE(s.problems_after(seconds(4)).find("nats-server 2.10.22 of node1, node2, node3: a crash of its process alone may lose whole streams"), std::string::npos);
  all("2.9.11", std::nullopt);
  EXPECT_NE(s.problems_after(kJetStream + seconds(4)).find("may leave a cluster of it that does not recover; take 2.9.21"), std::string::npos);
}

TEST(NatsPicture, AStreamWithoutALeader) {
  Scene s;
  s.for_stream([](Stream& stream) { stream.leader = ""; });
  expect_said(s, kLeaderless, "stream APP/MESSAGE: no leader", [&] { s.for_stream([](Stream& stream) { stream.leader = "node1"; }); });
}

TEST(NatsPicture, AReplicaThatIsBehindForLong) {
  Scene s;
  s.stream_at("node2").others[0].current = false;
  s.stream_at("node2").others[0].lag = 4711;
  expect_said(s, kCopies, "stream APP/MESSAGE: its replica on node1 is not current, more than 1000 behind",
              [&] { s.stream_at("node2").others[0].current = true; });
  s.stream_at("node1").others[0].offline = true;
  EXPECT_EQ(s.problems_after(minutes(2)), "") << "who does not lead the stream is not asked";
}

TEST(NatsPicture, SeveralStreamsWithTheSameAreOneProblem) {
  Scene s;
  for (const char* name : {"node1", "node2", "node3-witness"})
    for (int i = 0; i < 4; ++i) {
      Stream more = s.stream_at(name);
      more.name = "MORE_" + std::to_string(i);
      s.words[name].streams->push_back(more);
    }
  for (Stream& stream : *s.words["node2"].streams) stream.others[1].offline = true;
  const ResourceView view = s.after(kCopies);
  ASSERT_EQ(view.problems.size(), 1u);
  EXPECT_EQ(view.problems[0], "stream APP/MESSAGE, APP/MORE_0, APP/MORE_1 and 2 more: its replica on node3 is offline: see that server's log");
}

TEST(NatsPicture, FewerReplicasThanDeclared) {
  Scene s;
  s.stream_at("node2").others.pop_back();
  expect_said(s, kCopies, "stream APP/MESSAGE: fewer replicas than declared", [&] { s.stream_at("node2").others.push_back({"node3-witness"}); });
}

TEST(NatsPicture, AnOriginThatIsNotHeardOrFarAhead) {
  Scene s;
  Origin& origin = s.stream_at("node2").origins[0];
  origin.silent = seconds(70);
  s.after(kHeld - seconds(1));
  EXPECT_NE(s.problems_after(seconds(2)).find("stream APP/MESSAGE: has heard nothing of MESSAGE_node3 of node3"), std::string::npos);
  origin.silent = std::nullopt;
  EXPECT_EQ(s.problems_after(seconds(10)), "") << "it may be made anew right now";
  EXPECT_NE(s.problems_after(kSilent).find("has heard nothing"), std::string::npos);
  origin = {.stream = "MESSAGE_node3", .domain = "node3", .silent = seconds(1), .lag = 5000};
  s.after(seconds(2));
  EXPECT_NE(s.problems_after(kSilent).find("more than 1000 messages behind MESSAGE_node3 of node3"), std::string::npos);
  s.words.erase("node3");
  s.after(kHeld);
  EXPECT_EQ(s.problems_after(seconds(1)), "") << "the leaf that is gone says why";
}

// ---- what real servers answered
constexpr const char* kJetStreamAnswer = R"({"server":{"name":"node1","host":"127.83.0.1","id":"NCXY3","cluster":"core","ver":"2.9.10","jetstream":true},
  "data":{"server_id":"NCXY3","config":{"max_memory":256000000,"max_storage":20000000000,"domain":"core"},"memory":0,"storage":4711,"streams":1,
  "meta_cluster":{"name":"core","leader":"node1","cluster_size":3,"replicas":[{"name":"node2","current":true,"active":9}]},"account_details":[{"name":"CONTROL","id":"CONTROL","storage":4711,
  "stream_detail":[{"name":"CLUSTER_TELEMETRY","cluster":{"name":"core","leader":"node1","replicas":[{"name":"node2","current":true,"active":73913811},
  {"name":"node3-witness","current":false,"offline":true,"active":913811,"lag":12}]},"config":{"name":"CLUSTER_TELEMETRY","num_replicas":3,
  "sources":[{"name":"CLUSTER_OUTBOX_edge","external":{"api":"$JS.edge.API","deliver":""}}]},"state":{"messages":3},
  "sources":[{"name":"CLUSTER_OUTBOX_edge","lag":2,"active":1500000000},{"name":"ANOTHER","lag":0,"active":-1}]}]}]}})";

TEST(NatsAnswers, OfJetStreamAreRead) {
  Word w;
  const auto done = read_jetstream(nlohmann::json::parse(kJetStreamAnswer), w);
  ASSERT_TRUE(done) << done.error().message;
  const Stream stream{.account = "CONTROL", .name = "CLUSTER_TELEMETRY", .leader = "node1", .wanted = 3,
                      .others = {{.server = "node2"}, {.server = "node3-witness", .current = false, .offline = true, .lag = 12}},
                      .origins = {{.stream = "CLUSTER_OUTBOX_edge", .domain = "edge", .silent = milliseconds(1500), .lag = 2}, {.stream = "ANOTHER"}}};
  EXPECT_EQ(w, (Word{.server = "node1", .id = "NCXY3", .version = "2.9.10", .answers = true, .jetstream = true, .stored = 4711, .may_store = 20'000'000'000,
                     .meta_leader = "node1", .meta_size = 3, .meta_others = {{.server = "node2"}}, .streams = std::vector{stream}}));
}

/// As 2.10 and later answer.
TEST(NatsAnswers, SayHowOftenAServerSyncs) {
  const auto sync = [](const char* config) {
    Word w{.sync = seconds(7)};
    const auto done = read_jetstream(nlohmann::json::parse(std::string(R"({"server":{"name":"node1","id":"A","ver":"2.10.27"},"data":{"config":)") + config + "}}"), w);
    EXPECT_TRUE(done) << done.error().message;
    return w.sync;
  };
  EXPECT_EQ(sync(R"({"max_storage":1,"sync_interval":120000000000})"), Duration(minutes(2)));
  EXPECT_EQ(sync(R"({"max_storage":1,"sync_interval":120000000000,"sync_always":true})"), Duration{});
  EXPECT_EQ(sync(R"({"max_storage":1})"), std::nullopt);
}

TEST(NatsAnswers, OfRoutesAreRead) {
  Word w;
  const auto answer = nlohmann::json::parse(R"({"server":{"name":"node1","id":"A","ver":"2.9.10"},"data":{"num_routes":2,
    "routes":[{"rid":1,"remote_id":"B"},{"rid":2,"remote_id":"C"}]}})");
  ASSERT_TRUE(read_routes(answer, w));
  EXPECT_EQ(w.server, "node1");
  EXPECT_EQ(*w.routes, (std::set<std::string>{"B", "C"}));
  EXPECT_FALSE(w.answers) << "nothing was said of JetStream";
}

TEST(NatsAnswers, ThatAreOthersAreNotUsed) {
  for (const char* text : {R"({})", R"({"server":{"name":1,"id":"A"},"data":{}})", R"({"server":{"name":"node1","id":"A"},"error":{"code":500}})",
                           R"({"server":{"name":"node1","id":"A"},"data":{"storage":"much"}})"}) {
    Word w;
    EXPECT_FALSE(read_jetstream(nlohmann::json::parse(text), w)) << text;
    EXPECT_EQ(w, Word{});
  }
}

}  // namespace
}  // namespace daarion::nats
