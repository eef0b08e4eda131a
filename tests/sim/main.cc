// The simulator as a tool.
//   daarion-sim --seeds 1000            seeds 1..1000: 30 to 45 s of faults each, then all must come to rest; marks and figures at the end
//   daarion-sim --seed 42 [--trace]     one seed again, with its story
//   daarion-sim --seed 42 --shrink      the shortest script found that breaks the same, and the command that runs it
//   daarion-sim --plants [NAME]         plants each bug of controlplane/core/plant.h, or one, and counts the seeds until it is found
// With --seed: --only 3,7 (of its faults; or none), --off loss,slow (knobs), --phase MS, --salt N, --plant NAME.
// With --seeds and --plants: --threads N, --ledger FILE (one line is appended), --marks (all of them are printed).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>

#include "tests/harness/record.h"
#include "tests/sim/plants.h"
#include "tests/sim/tool.h"

namespace {
using namespace daarion::sim;

constexpr std::uint64_t kSeedsPerPlant = 20'000;

struct Arguments {
  std::uint64_t seeds = 0, seed = 0, salt = 0, phase_ms = 0;
  bool trace = false, shrink = false, plants = false, marks = false, only_given = false;
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  std::string plant, ledger, plants_only;
  std::vector<std::string> only, off;
};

int usage() {
  std::fprintf(stderr,
               "usage: daarion-sim --seeds N [--threads N] [--marks] [--ledger FILE]\n"
               "       daarion-sim --seed S [--trace] [--shrink] [--only 3,7] [--off KNOB,KNOB] [--phase MS] [--salt N] [--plant NAME]\n"
               "       daarion-sim --plants [NAME] [--seeds N] [--threads N] [--ledger FILE]\n");
  return 2;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) out.push_back(word);
  return out;
}

bool read(int argc, char** argv, Arguments& a) {
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool more = i + 1 < argc;
    const auto number = [&] { return std::strtoull(argv[++i], nullptr, 10); };
    if (arg == "--seeds" && more) a.seeds = number();
    else if (arg == "--seed" && more) a.seed = number();
    else if (arg == "--salt" && more) a.salt = number();
    else if (arg == "--phase" && more) a.phase_ms = number();
    else if (arg == "--threads" && more) a.threads = std::max(1u, static_cast<unsigned>(number()));
    else if (arg == "--plant" && more) a.plant = argv[++i];
    else if (arg == "--ledger" && more) a.ledger = argv[++i];
    else if (arg == "--only" && more) a.only = split(argv[++i]), a.only_given = true;
    else if (arg == "--off" && more) a.off = split(argv[++i]);
    else if (arg == "--trace") a.trace = true;
    else if (arg == "--shrink") a.shrink = true;
    else if (arg == "--marks") a.marks = true;
    else if (arg == "--plants") {
      a.plants = true;
      if (more && argv[i + 1][0] != '-') a.plants_only = argv[++i];
    } else return false;
  }
  return true;
}

daarion::test::LedgerLine line_of(const Deed& deed) {
  char volume[64];
  std::snprintf(volume, sizeof volume, "%llu seeds, %.1f simulated hours", static_cast<unsigned long long>(deed.seeds), static_cast<double>(deed.simulated_ms) / 3.6e6);
  return {.tier = deed.tier, .volume = volume, .faults = deed.faults, .result = deed.result};
}

/// The seed's script with what the arguments take away from it. Errors: false for a knob that there is not.
bool script_of(const Arguments& a, Script& script) {
  script = deal_script(a.seed);
  script.salt = a.salt;
  if (a.phase_ms != 0) script.knobs.safety = std::chrono::milliseconds(a.phase_ms);
  if (a.only_given)
    std::erase_if(script.faults, [&](const Fault& f) { return std::ranges::find(a.only, std::to_string(f.number)) == a.only.end(); });
  for (const std::string& knob : a.off) {
    if (!turn_off(script.knobs, knob)) return false;
    script.off.push_back(knob);
  }
  return true;
}

int run_one(const Arguments& a) {
  Script script;
  if (!script_of(a, script)) return usage();
  const auto tell = [](const Script& s, const Outcome& out) {
    std::printf("%s\n", text_of(s.knobs).c_str());
    for (const Fault& fault : s.faults) std::printf("  fault %s\n", text_of(fault).c_str());
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(s.seed), out.failure.empty() ? "nothing broken" : out.failure.c_str());
    std::printf("hash %016llx\n", static_cast<unsigned long long>(out.hash));
  };
  const Outcome out = run_script(script, a.trace);
  tell(script, out);
  if (a.shrink && !out.failure.empty()) {
    const Script shortest = shrink(script);
    std::printf("\nshortest script:\n");
    tell(shortest, run_script(shortest, false));
    std::printf("again: daarion-sim %s%s --trace\n", command_of(shortest).c_str(), a.plant.empty() ? "" : (" --plant " + a.plant).c_str());
  }
  return out.failure.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  if (!read(argc, argv, a)) return usage();
  if (!plant(a.plant)) {
    std::fprintf(stderr, "no planted bug is called %s; there are:", a.plant.c_str());
    for (const PlantText& p : plants()) std::fprintf(stderr, " %s", p.name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  if (a.seed != 0) return run_one(a);
  const Deed deed = a.plants ? hunt_plants(a.seeds ? a.seeds : kSeedsPerPlant, a.threads, a.plants_only) : run_batch(a.seeds ? a.seeds : 200, a.threads, a.marks);
  return daarion::test::append_ledger(a.ledger, line_of(deed)) && deed.good ? 0 : 1;
}
