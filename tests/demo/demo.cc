// `make demo`: a cluster of three nodes loses the one that writes, and everything that is promised of that moment is shown and checked.
#include <httplib.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>

#include "controlplane/node/clock.h"
#include "tests/cluster/service_rig.h"
#include "tests/demo/report.h"
#include "tests/harness/figures.h"

namespace daarion::demo {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using test::Failed;
using test::need;

const NodeId kOne("node1"), kTwo("node2"), kThree("node3");
constexpr const char* kPostgres = "postgres";
constexpr Duration kUp = seconds(60);
constexpr Duration kFailover = seconds(20);    // 2.3 s are usual; an election of the log's leader takes up to 9 s more
constexpr Duration kRejoin = seconds(30);
constexpr std::size_t kWarmRows = 200;         // a second of writes: the writer's pace is known
constexpr double kClockMs = 2;                 // stored times and durations are rounded to a millisecond each
constexpr std::size_t kTailRows = 10;          // that the replica never hears of
constexpr std::uint32_t kGateway = 9300;

std::string ms(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f ms", v);
  return text;
}
double to_double_ms(Duration d) { return double(d.count()) / 1e6; }

/// Asks the gateway through HAProxy, again and again, each time by a connection of its own.
class Visitor {
 public:
  explicit Visitor(std::string address) : address_(std::move(address)), thread_([this] { run(); }) {}
  ~Visitor() { stop(); }
  void stop() {
    ending_ = true;
    if (thread_.joinable()) thread_.join();
  }
  std::size_t answered() const {
    const std::lock_guard lock(mutex_);
    return answered_.size();
  }
  std::size_t failed() const { return failed_; }
  /// The longest time without an answer from `from` on.
  Duration longest_gap(Instant from) const {
    const std::lock_guard lock(mutex_);
    Duration longest{};
    Instant last = from;
    for (const Instant at : answered_)
      if (at > from) longest = std::max(longest, at - std::exchange(last, at));
    return longest;
  }

 private:
  void run() {
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
  std::string address_;
  std::atomic<bool> ending_ = false;
  std::atomic<std::size_t> failed_ = 0;
  mutable std::mutex mutex_;
  std::vector<Instant> answered_;
  std::thread thread_;
};

class Demo {
 public:
  Demo(test::ScratchCluster cluster, Report& report) : cluster_(std::move(cluster)), report_(report) {}

  void run() {
    start();
    lose_the_writer();
    timeline();
    through_haproxy();
    return_of_node1();
    switchover_home();
    count_rows();
    why();
    one_digest();
  }
  void figures() {
    test::say_machine(test::server_versions());
    test::say({.name = "demo_kill_to_first_write_ms", .value = gap_ms_, .unit = "ms", .samples = {}, .limit = "<=3000", .ok = gap_ms_ > 0 && gap_ms_ <= 3000});
    test::say({.name = "demo_haproxy_postgres_without_ms", .value = proxied_pg_ms_, .unit = "ms", .samples = {}, .limit = "", .ok = proxied_pg_ms_ > 0});
    test::say({.name = "demo_haproxy_postgres_failed", .value = double(proxied_pg_failed_), .unit = "requests", .samples = {}});
    test::say({.name = "demo_haproxy_gateway_without_ms", .value = proxied_gateway_ms_, .unit = "ms", .samples = {}, .limit = "", .ok = proxied_gateway_ms_ > 0});
    test::say({.name = "demo_haproxy_gateway_failed", .value = double(proxied_gateway_failed_), .unit = "requests", .samples = {}});
    test::say({.name = "demo_rejoin_ms", .value = rejoin_ms_, .unit = "ms", .samples = {}, .limit = "", .ok = rejoin_ms_ > 0});
    test::say({.name = "demo_switchover_gap_ms", .value = switch_ms_, .unit = "ms", .samples = {}, .limit = "<=1000", .ok = switch_ms_ > 0 && switch_ms_ <= 1000});
    test::say({.name = "demo_rows_lost_by_failover", .value = double(lost_), .unit = "rows", .samples = {}, .limit = "announced", .ok = within_});
    test::say({.name = "demo_rows_lost_by_switchover", .value = double(lost_later_), .unit = "rows", .samples = {}, .limit = "0", .ok = lost_later_ == 0});
  }
  void keep() {
    cluster_.keep();
    const std::string run = "DAARION_RUN=" + cluster_->folder() + " ";
    std::printf("\nkept: %s\ntry   %sdaarionctl dev status\n      %sdaarionctl dev kill node1\n      %sdaarionctl dev start node1\n"
                "      curl http://%s:%u/cluster/status\n      %sdaarionctl dev down\n",
                cluster_->folder().c_str(), run.c_str(), run.c_str(), run.c_str(), cluster_->address_of(kOne).c_str(), cluster_->file().http_port, run.c_str());
  }

