// The simulator as a tool.
//   daarion-sim --seeds 1000          seeds 1..1000, each a run of 60 to 80 simulated seconds; figure lines at the end
//   daarion-sim --seed 42 [--trace]   one seed again, with its story
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/sim/world.h"

namespace {
using namespace daarion;
using namespace daarion::sim;

struct Outcome {
  std::uint64_t seed = 0;
  std::string failure;
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  Counters counters;
};

Outcome run_seed(std::uint64_t seed, bool trace) {
  World world(seed, deal(seed), trace);
  Outcome out{.seed = seed, .failure = world.run()};
  out.hash = world.trace_hash();
  out.events = world.log().size();
  out.counters = world.counters();
  return out;
}

// A batch in which one of these never happened proves nothing about it.
const char* const kSometimes[] = {"opened", "fences", "elections", "append conflicts", "lost answers", "late commits", "tail gaps",
                                  "rejoined", "clean stops", "PromotionDecided", "PromotionCompleted", "PromotionFailed", "LeaseReleased",
                                  "MemberUnreachable", "MemberReturned", "SwitchoverRequested", "Paused", "Resumed", "ReplicaDiverged",
                                  "second hosts"};

int run_batch(std::uint64_t seeds, unsigned threads) {
  std::mutex mutex;
  std::uint64_t next = 1;
  Counters total;
  std::vector<std::uint64_t> events;
  std::vector<Outcome> failures;
  std::uint64_t unequal = 0, repeated = 0;
  std::vector<std::thread> workers;
  const auto began = std::chrono::steady_clock::now();
  for (unsigned t = 0; t < threads; ++t) {
    workers.emplace_back([&] {
      for (;;) {
        std::uint64_t seed = 0;
        {
          const std::lock_guard lock(mutex);
          if (next > seeds || failures.size() >= 5) return;
          seed = next++;
        }
        const Outcome out = run_seed(seed, false);
        const bool twice = seed % 50 == 0;
        const bool same = !twice || run_seed(seed, false).hash == out.hash;
        const std::lock_guard lock(mutex);
        for (const auto& [what, n] : out.counters.count) total.add(what, n);
        events.push_back(out.events);
        repeated += twice ? 1 : 0;
        unequal += same ? 0 : 1;
        if (!out.failure.empty()) failures.push_back(out);
      }
    });
  }
  for (std::thread& w : workers) w.join();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  for (const Outcome& f : failures)
    std::printf("FAILED seed %llu: %s\n  again: daarion-sim --seed %llu --trace\n", static_cast<unsigned long long>(f.seed), f.failure.c_str(),
                static_cast<unsigned long long>(f.seed));
  bool vacuous = false;
  for (const char* what : kSometimes) {
    std::printf("  %-22s %llu\n", what, static_cast<unsigned long long>(total.count[what]));
    if (total.count[what] == 0) {
      std::printf("VACUOUS: \"%s\" never happened\n", what);
      vacuous = true;
    }
  }
  std::ranges::sort(events);
  const auto median = events.empty() ? 0 : events[events.size() / 2];
  std::printf("figure sim_events_per_seed %llu events n=%zu min=%llu p50=%llu max=%llu limit=none ok\n", static_cast<unsigned long long>(median),
              events.size(), static_cast<unsigned long long>(events.empty() ? 0 : events.front()), static_cast<unsigned long long>(median),
              static_cast<unsigned long long>(events.empty() ? 0 : events.back()));
  std::printf("figure sim_repeats_unequal %llu runs n=%llu min=0 p50=0 max=%llu limit=0 %s\n", static_cast<unsigned long long>(unequal),
              static_cast<unsigned long long>(repeated), static_cast<unsigned long long>(unequal), unequal ? "MISSED" : "ok");
  std::printf("figure sim_violations %zu seeds n=%zu min=0 p50=0 max=%zu limit=0 %s\n", failures.size(), events.size(), failures.size(),
              failures.empty() ? "ok" : "MISSED");
  std::printf("seeds per second: %.1f\n", static_cast<double>(events.size()) / took);
  return failures.empty() && unequal == 0 && !(vacuous && seeds >= 200) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seeds = 200, seed = 0;
  bool trace = false;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool more = i + 1 < argc;
    if (arg == "--seeds" && more) seeds = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--seed" && more) seed = std::strtoull(argv[++i], nullptr, 10);
    else if (arg == "--threads" && more) threads = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
    else if (arg == "--trace") trace = true;
    else {
      std::fprintf(stderr, "usage: daarion-sim [--seeds N] [--threads N] | --seed S [--trace]\n");
      return 2;
    }
  }
  if (seed == 0) return run_batch(seeds, threads);
  const Outcome out = run_seed(seed, trace);
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), out.failure.empty() ? "nothing broken" : out.failure.c_str());
  return out.failure.empty() ? 0 : 1;
}
