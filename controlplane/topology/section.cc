#include "controlplane/topology/section.h"

#include <algorithm>
#include <charconv>

#include "controlplane/topology/nearest.h"

namespace daarion {
namespace {

/// The leading number of "10GiB", and the rest. Nothing if there is none.
std::optional<std::pair<double, std::string>> split_number(const std::string& text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return std::nullopt;
  std::string rest(end, text.data() + text.size());
  rest.erase(0, rest.find_first_not_of(' '));
  return std::pair{number, rest};
}

}  // namespace

std::optional<Duration> parse_duration(const std::string& text) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  static const std::map<std::string, double> kUnits = {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86'400e9}};
  const auto unit = kUnits.find(parts->second);
  if (unit == kUnits.end() || parts->first * unit->second > 9e18) return std::nullopt;
  return Duration(static_cast<std::int64_t>(parts->first * unit->second));
}

std::optional<std::uint64_t> parse_size(const std::string& text) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  static const std::map<std::string, double> kUnits = {{"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};
  const auto unit = kUnits.find(parts->second);
  if (unit == kUnits.end()) return std::nullopt;
  return static_cast<std::uint64_t>(parts->first * unit->second);
}

int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

std::string nearest(const std::string& word, const std::set<std::string>& known) {
  return nearest(word, std::vector<std::string>(known.begin(), known.end()));
}

Section::Section(const YAML::Node& node, std::string path, ParsedFile& out) : node_(node), path_(std::move(path)), out_(out) {
  if (node_.IsNull()) node_ = YAML::Node(YAML::NodeType::Map);
  if (!node_.IsMap()) {
    error("wrong_type", node_, (path_.empty() ? "the file" : path_) + " is no mapping; write `key: value` lines below it");
    node_ = YAML::Node(YAML::NodeType::Map);
  }
  std::set<std::string> seen;
  for (const auto& pair : node_)
    if (!seen.insert(pair.first.Scalar()).second)
      error("duplicate_key", pair.first, called(pair.first.Scalar()) + " is there twice; keep one");
}

Section::~Section() {
  for (const auto& pair : node_) {
    const std::string key = pair.first.Scalar();
    if (known_.contains(key)) continue;
    const std::string near = nearest(key, known_);
    error("unknown_key", pair.first, "unknown key " + called(key) + (near.empty() ? "; remove it" : "; did you mean " + near + "?"));
  }
}

std::string Section::called(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

void Section::error(const std::string& rule, const YAML::Node& at, const std::string& message) {
  out_.findings.push_back({Severity::kError, rule, line_of(at), message});
}

bool Section::has(const std::string& key) { return node(key).IsDefined(); }

YAML::Node Section::node(const std::string& key) {
  known_.insert(key);
  const YAML::Node& constant = node_;
  const YAML::Node found = constant[key];
  if (found.IsDefined()) out_.file.lines.emplace(called(key), line_of(found));
  return found;
}

std::string Section::scalar(const std::string& key) {
  const YAML::Node found = node(key);
  if (!found.IsDefined()) return {};
  if (found.IsScalar() && !found.Scalar().empty()) return found.Scalar();
  error("wrong_type", found, called(key) + " is no single value");
  return {};
}

void Section::text(const std::string& key, std::string& to) {
  const std::string value = scalar(key);
  if (!value.empty()) to = value;
}

void Section::number(const std::string& key, std::uint32_t& to, std::uint32_t least, std::uint32_t most) {
  const std::string value = scalar(key);
  if (value.empty()) return;
  std::uint32_t parsed = 0;
  const auto [end, failed] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (failed != std::errc() || end != value.data() + value.size() || parsed < least || parsed > most)
    return error("wrong_type", node(key), called(key) + " is " + value + ", not a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  to = parsed;
}

void Section::duration(const std::string& key, Duration& to) {
  const std::string value = scalar(key);
  if (value.empty()) return;
  const auto parsed = parse_duration(value);
  if (!parsed) return error("wrong_type", node(key), called(key) + " is " + value + ", not a duration; write it like 250ms, 2s, 1h or 7d");
  to = *parsed;
}

void Section::size(const std::string& key, std::uint64_t& to) {
  const std::string value = scalar(key);
  if (value.empty()) return;
  const auto parsed = parse_size(value);
  if (!parsed) return error("wrong_type", node(key), called(key) + " is " + value + ", not a size; write it like 1MiB or 10GiB");
  to = *parsed;
}

void Section::list(const std::string& key, const std::function<void(const YAML::Node&)>& each) {
  const YAML::Node found = node(key);
  if (!found.IsDefined()) return;
  if (!found.IsSequence()) return error("wrong_type", found, called(key) + " is no list; write [a, b]");
  for (const YAML::Node& item : found) each(item);
}

void Section::map(const std::string& key, const std::function<void(const std::string&, const YAML::Node&)>& each) {
  const YAML::Node found = node(key);
  if (!found.IsDefined()) return;
  if (!found.IsMap()) return error("wrong_type", found, called(key) + " is no mapping; write `name: {...}` lines below it");
  std::set<std::string> seen;
  for (const auto& pair : found) {
    if (!seen.insert(pair.first.Scalar()).second)
      error("duplicate_key", pair.first, called(key) + "." + pair.first.Scalar() + " is there twice; keep one");
    else
      each(pair.first.Scalar(), pair.second);
  }
}

}  // namespace daarion
