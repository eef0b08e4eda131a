// The right message on the right node, on real servers: replicated ones once everywhere through cuts and kills, local ones nowhere else.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>

#include "streams/js_request.h"
#include "tests/harness/figures.h"
#include "tests/harness/record.h"
#include "tests/harness/stalls.h"
#include "tests/routing/route_judge.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Json = nlohmann::json;

constexpr int kCuts = 3;
constexpr milliseconds kCutFor(2000), kDownFor(2500);
constexpr double kAgainLimitMs = 10'000;  // JetStream's own election, of a stream and of the group behind it; of one stream in three it may be split, and take another
constexpr Duration kSettle = seconds(90);
constexpr Duration kWhispered = seconds(900);  // of ten thousand messages of each class, of nine nodes on two cores

Json info_of(Connection& connection, const std::string& stream) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info ? *info : Json::object();
}

/// Every replica of every stream is there and has everything.
bool core_is_whole(Connection& core) {
  return std::ranges::all_of(kStreams, [&](const std::string& stream) {
    const Json info = info_of(core, stream);
    if (!info.contains("cluster") || info["cluster"].value("leader", "").empty()) return false;
    const Json replicas = info["cluster"].value("replicas", Json::array());
    return replicas.size() == 2 && std::ranges::all_of(replicas, [](const Json& r) { return r.value("current", false) && !r.value("offline", false); });
  });
}

std::string ends_of(RouteRig& rig) {
  std::string out;
  for (const std::string& stream : kStreams) {
    out += "; " + stream + ": core " + std::to_string(last_sequence_of(*rig.core, stream));
    for (const auto& edge : rig.edges) out += ", edge " + std::to_string(last_sequence_of(*edge, stream + "_MIRROR"));
  }
  return out;
}

/// The server has a replica of the stream.
bool has_replica(const Json& info, const std::string& server) {
  return info["cluster"].value("leader", "") == server ||
         std::ranges::any_of(info["cluster"].value("replicas", Json::array()), [&](const Json& r) { return r.value("name", "") == server; });
}

/// The server leads every stream of the rules that it has a replica of: its loss is the worst that can happen to them.
bool leads_all(RouteRig& rig, int server) {
  const std::string name = rig.servers.name(server);
  return becomes([&] {
    return std::ranges::all_of(kStreams, [&](const std::string& stream) {
      const Json info = info_of(*rig.core, stream);
      if (!info.contains("cluster")) return false;
      if (info["cluster"].value("leader", "") == name || !has_replica(info, name)) return true;
      (void)step_down_stream_leader(*rig.core, stream, seconds(2));
      return stream_leader(*rig.core, stream, seconds(2)) == name;
    });
  });
}

/// What the servers themselves said, where something is wrong: their newest warnings.
void tell_warnings(const RouteRig& rig) {
  constexpr std::size_t kNewest = 25;
  for (int i = 0; i < rig.servers.size(); ++i) {
    const std::vector<std::string> all = rig.servers.warnings(i);
    for (std::size_t n = all.size() > kNewest ? all.size() - kNewest : 0; n < all.size(); ++n) std::printf("%s: %s\n", rig.servers.name(i).c_str(), all[n].c_str());
  }
}

std::vector<std::unique_ptr<Publisher>> publishers_of(const RouteRig& rig, int least, const std::atomic<bool>& done) {
  std::vector<std::unique_ptr<Publisher>> out;
  // As many a second as if each sent its subjects one after the other: without, nine nodes are asked for three times of what two cores can do.
  const milliseconds pace = Publisher::kPace * rig.world.load() * static_cast<int>(kSubjects.size());
  for (std::size_t i = 0; i < rig.core_nodes.size(); ++i) {
    std::vector<int> order = rig.core_nodes;
    std::ranges::rotate(order, order.begin() + static_cast<std::ptrdiff_t>(i));
    out.push_back(rig.publisher(order, kSubjects, least, done, pace));
  }
  for (const int i : rig.edge_nodes) out.push_back(rig.publisher({i}, kSubjects, least, done, pace));
  return out;
}

