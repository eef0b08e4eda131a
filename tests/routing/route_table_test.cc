// The table where services find it, and the servers' own configuration, as members come and go: on real servers.
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "controlplane/daariond/route_files.h"
#include "controlplane/core/services.h"
#include "streams/js_request.h"
#include "streams/route_keeper.h"
#include "tests/harness/figures.h"
#include "tests/routing/route_rig.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

std::string table(std::uint64_t updated, const std::string& rule) {
  return Json{{"log_id", "a"}, {"updated", updated}, {"rules", {{{"rule", rule}}}}}.dump();
}
std::string newest_table(Connection& app) {
  natsMsg* raw = nullptr;
  const auto link = app.handles().link();
  if (js_GetLastMsg(&raw, link->js, "KV_cluster_routes", "$KV.cluster_routes.table", nullptr, nullptr) != NATS_OK) return {};
  return data_of(MsgPtr(raw).get());
}

TEST(RoutingTable, IsPutOnceByWhoeverComesFirstAndNeverGoesBack) {
  RouteRig rig;
  const auto put = [&](const std::string& text) { return put_route_table(*rig.core, text, seconds(2)); };
  EXPECT_EQ(put(table(1, "one")).value(), true);
  EXPECT_EQ(put(table(1, "one")).value(), false);
  EXPECT_EQ(put(table(3, "three")).value(), true);
  EXPECT_EQ(put(table(2, "two")).value(), false) << "a node that is behind";
  EXPECT_EQ(newest_table(*rig.core), table(3, "three"));
  EXPECT_EQ(put_route_table(*rig.core, table(3, "worded otherwise"), seconds(2), false).value(), false) << "by another version: it is left to whoever was first";
  EXPECT_EQ(put(table(3, "another")).value(), true) << "the log lost what was there, and has another event 3";
  EXPECT_EQ(put(Json{{"log_id", "a"}, {"version", 9}}.dump()).value(), false) << "one of an earlier version does not go over it";
  EXPECT_FALSE(put("no table"));
  EXPECT_EQ(put(Json{{"log_id", "a"}, {"updated", 2}, {"regressed", 2}}.dump()).value(), true) << "the log lost event 3, and goes on";
  EXPECT_EQ(put(table(9, "of before")).value(), false);
  EXPECT_EQ(put(Json{{"log_id", "b"}, {"updated", 1}}.dump()).value(), true) << "another log";
  EXPECT_EQ(put(table(3, "another")).value(), true);
  // Many at once: one of them wrote, and the newest stands.
  std::atomic<int> wrote = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < 6; ++i)
    writers.emplace_back([&, i] {
      const auto connection = connect(rig.servers, {i % 3}, NatsServers::Account::kRoutes);
      for (std::uint64_t version = 4; version < 14; ++version)
        if (put_route_table(*connection, table(version, "many"), seconds(2)).value_or(false)) ++wrote;
      nats_ReleaseThreadMemory();
    });
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(newest_table(*rig.core), table(13, "many"));
  EXPECT_LE(wrote, 10) << "a version was announced twice";
  EXPECT_EQ(last_sequence_of(*rig.core, "KV_cluster_routes"), 6u + static_cast<unsigned>(wrote));
}

// ---- from the fold to the services
constexpr double kPublishedLimitMs = 100;

std::string table_text(const State& state) {
  const RouteState& table = state.routes.at("table");
  Json rules = Json::array();
  for (const RouteRule& rule : table.rules) rules.push_back({{"rule", rule.name}});
  return Json{{"log_id", to_text(state.log.log)}, {"version", table.version.value}, {"updated", routes_changed(state).value}, {"rules", rules}}.dump();
}

TEST(RoutingTable, ReachesServicesOfEverySiteWithin100MsOfTheFold) {
  RouteRig rig;
  Log log = log_of(rig);
  const auto keeper_at = [&](int index, const std::shared_ptr<Connection>& app) {
    return make_route_keeper({.app = app, .self = rig.node(index), .edge = index == RouteRig::kEdge, .core_domain = "core"}, table_text, [](const std::string&) {});
  };
  const auto core = keeper_at(0, rig.core), edge = keeper_at(RouteRig::kEdge, rig.edge);
  std::vector<double> took;
  for (const auto& [app, keeper, server] : {std::tuple(rig.core, core.get(), 1), std::tuple(rig.edge, edge.get(), RouteRig::kEdge)}) {
    const auto service = connect(rig.servers, {server}, NatsServers::Account::kApp);
    Listener changed(service, kRouteChanged);
    natsConnection_Flush(service->handles().link()->nc);
    for (int i = 0; i < 20; ++i) {
      log.add(RouteTableChanged{{RouteRule{.name = "r" + std::to_string(i), .subjects = {"a.>"}}}});
      const auto folded = Clock::now();
      keeper->folded(std::make_shared<const State>(log.state));
      const MsgPtr message = changed.next(5000);
      took.push_back(std::chrono::duration<double, std::milli>(Clock::now() - folded).count());
      ASSERT_TRUE(message) << "table " << i << " was not announced";
      EXPECT_EQ(Json::parse(data_of(message.get()))["version"], log.state.routes.at("table").version.value);
      EXPECT_EQ(newest_table(*app), table_text(log.state));
    }
    EXPECT_FALSE(changed.next(300)) << "a table was announced twice";
  }
  EXPECT_TRUE(core->warnings().empty() && edge->warnings().empty());
  const double worst = *std::ranges::max_element(took);
  EXPECT_LE(worst, kPublishedLimitMs);
  say_machine(rig.servers.version());
  say({.name = "route_table_published_after_fold_ms", .value = worst, .unit = "ms", .samples = took, .limit = "<=100", .ok = worst <= kPublishedLimitMs});
}

