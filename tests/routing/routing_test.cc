// The right message on the right node, on real servers: replicated ones once everywhere through cuts and kills, local ones nowhere else.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "streams/js_request.h"
#include "tests/harness/figures.h"
#include "tests/harness/record.h"
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

/// Every replica of every stream is there and has everything.
bool core_is_whole(Connection& core) {
  return std::ranges::all_of(kStreams, [&](const std::string& stream) {
    const Json info = info_of(core, stream);
    if (!info.contains("cluster") || info["cluster"].value("leader", "").empty()) return false;
    const Json replicas = info["cluster"].value("replicas", Json::array());
    return replicas.size() == 2 && std::ranges::all_of(replicas, [](const Json& r) { return r.value("current", false) && !r.value("offline", false); });
  });
}

/// The core has what the edges captured, and their mirrors have what the core has.
bool sites_agree(RouteRig& rig, std::uint64_t of_each) {
  return std::ranges::all_of(kStreams, [&](const std::string& stream) {
    const std::uint64_t there = last_sequence_of(*rig.core, stream);
    return there >= of_each && std::ranges::all_of(rig.edges, [&](const auto& edge) { return last_sequence_of(*edge, stream + "_MIRROR") == there; });
  });
}
std::string ends_of(RouteRig& rig) {
  std::string out;
  for (const std::string& stream : kStreams) {
    out += "; " + stream + ": core " + std::to_string(last_sequence_of(*rig.core, stream));
    for (const auto& edge : rig.edges) out += ", edge " + std::to_string(last_sequence_of(*edge, stream + "_MIRROR"));
  }
  return out;
}

/// The server has a replica of the stream.
bool has_replica(const Json& info, const std::string& server) {
  return info["cluster"].value("leader", "") == server ||
         std::ranges::any_of(info["cluster"].value("replicas", Json::array()), [&](const Json& r) { return r.value("name", "") == server; });
}

/// The server leads every stream of the rules that it has a replica of: its loss is the worst that can happen to them.
bool leads_all(RouteRig& rig, int server) {
  const std::string name = rig.servers.name(server);
  return becomes([&] {
    return std::ranges::all_of(kStreams, [&](const std::string& stream) {
      const Json info = info_of(*rig.core, stream);
      if (!info.contains("cluster")) return false;
      if (info["cluster"].value("leader", "") == name || !has_replica(info, name)) return true;
      (void)step_down_stream_leader(*rig.core, stream, seconds(2));
      return stream_leader(*rig.core, stream, seconds(2)) == name;
    });
  });
}

/// Says what is local to each node and each site, from each node, for as long as it lives.
class Whisperer {
 public:
  Whisperer(RouteRig& rig, milliseconds pace) {
    for (const int i : rig.nodes()) {
      names_.push_back(rig.servers.name(i));
      links_.push_back(connect(rig.servers, {i}, NatsServers::Account::kApp));
    }
    thread_ = std::thread([this, pace] { run(pace); });
  }
  ~Whisperer() {
    closed_ = true;
    thread_.join();
  }
  int said() const { return said_; }  // of each class on each node

 private:
  void run(milliseconds pace) {
    while (!closed_) {
      for (std::size_t i = 0; i < names_.size(); ++i)
        for (const std::string& subject : {"node." + names_[i] + ".local.gpu.temp", "cache.invalidate." + names_[i], "node.other.local." + names_[i]})
          natsConnection_PublishString(links_[i]->handles().link()->nc, subject.c_str(), "x");
      ++said_;
      std::this_thread::sleep_for(pace);
    }
    nats_ReleaseThreadMemory();
  }
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<Connection>> links_;
  std::atomic<bool> closed_ = false;
  std::atomic<int> said_ = 0;
  std::thread thread_;
};

/// Two ears at each node: a service's, and one of a user whom no permission holds back, so that links and routes are judged by themselves.
struct Ears {
  explicit Ears(const RouteRig& rig) {
    for (const int i : rig.nodes())
      for (const auto account : {NatsServers::Account::kApp, NatsServers::Account::kRoutes})
        at[i].push_back(std::make_unique<Ear>(rig.servers.endpoint({i}, "ear", account)));
  }
  std::map<int, std::vector<std::unique_ptr<Ear>>> at;
};

