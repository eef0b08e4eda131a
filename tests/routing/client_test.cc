// What a service sees with the client libraries: the table as it changes, and a rule's messages at its site, each once, through a cut and a kill.
#include "clients/cpp/daarion_client.h"

#include <signal.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/api/json.h"
#include "controlplane/api/route_desk.h"
#include "controlplane/core/resolve.h"
#include "controlplane/core/subject.h"
#include "controlplane/dev/processes.h"
#include "controlplane/node/ids.h"
#include "streams/js_request.h"
#include "streams/route_keeper.h"
#include "tests/harness/figures.h"
#include "tests/routing/route_rig.h"

namespace daarion {
namespace {

using namespace test;  // NOLINT: the helpers of these tests
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;

constexpr Duration kClientCutFor = seconds(3);
constexpr Duration kClientsAgree = seconds(60);
const std::string kMessage = "message.received.helion";
const std::vector<std::string> kAsked = {kMessage, "message.created", "attachment.failed.dlq", "agent.run.requested.x", "agent.runs.created", "node.node1.local.gpu.temp",
                                         "node.edge.local.x", "node.metrics.cpu", "cache.invalidate.user.42", "message.*", "message..x"};

// ---- which messages are repeats
TEST(ClientRepeats, GiveEachIdOnceWhicheverStreamIsQuicker) {
  Repeats repeats({}, 2);
  EXPECT_TRUE(repeats.first("a", false));
  EXPECT_FALSE(repeats.first("a", false)) << "its publisher tried again";
  EXPECT_EQ(repeats.owed(), std::set<std::string>{"a"});
  EXPECT_TRUE(repeats.first("b", true));
  EXPECT_FALSE(repeats.first("a", true)) << "it came back from the core";
  EXPECT_TRUE(repeats.owed().empty());
  EXPECT_FALSE(repeats.first("a", false));
  EXPECT_FALSE(repeats.first("b", true));
  EXPECT_TRUE(repeats.first("", false) && repeats.first("", true)) << "what has no id cannot be told from a repeat";
  Repeats resumed({.next = {}, .owed = {"x"}});
  EXPECT_FALSE(resumed.first("x", true)) << "given before the restart";
}

TEST(ClientRepeats, WhatIsOwedIsNeverForgottenAndTheRestIsBounded) {
  Repeats repeats({}, 10);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(repeats.first("own" + std::to_string(i), false));
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(repeats.first("other" + std::to_string(i), true));
  EXPECT_TRUE(repeats.first("other0", true)) << "too long ago";
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(repeats.first("own" + std::to_string(i), true));
}

TEST(ClientRepeats, ARestartKnowsTheNewestOfWhatCame) {
  Repeats repeats;
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(repeats.first("m" + std::to_string(i), true, 10 * i));
  SitePosition position{.next = {{"S", 301}}, .owed = {}};
  repeats.add_to(position);
  ASSERT_EQ(position.recent.size(), Repeats::kOverlap);
  EXPECT_EQ(position.recent.front() + " " + position.recent.back(), "m44 m299");
  Repeats resumed(position, 1000);
  EXPECT_EQ(resumed.overlap(), Repeats::kOverlap);
  EXPECT_FALSE(resumed.first("m44", true));
  EXPECT_TRUE(resumed.first("m43", true)) << "too long ago";
  EXPECT_EQ(Repeats({.next = {}, .owed = {"x"}}).overlap(), 0u) << "a position of before says nothing of what came";
}

TEST(ClientRepeats, HowFarTheyReachIsKnown) {
  Repeats whole({}, 2);
  EXPECT_TRUE(whole.reaches(0)) << "nothing was given before";
  for (const auto& [id, stored_ns] : {std::pair("a", 10), std::pair("b", 20), std::pair("c", 30)}) EXPECT_TRUE(whole.first(id, true, stored_ns));
  EXPECT_TRUE(whole.reaches(20) && !whole.reaches(19)) << "a is forgotten";
  SitePosition position{.next = {{"S", 3}}, .owed = {}, .recent = {"x", "y"}};
  Repeats older(position, 1000);
  EXPECT_FALSE(older.reaches(1'000'000)) << "when x was stored is not known";
  EXPECT_TRUE(older.came("x", 0)) << "nor that it was not then";
  EXPECT_TRUE(older.first("z", true, 40));
  EXPECT_TRUE(older.reaches(40) && !older.reaches(39));
  constexpr std::int64_t kMinute = 60'000'000'000;
  position.since_ns = 2 * kMinute;
  Repeats resumed(position, 1000);
  EXPECT_TRUE(resumed.reaches(2 * kMinute) && !resumed.reaches(2 * kMinute - 1));
  EXPECT_TRUE(resumed.came("y", 2 * kMinute - 1) && !resumed.came("z", 2 * kMinute)) << "another server's clock";
  EXPECT_FALSE(resumed.came("y", kMinute)) << "one of before, that was put again since";
  SitePosition next;
  resumed.add_to(next);
  EXPECT_EQ(next.since_ns, 2 * kMinute) << "nothing newer came";
}

/// A stream whose messages are put there, and put there otherwise while a reader is away: what a consumer at another replica of it may find.
class SiteReplica : public testing::Test {
 protected:
  SiteReplica() : servers_({.size = 1}), app_(connect(servers_, {0}, NatsServers::Account::kRoutes)) {}

