// Real nats-servers observed: a core of three and a leaf node, each of which is lost and comes back, and the meta group's leader, who hands over.
#include "controlplane/drivers/nats/nats_observer.h"

#include <algorithm>

#include "controlplane/core/helper_role.h"
#include "controlplane/drivers/nats/client.h"
#include "streams/meta_leader.h"
#include "tests/integration/helpers.h"

namespace daarion::nats {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

const NodeId kEdge("edge");
constexpr int kLeaf = 3;  // index of the edge's server
// A young cluster elects, and a problem of its first moments that stood would stand until then.
constexpr Duration kWell = seconds(60);

class NatsObserved : public testing::Test {
 protected:
  void SetUp() override {
    control_ = connect(servers_, {0, 1, 2});
    sys_ = connect(servers_, {0, 1, 2}, NatsServers::Account::kSys);
    const auto leaf = connect(servers_, {kLeaf});
    provision(*control_, 3, {{kEdge, "edge"}});
    const auto outbox = until_done([&] { return provision_edge_outbox(*leaf, kEdge, seconds(2)); });
    ASSERT_TRUE(outbox) << outbox.error().message;
    ObserverConfig config;
    config.nats = std::make_shared<const NatsAccess>(NatsAccess{.sys = sys_, .control = control_, .servers = planned_});
    auto made = make_nats_observer(config);
    ASSERT_TRUE(made) << made.error().message;
    observer_ = std::move(*made);
  }
  /// A look, as the daemon's a moment after the last; what it shows is in `view_`.
  const ResourceView& look() {
    (void)observer_->await_word(milliseconds(200));
    const auto begun = Clock::now();
    view_ = observer_->observe();
    longest_ = std::max(longest_, Clock::now() - begun);
    return view_;
  }
  const MemberSeen& member(const std::string& node) const {
    return std::ranges::find_if(view_.members, [&](const MemberView& m) { return m.seen.node == NodeId(node); })->seen;
  }
  bool well() {
    look();
    return !view_.primary.empty() && view_.problems.empty() &&
           std::ranges::all_of(view_.members, [](const MemberView& m) { return m.seen.health.empty() && m.seen.state != EngineState::kUnknown; });
  }
  std::string said() const {
    std::string out = "primary " + view_.primary.value;
    for (const MemberView& m : view_.members) out += "; " + m.seen.role + " of " + m.seen.node.value + " " + text_of(m.seen.state) + " " + m.seen.health;
    for (const std::string& problem : view_.problems) out += "; " + problem;
    return out;
  }
  int index_of(const NodeId& node) const {
    for (int i = 0; i < servers_.size(); ++i)
      if (servers_.name(i) == node.value) return i;
    return -1;
  }

