// What JetStream says of a message that it delivers, in the subject to answer to. No NATS header here.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace daarion {

struct Delivery {
  std::string_view consumer;     // in the subject
  std::uint64_t sequence = 0;    // of the stream
  std::uint64_t nth = 0;         // of the consumer: one more with each message
  std::int64_t stored_ns = 0;
  std::uint64_t pending = 0;
};

/// Reads $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<its sequence>.<time>.<pending>, or the form with domain and account before the
/// stream, and a token behind. The library's own reader copies every token: with each message that cost as much as the message.
/// Errors: nothing if it is no such subject; null is none.
inline std::optional<Delivery> parse_ack_subject(const char* reply) {
  constexpr std::size_t kShort = 9, kLong = 11;
  std::array<std::string_view, kLong + 1> tokens;
  std::size_t count = 0;
  if (reply == nullptr) return std::nullopt;
  for (std::string_view rest = reply; count < tokens.size();) {
    const auto dot = rest.find('.');
    tokens[count++] = rest.substr(0, dot);
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  if ((count != kShort && count < kLong) || tokens[0] != "$JS" || tokens[1] != "ACK") return std::nullopt;
  const std::size_t at = count == kShort ? 5 : 7;
  const auto number = [](std::string_view text, auto& out) {
    return std::from_chars(text.data(), text.data() + text.size(), out).ptr == text.data() + text.size() && !text.empty();
  };
  Delivery out{.consumer = tokens[at - 2]};
  if (!number(tokens[at], out.sequence) || !number(tokens[at + 1], out.nth) || !number(tokens[at + 2], out.stored_ns) || !number(tokens[at + 3], out.pending)) return std::nullopt;
  return out;
}

}  // namespace daarion
