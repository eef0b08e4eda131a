// `make bench-failover N=20`: from the failure to the first row that an application gets acknowledged, in five kinds of failure, with the
// default timers. Limits are the product's promises: a missed one is an exit code of 1. ENGINE=redis: Redis instead of PostgreSQL, and
// beside it, in the same run, Sentinel alone.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "controlplane/node/clock.h"
#include "streams/log_stream.h"
#include "streams/meta_leader.h"
#include "tests/bench/failover_rig.h"
#include "tests/bench/sentinel_alone.h"

namespace daarion::bench {
namespace {

using dev::Part;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::need;

constexpr Duration kSteered = seconds(60);   // deciders try every 2 s
constexpr Duration kPlaced = seconds(60);
constexpr Duration kFault = seconds(6);      // of a server: longer than a lease, and than most elections
constexpr int kBusyRuns = 5;
constexpr Duration kStep = milliseconds(300);
constexpr int kSentinelRuns = 5;  // each takes a down-after and a resync
constexpr double kHostLossMs = 3000;
struct CrashLimit {
  double p50_ms, max_ms;
};
constexpr CrashLimit kPostgresCrash{300, 1000}, kRedisCrash{25, 250};

struct Options {
  int n = 20;
  std::string engine = kPostgres;
  std::string only;  // empty: all that the engine has
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)), rig_(options_.engine) {
    if (options_.only.empty()) options_.only = options_.engine == kPostgres ? "abcde" : "abds";
  }

  bool run() {
    const auto wanted = [&](char part) { return options_.only.find(part) != std::string::npos; };
    if (wanted('a')) host_loss();
    if (wanted('b')) engine_crash();
    if (wanted('c')) busy_backend();
    if (wanted('d')) planned();
    if (wanted('e')) servers();
    if (wanted('s'))
      for (const int down_after_ms : {5000, 1000}) sentinel(down_after_ms);
    test::say_machine(test::server_versions(), rig_.repeated(), rig_.stall_max_ms());
    bool ok = true;
    for (const test::Figure& f : figures_) ok = test::say(f) && ok;
    return ok;
  }

 private:
  void progress(const char* what, int i, int n, double ms) {
    std::printf("  %s %d of %d: %.0f ms\n", what, i + 1, n, ms);
    std::fflush(stdout);
  }

  /// The present holder's host is lost, and comes back.
  double lose_host(const std::function<void(const NodeId&)>& prepare) {
    return rig_.fair([&] {
      const NodeId holder = rig_.settle();
      prepare(holder);
      const Sequence before = rig_.head(rig_.bystander(holder));
      const Instant killed = need(rig_.cluster().kill(holder));
      const double ms = in_ms(rig_.first_write_after(node_now()) - killed);  // not one of the burst's own milliseconds
      if (ms > kHostLossMs) rig_.tell_since(before);
      need(rig_.cluster().start(holder));
      return ms;
    });
  }

  void host_loss() {
    std::vector<double> samples;
    for (int i = 0; i < options_.n; ++i) {
      samples.push_back(lose_host([&](const NodeId& holder) { need(rig_.cluster().await_leaders_off({holder}, kSteered)); }));
      progress("host loss", i, options_.n, samples.back());
    }
    const double max = *std::ranges::max_element(samples);
    figures_.push_back({.name = named("failover_host_loss_ms"), .value = max, .unit = "ms", .samples = samples, .limit = "max<=3000", .ok = max <= kHostLossMs});
    if (options_.engine != kPostgres) return;  // the lost host's other roles matter to no engine more than to another
    const std::pair<const char*, std::function<void(const NodeId&)>> placed[] = {
        {"failover_host_loss_log_leader_ms", [&](const NodeId& n) { place_log_leader(n); }},
        {"failover_host_loss_meta_leader_ms", [&](const NodeId& n) { place_meta_leader(n); }},
        {"failover_host_loss_consumers_ms", [&](const NodeId& n) { place_consumers(n); }}};
    for (const auto& [name, place] : placed) {
      const double ms = lose_host(place);
      progress(name, 0, 1, ms);
      figures_.push_back({.name = name, .value = ms, .unit = "ms", .samples = {}, .limit = "", .ok = true});
    }
  }

