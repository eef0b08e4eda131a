// The layout of the sources, as DESIGN's "Layout" draws it: a pure core, dependencies that point inward, and vendor headers only
// in the sources of their adapter. The checker is itself tested on small bad inputs, so that a silent one cannot pass.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace daarion {
namespace {

// What the core may know of the standard library: values, ordered containers, arithmetic. <chrono> for durations only: its
// clocks are caught by name below.
const std::set<std::string> kCoreStd = {"algorithm", "array",    "bit",      "charconv", "chrono", "compare",     "concepts",
                                        "cstddef",   "cstdint",  "cstdio",   "cstdlib",  "cstring", "deque",      "functional",
                                        "iterator",  "limits",   "map",      "memory",   "numeric", "optional",   "ranges",
                                        "set",       "span",     "string",   "string_view", "tuple", "type_traits", "utility",
                                        "variant",   "vector"};
// The one library of the core: Result.
const std::set<std::string> kCoreVendor = {"tl/expected.hpp"};

struct Vendor {
  const char* header;               // how its includes begin
  std::vector<std::string> homes;   // where its .cc files are
};
const std::vector<Vendor> kVendors = {
    {"nats.h", {"streams/"}},
    {"nats/", {"streams/"}},
    {"rocksdb/", {"consumers/"}},
    {"pqxx/", {"controlplane/drivers/postgres"}},
    {"libpq", {"controlplane/drivers/postgres"}},
    {"postgresql/libpq", {"controlplane/drivers/postgres"}},
    {"hiredis/", {"controlplane/drivers/redis"}},
    {"grpcpp/", {"controlplane/api/", "controlplane/cli/"}},
    {"grpc/", {"controlplane/api/", "controlplane/cli/"}},
};

/// Layers from the inside out. A file includes from its own folder and from lower layers.
int layer_of(const std::string& path) {
  const auto in = [&](const char* folder) { return path.starts_with(folder); };
  if (in("controlplane/core/")) return 0;
  if (in("streams/") || in("consumers/") || in("snapshots/") || in("controlplane/drivers/") || in("controlplane/topology/") ||
      in("controlplane/health/") || in("controlplane/version.h"))
    return 1;
  if (in("controlplane/node/") || in("controlplane/dev/")) return 2;  // dev: local clusters, on topology and drivers as node is
  if (in("clients/cpp/")) return 2;  // for services, on streams alone
  if (in("controlplane/api/") || in("controlplane/cli/")) return 3;
  if (in("controlplane/daariond/")) return 4;  // joins all of them into the daemon
  return -1;
}

std::string without_comments_and_strings(const std::string& line) {
  static const std::regex kQuoted(R"("(\\.|[^"\\])*")");
  return std::regex_replace(line, kQuoted, "\"\"").substr(0, std::regex_replace(line, kQuoted, "\"\"").find("//"));
}

void check_include(const std::string& path, const std::string& header, bool quoted, std::vector<std::string>& found) {
  const int layer = layer_of(path);
  if (layer < 0) return;
  // Owners of a vendor's handles are headers of their own, for each other and the .cc files beside them alone.
  if (quoted && header.ends_with("_handles.h") && !((path.ends_with(".cc") || path.ends_with("_handles.h")) && path.substr(0, path.rfind('/')) == header.substr(0, header.rfind('/'))))
    found.push_back(path + ": " + header + " only in a .cc beside it");
  const int target = layer_of(header);
  for (const Vendor& vendor : kVendors) {
    if (target >= 0 || !header.starts_with(vendor.header)) continue;
    const bool home = std::ranges::any_of(vendor.homes, [&](const std::string& h) { return path.starts_with(h); });
    if (!home || !(path.ends_with(".cc") || path.ends_with("_handles.h"))) found.push_back(path + ": " + header + " only in a .cc of its adapter");
    return;
  }
  if (target > layer) {
    found.push_back(path + ": " + header + " is of an outer layer");
    return;
  }
  if (layer != 0) return;
  if (quoted ? target != 0 : !kCoreStd.contains(header) && !kCoreVendor.contains(header))
    found.push_back(path + ": the core may not include " + header);
}

/// What is wrong with one file. `path` is relative to the top of the sources.
std::vector<std::string> check_file(const std::string& path, const std::string& text) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  // No clock, no chance, no order that depends on a hash, no thread: the same inputs give the same outputs.
  static const std::regex kImpure(R"((::now\s*\()|(\b(rand|srand|time|random|getenv|clock_gettime|gettimeofday)\s*\()|)"
                                  R"((\bunordered_(map|set|multimap|multiset)\b)|(\bstd::(cout|cerr|cin|thread|mutex|atomic|random_device|mt19937)))");
  std::vector<std::string> found;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (std::regex_search(line, match, kInclude)) {
      check_include(path, match[2], match[1] == "\"", found);
      continue;
    }
    const std::string code = without_comments_and_strings(line);
    if (layer_of(path) == 0 && std::regex_search(code, match, kImpure)) found.push_back(path + ": the core may not use " + match.str());
  }
  return found;
}

std::vector<std::filesystem::path> sources() {
  std::vector<std::filesystem::path> out;
  const std::filesystem::path top(DAARION_SOURCE_DIR);
  for (const char* folder : {"clients", "controlplane", "streams", "consumers", "snapshots"}) {
    if (!std::filesystem::exists(top / folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top / folder)) {
      const auto ext = entry.path().extension();
      if (entry.is_regular_file() && (ext == ".cc" || ext == ".h")) out.push_back(entry.path());
    }
  }
  return out;
}

TEST(Layout, SourcesKeepIt) {
  std::size_t core = 0;
  for (const auto& file : sources()) {
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    const std::string path = std::filesystem::relative(file, DAARION_SOURCE_DIR).generic_string();
    if (layer_of(path) == 0) ++core;
    EXPECT_GE(layer_of(path), 0) << path << " is in no layer";
    for (const std::string& wrong : check_file(path, text.str())) ADD_FAILURE() << wrong;
  }
  EXPECT_GT(core, 30u) << "the sources were not found";
}

struct Bad {
  const char* path;
  const char* line;
};
void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.path << ": " << bad.line; }
class LayoutChecker : public testing::TestWithParam<Bad> {};
TEST_P(LayoutChecker, Bites) { EXPECT_EQ(check_file(GetParam().path, GetParam().line).size(), 1u) << GetParam().line; }

