// Redis under Sentinel: the observer against real servers and real sentinels on loopback. What it is told to do here the core decides in the
// daemon (core/observed_core.h).
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <fstream>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/redis/render.h"
#include "controlplane/drivers/redis/sentinel.h"
#include "controlplane/drivers/redis/sentinel_view.h"
#include "controlplane/drivers/redis/settings.h"
#include "tests/drivers/bed.h"

namespace daarion::redis {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using test::eventually;
using test::kLimit;
using test::ms_of;
using Steady = std::chrono::steady_clock;

constexpr const char* kSecret = "s3cret";
constexpr Duration kPatience = std::chrono::seconds(2);  // at most, of a repair: a test has less of it than the core

/// A server or a sentinel.
struct Process {
  DirectHost host;
  EngineCommand command;
  Target target;
  void start() { ASSERT_TRUE(host.start(command)); }
  void kill() { host.kill_all(); }
  Result<Reply> ask(const Command& said) const {
    auto c = Connection::open(target, kLimit);
    if (!c) return tl::unexpected(c.error());
    return (*c)->ask(said, kLimit);
  }
  std::string text(const Command& said) const {
    const auto r = ask(said);
    return !r ? r.error().message : r->kind == Reply::Kind::kNumber ? std::to_string(r->number) : r->kind == Reply::Kind::kList && r->list.size() > 1 ? r->list[1].text : r->text;
  }
  std::map<std::string, std::string> fields(const Command& said) const {
    std::map<std::string, std::string> out{{"num-other-sentinels", ""}, {"num-slaves", ""}, {"flags", ""}};
    if (const auto r = ask(said))
      for (std::size_t i = 0; i + 1 < r->list.size(); i += 2) out[r->list[i].text] = r->list[i + 1].text;
    return out;
  }
  std::string info(const std::string& name) const { return field(parse_info(text({"INFO"})), name); }
};

class Sentinel : public testing::Test {
 protected:
  void SetUp() override {
    std::random_device random;
    base_ = "/var/tmp/daarion-sentinel-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100000);
    fs::create_directories(base_);
    chmod(base_.c_str(), 0755);
    subnet_ = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    port_ = 20000 + random() % 10000;
    user_ = *find_user(geteuid() == 0 ? "redis" : "");
  }
  void TearDown() override {
    observers_.clear();
    for (auto& [name, process] : processes_) process->kill();
    if (HasFailure()) std::printf("kept: %s\n", base_.c_str());
    else fs::remove_all(base_);
  }
  PeerAddress server_address(int n) const { return {NodeId("node" + std::to_string(n)), subnet_ + std::to_string(n), port_}; }
  PeerAddress sentinel_address(int n) const { return {NodeId("node" + std::to_string(n)), subnet_ + std::to_string(n), port_ + 1}; }