 private:
  void start() {
    report_.step("a cluster of three nodes: PostgreSQL and a gateway on node1 and node2, the third vote on node3; HAProxy before them");
    test::add_to_file(*cluster_, "services:\n  gateway: {port: " + std::to_string(kGateway) + ", health: /health, on: {node1: active, node2: standby}}\n");
    for (const NodeId& node : {kOne, kTwo}) need(test::start_stand_in(*cluster_, node, {kGateway}));
    need(cluster_->start_all());
    const auto view = need(cluster_->await_settled(kUp));
    report_.truth("node1 writes, node2 streams, every node is ready", view.holder_of(kPostgres) == "node1" && view.streams(kPostgres, "node2"));
    need(cluster_->make_application(kOne));
    need(dev::make_probe_table(cluster_->application(kOne), seconds(5)));
    one_ = std::make_unique<dev::ProbeWriter>(cluster_->application(kOne), "at-node1");
    two_ = std::make_unique<dev::ProbeWriter>(cluster_->application(kTwo), "at-node2");
    report_.line("a writer at each PostgreSQL, straight at it, one row every 5 ms");
    need(cluster_->await_that("200 rows acknowledged by node1", seconds(20), cluster_->log_of(kOne, dev::Part::kPostgres), [&] { return one_->count() > kWarmRows; }));
    need(cluster_->await_that("node2's answer to its writer", seconds(20), cluster_->log_of(kTwo, dev::Part::kPostgres),
                              [&] { return two_->last_error().find("read-only") != std::string::npos; }));
    report_.truth("node2 refuses its writer: read-only", two_->count() == 0);
    const auto leaders = need(cluster_->await_leaders_off({kOne}, seconds(40)));
    report_.line("leaders are kept off the node that writes: log " + leaders.log + ", meta " + leaders.meta);
  }

  /// Bytes of the primary's log per row.
  double bytes_per_row() {
    const auto c = need(cluster_->superuser(kOne, seconds(2)));
    const auto at = [&] { return std::strtod(need(c->query("select pg_current_wal_lsn() - '0/0'::pg_lsn", seconds(2)))[0][0].c_str(), nullptr); };
    const double bytes = at();
    const std::size_t rows = one_->count();
    need(cluster_->await_that("100 rows more", seconds(10), "", [&] { return one_->count() > rows + 100; }));
    return (at() - bytes) / double(one_->count() - rows);
  }

