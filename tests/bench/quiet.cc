// `make quiet MINUTES=`: a healthy cluster on a machine with more to do than it has cores for, default timers. Nothing may fail over.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "controlplane/node/clock.h"
#include "tests/bench/failover_rig.h"
#include "tests/harness/busy_loops.h"
#include "tests/harness/record.h"
#include "tests/harness/stalls.h"

namespace daarion::bench {
namespace {

using std::chrono::seconds;
using test::need;

constexpr Duration kLook = seconds(5);

struct Options {
  double minutes = 30;
  unsigned load = 2;
  std::string ledger, document;
};

/// The closest call that a node reports: how far a holder's acks were from its guard's deadline, and who was slow.
struct Closest {
  std::uint64_t ms = 0;
  std::string slowest;
};

class Quiet {
 public:
  explicit Quiet(const Options& o) : o_(o) {}

  bool run() {
    holder_ = rig_.settle();
    const Sequence before = rig_.head(rig_.bystander(holder_));
    const Instant from = node_now();
    const long long stolen = test::steal_ms();
    {
      const test::BusyLoops load(o_.load);
      std::printf("%s holds postgres; %zu busy loops beside it for %g minutes\n", holder_.value.c_str(), load.count(), o_.minutes);
      for (const Instant end = from + std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::ratio<60>>(o_.minutes)); node_now() < end;) {
        std::this_thread::sleep_for(std::min(kLook, end - node_now()));
        look();
      }
    }
    const Instant to = node_now();
    const double gap = in_ms(dev::longest_gap(rig_.writers(), from, to).length());
    int failovers = 0, others = 0;
    for (const LogEvent& e : rig_.log_since(before, NodeId(), holder_)) {
      const auto& p = e.event.payload;
      const bool decided = std::holds_alternative<PromotionDecided>(p);
      failovers += decided;
      others += !decided;
    }
    rig_.tell_since(before);
    rig_.settle();  // it is whole
    const std::size_t missing = rig_.missing_rows(holder_);
    std::size_t rows = 0;
    for (const dev::ProbeWriter* w : rig_.writers()) rows += w->count();

    const double stopped = double(test::longest_stall(std::chrono::steady_clock::now() - (to - from)).count());
    test::say_machine(test::server_versions(), 0);
    bool ok = say("quiet_false_failovers", failovers, "decisions", "0", failovers == 0);
    ok = say("quiet_lease_margin_min_ms", closest_.ms, "ms", ">0", looked_ && closest_.ms > 0) && ok;
    std::printf("  the closest call was by %s, waiting for %s\n", closest_by_.c_str(), closest_.slowest.c_str());
    ok = say("quiet_longest_write_gap_ms", gap, "ms", "", true) && ok;
    ok = say("quiet_rows_lost", double(missing), "rows", "0", missing == 0) && ok;
    say("quiet_other_events", others, "events", "", true);
    say("quiet_machine_stopped_ms", stopped, "ms", "", true);
    char volume[64], row[256];
    std::snprintf(volume, sizeof volume, "%g minutes at %ux CPU", o_.minutes, o_.load);
    std::snprintf(row, sizeof row, "| %s | %d | %llu ms, by %s | %.0f ms | %zu of %zu | %.0f ms, %lld ms stolen |\n", volume, failovers, static_cast<unsigned long long>(closest_.ms),
                  closest_.slowest.c_str(), gap, missing, rows, stopped, test::steal_ms() - stolen);
    std::string table = "| run | failovers | closest that acks came to the guard's deadline | longest time without a write | rows lost | longest stop of the machine |\n|---|---|---|---|---|---|\n";
    table += row;
    std::printf("\n%s", table.c_str());
    if (ok && !o_.document.empty()) ok = test::put_table(o_.document, "make quiet", table);
    return test::append_ledger(o_.ledger, {.tier = "quiet", .volume = volume, .faults = 0, .result = std::to_string(failovers) + " false failovers"}) && ok;
  }

 private:
  bool say(const std::string& name, double value, const std::string& unit, const std::string& limit, bool ok) {
    return test::say({.name = name, .value = value, .unit = unit, .samples = {}, .limit = limit, .ok = ok});
  }
  void look() {
    for (const NodeId& node : rig_.cluster().nodes()) {
      const auto view = rig_.cluster().view(node);
      if (!view || !view->lease_margin_min_ms) continue;
      if (looked_ && *view->lease_margin_min_ms >= closest_.ms) continue;
      looked_ = true;
      closest_ = {*view->lease_margin_min_ms, view->lease_margin_slowest};
      closest_by_ = node.value;
    }
  }

  const Options& o_;
  Rig rig_;
  NodeId holder_;
  bool looked_ = false;
  Closest closest_;
  std::string closest_by_;
};

int main_of(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (key == "--minutes" && value && std::atof(value) > 0) o.minutes = std::atof(argv[++i]);
    else if (key == "--load" && value) o.load = static_cast<unsigned>(std::atoi(argv[++i]));
    else if (key == "--ledger" && value) o.ledger = argv[++i];
    else if (key == "--table" && value) o.document = argv[++i];
    else
      return std::fprintf(key == "--help" ? stdout : stderr, "usage: daarion-quiet [--minutes M] [--load N] [--ledger FILE] [--table FILE]\n"
                          "  --minutes  how long; default 30\n"
                          "  --load     busy loops for each core; default 2\n"
                          "  --ledger   append one line about this run to that file\n"
                          "  --table    writes what was found between its marks in that document\n"), key == "--help" ? 0 : 2;
  }
  (void)test::longest_stall();  // its watch begins
  try {
    return Quiet(o).run() ? 0 : 1;
  } catch (const test::Failed& failed) {
    std::fprintf(stderr, "daarion-quiet: %s\n", failed.why.c_str());
    return 1;
  }
}

}  // namespace
}  // namespace daarion::bench

int main(int argc, char** argv) { return daarion::bench::main_of(argc, argv); }
