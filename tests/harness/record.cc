#include "tests/harness/record.h"

#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>

#include "controlplane/version.h"

namespace daarion::test {

bool append_ledger(const std::string& path, const LedgerLine& line) {
  if (path.empty()) return true;
  std::FILE* file = std::fopen(path.c_str(), "a");
  if (file == nullptr) {
    std::perror(path.c_str());
    return false;
  }
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  if (std::ftell(file) == 0) std::fprintf(file, "commit\tdate\ttier\tvolume\tfaults\tresult\n");
  std::fprintf(file, "%s\t%s\t%s\t%s\t%llu\t%s\n", kCommit, date, line.tier.c_str(), line.volume.c_str(), line.faults, line.result.c_str());
  return std::fclose(file) == 0;
}

bool put_table(const std::string& document, const std::string& name, const std::string& text) {
  std::ostringstream read;
  read << std::ifstream(document).rdbuf();
  std::string all = read.str();
  const std::string first = "<!-- " + name + ": begin -->\n", last = "<!-- " + name + ": end -->";
  const std::size_t begin = all.find(first), end = all.find(last);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    std::fprintf(stderr, "%s: no lines \"%s\" and \"%s\" to put a table between\n", document.c_str(), first.substr(0, first.size() - 1).c_str(), last.c_str());
    return false;
  }
  all.replace(begin + first.size(), end - begin - first.size(), text);
  std::ofstream out(document);
  out << all;
  return static_cast<bool>(out.flush());
}

}  // namespace daarion::test
