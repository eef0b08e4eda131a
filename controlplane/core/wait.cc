#include "controlplane/core/wait.h"

#include <string_view>
#include <utility>

namespace daarion {
namespace {

bool is_digit(std::string_view text, std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; }

/// Past a number that has a unit behind it, if one begins there.
std::size_t past_measure(std::string_view text, std::size_t at) {
  if (!is_digit(text, at) || (at > 0 && text[at - 1] != ' ')) return at;
  std::size_t end = at;
  while (is_digit(text, end)) ++end;
  const std::string_view rest = text.substr(end);
  return rest.starts_with(" ms") || rest.starts_with(" bytes") ? end : at;
}

/// Whether they say the same but for such numbers. Both are read in step: it is asked for each wait at each step.
bool same_but_measures(std::string_view a, std::string_view b) {
  std::size_t i = 0, j = 0;
  while (true) {
    if (is_digit(a, i) || is_digit(b, j)) {
      i = past_measure(a, i);
      j = past_measure(b, j);
    }
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (a[i++] != b[j++]) return false;
  }
}

}  // namespace

void take_up(std::optional<Wait>& wait, Wait next) {
  if (wait && same_but_measures(wait->what, next.what)) next.since = wait->since;
  wait = std::move(next);
}

}  // namespace daarion
