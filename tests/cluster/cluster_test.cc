// Whole clusters of real processes: daemon, guards, PostgreSQL and nats-servers as they are shipped.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "controlplane/node/clock.h"
#include "controlplane/topology/render.h"
#include "streams/js_request.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::kOne;
using test::kTwo;
using test::kThree;
using test::kNatsServers;
using test::kPostgres;

/// The first value of the answer, or why there is none; empty: no row.
std::string first_value(const dev::LocalCluster& cluster, const NodeId& at, const std::string& sql, const std::string& resource = kPostgres) {
  const auto c = cluster.superuser(at, seconds(2), resource);
  const auto rows = c ? (*c)->query(sql, seconds(5)) : tl::unexpected(c.error());
  return !rows ? rows.error().message : rows->empty() ? "" : (*rows)[0][0];
}

/// Until the newest event of that kind that node2 has folded is what was asked of it and names the request, and node2 streams.
template <class Answer>
Result<void> await_answer(dev::LocalCluster& cluster, const v1::Mutation& asked, const std::string& what, Duration limit, const std::function<bool(const Answer&)>& is_it) {
  return cluster.await_that(what, limit, cluster.log_of(kTwo, Part::kDaemon), [&] {
    const auto now = cluster.view(kTwo);
    const auto log = now ? test::read_log(cluster, Sequence{asked.sequence()}, Sequence{now->sequence}, NodeId()) : fail(Remedy::kRetry, "");
    const LogEvent* done = log ? test::last_of<Answer>(log->events) : nullptr;
    return done && is_it(std::get<Answer>(done->event.payload)) && to_text(done->event.header.cause) == asked.event().id() && now->streams(kPostgres, "node2");
  });
}

/// A service of that node finds the route table and its streams, and asks where a subject goes: `stream` captures it.
void expect_routes(dev::LocalCluster& cluster, const NodeId& node, const std::string& stream) {
  std::string url;
  for (const NatsServerPlan& server : cluster.servers())
    if (server.node == node && server.kind != NatsServerPlan::Kind::kWitness) url = server.url();
  const auto service = Connection::open({.urls = {url}, .user = kAppUser, .password = cluster.secrets()["DAARION_APP_PASSWORD"], .name = "service"});
  ASSERT_OK(service);
  const auto ask = [&](const std::string& subject, const nlohmann::json& body) {
    auto answer = js_request(**service, subject, body, seconds(2));
    return answer ? *answer : nlohmann::json::object();
  };
  const nlohmann::json newest = {{"last_by_subj", "$KV.cluster_routes.table"}}, wanted = {{"subject", "message.created"}, {"from", node.value}};
  ASSERT_OK(cluster.await_that("the route table on " + node.value, seconds(20), cluster.log_of(node, Part::kDaemon),
                               [&] { return ask("$JS.API.STREAM.MSG.GET.KV_cluster_routes", newest).contains("message"); }));
  ASSERT_OK(cluster.await_that(stream + " on " + node.value, seconds(20), cluster.log_of(node, Part::kDaemon),
                               [&] { return ask("message.created", {{"n", 1}}).value("stream", "") == stream; }));
  EXPECT_EQ(ask("cluster.api.resolve", wanted).value("stream", ""), stream);
  EXPECT_FALSE(ask("cluster.api.routes", nullptr)["rules"].empty());
}

