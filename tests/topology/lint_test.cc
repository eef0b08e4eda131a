#include "controlplane/topology/lint.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "controlplane/topology/lint_routes.h"
#include "controlplane/topology/render.h"

namespace daarion {
namespace {

const std::string kTests = std::string(DAARION_SOURCE_DIR) + "/tests/";

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<Finding> judge(const std::string& text) {
  ParsedFile parsed = parse_cluster_file(text);
  if (!has_errors(parsed.findings))
    for (Finding& f : lint(parsed.file)) parsed.findings.push_back(std::move(f));
  return parsed.findings;
}

TEST(Lint, SaysOfTheUsersOwnFileExactlyThis) {
  std::vector<std::string> said;
  for (const Finding& f : judge(contents(kTests + "fixtures/cluster.yaml"))) {
    EXPECT_NE(f.severity, Severity::kError) << f.message;
    said.push_back((f.severity == Severity::kWarning ? "warning: " : "note: ") + f.message);
  }
  std::ranges::sort(said);
  const std::vector<std::string> expected = {
      "note: 2 core nodes, node3's witness is the third vote",
      "note: 65 GiB of retention on every core node and the witness",
      "note: async PostgreSQL may lose the announced tail",
      "note: message.* is read as message.> (so attachment.*, agent.run.*, cache.invalidate.*)",
      "note: third sentinel placed on node3",
      "warning: Neo4j: 2 cores survive no loss (and Community cannot cluster); a third core is needed to survive one",
      "warning: Qdrant: 2 peers lose consensus with one; a third peer is needed to survive one",
  };
  EXPECT_EQ(said, expected);
}

TEST(Lint, NamesSubjectsThatNoRuleCovers) {
  const ParsedFile parsed = parse_cluster_file(contents(kTests + "fixtures/cluster.yaml"));
  const auto found = lint_subjects(parsed.file, {"message.created", "agent.runs.created", "node.metrics.cpu", "other"});
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].message, "agent.runs.created is uncovered: no rule covers it; the nearest is agent.run.> of rule agent_run");
  EXPECT_EQ(found[1].message, "node.metrics.cpu is uncovered: no rule covers it; the nearest is node.node1.local.> of rule node_local");
  EXPECT_EQ(found[2].message, "other is uncovered: no rule covers it");
  EXPECT_EQ(found[0].severity, Severity::kNote);
}

/// What a file would need on disk follows from its rules, and an edge keeps both its own messages and the mirror.
TEST(Lint, MeasuresTheRulesAgainstTheDisk) {
  ParsedFile parsed = parse_cluster_file(contents(kTests + "fixtures/cluster.yaml"));
  EXPECT_EQ(rule_bytes(parsed.file), 65ull << 30);
  const auto disk = [&](std::uint64_t bytes) {
    parsed.file.nats_max_file = bytes;
    std::string said;
    for (const Finding& f : lint(parsed.file))
      if (f.rule == "route_disk") said += f.message;
    return said;
  };
  EXPECT_EQ(disk(0), "");
  EXPECT_EQ(disk(130ull << 30), "");
  EXPECT_NE(disk((130ull << 30) - 1).find("130 GiB on an edge's server"), std::string::npos);
  EXPECT_NE(disk(64ull << 30).find("65 GiB on every core server"), std::string::npos);
}

TEST(Lint, WarnsOfAConsumerThatTakesDeadLettersForWork) {
  const auto warned = [](const std::string& consumers) {
    std::vector<std::string> out;
    std::string text = contents(kTests + "fixtures/cluster.yaml");
    text.insert(text.find("  - {rule: cache,"), "  - {rule: job, subjects: [\"job.*\", \"task.run\"], class: replicated, max_age: 7d, max_bytes: 1GiB, consumers: {" + consumers + "}}\n");
    for (const Finding& f : judge(text))
      if (f.rule == "route_dead_letters" && f.severity == Severity::kWarning) out.push_back(f.message);
    return out;
  };
  EXPECT_EQ(warned("all: job.>, tasks: task.run"),
            std::vector<std::string>{"routing rule job: consumer all takes all of job.>, and its dead letters as work; name work by a token of its own, as job.requested.*, "
                                     "and dead letters under another, as job.failed.dlq"});
  EXPECT_EQ(warned("all: job.*").size(), 1u) << "which is read as job.>";
  EXPECT_EQ(warned("runner: job.requested.*, mourner: job.failed.dlq"), std::vector<std::string>{});
}

