// What a daemon takes up of its files while it runs (SIGHUP), and that nobody notices: no lease changes hands, and writers go on.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "controlplane/node/clock.h"
#include "streams/js_request.h"
#include "tests/cluster/fixture.h"
#include "tests/cluster/kit.h"

namespace daarion {
namespace {

using dev::Part;
using std::chrono::seconds;
using test::kOne;
using test::kTwo;
using test::kThree;
using test::kPostgres;

/// How often a daemon of the node has said that.
int said(const dev::LocalCluster& cluster, const NodeId& node, const std::string& words) {
  std::ifstream in(cluster.log_of(node, Part::kDaemon));
  int out = 0;
  for (std::string line; std::getline(in, line);) out += line.find(words) != std::string::npos;
  return out;
}

/// Until the daemon serves again, as the process that it was.
void reload(dev::LocalCluster& cluster, const NodeId& node) {
  const auto daemon = test::daemon_of(cluster, node);
  ASSERT_TRUE(daemon) << node.value;
  const int before = said(cluster, node, " serves ");
  dev::send_signal(*daemon, SIGHUP);
  ASSERT_OK(cluster.await_that("daemon of " + node.value + " in its own place", seconds(30), cluster.log_of(node, Part::kDaemon), [&] { return said(cluster, node, " serves ") > before; }));
  EXPECT_EQ(test::daemon_of(cluster, node), daemon);
}

/// The cluster file without node4, or with node4 as one more replica of PostgreSQL.
std::string file_with_node4(std::string text, bool with) {
  const auto replace = [&](const std::string& old, const std::string& now) {
    const std::size_t at = text.find(old);
    EXPECT_NE(at, std::string::npos) << old << " in " << text;
    if (at != std::string::npos) text.replace(at, old.size(), now);
  };
  if (with) {
    replace("replicas: [NODE2]", "replicas: [NODE2, NODE4]");
  } else {
    replace(", NODE4]", "]");
    const std::size_t line = text.find("  node4: {");
    text.erase(line, text.find('\n', line) + 1 - line);
  }
  return text;
}

/// The file is given to its nodes, and a signal has each daemon take it up; then one command starts the new node. It goes the same way.
TEST(Reload, AFourthNodeJoinsARunningClusterAndIsRetired) {
  auto made = test::ScratchCluster::make(4);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  const NodeId four("node4");
  std::ifstream in(cluster.config_path());
  const std::string of_four((std::istreambuf_iterator<char>(in)), {});
  std::ofstream(cluster.config_path()) << file_with_node4(of_four, false);
  for (const auto& [node, part] : test::kNatsServers) ASSERT_OK(cluster.start(node, part));
  for (const NodeId& node : {kOne, kTwo, kThree}) ASSERT_OK(cluster.start(node, Part::kDaemon));
  ASSERT_OK(cluster.await(kThree, "node2 streaming", seconds(60), [](const dev::ClusterView& v) { return v.streams(kPostgres, "node2") && v.nodes.size() == 3; }));

  const auto with_file = [&](bool of_node4) {
    std::ofstream(cluster.config_path()) << file_with_node4(of_four, of_node4);
    for (const NodeId& node : {kTwo, kThree, kOne}) ASSERT_NO_FATAL_FAILURE(reload(cluster, node));
  };
  ASSERT_NO_FATAL_FAILURE(with_file(true));
  ASSERT_OK(cluster.start(four));
  ASSERT_OK(cluster.await(kThree, "node4 streaming", seconds(40), [](const dev::ClusterView& v) { return v.streams(kPostgres, "node4"); }));
  const auto settled = cluster.await_settled(seconds(30));
  ASSERT_OK(settled);
  EXPECT_EQ(settled->resource(kPostgres)->epoch, 1u) << "no lease changed hands for it";
  const auto log = test::read_log(cluster, Sequence{1}, Sequence{settled->sequence}, kThree);
  ASSERT_OK(log);
  const LogEvent* copied = test::last_of<ReplicaProvisioned>(log->events);
  ASSERT_NE(copied, nullptr);
  EXPECT_EQ(copied->event.header.node, four);
  EXPECT_EQ(std::get<ReplicaProvisioned>(copied->event.payload).method, "basebackup");

  const auto routes = Connection::open({.urls = {cluster.servers()[0].url()}, .user = kRoutesUser, .password = cluster.secrets()["DAARION_CONTROL_PASSWORD"], .name = "test"});
  ASSERT_OK(routes);
  const auto is_source = [&] {
    const auto info = js_request(**routes, "$JS.API.STREAM.INFO.MESSAGE", nullptr, seconds(2));
    return info && info->dump().find("MESSAGE_node4") != std::string::npos;
  };
  const auto has_slot = [&] {
    const auto c = cluster.superuser(kOne, seconds(2));
    const auto slots = c ? (*c)->query("select slot_name from pg_replication_slots", seconds(2)) : tl::unexpected(c.error());
    return !slots || std::ranges::any_of(*slots, [](const auto& row) { return row[0] == "daarion_node4"; });
  };
  ASSERT_OK(cluster.await_that("what node4 publishes in the core", seconds(30), cluster.log_of(kOne, Part::kDaemon), is_source));
  ASSERT_TRUE(has_slot());
  ASSERT_OK(cluster.kill(four));
  ASSERT_EQ(test::ctl(cluster, kTwo, "retire node4 --reason gone"), 0);
  ASSERT_OK(cluster.await_that("streams without node4", seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return !is_source(); }));
  EXPECT_TRUE(has_slot()) << "it may be taken back as it is";
  ASSERT_NO_FATAL_FAILURE(with_file(false));
  ASSERT_OK(cluster.await_that("node1 without node4's slot", seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return !has_slot(); }));
  const auto left = cluster.await(kThree, "node2 streaming", seconds(30), [](const dev::ClusterView& v) { return v.streams(kPostgres, "node2") && v.nodes.size() == 3; });
  ASSERT_OK(left);
  EXPECT_EQ(left->resource(kPostgres)->epoch, 1u);
}

