// Qdrant's shape kept, against real processes: the stand-in's (tests/standins/qdrant.cc), each peer one of them, or those of the program that
// DAARION_QDRANT names; then tests that need faults which only the stand-in has are skipped. What is read and planned of every picture is in
// tests/unit/qdrant_plan_test.cc.
#include <gtest/gtest.h>
#include <signal.h>

#include "controlplane/drivers/qdrant/client.h"
#include "controlplane/drivers/qdrant/qdrant_observer.h"
#include "tests/drivers/bed.h"
#include "tests/drivers/black_hole.h"

namespace daarion::qdrant {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Steady = std::chrono::steady_clock;
using test::eventually;
using test::ms_of;

constexpr const char* kKey = "a-key-that-nobody-sees";
constexpr Duration kLook = milliseconds(900);

/// A real Qdrant's program; empty: the stand-in is run.
std::string real_qdrant() {
  const char* named = std::getenv("DAARION_QDRANT");
  return named == nullptr ? "" : named;
}
#define NEEDS_STAND_IN(fault) \
  if (!real_qdrant().empty()) GTEST_SKIP() << "DAARION_QDRANT names a real Qdrant, which cannot be told " fault

class Qdrant : public testing::Test {
 protected:
  void SetUp() override {
    std::random_device random;
    base_ = "/var/tmp/daarion-driver-" + std::to_string(getpid()) + "-" + std::to_string(random() % 100'000);
    subnet_ = "127." + std::to_string(64 + random() % 63) + "." + std::to_string(random() % 256) + ".";
    port_ = 20'000 + random() % 10'000;
    declared_.replication_factor = 2;
    declared_.patience = milliseconds(300);
  }
  void TearDown() override {
    for (auto& [n, host] : hosts_) host.kill_all();
    std::error_code ignored;
    if (HasFailure()) std::printf("kept: %s\n", base_.c_str());
    else fs::remove_all(base_, ignored);
  }

  static NodeId node(int n) { return NodeId("node" + std::to_string(n)); }
  std::string address(int n) const { return subnet_ + std::to_string(n); }
  void start(int n, bool bootstrap) {
    const std::string storage = base_ + "/node" + std::to_string(n);
    fs::create_directories(storage);
    std::vector<std::string> argv{real_qdrant().empty() ? DAARION_BIN "/daarion-qdrant-stand-in" : real_qdrant(), "--uri", "http://" + address(n) + ":6335/"};
    if (bootstrap) argv.insert(argv.end(), {"--bootstrap", "http://" + address(1) + ":6335/"});
    const auto started = hosts_[n].start({.argv = argv,
                                          .environment = {"QDRANT__SERVICE__HOST=" + address(n), "QDRANT__SERVICE__HTTP_PORT=" + std::to_string(port_),
                                                          std::string("QDRANT__SERVICE__API_KEY=") + kKey, "QDRANT__STORAGE__STORAGE_PATH=" + storage
                                                              + "/storage",
                                                          "QDRANT__CLUSTER__ENABLED=true", "DAARION_STAND_IN_SHARED=" + base_ + "/shared"},
                                          .user = {}, .directory = storage, .log_file = storage + "/log"});
    ASSERT_TRUE(started) << started.error().message;
  }
  /// A cluster of so many, all of them members.
  void cluster(int peers) {
    for (int n = 1; n <= peers; ++n) {
      start(n, n > 1);
      declared_.nodes.push_back(node(n));
    }
    watch();
    ASSERT_TRUE(eventually([&] { return look().settled && seen_.peers.size() == static_cast<std::size_t>(peers) && says("").empty(); })) << says("");
  }
  void watch(const std::string& key = kKey) {
    std::vector<Target> targets;
    std::map<NodeId, std::string> addresses;
    for (const NodeId& n : declared_.nodes) {
      const int number = std::stoi(n.value.substr(4));
      targets.push_back({.node = n, .host = address(number), .port = port_, .api_key = key});
      addresses[n] = address(number);
    }
    members_ = std::make_unique<Members>(targets, addresses);
  }
  const Picture& look() {
    seen_ = members_->look(kLook);
    const Instant now{Steady::now().time_since_epoch()};
    remember(history_, declared_, seen_, now);
    plan_ = plan(declared_, seen_, history_, now);
    return seen_;
  }
  /// One look, and one step of what is due: as a node of the cluster does.
  void mend() {
    look();
    if (plan_.steps.empty()) return;
    const auto done = members_->run(plan_.steps[0], seen_, seconds(3));
    done_.push_back(plan_.steps[0].what);
    tried(history_, plan_.steps[0], Instant{Steady::now().time_since_epoch()}, done ? "" : done.error().message);
    EXPECT_TRUE(done) << done.error().message;
  }
  bool mended() {
    mend();
    return plan_.problems.empty() && plan_.steps.empty();
  }
  /// Every problem, or those with this code.
  std::string says(const std::string& code) const {
    std::string out;
    for (const Problem& p : plan_.problems)
      if (code.empty() || p.code == code) out += p.code + ": " + p.text + "\n";
    return out;
  }

  HttpReply ask(int n, const std::string& method, const std::string& path, const std::string& body = "") {
    return HttpClient(address(n), port_).call({.method = method, .path = path, .body = body, .headers = {{"api-key", kKey}}}, seconds(5));
  }
  void docs(int shards, int factor) {
    const HttpReply made = ask(1, "PUT", "/collections/docs",
                               R"({"vectors":{"size":2,"distance":"Dot"},"shard_number":)" + std::to_string(shards) + R"(,"replication_factor":)"
                                   + std::to_string(factor) + "}");
    ASSERT_EQ(made.answer.status, 200) << made.answer.body;
  }
  int write(int n, int from, int count) {
    std::string points;
    for (int i = from; i < from + count; ++i) points += (i == from ? "" : ",") + (R"({"id":)" + std::to_string(i)) + R"(,"vector":[0.1,0.2]})";
    return ask(n, "PUT", "/collections/docs/points?wait=true", R"({"points":[)" + points + "]}").answer.status;
  }
  std::string count(int n) { return ask(n, "POST", "/collections/docs/points/count", R"({"exact":true})").answer.body; }
  static std::string counted(int points) { return "{\"count\":" + std::to_string(points) + "}"; }
  void knob(int n, const std::string& knobs) { ASSERT_EQ(ask(n, "PUT", "/stand-in", knobs).answer.status, 200); }

  std::string base_, subnet_;
  std::uint32_t port_ = 0;
  std::map<int, DirectHost> hosts_;
  Declared declared_;
  std::unique_ptr<Members> members_;
  History history_;
  Picture seen_;
  Plan plan_;
  std::vector<std::string> done_;
};

TEST_F(Qdrant, ACollectionThatFallsShortIsNamedAndMended) {
  cluster(3);
  docs(2, 1);
  ASSERT_EQ(write(1, 0, 50), 200);
  look();
  EXPECT_NE(says("short").find("docs/0: 1 of 2 replicas are whole"), std::string::npos) << says("");
  EXPECT_NE(says("factor_differs"), "");
  ASSERT_EQ(ask(1, "PATCH", "/collections/docs", R"({"params":{"replication_factor":2}})").answer.status, 200);
  ASSERT_TRUE(eventually([&] { return mended(); })) << says("");
  EXPECT_EQ(done_.size(), 2u);
  for (const auto& [shard, replicas] : seen_.collections.at("docs").shards) {
    EXPECT_EQ(replicas.size(), 2u);
    for (const auto& [peer, state] : replicas) EXPECT_EQ(state, ReplicaState::kActive);
  }
  // They are copies of the data, and not of their names alone.
  hosts_[2].kill_all();
  EXPECT_TRUE(eventually([&] { return count(1).find(counted(50)) != std::string::npos; })) << count(1);
}

TEST_F(Qdrant, APeerThatComesBackIsLeftToQdrant) {
  cluster(3);
  docs(3, 2);
  ASSERT_EQ(write(1, 0, 20), 200);
  hosts_[3].kill_all();
  ASSERT_TRUE(eventually([&] { return write(1, 20, 30) == 200; }));
  ASSERT_TRUE(eventually([&] { return mend(), !says("short").empty() && seen_.settled; })) << says("");
  EXPECT_NE(says("no_answer").find("node3"), std::string::npos);
  start(3, true);
  ASSERT_TRUE(eventually([&] { return mended(); })) << says("");
  EXPECT_EQ(done_, std::vector<std::string>{}) << "it may come back: 60 s are its own";
  EXPECT_NE(count(3).find(counted(50)), std::string::npos) << count(3);
}

TEST_F(Qdrant, WhatWasOnAPeerThatStaysAwayIsCopiedElsewhere) {
  cluster(3);
  declared_.away = milliseconds(500);
  docs(1, 2);
  ASSERT_EQ(write(1, 0, 20), 200);
  const PeerId holder = look().collections.at("docs").shards.at(0).rbegin()->first;
  const int gone = std::stoi(seen_.name_of(holder).substr(4)), other = gone == 1 ? 2 : 1;
  hosts_[gone].kill_all();
  ASSERT_TRUE(eventually([&] { return write(other, 20, 20) == 200; }));
  ASSERT_TRUE(eventually([&] { return mend(), seen_.settled && says("short").empty() && says("lost").empty(); })) << says("");
  EXPECT_EQ(done_.size(), 1u);
  EXPECT_NE(count(other).find(counted(40)), std::string::npos) << count(other);
  EXPECT_TRUE(seen_.peers.contains(holder)) << "it is not retired";
}

TEST_F(Qdrant, ARetiredPeerIsEmptiedAndRemovedAliveOrDead) {
  for (const bool alive : {true, false}) {
    SCOPED_TRACE(alive);
    if (alive) cluster(4);
    if (alive) docs(2, 2);
    ASSERT_EQ(write(1, 0, 30), 200);
    const int leaves = alive ? 4 : 3;
    if (!alive) {
      hosts_[3].kill_all();
      ASSERT_TRUE(eventually([&] { return write(1, 0, 30) == 200; }));
    }
    declared_.retired.insert(node(leaves));
    ASSERT_TRUE(eventually([&] { return mend(), seen_.settled && !seen_.peer_of(node(leaves)) && says("short").empty(); })) << says("");
    EXPECT_NE(count(1).find(counted(30)), std::string::npos) << count(1);
  }
}

TEST_F(Qdrant, LateBrokenAndFrozenAnswersCostTheirTimeAndNoMore) {
  NEEDS_STAND_IN("to answer late or wrongly");
  cluster(3);
  docs(1, 2);
  knob(2, R"({"delay_ms":10000})");
  auto begun = Steady::now();
  EXPECT_TRUE(look().settled) << says("");
  EXPECT_LT(ms_of(begun), 2500);
  EXPECT_NE(says("no_answer").find("node2: GET /cluster on node2: no answer in time"), std::string::npos) << says("");
  knob(2, R"({"delay_ms":0,"status":500})");
  EXPECT_TRUE(look().settled);
  EXPECT_NE(says("no_answer").find("answer 500, as it was told"), std::string::npos) << says("");
  knob(2, R"({"status":0,"garbage":true})");
  EXPECT_TRUE(look().settled);
  EXPECT_NE(says("no_answer").find("no JSON"), std::string::npos) << says("");
  knob(2, R"({"garbage":false})");
  hosts_[2].stop(SIGSTOP);
  begun = Steady::now();
  look();
  EXPECT_LT(ms_of(begun), 2500);
  EXPECT_NE(says("no_answer").find("node2"), std::string::npos) << says("");
  hosts_[2].stop(SIGCONT);
  EXPECT_TRUE(eventually([&] { return mended(); })) << says("");
}

TEST_F(Qdrant, ABlackHoleCostsItsTimeAndNoMore) {
  const test::BlackHole hole(address(9), port_);
  Client client({.node = node(9), .host = address(9), .port = port_, .api_key = {}});
  const auto begun = Steady::now();
  const PeerView view = client.look(kLook);
  EXPECT_LT(ms_of(begun), 2500);
  EXPECT_FALSE(view.reached);
  EXPECT_NE(view.error, "");
}

TEST_F(Qdrant, AWrongKeyIsSaidAndNotShown) {
  cluster(1);
  watch("another-key");
  look();
  EXPECT_NE(says("no_answer").find("refuses the API key (401)"), std::string::npos) << says("");
  EXPECT_EQ(says("").find("another-key"), std::string::npos);
}

TEST_F(Qdrant, ACollectionWithoutAWholeReplicaIsNamedAndLeftAlone) {
  NEEDS_STAND_IN("to leave dead replicas so");
  cluster(3);
  docs(1, 2);
  ASSERT_EQ(write(1, 0, 5), 200);
  knob(1, R"({"no_recovery":true})");
  look();
  const auto replicas = seen_.collections.at("docs").shards.at(0);
  for (const auto& [peer, state] : replicas)
    ASSERT_EQ(ask(1, "PUT", "/stand-in/replica", R"({"collection":"docs","shard_id":0,"state":"Dead","peer_id":)" + std::to_string(peer)
        + "}").answer.status, 200);
  const auto until = Steady::now() + 2 * declared_.patience;
  while (Steady::now() < until) mend();
  EXPECT_NE(says("lost").find("docs/0"), std::string::npos) << says("");
  EXPECT_EQ(done_, std::vector<std::string>{});
}

TEST_F(Qdrant, AReplicaThatStaysPartialAndATransferThatHangs) {
  NEEDS_STAND_IN("to hang in a transfer");
  cluster(3);
  docs(1, 2);
  look();
  const PeerId stuck = seen_.collections.at("docs").shards.at(0).begin()->first;
  ASSERT_EQ(ask(1, "PUT", "/stand-in/replica", R"({"collection":"docs","shard_id":0,"state":"Partial","peer_id":)" + std::to_string(stuck)
      + "}").answer.status, 200);
  knob(1, R"({"transfer_hangs":true})");
  ASSERT_TRUE(eventually([&] { return mend(), !done_.empty(); })) << says("");
  const auto until = Steady::now() + 2 * declared_.patience;
  while (Steady::now() < until) mend();
  EXPECT_EQ(done_.size(), 1u) << "no second one while the first is under way";
  EXPECT_NE(says("short").find("being copied"), std::string::npos) << says("");
  knob(1, R"({"transfer_hangs":false})");
  EXPECT_TRUE(eventually([&] { return mended(); })) << says("");
}

TEST_F(Qdrant, APeerThatLostItsStorageIsNotTheOneItWas) {
  cluster(3);
  docs(3, 2);
  ASSERT_EQ(write(1, 0, 30), 200);
  hosts_[3].kill_all();
  fs::remove_all(base_ + "/node3/storage");
  start(3, false);
  ASSERT_TRUE(eventually([&] { return look().settled && !says("not_in_cluster").empty(); })) << says("");
  EXPECT_NE(says("former_peer"), "");
  hosts_[3].kill_all();
  fs::remove_all(base_ + "/node3/storage");
  start(3, true);
  ASSERT_TRUE(eventually([&] { return look().settled && seen_.peers.size() == 4 && seen_.peer_of(node(3)); })) << says("");
  ASSERT_EQ(write(1, 30, 30), 200);
  ASSERT_TRUE(eventually([&] { return mend(), says("short").empty() && plan_.steps.empty(); })) << says("");
  EXPECT_GE(done_.size(), 1u);
  EXPECT_NE(count(3).find(counted(60)), std::string::npos) << count(3);
}

TEST_F(Qdrant, WithoutAMajorityNothingIsDone) {
  cluster(3);
  docs(1, 1);
  hosts_[2].kill_all();
  hosts_[3].kill_all();
  ASSERT_TRUE(eventually([&] { return !look().settled; }));
  const auto until = Steady::now() + 2 * declared_.patience;
  while (Steady::now() < until) mend();
  EXPECT_NE(says("no_consensus"), "");
  EXPECT_EQ(done_, std::vector<std::string>{});
}

TEST_F(Qdrant, TheObserverTellsTheWholeAndDoesWhatIsAskedOfIt) {
  cluster(3);
  docs(1, 3);
  setenv("QDRANT_API_KEY", kKey, 1);
  ObserverConfig config{.self = node(1), .resource = {.id = ResourceId("qdrant"), .engine = "qdrant"}, .mode = "sharded"};
  config.declared = {{"shards", "1"}, {"replication_factor", "2"}};
  for (int n = 1; n <= 3; ++n) config.peers.push_back({node(n), address(n), port_});
  auto made = make_qdrant_observer(config);
  ASSERT_TRUE(made) << made.error().message;
  Observer& observer = **made;
  ResourceView view = observer.observe();
  EXPECT_EQ(view.elected_by, "Qdrant's raft");
  EXPECT_GE(view.election, 1u);
  ASSERT_EQ(view.members.size(), 3u);
  for (const MemberView& m : view.members) {
    EXPECT_EQ(m.seen.role, m.seen.node == view.primary ? "leader" : "peer");
    EXPECT_EQ(m.seen.state, m.seen.node == view.primary ? EngineState::kPrimary : EngineState::kStandby);
    if (real_qdrant().empty()) EXPECT_EQ(m.seen.version, "0.0.0-stand-in");
    else EXPECT_NE(m.seen.version, "");
    EXPECT_EQ(m.seen.health, "");
    EXPECT_EQ(m.seen.identity, std::to_string(look().peer_of(m.seen.node).value_or(0)));
  }
  EXPECT_TRUE(view.repairs.empty());
  const auto moved = observer.act({.id = 1, .resource = config.resource.id, .from = view.primary, .to = node(3), .repair = {}});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().remedy, Remedy::kStepDown);
  EXPECT_FALSE(observer.act({.id = 2, .resource = config.resource.id, .from = {}, .to = {}, .repair = "what nobody planned"}));

