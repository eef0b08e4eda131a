#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/sim/plants.h"
#include "tests/sim/tool.h"

namespace daarion::sim {
namespace {

struct Find {
  std::uint64_t seed = 0;  // the lowest that broke something; 0: none did
  std::string failure;
};

/// The lowest seed that breaks an invariant, whatever the threads' speed.
Find hunt(std::uint64_t seeds, unsigned threads, Deed& deed) {
  std::mutex mutex;
  std::uint64_t next = 1;
  Find find;
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < threads; ++t)
    workers.emplace_back([&] {
      for (;;) {
        std::uint64_t seed = 0;
        {
          const std::lock_guard lock(mutex);
          if (next > seeds || find.seed != 0) return;
          seed = next++;
        }
        const Script script = deal_script(seed);
        const Outcome out = run_script(script, false);
        const std::lock_guard lock(mutex);
        ++deed.seeds;
        deed.simulated_ms += out.simulated_ms;
        deed.faults += script.faults.size();
        if (!out.failure.empty() && (find.seed == 0 || seed < find.seed)) find = {seed, out.failure};
      }
    });
  for (std::thread& w : workers) w.join();
  return find;
}

}  // namespace

Deed hunt_plants(std::uint64_t seeds, unsigned threads, const std::string& only) {
  Deed deed{.tier = "sim-plants"};
  std::vector<std::uint64_t> needed;
  std::size_t missed = 0;
  std::printf("%-22s %6s  %-12s %s\n", "plant", "seeds", "caught as", "what is broken");
  for (const PlantText& p : plants()) {
    if (!only.empty() && p.name != only) continue;
    plant(p.name);
    const Find find = hunt(seeds, threads, deed);
    std::printf("%-22s %6s  %-12s %s\n", p.name.c_str(), find.seed ? std::to_string(find.seed).c_str() : "MISSED",
                kind_of(find.failure).c_str(), p.what.c_str());
    std::fflush(stdout);
    if (find.seed != 0) needed.push_back(find.seed);
    else ++missed;
  }
  plant("");
  std::ranges::sort(needed);
  const auto at = [&](std::size_t i) { return needed.empty() ? 0ULL : static_cast<unsigned long long>(needed[std::min(i, needed.size() - 1)]); };
  std::printf("figure sim_plants_missed %zu plants n=%zu min=0 p50=0 max=%zu limit=0 %s\n", missed, needed.size() + missed, missed, missed ? "MISSED" : "ok");
  std::printf("figure sim_seeds_to_detect %llu seeds n=%zu min=%llu p50=%llu max=%llu limit=%llu %s\n", at(needed.size() / 2), needed.size(), at(0),
              at(needed.size() / 2), at(needed.size()), static_cast<unsigned long long>(seeds), missed ? "MISSED" : "ok");
  deed.result = std::to_string(needed.size()) + " of " + std::to_string(needed.size() + missed) + " planted bugs found, the last at seed " +
                std::to_string(at(needed.size()));
  deed.good = missed == 0 && !needed.empty();
  return deed;
}

}  // namespace daarion::sim
