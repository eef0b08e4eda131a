// An edge with its own JetStream: what it reports reaches the core once, and what the core decides reaches it, across cuts.
#include <atomic>
#include <map>
#include <nlohmann/json.hpp>

#include "streams/edge_mirrors.h"
#include "streams/js_request.h"
#include "streams/log_stream.h"
#include "streams/nats_appender.h"
#include "streams/nats_log_reader.h"
#include "streams/nats_telemetry.h"
#include "tests/harness/figures.h"
#include "tests/integration/helpers.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;
using Outcome = AppendResult::Outcome;

const NodeId kEdge("edge");

double ms_since(Clock::time_point from) { return std::chrono::duration<double, std::milli>(Clock::now() - from).count(); }

nlohmann::json info_of(Connection& connection, const std::string& stream) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info ? *info : nlohmann::json::object();
}
std::uint64_t messages(Connection& connection, const std::string& stream) {
  const auto info = info_of(connection, stream);
  return info.contains("state") ? info["state"].value("messages", std::uint64_t{0}) : 0;
}

/// How often each payload stands in the stream.
std::map<std::string, int> payloads(Connection& connection, const std::string& stream) {
  std::map<std::string, int> out;
  const auto info = info_of(connection, stream);
  const auto link = connection.handles().link();
  for (std::uint64_t at = info["state"].value("first_seq", std::uint64_t{1}); at <= info["state"].value("last_seq", std::uint64_t{0}); ++at) {
    natsMsg* raw = nullptr;
    if (js_GetMsg(&raw, link->js, stream.c_str(), at, nullptr, nullptr) != NATS_OK) continue;
    const MsgPtr message(raw);
    ++out[data_of(message.get())];
  }
  return out;
}

struct Edge : testing::TestWithParam<int> {
  explicit Edge(int size = 1) : servers({.size = size, .edges = 1}), edge_index(size) {
    std::vector<int> order;
    for (int i = 0; i < size; ++i) order.push_back(i);
    core = connect(servers, order);
    leaf = connect(servers, {edge_index});
    provision(*core, size, {{kEdge, "edge"}});
    const auto outbox = until_done([&] { return provision_edge_outbox(*leaf, kEdge, seconds(2)); });
    EXPECT_TRUE(outbox) << outbox.error().message;
    const auto mirrors = until_done([&] { return provision_edge_mirrors(*leaf, "core", kEdge, seconds(2)); });
    EXPECT_TRUE(mirrors) << mirrors.error().message;
  }
  NatsServers servers;
  int edge_index;
  std::shared_ptr<Connection> core, leaf;
};

struct EdgeWithCluster : Edge {
  EdgeWithCluster() : Edge(3) {}
};

const std::string kLag = "cluster.telemetry.lag.postgres.edge";

std::string missing(const std::map<std::string, int>& found, int each) {
  std::string out;
  for (const char* side : {"edge", "core"})
    for (int i = 0; i < each; ++i)
      if (!found.contains(side + std::to_string(i))) out += side + std::to_string(i) + " ";
  return out;
}

