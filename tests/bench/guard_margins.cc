// `make guard-margins`: how close an engine that does not want to end comes to the end of its lease, under a guard pair alone, with everything
// else done to that pair. Prints a figure per situation, and writes the table between two marks of a document.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include <spdlog/spdlog.h>

#include "controlplane/core/topology_spec.h"
#include "controlplane/node/clock.h"
#include "tests/bench/guarded_engine.h"
#include "tests/harness/busy_loops.h"
#include "tests/harness/figures.h"
#include "tests/harness/record.h"
#include "tests/harness/stalls.h"

namespace daarion::bench {
namespace {

using std::chrono::milliseconds;

constexpr Duration kLease = milliseconds(1000);      // from taking a session to the guard's deadline; a beat extends it by as much
constexpr Duration kPastLease = milliseconds(300);   // a machine that wakes late does so that long after the lease's end
constexpr int kTries = 3;                            // of a trial beside which the machine itself stood still
constexpr double kLateWakeMs = 100;                  // what docs/safety.md says of a late wake
const Duration kFenceBudget = TopologySpec{}.lease.fence_budget;

// The guards outlive whoever started them, so an interrupt waits for the end of the trial.
volatile sig_atomic_t interrupted = 0;

struct Trial {
  test::GuardPair& pair;
  Instant lease_end;
  Instant counted_from{};  // the deadline, or the moment of what was done instead
  std::unique_ptr<test::BusyLoops> load{};