  NatsServers servers_{{.size = 3, .edges = 1}};
  const std::vector<Server> planned_ = nats_plan(servers_.file());
  std::shared_ptr<Connection> control_, sys_;
  std::unique_ptr<Observer> observer_;
  ResourceView view_;
  Duration longest_{};
};

TEST_F(NatsObserved, ALostServerALostLeafAndTheirReturn) {
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
  ASSERT_EQ(view_.members.size(), 4u);
  EXPECT_EQ(view_.elected_by, "JetStream's meta group");
  EXPECT_EQ(member("edge").role, kLeafRole);
  for (const char* node : {"node1", "node2", "node3"}) {
    EXPECT_EQ(member(node).role, kServerRole);
    EXPECT_NE(servers_.version().find(member(node).version), std::string::npos) << member(node).version;
    EXPECT_EQ(member(node).state, NodeId(node) == view_.primary ? EngineState::kPrimary : EngineState::kStandby);
  }
  EXPECT_EQ(view_.primary.value, meta_leader(*sys_, seconds(1)));

  const NodeId lost = view_.primary;
  const std::string before = member(lost.value).identity;
  servers_.kill(index_of(lost));
  ASSERT_TRUE(becomes([&] { return look(), member(lost.value).health == "no answer"; })) << said();
  ASSERT_TRUE(becomes([&] { return look(), !view_.primary.empty() && view_.primary != lost && view_.problems.empty(); })) << said();
  EXPECT_LE(longest_, milliseconds(2000)) << "a look is bounded, also by a server that ends under it";
  servers_.start(index_of(lost));
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
  EXPECT_NE(member(lost.value).identity, before) << "a restart is another process";

  servers_.cut_edge();
  ASSERT_TRUE(becomes([&] { return look(), !member("edge").health.empty(); })) << said();
  EXPECT_EQ(member("edge").state, EngineState::kUnresponsive);
  EXPECT_TRUE(view_.problems.empty()) << said();
  servers_.heal_edge();
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
}

TEST_F(NatsObserved, ItsStreamsAreReadAsTheirLeadersSayThem) {
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
  std::vector<Word> words;
  const auto told = [&](const std::string& name) {
    const Stream* out = nullptr;
    for (const Word& word : words) {
      if (!word.streams) continue;
      for (const Stream& stream : *word.streams)
        if (stream.name == name && stream.leader == word.server) out = &stream;
    }
    return out;
  };
  ASSERT_TRUE(becomes([&] {
    words = nats::look(*sys_, *control_, planned_, true);
    const Stream* telemetry = told("CLUSTER_TELEMETRY");
    return told("CLUSTER_LOG") != nullptr && telemetry != nullptr && telemetry->origins.size() == 1 && telemetry->origins[0].silent;
  }));
  ASSERT_EQ(words.size(), 4u);
  EXPECT_EQ(told("CLUSTER_LOG")->account, "CONTROL");
  EXPECT_EQ(told("CLUSTER_LOG")->wanted, 3u);
  EXPECT_EQ(told("CLUSTER_LOG")->others.size(), 2u);
  EXPECT_EQ(told("CLUSTER_TELEMETRY")->origins[0].domain, "edge");
  for (const Word& word : words) {
    if (word.server == "edge") continue;
    EXPECT_EQ(word.routes->size(), 2u) << word.server;
    EXPECT_GT(word.may_store, 0u);
    EXPECT_EQ(word.meta_size, 3u);
  }
  const auto lean = nats::look(*sys_, *control_, planned_, false);
  EXPECT_TRUE(std::ranges::all_of(lean, [](const Word& word) { return !word.streams; }));
}

TEST_F(NatsObserved, ASwitchoverHandsTheMetaGroupOver) {
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
  const NodeId first = view_.primary;
  const auto done = observer_->act({.id = 1, .resource = ResourceId("nats"), .from = first, .to = {}, .repair = {}});
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_TRUE(becomes([&] { return look(), !view_.primary.empty() && view_.primary != first; })) << said();
  const auto late = observer_->act({.id = 2, .resource = ResourceId("nats"), .from = first, .to = {}, .repair = {}});
  ASSERT_FALSE(late) << "it is void once another one leads";
  EXPECT_EQ(late.error().remedy, Remedy::kStepDown);
  const NodeId second = view_.primary;
  const auto there = observer_->act({.id = 3, .resource = ResourceId("nats"), .from = second, .to = first, .repair = {}});
  if (member(second.value).version.starts_with("2.9.") || member(second.value).version.starts_with("2.10.")) {
    ASSERT_FALSE(there);
    EXPECT_NE(there.error().message.find("before 2.11"), std::string::npos) << there.error().message;
  } else {
    ASSERT_TRUE(there) << there.error().message;
    EXPECT_TRUE(becomes([&] { return look(), view_.primary == first; })) << said();
  }
  const auto edge = observer_->act({.id = 4, .resource = ResourceId("nats"), .from = view_.primary, .to = kEdge, .repair = {}});
  ASSERT_FALSE(edge);
  EXPECT_NE(edge.error().message.find("no server of the core"), std::string::npos) << edge.error().message;
}

}  // namespace
}  // namespace daarion::nats