/// What came where it may not come; and that what may come did. Returns how many messages leaked.
int leaks(const RouteRig& rig, const Ears& ears) {
  int leaks = 0;
  for (const auto& [i, both] : ears.at) {
    const std::string name = rig.servers.name(i);
    for (std::size_t kind = 0; kind < both.size(); ++kind) {
      const auto heard = both[kind]->heard();
      const std::string who = (kind == 0 ? "a service on " : "the routes' user on ") + name;
      for (const auto& [subject, times] : heard) {
        const bool own = subject == "node." + name + ".local.gpu.temp" || subject == "node.other.local." + name;
        const bool node_leak = subject.starts_with("node.") && subject.find(".local.") != std::string::npos && !own;
        // The core is one site, each edge is one of its own.
        const bool of_site = rig.servers.is_edge(i) ? subject == "cache.invalidate." + name : subject.starts_with("cache.invalidate.node");
        if (node_leak || (subject.starts_with("cache.") && !of_site)) leaks += times, ADD_FAILURE() << who << " heard " << subject << " " << times << " times";
      }
      EXPECT_TRUE(heard.contains("node." + name + ".local.gpu.temp")) << who << " heard nothing of its own node";
      EXPECT_TRUE(heard.contains("cache.invalidate." + name)) << who;
    }
  }
  for (const int i : rig.core_nodes)
    for (const int j : rig.core_nodes)
      EXPECT_TRUE(ears.at.at(i)[0]->heard().contains("cache.invalidate." + rig.servers.name(j))) << "the core is one site: node" << i + 1;
  return leaks;
}

/// What consumers that drop repeats find wrong, over all sites.
struct Wrong {
  int lost = 0, never_sent = 0, disorders = 0, repeats = 0;
  std::string note;
};

/// Each message once, at a consumer that drops repeats, and each origin's in its order; none of those acknowledged is missing. An edge's reader reads its
/// stream beside the mirror: what a mirror lacks is put there.
Wrong judge_streams(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  Wrong wrong;
  for (const StreamPlan& stream : core_streams(rig.plan))
    for (std::size_t site = 0; site <= rig.edges.size(); ++site) {
      Connection& at = site == 0 ? *rig.core : *rig.edges[site - 1];
      const std::string name = site == 0 ? stream.name : stream.name + "_MIRROR";
      const Tally tally = read_all(at, name, stream.subjects[0]);
      std::optional<Tally> beside;
      for (const auto& publisher : publishers) {
        const auto count = tally.first.find(publisher->origin());
        const int sent = publisher->acked() / static_cast<int>(kSubjects.size());
        int came = count == tally.first.end() ? 0 : count->second;
        if (came < sent && site > 0 && !beside) beside = read_all(at, edge_stream_of(stream.name, rig.node(rig.edge_nodes[site - 1])), stream.subjects[0]);
        if (came < sent && beside)
          came += static_cast<int>(std::ranges::count_if(beside->seen, [&](const std::string& payload) { return payload.starts_with(publisher->origin() + " ") && !tally.seen.contains(payload); }));
        wrong.lost += std::max(0, sent - came);
        wrong.never_sent += std::max(0, came - sent);
        if (came != sent) wrong.note += name + " of site " + std::to_string(site) + ": " + std::to_string(came) + " of " + std::to_string(sent) + " from " + publisher->origin() + "; ";
      }
      wrong.disorders += tally.disorders;
      wrong.repeats += tally.repeats;
      wrong.note += tally.note;
    }
  return wrong;
}

/// What the daemons would do within the window for repeats and a minute: the keepers of the copies, with a short window. nats-server 2.9.10 loses what was
/// acknowledged on one replica or the other when servers die (docs/adr/0009). Returns how many times something was put again, and says what.
int mend(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  for (const std::string& stream : kStreams) EXPECT_TRUE(set_repeat_window(*rig.core, stream, seconds(10))) << stream;
  CopyKeepers keepers(rig, seconds(2));
  int put_again = 0;
  (void)becomes([&] {
    for (const RouteWork& work : keepers.tend())
      for (const std::string& done : work.done) ++put_again, std::printf("%s\n", done.c_str());
    return judge_streams(rig, publishers).lost == 0;
  }, kSettle);
  return put_again;
}

/// What the servers themselves said, where something is wrong: their newest warnings.
void tell_warnings(const RouteRig& rig) {
  constexpr std::size_t kNewest = 25;
  for (int i = 0; i < rig.servers.size(); ++i) {
    const std::vector<std::string> all = rig.servers.warnings(i);
    for (std::size_t n = all.size() > kNewest ? all.size() - kNewest : 0; n < all.size(); ++n) std::printf("%s: %s\n", rig.servers.name(i).c_str(), all[n].c_str());
  }
}

std::vector<std::unique_ptr<Publisher>> publishers_of(const RouteRig& rig, int least, const std::atomic<bool>& done) {
  std::vector<std::unique_ptr<Publisher>> out;
  for (std::size_t i = 0; i < rig.core_nodes.size(); ++i) {
    std::vector<int> order = rig.core_nodes;
    std::ranges::rotate(order, order.begin() + static_cast<std::ptrdiff_t>(i));
    out.push_back(rig.publisher(order, kSubjects, least, done));
  }
  for (const int i : rig.edge_nodes) out.push_back(rig.publisher({i}, kSubjects, least, done));
  return out;
}