TEST(Cluster, LosesItsWriterTakesItBackAndHandsHome) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter one(cluster.application(kOne), "one"), two(cluster.application(kTwo), "two");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return one.count() > 50; }));
  EXPECT_EQ(two.count(), 0u) << "a replica took a row";

  // node1's stream is held first, so that it has something that node2 never gets.
  for (const dev::ProcessInfo& p : cluster.processes(kOne, Part::kPostgres))
    if (p.command.find("walsender") != std::string::npos) dev::send_signal(p.id, SIGSTOP);
  const std::size_t held = one.count();
  ASSERT_OK(cluster.await_that("rows for node1 alone", seconds(5), "", [&] { return one.count() > held + 5; }));
  ASSERT_OK(cluster.kill(kOne));
  EXPECT_TRUE(cluster.processes(kOne).empty());
  const Instant killed = node_now();
  ASSERT_OK(cluster.await_that("rows at node2", seconds(30), cluster.log_of(kTwo, Part::kDaemon), [&] { return two.first_after(killed) != kNever; }));

  ASSERT_OK(cluster.await(kTwo, "node1's nats-server named, and the meta group's leader", seconds(30), [](const dev::ClusterView& v) {
    return !v.holder_of("nats").empty() && std::ranges::find(v.warnings, "nats: server of node1: no answer") != v.warnings.end();
  }));

  const std::size_t before = one.count();
  ASSERT_OK(cluster.start(kOne));
  ASSERT_OK(cluster.await(kTwo, "node1 streaming", seconds(30), [](const dev::ClusterView& v) { return v.streams(kPostgres, "node1"); }));
  EXPECT_EQ(one.count(), before) << "node1 took a row before it was asked to";
  const auto settled = cluster.await_settled(seconds(30));
  ASSERT_OK(settled);
  auto log = test::read_log(cluster, Sequence{1}, Sequence{settled->sequence}, kThree);
  ASSERT_OK(log);
  const LogEvent* rejoined = test::last_of<ReplicaRejoined>(log->events);
  ASSERT_NE(rejoined, nullptr);
  EXPECT_EQ(std::get<ReplicaRejoined>(rejoined->event.payload).method, "rewind");
  EXPECT_EQ(settled->resource(kPostgres)->epoch, 2u);
  EXPECT_NE(test::last_of<RouteTableChanged>(log->events), nullptr);
  expect_routes(cluster, kOne, "MESSAGE");
  expect_routes(cluster, kThree, "MESSAGE_node3");

  const Instant asked = node_now();
  ASSERT_OK(test::switchover(cluster, kThree, kOne, "test"));
  ASSERT_OK(cluster.await_that("rows at node1", seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return one.first_after(asked) != kNever; }));
  ASSERT_OK(cluster.await_settled(seconds(30)));
  one.stop();
  two.stop();
  const auto missing = dev::missing_rows(cluster.application(kOne), two, seconds(5));
  ASSERT_OK(missing);
  EXPECT_TRUE(missing->empty()) << missing->size() << " rows of " << two.count() << " were lost by a planned switchover";

  Sequence to;
  ASSERT_OK(cluster.await_that("all nodes at the same event", seconds(20), "", [&] {
    const auto a = cluster.view(kOne), b = cluster.view(kTwo), c = cluster.view(kThree);
    if (!a || !b || !c || a->sequence != b->sequence || b->sequence != c->sequence) return false;
    to = Sequence{a->sequence};
    return a->digest == b->digest && b->digest == c->digest;
  }));
  const auto mirror = test::read_mirror(cluster, kThree, to);
  ASSERT_OK(mirror);
  for (const NodeId& node : {kOne, kTwo, kThree}) {
    const auto replayed = test::replay(cluster, node, to);
    ASSERT_OK(replayed);
    EXPECT_EQ(replayed->digest(), to_text(mirror->digest)) << node.value;
    EXPECT_EQ(replayed->chain(), mirror->chain) << node.value;
  }
  ASSERT_OK(cluster.down(false));
  EXPECT_FALSE(std::filesystem::exists(cluster.folder()));
}

/// When the postmaster that runs there was started; or why it does not say.
std::string engine_began(dev::LocalCluster& cluster, const NodeId& node) {
  const auto c = cluster.superuser(node, seconds(2));
  const auto at = c ? (*c)->query("select pg_postmaster_start_time()", seconds(2)) : tl::unexpected(c.error());
  return at ? (*at)[0][0] : at.error().message;
}

/// The daemon dies with all that it had on disk, and is started again; its guard and the engine go on.
Result<void> lose_files(dev::LocalCluster& cluster, const NodeId& node) {
  if (const auto killed = cluster.kill(node, Part::kDaemon); !killed) return tl::unexpected(killed.error());
  for (const auto& entry : std::filesystem::directory_iterator(cluster.node_folder(node) + "/data")) std::filesystem::remove_all(entry.path());
  return cluster.start(node, Part::kDaemon);
}