TEST(Lint, OfManagedRedis) {
  const std::string users = contents(kTests + "fixtures/cluster.yaml"), sentinel = "{mode: sentinel, master: NODE1, replicas: [NODE2], sentinels: 3}";
  const auto with = [&](const std::string& redis, const std::string& resource) {
    std::string text = users;
    text.replace(text.find(sentinel), sentinel.size(), redis);
    const std::string details = "redis: {port: 6379, sentinel_port: 26379}";
    text.replace(text.find(details), details.size(), resource);
    std::vector<std::string> rules;
    for (const Finding& f : judge(text))
      if (f.message.find("redis") != std::string::npos) rules.push_back(f.rule);
    return rules;
  };
  using Rules = std::vector<std::string>;
  const std::string folder = "redis: {data_dir: /var/lib/redis/daarion}";
  EXPECT_EQ(with("{mode: managed, master: NODE1, replicas: [NODE2]}", folder), Rules{});
  EXPECT_EQ(with("{mode: managed, master: NODE1, replicas: [NODE2]}", "redis: {port: 6379}"), Rules{"no_data_dir"});
  EXPECT_EQ(with("{mode: managed, master: NODE1, replicas: [NODE2], sentinels: 3}", folder), Rules{"sentinels_unused"});
  EXPECT_EQ(with("{mode: managed, master: NODE1, replicas: []}", folder), Rules{"no_replica"});
  EXPECT_EQ(with("{mode: managed, master: NODE1, replicas: [NODE2], sync: sync}", folder), (Rules{"sync_one_replica", "redis_sync"}));
}

TEST(Lint, OfTheClustersOfNatsAgainstWhoVotes) {
  const std::string users = contents(kTests + "fixtures/cluster.yaml"), core = "- {name: core, nodes: [NODE1, NODE2]}",
                    edge = "- {name: edge, nodes: [NODE3], leafnode_to: core}";
  const auto with = [&](const std::string& one, const std::string& other, const std::string& control = {}) {
    std::string text = users, said;
    text.replace(text.find(core), core.size(), one);
    text.replace(text.find(edge), edge.size(), other);
    const std::string witness = "voters: [node1, node2, node3]         # 1, 3 or 5. Default: the core nodes, plus the first edge where that makes them odd\n  witness: node3";
    if (!control.empty()) text.replace(text.find(witness), witness.size(), control);
    for (const Finding& f : judge(text))
      if (f.message.starts_with("NATS: ")) said += (f.severity == Severity::kWarning ? "" : "not a warning: ") + f.message.substr(6) + "\n";
    return said;
  };
  EXPECT_EQ(with(core, edge), "");
  EXPECT_EQ(with("- {name: core, nodes: [NODE1, NODE2, NODE3]}", ""),
            "core has node3, whose server is a leaf node: it is control.witness, and the core's server beside it takes no applications; change one\n");
  EXPECT_EQ(with("- {name: core, nodes: [NODE1]}", "- {name: edge, nodes: [NODE2, NODE3], leafnode_to: core}"),
            "edge has node2 as a leaf node, and node2 is in control.voters, so its server is one of the core; change one\n");
  EXPECT_EQ(with(core, edge, "voters: [node1]"), "core has node2, whose server is a leaf node: it is not in control.voters; change one\n");
  EXPECT_EQ(with("- {name: core, nodes: [NODE1]}", edge), "node2 is in no cluster of the block, and has a server all the same: one of the core, for it is in control.voters; add it\n");
  EXPECT_EQ(with(core, ""), "node3 is in no cluster of the block, and has a server all the same: a leaf node; add it\n");
  EXPECT_EQ(with("- {name: core, nodes: [NODE1]}", "- {name: west, nodes: [NODE2]}\n      " + edge),
            "core and west are both no leaf nodes; there is one core, of control.voters; give one `leafnode_to`\n");
}

TEST(Lint, WarnsOfAStreamThatNothingBounds) {
  std::string text = contents(kTests + "fixtures/cluster.yaml");
  const std::string bounds = ", max_age: 7d, max_bytes: 10GiB";
  text.erase(text.find(bounds), bounds.size());
  int warned = 0;
  for (const Finding& f : judge(text)) warned += f.rule == "route_unbounded" && f.severity == Severity::kWarning ? 1 : 0;
  EXPECT_EQ(warned, 1);
}