  void lose_the_writer() {
    row_bytes_ = bytes_per_row();
    const std::string haproxy = need(test::start_haproxy(*cluster_));
    auto target = cluster_->application(kOne);
    target.host = haproxy;
    proxied_ = std::make_unique<dev::ProbeWriter>(target, "through-haproxy");
    visitor_ = std::make_unique<Visitor>(haproxy);
    need(cluster_->await_that("answers through HAProxy", seconds(20), cluster_->folder() + "/haproxy.log",
                              [&] { return proxied_->count() > kWarmRows / 4 && visitor_->answered() > kWarmRows / 4; }));
    const std::size_t pg_failed = proxied_->failed(), gateway_failed = visitor_->failed();
    const auto before = need(cluster_->view(kTwo));
    const dev::ResourceSeen* pg = before.resource(kPostgres);
    report_.step("node1 loses power: nats-server, PostgreSQL, daemon and guards killed at once");
    report_.line("announced: if node1 dies now, " + pg->next + " in about " + ms(double(pg->expected_ms)) + ", loss at most " + std::to_string(pg->loss_bytes) + " B");
    // Its stream to node2 is held first, so that there is something to lose, and something to rewind.
    for (const dev::ProcessInfo& p : cluster_->processes(kOne, dev::Part::kPostgres))
      if (p.command.find("walsender") != std::string::npos) dev::send_signal(p.id, SIGSTOP);
    const std::size_t rows = one_->count();
    need(cluster_->await_that("rows that node2 does not hear of", seconds(5), "", [&] { return one_->count() >= rows + kTailRows; }));
    killed_ = need(cluster_->kill(kOne));
    need(cluster_->await_that("the first row acknowledged by node2", kFailover, cluster_->log_of(kTwo, dev::Part::kDaemon),
                              [&] { return two_->first_after(killed_) != kNever; }));
    gap_ms_ = to_double_ms(two_->first_after(killed_) - killed_);
    report_.line("node2 acknowledges its first row " + ms(gap_ms_) + " after the kill");
    report_.truth("the first row comes within 3000 ms", gap_ms_ <= 3000);
    need(cluster_->await_that("answers through HAProxy again", kFailover, cluster_->folder() + "/haproxy.log",
                              [&] { return proxied_->first_after(killed_ + seconds(1)) != kNever && visitor_->longest_gap(killed_) > milliseconds(500); }));
    proxied_->stop();
    visitor_->stop();
    proxied_pg_ms_ = to_double_ms(dev::longest_gap({proxied_.get()}, killed_, proxied_->last()));
    proxied_gateway_ms_ = to_double_ms(visitor_->longest_gap(killed_));
    proxied_pg_failed_ = proxied_->failed() - pg_failed;
    proxied_gateway_failed_ = visitor_->failed() - gateway_failed;
  }

  void through_haproxy() {
    report_.step("what clients behind HAProxy saw of it");
    report_.line("PostgreSQL: " + std::to_string(proxied_pg_failed_) + " attempts failed, no row was acknowledged for " + ms(proxied_pg_ms_));
    report_.line("gateway: " + std::to_string(proxied_gateway_failed_) + " requests failed, none was answered for " + ms(proxied_gateway_ms_));
    report_.truth("both were served again within 5 s", proxied_pg_ms_ <= 5000 && proxied_gateway_ms_ <= 5000);
    const LogEvent* moved = test::last_of<ServiceMoved>(log_);
    report_.truth("the gateway's move to node2 is an event", moved != nullptr && std::get<ServiceMoved>(moved->event.payload).active == std::vector<NodeId>{kTwo});
    if (moved == nullptr) return;
    const auto said = need(test::explain(*cluster_, kThree, moved->sequence));
    report_.line("why " + std::to_string(moved->sequence.value) + ": " + said.reason());
    for (const v1::CandidateVerdict& c : said.candidates()) report_.line("place     " + c.node() + ": (" + c.rule() + ") " + c.detail());
    report_.truth("the same evidence gives the same decision again", said.agrees());
    report_.keep("haproxy", nlohmann::ordered_json{{"postgres_failed", proxied_pg_failed_}, {"postgres_ms", proxied_pg_ms_}, {"gateway_failed", proxied_gateway_failed_}, {"gateway_ms", proxied_gateway_ms_}});
  }

