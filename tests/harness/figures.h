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

/// "machine cores=2 steal_ms= stall_max_ms= servers=... commit=... repeated=": before the figures of a run. `repeated`: how many
/// measurements were made again because the machine itself had stopped (stalls.h). `stall_max_ms`: of those that count; negative: of the
/// whole process. Source: /proc/stat, the ticker, the build.
void say_machine(const std::string& servers, int repeated = 0, double stall_max_ms = -1);

double median(std::vector<double> samples);

}  // namespace daarion::test