/// The holder's daemon, while a service writes: a limit of its is changed.
TEST(Reload, OfTheHolderCostsNoLeaseAndNoWriterNoticesIt) {
  auto made = test::ScratchCluster::make(3);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  ASSERT_OK(test::make_probe_table(cluster, kOne));
  dev::ProbeWriter writer(cluster.application(kOne), "one");
  ASSERT_OK(cluster.await_that("rows at node1", seconds(10), "", [&] { return writer.count() > 50; }));
  ASSERT_NO_FATAL_FAILURE(test::replace_in_file(cluster, "\ncontrol:\n", "\ncontrol:\n  max_promotions: 7 per 1h\n"));
  const auto from = node_now();
  for (const NodeId& node : {kTwo, kThree, kOne}) {
    const auto begun = node_now();
    ASSERT_NO_FATAL_FAILURE(reload(cluster, node));
    std::printf("figure reload_%s_ms %.0f\n", node.value.c_str(), std::chrono::duration<double, std::milli>(node_now() - begun).count());
  }
  for (int i = 0; i < 5; ++i) ASSERT_NO_FATAL_FAILURE(reload(cluster, kOne));
  const auto topology = [&] {
    const auto view = cluster.view(kTwo);
    const auto log = test::read_log(cluster, Sequence{1}, Sequence{view ? view->sequence : 0}, kThree);
    const LogEvent* newest = log ? test::last_of<TopologyChanged>(log->events) : nullptr;
    return newest ? std::get<TopologyChanged>(newest->event.payload).spec.max_promotions : 0;
  };
  ASSERT_OK(cluster.await_that("the new limit in the log", seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return topology() == 7u; }));
  const auto settled = cluster.await_settled(seconds(30));
  ASSERT_OK(settled);
  EXPECT_EQ(settled->resource(kPostgres)->epoch, 1u);
  const dev::WriteGap gap = dev::longest_gap({&writer}, from, node_now());
  std::printf("figure reload_longest_write_gap_ms %.0f\n", std::chrono::duration<double, std::milli>(gap.length()).count());
  writer.stop();
  const auto missing = dev::missing_rows(cluster.application(kOne), writer, seconds(5));
  ASSERT_OK(missing);
  EXPECT_TRUE(missing->empty());
}

TEST(Reload, WhatIsRefusedChangesNothingAndIsSaid) {
  auto made = test::ScratchCluster::make(1);
  ASSERT_OK(made);
  dev::LocalCluster& cluster = **made;
  ASSERT_OK(cluster.start_all());
  ASSERT_OK(cluster.await_settled(seconds(60)));
  std::ifstream in(cluster.config_path());
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  const auto daemon = test::daemon_of(cluster, kOne);
  ASSERT_TRUE(daemon);
  const auto warns = [&](const std::string& words) {
    const auto view = cluster.view(kOne);
    return view && test::any_has(view->warnings, words);
  };
  const auto refused = [&](const std::string& words) {
    dev::send_signal(*daemon, SIGHUP);
    ASSERT_OK(cluster.await_that("refusal: " + words, seconds(30), cluster.log_of(kOne, Part::kDaemon), [&] { return warns("its reload was refused: ") && warns(words); }));
  };
  std::ofstream(cluster.config_path()) << good << "colour: red\n";
  ASSERT_NO_FATAL_FAILURE(refused("colour"));
  std::ofstream(cluster.config_path()) << good;
  ASSERT_NO_FATAL_FAILURE(test::replace_in_file(cluster, "data_dir: ", "data_dir: /elsewhere"));
  ASSERT_NO_FATAL_FAILURE(refused("resources.postgres has another engine, port, data_dir or runner: restart the daemon"));
  EXPECT_EQ(test::daemon_of(cluster, kOne), daemon);
  EXPECT_EQ(said(cluster, kOne, " serves "), 1);
  std::ofstream(cluster.config_path()) << good;
  ASSERT_NO_FATAL_FAILURE(reload(cluster, kOne));
  const auto settled = cluster.await_settled(seconds(30));
  ASSERT_OK(settled);
  EXPECT_EQ(settled->resource(kPostgres)->epoch, 1u);
  EXPECT_FALSE(warns("reload"));
}

}  // namespace
}  // namespace daarion