  void timeline() {
    const auto view = need(cluster_->await(kTwo, "the completed promotion", seconds(10), [](const dev::ClusterView& v) { return v.holder_of(kPostgres) == "node2"; }));
    log_ = need(test::read_log(*cluster_, Sequence{1}, Sequence{view.sequence}, kOne)).events;
    const LogEvent* decided = test::last_of<PromotionDecided>(log_);
    const LogEvent* completed = test::last_of<PromotionCompleted>(log_);
    if (!decided || !completed) throw Failed{"the log has no promotion"};
    decision_ = *decided;
    completion_ = *completed;
    const auto& d = std::get<PromotionDecided>(decision_.event.payload);
    const auto& c = std::get<PromotionCompleted>(completion_.event.payload);
    const double zero = double(test::wall_of(killed_)) / 1e6, at = double(decision_.stored_ns) / 1e6 - zero, done = double(completion_.stored_ns) / 1e6 - zero;
    double silent = 0, votes = 0;
    for (const CandidateEvidence& e : d.evidence.candidates)
      if (e.node == kOne) silent = at - double(e.beat_age_ms);
    for (const VoteEvidence& v : d.evidence.votes) votes = std::max(votes, at - double(v.over_ms));
    const double claimed = at + double(c.claimed_ms), promoted = claimed + double(c.promoted_ms);
    report_.step("the timeline, in ms after the kill");
    struct Moment {
      double when;
      const char* what;
      std::string how;
    };
    std::vector<Moment> moments;
    const auto show = [&](double when, const char* what, const std::string& how) { moments.push_back({when, what, how}); };
    show(silent, "silent", "node1's last beat that " + decision_.event.header.node.value + " heard");
    show(0, "killed", "SIGKILL to every process of node1");
    show(votes, "votes", std::to_string(d.evidence.votes.size()) + " of " + std::to_string(d.evidence.voters) + " voters have no promise to node1 left");
    show(at, "decided", "event " + std::to_string(decision_.sequence.value) + ", epoch " + std::to_string(decision_.event.header.epoch.value) + ": " + decision_.event.header.reason);
    show(claimed, "claimed", "a majority promised to node2's session");
    show(promoted, "promoted", "node2's PostgreSQL is open for writing");
    show(gap_ms_, "first write", "acknowledged to the writer at node2");
    show(done, "completed", "event " + std::to_string(completion_.sequence.value) + " is stored");
    std::ranges::stable_sort(moments, {}, &Moment::when);
    nlohmann::ordered_json lines = nlohmann::ordered_json::array();
    for (const Moment& m : moments) {
      char text[64];
      std::snprintf(text, sizeof text, "%+7.0f  %-11s ", m.when, m.what);
      report_.line(text + m.how);
      lines.push_back({{"ms", m.when}, {"what", m.what}, {"text", m.how}});
    }
    report_.keep("timeline", lines);
    // A writer that tries every 5 ms may be served before node2 itself has seen that its engine is open.
    report_.truth("in this order: killed, votes, decided, claimed, first write",
                  votes >= 0 && at >= votes && claimed >= at && gap_ms_ + kClockMs >= claimed);
    report_.truth("a new epoch, for another node", d.to == kTwo && decision_.event.header.epoch.value >= 2);
  }

  void return_of_node1() {
    report_.step("node1 returns");
    const Instant from = node_now();
    const std::size_t before = one_->count();
    need(cluster_->start(kOne));
    need(cluster_->await(kTwo, "node1 streaming from node2", kRejoin, [](const dev::ClusterView& v) { return v.streams(kPostgres, "node1"); }));
    rejoin_ms_ = to_double_ms(node_now() - from);
    need(cluster_->await_that("node1's answer to its writer", seconds(10), "", [&] { return one_->last_error().find("read-only") != std::string::npos; }));
    report_.truth("node1 stays read-only: its writer gets nothing acknowledged", one_->count() == before);
    const auto c = need(cluster_->superuser(kOne, seconds(2)));
    report_.truth("node1's PostgreSQL is in recovery", need(c->query("select pg_is_in_recovery()", seconds(2)))[0][0] == "t");
    const LogEvent* rejoined = nullptr;
    (void)cluster_->await_that("ReplicaRejoined", seconds(10), "", [&] {
      const auto view = cluster_->view(kTwo);
      const auto read = view ? test::read_log(*cluster_, Sequence{1}, Sequence{view->sequence}, kOne) : fail(Remedy::kRetry, "no answer");
      if (read) log_ = read->events;
      rejoined = test::last_of<ReplicaRejoined>(log_, completion_.sequence);
      return rejoined != nullptr;
    });
    const std::string method = rejoined ? std::get<ReplicaRejoined>(rejoined->event.payload).method : "nothing in the log";
    report_.line("back and streaming after " + ms(rejoin_ms_) + ", by " + method);
    report_.truth("node1 rewinds what only it had, and follows node2", method == "rewind");
    report_.keep("rejoin", nlohmann::ordered_json{{"ms", rejoin_ms_}, {"method", method}});
  }

