#include "controlplane/cli/output.h"

#include <array>
#include <nlohmann/json.hpp>

#include "controlplane/api/json.h"

namespace daarion {
namespace {

using Json = nlohmann::ordered_json;

/// Letters as a terminal counts them; ids and texts are UTF-8.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Text that every YAML reader takes as that text without quotes.
bool plain(const std::string& text) {
  static const std::array<std::string, 9> kWords = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  if (text.empty() || !(std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '/')) return false;
  std::string lower;
  for (const char c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string("_./-").find(c) == std::string::npos) return false;
    lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return std::ranges::find(kWords, lower) == kWords.end();
}

std::string scalar(const Json& value) { return value.is_string() && plain(value.get<std::string>()) ? value.get<std::string>() : value.dump(); }

/// A JSON string is a YAML one too: what is quoted needs no rules of its own.
void yaml(const Json& value, const std::string& indent, std::string& out) {
  const auto under = [&](const Json& child, const std::string& deeper) {
    if (child.is_structured() && !child.empty()) {
      out += "\n";
      yaml(child, deeper, out);
    } else {
      out += " " + scalar(child) + "\n";
    }
  };
  if (value.is_object()) {
    for (const auto& [key, child] : value.items()) {
      out += indent + (plain(key) ? key : Json(key).dump()) + ":";
      under(child, indent + "  ");
    }
    return;
  }
  for (const Json& child : value) {
    out += indent + "-";
    if (!child.is_object() || child.empty()) {
      under(child, indent + "  ");
      continue;
    }
    std::string block;
    yaml(child, indent + "  ", block);
    out += " " + block.substr(indent.size() + 2);
  }
}

}  // namespace

std::string Table::text(const std::string& indent) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (widths.size() <= i) widths.push_back(0);
      widths[i] = std::max(widths[i], width(clean(row[i])));
    }
  std::string out;
  for (const auto& row : rows_) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = clean(row[i]);
      line += cell;
      if (i + 1 < row.size()) line += std::string(widths[i] - width(cell) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string Table::markdown() const {
  std::string out;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    out += "|";
    for (const std::string& cell : rows_[r]) {
      out += " ";
      for (const char c : clean(cell)) out += c == '|' ? std::string("\\|") : std::string(1, c);
      out += " |";
    }
    out += "\n";
    if (r > 0) continue;
    out += "|";
    for (std::size_t i = 0; i < rows_[0].size(); ++i) out += "---|";
    out += "\n";
  }
  return out;
}

std::string bytes_text(std::uint64_t bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return std::to_string(bytes) + " B";
  std::size_t unit = 0;
  std::uint64_t tenths = bytes, divisor = 1;
  while (unit + 1 < kUnits.size() && bytes / divisor >= 1000) divisor *= 1000, ++unit;
  tenths = bytes / divisor * 10 + (bytes % divisor * 10 + divisor - 1) / divisor;
  if (tenths >= 100) return std::to_string((tenths + 9) / 10) + " " + kUnits[unit];
  return std::to_string(tenths / 10) + (tenths % 10 ? "." + std::to_string(tenths % 10) : "") + " " + kUnits[unit];
}

std::string ms_text(std::int64_t ms) {
  if (ms < 0) return "-" + ms_text(-ms);
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return std::to_string(ms / 1000) + (ms % 1000 >= 100 ? "." + std::to_string(ms % 1000 / 100) : "") + " s";
  const std::int64_t s = ms / 1000;
  const auto two = [](std::int64_t a, const char* unit, std::int64_t b, const char* part) {
    return std::to_string(a) + unit + (b ? " " + std::to_string(b) + part : "");
  };
  if (s < 3600) return two(s / 60, " min", s % 60, " s");
  if (s < 86'400) return two(s / 3600, " h", s % 3600 / 60, " min");
  return two(s / 86'400, " d", s % 86'400 / 3600, " h");
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string data_text(const std::string& form, const std::string& json) {
  const Json value = Json::parse(json);
  if (form == "json") return value.dump(2) + "\n";
  std::string out;
  if (!value.is_structured() || value.empty()) return scalar(value) + "\n";
  yaml(value, "", out);
  return out;
}

bool print_data(const Globals& globals, const std::string& json) {
  if (globals.form == "table") return false;
  print(data_text(globals.form, json));
  return true;
}

bool print_data(const Globals& globals, const google::protobuf::Message& message) { return globals.form != "table" && print_data(globals, to_json(message)); }

bool print_one_of_many(const Globals& globals, const google::protobuf::Message& message) {
  if (globals.form == "table") return false;
  print(globals.form == "json" ? to_json(message) + "\n" : "---\n" + data_text("yaml", to_json(message)));
  return true;
}

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

std::string wrong_sequence(const std::string& text) {
  const bool digits = !text.empty() && text.size() <= 19 && text.find_first_not_of("0123456789") == std::string::npos;
  return digits ? "" : text + " is no sequence number";
}

ExitCode say(const CallError& error) {
  std::fprintf(stderr, "daarionctl: %s\n", clean(error.message).c_str());
  return error.code;
}

}  // namespace daarion
