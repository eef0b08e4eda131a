// Real nats-servers observed: a core of three and a leaf node, each of which is lost and comes back, and the meta group's leader, who hands over.
#include "controlplane/drivers/nats/nats_observer.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "controlplane/core/helper_role.h"
#include "controlplane/drivers/nats/client.h"
#include "streams/js_request.h"
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
    app_ = connect(servers_, {0, 1, 2}, NatsServers::Account::kRoutes);
    const auto leaf = connect(servers_, {kLeaf});
    provision(*control_, 3, {{kEdge, "edge"}});
    const auto outbox = until_done([&] { return provision_edge_outbox(*leaf, kEdge, seconds(2)); });
    ASSERT_TRUE(outbox) << outbox.error().message;
    ObserverConfig config;
    config.nats = std::make_shared<const NatsAccess>(NatsAccess{.sys = sys_, .control = control_, .app = app_, .servers = planned_});
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
  std::shared_ptr<Connection> control_, sys_, app_;
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

/// Of every server's streams, those that it leads itself.
std::string led_by(const std::vector<Word>& words, const std::string& server) {
  std::string out;
  for (const Word& word : words)
    if (word.server == server && word.streams)
      for (const Stream& stream : *word.streams)
        if (stream.leader == server) out += stream.account + "/" + stream.name + " ";
  return out;
}
std::string names_of(const ResourceView& view) {
  std::string out;
  for (const RepairStep& step : view.repairs) out += step.name + " ";
  return out;
}

TEST_F(NatsObserved, ADrainedNodeLeadsNoStreamAndItsServerIsToldToLeave) {
  for (const auto& [connection, name] : {std::pair{app_, "WORK"}, {app_, "MORE"}, {control_, "OWN"}}) {
    const auto made = until_done([&, to = connection.get(), stream = std::string(name)]() -> Result<void> {
      const auto answer = js_request(*to, "$JS.API.STREAM.CREATE." + stream, {{"name", stream}, {"subjects", {stream}}, {"num_replicas", 3}, {"storage", "file"}}, seconds(2));
      if (!answer) return tl::unexpected(answer.error());
      if (answer->contains("error")) return fail(Remedy::kRetry, answer->dump());
      return {};
    });
    ASSERT_TRUE(made) << made.error().message;
  }
  ASSERT_TRUE(becomes([&] { return well(); }, kWell)) << said();
  // Drained is who leads WORK; a node that is active is asked for nothing.
  std::string drained;
  std::vector<Word> words;
  const auto leads = [&](const std::string& server) { return led_by(words = nats::look(*sys_, *control_, planned_, true), server); };
  ASSERT_TRUE(becomes([&] {
    for (int i = 0; i < 3; ++i)
      if (leads(servers_.name(i)).find("APP/WORK") != std::string::npos) drained = servers_.name(i);
    return !drained.empty();
  }));
  EXPECT_EQ(names_of(look()), "");
  observer_->told({{NodeId(drained), MemberIntent::kDraining}});
  ASSERT_TRUE(becomes([&] { return !look().repairs.empty(); })) << said();
  EXPECT_EQ(names_of(view_), "move_leaders " + drained + " ");
  // As the core runs them: while one is due, and what 2.9 gives to the drained node again is moved again.
  ASSERT_TRUE(becomes([&] {
    if (!look().repairs.empty()) (void)observer_->act({.id = 1, .resource = ResourceId("nats"), .from = {}, .to = {}, .repair = view_.repairs[0].name});
    const std::string left = leads(drained);
    return left.empty() || left == "CONTROL/CLUSTER_LOG ";
  }, kWell)) << leads(drained);
  const auto late = observer_->act({.id = 2, .resource = ResourceId("nats"), .from = {}, .to = {}, .repair = "move_leaders node9"});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().remedy, Remedy::kStepDown);

  const auto leads_nothing = [](const std::string& note) { return note.find("leads nothing") != std::string::npos; };
  // The core steers the other two, sooner than this: here they are asked by hand.
  ASSERT_TRUE(becomes([&] {
    if (!leads(drained).empty()) (void)step_down_stream_leader(*control_, kClusterLog, seconds(2));
    if (meta_leader(*sys_, milliseconds(300)) == drained) (void)step_down_meta_leader(*sys_, seconds(2));
    look();
    return std::ranges::any_of(view_.notes, leads_nothing);
  }, kWell)) << said();
  // What the note says to run does it.
  const std::string note = *std::ranges::find_if(view_.notes, leads_nothing);
  const std::size_t begin = note.find('`') + 1;
  std::string command = note.substr(begin, note.find('`', begin) - begin);
  command.replace(command.find("FOLDER"), 6, servers_.folder());
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  EXPECT_TRUE(becomes([&] {
    std::ifstream log(servers_.folder() + "/" + drained + ".log");
    std::stringstream text;
    text << log.rdbuf();
    return text.str().find("lame duck mode") != std::string::npos;
  }));
}