  Process& process(const std::string& name, const PeerAddress& at, const std::string& file, const std::string& text, std::vector<std::string> more, const char* user) {
    auto& p = processes_[name];
    p = std::make_unique<Process>();
    const std::string folder = base_ + "/" + name;
    EXPECT_TRUE(make_folder(folder, 0700, user_));
    EXPECT_TRUE(write_file(folder + "/" + file, text, 0600, user_));
    p->command = {.argv = {"/usr/bin/redis-server", folder + "/" + file}, .environment = {}, .user = geteuid() == 0 ? "redis" : "", .directory = folder, .log_file = folder + "/log"};
    for (std::string& word : more) p->command.argv.push_back(std::move(word));
    p->target = {.host = at.host, .port = at.port, .user = user, .password = kSecret};
    p->start();
    EXPECT_TRUE(eventually([&] { return p->ask({"PING"}).has_value(); })) << name;
    return *p;
  }
  Process& server(int n) {
    DriverConfig config{.self = server_address(n).node, .resource = resource(), .peers = {server_address(n)}, .run_dir = base_ + "/server" + std::to_string(n), .engine_user = {}};
    config.resource.data_dir = config.run_dir;
    return process("server" + std::to_string(n), server_address(n), "redis.conf", render_settings(config, nullptr, kSecret, false), as_nobodys_replica(), kUser);
  }
  Process& sentinel(int n, const std::string& name = "", std::uint32_t port = 0) {
    const std::string called = name.empty() ? "sentinel" + std::to_string(n) : name;
    PeerAddress at = sentinel_address(n);
    if (port != 0) at.port = port;
    return process(called, at, "sentinel.conf", sentinel_config(at.host, at.port, base_ + "/" + called, kSecret), {"--sentinel"}, "");
  }
  ResourceSpec resource() const {
    ResourceSpec out;
    out.id = ResourceId("redis");
    out.engine = "redis";
    out.declared_primary = NodeId("node1");
    for (int n = 1; n <= servers_; ++n) out.members.push_back(server_address(n).node);
    out.sync = sync_;
    out.tags = tags_;
    return out;
  }
  Observer& observer(int self = 1, const std::string& password = kSecret) {
    ObserverConfig config{.self = server_address(self).node, .resource = resource(), .mode = "sentinel", .peers = {}, .helpers = {},
                          .declared = {{"down_after_ms", std::to_string(down_after_ms_)}, {"failover_timeout_ms", "5000"}}};
    for (int n = 1; n <= servers_; ++n) config.peers.push_back(server_address(n));
    for (int n = 1; n <= 3; ++n) config.helpers.push_back(sentinel_address(n));
    auto made = make_sentinel_with(config, password);
    EXPECT_TRUE(made) << made.error().message;
    observers_.push_back(std::move(*made));
    return *observers_.back();
  }
  void start() {
    for (int n = 1; n <= servers_; ++n) server(n);
    for (int n = 1; n <= 3; ++n) sentinel(n);
  }
  static bool well(const ResourceView& v) {
    return !v.primary.empty() && v.problems.empty() && v.repairs.empty() && std::ranges::all_of(v.members, [](const MemberView& m) { return m.seen.health.empty(); });
  }
  static std::string told(const ResourceView& v) {
    std::string out = "primary " + v.primary.value + " election " + std::to_string(v.election);
    for (const MemberView& m : v.members) out += "; " + m.seen.role + " " + m.seen.node.value + " " + text_of(m.seen.state) + " " + m.seen.health;
    for (const std::string& p : v.problems) out += "\n  problem: " + p;
    for (const RepairStep& r : v.repairs) out += "\n  repair: " + r.name;
    return out;
  }
  /// Mends step by step, as the core does, until the view is as wanted.
  ::testing::AssertionResult mended(Observer& o, const std::function<bool(const ResourceView&)>& wanted) {
    ResourceView view;
    std::map<std::string, Steady::time_point> due;
    const bool done = eventually([&] {
      view = o.observe();
      if (wanted(view)) return true;
      for (const RepairStep& step : view.repairs) {
        if (Steady::now() < due.try_emplace(step.name, Steady::now() + std::min<Duration>(step.patience, kPatience)).first->second) continue;
        (void)o.act({.id = 1, .resource = ResourceId("redis"), .from = {}, .to = {}, .repair = step.name});
        due.erase(step.name);
        break;
      }
      return false;
    });
    return done ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << told(view);
  }
  /// All is well, and the sentinels know each other and the replicas, without which they elect nobody.
  ::testing::AssertionResult mended(Observer& o) {
    return mended(o, [&](const ResourceView& v) {
      return well(v) && std::ranges::all_of(std::vector{1, 2, 3}, [&](int n) {
               const auto state = processes_["sentinel" + std::to_string(n)]->fields({"SENTINEL", "MASTER", "redis"});
               return state.at("num-other-sentinels") == "2" && state.at("num-slaves") == std::to_string(servers_ - 1) && state.at("flags") == "master";
             });
    });
  }
  static bool has_problem(const ResourceView& v, const std::string& part) {
    return std::ranges::any_of(v.problems, [&](const std::string& p) { return p.find(part) != std::string::npos; });
  }
  ::testing::AssertionResult shows(Observer& o, const std::string& part) {
    ResourceView view;
    const bool seen = eventually([&] { return has_problem(view = o.observe(), part); });
    return seen ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << told(view);
  }
  static const MemberView& member(const ResourceView& v, int n, bool sentinel = false) {
    return *std::ranges::find_if(v.members, [&](const MemberView& m) { return m.seen.node == NodeId("node" + std::to_string(n)) && (m.seen.role == "sentinel") == sentinel; });
  }
  bool switched(Observer& o, int to, std::chrono::seconds limit = kLimit) {
    for (const auto until = Steady::now() + limit; Steady::now() < until; (void)o.await_word(milliseconds(50)))
      if (o.observe().primary == NodeId("node" + std::to_string(to))) return true;
    return false;
  }
  Result<std::string> switch_to(Observer& o, int from, const std::string& to) {
    return o.act({.id = 1, .resource = ResourceId("redis"), .from = NodeId("node" + std::to_string(from)), .to = NodeId(to), .repair = {}});
  }