/// Reports from both sides, and what stands in CLUSTER_TELEMETRY and its mirror after `fault`: each once.
void reports_arrive_once(Edge& e, const std::function<void(int)>& fault) {
  const auto from_edge = make_nats_telemetry(e.leaf), from_core = make_nats_telemetry(e.core);
  constexpr int kEach = 120;
  for (int i = 0; i < kEach; ++i) {
    fault(i);
    from_edge->publish(kLag, "edge" + std::to_string(i));
    from_core->publish("cluster.telemetry.lag.postgres.node1", "core" + std::to_string(i));
    std::this_thread::sleep_for(milliseconds(10));
  }
  const auto healed = Clock::now();
  ASSERT_TRUE(becomes([&] { return messages(*e.core, kClusterTelemetry) >= 2 * kEach; }, seconds(60)))
      << messages(*e.core, kClusterTelemetry) << " stored; edge lost " << from_edge->lost() << ", core " << from_core->lost() << "; outbox "
      << messages(*e.leaf, outbox_of(kEdge)) << "; missing " << missing(payloads(*e.core, kClusterTelemetry), kEach);
  const double all = ms_since(healed);
  ASSERT_TRUE(becomes([&] { return messages(*e.leaf, kTelemetryMirror) >= 2 * kEach; }, seconds(60))) << messages(*e.leaf, kTelemetryMirror);
  std::this_thread::sleep_for(seconds(1));  // for whatever would come twice
  EXPECT_EQ(messages(*e.leaf, outbox_of(kEdge)), static_cast<std::uint64_t>(kEach)) << "the edge's own, and nothing of the core";
  for (const auto& found : {payloads(*e.core, kClusterTelemetry), payloads(*e.leaf, kTelemetryMirror)}) {
    EXPECT_EQ(found.size(), 2u * kEach);
    for (const auto& [payload, times] : found) EXPECT_EQ(times, 1) << payload;
  }
  EXPECT_EQ(from_edge->lost() + from_core->lost(), 0u);
  say({.name = "telemetry_all_stored_after_last_ms", .value = all, .unit = "ms", .samples = {}, .limit = "", .ok = true});
}

TEST_F(Edge, ReportsReachTheCoreOnceAcrossACut) {
  reports_arrive_once(*this, [&](int i) {
    if (i == 30) servers.cut_edge();
    if (i == 90) servers.heal_edge();
  });
}

TEST_F(Edge, ReportsReachTheCoreOnceWhenEitherServerDies) {
  reports_arrive_once(*this, [&](int i) {
    if (i == 20) servers.kill(0);
    if (i == 50) servers.start(0);
    if (i == 70) servers.kill(edge_index);
    if (i == 90) servers.start(edge_index);
  });
}

TEST_F(EdgeWithCluster, ReportsReachTheCoreOnceWhenTheStreamsLeaderDies) {
  std::string leader;
  ASSERT_TRUE(becomes([&] { return !(leader = stream_leader(*core, kClusterTelemetry, seconds(1))).empty(); }));
  reports_arrive_once(*this, [&](int i) {
    for (int s = 0; s < 3; ++s) {
      if (servers.name(s) != leader) continue;
      if (i == 30) servers.kill(s);
      if (i == 90) servers.start(s);
    }
  });
}

TEST_F(Edge, AnEdgeThatJoinsLaterIsTakenIn) {
  ASSERT_TRUE(provision_core_streams(*core, 1, seconds(2), {{kEdge, "edge"}, {NodeId("later"), "later"}}));
  const auto sources = info_of(*core, kClusterTelemetry)["config"]["sources"];
  EXPECT_EQ(sources.size(), 2u) << sources.dump();
  ASSERT_TRUE(provision_core_streams(*core, 1, seconds(2), {{kEdge, "edge"}, {NodeId("later"), "later"}})) << "and once more changes nothing";
  const auto telemetry = make_nats_telemetry(leaf);
  telemetry->publish(kLag, "flows");
  EXPECT_TRUE(becomes([&] { return payloads(*core, kClusterTelemetry)["flows"] == 1; }, seconds(90)));
}

TEST_F(Edge, AMirrorOfAnotherOriginIsNamedAndLeftAlone) {
  const auto remade = [&](const std::string& domain) { return provision_edge_mirrors(*leaf, domain, kEdge, seconds(2)); };
  EXPECT_TRUE(remade("core")) << "the same again changes nothing";
  const auto refused = remade("elsewhere");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().remedy, Remedy::kFixInput);
  for (const char* part : {"mend stream CLUSTER_LOG_MIRROR", "$JS.core.API", "$JS.elsewhere.API", "delete it on this edge"})
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  EXPECT_EQ(info_of(*leaf, kLogMirror)["config"]["mirror"]["external"]["api"], "$JS.core.API");
}

