// The right message on the right node, on real servers: replicated ones once everywhere through cuts and kills, local ones nowhere else.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "tests/harness/figures.h"
#include "tests/harness/stalls.h"
#include "tests/routing/route_rig.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Json = nlohmann::json;

constexpr int kCuts = 3;
constexpr milliseconds kCutFor(2000), kDownFor(2500);
constexpr double kAgainLimitMs = 10'000;  // JetStream's own election, of a stream and of the group behind it
constexpr Duration kSettle = seconds(90);
const std::vector<std::string> kStreams = {"MESSAGE", "ATTACHMENT", "AGENT_RUN"};
const std::vector<std::string> kSubjects = {"message.received.helion", "attachment.created.image", "agent.run.requested.helion"};

Json info_of(Connection& connection, const std::string& stream) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info ? *info : Json::object();
}
std::uint64_t last_of(Connection& connection, const std::string& stream) {
  const Json info = info_of(connection, stream);
  return info.contains("state") ? info["state"].value("last_seq", std::uint64_t{0}) : 0;
}

/// Every replica of every stream is there and has everything.
bool core_is_whole(Connection& core) {
  return std::ranges::all_of(kStreams, [&](const std::string& stream) {
    const Json info = info_of(core, stream);
    if (!info.contains("cluster") || info["cluster"].value("leader", "").empty()) return false;
    const Json replicas = info["cluster"].value("replicas", Json::array());
    return replicas.size() == 2 && std::ranges::all_of(replicas, [](const Json& r) { return r.value("current", false) && !r.value("offline", false); });
  });
}

/// The core has what the edge captured, and the edge's mirrors have what the core has.
bool sites_agree(RouteRig& rig, std::uint64_t of_each) {
  return std::ranges::all_of(kStreams, [&](const std::string& stream) {
    return last_of(*rig.core, stream) >= of_each && last_of(*rig.edge, stream + "_MIRROR") == last_of(*rig.core, stream);
  });
}

/// The server leads every stream of the rules: its loss is the worst that can happen to them.
bool leads_all(RouteRig& rig, int server) {
  return becomes([&] {
    return std::ranges::all_of(kStreams, [&](const std::string& stream) {
      if (stream_leader(*rig.core, stream, seconds(2)) == rig.servers.name(server)) return true;
      (void)step_down_stream_leader(*rig.core, stream, seconds(2));
      return stream_leader(*rig.core, stream, seconds(2)) == rig.servers.name(server);
    });
  });
}

/// Says what is local to each node and each site, from each node, for as long as it lives.
class Whisperer {
 public:
  explicit Whisperer(RouteRig& rig) {
    for (int i = 0; i < RouteRig::kNodes; ++i) links_.push_back(connect(rig.servers, {i}, NatsServers::Account::kApp));
    thread_ = std::thread([this, &rig] { run(rig); });
  }
  ~Whisperer() {
    closed_ = true;
    thread_.join();
  }
  int said() const { return said_; }

 private:
  void run(RouteRig& rig) {
    while (!closed_) {
      for (int i = 0; i < RouteRig::kNodes; ++i) {
        const std::string name = rig.servers.name(i);
        for (const std::string& subject : {"node." + name + ".local.gpu.temp", "cache.invalidate." + name, "node.other.local." + name})
          natsConnection_PublishString(links_[static_cast<std::size_t>(i)]->handles().link()->nc, subject.c_str(), "x");
      }
      ++said_;
      std::this_thread::sleep_for(milliseconds(20));
    }
    nats_ReleaseThreadMemory();
  }
  std::vector<std::shared_ptr<Connection>> links_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> said_ = 0;
  std::thread thread_;
};

/// Two ears at each node: a service's, and one of a user whom no permission holds back, so that links and routes are judged by themselves.
struct Ears {
  explicit Ears(const RouteRig& rig) {
    for (int i = 0; i < RouteRig::kNodes; ++i)
      for (const auto account : {NatsServers::Account::kApp, NatsServers::Account::kRoutes})
        at[i].push_back(std::make_unique<Ear>(rig.servers.endpoint({i}, "ear", account)));
  }
  std::map<int, std::vector<std::unique_ptr<Ear>>> at;
};

