// `make demo`: a cluster of three nodes loses the one that writes, and everything that is promised of that moment is shown and checked.
#include "tests/demo/demo.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>

#include "controlplane/node/clock.h"
#include "tests/cluster/service_rig.h"
#include "tests/harness/figures.h"

namespace daarion::demo {
namespace {

constexpr Duration kUp = seconds(60);

}  // namespace

std::string ms(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f ms", v);
  return text;
}

void Demo::run() {
  start();
  lose_node1();
  timeline();
  redis_moved();
  qdrant_goes_on();
  through_haproxy();
  return_of_node1();
  incident();
  switchover_home();
  count_rows();
  why();
  one_digest();
}

void Demo::figures() const {
  test::say_machine(test::server_versions());
  const auto show = [](const char* name, double value, const char* unit, const char* limit, bool ok) {
    test::say({.name = name, .value = value, .unit = unit, .samples = {}, .limit = limit, .ok = ok});
  };
  show("demo_kill_to_first_write_ms", gap_ms_, "ms", "<=3000", gap_ms_ > 0 && gap_ms_ <= 3000);
  show("demo_redis_kill_to_first_write_ms", redis_gap_ms_, "ms", "", redis_gap_ms_ > 0);
  show("demo_redis_word_to_log_ms", redis_logged_ms_, "ms", "<=1000", redis_followed_);
  show("demo_qdrant_kill_to_log_ms", qdrant_logged_ms_, "ms", "", qdrant_logged_ms_ > 0);
  show("demo_haproxy_postgres_without_ms", proxied_pg_ms_, "ms", "", proxied_pg_ms_ > 0);
  show("demo_haproxy_postgres_failed", double(proxied_pg_failed_), "requests", "", true);
  show("demo_haproxy_gateway_without_ms", proxied_gateway_ms_, "ms", "", proxied_gateway_ms_ > 0);
  show("demo_haproxy_gateway_failed", double(proxied_gateway_failed_), "requests", "", true);
  show("demo_rejoin_ms", rejoin_ms_, "ms", "", rejoin_ms_ > 0);
  show("demo_all_engines_whole_ms", whole_ms_, "ms", "", whole_ms_ > 0);
  show("demo_switchover_gap_ms", switch_ms_, "ms", "<=1000", switch_ms_ > 0 && switch_ms_ <= 1000);
  show("demo_rows_lost_by_failover", double(lost_), "rows", "announced", within_);
  show("demo_rows_lost_by_switchover", double(lost_later_), "rows", "0", lost_later_ == 0);
}

void Demo::keep() {
  cluster_.keep();
  const std::string run = "DAARION_RUN=" + cluster_->folder() + " ";
  std::printf("\nkept: %s\ntry   %sdaarionctl dev status\n      %sdaarionctl dev kill node1\n      %sdaarionctl dev start node1\n"
              "      curl http://%s:%u/cluster/status\n      %sdaarionctl dev down\n",
              cluster_->folder().c_str(), run.c_str(), run.c_str(), run.c_str(), cluster_->address_of(kOne).c_str(), cluster_->file().http_port, run.c_str());
}

Result<void> Demo::read_log() {
  const auto view = cluster_->view(kTwo);
  if (!view) return tl::unexpected(view.error());
  auto read = test::read_log(*cluster_, Sequence{1}, Sequence{view->sequence}, kOne);
  if (!read) return tl::unexpected(read.error());
  log_ = std::move(read->events);
  return {};
}

void Demo::start() {
  report_.step("a cluster of three nodes: PostgreSQL, Redis and a gateway on node1 and node2; on all three NATS, a sentinel of Redis, Qdrant, a vote; "
               "HAProxy before them");
  test::add_to_file(*cluster_, "services:\n  gateway: {port: " + std::to_string(kGateway) + ", health: /health, on: {node1: active, node2: standby}}\n");
  for (const NodeId& node : {kOne, kTwo}) need(test::start_stand_in(*cluster_, node, {kGateway}));
  need(cluster_->start_all());
  const auto view = need(cluster_->await_settled(kUp));
  report_.truth("PostgreSQL: node1 writes, node2 streams, every node is ready", view.holder_of(kPostgres) == "node1" && view.streams(kPostgres, "node2"));
  start_postgres();
  start_engines();
  const auto leaders = need(cluster_->await_leaders_off({kOne}, seconds(40)));
  report_.line("leaders are kept off the node that writes: log " + leaders.log + ", meta " + leaders.meta);
}

void Demo::lose_node1() {
  row_bytes_ = bytes_per_row();
  put_haproxy_before();
  const auto view = need(cluster_->view(kTwo));
  const dev::ResourceSeen* pg = view.resource(kPostgres);
  before_ = Sequence{view.sequence};
  report_.step("node1 loses power: nats-server, PostgreSQL, Redis and its sentinel, Qdrant, daemon and guards killed at once");
  report_.line("announced: if node1 dies now, " + pg->next + " in about " + ms(double(pg->expected_ms)) + ", loss at most " +
               std::to_string(pg->loss_bytes) + " B");
  hold_the_stream();
  killed_ = need(cluster_->kill(kOne));
  need(cluster_->await_that("the first row acknowledged by node2", kFailover, cluster_->log_of(kTwo, dev::Part::kDaemon),
                            [&] { return two_->first_after(killed_) != kNever; }));
  gap_ms_ = to_double_ms(two_->first_after(killed_) - killed_);
  report_.line("node2's PostgreSQL acknowledges its first row " + ms(gap_ms_) + " after the kill");
  report_.truth("the first row comes within 3000 ms", gap_ms_ <= 3000);
  ask_through_haproxy();
}

void Demo::return_of_node1() {
  report_.step("node1 returns");
  returned_ = node_now();
  need(test::start_stand_in(*cluster_, kOne, {kGateway}));
  need(cluster_->start(kOne));
  node1_is_a_replica();
  engines_are_whole();
}

void Demo::one_digest() {
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
    report_.line(node.value + "  " + std::to_string(done.sequence()) + " events  digest " + done.digest() +
                 (done.live_digest().empty() ? "" : done.equal() ? "  as folded live" : "  LIVE DIFFERS"));
    equal = equal && (done.live_digest().empty() || done.equal());
    digests.push_back(done.digest());
  }
  const auto mirror = need(test::read_mirror(*cluster_, kThree, to));
  digests.push_back(to_text(mirror.digest));
  report_.line("mirror " + std::to_string(to.value) + " events  digest " + digests.back() + "  (the edge's copy, folded by the demo itself)");
  report_.truth("one digest on node1, node2, node3 and the edge's mirror",
                equal && std::ranges::adjacent_find(digests, std::not_equal_to<>{}) == digests.end());
  report_.keep("digest", digests.front());
}

namespace {

/// Programs that the demo cannot do without and that the cluster itself would miss only later.
std::string missing() {
  std::string out;
  for (const auto& [program, question] : {std::pair("redis-server", "--version"), std::pair("haproxy", "-v")})
    if (const auto said = dev::run_to_end({program, question}, ""); !said) out += (out.empty() ? "" : "; ") + said.error().message;
  return out;
}

int run(bool keep, const std::string& json) {
  Report report;
  if (const std::string what = missing(); !what.empty()) {
    std::fprintf(stderr, "daarion-demo: %s; `make bootstrap` installs Debian's (deploy/debian-packages.txt)\n", what.c_str());
    return 1;
  }
  const std::set<std::string> engines{kPostgres, "redis-sentinel", kQdrant};
  auto cluster = test::ScratchCluster::make(3, [&report](const std::string& line) { report.line(line); }, "", false, "postgres", engines);
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
