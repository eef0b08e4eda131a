#include "controlplane/core/wait.h"

#include <algorithm>
#include <utility>

namespace daarion {
namespace {

/// The text without the numbers that have a unit behind them.
std::string without_measures(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = std::min(text.find_first_not_of("0123456789", i), text.size());
    const bool word = end > i && (i == 0 || text[i - 1] == ' ');
    if (word && (text.compare(end, 3, " ms") == 0 || text.compare(end, 6, " bytes") == 0)) {
      i = end;
    } else {
      const std::size_t next = std::max(end, i + 1);
      out.append(text, i, next - i);
      i = next;
    }
  }
  return out;
}

}  // namespace

void take_up(std::optional<Wait>& wait, Wait next) {
  if (wait && without_measures(wait->what) == without_measures(next.what)) next.since = wait->since;
  wait = std::move(next);
}

}  // namespace daarion
