#include "tests/harness/figures.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace daarion::test {
namespace {

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, v == static_cast<long long>(v) ? "%.0f" : "%.3f", v);
  return text;
}

/// Time that the hypervisor took from this machine since its boot.
long long steal_ms() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  long long field[8] = {};
  stat >> cpu;
  for (long long& f : field) stat >> f;
  return field[7] * 1000 / sysconf(_SC_CLK_TCK);
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

void say_machine(const std::string& servers, double stall_max_ms, int repeated) {
  const std::string stall = stall_max_ms < 0 ? "" : " stall_max_ms=" + number(stall_max_ms);
  const std::string again = repeated < 0 ? "" : " repeated=" + std::to_string(repeated);
  std::printf("machine cores=%ld steal_ms=%lld%s servers=%s commit=%s%s\n", sysconf(_SC_NPROCESSORS_ONLN), steal_ms(), stall.c_str(), servers.c_str(),
              DAARION_COMMIT, again.c_str());
  std::fflush(stdout);
}

}  // namespace daarion::test
