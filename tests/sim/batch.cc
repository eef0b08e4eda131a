#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/sim/plants.h"
#include "tests/sim/tool.h"

namespace daarion::sim {
namespace {

// A batch in which one of these never happened proves nothing about it.
const char* const kSometimes[] = {
    "opened", "fences", "elections", "leaders lost", "step-down", "append conflicts", "lost answers", "late commits", "double answers",
    "tail gaps", "stale reads", "tails lost", "tails lost with an epoch that wrote", "checkpoints taken up", "epochs raised while writing",
    "rejoined", "clean stops", "second hosts", "PromotionDecided", "PromotionCompleted", "PromotionFailed", "LeaseReleased",
    "MemberUnreachable", "MemberReturned", "SwitchoverRequested", "Paused", "Resumed", "ReplicaDiverged", "FencingConfirmed",
    "verdict eligible", "verdict unreachable", "verdict no_session", "verdict not_standby", "verdict diverged", "verdict lag_bytes",
    "verdict loses_writes", "verdict not_wanted", "overrides granted", "overrides beside a holder"};
// From this many seeds on the counters above must not be 0.
constexpr std::uint64_t kEnoughForCounters = 1000;

using Count = unsigned long long;

struct Batch {
  std::mutex mutex;
  std::uint64_t next = 1;
  Counters total;
  std::vector<std::uint64_t> marks;
  std::vector<std::uint64_t> events;
  std::vector<std::int64_t> settled_ms;
  std::vector<Outcome> failures;
  std::uint64_t unequal = 0, repeated = 0, simulated_ms = 0, faults = 0;

  void take(const Outcome& out, std::size_t faults_dealt, bool twice, bool same) {
    const std::lock_guard lock(mutex);
    for (const auto& [what, n] : out.counters.count) total.add(what, n);
    marks.resize(out.marks.size());
    for (std::size_t i = 0; i < marks.size(); ++i) marks[i] += out.marks[i];
    events.push_back(out.events);
    if (out.settled_after >= Duration{}) settled_ms.push_back(to_ms(out.settled_after));
    simulated_ms += out.simulated_ms;
    faults += faults_dealt;
    repeated += twice ? 1 : 0;
    unequal += same ? 0 : 1;
    if (out.failure.empty()) return;
    failures.push_back(out);
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<Count>(out.seed), out.failure.c_str());  // a long batch is not waited for
  }
};

void work(Batch& batch, std::uint64_t seeds) {
  for (;;) {
    std::uint64_t seed = 0;
    {
      const std::lock_guard lock(batch.mutex);
      if (batch.next > seeds || batch.failures.size() >= 5) return;
      seed = batch.next++;
    }
    const Script script = deal_script(seed);
    const Outcome out = run_script(script, false);
    const bool twice = seed % 50 == 0;
    const bool same = !twice || run_script(script, false).hash == out.hash;
    batch.take(out, script.faults.size(), twice, same);
  }
}

/// Returns whether nothing that should have happened was missed.
bool print_marks(Batch& batch, std::uint64_t seeds, bool all) {
  const std::vector<MarkText> texts = marks();
  std::size_t hit = 0;
  bool good = true;
  for (std::size_t i = 0; i < texts.size() && i < batch.marks.size(); ++i) {
    const std::uint64_t n = batch.marks[i];
    hit += n != 0 ? 1 : 0;
    if (all || n == 0) std::printf("  mark %12llu  %s\n", static_cast<Count>(n), texts[i].text.c_str());
    if (n != 0 || seeds < texts[i].from_seeds) continue;
    std::printf("VACUOUS: \"%s\" never happened\n", texts[i].text.c_str());
    good = false;
  }
  std::printf("marks hit: %zu of %zu\n", hit, texts.size());
  for (const char* what : kSometimes) {
    const std::uint64_t n = batch.total.count[what];
    if (all) std::printf("  %-40s %llu\n", what, static_cast<Count>(n));
    if (n != 0 || seeds < kEnoughForCounters) continue;
    std::printf("VACUOUS: \"%s\" never happened\n", what);
    good = false;
  }
  for (const auto& [what, n] : batch.total.count)
    if (all && what.starts_with("fault: ")) std::printf("  %-40s %llu\n", what.c_str(), static_cast<Count>(n));
  return good;
}

template <class T>
void print_figure(const char* name, const char* unit, std::vector<T> values, const char* limit, bool ok) {
  std::ranges::sort(values);
  const auto at = [&](std::size_t i) { return values.empty() ? 0LL : static_cast<long long>(values[std::min(i, values.size() - 1)]); };
  std::printf("figure %s %lld %s n=%zu min=%lld p50=%lld max=%lld limit=%s %s\n", name, at(values.size() / 2), unit, values.size(), at(0),
              at(values.size() / 2), at(values.size()), limit, ok ? "ok" : "MISSED");
}

}  // namespace

Deed run_batch(std::uint64_t seeds, unsigned threads, bool all_marks) {
  Batch batch;
  std::vector<std::thread> workers;
  const auto began = std::chrono::steady_clock::now();
  for (unsigned t = 0; t < threads; ++t) workers.emplace_back([&] { work(batch, seeds); });
  for (std::thread& w : workers) w.join();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::ranges::sort(batch.failures, {}, &Outcome::seed);
  for (const Outcome& f : batch.failures)
    std::printf("FAILED seed %llu: %s\n  again: daarion-sim --seed %llu --trace; shortest script: daarion-sim --seed %llu --shrink\n",
                static_cast<Count>(f.seed), f.failure.c_str(), static_cast<Count>(f.seed), static_cast<Count>(f.seed));
  const bool full = print_marks(batch, seeds, all_marks);
  print_figure("sim_events_per_seed", "events", batch.events, "none", true);
  print_figure("sim_settled_after", "ms", batch.settled_ms, "30000", true);
  std::printf("figure sim_repeats_unequal %llu runs n=%llu min=0 p50=0 max=%llu limit=0 %s\n", static_cast<Count>(batch.unequal),
              static_cast<Count>(batch.repeated), static_cast<Count>(batch.unequal), batch.unequal ? "MISSED" : "ok");
  std::printf("figure sim_violations %zu seeds n=%zu min=0 p50=0 max=%zu limit=0 %s\n", batch.failures.size(), batch.events.size(),
              batch.failures.size(), batch.failures.empty() ? "ok" : "MISSED");
  std::printf("seeds per second: %.1f on %u threads; %.1f simulated hours, %llu faults\n", static_cast<double>(batch.events.size()) / took, threads,
              static_cast<double>(batch.simulated_ms) / 3.6e6, static_cast<Count>(batch.faults));
  const bool good = batch.failures.empty() && batch.unequal == 0 && full;
  return {.tier = "sim", .seeds = batch.events.size(), .simulated_ms = batch.simulated_ms, .faults = batch.faults,
          .result = std::to_string(batch.failures.size()) + " violations, " + std::to_string(batch.unequal) + " of " +
                    std::to_string(batch.repeated) + " repeats unequal" + (full ? "" : ", vacuous"),
          .good = good};
}

}  // namespace daarion::sim
