#include "tests/harness/figures.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "controlplane/version.h"
#include "tests/harness/stalls.h"

namespace daarion::test {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, v == static_cast<long long>(v) ? "%.0f" : "%.3f", v);
  return text;
}

}  // namespace

double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::ranges::sort(samples);
  return samples[samples.size() / 2];
}

bool say(const Figure& f) {
  const std::vector<double> samples = f.samples.empty() ? std::vector{f.value} : f.samples;
  const auto [min, max] = std::ranges::minmax(samples);
  const std::string limit = f.limit.empty() ? "none" : f.limit;
  std::printf("figure %s %s %s n=%zu min=%s p50=%s max=%s limit=%s %s\n", f.name.c_str(), number(f.value).c_str(), f.unit.c_str(),
              samples.size(), number(min).c_str(), number(median(samples)).c_str(), number(max).c_str(), limit.c_str(), f.ok ? "ok" : "MISSED");
  std::fflush(stdout);
  if (const char* path = std::getenv("DAARION_FIGURES")) {
    std::ofstream out(path, std::ios::app);
    out << "{\"figure\":\"" << f.name << "\",\"value\":" << number(f.value) << ",\"unit\":\"" << f.unit << "\",\"n\":" << samples.size()
        << ",\"min\":" << number(min) << ",\"p50\":" << number(median(samples)) << ",\"max\":" << number(max) << ",\"limit\":\"" << limit
        << "\",\"status\":\"" << (f.ok ? "ok" : "MISSED") << "\"}\n";
  }
  return f.ok;
}

void say_machine(const std::string& servers, int repeated, double stall_max_ms) {
  if (stall_max_ms < 0) stall_max_ms = static_cast<double>(longest_stall().count());
  std::printf("machine cores=%ld steal_ms=%lld stall_max_ms=%.0f servers=%s commit=%s repeated=%d\n", sysconf(_SC_NPROCESSORS_ONLN), steal_ms(),
              stall_max_ms, servers.c_str(), kCommit, repeated);
  std::fflush(stdout);
}

}  // namespace daarion::test