/// All edges are cut off for a while: they publish on, nothing passes, and the mirrors catch up. Returns how long that took.
double cut_once(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  const auto acked_on_edges = [&] {
    std::vector<int> out;
    for (std::size_t i = rig.core_nodes.size(); i < publishers.size(); ++i) out.push_back(publishers[i]->acked());
    return out;
  };
  rig.servers.cut_edge();
  const std::vector<int> before = acked_on_edges();
  std::this_thread::sleep_for(kCutFor);
  const std::vector<int> after = acked_on_edges();
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_GT(after[i], before[i]) << "edge " << i + 1 << " published nothing while it was cut off";
  const std::uint64_t there = last_sequence_of(*rig.core, "MESSAGE");
  const auto behind = [&](const auto& edge) { return last_sequence_of(*edge, "MESSAGE_MIRROR") < there; };
  EXPECT_TRUE(std::ranges::all_of(rig.edges, behind)) << "the cut cut nothing off" << ends_of(rig);
  rig.servers.heal_edge();
  const auto healed = Clock::now();
  EXPECT_TRUE(becomes([&] { return std::ranges::none_of(rig.edges, behind); }, kSettle)) << "the mirrors did not catch up" << ends_of(rig);
  return std::chrono::duration<double, std::milli>(Clock::now() - healed).count();
}

/// A server dies and comes back. Returns after how long a node of the core that lives publishes each subject again, the soonest first.
std::vector<double> kill_once(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers, int server, const Ears& ears, const Whisperer& whisperer) {
  EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle)) << "before the kill of " << rig.servers.name(server);
  EXPECT_TRUE(server != 0 || leads_all(rig, server));
  const Publisher& other = *publishers[server == 1 ? 0 : 1];
  const auto killed = Clock::now();
  rig.servers.kill(server);
  EXPECT_TRUE(becomes([&] { return !other.first_after_ms(killed + milliseconds(100)).empty(); }, kSettle));
  std::vector<double> again = other.first_after_ms(killed + milliseconds(100));
  for (double& ms : again) ms += 100;
  if (again.empty()) again.push_back(std::chrono::duration<double, std::milli>(kSettle).count());  // longer than that
  std::this_thread::sleep_for(kDownFor);
  rig.servers.start(server);
  if (!rig.servers.is_witness(server)) {
    const int down = whisperer.said();
    EXPECT_TRUE(becomes([&] { return ears.hear(server, down); })) << rig.servers.name(server) << " is back, and its own are not heard there";
  }
  return again;
}