  bool is_of(const std::string& server, const NodeId& node) {
    return std::ranges::any_of(rig_.cluster().servers(), [&](const NatsServerPlan& s) { return s.name == server && s.node == node; });
  }
  /// Steps leaders down until the wanted one leads; the deciders steer against it, so it is checked last before the kill.
  void place(const char* what, const std::function<std::string()>& leader, const std::function<void()>& step_down, const NodeId& node) {
    Instant stepped{};
    need(rig_.cluster().await_that(std::string(what) + " on " + node.value, kPlaced, "", [&] {
      const std::string now = leader();
      if (is_of(now, node)) return true;
      if (!now.empty() && node_now() - stepped > kStep) {
        step_down();
        stepped = node_now();
      }
      return false;
    }));
  }
  void place_log_leader(const NodeId& node) {
    const auto c = need(test::core_connection(rig_.cluster(), node, seconds(5)));
    place("the log's leader", [&] { return stream_leader(*c, kClusterLog, milliseconds(300)); },
          [&] { (void)step_down_stream_leader(*c, kClusterLog, seconds(1)); }, node);
  }
  void place_meta_leader(const NodeId& node) {
    const auto c = need(test::sys_connection(rig_.cluster(), node, seconds(5)));
    place("the meta group's leader", [&] { return meta_leader(*c, milliseconds(300)); }, [&] { (void)step_down_meta_leader(*c, seconds(1)); }, node);
  }
  /// JetStream's own consumer for the edge's mirror is made where the log's leader is when the mirror attaches. (Readers have none
  /// but while they catch up: the tail comes by cluster.events.>, on two connections.)
  void place_consumers(const NodeId& node) {
    place_log_leader(node);
    need(rig_.cluster().kill(NodeId("node3"), Part::kNats));
    need(rig_.cluster().start(NodeId("node3"), Part::kNats));
    need(rig_.cluster().await_leaders_off({node}, kSteered));
    (void)rig_.settle();
  }

  void engine_crash() {
    const CrashLimit limit = options_.engine == kPostgres ? kPostgresCrash : kRedisCrash;
    std::vector<double> samples;
    for (int i = 0; i < options_.n; ++i) {
      samples.push_back(rig_.fair([&] {
        const NodeId holder = rig_.settle();
        const Sequence before = rig_.head(rig_.bystander(holder));
        const Instant killed = need(rig_.cluster().kill(holder, rig_.engine()));
        const double ms = in_ms(rig_.first_write_after_kill(holder, killed) - killed);
        if (ms > limit.max_ms) rig_.tell_since(before);
        return ms;
      }));
      progress((options_.engine + " killed").c_str(), i, options_.n, samples.back());
    }
    const double p50 = test::median(samples), max = *std::ranges::max_element(samples);
    figures_.push_back({.name = named("failover_engine_crash_ms"), .value = p50, .unit = "ms", .samples = samples,
                        .limit = "p50<=" + whole(limit.p50_ms) + ",max<=" + whole(limit.max_ms), .ok = p50 <= limit.p50_ms && max <= limit.max_ms});
  }

  void busy_backend() {
    std::vector<double> release, late;
    std::size_t commits = 0;
    for (int i = 0; i < std::min(options_.n, kBusyRuns); ++i) {
      LateCommits seen;
      release.push_back(rig_.fair([&] {
        seen = postmaster_alone(rig_);
        return seen.kill_to_release_ms;
      }));
      late.push_back(double(seen.late));
      commits += seen.after_kill;
      std::printf("  postmaster alone: released %.0f ms after the kill; a backend committed %zu times, %zu of them after the kill, the last after %.0f ms\n",
                  seen.kill_to_release_ms, seen.commits, seen.after_kill, seen.last_commit_ms);
      std::fflush(stdout);
    }
    const double most = *std::ranges::max_element(late);
    // Without one commit after a kill nothing was put to the test.
    figures_.push_back({.name = "postmaster_alone_late_commits", .value = most, .unit = "commits", .samples = late, .limit = "0", .ok = most == 0 && commits > 0});
    figures_.push_back({.name = "postmaster_alone_release_ms", .value = test::median(release), .unit = "ms", .samples = release, .limit = "", .ok = true});
  }

  void planned() {
    rig_.settle();
    rig_.fresh_writers();
    std::vector<double> gaps, asked_to_row;
    for (int i = 0; i < options_.n; ++i) {
      gaps.push_back(rig_.fair([&] {
        const NodeId holder = rig_.settle(), to = rig_.other(holder);
        const Instant asked = node_now();
        need(test::switchover(rig_.cluster(), rig_.bystander(holder), to, "bench", options_.engine));
        need(rig_.cluster().await_that("a row acknowledged by " + to.value, seconds(30), rig_.cluster().log_of(to, Part::kDaemon),
                                       [&] { return rig_.writer(to).first_after(asked) != kNever; }));
        const Instant first = rig_.writer(to).first_after(asked);
        asked_to_row.push_back(in_ms(first - asked));
        return in_ms(dev::longest_gap(rig_.writers(), asked, first).length());
      }));
      progress("switchover", i, options_.n, gaps.back());
    }
    const std::size_t missing = rig_.missing_rows(rig_.settle());
    const double p50 = test::median(gaps), max = *std::ranges::max_element(gaps);
    figures_.push_back({.name = named("switchover_without_writer_ms"), .value = p50, .unit = "ms", .samples = gaps, .limit = "p50<=500,max<=1000", .ok = p50 <= 500 && max <= 1000});
    figures_.push_back({.name = named("switchover_asked_to_row_ms"), .value = test::median(asked_to_row), .unit = "ms", .samples = asked_to_row, .limit = "", .ok = true});
    figures_.push_back({.name = named("switchover_lost_rows"), .value = double(missing), .unit = "rows", .samples = {}, .limit = "0", .ok = missing == 0});
  }

