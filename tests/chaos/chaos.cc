// `make chaos MINUTES= SEED=`: faults on real processes in network namespaces, dealt by seed, each one checked afterwards.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>

#include "controlplane/node/clock.h"
#include "tests/chaos/checker.h"
#include "tests/chaos/deal.h"
#include "tests/chaos/table.h"
#include "tests/harness/figures.h"
#include "tests/harness/record.h"
#include "tests/harness/stalls.h"

namespace daarion::chaos {
namespace {

constexpr int kSkipped = 77;
constexpr double kAllMinutes = 30;  // a run of so long makes every kind
constexpr int kTries = 3;           // of a fault beside which the machine stood still

struct Options {
  double minutes = 2;
  std::uint64_t seed = 1;
  std::vector<std::string> only;
  std::string history, ledger, document;
  std::vector<std::string> from;
  bool or_skip = false, list = false;
};

void usage(FILE* to) {
  std::fprintf(to,
               "usage: daarion-chaos [--minutes M] [--seed S] [--only KIND[,KIND]] [--history FILE] [--ledger FILE] [--or-skip] [--list]\n"
               "       daarion-chaos --table DOCUMENT --from HISTORY[,HISTORY]\n"
               "  --minutes   how long the faults may take together: 30 make every kind at least once; default 2\n"
               "  --seed      order, victims and lengths; the same seed and minutes make the same faults\n"
               "  --only      these kinds, in this order, once each; also such as are not done right yet\n"
               "  --history   JSON lines of everything that was done and seen; default build/chaos-<seed>.jsonl\n"
               "  --ledger    append one line about this run to that file\n"
               "  --table     makes no fault: puts what the histories tell, by kind of fault, between its marks in that document\n"
               "  --or-skip   exit %d where namespaces cannot be made\n"
               "  --list      the kinds, and which of them cannot be made yet\n", kSkipped);
}

void list() {
  for (const Kind& k : kinds()) std::printf("%-24s %s%s\n", k.name.c_str(), k.text.c_str(), k.not_yet.empty() ? "" : (" -- not yet: " + k.not_yet).c_str());
}

const Kind* kind_named(const std::string& name) {
  const auto at = std::ranges::find(kinds(), name, &Kind::name);
  return at == kinds().end() ? nullptr : &*at;
}

std::vector<std::string> split(const std::string& names) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t end = std::min(names.find(',', at), names.size());
    out.push_back(names.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

int put_table_of(const Options& o) {
  const auto table = table_of(o.from);
  if (!table) return std::fprintf(stderr, "daarion-chaos: %s\n", table.error().message.c_str()), 2;
  std::printf("%s", table->c_str());
  return test::put_table(o.document, "make chaos-table", *table) ? 0 : 1;
}

class Run {
 public:
  explicit Run(const Options& o) : o_(o), history_(o.history) {}

  int go() {
    std::vector<std::string> dealt = o_.only.empty() ? deal(kinds(), o_.seed, o_.minutes) : o_.only;
    history_.say("deal", std::to_string(dealt.size()) + " faults in about " + std::to_string(static_cast<int>(o_.minutes)) + " minutes by seed " + std::to_string(o_.seed));
    std::map<std::string, std::size_t> round;
    for (const std::string& name : dealt) {
      const Kind& kind = *kind_named(name);
      if (!kind.run) continue;  // those not yet done right are made only where they are asked for
      one(kind, round[name]++);
    }
    if (world_)
      for (const std::string& what : check_end(*world_, lost_)) violations_.push_back(what);
    if (world_) count();
    const bool ok = figures();
    return test::append_ledger(o_.ledger, ledger_line(ok)) && ok ? 0 : 1;
  }

 private:
  void one(const Kind& kind, std::size_t round) {
    for (int i = 1; i <= kTries; ++i) {
      Verdict v{.kind = kind.name};
      const test::Disturbance disturbance;
      try {
        if (!world_) world_ = std::make_unique<World>(history_);
        v = run_fault(*world_, kind, o_.seed, round, lost_);
      } catch (const test::Failed& failed) {
        v.violations = {"no whole cluster before the fault: " + failed.why};
        v.timing_only = false;
        v.broken = true;
        history_.say("VIOLATION", kind.name + ": " + v.violations.front());
      }
      if (!v.violations.empty()) keep_logs(kind, v.broken);
      if (v.broken) renew();
      if (!v.violations.empty() && v.timing_only && disturbance.disturbed() && i < kTries) {
        history_.say("again", kind.name + ": the machine stood still beside it");
        ++repeated_;
        continue;
      }
      verdicts_.push_back(v);
      for (const std::string& what : v.violations) violations_.push_back(kind.name + ": " + what);
      return;
    }
  }

  /// `last`: the cluster goes after this; its nats-servers write down what each of their goroutines waits for, and end.
  void keep_logs(const Kind& kind, bool last) {
    if (!world_) return;
    const std::string kept = o_.history + "-" + std::to_string(verdicts_.size() + 1) + "-" + kind.name + "-logs";
    std::error_code ignored;
    std::filesystem::remove_all(kept, ignored);
    if (last) world_->dump_nats();
    for (const NodeId& node : world_->cluster().nodes()) {
      const std::string from = world_->cluster().node_folder(node);
      std::filesystem::create_directories(kept + "/" + node.value, ignored);
      for (const auto& entry : std::filesystem::recursive_directory_iterator(from, std::filesystem::directory_options::skip_permission_denied, ignored))
        if (entry.path().extension() == ".log") std::filesystem::copy_file(entry.path(), kept + "/" + node.value + "/" + entry.path().filename().string(), ignored);
    }
    history_.say("logs", kept);
  }

  void count() {
    for (const dev::ProbeWriter* w : world_->writers()) rows_ += w->count();
    nats_restarts_ += world_->nats_restarts();
  }

  /// The next fault has a new cluster.
  void renew() {
    if (!world_) return;
    count();
    world_.reset();
    lost_.clear();
  }

  bool figures() {
    std::printf("\n");
    test::say_machine(test::server_versions(), repeated_);
    bool ok = true;
    std::size_t promotions = 0, lost = 0, strays = 0;
    for (const Kind& k : kinds()) {
      test::Figure f{.name = "chaos_" + k.name + "_outage_ms", .value = 0, .unit = "ms", .samples = {}, .limit = "<=" + std::to_string(static_cast<int>(k.outage_ms)), .ok = true};
      for (const Verdict& v : verdicts_) {
        if (v.kind != k.name) continue;
        f.samples.push_back(v.outage_ms);
        if (v.election_ms > 0 && v.outage_ms > k.outage_ms) f.limit = "<=" + std::to_string(static_cast<int>(k.outage_ms)) + ", and " + std::to_string(static_cast<int>(v.election_ms)) + " without a leader of the log";
        f.value = std::max(f.value, v.outage_ms);
        f.ok = f.ok && v.violations.empty();
        promotions += v.promotions;
        lost += v.lost;
        strays += v.strays;
      }
      if (!f.samples.empty()) ok = test::say(f) && ok;
      else if (o_.only.empty() && o_.minutes >= kAllMinutes) ok = test::say({.name = "chaos_" + k.name + "_runs", .value = 0, .unit = "runs", .samples = {}, .limit = ">=1", .ok = false}) && ok;
      else if (!k.not_yet.empty()) std::printf("not made: %s: %s\n", k.name.c_str(), k.not_yet.c_str());
    }
    for (const Kind& k : kinds())
      if (!k.not_yet.empty() && o_.only.empty() && o_.minutes >= kAllMinutes) std::printf("MISSED %s: %s\n", k.name.c_str(), k.not_yet.c_str());
    test::Figure whole{.name = "chaos_whole_again_ms", .value = 0, .unit = "ms", .samples = {}, .limit = "", .ok = true};
    for (const Verdict& v : verdicts_) whole.samples.push_back(v.recovery_ms), whole.value = std::max(whole.value, v.recovery_ms);
    test::say(whole);
    test::Figure elections{.name = "chaos_log_without_leader_ms", .value = 0, .unit = "ms", .samples = {}, .limit = "", .ok = true};
    for (const Verdict& v : verdicts_)
      if (v.election_ms > 0) elections.samples.push_back(v.election_ms), elections.value = std::max(elections.value, v.election_ms);
    test::say(elections);
    test::say({.name = "chaos_faults", .value = double(verdicts_.size()), .unit = "faults", .samples = {}, .limit = "", .ok = true});
    // A run in which nothing failed over proves nothing.
    ok = test::say({.name = "chaos_promotions", .value = double(promotions), .unit = "promotions", .samples = {}, .limit = o_.only.empty() ? ">=1" : "", .ok = promotions > 0 || !o_.only.empty()}) && ok;
    test::say({.name = "chaos_rows_acknowledged", .value = double(rows_), .unit = "rows", .samples = {}, .limit = "", .ok = true});
    test::say({.name = "chaos_rows_lost", .value = double(lost), .unit = "rows", .samples = {}, .limit = "announced", .ok = true});
    test::say({.name = "chaos_rows_of_late_wakes", .value = double(strays), .unit = "rows", .samples = {}, .limit = "declared", .ok = true});
    test::say({.name = "chaos_nats_restarted_by_daemons", .value = double(nats_restarts_), .unit = "restarts", .samples = {}, .limit = "", .ok = true});
    ok = test::say({.name = "chaos_violations", .value = double(violations_.size()), .unit = "violations", .samples = {}, .limit = "0", .ok = violations_.empty()}) && ok;
    for (const std::string& what : violations_) std::printf("violation: %s\n", what.substr(0, what.find('\n')).c_str());
    std::printf("history: %s\n", history_.path().c_str());
    if (!violations_.empty()) {
      std::printf("again: make chaos MINUTES=%g SEED=%llu\n", o_.minutes, static_cast<unsigned long long>(o_.seed));
      for (const Verdict& v : verdicts_)
        if (!v.violations.empty()) std::printf("or, of this kind alone: %s --seed %llu --only %s\n", dev::program("daarion-chaos").c_str(), static_cast<unsigned long long>(o_.seed), v.kind.c_str());
    }
    return ok;
  }

  test::LedgerLine ledger_line(bool ok) const {
    char volume[64];
    std::snprintf(volume, sizeof volume, "%g minutes, seed %llu", o_.minutes, static_cast<unsigned long long>(o_.seed));
    return {.tier = "chaos", .volume = volume, .faults = verdicts_.size(),
            .result = std::to_string(violations_.size()) + " violations" + (ok || !violations_.empty() ? "" : ", kinds MISSED")};
  }

  const Options& o_;
  History history_;
  std::unique_ptr<World> world_;
  LostRows lost_;
  std::vector<Verdict> verdicts_;
  std::vector<std::string> violations_;
  std::size_t rows_ = 0, nats_restarts_ = 0;
  int repeated_ = 0;
};

int main_of(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string key = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (key == "--help") return usage(stdout), 0;
    if (key == "--list") return list(), 0;
    if (key == "--or-skip") o.or_skip = true;
    else if (key == "--minutes" && value) o.minutes = std::atof(argv[++i]);
    else if (key == "--seed" && value) o.seed = std::strtoull(argv[++i], nullptr, 10);
    else if (key == "--history" && value) o.history = argv[++i];
    else if (key == "--ledger" && value) o.ledger = argv[++i];
    else if (key == "--only" && value) o.only = split(argv[++i]);
    else if (key == "--table" && value) o.document = argv[++i];
    else if (key == "--from" && value) o.from = split(argv[++i]);
    else
      return usage(stderr), 2;
  }
  if (o.document.empty() != o.from.empty()) return usage(stderr), 2;
  if (!o.document.empty()) return put_table_of(o);
  for (const std::string& name : o.only)
    if (!kind_named(name)) {
      std::fprintf(stderr, "daarion-chaos: no kind of fault is called %s; --list shows all\n", name.c_str());
      return 2;
    }
  if (o.history.empty()) o.history = "build/chaos-" + std::to_string(o.seed) + ".jsonl";
  if (const auto can = dev::NodeNetwork::possible(); !can) {
    std::fprintf(stderr, "daarion-chaos: %s\n", can.error().message.c_str());
    return o.or_skip ? kSkipped : 2;
  }
  (void)test::longest_stall();  // its watch begins
  return Run(o).go();
}

}  // namespace
}  // namespace daarion::chaos

int main(int argc, char** argv) { return daarion::chaos::main_of(argc, argv); }