  /// Ids "<first>" to "<last>" but for `without`.
  void put(int first, int last, int without = -1, bool with_ids = true) {
    const auto link = app_->handles().link();
    for (int i = first; i <= last; ++i) {
      if (i == without) continue;
      const std::string id = std::to_string(i);
      jsPubOptions options{};
      jsPubOptions_Init(&options);
      if (with_ids) options.MsgId = id.c_str();
      ASSERT_EQ(js_Publish(nullptr, link->js, "message.x", id.data(), static_cast<int>(id.size()), &options, nullptr), NATS_OK) << i;
    }
  }
  void make(Duration window = seconds(120)) {
    const Json config = {{"name", "MESSAGE"}, {"subjects", {"message.>"}}, {"storage", "file"}, {"num_replicas", 1}, {"duplicate_window", window.count()}};
    const auto made = js_request(*app_, "$JS.API.STREAM.CREATE.MESSAGE", config, seconds(5));
    ASSERT_TRUE(made && !made->contains("error")) << (made ? made->dump() : "");
  }
  void make_otherwise() {
    ASSERT_TRUE(js_request(*app_, "$JS.API.STREAM.DELETE.MESSAGE", nullptr, seconds(5)));
    make();
  }
  /// What a reader that begins there gives until nothing comes for a while, or `most` came.
  std::string given(std::size_t most = 100'000, Duration quiet = milliseconds(1000)) {
    const auto reader = read_site(app_, {"MESSAGE"}, position_);
    std::string out;
    for (std::size_t n = 0; n < most; ++n) {
      const auto message = reader->next(quiet);
      if (!message || !*message) break;
      out += (out.empty() ? "" : " ") + (*message)->payload;
    }
    position_ = reader->position();
    return out;
  }