  void switchover_home() {
    need(cluster_->await_settled(kRejoin));
    report_.step("switchover home to node1");
    const Instant asked = node_now();
    need(test::switchover(*cluster_, kThree, kOne, "demo: home again"));
    need(cluster_->await_that("a row acknowledged by node1", kFailover, cluster_->log_of(kOne, dev::Part::kDaemon),
                              [&] { return one_->first_after(asked) != kNever; }));
    const Instant first = one_->first_after(asked);
    switch_ms_ = to_double_ms(dev::longest_gap({one_.get(), two_.get()}, asked, first));
    report_.line("asked to first row " + ms(to_double_ms(first - asked)) + ", without a writer for " + ms(switch_ms_));
    need(cluster_->await_settled(kRejoin));
  }

  void count_rows() {
    report_.step("rows acknowledged against rows present");
    one_->stop();
    two_->stop();
    const auto lost_one = need(dev::missing_rows(cluster_->application(kOne), *one_, seconds(5)));
    const auto lost_two = need(dev::missing_rows(cluster_->application(kOne), *two_, seconds(5)));
    lost_ = static_cast<std::size_t>(std::ranges::count_if(lost_one, [&](const dev::ProbeWrite& w) { return w.at <= killed_ + milliseconds(100); }));
    lost_later_ = lost_one.size() - lost_ + lost_two.size();
    const std::uint64_t bound = std::get<PromotionDecided>(decision_.event.payload).loss_bytes;
    const double lost_bytes = double(lost_) * row_bytes_;
    within_ = lost_bytes <= double(bound);
    report_.line(std::to_string(one_->count() + two_->count()) + " acknowledged: " + std::to_string(one_->count()) + " by node1, " + std::to_string(two_->count()) + " by node2");
    report_.line("lost by the failover: " + std::to_string(lost_) + " rows, about " + std::to_string(static_cast<long>(lost_bytes)) + " B; the decision announced at most " + std::to_string(bound) + " B");
    report_.truth("the loss of the failover is within the announced bound", within_);
    report_.truth("the switchover lost no row", lost_later_ == 0);
    report_.keep("rows", nlohmann::ordered_json{{"acknowledged", one_->count() + two_->count()}, {"lost_by_failover", lost_}, {"lost_bytes", lost_bytes},
                                                {"announced_bytes", bound}, {"lost_by_switchover", lost_later_}});
  }

  void why() {
    report_.step("why " + std::to_string(decision_.sequence.value));
    const auto said = need(test::explain(*cluster_, kThree, decision_.sequence));
    report_.line(said.kind() + " to " + said.to() + ", epoch " + std::to_string(said.epoch()) + ", by " + said.decider() + ": " + said.reason());
    for (const v1::VoteView& v : said.votes())
      report_.line("vote      " + v.voter() + ": promise over for " + ms(double(v.over_ms())) + ", highest epoch " + std::to_string(v.highest_epoch()));
    nlohmann::ordered_json verdicts = nlohmann::ordered_json::array();
    for (const v1::CandidateVerdict& c : said.candidates()) {
      report_.line("candidate " + c.node() + ": " + (c.eligible() ? "eligible" : "no") + " (" + c.rule() + ") " + c.detail());
      verdicts.push_back({{"node", c.node()}, {"eligible", c.eligible()}, {"rule", c.rule()}, {"detail", c.detail()}});
    }
    report_.keep("why", nlohmann::ordered_json{{"sequence", decision_.sequence.value}, {"to", said.to()}, {"agrees", said.agrees()}, {"candidates", verdicts}});
    report_.truth("every candidate has a verdict, and the same evidence gives the same decision again", said.candidates_size() == 2 && said.agrees());
  }

