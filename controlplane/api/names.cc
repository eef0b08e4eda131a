#include "controlplane/api/names.h"

#include <algorithm>

#include "controlplane/topology/nearest.h"

namespace daarion {
namespace {

// A name from outside is shown only as far as it can be one, and never as control characters.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += (c >= 0 && c < 32) || c == 127 ? '?' : c;
  return text.size() > 64 ? out + "..." : out;
}

}  // namespace

std::string nearest_name(const std::string& word, const std::vector<std::string>& known) {
  return word.size() > 64 ? std::string{} : nearest(word, known);
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
