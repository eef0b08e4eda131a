// The parts of a local cluster that need no cluster: its file, whose processes are whose, ports.
#include <gtest/gtest.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "controlplane/dev/cluster_text.h"
#include "controlplane/dev/local_cluster.h"
#include "controlplane/dev/loopback.h"
#include "controlplane/dev/netns.h"
#include "controlplane/dev/processes.h"
#include "controlplane/dev/view.h"
#include "controlplane/topology/lint.h"
#include "controlplane/topology/render.h"
#include "tests/unit/temp_folder.h"

namespace daarion::dev {
namespace {

using std::chrono::seconds;

TEST(ClusterText, PassesLintAtEverySize) {
  const std::size_t servers[] = {1, 2, 4, 5};
  for (int nodes = 1; nodes <= kMostNodes; ++nodes) {
    const ParsedFile parsed = parse_cluster_file(cluster_text({.nodes = nodes, .prefix = "127.80.1.", .folder = "/x", .ports = {}, .max_promotions = {}}));
    ASSERT_FALSE(has_errors(parsed.findings)) << nodes << ": " << parsed.findings.front().message;
    EXPECT_FALSE(has_errors(lint(parsed.file))) << nodes;
    EXPECT_EQ(parsed.file.spec.voters.size(), nodes < 3 ? 1u : 3u);
    EXPECT_EQ(nats_plan(parsed.file).size(), servers[nodes - 1]) << nodes;
    EXPECT_EQ(path_on(parsed.file.spec.resource(ResourceId("postgres"))->data_dir, NodeId("node1")), "/x/node1/postgres");
  }
}

TEST(ClusterText, HasTheEnginesThatWereAskedFor) {
  for (const std::set<std::string>& engines : {std::set<std::string>{"redis"}, std::set<std::string>{"postgres", "redis"}}) {
    Shape shape{.nodes = 3, .prefix = "127.80.1.", .folder = "/x", .ports = {}, .max_promotions = {}, .data_dir = "postgres", .engines = engines};
    shape.ports.redis = 7777;
    const ParsedFile parsed = parse_cluster_file(cluster_text(shape));
    ASSERT_FALSE(has_errors(parsed.findings)) << parsed.findings.front().message;
    EXPECT_FALSE(has_errors(lint(parsed.file)));
    const ResourceSpec* redis = parsed.file.spec.resource(ResourceId("redis"));
    ASSERT_NE(redis, nullptr);
    EXPECT_TRUE(redis->leased);
    EXPECT_EQ(redis->port, 7777u);
    EXPECT_EQ(ports_of(parsed.file).redis, 7777u);
    EXPECT_EQ(redis->declared_primary, NodeId("node1"));
    EXPECT_EQ(path_on(redis->data_dir, NodeId("node2")), "/x/node2/redis");
    EXPECT_EQ(parsed.file.spec.resource(ResourceId("postgres")) != nullptr, engines.contains("postgres"));
  }
}

TEST(ClusterText, HasNeo4jAsAClusterOrAsOneInstanceWithItsDumps) {
  for (const char* engine : {"neo4j", "neo4j-community"}) {
    const ParsedFile parsed = parse_cluster_file(cluster_text({.nodes = 4, .prefix = "127.80.1.", .folder = "/x", .engines = {engine}, .dump_at = 130}));
    ASSERT_FALSE(has_errors(parsed.findings)) << parsed.findings.front().message;
    EXPECT_FALSE(has_errors(lint(parsed.file)));
    const auto system = std::ranges::find(parsed.file.systems, "neo4j", &DataSystem::engine);
    ASSERT_NE(system, parsed.file.systems.end());
    const bool single = system->mode == "single";
    EXPECT_EQ(single, std::string(engine) == "neo4j-community");
    EXPECT_EQ(system->nodes.size(), single ? 1u : 3u);
    EXPECT_EQ(system->read_replicas, single ? std::vector<NodeId>{} : std::vector<NodeId>{NodeId("node4")});
    EXPECT_EQ(system->dump.exec, single ? "/x/node1/neo4j/dump" : "");
    EXPECT_EQ(to_ms(system->dump.at), single ? 130'000 : to_ms(DumpSpec{}.at));
    EXPECT_EQ(to_ms(system->dump.timeout), single ? 300'000 : to_ms(DumpSpec{}.timeout));
  }
}

TEST(ClusterText, KeepsPortsThatWereReplaced) {
  Shape shape{.nodes = 3, .prefix = "127.80.1.", .folder = "/x", .ports = {}, .max_promotions = "9 per 1h", .data_dir = "postgres", .engines = {"postgres", "postgres-billing", "redis-sentinel", "qdrant", "neo4j"}};
  std::uint32_t next = 20'000;
  for (const Ports::Use& use : shape.ports.uses()) *use.port = next++;
  const ParsedFile parsed = parse_cluster_file(cluster_text(shape));
  Ports read = ports_of(parsed.file);
  for (std::size_t i = 0; i < read.uses().size(); ++i) EXPECT_EQ(*read.uses()[i].port, 20'000 + i) << read.uses()[i].name;
  EXPECT_EQ(parsed.file.spec.max_promotions, 9u);
}

TEST(Processes, ANodesProcessesAreKnownByItsFolderAndEndInOneBurst) {
  test::TempFolder folder;
  const std::string node = folder / "node1", other = folder / "node2";
  std::filesystem::create_directories(node);
  std::filesystem::create_directories(other);
  const auto spawn_sleep = [&](const std::string& where) { return spawn({.argv = {"sh", "-c", "sleep 1000; true"}, .environment = {}, .folder = where, .log_file = where + "/log"}); };
  const auto a = spawn_sleep(node), b = spawn_sleep(node), c = spawn_sleep(other);
  ASSERT_TRUE(a && b && c);
  // Each shell and its sleep.
  ASSERT_TRUE(LocalCluster::await_that("four processes", seconds(5), "", [&] { return processes_of(node).size() == 4; }));
  ASSERT_TRUE(kill_all_of(node, seconds(5)));
  EXPECT_TRUE(processes_of(node).empty());
  EXPECT_FALSE(lives(*a));
  EXPECT_FALSE(lives(*b));
  EXPECT_TRUE(lives(*c)) << "the neighbour's was ended too";
  ASSERT_TRUE(kill_all_of(other, seconds(5)));
}

TEST(Processes, ALaterProcessOfTheSamePidIsNeverSignalled) {
  test::TempFolder folder;
  const std::string node = folder / "n";
  std::filesystem::create_directories(node);
  const auto p = spawn({.argv = {"sleep", "1000"}, .environment = {}, .folder = node, .log_file = node + "/log"});
  ASSERT_TRUE(p);
  const ProcessId earlier{p->pid, p->start - 1};
  EXPECT_FALSE(send_signal(earlier, SIGKILL));
  EXPECT_TRUE(lives(*p));
  ASSERT_TRUE(write_pid_file(node + "/pid", *p));
  EXPECT_EQ(read_pid_file(node + "/pid"), *p);
  ASSERT_TRUE(kill_all_of(node, seconds(5)));
}

// Under load the threads of a killed process end one after the other: until the last has, its ports are taken.
TEST(Processes, OneWhoseFirstThreadHasEndedLivesUntilTheOthersHave) {
  const pid_t pid = fork();
  if (pid == 0) {
    std::thread([] { pause(); }).detach();
    syscall(SYS_exit, 0);  // this thread alone
  }
  const auto state = [&] { return look_at(pid).value_or(ProcessInfo{}).state; };
  const auto becomes_zombie = [&] {
    for (int i = 0; i < 2500 && state() != 'Z'; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return state() == 'Z';
  };
  EXPECT_TRUE(becomes_zombie());
  const ProcessId id = look_at(pid).value_or(ProcessInfo{}).id;
  EXPECT_TRUE(lives(id));
  EXPECT_TRUE(send_signal(id, SIGKILL));
  for (int i = 0; i < 2500 && lives(id); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_FALSE(lives(id));
  EXPECT_EQ(state(), 'Z') << "nobody has waited for it yet";
  waitpid(pid, nullptr, 0);
}

TEST(Processes, AProgramThatIsMissingIsNamed) {
  test::TempFolder folder;
  const auto p = spawn({.argv = {"daarion-no-such-program"}, .environment = {}, .folder = folder / "", .log_file = folder / "log"});
  ASSERT_FALSE(p);
  EXPECT_NE(p.error().message.find("daarion-no-such-program"), std::string::npos);
}

TEST(Ports, ATakenPortIsNamedAndReplacedOnEveryNode) {
  test::TempFolder folder;
  auto network = Network::claim();
  ASSERT_TRUE(network);
  const int http = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in second{};
  second.sin_family = AF_INET;
  second.sin_port = htons(9351);
  ASSERT_EQ(::inet_pton(AF_INET, (network->prefix() + "2").c_str(), &second.sin_addr), 1);
  ASSERT_EQ(::bind(http, reinterpret_cast<const sockaddr*>(&second), sizeof second), 0);
  ASSERT_EQ(::listen(http, 1), 0);
  EXPECT_FALSE(port_is_free(network->prefix() + "2", 9351));
  EXPECT_TRUE(port_is_free(network->prefix() + "1", 9351));
  EXPECT_TRUE(accepts(network->prefix() + "2", 9351, seconds(1)));
  EXPECT_FALSE(accepts(network->prefix() + "1", 9351, seconds(1)));
  std::vector<std::string> said;
  const auto cluster = LocalCluster::create({.nodes = 2, .folder = folder / "run", .prefix = network->prefix(), .say = [&](const std::string& line) { said.push_back(line); }, .max_promotions = {}});
  ::close(http);
  ASSERT_TRUE(cluster) << cluster.error().message;
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("9351"), std::string::npos) << said[0];
  EXPECT_NE(cluster->file().http_port, 9351u);
  EXPECT_EQ(cluster->file().grpc_port, 9350u);
  // A folder that has something in it is not ours to write to.
  EXPECT_FALSE(LocalCluster::create({.nodes = 2, .folder = folder / "run", .prefix = network->prefix(), .say = {}, .max_promotions = {}}));
}

TEST(Links, AFilterIsAtTheReceiverAndTheLastWordCounts) {
  const NodeId a("a"), b("b"), c("c");
  const std::map<NodeId, std::string> at{{a, "10.1.1.1"}, {b, "10.1.1.2"}, {c, "10.1.1.3"}};
  const std::string text = filter_text(b, {{a, b, 100}, {b, a, 100}, {c, b, 100}, {c, b, 30}}, at);
  EXPECT_NE(text.find("ip saddr 10.1.1.1 drop"), std::string::npos) << text;
  EXPECT_NE(text.find("ip saddr 10.1.1.3 numgen random mod 100 < 30 drop"), std::string::npos) << text;
  EXPECT_EQ(text.find("10.1.1.2"), std::string::npos) << text;
  EXPECT_EQ(filter_text(b, {}, at).find("rule"), std::string::npos);
}

TEST(Links, NamespacesAreCutOneWayHealedAndRemoved) {
  if (const auto can = NodeNetwork::possible(); !can) GTEST_SKIP() << can.error().message;
  test::TempFolder folder;
  auto claimed = Network::claim(10);
  ASSERT_TRUE(claimed);
  const NodeId a("a"), b("b");
  auto made = NodeNetwork::make(folder / "", claimed->prefix(), {{a, claimed->prefix() + "1"}, {b, claimed->prefix() + "2"}});
  ASSERT_TRUE(made) << made.error().message;
  const std::string listens = claimed->prefix() + "2";
  int server = -1;
  ASSERT_TRUE(inside(made->name_of(b), [&] {
    server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(7000);
    ::inet_pton(AF_INET, listens.c_str(), &at.sin_addr);
    ASSERT_EQ(::bind(server, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    ASSERT_EQ(::listen(server, 64), 0);
  }));
  const auto reaches = [&] {
    bool out = false;
    EXPECT_TRUE(inside(made->name_of(a), [&] { out = accepts(listens, 7000, std::chrono::milliseconds(300)); }));
    return out;
  };
  EXPECT_TRUE(reaches());
  EXPECT_TRUE(accepts(listens, 7000, seconds(1))) << "tools reach a node from outside";
  ASSERT_TRUE(made->lose({{b, a, 100}}));
  EXPECT_FALSE(reaches()) << "the answer was cut";
  EXPECT_TRUE(accepts(listens, 7000, seconds(1))) << "a cut between nodes is none of the tools'";
  const auto again = NodeNetwork::of(folder / "", {{a, claimed->prefix() + "1"}, {b, listens}});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->lost(), (std::vector<LostPackets>{{b, a, 100}}));
  ASSERT_TRUE(made->lose({}));
  EXPECT_TRUE(reaches());
  ::close(server);
  ASSERT_TRUE(made->remove());
  EXPECT_FALSE(inside(made->name_of(a), [] {}));
  EXPECT_FALSE(NodeNetwork::of(folder / "", {}));
  EXPECT_TRUE(made->remove()) << "once more changes nothing";
}

TEST(View, ReadsWhatItNeedsAndForgivesWhatIsAbsent) {
  const auto view = parse_view(R"({"status":"ok","ready":true,"sequence":7,"quorum":{"voters":3,"reachable":2,"failure_tolerance":1},
    "resources":[{"id":"postgres","epoch":2,"holder":"node2","writable":true,"replicas":[{"node":"node1","state":"streaming","lag_bytes":5}],
    "if_holder_dies":{"to":null,"expected_ms":2300,"loss_bytes":9}}],"waits":[{"what":"votes","unblock":"daarionctl nodes"}],"warnings":[]})");
  ASSERT_TRUE(view) << view.error().message;
  EXPECT_EQ(view->holder_of("postgres"), "node2");
  EXPECT_TRUE(view->streams("postgres", "node1"));
  EXPECT_FALSE(view->streams("postgres", "node3"));
  EXPECT_EQ(view->resource("postgres")->next, "");
  EXPECT_EQ(view->waits, std::vector<std::string>{"votes; daarionctl nodes"});
  EXPECT_TRUE(parse_view("{}"));
  EXPECT_FALSE(parse_view("not json"));
  EXPECT_FALSE(parse_view(R"({"sequence":"seven"})"));
}

}  // namespace
}  // namespace daarion::dev