  NatsServers servers_;
  std::shared_ptr<Connection> app_;
  SitePosition position_;
};

TEST_F(SiteReplica, ThatCountsOneLessLosesNothing) {
  make();
  put(1, 10);
  EXPECT_EQ(given(10), "1 2 3 4 5 6 7 8 9 10");
  make_otherwise();
  put(1, 12, 4);
  EXPECT_EQ(given(), "11 12") << "11 has the number 10 there";
}

TEST_F(SiteReplica, ThatCountsOneMoreGivesNothingTwice) {
  make();
  put(1, 12, 4);
  EXPECT_EQ(given(11), "1 2 3 5 6 7 8 9 10 11 12");
  make_otherwise();
  put(0, 13);
  EXPECT_EQ(given(), "4 13") << "what was never given of the newest, and no more";
}

TEST_F(SiteReplica, ThatCountsManyMoreGivesNothingTwice) {
  make();
  put(1000, 1300);
  given(301);
  make_otherwise();
  put(1, 1302);
  EXPECT_EQ(given(), "1301 1302") << "found a thousand numbers further on";
}

TEST_F(SiteReplica, ThatCountsManyLessLosesNothing) {
  make();
  put(1, 1300);
  given(1300);
  make_otherwise();
  put(1000, 1302);
  EXPECT_EQ(given(), "1301 1302") << "found a thousand numbers before";
}

TEST_F(SiteReplica, ThatHasNothingOfItGoesByNumbers) {
  make();
  put(1, 300);
  given(300);
  make_otherwise();
  put(1001, 1302);
  EXPECT_EQ(given(2, seconds(40)), "1301 1302") << "the numbers 301 and 302 there";
}

TEST_F(SiteReplica, ThatIsBehindIsNotReadUntilItHasCaughtUp) {
  make();
  put(1, 400);
  given(400);
  ASSERT_EQ(position_.next.at("MESSAGE"), 401u);
  make_otherwise();
  put(1, 20);
  std::string more;
  std::thread reads([&] { more = given(2, seconds(15)); });
  std::this_thread::sleep_for(milliseconds(600));  // its consumer began behind the end that there was
  put(21, 402);
  reads.join();
  EXPECT_EQ(more, "401 402");
}

TEST_F(SiteReplica, WithoutIdsGoesByNumbers) {
  make();
  put(1, 10, -1, false);
  EXPECT_EQ(given(10), "1 2 3 4 5 6 7 8 9 10");
  put(11, 12);
  EXPECT_EQ(given(2), "11 12");
  put(13, 14, -1, false);
  EXPECT_EQ(given(), "13 14") << "the two with ids are read again and known, the others are not new by their numbers";
}

/// As a keeper puts again what a replica lacked. A reader that was restarted since it gave the message remembers the newest alone.
TEST_F(SiteReplica, WhereAMessageIsPutAgainItIsGivenOnceOrMarked) {
  constexpr milliseconds kWindow(100);
  make(kWindow);
  put(1, 300);
  const std::int64_t first_ns = wall_time_ns();
  const auto put_again = [&](const std::string& id, std::int64_t stored_ns) {
    natsMsg* raw = nullptr;
    ASSERT_EQ(natsMsg_Create(&raw, "message.x", nullptr, id.data(), static_cast<int>(id.size())), NATS_OK);
    const MsgPtr message(raw);
    natsMsgHeader_Set(raw, "Nats-Msg-Id", id.c_str());
    natsMsgHeader_Set(raw, kFirstStored, std::to_string(stored_ns).c_str());
    ASSERT_EQ(js_PublishMsg(nullptr, app_->handles().link()->js, raw, nullptr, nullptr), NATS_OK);
  };
  const auto reader = read_site(app_, {"MESSAGE"});
  for (int n = 1; n <= 300; ++n) ASSERT_TRUE(reader->next(seconds(5)).value().has_value()) << n;
  const auto resumed = read_site(app_, {"MESSAGE"}, reader->position());
  std::this_thread::sleep_for(2 * kWindow);
  put_again("1", first_ns);
  put(301, 301);
  const auto next = [](SiteReader& from) {
    const auto message = from.next(seconds(2));
    return message && *message ? (*message)->payload + ((*message)->redelivered ? " again" : "") : "nothing";
  };
  EXPECT_EQ(next(*reader), "301");
  EXPECT_EQ(next(*resumed), "1 again");
  EXPECT_EQ(next(*resumed), "301");
  // What it gave since it was restarted it knows; of what was stored before that, or about then by another server's clock, it cannot tell.
  put_again("2", first_ns - 10'000'000'000);
  put_again("3", wall_time_ns());
  put_again("4", 0);
  for (const char* id : {"2 again", "3 again", "4 again"}) EXPECT_EQ(next(*resumed), id);
  EXPECT_EQ(next(*reader), "nothing") << "it knows them all";
  put_again("new", wall_time_ns() + 60'000'000'000);
  EXPECT_EQ(next(*reader), "new");
  EXPECT_EQ(next(*resumed), "new") << "stored after it was restarted: what it gave since it knows";
  const auto fresh = read_site(app_, {"MESSAGE"});
  for (int n = 1; n <= 301; ++n) EXPECT_EQ(next(*fresh), std::to_string(n)) << "nothing was given before";
  EXPECT_EQ(next(*fresh), "new");
}

/// What was put again came last, and stands further back too: behind that, everything was given.
TEST_F(SiteReplica, WhereWhatCameLastWasPutAgainItIsNotTakenForTheFirstTime) {
  constexpr milliseconds kWindow(100);
  make(kWindow);
  put(1, 1000);
  EXPECT_FALSE(given(1000).empty());
  std::this_thread::sleep_for(seconds(1));
  put(1, 300);
  EXPECT_FALSE(given(300).empty()) << "too long ago to be known, and not marked by whoever put it";
  put(1001, 1002);
  position_.next["MESSAGE"] += 600;         // of a replica that counts otherwise: it is looked for further back
  position_.since_ns += 4'500'000'000;      // instead of waiting for as long as clocks may differ
  EXPECT_EQ(given(), "1001 1002");
}

// ---- the table
std::string table_json(const State& state) { return to_json(route_table_of(state)); }

/// A service of the same name as a node, and a rule with two patterns that name it: what is local is told apart by the members, not by words.
TEST(ClientTable, ResolvesAsTheControlPlaneDoes) {
  TopologySpec spec = spec_of_three();
  spec.witness = node(3);
  spec.routes = users_rules();
  spec.routes.push_back({.name = "awkward", .subjects = {"node1.{node_id}.x.*", "y.{node_id}.node2"}, .cls = RouteClass::kNodeLocal});
  spec.routes.push_back({.name = "later", .subjects = {"message.received.*", "later.*.of.*"}, .cls = RouteClass::kEdgeLocal});
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{spec, "hash"});
  log.add(RouteTableChanged{plan_routes(spec).table});
  const auto table = client::Table::parse(table_json(log.state));
  ASSERT_TRUE(table) << table.error().message;
  Resolver resolver(plan_of(log.state));
  std::vector<std::string> subjects = kAsked;
  for (const char* more : {"node1.node1.x.a", "node1.node2.x.a", "node1.node3.x.a", "y.node1.node2", "y.node2.node2", "later.a.of.b", "later.a.of", "node.node3.local.a", ""})
    subjects.push_back(more);
  int covered = 0;
  for (const std::string& subject : subjects)
    for (const char* from : {"node1", "node2", "node3", "node9"}) {
      const Resolution& theirs = resolver.resolve(subject, NodeId(from));
      const client::Route ours = table->resolve(subject, from);
      EXPECT_EQ(ours.cls, class_text(theirs)) << subject << " on " << from;
      EXPECT_EQ(ours.dead_letter, theirs.dead_letter) << subject;
      EXPECT_EQ(ours.rule + " " + ours.stream + " " + ours.mirror + " " + ours.service, theirs.rule + " " + theirs.stream + " " + theirs.mirror + " " + theirs.service) << subject;
      std::vector<std::string> nodes;
      for (const NodeId& n : theirs.nodes) nodes.push_back(n.value);
      EXPECT_EQ(ours.nodes, nodes) << subject << " on " << from;
      covered += theirs.covered ? 1 : 0;
    }
  EXPECT_GT(covered, 30);
  EXPECT_EQ(table->streams("message", "node1"), std::vector<std::string>{"MESSAGE"});
  EXPECT_EQ(table->streams("message", "node3"), (std::vector<std::string>{"MESSAGE_node3", "MESSAGE_MIRROR"}));
  EXPECT_TRUE(table->streams("cache", "node3").empty() && table->streams("mesage", "node3").empty() && table->streams("message", "node9").empty());
  for (const char* bad : {"", "[]", "{}", "{\"updated\":1,\"rules\":[{}]}"}) EXPECT_EQ(client::Table::parse(bad).has_value(), false) << bad;
}

// ---- on real servers
/// The servers with the table in place, as the daemons of a core node and of the edge keep it.
struct Published {
  RouteRig rig;
  Log log = log_of(rig);
  std::unique_ptr<RouteKeeper> core = keeper(0, rig.core, false), edge = keeper(RouteRig::kEdge, rig.edge, true);

  Published() { change(plan_routes(rig.servers.file().spec).table); }
  void change(std::vector<RouteRule> table) {
    log.add(RouteTableChanged{std::move(table)});
    for (RouteKeeper* k : {core.get(), edge.get()}) k->folded(std::make_shared<const State>(log.state));
  }
  std::unique_ptr<RouteKeeper> keeper(int index, const std::shared_ptr<Connection>& app, bool on_edge) {
    return make_route_keeper({.app = app, .self = rig.node(index), .edge = on_edge, .core_domain = "core"}, table_json, [](const std::string&) {});
  }
};

/// Somebody who reads the rule "message" at one server's site from its beginning on.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual std::vector<std::string> given() const = 0;        // ids, in the order of giving
  virtual std::uint64_t newest_table() const = 0;
  int given_of(const std::string& origin) const { return count_of(given(), origin); }
};

class CppObserver final : public Observer {
 public:
  CppObserver(const RouteRig& rig, int server) {
    auto made = client::Client::connect(rig.servers.endpoint({server}, "service", NatsServers::Account::kApp), rig.servers.name(server), seconds(20));
    EXPECT_TRUE(made) << made.error().message;
    if (!made) return;
    for (const std::string& subject : kAsked) EXPECT_EQ((*made)->resolve(subject), (*made)->table()->resolve(subject, rig.servers.name(server)));
    consumer_ = std::make_unique<SiteConsumer>(std::move(*made), "message");
  }
  std::vector<std::string> given() const override {
    EXPECT_EQ(consumer_->trouble(), "");
    return consumer_->given();
  }
  std::uint64_t newest_table() const override { return consumer_->client().table()->updated(); }