INSTANTIATE_TEST_SUITE_P(
    ImpureCore, LayoutChecker,
    testing::Values(Bad{"controlplane/node/a.cc", "#include \"streams/nats_handles.h\""}, Bad{"streams/a.h", "#include \"streams/nats_handles.h\""},
                    Bad{"controlplane/core/a.cc", "#include <thread>"}, Bad{"controlplane/core/a.cc", "#include <mutex>"},
                    Bad{"controlplane/core/a.h", "#include <random>"}, Bad{"controlplane/core/a.h", "#include <iostream>"},
                    Bad{"controlplane/core/a.h", "# include  <fstream>"}, Bad{"controlplane/core/a.h", "#include <unordered_map>"},
                    Bad{"controlplane/core/a.h", "#include <atomic>"}, Bad{"controlplane/core/a.h", "#include <google/protobuf/message.h>"},
                    Bad{"controlplane/core/a.h", "#include <spdlog/spdlog.h>"}, Bad{"controlplane/core/a.h", "#include \"daarion/v1/event.pb.h\""},
                    Bad{"controlplane/core/a.cc", "auto t = std::chrono::steady_clock::now();"},
                    Bad{"controlplane/core/a.cc", "int x = rand();"}, Bad{"controlplane/core/a.cc", "auto t = time(nullptr);"},
                    Bad{"controlplane/core/a.cc", "auto t = std::time(nullptr);"},
                    Bad{"controlplane/core/a.cc", "std::unordered_set<int> s;"}, Bad{"controlplane/core/a.cc", "std::mutex m;"}));
INSTANTIATE_TEST_SUITE_P(
    OutwardDependency, LayoutChecker,
    testing::Values(Bad{"controlplane/core/a.cc", "#include \"streams/codec.h\""},
                    Bad{"streams/a.h", "#include \"controlplane/node/clock.h\""},
                    Bad{"controlplane/drivers/driver.h", "#include \"controlplane/api/http.h\""},
                    Bad{"controlplane/node/a.cc", "#include \"controlplane/cli/main.h\""},
                    Bad{"controlplane/topology/a.cc", "#include \"controlplane/node/clock.h\""}));
INSTANTIATE_TEST_SUITE_P(
    VendorHeader, LayoutChecker,
    testing::Values(Bad{"controlplane/core/a.cc", "#include <nats.h>"}, Bad{"streams/a.h", "#include <nats.h>"},
                    Bad{"streams/a.h", "#include <nats/nats.h>"},
                    Bad{"consumers/a.h", "#include <rocksdb/db.h>"}, Bad{"streams/a.cc", "#include <rocksdb/db.h>"},
                    Bad{"controlplane/drivers/redis/a.cc", "#include <pqxx/pqxx>"}, Bad{"controlplane/node/a.cc", "#include <libpq-fe.h>"},
                    Bad{"controlplane/drivers/postgres/a.cc", "#include <hiredis/hiredis.h>"},
                    Bad{"controlplane/drivers/redis/a.h", "#include \"hiredis/hiredis.h\""},
                    Bad{"controlplane/node/a.cc", "#include <grpcpp/grpcpp.h>"}));

TEST(LayoutCheckerTest, LetsGoodSourcesPass) {
  EXPECT_TRUE(check_file("streams/a.cc", "#include <nats.h>\n#include <thread>\n#include \"controlplane/core/io.h\"").empty());
  EXPECT_TRUE(check_file("consumers/a.cc", "#include <rocksdb/db.h>\n#include \"streams/codec.h\"").empty());
  EXPECT_TRUE(check_file("controlplane/core/a.cc", "#include <map>\n#include <tl/expected.hpp>\nbool may_vote(int now); // time(x)").empty());
  EXPECT_TRUE(check_file("controlplane/core/a.cc", "Instant uptime(int); auto s = \"time(s) rand()\"; on_time(state);").empty());
  EXPECT_TRUE(check_file("controlplane/cli/a.cc", "#include <grpcpp/grpcpp.h>\n#include \"controlplane/node/clock.h\"").empty());
}

}  // namespace
}  // namespace daarion