/// Who reads the table for the first time after somebody deleted its bucket finds it, though nothing has changed since.
TEST(RoutingTable, IsThereAgainAfterItsBucketWasDeleted) {
  RouteRig rig;
  Log log = log_of(rig);
  log.add(RouteTableChanged{{RouteRule{.name = "r", .subjects = {"a.>"}}}});
  const auto keeper = make_route_keeper({.app = rig.edge, .self = rig.node(RouteRig::kEdge), .edge = true, .core_domain = "core", .verify_every = milliseconds(300)}, table_text,
                                        [](const std::string&) {});
  keeper->folded(std::make_shared<const State>(log.state));
  ASSERT_TRUE(becomes([&] { return newest_table(*rig.edge) == table_text(log.state); }));
  ASSERT_FALSE(js_request(*rig.edge, "$JS.API.STREAM.DELETE.KV_cluster_routes", nullptr, seconds(2))->contains("error"));
  EXPECT_TRUE(becomes([&] { return newest_table(*rig.edge) == table_text(log.state); }, seconds(10)));
}

/// What somebody else changed is mended, and what cannot be is said.
TEST(RoutingKeeper, MakesWhatTheLogAsksForAndSaysWhatItCannot) {
  RouteRig rig;
  Log log = log_of(rig);
  std::mutex mutex;
  std::vector<std::string> said;
  const auto keeper = make_route_keeper({.app = rig.core, .self = rig.node(0), .core_domain = "core"}, table_text, [&](const std::string& done) {
    const std::lock_guard lock(mutex);
    said.push_back(done);
  });
  TopologySpec spec = rig.servers.file().spec;
  spec.routes.push_back({.name = "more", .subjects = {"more.*"}, .max_age_s = 60});
  log.add(TopologyChanged{spec, "other"});
  keeper->folded(std::make_shared<const State>(log.state));
  EXPECT_TRUE(becomes([&] { return js_request(*rig.core, "$JS.API.STREAM.INFO.MORE", nullptr, seconds(2))->contains("config"); }));
  EXPECT_TRUE(becomes([&] {
    const std::lock_guard lock(mutex);
    return std::ranges::find(said, "made stream MORE") != said.end();
  }));
  EXPECT_TRUE(keeper->warnings().empty());
  spec.routes.back().subjects = {"message.*"};  // lint would have refused it
  log.add(TopologyChanged{spec, "third"});
  keeper->folded(std::make_shared<const State>(log.state));
  EXPECT_TRUE(becomes([&] { return !keeper->warnings().empty(); })) << "two streams cannot take the same subjects";
}

/// A node that joins is local from then on, without a restart: its subjects are denied to the others' clients.
TEST(RoutingFiles, AServerDeniesItsClientsWhatIsLocalToANodeThatJoins) {
  RouteRig rig;
  const auto service = connect(rig.servers, {1}, NatsServers::Account::kApp), anybody = connect(rig.servers, {1}, NatsServers::Account::kRoutes);
  const auto passes = [&](const std::string& subject) {
    Listener here(service, ">");
    natsConnection_Flush(service->handles().link()->nc);
    natsConnection_PublishString(anybody->handles().link()->nc, subject.c_str(), "x");
    // Whatever else the account says, advisories of JetStream for one, is not what was asked.
    const auto end = Clock::now() + milliseconds(300);
    while (Clock::now() < end) {
      const MsgPtr heard = here.next(50);
      if (heard && subject == natsMsg_GetSubject(heard.get())) return true;
    }
    return false;
  };
  EXPECT_TRUE(passes("node.node9.local.x")) << "no member yet";
  EXPECT_FALSE(passes("node.node1.local.x"));
  TopologySpec spec = rig.servers.file().spec;
  spec.nodes.push_back({NodeId("node9"), "127.0.0.9", "", NodeRole::kEdge});
  const auto keep = [&](const RoutePlan& plan) { return keep_route_files(rig.servers.file(), rig.node(1), rig.servers.folder(), plan); };
  const auto nothing_left = [](const RouteWork& work) { return work.left && work.done.empty(); };
  EXPECT_TRUE(nothing_left(keep(rig.plan))) << "it is as planned";
  const RouteWork done = keep(plan_routes(spec));
  ASSERT_TRUE(done.left) << done.left.error().message;
  ASSERT_EQ(done.done.size(), 1u);
  EXPECT_TRUE(done.done[0].ends_with("node2.routes.conf, node2 reads it")) << done.done[0];
  EXPECT_TRUE(becomes([&] { return !passes("node.node9.local.x"); }, seconds(10)));
  EXPECT_TRUE(passes("node.node2.local.x"));
  EXPECT_TRUE(nothing_left(keep(plan_routes(spec))));
  EXPECT_FALSE(keep_route_files(rig.servers.file(), rig.node(1), "/nonexistent", plan_routes(spec)).left);
  ASSERT_TRUE(keep(rig.plan).left) << "it retires";
  EXPECT_TRUE(becomes([&] { return passes("node.node9.local.x"); }, seconds(10)));
}