/// Beats go from daemon to daemon too: without any NATS the log stands still, and the writer goes on.
TEST(Cluster, AllOfNatsGoneForTwoLeasesDemotesNobody) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto before = cluster.await_settled(seconds(60));
  ASSERT_OK(before);
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter writer(cluster.application(kOne), "one");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return writer.count() > 50; }));
  for (const auto& [node, part] : kNatsServers) ASSERT_OK(cluster.kill(node, part));
  const Instant gone = node_now();
  std::this_thread::sleep_for(seconds(4));  // the fault's length: two leases
  const Instant back = node_now();
  for (const auto& [node, part] : kNatsServers) ASSERT_OK(cluster.start(node, part));
  const auto after = cluster.await_settled(seconds(60));
  ASSERT_OK(after);
  EXPECT_EQ(after->resource(kPostgres)->epoch, before->resource(kPostgres)->epoch);
  EXPECT_EQ(after->holder_of(kPostgres), "node1");
  writer.stop();
  EXPECT_LT(to_ms(dev::longest_gap({&writer}, gone, back).length()), 500) << "the writer stopped while NATS was away";
  auto log = test::read_log(cluster, Sequence{before->sequence + 1}, Sequence{after->sequence}, kThree);
  ASSERT_OK(log);
  EXPECT_EQ(test::last_of<PromotionDecided>(log->events), nullptr);
  EXPECT_EQ(test::last_of<LeaseReleased>(log->events), nullptr);
}

/// What the daemon of a holder needs to keep its lease is its guard and the other daemons: not NATS.
TEST(Cluster, ADaemonThatIsStartedAgainWithoutAnyNatsKeepsItsLease) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto before = cluster.await_settled(seconds(60));
  ASSERT_OK(before);
  const NodeId holder(before->holder_of(kPostgres));
  const std::string began = engine_began(cluster, holder);
  for (const auto& [node, part] : kNatsServers) ASSERT_OK(cluster.kill(node, part));
  ASSERT_OK(cluster.kill(holder, Part::kDaemon));
  ASSERT_OK(cluster.start(holder, Part::kDaemon));
  std::this_thread::sleep_for(seconds(4));  // the fault's length: two leases
  for (const auto& [node, part] : kNatsServers) ASSERT_OK(cluster.start(node, part));
  const auto after = cluster.await_settled(seconds(60));
  ASSERT_OK(after);
  EXPECT_EQ(after->resource(kPostgres)->epoch, before->resource(kPostgres)->epoch);
  EXPECT_EQ(engine_began(cluster, holder), began) << "the engine was fenced while NATS was away";
}

/// Another installation takes the session up from the guard, and can hand it over in order.
TEST(Cluster, AHolderThatLosesItsFilesUnderItsGuardGoesOn) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto before = cluster.await_settled(seconds(60));
  ASSERT_OK(before);
  const std::uint64_t epoch = before->resource(kPostgres)->epoch;
  const std::string began = engine_began(cluster, kOne);
  ASSERT_OK(lose_files(cluster, kOne));
  ASSERT_OK(cluster.await_that("the lease under the next epoch", seconds(10), cluster.log_of(kOne, Part::kDaemon), [&] {
    const auto view = cluster.view(kTwo);
    return view && view->holder_of(kPostgres) == "node1" && view->resource(kPostgres)->epoch == epoch + 1;
  }));
  EXPECT_EQ(engine_began(cluster, kOne), began) << "the engine was fenced";
  ASSERT_OK(test::switchover(cluster, kTwo, kTwo, "its files were lost"));
  ASSERT_OK(cluster.await(kTwo, "node2 writing", seconds(30), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2"; }));
  const auto after = cluster.await_settled(seconds(60));
  ASSERT_OK(after);
  EXPECT_EQ(after->holder_of(kPostgres), "node2");
  const auto log = test::read_log(cluster, Sequence{before->sequence + 1}, Sequence{after->sequence}, kThree);
  ASSERT_OK(log);
  const auto kept = std::ranges::find_if(log->events, [](const LogEvent& e) { return std::holds_alternative<PromotionDecided>(e.event.payload); });
  ASSERT_NE(kept, log->events.end());
  EXPECT_EQ(kept->event.header.reason, "the lease of epoch " + std::to_string(epoch) + " lives, and the log names another installation of node1: its files were lost");
  const LogEvent* released = test::last_of<LeaseReleased>(log->events);
  ASSERT_NE(released, nullptr);
  EXPECT_TRUE(std::get<LeaseReleased>(released->event.payload).final_position) << "nobody may lack what it wrote";
}

/// node3's voter is another one from then on; the others make it one of the set, and its promise is what node2 needs when node1 is lost.
TEST(Cluster, AVoterWhoseDiskWasReplacedIsOneAgain) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  test::add_to_control(cluster, "log_sync: 2s");  // no power is cut here, so nobody need wait for the servers' disks
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter two(cluster.application(kTwo), "two");

  const auto sets = [&] {
    std::vector<LogEvent> out;
    const auto view = cluster.view(kOne);
    const auto log = view ? test::read_log(cluster, Sequence{1}, Sequence{view->sequence}, kThree) : tl::unexpected(view.error());
    for (const LogEvent& e : log ? log->events : std::vector<LogEvent>{})
      if (std::holds_alternative<VoterSetChanged>(e.event.payload)) out.push_back(e);
    return out;
  };
  ASSERT_EQ(sets().size(), 1u);
  ASSERT_OK(lose_files(cluster, kThree));
  ASSERT_OK(cluster.await_that("node3's new installation in the voter set", seconds(60), cluster.log_of(kOne, Part::kDaemon), [&] { return sets().size() == 3; }));
  const auto changes = sets();
  const auto& first = std::get<VoterSetChanged>(changes[0].event.payload);
  const auto& last = std::get<VoterSetChanged>(changes[2].event.payload);
  EXPECT_EQ(std::get<VoterSetChanged>(changes[1].event.payload).voters, (std::vector{first.voters[0], first.voters[1]}));
  ASSERT_EQ(last.voters.size(), 3u);
  EXPECT_EQ(last.voters[2].node, kThree);
  EXPECT_NE(last.voters[2].instance, first.voters[2].instance);
  EXPECT_NE(changes[1].event.header.reason.find("the disk of node3 was replaced"), std::string::npos) << changes[1].event.header.reason;

  const auto killed = cluster.kill(kOne);
  ASSERT_OK(killed);
  ASSERT_OK(cluster.await_that("rows at node2", seconds(30), cluster.log_of(kTwo, Part::kDaemon), [&] { return two.first_after(*killed) != kNever; }));
}