 private:
  std::unique_ptr<SiteConsumer> consumer_;
};

const std::string kJsClient = std::string(DAARION_SOURCE_DIR) + "/clients/js";

constexpr const char* kNoJsClient =
    "optional: Node.js or npm's package nats is not here, so the JavaScript client is not shown; `npm install --no-save --prefix clients/js nats` brings it";

bool has_js_client() { return dev::run_to_end({"node", "-e", "require('node:module').createRequire('" + kJsClient + "/index.js')('nats')"}, "").has_value(); }

/// A program of the JavaScript client, and what it prints.
class JsObserver final : public Observer {
 public:
  JsObserver(const RouteRig& rig, int server) : log_(rig.servers.folder() + "/js-" + rig.servers.name(server) + ".log") {
    const NatsEndpoint as = rig.servers.endpoint({server}, "service", NatsServers::Account::kApp);
    std::string subjects;
    for (const std::string& subject : kAsked) subjects += (subjects.empty() ? "" : " ") + subject;
    const auto started = dev::spawn({.argv = {"node", std::string(DAARION_SOURCE_DIR) + "/tests/routing/site_reader.js"},
                                     .environment = {"CLIENT=" + kJsClient, "URL=" + as.urls[0], "USER_NAME=" + as.user, "PASSWORD=" + as.password,
                                                     "NODE_ID=" + rig.servers.name(server), "RULE=message", "SUBJECTS=" + subjects},
                                     .folder = rig.servers.folder(), .log_file = log_, .netns = {}});
    EXPECT_TRUE(started) << started.error().message;
    if (started) id_ = *started;
    EXPECT_TRUE(becomes([&] { return newest_table() != 0; })) << log_ << ": " << lines("").size() << " lines";
  }
  ~JsObserver() override {
    if (id_) dev::send_signal(*id_, SIGKILL);
  }
  std::vector<std::string> given() const override { return lines("message "); }
  std::uint64_t newest_table() const override {
    const auto tables = lines("table ");
    return tables.empty() ? 0 : std::stoull(tables.back());
  }
  std::vector<std::string> lines(const std::string& begin) const {
    std::vector<std::string> out;
    std::ifstream in(log_);
    for (std::string line; std::getline(in, line);)
      if (line.starts_with(begin)) out.push_back(line.substr(begin.size()));
    return out;
  }