/// What came where it may not come; and that what may come did.
void expect_no_leaks(const RouteRig& rig, const Ears& ears) {
  for (const auto& [i, both] : ears.at) {
    const std::string name = rig.servers.name(i);
    const bool on_edge = i == RouteRig::kEdge;
    for (std::size_t kind = 0; kind < both.size(); ++kind) {
      const auto heard = both[kind]->heard();
      const std::string who = (kind == 0 ? "a service on " : "the routes' user on ") + name;
      int leaks = 0;
      for (const auto& [subject, times] : heard) {
        const bool own = subject == "node." + name + ".local.gpu.temp" || subject == "node.other.local." + name;
        const bool node_leak = subject.starts_with("node.") && subject.find(".local.") != std::string::npos && !own;
        const bool edge_leak = subject.starts_with("cache.") && (subject == "cache.invalidate.edge") != on_edge;
        if (node_leak || edge_leak) ++leaks, ADD_FAILURE() << who << " heard " << subject << " " << times << " times";
      }
      EXPECT_EQ(leaks, 0);
      EXPECT_TRUE(heard.contains("node." + name + ".local.gpu.temp")) << who << " heard nothing of its own node";
      EXPECT_TRUE(heard.contains("cache.invalidate." + name)) << who;
    }
  }
  for (int i = 0; i < RouteRig::kEdge; ++i)
    for (int j = 0; j < RouteRig::kEdge; ++j)
      EXPECT_TRUE(ears.at.at(i)[0]->heard().contains("cache.invalidate." + rig.servers.name(j))) << "the core is one site: node" << i + 1;
}

/// Each message once, at a consumer that drops repeats, and each origin's in its order; none of those acknowledged is missing.
void expect_once_each(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  int repeats = 0;
  for (const StreamPlan& stream : core_streams(rig.plan))
    for (const bool on_edge : {false, true}) {
      const std::string name = on_edge ? stream.name + "_MIRROR" : stream.name;
      const Tally tally = read_all(on_edge ? *rig.edge : *rig.core, name, stream.subjects[0]);
      for (const auto& publisher : publishers) {
        const auto count = tally.first.find(publisher->origin());
        EXPECT_EQ(count == tally.first.end() ? 0 : count->second, publisher->acked() / static_cast<int>(kSubjects.size()))
            << name << ", from " << publisher->origin() << tally.note;
      }
      EXPECT_EQ(tally.disorders, 0) << tally.note;
      repeats += tally.repeats;
    }
  say({.name = "routing_repeats_in_streams", .value = static_cast<double>(repeats), .unit = "messages", .samples = {}});
}

