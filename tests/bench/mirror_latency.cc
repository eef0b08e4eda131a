#include "tests/bench/mirror_latency.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <thread>

#include "clients/cpp/daarion_client.h"
#include "streams/js_request.h"
#include "streams/log_stream.h"
#include "streams/nats_handles.h"
#include "streams/provision.h"
#include "streams/route_streams.h"
#include "tests/cluster/service_rig.h"
#include "tests/harness/figures.h"
#include "tests/harness/nats_servers.h"
#include "tests/harness/stalls.h"

namespace daarion {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using test::need;

constexpr int kRounds = 9;              // of which the median counts; each is one of both, one after the other
constexpr int kRepeats = 6;             // of rounds that the machine itself disturbed
constexpr int kMessages = 1000;         // a round's, of each: its 99th percentile is that of ten
constexpr int kTries = 4;
constexpr milliseconds kTry(500);       // one try's wait for an answer
constexpr milliseconds kPace(4);
constexpr milliseconds kChangeEvery(300);
constexpr int kLeastChanges = 3;        // of the route table that the edge saw, in a round
constexpr double kLimit = 1.2;
const NodeId kOne("node1"), kTwo("node2"), kThree("node3");

/// One way from a publisher to a reader of the mirror.
struct Way {
  std::shared_ptr<Connection> from, to;
  std::string subject, stream, mirror;
};

/// To which of the core's servers the edge's link of the applications goes; empty: to none.
std::string linked_to(Connection& sys) {
  std::string out;
  const auto take = [&](std::size_t, const Json& answer) {
    const Json& leafs = answer.contains("data") && answer["data"].contains("leafs") ? answer["data"]["leafs"] : Json::array();
    for (const Json& leaf : leafs)
      if (leaf.value("account", "") == "APP") out = answer["server"].value("name", "");
    return out.empty();
  };
  need(ask_together(sys, {{"$SYS.REQ.SERVER.PING.LEAFZ", nullptr}}, take, seconds(1)));
  return out;
}

/// Which server leads decides how many hops a message makes: the publisher's own does.
void lead_at_publisher(const Way& way) {
  for (const auto end = Clock::now() + seconds(60); stream_leader(*way.from, way.stream, seconds(2)) != kOne.value; std::this_thread::sleep_for(milliseconds(200))) {
    if (Clock::now() > end) throw test::Failed{kOne.value + " does not come to lead " + way.stream};
    (void)step_down_stream_leader(*way.from, way.stream, seconds(2));
  }
}

std::shared_ptr<Connection> open(const NatsEndpoint& endpoint) {
  auto connection = need(Connection::open(endpoint));
  need(connection->wait_connected(seconds(10)));
  return connection;
}

std::uint64_t last_of(Connection& at, const std::string& stream) {
  const auto info = js_request(at, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info && info->contains("state") ? (*info)["state"].value("last_seq", std::uint64_t{0}) : 0;
}

/// As a service does it: with an id, and again where nobody answers, as while a stream's leader moves off a node that is drained. Returns how often; nothing:
/// it is not stored.
std::optional<int> publish(Connection& from, const std::string& subject, const std::string& payload) {
  const std::string id = new_inbox();
  for (int tries = 1; tries <= kTries; ++tries) {
    jsPubOptions options{};
    jsPubOptions_Init(&options);
    options.MaxWait = kTry.count();
    options.MsgId = id.c_str();
    jsPubAck* raw = nullptr;
    const auto link = from.handles().link();
    const natsStatus s = js_Publish(&raw, link->js, subject.c_str(), payload.data(), static_cast<int>(payload.size()), &options, nullptr);
    const PubAckPtr ack(raw);
    if (s == NATS_OK) return tries;
  }
  return std::nullopt;
}

/// One message there and back, so that everything on the way is in place.
void warm_up(const Way& way) {
  const auto end = Clock::now() + seconds(60);
  for (std::uint64_t before = last_of(*way.to, way.mirror); last_of(*way.to, way.mirror) <= before; std::this_thread::sleep_for(milliseconds(100))) {
    if (Clock::now() > end) throw test::Failed{"nothing came to " + way.mirror};
    (void)publish(*way.from, way.subject, "warm");
  }
}

/// From before the publish to the reader's hand, ms, of each message. `again`: tries that nobody answered are added there.
std::vector<double> send(const Way& way, int& again) {
  lead_at_publisher(way);
  std::vector<Clock::time_point> sent(kMessages), came(kMessages);
  std::atomic<int> received = 0;
  const auto reader = read_site(way.to, {way.mirror}, {.next = {{way.mirror, last_of(*way.to, way.mirror) + 1}}, .owed = {}});
  (void)reader->next(milliseconds(200));  // its consumer is there
  std::thread hands([&] {
    for (const auto end = Clock::now() + seconds(20); received < kMessages && Clock::now() < end;) {
      const auto message = reader->next(milliseconds(100));
      if (!message || !*message || (*message)->payload == "warm") continue;
      came[static_cast<std::size_t>(std::stoi((*message)->payload))] = Clock::now();
      ++received;
    }
    nats_ReleaseThreadMemory();
  });
  bool stored = true;
  for (int n = 0; n < kMessages; ++n) {
    const auto begun = sent[static_cast<std::size_t>(n)] = Clock::now();
    const auto tries = publish(*way.from, way.subject, std::to_string(n));
    stored &= tries.has_value();
    again += tries.value_or(kTries) - 1;
    std::this_thread::sleep_until(begun + kPace);
  }
  hands.join();
  if (!stored || received < kMessages) throw test::Failed{std::to_string(received) + " of " + std::to_string(kMessages) + " came by " + way.mirror};
  std::vector<double> out;
  for (std::size_t n = 0; n < sent.size(); ++n) out.push_back(std::chrono::duration<double, std::milli>(came[n] - sent[n]).count());
  std::ranges::sort(out);
  return out;
}
double p50(const std::vector<double>& sorted) { return sorted[sorted.size() / 2]; }
double p99(const std::vector<double>& sorted) { return sorted[sorted.size() * 99 / 100]; }

/// A stream of three replicas and its mirror: no rules, no permissions, no daemon.
class Bare {
 public:
  /// `link`: the core server that the edge's link goes to.
  explicit Bare(const std::string& link) {
    using Account = test::NatsServers::Account;
    const auto sys = open(servers_.endpoint({0}, "bench", Account::kSys));
    for (const auto end = Clock::now() + seconds(120); linked_to(*sys) != link;) {
      if (Clock::now() > end) throw test::Failed{"the edge's link does not come to go to " + link};
      servers_.kill(kEdge);
      servers_.start(kEdge);
      for (const auto up = Clock::now() + seconds(10); linked_to(*sys).empty() && Clock::now() < up;) std::this_thread::sleep_for(milliseconds(100));
    }
    way_ = {open(servers_.endpoint({0}, "bench", Account::kRoutes)), open(servers_.endpoint({kEdge}, "bench", Account::kRoutes)), "bare.message", "BARE", "BARE_MIRROR"};
    make(*way_.from, {{"name", "BARE"}, {"subjects", {"bare.>"}}, {"storage", "file"}, {"num_replicas", 3}});
    make(*way_.to, {{"name", "BARE_MIRROR"}, {"storage", "file"}, {"num_replicas", 1}, {"mirror", {{"name", "BARE"}, {"external", external_of("core", std::string(kRouteSync) + "edge")}}}});
    warm_up(way_);
  }
  const Way& way() const { return way_; }
  const std::string& version() const { return servers_.version(); }

 private:
  static void make(Connection& at, const Json& stream) {
    const auto end = Clock::now() + seconds(30);
    for (;;) {
      const auto made = js_request(at, "$JS.API.STREAM.CREATE." + stream.value("name", ""), stream, seconds(2));
      if (made && !made->contains("error")) return;
      if (Clock::now() > end) throw test::Failed{"make " + stream.value("name", "") + ": " + (made ? js_error_text(*made) : made.error().message)};
      std::this_thread::sleep_for(milliseconds(100));
    }
  }
  static constexpr int kEdge = 3;
  test::NatsServers servers_{{.size = 3, .edges = 1, .witness = true, .cuttable = false}};  // as the whole cluster's, and no proxy on the way
  Way way_;
};

/// The users' rules, permissions and denies, and a daemon on every node; the route table changes for as long as change() is asked to.
class Whole {
 public:
  Whole() {
    need(cluster_->start_all());
    need(cluster_->await_settled(seconds(60)));
    way_ = {open(test::own_server(*cluster_, kOne)), open(test::own_server(*cluster_, kThree)), "message.received.bench", "MESSAGE", "MESSAGE_MIRROR"};
    api_ = test::keep_connected(*cluster_, kOne);
    client_ = need(client::Client::connect(test::own_server(*cluster_, kThree), kThree.value, seconds(30)));
    warm_up(way_);
  }
  const Way& way() const { return way_; }
  std::string link() { return linked_to(*need(test::sys_connection(*cluster_, kThree, seconds(10)))); }

  /// Sends while node2 is drained and taken back, again and again. Each is an event, a fold, and a table written and announced at every site.
  std::vector<double> send_during_changes(int& again) {
    std::atomic<bool> done = false;
    int changes = 0;
    std::string refused;
    std::thread changer([&] {
      for (bool drained = false; !done || drained; drained = !drained) {
        const std::uint64_t before = client_->table()->updated();
        if (const auto asked = (drained ? test::undrain : test::drain)(*cluster_, kOne, kTwo, "bench"); !asked) refused = ": " + asked.error().message;
        changes += client_->await_table_after(before, seconds(2)) ? 1 : 0;
        std::this_thread::sleep_for(kChangeEvery);
      }
    });
    std::vector<double> out;
    try {
      out = send(way_, again);
    } catch (...) {
      done = true;
      changer.join();
      throw;
    }
    done = true;
    changer.join();
    if (changes < kLeastChanges) throw test::Failed{"the route table changed only " + std::to_string(changes) + " times" + refused};
    changes_ += changes;
    return out;
  }
  int changes() const { return changes_; }

 private:
  test::ScratchCluster cluster_ = need(test::ScratchCluster::make(3));
  Way way_;
  std::shared_ptr<void> api_;  // an operator's client is on none of the nodes
  std::unique_ptr<client::Client> client_;
  int changes_ = 0;
};

bool measure(int& repeated) {
  Whole whole;
  Bare bare(whole.link());
  int bare_again = 0, whole_again = 0;
  std::vector<double> bare50, bare99, whole50, whole99, quiet50, quiet99, ratio50, ratio99;
  for (int round = 0, repeats = 0; round < kRounds; ++round) {
    const test::Disturbance machine;
    const std::vector<double> without = send(bare.way(), bare_again), quiet = send(whole.way(), whole_again), with = whole.send_during_changes(whole_again);
    if (machine.disturbed() && repeats < kRepeats) {
      ++repeats, ++repeated, --round;
      continue;
    }
    bare50.push_back(p50(without)), bare99.push_back(p99(without)), whole50.push_back(p50(with)), whole99.push_back(p99(with));
    quiet50.push_back(p50(quiet) / p50(without)), quiet99.push_back(p99(quiet) / p99(without));
    ratio50.push_back(p50(with) / p50(without)), ratio99.push_back(p99(with) / p99(without));
  }
  test::say_machine(bare.version(), repeated);
  const auto said = [](const char* name, const std::vector<double>& samples, const char* unit = "ms") { test::say({.name = name, .value = test::median(samples), .unit = unit, .samples = samples}); };
  const auto limited = [](const char* name, const std::vector<double>& samples) {
    const double value = test::median(samples);
    return test::say({.name = name, .value = value, .unit = "x", .samples = samples, .limit = "<=1.2", .ok = value <= kLimit});
  };
  said("bare_mirror_p50_ms", bare50);
  said("bare_mirror_p99_ms", bare99);
  said("mirror_during_route_changes_p50_ms", whole50);
  said("mirror_during_route_changes_p99_ms", whole99);
  test::say({.name = "bare_publishes_tried_again", .value = static_cast<double>(bare_again), .unit = "tries", .samples = {}});
  test::say({.name = "mirror_publishes_tried_again", .value = static_cast<double>(whole_again), .unit = "tries", .samples = {}});
  test::say({.name = "mirror_route_changes", .value = static_cast<double>(whole.changes()), .unit = "tables", .samples = {}});
  // What of the ratio is rules, permissions and daemons, and not the changes.
  said("mirror_between_changes_p50_over_bare", quiet50, "x");
  said("mirror_between_changes_p99_over_bare", quiet99, "x");
  const bool half = limited("mirror_p50_over_bare", ratio50), tail = limited("mirror_p99_over_bare", ratio99);
  return half && tail;
}

}  // namespace

bool mirror_latency(int& repeated) {
  try {
    return measure(repeated);
  } catch (const test::Failed& failed) {
    std::fprintf(stderr, "FAILED: %s\n", failed.why.c_str());
    return false;
  }
}

}  // namespace daarion