/// `least`: messages per class and node.
void through_cuts_and_kills(const RouteWorld& world, int least) {
  const bool full = least > 1'000;
  RouteRig rig(world);
  const auto begun = Clock::now();
  // What a replica lacks is put again behind this. Nobody tries for longer with one message, and if one did, readers would drop it.
  for (const std::string& stream : kStreams) ASSERT_TRUE(becomes([&] { return set_repeat_window(*rig.core, stream, seconds(20)); })) << stream;
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers = publishers_of(rig, least, done);
  const Readers readers(rig);
  const Keepers keepers(rig);
  auto ears = std::make_unique<Ears>(rig);
  auto whisperer = std::make_unique<Whisperer>(rig, full ? milliseconds(4) * world.load() : milliseconds(20));
  EXPECT_TRUE(becomes([&] { return std::ranges::all_of(rig.nodes(), [&](int i) { return ears->hear(i, 0); }); })) << "nothing is heard";
  std::vector<double> caught_up_ms, again_ms, last_again_ms;  // of each kill: when most subjects were published again, and when all were
  for (int cut = 0; cut < kCuts; ++cut) {
    std::this_thread::sleep_for(milliseconds(500));
    caught_up_ms.push_back(cut_once(rig, publishers));
  }
  for (int server = 0; server < rig.servers.size(); ++server) {
    const std::vector<double> again = kill_once(rig, publishers, server, *ears, *whisperer);
    if (rig.servers.is_edge(server)) continue;
    again_ms.push_back(median(again));
    last_again_ms.push_back(again.back());
  }
  EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle));
  EXPECT_TRUE(becomes([&] { return whisperer->said() >= least; }, full ? kWhispered : kSettle)) << whisperer->said() << " of each local class";
  const int said = whisperer->said();
  EXPECT_TRUE(becomes([&] { return std::ranges::all_of(rig.nodes(), [&](int i) { return ears->hear(i, said); }); })) << "what is local is not heard any more";
  const int leaked = ears->leaks(*whisperer);
  // Each message is heard by several of them at each site, which is most of the work that nine nodes make.
  whisperer.reset();
  ears.reset();
  done = true;
  for (const auto& publisher : publishers) publisher->join();
  const auto sent_of = [&](const std::string& subject) {
    return std::accumulate(publishers.begin(), publishers.end(), 0, [&](int sum, const auto& publisher) { return sum + publisher->acked_of(subject); });
  };
  const int sent = std::accumulate(publishers.begin(), publishers.end(), 0, [](int sum, const auto& publisher) { return sum + publisher->acked(); });
  (void)becomes([&] { return readers.gave(sent_of); }, kSettle);
  Wrong wrong = judge(rig, readers, publishers);
  const int lacked = wrong.lacking + wrong.lost;
  for (const auto end = Clock::now() + (full ? 3 : 1) * kSettle; wrong.lacking + wrong.lost > 0 && Clock::now() < end; wrong = judge(rig, readers, publishers))
    std::this_thread::sleep_for(seconds(2));
  EXPECT_EQ(wrong.lost, 0) << wrong.note << ends_of(rig);
  EXPECT_EQ(wrong.lacking, 0) << wrong.note;
  EXPECT_EQ(wrong.given_twice, 0) << wrong.note;
  EXPECT_EQ(wrong.never_sent, 0) << wrong.note;
  EXPECT_EQ(wrong.disorders, 0) << wrong.note;
  EXPECT_TRUE(wrong.behind == 0 || keepers.mends() > 0) << "nothing was put again, and still: " << wrong.note;
  if (testing::Test::HasFailure()) tell_warnings(rig);

  say_machine(rig.servers.version());
  const std::string at = "_" + std::to_string(world.nodes()) + "_nodes";
  const auto none = [&](const char* name, int count) {
    say({.name = name + at, .value = static_cast<double>(count), .unit = "messages", .samples = {}, .limit = "=0", .ok = count == 0});
  };
  const auto seen = [&](const char* name, double value, const char* unit) { say({.name = name + at, .value = value, .unit = unit, .samples = {}}); };
  seen("routing_messages", sent, "messages");
  seen("routing_local_messages_of_each_class", said, "messages");
  none("routing_lost", wrong.lost);
  none("routing_lacked_by_a_replica_or_edge", wrong.lacking);
  none("routing_given_twice", wrong.given_twice);
  none("routing_not_acknowledged_but_there", wrong.never_sent);
  none("routing_disorders", wrong.disorders);
  none("routing_leaks", leaked);
  seen("routing_given_again_marked", wrong.known_again, "messages");
  seen("routing_lacked_until_put_again", lacked, "messages");
  seen("routing_put_again_behind_later_ones", wrong.behind, "messages");
  seen("routing_mends", keepers.mends(), "repairs");
  say({.name = "routing_mirrors_caught_up_ms" + at, .value = *std::ranges::max_element(caught_up_ms), .unit = "ms", .samples = caught_up_ms});
  EXPECT_LE(again_ms[0], kAgainLimitMs) << "node2 after node1's SIGKILL";
  say({.name = "routing_node2_publishes_again_ms" + at, .value = again_ms[0], .unit = "ms", .samples = {}, .limit = "<=10000", .ok = again_ms[0] <= kAgainLimitMs});
  say({.name = "routing_publishes_again_worst_ms" + at, .value = *std::ranges::max_element(again_ms), .unit = "ms", .samples = again_ms});
  say({.name = "routing_publishes_all_again_ms" + at, .value = *std::ranges::max_element(last_again_ms), .unit = "ms", .samples = last_again_ms});
  seen("routing_seconds", std::chrono::duration<double>(Clock::now() - begun).count(), "s");
  const char* ledger = std::getenv("DAARION_LEDGER");
  const std::string volume = std::to_string(sent) + " messages, " + std::to_string(world.nodes()) + " nodes, " + rig.servers.version();
  EXPECT_TRUE(append_ledger(ledger == nullptr ? "" : ledger,
                            {.tier = "routing", .volume = volume, .faults = static_cast<unsigned long long>(kCuts + rig.servers.size()),
                             .result = std::to_string(wrong.lost + wrong.lacking) + " lost, " + std::to_string(wrong.given_twice + wrong.never_sent) + " doubtful, " +
                                       std::to_string(wrong.disorders) + " out of order, " + std::to_string(leaked) + " leaked, " + std::to_string(lacked) + " lacked until put again"}));
}

const char* server_named() { return std::getenv("NATS_SERVER"); }