/// What a daemon wrote that ended before it told the server, what a server is not told since nobody knows its process, and what only a start takes up.
TEST(RoutingFiles, AServerThatDidNotReadThemIsToldAgainAndWhatItLacksIsNamed) {
  RouteRig rig;
  const ClusterFile file = rig.servers.file();
  const auto keep = [&](int n, const RoutePlan& plan) { return keep_route_files(file, rig.node(n), rig.servers.folder(), plan).left; };
  const auto has_it = [&](int n, const RoutePlan& plan) { return becomes([&] { return keep(n, plan).has_value(); }, seconds(20)); };
  const auto lacks = [&](int n, const RoutePlan& plan) {
    const auto left = keep(n, plan);
    return left ? std::string() : left.error().message;
  };
  const auto all = nats_plan(file);
  const NatsServerPlan& server = *std::ranges::find(all, rig.node(1), &NatsServerPlan::node);
  const std::string path = rig.servers.folder() + "/" + routes_file_of(server), pid = rig.servers.folder() + "/" + pid_file_of(server);
  TopologySpec spec = file.spec;
  spec.nodes.push_back({NodeId("node9"), "127.0.0.9", "", NodeRole::kEdge});
  const RoutePlan joined = plan_routes(spec);
  ASSERT_TRUE(has_it(1, rig.plan));
  // As a daemon writes it: the kernel's own date of a file is that of its last tick, which may be before the server's last look.
  const auto written = [&](const RoutePlan& plan) {
    std::ofstream(path, std::ios::trunc) << render_routes(plan, server);
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now());
  };
  written(joined);
  EXPECT_EQ(lacks(1, joined), "node2 has not read " + path + "; its log says what it refuses") << "and is told now";
  EXPECT_TRUE(has_it(1, joined));
  std::filesystem::rename(pid, pid + ".away");
  written(rig.plan);
  EXPECT_NE(lacks(1, rig.plan).find(pid + " names no process of it; reload it"), std::string::npos) << lacks(1, rig.plan);
  std::filesystem::rename(pid + ".away", pid);
  EXPECT_TRUE(has_it(1, rig.plan));

  ASSERT_TRUE(has_it(RouteRig::kEdge, rig.plan)) << "what it denied when it started";
  const RoutePlan more = rig.plan_with({.name = "more", .subjects = {"more.*"}, .max_age_s = 60});
  const std::string until = "the leaf link of edge denies as before until that server is restarted";
  EXPECT_TRUE(becomes([&] { return lacks(RouteRig::kEdge, more).starts_with(until); }, seconds(20))) << lacks(RouteRig::kEdge, more);
  rig.servers.kill(RouteRig::kEdge);
  rig.servers.start(RouteRig::kEdge);
  EXPECT_TRUE(has_it(RouteRig::kEdge, more));
}

/// Members that come and go change every server's file: services on all of them publish on meanwhile.
TEST(RoutingFiles, PublishersGoOnWhileServersReadTheirFiles) {
  constexpr int kChanges = 10;
  constexpr double kGapLimitMs = 2000;  // what a publisher waits for its answer
  RouteRig rig;
  const ClusterFile file = rig.servers.file();
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers;
  for (const int i : rig.nodes()) publishers.push_back(rig.publisher({i}, {"message.received.helion"}, 1, done));
  ASSERT_TRUE(becomes([&] { return std::ranges::all_of(publishers, [](const auto& publisher) { return publisher->acked() > 50; }); }));
  const auto begun = Clock::now();
  for (int change = 0; change < kChanges; ++change) {
    TopologySpec spec = file.spec;
    if (change % 2 == 0) spec.nodes.push_back({NodeId("node9"), "127.0.0.9", "", NodeRole::kEdge});
    const RoutePlan plan = plan_routes(spec);
    for (const int i : rig.nodes())
      EXPECT_TRUE(becomes([&] { return keep_route_files(file, rig.node(i), rig.servers.folder(), plan).left.has_value(); }, seconds(20))) << rig.servers.name(i);
  }
  std::vector<double> gaps;
  for (const auto& publisher : publishers) gaps.push_back(publisher->longest_gap_ms(begun));
  done = true;
  for (const auto& publisher : publishers) publisher->join();
  const double worst = *std::ranges::max_element(gaps);
  EXPECT_LE(worst, kGapLimitMs);
  say_machine(rig.servers.version());
  say({.name = "routing_publish_gap_while_servers_read_their_files_ms", .value = worst, .unit = "ms", .samples = gaps, .limit = "<=2000", .ok = worst <= kGapLimitMs});
}

}  // namespace
}  // namespace daarion
