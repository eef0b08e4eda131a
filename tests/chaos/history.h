// The run as JSON lines: each fault's begin, what was noted, its end and verdict.
#pragma once

#include <fstream>
#include <map>
#include <mutex>
#include <string>

#include "controlplane/core/types.h"

namespace daarion::chaos {

class History {
 public:
  explicit History(const std::string& path);
  /// One line: "ms" since the beginning, "what", and the fields; a field's value is text. Threads: any.
  void add(const std::string& what, const std::map<std::string, std::string>& fields = {});
  /// The same, printed too.
  void say(const std::string& what, const std::string& text);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::mutex mutex_;
  std::ofstream file_;
  Instant began_;
};

}  // namespace daarion::chaos
