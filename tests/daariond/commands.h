// What the tests of the operator's commands share.
#pragma once

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>

namespace daarion::test {

inline std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline bool comes(const std::function<bool()>& what) {
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20); std::chrono::steady_clock::now() < end;
       std::this_thread::sleep_for(std::chrono::milliseconds(5)))
    if (what()) return true;
  return false;
}

/// An executable shell script at `path`, which works in `folder`; its name.
inline std::string write_command(const std::string& path, const std::string& folder, const std::string& body) {
  std::ofstream(path) << "#!/bin/sh\ncd " << folder << "\n" << body << "\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

}  // namespace daarion::test