/// All edges are cut off for a while: they publish on, nothing passes, and the mirrors catch up. Returns how long that took.
double cut_once(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers) {
  const auto acked_on_edges = [&] {
    std::vector<int> out;
    for (std::size_t i = rig.core_nodes.size(); i < publishers.size(); ++i) out.push_back(publishers[i]->acked());
    return out;
  };
  rig.servers.cut_edge();
  const std::vector<int> before = acked_on_edges();
  std::this_thread::sleep_for(kCutFor);
  const std::vector<int> after = acked_on_edges();
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_GT(after[i], before[i]) << "edge " << i + 1 << " published nothing while it was cut off";
  const std::uint64_t there = last_sequence_of(*rig.core, "MESSAGE");
  const auto behind = [&](const auto& edge) { return last_sequence_of(*edge, "MESSAGE_MIRROR") < there; };
  EXPECT_TRUE(std::ranges::all_of(rig.edges, behind)) << "the cut cut nothing off" << ends_of(rig);
  rig.servers.heal_edge();
  const auto healed = Clock::now();
  EXPECT_TRUE(becomes([&] { return std::ranges::none_of(rig.edges, behind); }, kSettle)) << "the mirrors did not catch up" << ends_of(rig);
  return std::chrono::duration<double, std::milli>(Clock::now() - healed).count();
}

/// A server dies and comes back. Returns after how long a node of the core that lives publishes again.
double kill_once(RouteRig& rig, const std::vector<std::unique_ptr<Publisher>>& publishers, int server) {
  EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle)) << "before the kill of " << rig.servers.name(server);
  EXPECT_TRUE(server != 0 || leads_all(rig, server));
  const Publisher& other = *publishers[server == 1 ? 0 : 1];
  const auto killed = Clock::now();
  rig.servers.kill(server);
  EXPECT_TRUE(becomes([&] { return other.first_after_ms(killed + milliseconds(100)) >= 0; }, kSettle));
  const double again = other.first_after_ms(killed + milliseconds(100)) + 100;
  std::this_thread::sleep_for(kDownFor);
  rig.servers.start(server);
  return again;
}

