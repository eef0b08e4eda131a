#include <algorithm>
#include <chrono>

#include "tests/sim/tool.h"

namespace daarion::sim {
namespace {
using std::chrono::milliseconds;

// Without one fault everything after it gets another chance: so many are tried before the fault counts as needed.
constexpr std::uint64_t kSalts = 6;
// A phase that ends so long after the last fault still shows what it led to.
constexpr Duration kShortest = std::chrono::seconds(6);

/// Tries a script with several chances; takes it up if it breaks the same thing.
bool still_breaks(Script& script, Script next, const std::string& kind) {
  for (std::uint64_t i = 0; i <= kSalts; ++i) {
    Script tried = next;
    tried.salt = i == 0 ? script.salt : i - 1;
    if (i != 0 && tried.salt == script.salt) continue;
    if (kind_of(run_script(tried, false).failure) != kind) continue;
    script = std::move(tried);
    return true;
  }
  return false;
}

bool fewer_faults(Script& script, const std::string& kind) {
  bool changed = false;
  for (std::size_t chunk = std::max<std::size_t>(1, script.faults.size() / 2); chunk >= 1; chunk /= 2) {
    for (std::size_t at = 0; at < script.faults.size();) {
      Script next = script;
      const auto from = next.faults.begin() + static_cast<std::ptrdiff_t>(at);
      next.faults.erase(from, from + static_cast<std::ptrdiff_t>(std::min(chunk, next.faults.size() - at)));
      if (still_breaks(script, std::move(next), kind)) changed = true;
      else at += chunk;
    }
  }
  return changed;
}

bool fewer_knobs(Script& script, const std::string& kind) {
  bool changed = false;
  for (const std::string& name : knob_names()) {
    if (std::ranges::find(script.off, name) != script.off.end()) continue;
    Script next = script;
    turn_off(next.knobs, name);
    if (text_of(next.knobs) == text_of(script.knobs)) continue;
    next.off.push_back(name);
    changed |= still_breaks(script, std::move(next), kind);
  }
  return changed;
}

bool shorter_phase(Script& script, const std::string& kind) {
  const Duration last = script.faults.empty() ? Duration{} : script.faults.back().at;
  for (const Duration length : {last + kShortest / 6, last + kShortest / 2, last + kShortest, script.knobs.safety * 3 / 4}) {
    if (length < kShortest || length >= script.knobs.safety - milliseconds(500)) continue;
    Script next = script;
    next.knobs.safety = std::chrono::duration_cast<milliseconds>(length);
    if (still_breaks(script, std::move(next), kind)) return true;
  }
  return false;
}

}  // namespace

Script shrink(const Script& script) {
  Script best = script;
  const std::string kind = kind_of(run_script(script, false).failure);
  for (bool changed = true; changed;) {
    changed = fewer_faults(best, kind);
    changed |= shorter_phase(best, kind);
    changed |= fewer_knobs(best, kind);
  }
  return best;
}

}  // namespace daarion::sim
