// What somebody may have meant: the known word nearest to a wrong one.
#pragma once

#include <string>
#include <vector>

namespace daarion {

/// The one of `known` with the fewest letters changed, the first of equals; nothing if none is near: within 2, or a third of the word.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace daarion
