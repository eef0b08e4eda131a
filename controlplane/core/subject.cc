#include "controlplane/core/subject.h"

#include <algorithm>

namespace daarion {
namespace {

bool printable(std::string_view token) {
  return !token.empty() && std::ranges::none_of(token, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; });
}

}  // namespace

std::vector<std::string_view> tokens_of(std::string_view subject) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t dot = subject.find('.');
    out.push_back(subject.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    subject.remove_prefix(dot + 1);
  }
}

bool is_dead_letter(std::string_view subject) { return subject.ends_with(".dlq"); }

bool is_subject(std::string_view subject) {
  return std::ranges::all_of(tokens_of(subject), [](std::string_view token) { return printable(token) && token != "*" && token != ">"; });
}

bool is_pattern(std::string_view pattern) {
  const auto tokens = tokens_of(pattern);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!printable(tokens[i])) return false;
    if (tokens[i] == ">" && i + 1 != tokens.size()) return false;
    // A star inside a token is a letter to NATS, and never what was meant.
    if (tokens[i].size() > 1 && tokens[i].find_first_of("*>") != std::string_view::npos) return false;
  }
  return true;
}

bool matches(std::string_view pattern, std::string_view subject) { return covers(pattern, subject); }

bool overlap(std::string_view a, std::string_view b) {
  const auto left = tokens_of(a), right = tokens_of(b);
  for (std::size_t i = 0;; ++i) {
    if (i == left.size() || i == right.size()) return left.size() == right.size();
    if (left[i] == ">" || right[i] == ">") return true;
    if (left[i] != "*" && right[i] != "*" && left[i] != right[i]) return false;
  }
}

bool covers(std::string_view wide, std::string_view narrow) {
  const auto left = tokens_of(wide), right = tokens_of(narrow);
  for (std::size_t i = 0;; ++i) {
    if (i == left.size() || i == right.size()) return left.size() == right.size();
    if (left[i] == ">") return true;
    if (right[i] == ">") return false;
    if (left[i] != "*" && left[i] != right[i]) return false;
  }
}

std::string as_prefix(const std::string& pattern) {
  return read_otherwise(pattern) ? pattern.substr(0, pattern.size() - 1) + ">" : pattern;
}

bool read_otherwise(const std::string& pattern) { return pattern.ends_with(".*"); }

std::string with_node(std::string_view pattern, std::string_view node) {
  std::string out;
  for (const std::string_view token : tokens_of(pattern)) {
    if (!out.empty()) out += '.';
    out += token == kNodeToken ? node : token;
  }
  return out;
}

bool has_node_token(std::string_view pattern) {
  const auto tokens = tokens_of(pattern);
  return std::ranges::find(tokens, kNodeToken) != tokens.end();
}

}  // namespace daarion