 private:
  const std::string log_;
  std::optional<dev::ProcessId> id_;
};

template <class AnObserver>
void reads_each_once_through_a_cut_and_a_kill(const std::function<void(Published&, AnObserver& core, AnObserver& edge)>& look) {
  Published published;
  RouteRig& rig = published.rig;
  std::atomic<bool> done = false;
  std::vector<std::unique_ptr<Publisher>> publishers;
  for (const int server : {0, RouteRig::kEdge}) publishers.push_back(rig.publisher({server}, {kMessage}, 300, done));
  const std::shared_ptr<void> ending(nullptr, [&](void*) { done = true; });  // however it ends, before the publishers do
  // There is something to catch up with on both sides.
  ASSERT_TRUE(becomes([&] { return publishers[0]->acked() > 50 && publishers[1]->acked() > 50; }));
  AnObserver at_core(rig, 1), at_edge(rig, RouteRig::kEdge);
  look(published, at_core, at_edge);
  ASSERT_TRUE(becomes([&] { return at_edge.given_of("node1") > 50 && at_core.given_of("edge") > 50; }, kClientsAgree));

  rig.servers.cut_edge();
  const int before = publishers[1]->acked();
  std::this_thread::sleep_for(kClientCutFor);
  const int after = publishers[1]->acked(), core_then = publishers[0]->acked();
  EXPECT_GT(after, before + 100) << "the edge published nothing while it was cut off";
  EXPECT_TRUE(becomes([&] { return at_edge.given_of("edge") >= after; }, seconds(5))) << "what is published on an edge is read there at once: " << at_edge.given_of("edge") << " of " << after;
  EXPECT_LT(at_core.given_of("edge"), after) << "the cut cut nothing off";
  EXPECT_LT(at_edge.given_of("node1"), core_then);
  rig.servers.heal_edge();
  EXPECT_TRUE(becomes([&] { return at_edge.given_of("node1") >= core_then && at_core.given_of("edge") >= after; }, kClientsAgree));

  rig.servers.kill(RouteRig::kEdge);
  rig.servers.start(RouteRig::kEdge);
  rig.servers.kill(1);
  rig.servers.start(1);
  // The table goes on too.
  std::vector<RouteRule> table = plan_routes(rig.servers.file().spec).table;
  table.push_back({.name = "more", .subjects = {"more.>"}, .cls = RouteClass::kEdgeLocal});
  published.change(table);
  EXPECT_TRUE(becomes([&] { return at_core.newest_table() == published.log.state.applied.value && at_edge.newest_table() == published.log.state.applied.value; }, kClientsAgree));
  done = true;
  for (const auto& publisher : publishers) publisher->join();
  const auto all = [&](const AnObserver& o) { return std::ranges::all_of(publishers, [&](const auto& p) { return o.given_of(p->origin()) >= p->acked(); }); };
  EXPECT_TRUE(becomes([&] { return all(at_core) && all(at_edge); }, kClientsAgree));
  std::this_thread::sleep_for(seconds(1));  // for whatever would come twice
  EXPECT_EQ(faults_of(at_core.given(), publishers), "") << "in core";
  EXPECT_EQ(faults_of(at_edge.given(), publishers), "") << "on the edge";
}

TEST(RoutingClients, CppReadsEachMessageOnceAtEverySiteAlsoWhileCutOff) { reads_each_once_through_a_cut_and_a_kill<CppObserver>([](Published&, CppObserver&, CppObserver&) {}); }

TEST(RoutingClients, JavaScriptReadsEachMessageOnceAtEverySiteAlsoWhileCutOff) {
  if (!has_js_client()) GTEST_SKIP() << kNoJsClient;
  reads_each_once_through_a_cut_and_a_kill<JsObserver>([](Published& published, JsObserver& core, JsObserver& edge) {
    const auto table = client::Table::parse(table_json(published.log.state));
    for (const auto& [observer, from] : {std::pair(&core, "node2"), std::pair(&edge, "edge")}) {
      const auto lines = observer->lines("resolved ");
      ASSERT_EQ(lines.size(), kAsked.size());
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const client::Route r = table->resolve(kAsked[i], from);
        EXPECT_EQ(Json::parse(lines[i]), (Json{{"subject", kAsked[i]}, {"cls", r.cls}, {"rule", r.rule}, {"stream", r.stream}, {"mirror", r.mirror}, {"nodes", r.nodes}, {"service", r.service}, {"deadLetter", r.dead_letter}}))
            << "the two clients differ on " << from;
      }
    }
  });
}

/// A dead letter is kept and replicated as its rule's other messages, and reaches no worker.
/// The numbers of a bucket that somebody deleted begin at 1 again: what is newer is told by the table itself.
template <class AnObserver>
void follows_a_bucket_that_was_made_anew() {
  Published published;
  AnObserver at_edge(published.rig, RouteRig::kEdge);
  std::vector<RouteRule> table = plan_routes(published.rig.servers.file().spec).table;
  const auto follows = [&](const std::string& name) {
    table.push_back({.name = name, .subjects = {name + ".>"}, .cls = RouteClass::kEdgeLocal});
    published.change(table);
    return becomes([&] { return at_edge.newest_table() == published.log.state.applied.value; }, seconds(60));
  };
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(follows(name)) << name;
  const auto deleted = js_request(*published.rig.edge, "$JS.API.STREAM.DELETE.KV_cluster_routes", nullptr, seconds(5));
  ASSERT_TRUE(deleted && deleted->value("success", false)) << (deleted ? deleted->dump() : deleted.error().message);
  EXPECT_TRUE(follows("d")) << at_edge.newest_table() << " of " << published.log.state.applied.value;
}

TEST(RoutingClients, CppFollowsABucketThatWasMadeAnew) { follows_a_bucket_that_was_made_anew<CppObserver>(); }

TEST(RoutingClients, JavaScriptFollowsABucketThatWasMadeAnew) {
  if (!has_js_client()) GTEST_SKIP() << kNoJsClient;
  follows_a_bucket_that_was_made_anew<JsObserver>();
}

TEST(RoutingClients, KeepDeadLettersApartAtEverySite) {
  Published published;
  RouteRig& rig = published.rig;
  const auto publisher = connect(rig.servers, {RouteRig::kEdge}, NatsServers::Account::kApp);
  for (const char* subject : {"message.a", "message.failed.dlq", "message.dlq.a", "message.b"}) {
    const auto stored = js_request(*publisher, subject, Json(subject), seconds(2));
    ASSERT_TRUE(stored) << stored.error().message;
    EXPECT_EQ(stored->value("stream", ""), "MESSAGE_edge");
  }
  ASSERT_TRUE(becomes([&] { return last_sequence_of(*rig.core, "MESSAGE") == 4 && last_sequence_of(*rig.edge, "MESSAGE_MIRROR") == 4; }));
  for (const int server : {1, RouteRig::kEdge}) {
    const auto client = client::Client::connect(rig.servers.endpoint({server}, "service", NatsServers::Account::kApp), rig.servers.name(server), seconds(20));
    ASSERT_TRUE(client) << client.error().message;
    const auto given = [&](client::Letters letters) {
      const auto reader = (*client)->read("message", {}, letters);
      std::set<std::string> out;
      for (;;) {
        const auto message = reader->next(seconds(1));
        if (!message || !*message) break;
        out.insert((*message)->subject);
      }
      EXPECT_EQ(reader->position().next.at(server == 1 ? "MESSAGE" : "MESSAGE_MIRROR"), 5u) << "what is passed by counts too";
      return out;
    };
    EXPECT_EQ(given(client::Letters::kWork), (std::set<std::string>{"message.a", "message.dlq.a", "message.b"})) << server;
    EXPECT_EQ(given(client::Letters::kDead), std::set<std::string>{"message.failed.dlq"}) << server;
  }
}

TEST(RoutingClients, SayWhatIsMissing) {
  RouteRig rig;  // without daemons: nobody writes a table
  const auto none = client::Client::connect(rig.servers.endpoint({0}, "service", NatsServers::Account::kApp), "node1", seconds(2));
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("daarionctl routes"), std::string::npos) << none.error().message;
  NatsEndpoint wrong = rig.servers.endpoint({0}, "service", NatsServers::Account::kApp);
  wrong.password = "wrong";
  const auto refused = client::Client::connect(wrong, "node1", seconds(5));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().remedy, Remedy::kFixInput) << refused.error().message;
}

}  // namespace
}  // namespace daarion