  std::string base_, subnet_;
  std::uint32_t port_ = 0;
  SystemUser user_;
  int servers_ = 2;
  SyncMode sync_ = SyncMode::kAsync;
  std::map<NodeId, ResourceTags> tags_;
  int down_after_ms_ = 1000;
  std::map<std::string, std::unique_ptr<Process>> processes_;
  std::vector<std::unique_ptr<Observer>> observers_;
};

TEST_F(Sentinel, SetsUpEmptySentinelsAndServersAsDeclared) {
  sync_ = SyncMode::kSync;
  start();
  Observer& o = observer();
  EXPECT_TRUE(o.observe().primary.empty()) << "nobody is open";
  ASSERT_TRUE(mended(o));
  const ResourceView v = o.observe();
  EXPECT_EQ(v.primary, NodeId("node1"));
  EXPECT_EQ(v.elected_by, "Sentinel");
  ASSERT_EQ(v.members.size(), 5u);
  EXPECT_EQ(member(v, 1).seen.state, EngineState::kPrimary);
  EXPECT_EQ(member(v, 2).seen.state, EngineState::kStandby);
  EXPECT_TRUE(member(v, 2).lag_known);
  EXPECT_EQ(member(v, 1).seen.identity, member(v, 2).seen.identity);
  EXPECT_EQ(member(v, 3, true).seen.role, "sentinel");
  EXPECT_EQ(processes_["server1"]->text({"CONFIG", "GET", "min-replicas-to-write"}), "1");
  auto fields = processes_["sentinel3"]->fields({"SENTINEL", "MASTER", "redis"});
  EXPECT_EQ(fields["quorum"], "2");
  EXPECT_EQ(fields["down-after-milliseconds"], "1000");
  // A setting that somebody changed at one sentinel is found and set again.
  ASSERT_TRUE(processes_["sentinel2"]->ask({"SENTINEL", "SET", "redis", "quorum", "1"}));
  const ResourceView changed = o.observe();
  ASSERT_EQ(changed.repairs.size(), 1u);
  EXPECT_EQ(changed.repairs[0].name, "set node2");
  ASSERT_TRUE(mended(o));
  EXPECT_FALSE(o.act({.id = 1, .resource = ResourceId("redis"), .from = {}, .to = {}, .repair = "set node2"})) << "it is void by now";
  // Another node sees the same.
  EXPECT_EQ(told(observer(3).observe()), told(o.observe()));
}

/// Offsets only rise, so a lag is between the master's before less the replica's after, and the master's after less the replica's before.
TEST_F(Sentinel, LagUnderLoadIsTheServersOwnFigure) {
  down_after_ms_ = 30'000;  // the replica is stopped for a while
  start();
  Observer& o = observer();
  ASSERT_TRUE(mended(o));
  Process &master = *processes_["server1"], &replica = *processes_["server2"];
  std::jthread load([&](const std::stop_token& ending) {
    auto c = Connection::open(master.target, kLimit);
    const std::string value(1000, 'x');
    for (int i = 0; !ending.stop_requested() && c; ++i) (void)(*c)->run(std::vector<Command>(50, Command{"SET", "k" + std::to_string(i % 1000), value}), kLimit);
  });
  struct Places {
    std::uint64_t master = 0, replica = 0;
  };
  const auto places = [&] {
    const auto info = parse_info(master.text({"INFO", "replication"}));
    const std::string slave = field(info, "slave0");
    const std::size_t at = slave.find("offset=");
    return at == std::string::npos ? Places{} : Places{std::stoull(field(info, "master_repl_offset")), std::stoull(slave.substr(at + 7))};
  };
  const auto less = [](std::uint64_t x, std::uint64_t y) { return x > y ? x - y : 0; };
  std::uint64_t most = 0;
  for (int i = 0; i < 18; ++i) {  // each look waits for a server that is stopped, and what waits for it has a bound
    if (i == 15) replica.host.stop(SIGSTOP);  // from here on it falls behind
    const Places before = places();
    const ResourceView view = o.observe();
    const Places after = places();
    ASSERT_GT(before.master, 0u);
    ASSERT_GT(after.master, 0u);
    ASSERT_TRUE(member(view, 2).lag_known) << i;
    EXPECT_GE(member(view, 2).lag_bytes, less(before.master, after.replica)) << i;
    EXPECT_LE(member(view, 2).lag_bytes, less(after.master, before.replica)) << i;
    most = std::max(most, member(view, 2).lag_bytes);
  }
  EXPECT_GE(most, 1'000'000u);
  load.request_stop();
  load.join();
  std::printf("figure sentinel_lag_under_load_most_bytes %llu\n", static_cast<unsigned long long>(most));
  replica.host.stop(SIGCONT);
  EXPECT_TRUE(eventually([&] {
    const ResourceView view = o.observe();
    return member(view, 2).lag_known && member(view, 2).lag_bytes == 0;
  }));
}

TEST_F(Sentinel, HearsOfAFailoverAndTakesTheOldMasterBack) {
  start();
  Observer& o = observer(2);
  ASSERT_TRUE(mended(o));
  const std::uint64_t election = o.observe().election;
  std::vector<std::string> sources;
  processes_["server1"]->kill();
  ResourceView v;
  const auto told_by = [&](const char* word) { return std::ranges::find(sources, std::string("sentinel ") + word) != sources.end(); };
  // A look may see what the word tells a moment later.
  ASSERT_TRUE(eventually([&] {
    (void)o.await_word(milliseconds(100));
    v = o.observe();
    if (sources.empty() || sources.back() != v.source) sources.push_back(v.source);
    return v.primary == NodeId("node2") && told_by("+switch-master");
  })) << told(v);
  EXPECT_TRUE(told_by("+sdown") || told_by("+odown")) << "they may come together";
  EXPECT_TRUE(told_by("+switch-master"));
  EXPECT_GT(v.election, election);
  EXPECT_EQ(member(v, 2).seen.role, "primary");
  processes_["server1"]->start();
  ASSERT_TRUE(mended(o));
  EXPECT_EQ(member(o.observe(), 1).seen.state, EngineState::kStandby);
}

TEST_F(Sentinel, ASwitchoverLosesNoAcknowledgedWrite) {
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  std::atomic<bool> ending = false;
  int written = 0;
  std::thread writer([&] {
    auto c = Connection::open(processes_["server1"]->target, kLimit);
    for (int i = 0; !ending && c && (*c)->alive(); ++i) {
      if (!(*c)->ask({"SET", "k" + std::to_string(i), "v"}, kLimit)) break;
      written = i + 1;
    }
  });
  const auto begun = Steady::now();
  EXPECT_FALSE(switch_to(o, 2, "node1")) << "node2 is not the primary";
  const auto asked = switch_to(o, 1, "node2");
  EXPECT_TRUE(asked) << asked.error().message;
  EXPECT_TRUE(switched(o, 2));
  EXPECT_EQ(processes_["server1"]->info("role"), "slave") << "Sentinel leaves it open for 8 s";
  std::printf("switchover %.0f ms\n", ms_of(begun));
  ending = true;
  writer.join();
  EXPECT_GT(written, 0);
  ASSERT_TRUE(mended(o));
  EXPECT_GE(std::stoi(processes_["server2"]->text({"DBSIZE"})), written);
}

TEST_F(Sentinel, TakesTheWantedNodeWhereSentinelWouldTakeAnother) {
  servers_ = 3;
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  ASSERT_TRUE(processes_["server2"]->ask({"CONFIG", "SET", "replica-priority", "50"}));
  const auto asked = switch_to(o, 1, "node3");
  ASSERT_TRUE(asked) << asked.error().message;
  EXPECT_FALSE(switch_to(o, 1, "node2")) << "one is under way";
  ASSERT_TRUE(switched(o, 3, std::chrono::seconds(30)));
  EXPECT_EQ(processes_["server3"]->text({"CONFIG", "GET", "replica-priority"}), "100") << "as it was";
  ASSERT_TRUE(mended(o));
  ASSERT_TRUE(processes_["server1"]->ask({"CONFIG", "SET", "replica-priority", "0"}));
  const auto never = switch_to(o, 3, "node1");
  ASSERT_FALSE(never);
  EXPECT_NE(never.error().message.find("replica-priority 0"), std::string::npos) << never.error().message;
}

/// By hand, or left over from a switchover whose daemon died: it would be elected before one that has more.
TEST_F(Sentinel, APriorityIsAsDeclaredUnlessASwitchoverIsUnderWay) {
  servers_ = 3;
  tags_[NodeId("node3")].nofailover = true;
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  const auto priority = [&](int n) { return processes_["server" + std::to_string(n)]->text({"CONFIG", "GET", "replica-priority"}); };
  EXPECT_EQ(priority(2), "100");
  EXPECT_EQ(priority(3), "0");
  ASSERT_TRUE(processes_["server2"]->ask({"CONFIG", "SET", "replica-priority", "7"}));
  ASSERT_TRUE(processes_["server3"]->ask({"CONFIG", "SET", "replica-priority", "100"}));
  ASSERT_EQ(o.observe().repairs.size(), 2u);
  ASSERT_TRUE(mended(o));
  EXPECT_EQ(priority(2), "100");
  EXPECT_EQ(priority(3), "0");
  const auto never = switch_to(o, 1, "node3");
  ASSERT_FALSE(never);
  EXPECT_NE(never.error().message.find("tagged nofailover"), std::string::npos) << never.error().message;
  // The daemon that carries out a switchover mends nothing; another waits for longer than any takes.
  ASSERT_TRUE(switch_to(o, 1, "node2"));
  ASSERT_EQ(priority(2), "1");
  EXPECT_TRUE(o.observe().repairs.empty());
  observers_.clear();  // it dies in the midst
  Observer& other = observer(2);
  const ResourceView left = other.observe();
  ASSERT_EQ(left.repairs.size(), 1u) << told(left);
  EXPECT_EQ(left.repairs[0].name, "priority node2");
  EXPECT_GE(left.repairs[0].patience, std::chrono::seconds(25)) << "15 s until it is seen, 10 s until it is switched";
  ASSERT_TRUE(mended(other));
  EXPECT_EQ(priority(2), "100");
}

TEST_F(Sentinel, FindsAndEndsASplitAmongSentinels) {
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  Process& third = *processes_["sentinel3"];
  ASSERT_TRUE(third.ask({"SENTINEL", "REMOVE", "redis"}));
  ASSERT_TRUE(third.ask({"SENTINEL", "MONITOR", "redis", server_address(2).host, std::to_string(port_), "2"}));
  EXPECT_EQ(member(o.observe(), 3, true).seen.health, "it names node2 as the master");
  ASSERT_TRUE(shows(o, "the sentinels disagree about the master: node1, node2 name node1, node3 names node2"));
  ASSERT_TRUE(mended(o));
  EXPECT_EQ(third.text({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", "redis"}), std::to_string(port_));
}

TEST_F(Sentinel, CountsWhoIsLeftAndWhoIsTooMany) {
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  Process& extra = sentinel(1, "extra", port_ + 2);
  ASSERT_TRUE(extra.ask({"SENTINEL", "MONITOR", "redis", server_address(1).host, std::to_string(port_), "2"}));
  ASSERT_TRUE(extra.ask({"SENTINEL", "SET", "redis", "auth-user", kUser}));
  ASSERT_TRUE(extra.ask({"SENTINEL", "SET", "redis", "auth-pass", kSecret}));
  ASSERT_TRUE(shows(o, "2 sentinels run on " + subnet_ + "1: they fall together"));
  ASSERT_TRUE(shows(o, "counts 3 others, and 2 are declared"));
  extra.kill();
  ASSERT_TRUE(mended(o)) << "it is forgotten";
  for (int n = 2; n <= 3; ++n) processes_["sentinel" + std::to_string(n)]->kill();
  ASSERT_TRUE(shows(o, "1 of 3 sentinels answer: nothing can fail over; start redis-sentinel on node2, node3"));
  EXPECT_EQ(o.observe().primary, NodeId("node1"));
}

TEST_F(Sentinel, AMasterThatRestartsEmptyEmptiesNobody) {
  down_after_ms_ = 5000;
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  ASSERT_TRUE(processes_["server1"]->ask({"SET", "kept", "yes"}));
  ASSERT_TRUE(eventually([&] { return processes_["server2"]->text({"GET", "kept"}) == "yes"; }));
  const auto killed = Steady::now();
  processes_["server1"]->kill();
  fs::remove(base_ + "/server1/dump.rdb");
  processes_["server1"]->start();
  ASSERT_TRUE(mended(o, [](const ResourceView& v) { return v.primary == NodeId("node2"); }));
  EXPECT_LT(ms_of(killed), down_after_ms_) << "Sentinel alone had not noticed yet";
  ASSERT_TRUE(mended(o));
  EXPECT_EQ(processes_["server2"]->text({"GET", "kept"}), "yes");
  EXPECT_TRUE(eventually([&] { return processes_["server1"]->text({"GET", "kept"}) == "yes"; }));
}

TEST_F(Sentinel, WarnsOfAMasterThatWouldAndOfOneThatDid) {
  down_after_ms_ = 5000;
  start();
  Observer& o = observer(1);
  ASSERT_TRUE(mended(o));
  Process& first = *processes_["server1"];
  ASSERT_TRUE(first.ask({"SET", "lost", "yes"}));
  ASSERT_TRUE(first.ask({"CONFIG", "SET", "save", ""}));
  ASSERT_TRUE(shows(o, "redis of node1 keeps nothing on disk"));
  // Started by somebody who does not know better, as a master.
  first.kill();
  fs::remove(base_ + "/server1/dump.rdb");
  first.command.argv.resize(2);
  first.command.argv.insert(first.command.argv.end(), {"--replicaof", "no one"});
  first.start();
  ASSERT_TRUE(shows(o, "redis of node1 restarted as the master and came back empty, and its replicas with it"));
  const ResourceView v = o.observe();
  EXPECT_EQ(v.primary, NodeId("node1"));
}

TEST_F(Sentinel, AWrongPasswordAndASilentPortCostNoMoreThanTheirTimeout) {
  start();
  ASSERT_TRUE(mended(observer(1)));
  Observer& stranger = observer(2, "wrong");
  const ResourceView v = stranger.observe();
  EXPECT_TRUE(v.primary.empty());
  for (const MemberView& m : v.members) EXPECT_NE(m.seen.health.find("WRONGPASS"), std::string::npos) << m.seen.health;
  EXPECT_FALSE(stranger.await_word(milliseconds(1)));
  // Stopped processes take connections and never answer.
  for (auto& [name, process] : processes_) kill(process->host.first(), SIGSTOP);
  Observer& o = observer(3);
  const auto begun = Steady::now();
  const ResourceView silent = o.observe();
  EXPECT_LT(ms_of(begun), 1200);
  for (const MemberView& m : silent.members) EXPECT_EQ(m.seen.state, EngineState::kUnresponsive);
  for (auto& [name, process] : processes_) kill(process->host.first(), SIGCONT);
}

TEST_F(Sentinel, ACacheIsToAnswerFollowNobodyAndBeBounded) {
  Process& cache = server(3);
  ObserverConfig config{.self = NodeId("node3"), .resource = resource(), .mode = "cache", .peers = {server_address(3)}, .helpers = {}, .declared = {}};
  auto made = make_cache_with(config, kSecret);
  ASSERT_TRUE(made);
  Observer& o = **made;
  EXPECT_NE(o.observe().members[0].seen.health.find("takes no writes"), std::string::npos);
  ASSERT_TRUE(cache.ask({"REPLICAOF", "NO", "ONE"}));
  const ResourceView open = o.observe();
  EXPECT_EQ(open.primary, NodeId("node3"));
  EXPECT_TRUE(open.members[0].seen.health.empty());
  EXPECT_TRUE(has_problem(open, "has no maxmemory"));
  ASSERT_TRUE(cache.ask({"CONFIG", "SET", "maxmemory", "10mb"}));
  EXPECT_TRUE(has_problem(o.observe(), "noeviction"));
  ASSERT_TRUE(cache.ask({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}));
  EXPECT_TRUE(o.observe().problems.empty());
  cache.kill();
  EXPECT_NE(o.observe().members[0].seen.health.find("no answer"), std::string::npos);
}

TEST(SentinelView, OpensWhoHasTheDataAndNobodyWhereThatIsNotPlain) {
  const SentinelDeclared declared{.resource = "redis", .name = "redis", .primary = NodeId("node1")};
  const auto server = [](int n, const std::string& keys) {
    ServerLook s{.at = {NodeId("node" + std::to_string(n)), "10.0.0." + std::to_string(n), 6379}, .answered = true, .why = {},
                 .info = {{"role", "slave"}, {"master_host", kNobody}, {"master_port", kNobodyPort}}, .config = {}};
    if (!keys.empty()) s.info["db0"] = "keys=" + keys;
    return s;
  };
  const auto first_step = [&](const std::vector<ServerLook>& servers) {
    const SentinelJudgement j = judge_sentinel(declared, servers, {});
    return j.view.repairs.empty() ? "" : j.view.repairs.front().name;
  };
  EXPECT_EQ(first_step({server(1, ""), server(2, "")}), "open node1");
  EXPECT_EQ(first_step({server(1, ""), server(2, "5")}), "open node2");
  EXPECT_EQ(first_step({server(1, "4"), server(2, "5")}), "");
  ServerLook away = server(2, "");
  away.answered = false;
  EXPECT_EQ(first_step({server(1, ""), away}), "") << "it may have the data";
  // A primary without data is not followed by one that has some.
  ServerLook open = server(1, "");
  open.info = {{"role", "master"}};
  const SentinelJudgement j = judge_sentinel(declared, {open, server(2, "5")}, {});
  EXPECT_TRUE(std::ranges::none_of(j.view.repairs, [](const RepairStep& r) { return r.name == "follow node2"; }));
  EXPECT_TRUE(std::ranges::any_of(j.problems, [](const SentinelProblem& p) { return p.text.find("node2 has data and the primary node1 has none") != std::string::npos; }));
}

}  // namespace
}  // namespace daarion::redis