TEST(NatsRetired, AServerThatIsOffIsCountedNoMoreAndNoneThatLives) {
  NatsServers servers({.size = 4});
  const auto control = connect(servers, {0, 1, 2, 3}), sys = connect(servers, {0, 1, 2, 3}, NatsServers::Account::kSys);
  provision(*control, 3);
  ClusterFile file = servers.file();
  std::erase(file.spec.voters, NodeId("node4"));
  ObserverConfig config;
  config.nats = std::make_shared<const NatsAccess>(NatsAccess{.sys = sys, .control = control, .app = {}, .servers = nats_plan(file)});
  auto observer = make_nats_observer(config);
  ASSERT_TRUE(observer) << observer.error().message;
  // The log keeps a replica there, which has to find another place.
  const auto words = [&] { return nats::look(*sys, *control, config.nats->servers, true); };
  const auto counted = [&] {
    std::string out;
    for (const Word& word : words())
      if (out.empty() && word.meta_leader == word.server)
        for (out = word.server + " "; const Replica& other : word.meta_others) out += other.server + (other.offline || !other.current ? " off " : " ");
    return out;
  };
  const auto replicas = [&] {
    std::set<std::string> out;
    for (const Word& word : words())
      if (word.streams)
        for (const Stream& stream : *word.streams)
          if (stream.name == kClusterLog && stream.leader == word.server) {
            out.insert(word.server);
            for (const Replica& other : stream.others)
              if (other.current && !other.offline) out.insert(other.server);
          }
    return out;
  };
  ASSERT_TRUE(becomes([&] { return replicas().size() == 3 && counted().find("node4 ") != std::string::npos; }, kWell))
      << testing::PrintToString(replicas()) << " hold the log, and the meta group counts " << counted();
  (*observer)->told({{NodeId("node4"), MemberIntent::kRetired}});
  for (int i = 0; i < 8; ++i) {
    (void)(*observer)->await_word(milliseconds(200));
    EXPECT_EQ(names_of((*observer)->observe()), "") << "it lives";
  }
  EXPECT_TRUE(becomes([&] { return counted().find("node4 ") != std::string::npos; })) << counted();  // one look may go without the leader's answer
  servers.kill(3);
  ResourceView view;
  ASSERT_TRUE(becomes([&] {
    (void)(*observer)->await_word(milliseconds(200));
    return names_of(view = (*observer)->observe()).find("remove_peer node4") != std::string::npos;
  }, kWell)) << counted();
  ASSERT_EQ(names_of(view), "remove_peer node4 ");
  const auto done = (*observer)->act({.id = 1, .resource = ResourceId("nats"), .from = {}, .to = {}, .repair = view.repairs[0].name});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_TRUE(becomes([&] {
    const std::string now = counted();
    return !now.empty() && now.find("node4") == std::string::npos;
  })) << counted();
  EXPECT_TRUE(becomes([&] { return replicas() == std::set<std::string>{"node1", "node2", "node3"}; }, kWell)) << "the log is whole without it";
}

}  // namespace
}  // namespace daarion::nats