  observer.told({{node(3), MemberIntent::kRetired}});
  std::vector<std::string> did;
  ASSERT_TRUE(eventually([&] {
    view = observer.observe();
    for (const RepairStep& step : view.repairs) {
      const auto done = observer.act({.id = 3, .resource = config.resource.id, .from = {}, .to = {}, .repair = step.name});
      EXPECT_TRUE(done) << done.error().message;
      did.push_back(step.name);
      break;
    }
    return !look().peer_of(node(3)) && view.repairs.empty() && !view.primary.empty();
  })) << view.repairs.size();
  ASSERT_EQ(did.size(), 2u);
  EXPECT_EQ(did[0], "drop the replica of docs/0 on node3");
  EXPECT_EQ(did[1].substr(0, 18), "remove node3 (peer");
  EXPECT_NE(view.source.find(did[0]), std::string::npos) << view.source;
  EXPECT_NE(view.source.find(did[1]), std::string::npos) << view.source;
  EXPECT_EQ(view.members.size(), 2u);
  for (const std::string& problem : view.problems) EXPECT_EQ(problem.find("node3"), std::string::npos) << problem;
  unsetenv("QDRANT_API_KEY");
  setenv("QDRANT_CLUSTER_ENABLED", "false", 1);
  EXPECT_FALSE(make_qdrant_observer(config));
  unsetenv("QDRANT_CLUSTER_ENABLED");
}

}  // namespace
}  // namespace daarion::qdrant