/// A mirror notices neither that its origin was made again nor that it lost events: it keeps what it has and goes on after it.
TEST_F(Edge, AMirrorThatIsNoCopyAnyMoreIsMadeAgain) {
  const auto keeper = make_mirror_keeper(leaf, core, "core", kEdge);
  const auto appender = make_nats_appender(core);
  const auto tend = [&] {
    const auto done = keeper->tend(seconds(2));
    EXPECT_TRUE(done) << done.error().message;
    return done ? *done : std::string();
  };
  for (std::uint64_t i = 1; i <= 20; ++i) ASSERT_EQ(appender->append(subject(i), "old" + std::to_string(i), {1, i}, seconds(5)).outcome, Outcome::kStored);
  ASSERT_TRUE(becomes([&] { return messages(*leaf, kLogMirror) == 20; }, seconds(60)));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(tend(), "") << "a copy is left alone";
  const auto gone = js_request(*core, "$JS.API.STREAM.DELETE.CLUSTER_LOG", nullptr, seconds(2));
  ASSERT_TRUE(gone && gone->value("success", false));
  EXPECT_EQ(tend(), "") << "no origin is no word on its messages";
  provision(*core, 1, {{kEdge, "edge"}});
  for (std::uint64_t i = 1; i <= 5; ++i) ASSERT_EQ(appender->append(subject(i), "new" + std::to_string(i), {2, i}, seconds(5)).outcome, Outcome::kStored);
  EXPECT_EQ(tend(), "") << "once may be a stale word";
  EXPECT_NE(tend().find("deleted CLUSTER_LOG_MIRROR"), std::string::npos);
  ASSERT_TRUE(becomes([&] { return tend(), messages(*leaf, kLogMirror) == 5; }, seconds(60)));
  EXPECT_EQ(payloads(*leaf, kLogMirror).count("old1"), 0u);
  EXPECT_EQ(payloads(*leaf, kLogMirror)["new5"], 1);
  // The log is known to have lost events from 3 on: whatever the mirror holds there goes.
  const auto lost = keeper->log_lost({3}, seconds(2));
  ASSERT_TRUE(lost);
  EXPECT_NE(lost->find("deleted"), std::string::npos);
  const auto beyond = keeper->log_lost({30}, seconds(2));
  ASSERT_TRUE(beyond);
  EXPECT_EQ(beyond->find("deleted"), std::string::npos);
  EXPECT_TRUE(becomes([&] { return tend(), messages(*leaf, kLogMirror) == 5; }, seconds(60)));
}

/// Publishing must never wait: not for a server that is away, and not for a full queue.
TEST(Telemetry, NeverBlocksAndLosesTheOldestWhenFull) {
  NatsServers servers({.size = 1});
  const auto connection = connect(servers, {0});
  provision(*connection, 1);
  const auto telemetry = make_nats_telemetry(connection);
  servers.kill(0);
  const auto begun = Clock::now();
  for (int i = 0; i < 6000; ++i) telemetry->publish(kLag, std::to_string(i));
  EXPECT_LT(Clock::now() - begun, seconds(1));
  EXPECT_GE(telemetry->lost(), 1800u);
  servers.start(0);
  ASSERT_TRUE(becomes([&] { return messages(*connection, kClusterTelemetry) + telemetry->lost() >= 6000; }));
  const auto found = payloads(*connection, kClusterTelemetry);
  EXPECT_TRUE(found.contains("5999")) << "the newest are kept";
  for (const auto& [payload, times] : found) ASSERT_EQ(times, 1) << payload;
}