constexpr int kSmall = 300, kFull = 10'000;
TEST(Routing, OnceEachEverywhereOnThePackagedServer) { through_cuts_and_kills({.binary = "nats-server"}, kSmall); }
TEST(Routing, OnceEachEverywhereOnTheServerNamed) {
  if (server_named() == nullptr) GTEST_SKIP() << "NATS_SERVER names no other server";
  through_cuts_and_kills({.binary = server_named()}, kSmall);
}

class RoutingFull : public testing::TestWithParam<std::tuple<const char*, int>> {};
TEST_P(RoutingFull, OnceEachEverywhere) {
  if (!full_size_is_asked_for()) GTEST_SKIP() << kFullSize;
  const auto& [which, nodes] = GetParam();
  const bool packaged = std::string(which) == "Packaged";
  if (!packaged && server_named() == nullptr) GTEST_SKIP() << "NATS_SERVER names no other server";
  const std::map<int, RouteWorld> worlds = {{3, {.core = 3, .witness = true, .edges = 1}}, {5, {.core = 3, .edges = 2}}, {9, {.core = 5, .witness = true, .edges = 5}}};
  RouteWorld world = worlds.at(nodes);
  world.binary = packaged ? "nats-server" : server_named();
  through_cuts_and_kills(world, kFull);
}
INSTANTIATE_TEST_SUITE_P(At, RoutingFull, testing::Combine(testing::Values("Packaged", "Named"), testing::Values(3, 5, 9)), [](const auto& p) {
  return std::string(std::get<0>(p.param)) + "ServerWith" + std::to_string(std::get<1>(p.param)) + "Nodes";
});

// ---- the plan on the running servers
TEST(RoutingPlan, IsAppliedOnceMendedAfterDriftAndNeverMadeAnew) {
  RouteRig rig;
  for (const RouteWork& work : {rig.apply_core(), rig.apply_edge()}) {
    EXPECT_TRUE(work.left);
    EXPECT_TRUE(work.done.empty()) << "applied again, it changes " << work.done.front();
  }
  const auto service = connect(rig.servers, {0}, NatsServers::Account::kApp);
  const auto stored = js_request(*service, "message.created", Json{{"n", 1}}, seconds(2));
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ((*stored)["stream"], "MESSAGE");
  Json config = info_of(*rig.core, "MESSAGE")["config"];
  config["max_age"] = 3'600'000'000'000;
  config["sources"] = Json::array();
  ASSERT_FALSE(js_request(*rig.core, "$JS.API.STREAM.UPDATE.MESSAGE", config, seconds(2))->contains("error"));
  const RouteWork mended = rig.apply_core();
  ASSERT_TRUE(mended.left) << mended.left.error().message;
  ASSERT_EQ(mended.done.size(), 1u);
  EXPECT_TRUE(mended.done[0].starts_with("mended stream MESSAGE (max_age is 3600000000000")) << mended.done[0];
  EXPECT_EQ(info_of(*rig.core, "MESSAGE")["config"]["sources"].size(), 1u);
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 1u) << "and keeps what it holds";
  EXPECT_EQ(js_request(*rig.core, "$JS.API.CONSUMER.INFO.AGENT_RUN.runner", nullptr, seconds(2))->at("config")["filter_subject"], "agent.run.requested.>");
}

/// Somebody else's stream that captures what a rule is to: named by a look before, and where the rule's own cannot be made.
TEST(RoutingPlan, WhatOthersCaptureIsNamedBeforeAndWhenItIsInTheWay) {
  RouteRig rig;
  const RoutePlan more = rig.plan_with({.name = "more", .subjects = {"more.*"}, .max_age_s = 600});
  const auto look = [&](Connection& from) { return in_the_way(from, more, "core", milliseconds(500)); };
  EXPECT_EQ(look(*rig.core), std::vector<std::string>{}) << "the plan's own are not in its way";
  const auto make = [](Connection& at, const std::string& name, const std::vector<std::string>& subjects) {
    const auto made = js_request(at, "$JS.API.STREAM.CREATE." + name, Json{{"name", name}, {"subjects", subjects}, {"num_replicas", 1}}, seconds(5));
    ASSERT_TRUE(made && made->contains("config")) << (made ? made->dump() : made.error().message);
  };
  make(*rig.core, "OTHER", {"unconcerned.>", "more.x.*"});
  make(*rig.edge, "ANOTHER", {"more.y"});
  const std::string advice = ", which the rules are to: delete it, or take its subjects out of the rules";
  const std::vector<std::string> found = {"! core: stream OTHER captures more.x.*" + advice, "! edge: stream ANOTHER captures more.y" + advice};
  EXPECT_EQ(look(*rig.core), found);
  EXPECT_EQ(look(*rig.edge), found) << "as an edge's node sees it";
  for (const RouteWork& work : {apply_core_routes(*rig.core, more, seconds(2)), apply_edge_routes(*rig.edge, more, rig.node(RouteRig::kEdge), "core", seconds(2))}) {
    ASSERT_FALSE(work.left);
    const std::string& left = work.left.error().message;
    EXPECT_TRUE(left.find("(10065)") != std::string::npos && left.ends_with("; delete that one, or take its subjects out of the rule")) << left;
    EXPECT_TRUE(left.find(": OTHER captures more.x.*;") != std::string::npos || left.find(": ANOTHER captures more.y;") != std::string::npos) << left;
  }
  rig.servers.cut_edge();
  EXPECT_TRUE(becomes([&] {
    const auto now = look(*rig.core);
    return now.size() == 2 && now[0] == found[0] && now[1].starts_with("! edge was not looked at: ");
  }));
}

