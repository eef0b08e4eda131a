// What the tests of whole clusters have in common.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/types.h"
#include "controlplane/dev/local_cluster.h"

#define ASSERT_OK(result) \
  if (const auto& r = (result); !r) GTEST_FAIL() << r.error().message

namespace daarion::test {

inline const NodeId kOne("node1"), kTwo("node2"), kThree("node3");
inline constexpr const char* kPostgres = "postgres";
/// All of NATS, of a cluster of three.
inline const std::vector<std::pair<NodeId, dev::Part>> kNatsServers = {{kOne, dev::Part::kNats}, {kTwo, dev::Part::kNats}, {kThree, dev::Part::kWitness}, {kThree, dev::Part::kNats}};

inline bool any_has(const std::vector<std::string>& lines, const std::string& text) {
  return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(text) != std::string::npos; });
}

/// Puts `now` in the place of `old` in the cluster's file. Before it is started.
inline void replace_in_file(const dev::LocalCluster& cluster, const std::string& old, const std::string& now) {
  std::ifstream in(cluster.config_path());
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const std::size_t at = text.find(old);
  ASSERT_NE(at, std::string::npos) << old << " in " << text;
  std::ofstream(cluster.config_path()) << text.replace(at, old.size(), now);
}

/// One more line under `control:` there.
inline void add_to_control(const dev::LocalCluster& cluster, const std::string& line) {
  const std::string control = "\ncontrol:\n";
  replace_in_file(cluster, control, control + "  " + line + "\n");
}

/// daarionctl's exit code, asked of that node; what it prints goes to stderr.
inline int ctl(const dev::LocalCluster& cluster, const NodeId& node, const std::string& words) {
  const int status = std::system((dev::program("daarionctl") + " --server " + cluster.server_of(node) + " " + words + " >&2 < /dev/null").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// A shell script at `path`, in one step also where it is in use.
inline void write_script(const std::string& path, const std::string& body) {
  std::ofstream(path + ".new") << "#!/bin/sh\n" << body << "\n";
  std::filesystem::permissions(path + ".new", std::filesystem::perms(0755));
  std::filesystem::rename(path + ".new", path);
}

}  // namespace daarion::test