/// `least`: messages per class and node.
void through_cuts_and_kills(const RouteWorld& world, int least) {
  RouteRig rig(world);
  const auto begun = Clock::now();
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers = publishers_of(rig, least, done);
  Ears ears(rig);
  Whisperer whisperer(rig, least > 1'000 ? milliseconds(4) : milliseconds(20));
  std::vector<double> caught_up_ms, again_ms;
  for (int cut = 0; cut < kCuts; ++cut) {
    std::this_thread::sleep_for(milliseconds(500));
    caught_up_ms.push_back(cut_once(rig, publishers));
  }
  for (int server = 0; server < rig.servers.size(); ++server) {
    const double again = kill_once(rig, publishers, server);
    if (!rig.servers.is_edge(server)) again_ms.push_back(again);
  }
  EXPECT_TRUE(becomes([&] { return core_is_whole(*rig.core); }, kSettle));
  done = true;
  std::uint64_t each = 0;
  for (const auto& publisher : publishers) {
    publisher->join();
    each += static_cast<std::uint64_t>(publisher->acked()) / kSubjects.size();
  }
  const bool agree = becomes([&] { return sites_agree(rig, each); }, kSettle);
  const int lacked = agree ? 0 : judge_streams(rig, publishers).lost;
  EXPECT_TRUE(agree || lacked > 0) << each << " published" << ends_of(rig);
  EXPECT_TRUE(becomes([&] { return whisperer.said() >= least; }, kSettle)) << whisperer.said() << " of each local class";
  const int mends = lacked > 0 ? mend(rig, publishers) : 0;
  const Wrong wrong = judge_streams(rig, publishers);
  EXPECT_EQ(wrong.lost, 0) << wrong.note;
  EXPECT_EQ(wrong.never_sent, 0) << wrong.note;
  EXPECT_LE(wrong.disorders, lacked) << wrong.note;  // what is put again stands behind later ones
  const int leaked = leaks(rig, ears);
  if (testing::Test::HasFailure()) tell_warnings(rig);

  say_machine(rig.servers.version());
  const std::string at = "_" + std::to_string(world.nodes()) + "_nodes";
  const auto none = [&](const char* name, int count) {
    say({.name = name + at, .value = static_cast<double>(count), .unit = "messages", .samples = {}, .limit = "=0", .ok = count == 0});
  };
  say({.name = "routing_messages" + at, .value = static_cast<double>(each * kSubjects.size()), .unit = "messages", .samples = {}});
  none("routing_lost", wrong.lost);
  none("routing_not_acknowledged_but_there", wrong.never_sent);
  say({.name = "routing_disorders" + at, .value = static_cast<double>(wrong.disorders), .unit = "messages", .samples = {}, .limit = "<=" + std::to_string(lacked), .ok = wrong.disorders <= lacked});
  say({.name = "routing_mends" + at, .value = static_cast<double>(mends), .unit = "repairs", .samples = {}});
  none("routing_leaks", leaked);
  say({.name = "routing_repeats_dropped" + at, .value = static_cast<double>(wrong.repeats), .unit = "messages", .samples = {}});
  say({.name = "routing_mirrors_caught_up_ms" + at, .value = *std::ranges::max_element(caught_up_ms), .unit = "ms", .samples = caught_up_ms});
  EXPECT_LE(again_ms[0], kAgainLimitMs) << "node2 after node1's SIGKILL";
  say({.name = "routing_node2_publishes_again_ms" + at, .value = again_ms[0], .unit = "ms", .samples = {}, .limit = "<=10000", .ok = again_ms[0] <= kAgainLimitMs});
  say({.name = "routing_publishes_again_worst_ms" + at, .value = *std::ranges::max_element(again_ms), .unit = "ms", .samples = again_ms});
  say({.name = "routing_seconds" + at, .value = std::chrono::duration<double>(Clock::now() - begun).count(), .unit = "s", .samples = {}});
  const char* ledger = std::getenv("DAARION_LEDGER");
  const std::string volume = std::to_string(each * kSubjects.size()) + " messages, " + std::to_string(world.nodes()) + " nodes, " + rig.servers.version();
  EXPECT_TRUE(append_ledger(ledger == nullptr ? "" : ledger,
                            {.tier = "routing", .volume = volume, .faults = static_cast<unsigned long long>(kCuts + rig.servers.size()),
                             .result = std::to_string(wrong.lost) + " lost, " + std::to_string(wrong.never_sent) + " doubtful, " + std::to_string(wrong.disorders) +
                                       " out of order, " + std::to_string(leaked) + " leaked"}));
}

const char* server_named() { return std::getenv("NATS_SERVER"); }

constexpr int kSmall = 300, kFull = 10'000;
TEST(Routing, OnceEachEverywhereOnThePackagedServer) { through_cuts_and_kills({.binary = "nats-server"}, kSmall); }
TEST(Routing, OnceEachEverywhereOnTheServerNamed) {
  if (server_named() == nullptr) GTEST_SKIP() << "NATS_SERVER names no other server";
  through_cuts_and_kills({.binary = server_named()}, kSmall);
}

class RoutingFull : public testing::TestWithParam<std::tuple<const char*, int>> {};
TEST_P(RoutingFull, OnceEachEverywhere) {
  if (!full_size_is_asked_for()) GTEST_SKIP() << kFullSize;
  const auto& [which, nodes] = GetParam();
  const bool packaged = std::string(which) == "Packaged";
  if (!packaged && server_named() == nullptr) GTEST_SKIP() << "NATS_SERVER names no other server";
  const std::map<int, RouteWorld> worlds = {{3, {.core = 3, .witness = true, .edges = 1}}, {5, {.core = 3, .edges = 2}}, {9, {.core = 5, .witness = true, .edges = 5}}};
  RouteWorld world = worlds.at(nodes);
  world.binary = packaged ? "nats-server" : server_named();
  through_cuts_and_kills(world, kFull);
}
INSTANTIATE_TEST_SUITE_P(At, RoutingFull, testing::Combine(testing::Values("Packaged", "Named"), testing::Values(3, 5, 9)), [](const auto& p) {
  return std::string(std::get<0>(p.param)) + "ServerWith" + std::to_string(std::get<1>(p.param)) + "Nodes";
});

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
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 1u) << "and keeps what it holds";
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
  EXPECT_TRUE(becomes([&] { return last_sequence_of(*rig.edge, "MESSAGE_MIRROR") == 20; })) << last_sequence_of(*rig.core, "MESSAGE") << " in core";
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 20u);
  for (const char* verb : {"DELETE", "PURGE", "UPDATE"})
    for (const std::string& api : {std::string("$JS.API"), std::string("$JS.core.API")})
      EXPECT_FALSE(js_request(*service, api + ".STREAM." + verb + (api == "$JS.API" ? ".MESSAGE_edge" : ".MESSAGE"), Json::object(), milliseconds(700)))
          << api << " " << verb << " by a service";
  EXPECT_EQ(last_sequence_of(*rig.core, "MESSAGE"), 20u);
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