/// The site's own: an edge's capture is acknowledged by the edge, a core's by the core, whoever is near.
TEST(RoutingPlan, EachSiteCapturesItsOwnAndServicesMayNotChangeStreams) {
  RouteRig rig;
  const auto service = connect(rig.servers, {RouteRig::kEdge}, NatsServers::Account::kApp);
  for (int i = 0; i < 20; ++i) {
    const auto edge = js_request(*service, "message.created", Json{{"n", i}}, seconds(2));
    ASSERT_TRUE(edge) << edge.error().message;
    EXPECT_EQ((*edge)["stream"], "MESSAGE_edge");
  }
  EXPECT_TRUE(becomes([&] { return last_sequence_of(*rig.edge, "MESSAGE_MIRROR") == 20; })) << last_sequence_of(*rig.core, "MESSAGE") << " in core";
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 20u);
  for (const char* verb : {"DELETE", "PURGE", "UPDATE"})
    for (const std::string& api : {std::string("$JS.API"), std::string("$JS.core.API")})
      EXPECT_FALSE(js_request(*service, api + ".STREAM." + verb + (api == "$JS.API" ? ".MESSAGE_edge" : ".MESSAGE"), Json::object(), milliseconds(700)))
          << api << " " << verb << " by a service";
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 20u);
}

/// An edge's service hears the cluster's events and asks the control plane, once each: the account's two links do not double it.
TEST(RoutingPlan, TheClustersEventsAndAnswersReachAnEdgeOnce) {
  RouteRig rig;
  const auto control = connect(rig.servers, {0});
  Ear ear(rig.servers.endpoint({RouteRig::kEdge}, "ear", NatsServers::Account::kApp));
  std::atomic<int> asked = 0;
  const auto link = control->handles().link();
  Listener api(control, "cluster.api.>");
  std::atomic<bool> ended = false;
  std::thread answers([&] {
    while (!ended) {
      const MsgPtr request = api.next(50);
      if (!request || natsMsg_GetReply(request.get()) == nullptr) continue;
      ++asked;
      natsConnection_PublishString(link->nc, natsMsg_GetReply(request.get()), "{}");
    }
    nats_ReleaseThreadMemory();
  });
  const auto service = connect(rig.servers, {RouteRig::kEdge}, NatsServers::Account::kApp);
  EXPECT_TRUE(becomes([&] { return !ask(*service, "cluster.api.status", "", 500).empty(); }));
  const int before = asked;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(*service, "cluster.api.status", "", 2000), "{}");
  EXPECT_EQ(asked - before, 10);
  EXPECT_TRUE(becomes([&] {
    natsConnection_PublishString(link->nc, "cluster.events.probe", "x");
    std::this_thread::sleep_for(milliseconds(50));
    return ear.heard().contains("cluster.events.probe");
  }));
  std::this_thread::sleep_for(milliseconds(500));  // for whatever is still on its way
  for (int i = 0; i < 10; ++i) natsConnection_PublishString(link->nc, "cluster.events.once", "x");
  EXPECT_TRUE(becomes([&] { return ear.heard()["cluster.events.once"] >= 10; }));
  std::this_thread::sleep_for(milliseconds(500));  // for whatever would come twice
  EXPECT_EQ(ear.heard()["cluster.events.once"], 10);
  ended = true;
  answers.join();
}

}  // namespace
}  // namespace daarion