  void one_digest() {
    report_.step("replay");
    Sequence to;
    need(cluster_->await_that("all nodes at the same event", seconds(20), "", [&] {
      const auto a = cluster_->view(kOne), b = cluster_->view(kTwo), c = cluster_->view(kThree);
      if (!a || !b || !c) return false;
      to = Sequence{a->sequence};
      return a->sequence == b->sequence && b->sequence == c->sequence;
    }));
    std::vector<std::string> digests;
    bool equal = true;
    for (const NodeId& node : {kOne, kTwo, kThree}) {
      const auto done = need(test::replay(*cluster_, node, to));
      report_.line(node.value + "  " + std::to_string(done.sequence()) + " events  digest " + done.digest() + (done.live_digest().empty() ? "" : done.equal() ? "  as folded live" : "  LIVE DIFFERS"));
      equal = equal && (done.live_digest().empty() || done.equal());
      digests.push_back(done.digest());
    }
    const auto mirror = need(test::read_mirror(*cluster_, kThree, to));
    digests.push_back(to_text(mirror.digest));
    report_.line("mirror " + std::to_string(to.value) + " events  digest " + digests.back() + "  (the edge's copy, folded by the demo itself)");
    report_.truth("one digest on node1, node2, node3 and the edge's mirror", equal && std::ranges::adjacent_find(digests, std::not_equal_to<>{}) == digests.end());
    report_.keep("digest", digests.front());
  }

  test::ScratchCluster cluster_;
  Report& report_;
  std::unique_ptr<dev::ProbeWriter> one_, two_, proxied_;  // the last through HAProxy
  std::unique_ptr<Visitor> visitor_;
  double proxied_pg_ms_ = 0, proxied_gateway_ms_ = 0;
  std::size_t proxied_pg_failed_ = 0, proxied_gateway_failed_ = 0;
  std::vector<LogEvent> log_;
  LogEvent decision_, completion_;
  Instant killed_{};
  double row_bytes_ = 0, gap_ms_ = 0, rejoin_ms_ = 0, switch_ms_ = 0;
  std::size_t lost_ = 0, lost_later_ = 0;
  bool within_ = false;
};

int run(bool keep, const std::string& json) {
  Report report;
  auto cluster = test::ScratchCluster::make(3, [&report](const std::string& line) { report.line(line); });
  if (!cluster) {
    std::fprintf(stderr, "daarion-demo: %s\n", cluster.error().message.c_str());
    return 1;
  }
  Demo demo(std::move(*cluster), report);
  try {
    demo.run();
  } catch (const Failed& failed) {
    report.truth("the story goes on: " + failed.why, false);
  }
  report.truth("all of it in less than 120 s", report.seconds() < 120);
  std::printf("\n");
  demo.figures();
  const bool written = report.write(json);
  if (keep) demo.keep();
  std::printf("%s\n", report.all_true() ? "everything above is true" : "NOT everything above is true");
  return report.all_true() && written ? 0 : 1;
}

}  // namespace
}  // namespace daarion::demo

int main(int argc, char** argv) {
  bool keep = false;
  std::string json = "build/demo.json";
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--keep") == 0) keep = true;
    else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) json = argv[++i];
    else {
      std::fprintf(stderr, "usage: daarion-demo [--keep] [--json FILE]\n");
      return 2;
    }
  }
  return daarion::demo::run(keep, json);
}
