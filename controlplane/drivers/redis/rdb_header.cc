#include "controlplane/drivers/redis/rdb_header.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

namespace daarion::redis {
namespace {

// Fields stand before the first key, each a few dozen bytes.
constexpr std::size_t kHeaderBytes = 4096;
constexpr std::size_t kMagic = 9;  // "REDIS0010"
constexpr unsigned char kAuxField = 0xFA;

/// A string as the format writes it: a length of 6, 14 or 32 bits, or an integer of 8, 16 or 32.
std::optional<std::string> take_string(const std::string& bytes, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (at >= bytes.size()) return std::nullopt;
  const unsigned char first = byte(at++);
  std::size_t length = 0;
  if ((first >> 6) == 3) {
    const std::size_t width = first == 0xC0 ? 1 : first == 0xC1 ? 2 : first == 0xC2 ? 4 : 0;
    if (width == 0 || at + width > bytes.size()) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value |= static_cast<std::uint32_t>(byte(at + i)) << (8 * i);
    at += width;
    const std::int32_t number = width == 1 ? static_cast<std::int8_t>(value) : width == 2 ? static_cast<std::int16_t>(value) : static_cast<std::int32_t>(value);
    return std::to_string(number);
  }
  if ((first >> 6) == 0) {
    length = first & 0x3F;
  } else if ((first >> 6) == 1 && at < bytes.size()) {
    length = static_cast<std::size_t>(first & 0x3F) << 8 | byte(at++);
  } else if (first == 0x80 && at + 4 <= bytes.size()) {
    for (int i = 0; i < 4; ++i) length = length << 8 | byte(at++);
  } else {
    return std::nullopt;
  }
  if (length > bytes.size() - at) return std::nullopt;
  at += length;
  return bytes.substr(at - length, length);
}

}  // namespace

std::optional<RdbHeader> parse_rdb_header(const std::string& bytes) {
  if (bytes.size() < kMagic || !bytes.starts_with("REDIS")) return std::nullopt;
  RdbHeader out;
  for (std::size_t at = kMagic; at < bytes.size() && static_cast<unsigned char>(bytes[at]) == kAuxField;) {
    ++at;
    const auto name = take_string(bytes, at);
    const auto value = name ? take_string(bytes, at) : std::nullopt;
    if (!value) break;
    if (*name == "repl-id") out.replid = *value;
    if (*name == "repl-offset") std::from_chars(value->data(), value->data() + value->size(), out.offset.value);
  }
  return out;
}

std::optional<RdbHeader> read_rdb_header(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string bytes(kHeaderBytes, '\0');
  const ssize_t n = read(fd, bytes.data(), bytes.size());
  close(fd);
  bytes.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return parse_rdb_header(bytes);
}

}  // namespace daarion::redis
