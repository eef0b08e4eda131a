#include "tests/bench/wal_commits.h"

#include <time.h>

#include <cstdio>
#include <cstring>

#include "controlplane/drivers/postgres/control.h"

namespace daarion::bench {
namespace {

/// "2026-11-24 08:42:50.123456 UTC" -> ns since 1970; 0 if it is none.
std::int64_t parse_time(const std::string& text) {
  tm parts{};
  int us = 0;
  if (std::sscanf(text.c_str(), "%d-%d-%d %d:%d:%d.%6d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &us) != 7) return 0;
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  return timegm(&parts) * 1'000'000'000LL + us * 1000LL;
}

}  // namespace

std::vector<std::int64_t> commits_in_wal(const std::string& data_dir, const std::string& start, std::uint64_t timeline) {
  const auto folder = postgres::find_programs(postgres::major_of(data_dir));
  if (!folder) return {};
  const std::string tool = *folder + "/pg_waldump";
  const std::string command = "TZ=UTC " + tool + " -p '" + data_dir + "/pg_wal' -t " + std::to_string(timeline) + " -s " + start + " -r Transaction 2>/dev/null";
  std::vector<std::int64_t> out;
  FILE* pipe = popen(command.c_str(), "r");
  char line[4096];
  while (pipe && std::fgets(line, sizeof line, pipe))
    if (const char* at = std::strstr(line, "desc: COMMIT "))
      if (const std::int64_t when = parse_time(at + std::strlen("desc: COMMIT "))) out.push_back(when);
  if (pipe) pclose(pipe);
  return out;
}

}  // namespace daarion::bench