/// `least`: messages per class and node.
void through_cuts_and_kills(int least) {
  RouteRig rig;
  const auto begun = Clock::now();
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers;
  for (int i = 0; i < RouteRig::kEdge; ++i)
    publishers.push_back(std::make_unique<Publisher>(rig.servers, std::vector{i, (i + 1) % 3, (i + 2) % 3}, rig.servers.name(i), kSubjects, least, done));
  publishers.push_back(std::make_unique<Publisher>(rig.servers, std::vector{RouteRig::kEdge}, "edge", kSubjects, least, done));
  Ears ears(rig);
  Whisperer whisperer(rig);
  std::vector<double> again_ms;
  for (int cut = 0; cut < kCuts; ++cut) {
    std::this_thread::sleep_for(milliseconds(500));
    rig.servers.cut_edge();
    const int before = publishers.back()->acked();
    std::this_thread::sleep_for(kCutFor);
    EXPECT_GT(publishers.back()->acked(), before) << "the edge published nothing while it was cut off";
    const std::uint64_t there = last_of(*rig.core, "MESSAGE");
    EXPECT_LT(last_of(*rig.edge, "MESSAGE_MIRROR"), there) << "cut " << cut + 1 << " cut nothing off";
    rig.servers.heal_edge();
    const auto healed = Clock::now();
    EXPECT_TRUE(becomes([&] { return last_of(*rig.edge, "MESSAGE_MIRROR") >= there; }, kSettle)) << "the mirror did not catch up after cut " << cut + 1;
    say({.name = "routing_mirror_caught_up_ms", .value = std::chrono::duration<double, std::milli>(Clock::now() - healed).count(), .unit = "ms", .samples = {}});
  }
  for (int server = 0; server < RouteRig::kNodes; ++server) {
    EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle)) << "before the kill of " << rig.servers.name(server);
    EXPECT_TRUE(server != 0 || leads_all(rig, server));
    const std::size_t other = server == 1 ? 0 : 1;
    const auto killed = Clock::now();
    rig.servers.kill(server);
    EXPECT_TRUE(becomes([&] { return publishers[other]->first_after_ms(killed + milliseconds(100)) >= 0; }, kSettle));
    const double again = publishers[other]->first_after_ms(killed + milliseconds(100)) + 100;
    if (server < RouteRig::kEdge) again_ms.push_back(again);
    EXPECT_LE(server == 0 ? again : 0, kAgainLimitMs) << "node2 after node1's SIGKILL";
    std::this_thread::sleep_for(kDownFor);
    rig.servers.start(server);
  }
  EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle));
  done = true;
  std::uint64_t each = 0;
  for (const auto& publisher : publishers) {
    publisher->join();
    each += static_cast<std::uint64_t>(publisher->acked()) / kSubjects.size();
  }
  EXPECT_TRUE(becomes([&] { return sites_agree(rig, each); }, kSettle)) << last_of(*rig.core, "MESSAGE") << " in core, " << last_of(*rig.edge, "MESSAGE_MIRROR")
                                                                       << " on the edge, " << each << " published";
  expect_once_each(rig, publishers);
  expect_no_leaks(rig, ears);
  EXPECT_GT(whisperer.said(), 100);
  say_machine(rig.servers.version());
  const double worst = *std::ranges::max_element(again_ms);
  say({.name = "routing_messages", .value = static_cast<double>(each * kSubjects.size()), .unit = "messages", .samples = {}});
  say({.name = "routing_node2_publishes_again_ms", .value = again_ms[0], .unit = "ms", .samples = {}, .limit = "<=10000", .ok = again_ms[0] <= kAgainLimitMs});
  say({.name = "routing_publishes_again_worst_ms", .value = worst, .unit = "ms", .samples = again_ms});
  say({.name = "routing_seconds", .value = std::chrono::duration<double>(Clock::now() - begun).count(), .unit = "s", .samples = {}});
}

TEST(Routing, OnceEachEverywhereThroughCutsAndKillsAndNothingLocalLeaks) { through_cuts_and_kills(300); }

