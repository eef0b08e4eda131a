// Arguments or an environment as exec wants them.
#pragma once

#include <string>
#include <vector>

namespace daarion {

/// Points into `texts`, with a null at the end.
inline std::vector<char*> exec_array(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace daarion