TEST(ClusterFile, ReadsTheUsersOwnFile) {
  const ParsedFile parsed = parse_cluster_file(contents(kTests + "fixtures/cluster.yaml"));
  ASSERT_TRUE(parsed.findings.empty()) << parsed.findings[0].message;
  const ClusterFile& f = parsed.file;
  EXPECT_EQ(f.spec.cluster, "daarion");
  ASSERT_EQ(f.spec.nodes.size(), 3u);
  EXPECT_EQ(f.spec.nodes[2].role, NodeRole::kEdge);
  EXPECT_EQ(f.node_named("NODA1"), NodeId("node1"));
  EXPECT_EQ(f.spec.voters, (std::vector{NodeId("node1"), NodeId("node2"), NodeId("node3")}));
  EXPECT_EQ(f.spec.witness, NodeId("node3"));
  EXPECT_EQ(f.spec.lease, LeaseTimers{});
  EXPECT_EQ(f.spec.max_promotions, 3u);
  EXPECT_EQ(f.spec.promotion_window_s, 3600u);
  const ResourceSpec* postgres = f.spec.resource(ResourceId("postgres"));
  ASSERT_NE(postgres, nullptr);
  EXPECT_TRUE(postgres->leased);
  EXPECT_EQ(postgres->engine, "postgresql");
  EXPECT_EQ(postgres->declared_primary, NodeId("node1"));
  EXPECT_EQ(postgres->members, (std::vector{NodeId("node1"), NodeId("node2")}));
  EXPECT_EQ(postgres->sync, SyncMode::kAsync);
  EXPECT_EQ(postgres->max_lag, LagLimits{});
  EXPECT_EQ(f.spec.resources.size(), 5u);
  EXPECT_EQ(f.spec.services.size(), 11u) << "and the GPU";
  EXPECT_EQ(f.spec.routes.size(), 5u);
  EXPECT_EQ(f.spec.routes[0].max_age_s, 7u * 86400u);
  ASSERT_EQ(f.notify.size(), 1u);
  EXPECT_EQ(f.notify[0].on, (std::vector<std::string>{"PromotionDecided", "PromotionFailed", "LogRegressed"}));
  EXPECT_EQ(f.notify[0].exec, "/etc/daarion/notify.sh");
  EXPECT_EQ(f.fencing.exec, "");
  EXPECT_EQ(f.hash.size(), 32u);
}

TEST(ClusterFile, ReadsEverythingOfAServiceAndTheGpu) {
  const ParsedFile parsed = parse_cluster_file(R"(cluster: c
nodes:
  node1: {address: 10.0.0.1, role: primary, aliases: [ONE]}
  node2: {address: 10.0.0.2, role: replica}
  node3: {address: 10.0.0.3, role: edge}
replication:
  PostgreSQL: {mode: primary-replica, primary: NODE1, replicas: [NODE2]}
services:
  router:
    port: 9102
    health: /healthz
    on: {node2: active, ONE: standby, node3: off}
    expect: {nats_connected: true, queue.size: "<100"}
    needs: [gpu]
    check: {status: 200, text: ok, interval: 100ms, timeout: 2s, rise: 3, fall: 4}
    hooks: {start: /bin/start it, stop: /bin/stop, timeout: 30s}
  plain: {port: 1, health: tcp, on: {node1: active}}
  job: {health: "exec:/bin/job --check", on: {node1: active}}
gpu: {probe: /opt/probe gpu, text: GPU 0, rise: 9}
capabilities:
  vision: [gpu@ONE, router@NODE2, api:mistral]
)");
  ASSERT_TRUE(parsed.findings.empty()) << parsed.findings[0].message;
  for (const Finding& f : lint(parsed.file)) EXPECT_NE(f.severity, Severity::kError) << f.message;
  const ServiceSpec& router = *parsed.file.spec.service("router");
  EXPECT_EQ(router.on, (std::vector<ServicePlace>{{NodeId("node2"), ServiceRole::kActive}, {NodeId("node1"), ServiceRole::kStandby}, {NodeId("node3"), ServiceRole::kOff}}));
  EXPECT_EQ(router.check, (ServiceCheck{.kind = ServiceCheck::Kind::kHttp, .target = "/healthz", .status = 200, .text = "ok",
                                        .expect = {{"nats_connected", "true"}, {"queue.size", "<100"}}, .interval = std::chrono::milliseconds(100),
                                        .timeout = std::chrono::seconds(2), .rise = 3, .fall = 4}));
  EXPECT_EQ(router.start, "/bin/start it");
  EXPECT_EQ(router.stop, "/bin/stop");
  EXPECT_EQ(router.hook_limit, Duration(std::chrono::seconds(30)));
  EXPECT_TRUE(router.moves());
  EXPECT_EQ(parsed.file.spec.service("plain")->check.kind, ServiceCheck::Kind::kTcp);
  EXPECT_EQ(parsed.file.spec.service("job")->check.target, "/bin/job --check");
  EXPECT_EQ(parsed.file.spec.capabilities.at("vision"), (std::vector<std::string>{"gpu@node1", "router@node2", "api:mistral"}));
  const ServiceSpec& gpu = *parsed.file.spec.service(kGpu);
  EXPECT_EQ(gpu.check.target, "/opt/probe gpu");
  EXPECT_EQ(gpu.check.rise, 9u);
  EXPECT_EQ(gpu.on, (std::vector<ServicePlace>{{NodeId("node1"), ServiceRole::kActive}, {NodeId("node2"), ServiceRole::kActive}}));
}