  void signal(const char* comm, int what) {
    for (const pid_t pid : pair.processes(comm)) kill(pid, what);
  }
};

struct Situation {
  const char* name;
  const char* text;
  const char* from;  // what the first numbers count from
  void (*act)(Trial&);
  bool late = false;  // commits after the lease's end are in its nature: how many milliseconds of them is what counts
};

void stop_descriptors(Trial& t) {
  const rlimit none{6, 6};  // what is open stays open; poll() wants the limit above the number of files that it looks at
  for (const char* who : {"daarion-keeper", "daarion-watcher"})
    for (const pid_t pid : t.pair.processes(who)) (void)prlimit(pid, RLIMIT_NOFILE, &none, nullptr);
}

void kill_one(Trial& t, const char* comm) {
  t.counted_from = node_now();
  t.signal(comm, SIGKILL);
}

/// The whole machine stands still past the lease and goes on, the engine first.
void wake_late(Trial& t) {
  t.signal("daarion-watcher", SIGSTOP);
  t.signal("daarion-keeper", SIGSTOP);
  const auto engine = t.pair.engine();
  for (const pid_t pid : engine) kill(pid, SIGSTOP);
  std::this_thread::sleep_until(std::chrono::steady_clock::now() + (t.lease_end - node_now()) + kPastLease);
  t.counted_from = node_now();
  for (const pid_t pid : engine) kill(pid, SIGCONT);
  t.signal("daarion-keeper", SIGCONT);
  t.signal("daarion-watcher", SIGCONT);
}

const Situation kSituations[] = {
    {"deadline", "the deadline passes", "the deadline", [](Trial&) {}},
    {"daemon_gone", "the daemon is gone", "the deadline", [](Trial& t) { t.pair.disconnect(); }},
    {"keeper_killed", "the keeper is killed", "the kill", [](Trial& t) { kill_one(t, "daarion-keeper"); }},
    {"watcher_killed", "the watcher is killed", "the kill", [](Trial& t) { kill_one(t, "daarion-watcher"); }},
    {"keeper_stopped", "the keeper is stopped", "the deadline", [](Trial& t) { t.signal("daarion-keeper", SIGSTOP); }},
    {"watcher_stopped", "the watcher is stopped", "the deadline", [](Trial& t) { t.signal("daarion-watcher", SIGSTOP); }},
    {"starved", "two busy processes per core, at nice -10", "the deadline", [](Trial& t) { t.load = std::make_unique<test::BusyLoops>(2, -10); }},
    {"no_descriptors", "neither guard can open a file", "the deadline", stop_descriptors},
    {"late_wake", "the machine stands still until 300 ms after the lease, and goes on", "the wake", wake_late, true},
};

struct Sample {
  double after_ms = 0;   // newest commit, from what it counts from; below 0: none since
  double margin_ms = 0;  // from the newest commit to the end of the lease
  double empty_ms = 0;   // no process was left
};

Result<Sample> once(GuardedEngine& engine, const Situation& s) {
  test::GuardPair& pair = engine.pair();
  if (const auto connected = pair.connect(); !connected) return tl::unexpected(connected.error());
  if (const auto started = engine.start(); !started) return tl::unexpected(started.error());
  const SessionId session = pair.take(kLease);
  if (session.empty()) return fail(Remedy::kStop, "the guard took no session");
  const Instant deadline = pair.report().taken->deadline;
  Trial t{.pair = pair, .lease_end = deadline + kFenceBudget, .counted_from = deadline};
  s.act(t);
  if (!test::until([&] { return pair.engine().empty(); }, std::chrono::seconds(20))) return fail(Remedy::kStop, "processes of the engine are left");
  const Instant empty = node_now();
  const Instant last = engine.last_write();
  t.signal("daarion-keeper", SIGCONT);
  t.signal("daarion-watcher", SIGCONT);
  // A pair that lost one of the two is replaced by the client itself.
  if (pair.connected() && !test::until([&] { return pair.report().connected && !pair.report().taken; })) return fail(Remedy::kStop, "no guard pair follows");
  if (!pair.end()) return fail(Remedy::kStop, "guards are left");
  const auto ms = [](Duration d) { return double(d.count()) / 1e6; };
  return Sample{ms(last - t.counted_from), ms(t.lease_end - last), ms(empty - t.counted_from)};
}

struct Row {
  std::string engine, cgroup;
  const Situation* situation;
  std::vector<double> after, margin;
};

std::string number(double ms) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", ms);
  return text;
}

std::string table(const std::vector<Row>& rows, int n) {
  std::ostringstream out;
  out << "| situation | engine | newest commit after | p50 ms | max ms | closest to the lease's end, ms |\n|---|---|---|---|---|---|\n";
  for (const Row& r : rows)
    out << "| " << r.situation->text << " | " << r.engine << (r.cgroup.empty() ? "" : ", control group") << " | " << r.situation->from << " | "
        << number(test::median(r.after)) << " | " << number(*std::ranges::max_element(r.after)) << " | "
        << (r.situation->late ? "-" : number(*std::ranges::min_element(r.margin))) << " |\n";
  out << "\n" << n << " times each; the guard's deadline is " << to_ms(kFenceBudget) << " ms before the lease's end.\n";
  return out.str();
}

/// A control group v2 of its own below the machine's; empty: none can be made here.
std::string own_cgroup() {
  std::ifstream mounts("/proc/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, place, type;
    fields >> device >> place >> type;
    if (type != "cgroup2") continue;
    const std::string group = place + "/daarion-margins-" + std::to_string(getpid());
    std::error_code error;
    if (std::filesystem::create_directory(group, error) && std::filesystem::exists(group + "/cgroup.kill", error)) return group;
    std::filesystem::remove(group, error);
  }
  return "";
}

bool measure(GuardedEngine& engine, const std::string& cgroup, int n, std::vector<Row>& rows) {
  bool ok = true;
  for (const Situation& s : kSituations) {
    Row row{engine.name(), cgroup, &s, {}, {}};
    std::vector<double> empty;
    for (int i = 0; i < n; ++i) {
      if (interrupted) {
        std::fprintf(stderr, "interrupted after %zu trials of: %s, %s\n", row.margin.size(), engine.name().c_str(), s.text);
        return false;
      }
      Result<Sample> sample;
      for (int tries = 0; tries < kTries; ++tries) {
        const test::Disturbance machine;
        sample = once(engine, s);
        if (!machine.disturbed()) break;
      }
      if (!sample) {
        std::fprintf(stderr, "%s, %s: %s\n", engine.name().c_str(), s.text, sample.error().message.c_str());
        return false;
      }
      row.after.push_back(sample->after_ms);
      row.margin.push_back(sample->margin_ms);
      empty.push_back(sample->empty_ms);
    }
    const std::string name = "guard_" + engine.name() + (cgroup.empty() ? "_" : "_cgroup_") + s.name;
    const double closest = *std::ranges::min_element(row.margin), latest = *std::ranges::max_element(row.after);
    if (s.late)
      ok = test::say({.name = name + "_last_commit_ms", .value = latest, .unit = "ms", .samples = row.after, .limit = "<=" + std::to_string(int(kLateWakeMs)), .ok = latest <= kLateWakeMs}) && ok;
    else
      ok = test::say({.name = name + "_margin_ms", .value = closest, .unit = "ms", .samples = row.margin, .limit = ">0", .ok = closest > 0}) && ok;
    test::say({.name = name + "_empty_after_ms", .value = test::median(empty), .unit = "ms", .samples = empty, .limit = "", .ok = true});
    rows.push_back(std::move(row));
  }
  return ok;
}

int main_of(int argc, char** argv) {
  int n = 10;
  std::string file;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--n" && i + 1 < argc && std::atoi(argv[i + 1]) > 0) n = std::atoi(argv[++i]);
    else if (key == "--table" && i + 1 < argc) file = argv[++i];
    else return std::fprintf(key == "--help" ? stdout : stderr, "usage: daarion-guard-margins [--n N] [--table FILE]\n"
                             "  --n      trials of each situation; default 10\n"
                             "  --table  writes the table between its marks in FILE\n"), key == "--help" ? 0 : 2;
  }
  std::vector<Row> rows;
  bool ok = true;
  const std::string group = own_cgroup();
  if (group.empty()) std::printf("skipped: with a control group: no control group v2 with cgroup.kill can be made here\n");
  for (const std::string& cgroup : group.empty() ? std::vector<std::string>{""} : std::vector<std::string>{"", group + "/engine"}) {
    ok = measure(*stubborn(cgroup), cgroup, n, rows) && ok;
    if (interrupted) break;
    const auto database = busy_postgres(cgroup);
    if (!database) std::fprintf(stderr, "postgres: %s\n", database.error().message.c_str());
    ok = database && measure(**database, cgroup, n, rows) && ok;
    if (interrupted) break;
  }
  std::error_code ignored;
  if (!group.empty()) std::filesystem::remove(group + "/engine", ignored), std::filesystem::remove(group, ignored);
  if (interrupted) return 1;
  test::say_machine("none");
  std::printf("\n%s", table(rows, n).c_str());
  if (!file.empty() && ok && !test::put_table(file, "make guard-margins", table(rows, n))) return 2;
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace daarion::bench

int main(int argc, char** argv) {
  (void)daarion::test::longest_stall();  // its watch begins
  spdlog::set_level(spdlog::level::warn);
  for (const int what : {SIGINT, SIGTERM}) std::signal(what, [](int) { daarion::bench::interrupted = 1; });
  return daarion::bench::main_of(argc, argv);
}