/// `ctest -L routing` takes every label that has these letters in it: the full size is for who asks for it by name.
bool full_size_is_asked_for() {
  std::ifstream parent("/proc/" + std::to_string(getppid()) + "/cmdline");
  const std::string words((std::istreambuf_iterator<char>(parent)), {});
  return std::getenv("ROUTING_FULL") != nullptr || words.find("routing-full") != std::string::npos;
}
TEST(RoutingFull, OnceEachEverywhereThroughCutsAndKillsAndNothingLocalLeaks) {
  if (!full_size_is_asked_for()) GTEST_SKIP() << "full size: ctest -L routing-full, or ROUTING_FULL=1";
  through_cuts_and_kills(10'000);
}

// ---- the plan on the running servers
TEST(RoutingPlan, IsAppliedOnceMendedAfterDriftAndNeverMadeAnew) {
  RouteRig rig;
  for (const RouteWork& work : {rig.apply_core(), rig.apply_edge()}) {
    EXPECT_TRUE(work.left);
    EXPECT_TRUE(work.done.empty()) << "applied again, it changes " << work.done.front();
  }
  const auto service = connect(rig.servers, {0}, NatsServers::Account::kApp);
  const auto stored = js_request(*service, "message.created", Json{{"n", 1}}, seconds(2));
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ((*stored)["stream"], "MESSAGE");
  Json config = info_of(*rig.core, "MESSAGE")["config"];
  config["max_age"] = 3'600'000'000'000;
  config["sources"] = Json::array();
  ASSERT_FALSE(js_request(*rig.core, "$JS.API.STREAM.UPDATE.MESSAGE", config, seconds(2))->contains("error"));
  const RouteWork mended = rig.apply_core();
  ASSERT_TRUE(mended.left) << mended.left.error().message;
  ASSERT_EQ(mended.done.size(), 1u);
  EXPECT_TRUE(mended.done[0].starts_with("mended stream MESSAGE (max_age is 3600000000000")) << mended.done[0];
  EXPECT_EQ(info_of(*rig.core, "MESSAGE")["config"]["sources"].size(), 1u);
  EXPECT_EQ(last_of(*rig.core, "MESSAGE"), 1u) << "and keeps what it holds";
  EXPECT_EQ(js_request(*rig.core, "$JS.API.CONSUMER.INFO.AGENT_RUN.runner", nullptr, seconds(2))->at("config")["filter_subject"], "agent.run.requested.>");
}

/// The site's own: an edge's capture is acknowledged by the edge, a core's by the core, whoever is near.
TEST(RoutingPlan, EachSiteCapturesItsOwnAndServicesMayNotChangeStreams) {
  RouteRig rig;
  const auto service = connect(rig.servers, {RouteRig::kEdge}, NatsServers::Account::kApp);
  for (int i = 0; i < 20; ++i) {
    const auto edge = js_request(*service, "message.created", Json{{"n", i}}, seconds(2));
    ASSERT_TRUE(edge) << edge.error().message;
    EXPECT_EQ((*edge)["stream"], "MESSAGE_edge");
  }
  EXPECT_TRUE(becomes([&] { return last_of(*rig.edge, "MESSAGE_MIRROR") == 20; })) << last_of(*rig.core, "MESSAGE") << " in core";
  EXPECT_EQ(last_of(*rig.core, "MESSAGE"), 20u);
  for (const char* verb : {"DELETE", "PURGE", "UPDATE"})
    for (const std::string& api : {std::string("$JS.API"), std::string("$JS.core.API")})
      EXPECT_FALSE(js_request(*service, api + ".STREAM." + verb + (api == "$JS.API" ? ".MESSAGE_edge" : ".MESSAGE"), Json::object(), milliseconds(700)))
          << api << " " << verb << " by a service";
  EXPECT_EQ(last_of(*rig.core, "MESSAGE"), 20u);
}

/// An edge's service hears the cluster's events and asks the control plane, once each: the account's two links do not double it.
TEST(RoutingPlan, TheClustersEventsAndAnswersReachAnEdgeOnce) {
  RouteRig rig;
  const auto control = connect(rig.servers, {0});
  Ear ear(rig.servers.endpoint({RouteRig::kEdge}, "ear", NatsServers::Account::kApp));
  std::atomic<int> asked = 0;
  const auto link = control->handles().link();
  Listener api(control, "cluster.api.>");
  std::atomic<bool> ended = false;
  std::thread answers([&] {
    while (!ended) {
      const MsgPtr request = api.next(50);
      if (!request || natsMsg_GetReply(request.get()) == nullptr) continue;
      ++asked;
      natsConnection_PublishString(link->nc, natsMsg_GetReply(request.get()), "{}");
    }
    nats_ReleaseThreadMemory();
  });
  const auto service = connect(rig.servers, {RouteRig::kEdge}, NatsServers::Account::kApp);
  EXPECT_TRUE(becomes([&] { return !ask(*service, "cluster.api.status", "", 500).empty(); }));
  const int before = asked;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(ask(*service, "cluster.api.status", "", 2000), "{}");
  EXPECT_EQ(asked - before, 10);
  EXPECT_TRUE(becomes([&] {
    natsConnection_PublishString(link->nc, "cluster.events.probe", "x");
    std::this_thread::sleep_for(milliseconds(50));
    return ear.heard().contains("cluster.events.probe");
  }));
  std::this_thread::sleep_for(milliseconds(500));  // for whatever is still on its way
  for (int i = 0; i < 10; ++i) natsConnection_PublishString(link->nc, "cluster.events.once", "x");
  EXPECT_TRUE(becomes([&] { return ear.heard()["cluster.events.once"] >= 10; }));
  std::this_thread::sleep_for(milliseconds(500));  // for whatever would come twice
  EXPECT_EQ(ear.heard()["cluster.events.once"], 10);
  ended = true;
  answers.join();
}

}  // namespace
}  // namespace daarion
