#include "tests/demo/report.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace daarion::demo {

double Report::seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count(); }

void Report::step(const std::string& text) {
  std::printf("\n%5.1f s  %s\n", seconds(), text.c_str());
  std::fflush(stdout);
}

void Report::line(const std::string& text) {
  std::printf("         %s\n", text.c_str());
  std::fflush(stdout);
}

void Report::truth(const std::string& text, bool holds) {
  line((holds ? "true    " : "UNTRUE  ") + text);
  truths_.push_back({{"text", text}, {"holds", holds}});
  untrue_ += holds ? 0 : 1;
}

bool Report::write(const std::string& path) {
  json_["truths"] = truths_;
  json_["seconds"] = seconds();
  json_["ok"] = all_true();
  std::error_code ignored;
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) std::filesystem::create_directories(folder, ignored);
  std::ofstream out(path, std::ios::trunc);
  out << json_.dump(2) << "\n";
  out.close();
  if (!out) std::fprintf(stderr, "daarion-demo: write %s: no right to, or no room\n", path.c_str());
  return static_cast<bool>(out);
}

}  // namespace daarion::demo