TEST(ClusterFile, TheSmallestFileHasEveryDefault) {
  const ParsedFile parsed = parse_cluster_file(
      "cluster: c\nnodes:\n  node1: {address: 10.0.0.1, role: primary}\nreplication:\n  PostgreSQL: {mode: primary-replica, primary: NODE1}\n");
  ASSERT_TRUE(parsed.findings.empty()) << parsed.findings[0].message;
  EXPECT_EQ(parsed.file.spec.voters, std::vector{NodeId("node1")});
  EXPECT_EQ(parsed.file.spec.lease, LeaseTimers{});
}

/// Each bad/<name>.yaml has its findings in bad/<name>.txt: errors only, one line each, as an operator reads them.
TEST(Lint, SaysOfEachBadFileWhatStandsBesideIt) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kTests + "topology/bad")) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    std::string said;
    for (const Finding& f : judge(contents(entry.path())))
      if (f.severity == Severity::kError) said += text_of(f, "cluster.yaml") + "\n";
    std::filesystem::path beside = entry.path();
    beside.replace_extension(".txt");
    if (std::getenv("DAARION_UPDATE_GOLDEN")) std::ofstream(beside) << said;
    EXPECT_NE(said, "") << entry.path() << " passes";
    EXPECT_EQ(said, contents(beside)) << entry.path();
  }
  EXPECT_GE(files, 20u);
}

TEST(Lint, HoldsTheOrderOfTimersForAnyTimers) {
  EXPECT_EQ(timers_out_of_order(LeaseTimers{}), "");
  for (int ttl = 500; ttl <= 10'000; ttl += 250)
    for (int beat = 25; beat <= 2000; beat += 125)
      for (int budget = 0; budget <= 3000; budget += 250) {
        const LeaseTimers t{.ttl = std::chrono::milliseconds(ttl), .beat = std::chrono::milliseconds(beat), .fence_budget = std::chrono::milliseconds(budget)};
        if (!timers_out_of_order(t).empty()) continue;
        // What is let through leaves room for a fence, for two lost beats, and for a frozen server to be noticed.
        const double held = ttl * 0.99;
        EXPECT_GE(budget, 100);
        EXPECT_GE(held - budget, 3 * beat);
        EXPECT_GE(held - budget, 749);
      }
}

TEST(Render, SyncIntervalOnlyWhereTheFileSaysSo) {
  const auto of = [](const std::string& nats) {
    const ParsedFile parsed = parse_cluster_file("cluster: c\nnodes:\n  node1: {address: 10.0.0.1, role: primary}\nreplication:\n  PostgreSQL: {mode: primary-replica, "
                                                 "primary: NODE1}\ncontrol:\n  nats: " + nats + "\n");
    if (!parsed.findings.empty()) return parsed.findings[0].message;
    const std::string text = render_nats(parsed.file, nats_plan(parsed.file)[0], {}, "/store", {});
    const std::size_t at = text.find("sync_interval");
    return at == std::string::npos ? std::string() : text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(of("{client: 4222}"), "") << "nats-server 2.9 does not start with it";
  EXPECT_EQ(of("{sync_interval: always}"), "sync_interval: always");
  EXPECT_EQ(of("{sync_interval: 1.5s}"), "sync_interval: \"1500ms\"");
  for (const char* bad : {"0s", "1h", "often", "never"})
    EXPECT_NE(of("{sync_interval: " + std::string(bad) + "}").find("it is always, or 10ms to 10m"), std::string::npos) << bad;
  ParsedFile parsed = parse_cluster_file(contents(kTests + "fixtures/cluster.yaml"));
  parsed.file.nats_sync = std::chrono::seconds(1);
  EXPECT_TRUE(std::ranges::any_of(lint(parsed.file), [](const Finding& f) { return f.rule == "sync_needs_210" && f.severity == Severity::kNote; }));
}

TEST(Units, AreReadOrRefused) {
  EXPECT_EQ(parse_duration("250ms"), Duration(std::chrono::milliseconds(250)));
  EXPECT_EQ(parse_duration("1.5s"), Duration(std::chrono::milliseconds(1500)));
  EXPECT_EQ(parse_duration("7d"), Duration(std::chrono::hours(168)));
  for (const char* bad : {"", "2", "s", "2 weeks", "-2s", "2ss", "1e40d"}) EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(parse_size("10GiB"), 10ull << 30);
  for (const char* bad : {"", "10", "GiB", "10GB", "-1MiB"}) EXPECT_FALSE(parse_size(bad)) << bad;
}

}  // namespace
}  // namespace daarion