  /// Each nats-server in turn is away for a while: nobody may lose the lease for it.
  void servers() {
    std::vector<double> killed, frozen;
    double demoted = 0;
    for (const NatsServerPlan& server : rig_.cluster().servers()) {
      const Part part = server.kind == NatsServerPlan::Kind::kWitness ? Part::kWitness : Part::kNats;
      for (const bool freeze : {false, true}) {
        std::vector<double>& gaps = freeze ? frozen : killed;
        gaps.push_back(rig_.fair([&] {
          const NodeId holder = rig_.settle();
          const std::uint64_t epoch = need(rig_.cluster().view(holder)).resource(kPostgres)->epoch;
          const Instant from = node_now();
          if (freeze) need(rig_.cluster().pause(server.node, part));
          else need(rig_.cluster().kill(server.node, part));
          std::this_thread::sleep_for(kFault);  // the fault's own length
          if (freeze) need(rig_.cluster().resume(server.node, part));
          else need(rig_.cluster().start(server.node, part));
          const NodeId after = rig_.settle();
          const auto view = need(rig_.cluster().view(after));
          if (after != holder || view.resource(kPostgres)->epoch != epoch) {
            ++demoted;
            std::printf("  %s was demoted when %s was %s\n", holder.value.c_str(), server.name.c_str(), freeze ? "frozen" : "killed");
          }
          return in_ms(dev::longest_gap(rig_.writers(), from, node_now()).length());
        }));
        std::printf("  nats-server %s %s for 6 s: longest write gap %.0f ms\n", server.name.c_str(), freeze ? "frozen" : "killed", gaps.back());
        std::fflush(stdout);
      }
    }
    figures_.push_back({.name = "nats_server_lost_demotions", .value = demoted, .unit = "demotions", .samples = {}, .limit = "0", .ok = demoted == 0});
    figures_.push_back({.name = "nats_server_killed_write_gap_ms", .value = *std::ranges::max_element(killed), .unit = "ms", .samples = killed, .limit = "", .ok = true});
    figures_.push_back({.name = "nats_server_frozen_write_gap_ms", .value = *std::ranges::max_element(frozen), .unit = "ms", .samples = frozen, .limit = "", .ok = true});
  }

  /// The same servers under three sentinels and nothing of ours: for comparison, without a limit.
  void sentinel(int down_after_ms) {
    std::vector<double> lost, killed;
    const int runs = std::min(options_.n, kSentinelRuns);
    SentinelAlone alone(down_after_ms);
    for (int i = 0; i < runs; ++i) {
      lost.push_back(rig_.fair([&] { return alone.lose_host(); }));
      progress("Sentinel alone, host loss", i, runs, lost.back());
      killed.push_back(rig_.fair([&] { return alone.kill_server(); }));
      progress("Sentinel alone, redis killed", i, runs, killed.back());
    }
    const std::string name = "sentinel_alone_" + std::to_string(down_after_ms);
    figures_.push_back({.name = name + "_host_loss_ms", .value = *std::ranges::max_element(lost), .unit = "ms", .samples = lost, .limit = "", .ok = true});
    figures_.push_back({.name = name + "_engine_crash_ms", .value = test::median(killed), .unit = "ms", .samples = killed, .limit = "", .ok = true});
  }

  std::string named(const char* figure) const { return (options_.engine == kPostgres ? "" : options_.engine + "_") + figure; }
  static std::string whole(double ms) { return std::to_string(static_cast<int>(ms)); }

  Options options_;
  Rig rig_;
  std::vector<test::Figure> figures_;
};

}  // namespace
}  // namespace daarion::bench

int main(int argc, char** argv) {
  daarion::bench::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--n") == 0) options.n = std::max(1, std::atoi(argv[i + 1]));
    if (std::strcmp(argv[i], "--engine") == 0) options.engine = argv[i + 1];
    if (std::strcmp(argv[i], "--only") == 0) options.only = argv[i + 1];
  }
  try {
    return daarion::bench::Bench(options).run() ? 0 : 1;
  } catch (const daarion::test::Failed& failed) {
    std::fprintf(stderr, "daarion-bench-failover: %s\n", failed.why.c_str());
    return 1;
  }
}
