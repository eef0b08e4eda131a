#include "controlplane/api/names.h"

#include <algorithm>

namespace daarion {
namespace {

std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

// A name from outside is shown only as far as it can be one, and never as control characters.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += (c >= 0 && c < 32) || c == 127 ? '?' : c;
  return text.size() > 64 ? out + "..." : out;
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  if (word.size() > 64) return best;
  for (const std::string& k : known)
    if (const std::size_t d = distance(word, k); d < least) least = d, best = k;
  return best;
}

Result<std::string> fold_name(const std::string& kind, const std::string& text, const std::vector<std::string>& known,
                              const std::map<std::string, NodeId>& aliases) {
  std::string id = text;
  for (char& c : id)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (std::ranges::find(known, id) != known.end()) return id;
  if (const auto alias = aliases.find(id); alias != aliases.end()) return alias->second.value;
  std::string list;
  for (const std::string& k : known) list += (list.empty() ? "" : ", ") + k;
  const std::string near = nearest_name(id, known);
  return fail(Remedy::kFixInput, "unknown " + kind + " " + shown(text) + (near.empty() ? "; " : "; did you mean " + near + "? ") +
                                     (list.empty() ? "there is none" : "there are: " + list));
}

}  // namespace daarion
