// Lists in sentences, of what observers and drivers tell people.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace daarion {

/// "a, b"; beyond `most` of them "a, b and 2 more".
inline std::string joined(const std::vector<std::string>& names, std::size_t most = SIZE_MAX) {
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) out += (i == 0 ? "" : ", ") + names[i];
  return names.size() <= most ? out : out + " and " + std::to_string(names.size() - most) + " more";
}

}  // namespace daarion