/// node3's engine freezes: it confirms nothing more, nobody knows what it has, and it is left out of the set. Then node1 is lost, and node2 has all that was
/// acknowledged: nothing is waited for.
TEST(Cluster, WhoConfirmsNoMoreIsLeftOutAndNoAcknowledgedRowIsLost) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_NO_FATAL_FAILURE(test::replace_in_file(cluster, "replicas: [NODE2]", "replicas: [NODE2, NODE3]"));
  ASSERT_NO_FATAL_FAILURE(test::replace_in_file(cluster, "sync: async", "sync: quorum"));
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter one(cluster.application(kOne), "one"), two(cluster.application(kTwo), "two");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return one.count() > 50; }));
  const auto confirmers = [&] {
    const auto view = cluster.view(kTwo);
    const auto log = test::read_log(cluster, Sequence{1}, Sequence{view ? view->sequence : 0}, kThree);
    const LogEvent* said = log ? test::last_of<SyncSetChanged>(log->events) : nullptr;
    return said ? std::get<SyncSetChanged>(said->event.payload).members : std::vector<NodeId>{};
  };
  ASSERT_OK(cluster.await_that("both replicas in the log's set", seconds(20), cluster.log_of(kOne, Part::kDaemon), [&] { return confirmers() == std::vector{kTwo, kThree}; }));
  for (const dev::ProcessInfo& p : cluster.processes(kThree, Part::kPostgres)) dev::send_signal(p.id, SIGSTOP);
  ASSERT_OK(cluster.await_that("node2 alone in the log's set", seconds(40), cluster.log_of(kOne, Part::kDaemon), [&] { return confirmers() == std::vector{kTwo}; }));
  const Instant left = node_now();
  ASSERT_OK(cluster.await_that("rows that node2 alone confirms", seconds(10), cluster.log_of(kOne, Part::kDaemon), [&] { return one.first_after(left) != kNever; }));

  ASSERT_OK(cluster.kill(kOne));
  ASSERT_OK(cluster.await(kTwo, "node2 writing", seconds(30), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2"; }));
  EXPECT_EQ(two.count(), 0u) << "nobody is there who could confirm it";
  const Instant thawed = node_now();
  for (const dev::ProcessInfo& p : cluster.processes(kThree, Part::kPostgres)) dev::send_signal(p.id, SIGCONT);
  ASSERT_OK(cluster.await_that("rows at node2", seconds(30), cluster.log_of(kTwo, Part::kDaemon), [&] { return two.first_after(thawed) != kNever; }));
  one.stop();
  two.stop();
  const auto missing = dev::missing_rows(cluster.application(kTwo), one, seconds(5));
  ASSERT_OK(missing);
  EXPECT_TRUE(missing->empty()) << missing->size() << " of " << one.count() << " acknowledged rows were lost";
}

TEST(Cluster, OfOneNodeWritesStopsInOrderAndComesBack) {
  auto made = test::ScratchCluster::make(1);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto view = cluster.await_settled(seconds(60));
  ASSERT_OK(view);
  EXPECT_EQ(view->holder_of(kPostgres), "node1");
  EXPECT_EQ(view->failure_tolerance, 0u);
  ASSERT_OK(cluster.stop(kOne, seconds(45)));
  ASSERT_OK(cluster.start_all());
  const auto again = cluster.await_settled(seconds(60));
  ASSERT_OK(again);
  EXPECT_EQ(again->holder_of(kPostgres), "node1");
  EXPECT_EQ(again->log_id, view->log_id);
}

/// Each has its own lease, data, ports and slots: what one node's loss moves is what that node held.
TEST(Cluster, TwoPostgresClustersOnTheSameNodesMoveEachForItself) {
  const std::string kBilling = "billing";
  auto made = test::ScratchCluster::make(3, {}, "", false, "postgres", {kPostgres, "postgres-billing"});
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto view = cluster.await_settled(seconds(60));
  ASSERT_OK(view);
  EXPECT_EQ(view->holder_of(kPostgres), "node1");
  EXPECT_EQ(view->holder_of(kBilling), "node2");
  const auto sql = [&](const std::string& resource, const NodeId& at, const std::string& text) { return first_value(cluster, at, text, resource); };
  for (const auto& [resource, at] : {std::pair(std::string(kPostgres), kOne), std::pair(kBilling, kTwo)}) EXPECT_EQ(sql(resource, at, "create table t (n int)"), "");
  const auto put = [&](const std::string& resource, const NodeId& at, const std::string& n) { return sql(resource, at, "insert into t values (" + n + ") returning n") == n; };
  EXPECT_TRUE(put(kPostgres, kOne, "1") && put(kBilling, kTwo, "2"));
  EXPECT_EQ(sql(kPostgres, kOne, "select count(*) from t where n = 2"), "0") << "one cluster's rows in the other";
  const auto has = [&](const std::string& resource, const NodeId& at, const std::string& n) { return sql(resource, at, "select count(*) from t where n = " + n) == "1"; };
  ASSERT_OK(cluster.await_that("each row at its replica", seconds(10), "", [&] { return has(kPostgres, kTwo, "1") && has(kBilling, kOne, "2"); }));

  ASSERT_OK(cluster.kill(kOne));
  EXPECT_TRUE(put(kBilling, kTwo, "3")) << "its primary was not on the node that was lost";
  ASSERT_OK(cluster.await_that("a write of postgres at node2", seconds(30), cluster.log_of(kTwo, Part::kDaemon), [&] { return put(kPostgres, kTwo, "4"); }));
  ASSERT_OK(cluster.start(kOne));
  const auto both = cluster.await(kTwo, "node1 streaming of both", seconds(60), [&](const dev::ClusterView& v) { return v.streams(kPostgres, "node1") && v.streams(kBilling, "node1"); });
  ASSERT_OK(both);
  EXPECT_EQ(both->resource(kPostgres)->epoch, 2u);
  EXPECT_EQ(both->resource(kBilling)->epoch, 1u);

  ASSERT_OK(cluster.await_settled(seconds(30)));
  ASSERT_OK(cluster.kill(kTwo));
  ASSERT_OK(cluster.await_that("a write of each at node1", seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return put(kPostgres, kOne, "5") && put(kBilling, kOne, "6"); }));
  for (const auto& [resource, rows] : {std::pair(std::string(kPostgres), "1,4,5"), std::pair(kBilling, "2,3,6")})
    EXPECT_EQ(sql(resource, kOne, "select string_agg(distinct n::text, ',' order by n::text) from t"), rows) << resource;
  const auto after = cluster.await(kOne, "both held by node1", seconds(30), [&](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node1" && v.holder_of(kBilling) == "node1"; });
  ASSERT_OK(after);
  auto log = test::read_log(cluster, Sequence{1}, Sequence{after->sequence}, kTwo);
  ASSERT_OK(log);
  std::map<std::string, int> promoted;
  for (const LogEvent& e : log->events)
    if (const auto* decided = std::get_if<PromotionDecided>(&e.event.payload); decided && decided->kind == DecisionKind::kFailover) ++promoted[e.event.header.resource.value];
  EXPECT_EQ(promoted, (std::map<std::string, int>{{kPostgres, 2}, {kBilling, 1}}));
}

TEST(Cluster, OfTwoNodesReplicatesAndNeverElects) {
  auto made = test::ScratchCluster::make(2);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  const auto view = cluster.await_settled(seconds(60));
  ASSERT_OK(view);
  EXPECT_EQ(view->voters, 1u);
  EXPECT_EQ(view->failure_tolerance, 0u);

  const auto refused = test::rejoin(cluster, kTwo, kOne, "test");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("node1 is its holder"), std::string::npos) << refused.error().message;
  ASSERT_OK(cluster.await(kTwo, "node2 streaming", seconds(30), [](const dev::ClusterView& v) { return v.streams(kPostgres, "node2"); }));
  const auto started = [&] { return first_value(cluster, kTwo, "select pg_postmaster_start_time()"); };
  const std::string before = started();
  const auto restart = test::restart(cluster, kTwo, kTwo, "test");
  ASSERT_OK(restart);
  ASSERT_OK(await_answer<ReplicaRestarted>(cluster, *restart, "node2's engine started anew", seconds(30), [](const ReplicaRestarted&) { return true; }));
  EXPECT_NE(started(), before);

  const auto asked = test::rejoin(cluster, kTwo, kTwo, "test");
  ASSERT_OK(asked);
  ASSERT_OK(await_answer<ReplicaRejoined>(cluster, *asked, "node2's data copied anew", seconds(40), [](const ReplicaRejoined& done) { return done.method == "rebuild"; }));

  ASSERT_OK(cluster.kill(kOne));
  std::this_thread::sleep_for(seconds(5));  // the fault's length: two leases and a half
  const auto c = cluster.superuser(kTwo, seconds(2));
  ASSERT_OK(c);
  const auto recovering = (*c)->query("select pg_is_in_recovery()", seconds(2));
  ASSERT_OK(recovering);
  EXPECT_EQ((*recovering)[0][0], "t") << "node2 was opened without a vote";
}

TEST(Cluster, ADaemonWithAnotherPasswordEndsAndSaysSo) {
  auto made = test::ScratchCluster::make(1);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  cluster.secrets()["DAARION_CONTROL_PASSWORD"] = "wrong";
  const auto started = cluster.start(kOne);
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("refuses this user or password"), std::string::npos) << started.error().message;
  EXPECT_TRUE(cluster.processes(kOne, Part::kPostgres).empty());
}

TEST(Cluster, DataThatAreNotOursAreLeftAlone) {
  auto made = test::ScratchCluster::make(1);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  const std::string data = cluster.node_folder(kOne) + "/postgres";
  std::filesystem::create_directories(data);
  std::ofstream(data + "/PG_VERSION") << "15\n";
  std::ofstream(data + "/somebody's") << "data";
  ASSERT_OK(cluster.start(kOne));
  const auto view = cluster.await(kOne, "a word on data that are not ours", seconds(30), [](const dev::ClusterView& v) {
    const dev::ResourceSeen* r = v.resource(kPostgres);
    std::string said;
    for (const std::string& w : v.waits) said += w;
    for (const std::string& w : v.warnings) said += w;
    if (r)
      for (const dev::ReplicaSeen& p : r->replicas) said += p.verdict + p.state;
    return r && !r->writable && (said.find("not ours") != std::string::npos || said.find("foreign") != std::string::npos);
  });
  EXPECT_TRUE(view) << view.error().message;
  EXPECT_TRUE(cluster.processes(kOne, Part::kPostgres).empty());
  std::string text;
  std::ifstream(data + "/somebody's") >> text;
  EXPECT_EQ(text, "data");
}

}  // namespace
}  // namespace daarion
