// The rest of what runs in the demo: Redis under Sentinel, Qdrant, the gateway, HAProxy before PostgreSQL and gateway; and the story of all of them.
#include <httplib.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "controlplane/health/http_client.h"
#include "controlplane/node/clock.h"
#include "tests/cluster/service_rig.h"
#include "tests/demo/demo.h"

namespace daarion::demo {
namespace {

using Json = nlohmann::ordered_json;

constexpr Duration kEnginesUp = seconds(60);
constexpr Duration kWhole = seconds(60);          // a sentinel that is back, and shards that are copied, are seen a few seconds later
constexpr double kWordToLogMs = 1000;
constexpr std::size_t kWarmAnswers = kWarmRows / 4;
constexpr int kPoints = 20;
constexpr std::size_t kWidest = 160;              // of a line of `incident`; all of it is in the JSON

/// What a node sees of everything that elects by itself: node1's or node2's Redis is the primary, Qdrant has a leader, nothing is amiss.
bool engines_well(const dev::ClusterView& v, const std::string& redis_on) {
  return v.holder_of(kRedis) == redis_on && !v.holder_of(kQdrant).empty() && v.warnings.empty() && v.ready;
}

bool stand_in() { return std::getenv("DAARION_QDRANT") == nullptr; }

std::string told(const LogEvent& e) { return e.event.header.node.value + ": " + e.event.header.reason; }

const MemberSeen* missed_on(const LogEvent& e, const ResourceId& resource, const NodeId& node) {
  const auto* seen = std::get_if<ResourceObserved>(&e.event.payload);
  if (seen == nullptr || e.event.header.resource != resource) return nullptr;
  const auto at = std::ranges::find_if(seen->members, [&](const MemberSeen& m) { return m.node == node && !m.health.empty(); });
  return at == seen->members.end() ? nullptr : &*at;
}

}  // namespace

// ---------------------------------------------------------------- a client of the gateway

void Visitor::stop() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

std::size_t Visitor::answered() const {
  const std::lock_guard lock(mutex_);
  return answered_.size();
}

Duration Visitor::longest_gap(Instant from) const {
  const std::lock_guard lock(mutex_);
  Duration longest{};
  Instant last = from;
  for (const Instant at : answered_)
    if (at > from) longest = std::max(longest, at - std::exchange(last, at));
  return longest;
}

void Visitor::run() {
  while (!ending_) {
    const Instant begun = node_now();
    httplib::Client client(address_, static_cast<int>(kGateway));
    client.set_connection_timeout(1);
    client.set_read_timeout(1);
    const auto answer = client.Get("/health");
    if (answer && answer->status == 200) {
      const std::lock_guard lock(mutex_);
      answered_.push_back(node_now());
    } else {
      ++failed_;
    }
    std::this_thread::sleep_for(std::max(Duration{}, begun + milliseconds(10) - node_now()));
  }
}

// ---------------------------------------------------------------- Redis and Qdrant

nlohmann::json Demo::qdrant(const NodeId& node, const std::string& method, const std::string& path, const nlohmann::json& body) {
  HttpClient client(cluster_->address_of(node), dev::ports_of(cluster_->file()).qdrant);
  const HttpCall call{.method = method, .path = path, .body = body.dump(), .headers = {{"api-key", cluster_->secrets()["QDRANT_API_KEY"]}}};
  const auto reply = client.call(call, seconds(10));
  if (reply.answer.status != 200)
    throw Failed{"ask Qdrant on " + node.value + ", " + method + " " + path + ": " + (reply.error.empty() ? reply.answer.body : reply.error)};
  return nlohmann::json::parse(reply.answer.body, nullptr, false);
}

int Demo::points_at(const NodeId& node) {
  const auto count = qdrant(node, "POST", "/collections/docs/points/count", {{"exact", true}});
  return count.is_object() ? count["result"].value("count", -1) : -1;
}

void Demo::start_engines() {
  const auto view = need(cluster_->await(kTwo, "node1 as Redis' primary, a leader of Qdrant's raft, all well", kEnginesUp,
                                         [](const dev::ClusterView& v) { return engines_well(v, "node1"); }));
  report_.truth("Redis: node1 is the primary, node2 a replica, three sentinels agree", view.resource(kRedis)->replicas.size() == 4);
  nlohmann::json points = nlohmann::json::array();
  for (int id = 1; id <= kPoints; ++id) points.push_back({{"id", id}, {"vector", {0.1, 0.2}}});
  qdrant(kOne, "PUT", "/collections/docs", {{"vectors", {{"size", 2}, {"distance", "Dot"}}}, {"shard_number", 2}, {"replication_factor", 2}});
  qdrant(kOne, "PUT", "/collections/docs/points", {{"points", points}});
  report_.truth("Qdrant: " + view.holder_of(kQdrant) + " leads its raft; a collection of two shards, each twice, has " + std::to_string(kPoints) + " points",
                points_at(kOne) == kPoints);
  if (stand_in()) report_.line("(Debian has no Qdrant: this is our stand-in, without vectors; DAARION_QDRANT=/path/of/qdrant runs a real one)");
  redis_one_ = std::make_unique<dev::ProbeWriter>(cluster_->redis_application(kOne), "redis-at-node1");
  redis_two_ = std::make_unique<dev::ProbeWriter>(cluster_->redis_application(kTwo), "redis-at-node2");
  words_ = std::make_unique<test::SentinelWords>(cluster_->sentinel(kThree));
  need(cluster_->await_that("200 rows acknowledged by node1's Redis, and node3's sentinel heard", seconds(20), cluster_->log_of(kOne, dev::Part::kRedis),
                            [&] { return redis_one_->count() > kWarmRows && words_->listening(); }));
}

void Demo::redis_moved() {
  report_.step("Redis: the sentinels decide, the log follows");
  need(cluster_->await(kTwo, "node2 as Redis' primary", kFailover, [](const dev::ClusterView& v) { return v.holder_of(kRedis) == "node2"; }));
  need(cluster_->await_that("the first row acknowledged by node2's Redis", kFailover, cluster_->log_of(kTwo, dev::Part::kRedis),
                            [&] { return redis_two_->first_after(killed_) != kNever; }));
  need(cluster_->await_that("node3's sentinel to say +switch-master", kFailover, cluster_->log_of(kThree, dev::Part::kSentinel),
                            [&] { return words_->moved_to(cluster_->redis_application(kTwo)) != 0; }));
  need(read_log());
  const auto event = std::ranges::find_if(log_, [&](const LogEvent& e) {
    const auto* now = std::get_if<ResourceObserved>(&e.event.payload);
    return e.sequence > before_ && now != nullptr && e.event.header.resource == ResourceId(kRedis) && now->primary == kTwo;
  });
  if (event == log_.end()) throw Failed{"the log has no ResourceObserved with node2 as Redis' primary"};
  const auto& seen = std::get<ResourceObserved>(event->event.payload);
  const std::int64_t said = words_->moved_to(cluster_->redis_application(kTwo));
  const double said_ms = double(said - test::wall_of(killed_)) / 1e6;
  redis_logged_ms_ = double(event->stored_ns - said) / 1e6;
  redis_followed_ = redis_logged_ms_ <= kWordToLogMs;
  redis_gap_ms_ = to_double_ms(redis_two_->first_after(killed_) - killed_);
  report_.line("node3's sentinel says +switch-master " + ms(said_ms) + " after the kill");
  report_.line("event " + std::to_string(event->sequence.value) + ", " +
               (redis_logged_ms_ < 0 ? ms(-redis_logged_ms_) + " before it, by another sentinel's word" : ms(redis_logged_ms_) + " later") + ", by " + told(*event));
  report_.truth("Redis' primary is node2, by " + seen.elected_by, seen.primary == kTwo);
  report_.truth("the log has it within 1000 ms of the sentinel's word", redis_followed_);
  redis_one_->stop();
  const std::size_t lost = need(dev::missing_rows(cluster_->redis_application(kTwo), *redis_one_, seconds(5))).size();
  report_.line("node2's Redis acknowledges its first row " + ms(redis_gap_ms_) + " after the kill; " + std::to_string(lost) + " of " +
               std::to_string(redis_one_->count()) + " rows that node1's had acknowledged are gone (Sentinel announces no bound)");
  report_.keep("redis", Json{{"switch_master_ms", said_ms}, {"event", event->sequence.value}, {"word_to_log_ms", redis_logged_ms_},
                             {"first_write_ms", redis_gap_ms_}, {"rows_acknowledged", redis_one_->count()}, {"rows_lost", lost}});
}

void Demo::qdrant_goes_on() {
  report_.step("Qdrant: two peers of three go on");
  const ResourceId id(kQdrant);
  const LogEvent* event = nullptr;
  need(cluster_->await_that("the loss of node1's peer in the log", kFailover, cluster_->log_of(kTwo, dev::Part::kDaemon), [&] {
    if (!read_log()) return false;
    const auto at = std::ranges::find_if(log_, [&](const LogEvent& e) { return e.sequence > before_ && missed_on(e, id, kOne) != nullptr; });
    event = at == log_.end() ? nullptr : &*at;
    return event != nullptr;
  }));
  qdrant_logged_ms_ = after_kill(*event);
  report_.line("event " + std::to_string(event->sequence.value) + ", " + ms(qdrant_logged_ms_) + " after the kill, by " + told(*event));
  const auto view = need(cluster_->await(kTwo, "a leader of Qdrant's raft that lives", kFailover, [](const dev::ClusterView& v) {
    return !v.holder_of(kQdrant).empty() && v.holder_of(kQdrant) != "node1";
  }));
  report_.truth("the log says that node1's peer is missing; " + view.holder_of(kQdrant) + " leads the raft", missed_on(*event, id, kOne) != nullptr);
  const bool all = points_at(kTwo) == kPoints;
  qdrant(kTwo, "PUT", "/collections/docs/points", {{"points", {{{"id", kPoints + 1}, {"vector", {0.3, 0.4}}}}}});
  report_.truth("node2's peer has every point, and takes another", all && points_at(kTwo) == kPoints + 1);
  report_.keep("qdrant", Json{{"stand_in", stand_in()}, {"event", event->sequence.value}, {"kill_to_log_ms", qdrant_logged_ms_}, {"leader", view.holder_of(kQdrant)}});
}

void Demo::engines_are_whole() {
  need(cluster_->await(kTwo, "node1's Redis, sentinel and Qdrant back, all well", kWhole,
                       [](const dev::ClusterView& v) { return engines_well(v, "node2"); }));
  whole_ms_ = to_double_ms(node_now() - returned_);
  const auto redis = need(redis::Connection::open(cluster_->redis_application(kOne), seconds(5)));
  const redis::Info info = redis::parse_info(need(redis->ask({"INFO", "replication"}, seconds(5))).text);
  report_.line("Redis, its sentinel and Qdrant's peer are back after " + ms(whole_ms_));
  report_.truth("node1's Redis follows node2's, and is no second primary",
                redis::field(info, "role") == "slave" && redis::field(info, "master_host") == cluster_->address_of(kTwo) &&
                    redis::field(info, "master_link_status") == "up");
  report_.truth("Qdrant on node1 has what was written without it: every replica of a shard is whole",
                points_at(kOne) == kPoints + 1);
  report_.keep("all_engines_whole_ms", whole_ms_);
}

// ---------------------------------------------------------------- clients that know one address

void Demo::put_haproxy_before() {
  const std::string haproxy = need(test::start_haproxy(*cluster_));
  auto target = cluster_->application(kOne);
  target.host = haproxy;
  proxied_ = std::make_unique<dev::ProbeWriter>(target, "through-haproxy");
  visitor_ = std::make_unique<Visitor>(haproxy);
  need(cluster_->await_that("answers through HAProxy", seconds(20), cluster_->folder() + "/haproxy.log",
                            [&] { return proxied_->count() > kWarmAnswers && visitor_->answered() > kWarmAnswers; }));
  proxied_pg_failed_ = proxied_->failed();
  proxied_gateway_failed_ = visitor_->failed();
}

void Demo::ask_through_haproxy() {
  need(cluster_->await_that("answers through HAProxy again", kFailover, cluster_->folder() + "/haproxy.log",
                            [&] { return proxied_->first_after(killed_ + seconds(1)) != kNever && visitor_->longest_gap(killed_) > milliseconds(500); }));
  proxied_->stop();
  visitor_->stop();
  proxied_pg_ms_ = to_double_ms(dev::longest_gap({proxied_.get()}, killed_, proxied_->last()).length());
  proxied_gateway_ms_ = to_double_ms(visitor_->longest_gap(killed_));
  proxied_pg_failed_ = proxied_->failed() - proxied_pg_failed_;
  proxied_gateway_failed_ = visitor_->failed() - proxied_gateway_failed_;
}

void Demo::through_haproxy() {
  report_.step("what clients behind HAProxy saw of it");
  report_.line("PostgreSQL: " + std::to_string(proxied_pg_failed_) + " attempts failed, no row was acknowledged for " + ms(proxied_pg_ms_));
  report_.line("gateway: " + std::to_string(proxied_gateway_failed_) + " requests failed, none was answered for " + ms(proxied_gateway_ms_));
  report_.truth("both were served again within 5 s", proxied_pg_ms_ <= 5000 && proxied_gateway_ms_ <= 5000);
  const LogEvent* moved = test::last_of<ServiceMoved>(log_);
  report_.truth("the gateway's move to node2 is an event",
                moved != nullptr && std::get<ServiceMoved>(moved->event.payload).active == std::vector<NodeId>{kTwo});
  if (moved == nullptr) return;
  const auto said = need(test::explain(*cluster_, kThree, moved->sequence));
  report_.line("why " + std::to_string(moved->sequence.value) + ": " + said.reason());
  for (const v1::CandidateVerdict& c : said.candidates()) report_.line("place     " + c.node() + ": (" + c.rule() + ") " + c.detail());
  report_.truth("the same evidence gives the same decision again", said.agrees());
  report_.keep("haproxy", Json{{"postgres_failed", proxied_pg_failed_}, {"postgres_ms", proxied_pg_ms_},
                               {"gateway_failed", proxied_gateway_failed_}, {"gateway_ms", proxied_gateway_ms_}});
}

// ---------------------------------------------------------------- the story

void Demo::incident() {
  const std::string sequence = std::to_string(decision_.sequence.value);
  const auto ask = [&](const char* form) {
    return need(dev::run_to_end({dev::program("daarionctl"), "--server", cluster_->server_of(kThree), "-o", form, "incident", sequence}, ""));
  };
  report_.step("daarionctl incident " + sequence);
  const std::string text = ask("table");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const bool cut = line.size() > kWidest;
    line.resize(std::min(line.size(), kWidest));
    line.erase(line.find_last_not_of(' ') + 1);
    report_.line(line + (cut ? " ..." : ""));
  }
  const auto story = nlohmann::json::parse(ask("json"), nullptr, false);
  if (!story.is_object()) throw Failed{"daarionctl -o json incident " + sequence + ": no JSON object"};
  const std::string title = story.value("title", "");
  report_.truth("one story: " + title + ", and it is over", title == "node1 was lost" && story.value("over", false));
  Json moves = Json::array();
  for (const char* what : {kPostgres, kRedis, "gateway"}) {
    const auto move = std::ranges::find_if(story["moves"], [&](const auto& m) {
      return m["what"] == what && m["from"] == "node1" && m["to"] == "node2" && m["state"] == "done";
    });
    const bool there = move != story["moves"].end();
    const std::string when = there ? ", " + ms((*move)["done_ms"].get<double>()) + " after it began" : "";
    report_.truth(std::string(what) + " went from node1 to node2" + when, there);
    if (there) moves.push_back({{"what", what}, {"to", "node2"}, {"ms", (*move)["done_ms"]}});
  }
  std::set<std::uint64_t> before;
  bool linked = true, of_qdrant = false;
  std::size_t led = 0, stated = 0;
  std::int64_t last_ms = 0;
  for (const auto& step : story["steps"]) {
    const std::uint64_t by = step.value("led_by", std::uint64_t{0});
    const std::int64_t at = step.value("after_ms", std::int64_t{0});
    linked = linked && (by == 0 || before.contains(by)) && at >= last_ms;
    led += by != 0 ? 1 : 0;
    stated += step.value("stated", false) ? 1 : 0;
    last_ms = at;
    before.insert(step["event"]["sequence"].get<std::uint64_t>());
    of_qdrant = of_qdrant || step["event"].value("resource", "") == kQdrant;
  }
  report_.truth("in order, Qdrant's among them; " + std::to_string(led) + " of " + std::to_string(before.size()) + " events follow from an earlier one, " + std::to_string(stated) +
                    " by their own word",
                linked && stated > 0 && of_qdrant);
  const std::string page = ask("markdown");
  report_.truth("-o markdown makes a document of it", page.starts_with("# Incident: node1 was lost") && page.find("## Timeline") != std::string::npos);
  report_.keep("incident", Json{{"sequence", decision_.sequence.value}, {"title", title}, {"duration_ms", story.value("duration_ms", std::int64_t{0})},
                                {"moves", moves}, {"text", text}});
}

}  // namespace daarion::demo