TEST_F(Edge, ReadsTheLogInOrderAcrossACutAndAHeal) {
  const auto appender = make_nats_appender(core);
  const auto far = connect(servers, {0});  // the edge daemon's own way to the core, which the cut leaves
  const auto alone = make_nats_log_reader({{leaf, kLogMirror}}, {1});
  std::uint64_t version = 0;
  const auto append = [&] {
    ++version;
    ASSERT_EQ(appender->append(subject(version), "e" + std::to_string(version), {1, version}, seconds(5)).sequence.value, version);
  };
  std::vector<StoredMessage> seen;
  std::vector<double> live;
  const auto made = Clock::now();
  append();
  // The server may need one of its own retries to set up a young mirror: 30 s on 2.15.
  ASSERT_TRUE(becomes([&] { return messages(*leaf, kLogMirror) == 1; }, seconds(60)));
  const double first = ms_since(made);
  seen = read(*alone, 1);
  for (int i = 0; i < 100; ++i) {
    const auto begun = Clock::now();
    append();
    for (auto& m : read(*alone, 1)) seen.push_back(m);
    live.push_back(ms_since(begun));
  }
  servers.cut_edge();
  std::this_thread::sleep_for(milliseconds(300));
  for (int i = 0; i < 80; ++i) append();  // more than a consumer's worth
  // Cut off: nothing new, no error, and the mirror still gives all that it has.
  const auto nothing = alone->next(milliseconds(700));
  ASSERT_TRUE(nothing) << nothing.error().message;
  EXPECT_FALSE(nothing->has_value());
  EXPECT_EQ(read(*make_nats_log_reader({{leaf, kLogMirror}}, {1}), seen.size()), seen) << "a restart folds from the mirror alone";
  // With a way to the core of its own it need not wait for the mirror.
  const auto other = Clock::now();
  const auto both = make_nats_log_reader({{leaf, kLogMirror}, {far, kClusterLog}}, {1});
  EXPECT_EQ(read(*both, version).size(), version);
  say({.name = "edge_read_past_a_cut_mirror_ms", .value = ms_since(other), .unit = "ms", .samples = {}, .limit = "<=3000", .ok = ms_since(other) <= 3000});
  servers.heal_edge();
  const auto healed = Clock::now();
  for (auto& m : read(*alone, 80)) seen.push_back(m);
  const double caught_up = ms_since(healed);
  append();
  for (auto& m : read(*alone, 1)) seen.push_back(m);
  for (std::uint64_t i = 1; i <= seen.size(); ++i) {
    EXPECT_EQ(seen[i - 1].sequence.value, i);
    EXPECT_EQ(seen[i - 1].payload, "e" + std::to_string(i));
  }
  EXPECT_EQ(read(*make_nats_log_reader({{core, kClusterLog}}, {1}), version), seen) << "the same bytes and times as in the core";
  say_machine(servers.version());
  say({.name = "edge_mirror_first_event_ms", .value = first, .unit = "ms", .samples = {}, .limit = "", .ok = true});
  say({.name = "edge_append_to_read_ms", .value = median(live), .unit = "ms", .samples = live, .limit = "<=50", .ok = median(live) <= 50});
  say({.name = "edge_caught_up_after_heal_ms", .value = caught_up, .unit = "ms", .samples = {}, .limit = "<=20000", .ok = caught_up <= 20'000});
}

/// The core has no CLUSTER_LOG_MIRROR and, asked for it, would not answer: each source is asked for its own stream.
TEST_F(Edge, WaitsForNoServerThatLacksTheStream) {
  const auto appender = make_nats_appender(core);
  const auto reader = make_nats_log_reader({{leaf, kLogMirror}, {core, kClusterLog}}, {1});
  std::vector<double> waits;
  for (std::uint64_t i = 1; i <= 50; ++i) {
    const auto begun = Clock::now();
    ASSERT_EQ(appender->append(subject(i), "e", {1, i}, seconds(5)).outcome, Outcome::kStored);
    read(*reader, 1);
    waits.push_back(ms_since(begun));
  }
  EXPECT_LT(median(waits), 50);
  EXPECT_LT(std::ranges::max(waits), 450);
}

}  // namespace
}  // namespace daarion
