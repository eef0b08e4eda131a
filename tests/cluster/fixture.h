// What the tests of whole clusters have in common.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "controlplane/core/types.h"

#define ASSERT_OK(result) \
  if (const auto& r = (result); !r) GTEST_FAIL() << r.error().message

namespace daarion::test {

inline const NodeId kOne("node1"), kTwo("node2"), kThree("node3");
inline constexpr const char* kPostgres = "postgres";

/// A shell script at `path`, in one step also where it is in use.
inline void write_script(const std::string& path, const std::string& body) {
  std::ofstream(path + ".new") << "#!/bin/sh\n" << body << "\n";
  std::filesystem::permissions(path + ".new", std::filesystem::perms(0755));
  std::filesystem::rename(path + ".new", path);
}

}  // namespace daarion::test
