#include "tests/sim/plants.h"
#include "tests/sim/tool.h"

namespace daarion::sim {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + word;
  return out;
}

}  // namespace

Script deal_script(std::uint64_t seed) {
  Script script{.seed = seed, .knobs = deal(seed)};
  script.faults = deal_faults(seed, script.knobs);
  script.dealt = script.faults.size();
  return script;
}

std::string command_of(const Script& script) {
  std::string out = "--seed " + std::to_string(script.seed);
  if (script.faults.size() != script.dealt) {
    std::vector<std::string> numbers;
    for (const Fault& fault : script.faults) numbers.push_back(std::to_string(fault.number));
    out += " --only " + (numbers.empty() ? "none" : joined(numbers));
  }
  if (!script.off.empty()) out += " --off " + joined(script.off);
  if (script.knobs.safety != deal(script.seed).safety) out += " --phase " + std::to_string(to_ms(script.knobs.safety));
  if (script.salt != 0) out += " --salt " + std::to_string(script.salt);
  return out;
}

std::string kind_of(const std::string& failure) {
  const auto from = failure.find(": ");
  if (from == std::string::npos) return {};
  const auto to = failure.find(": ", from + 2);
  return failure.substr(from + 2, to == std::string::npos ? std::string::npos : to - from - 2);
}

Outcome run_script(const Script& script, bool trace) {
  take_marks();
  World world(script.seed + script.salt * 0x9E3779B97F4A7C15ULL, script.knobs, trace);
  Outcome out{.seed = script.seed, .failure = world.run(script.faults)};
  out.hash = world.trace_hash();
  out.events = world.log().size();
  out.simulated_ms = static_cast<std::uint64_t>(to_ms(world.now().time_since_epoch()));
  out.settled_after = world.settled_after();
  out.counters = world.counters();
  out.marks = take_marks();
  return out;
}

}  // namespace daarion::sim
