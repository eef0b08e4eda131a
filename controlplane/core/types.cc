#include "controlplane/core/types.h"

namespace daarion {
namespace {
constexpr char kHex[] = "0123456789abcdef";
constexpr std::size_t kMaxIdLength = 32;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::string id_text(std::uint64_t hi, std::uint64_t lo) {
  std::string out(36, '-');
  for (std::size_t digit = 0; digit < 32; ++digit) {
    const std::size_t dashes = digit < 8 ? 0 : digit < 20 ? digit / 4 - 1 : 4;
    const std::uint64_t half = digit < 16 ? hi : lo;
    out[digit + dashes] = kHex[(half >> (60 - 4 * (digit % 16))) & 0xF];
  }
  return out;
}

bool parse_id_text(const std::string& text, std::uint64_t& hi, std::uint64_t& lo) {
  std::uint64_t halves[2] = {0, 0};
  int digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const int v = hex_value(c);
    if (v < 0 || digits == 32) return false;
    halves[digits / 16] = halves[digits / 16] << 4 | static_cast<std::uint64_t>(v);
    ++digits;
  }
  if (digits != 32) return false;
  hi = halves[0];
  lo = halves[1];
  return true;
}

bool is_valid_id(const std::string& text) {
  if (text.empty() || text.size() > kMaxIdLength) return false;
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!alnum(text[0])) return false;
  for (const char c : text)
    if (!alnum(c) && c != '_' && c != '-') return false;
  return true;
}

}  // namespace daarion
