// What is wrong, doubtful or worth knowing about a cluster file: one line each, with the place and what to do.
#pragma once

#include <string>
#include <vector>

namespace daarion {

enum class Severity { kError, kWarning, kNote };

struct Finding {
  Severity severity = Severity::kError;
  std::string rule;     // snake_case, stable
  int line = 0;         // of the file, from 1; 0: of no line
  std::string message;  // one line: what, and what to do
  bool operator==(const Finding&) const = default;
};

/// "cluster.yaml:12: error: unknown key lease_tll in control; did you mean lease_ttl? [unknown_key]"
std::string text_of(const Finding& finding, const std::string& file);
bool has_errors(const std::vector<Finding>& findings);

}  // namespace daarion
