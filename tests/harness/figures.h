// Figures that a script can read: one line each, and the same in build/figures.jsonl.
#pragma once

#include <string>
#include <vector>

namespace daarion::test {

/// Prints "figure <name> <value> <unit> n= min= p50= max= limit= ok|MISSED" and appends it to DAARION_FIGURES (a path), if set.
/// Returns whether it is ok.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::vector<double> samples;  // empty: value alone
  std::string limit;            // as it is said, e.g. "<=1.15"; empty: none
  bool ok = true;
};
bool say(const Figure& figure);

/// "machine cores=2 steal_ms= stall_max_ms= servers=... commit=... repeated=": before the figures of a run. stall_max_ms and repeated
/// only where they were watched. Source: /proc/stat, the build, a StallTicker.
void say_machine(const std::string& servers, double stall_max_ms = -1, int repeated = -1);

double median(std::vector<double> samples);

}  // namespace daarion::test
