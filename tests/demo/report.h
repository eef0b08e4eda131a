// What the demo found: printed as it goes, judged at the end, and kept as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>

namespace daarion::demo {

class Report {
 public:
  /// A step begins: printed with the seconds since the start.
  void step(const std::string& text);
  void line(const std::string& text);
  /// A statement that must be true; printed with its verdict.
  void truth(const std::string& text, bool holds);
  /// A figure that goes to the JSON.
  template <class T>
  void keep(const std::string& key, const T& value) { json_[key] = value; }
  bool all_true() const { return untrue_ == 0; }
  double seconds() const;
  /// Writes the JSON. False, with a word on stderr, if it cannot.
  bool write(const std::string& path);

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  nlohmann::ordered_json json_ = {{"schema_version", 1}};
  nlohmann::ordered_json truths_ = nlohmann::ordered_json::array();
  int untrue_ = 0;
};

}  // namespace daarion::demo
