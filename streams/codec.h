// Values <-> protobuf bytes (proto/daarion/v1/event.proto, beat.proto). The one place that knows the wire form of events.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "controlplane/core/event.h"
#include "controlplane/core/messages.h"
#include "controlplane/core/result.h"
#include "streams/message.h"

namespace daarion {

/// Deterministic bytes of the event; aggregate and version are not in them (the subject has them).
std::string encode_event(const Event& event);
/// Errors: kStop if the bytes are truncated, of an unknown type, or need a higher feature level than kFeatureLevel; the message
/// names sequence and subject. A reader stops applying there, and never skips.
Result<LogEvent> decode_event(const StoredMessage& message);
/// The same into `out`, whatever was in it: its memory is used again.
Result<void> decode_event(const StoredMessage& message, LogEvent& out);

std::string encode_beat(const Beat& beat);
std::string encode_ack(const Ack& ack);
std::string encode_vote(const Vote& vote);
Result<Beat> decode_beat(std::string_view bytes);
Result<Ack> decode_ack(std::string_view bytes);
Result<Vote> decode_vote(std::string_view bytes);

/// c(n) = SHA-256(c(n-1) || seq || len(subject) || subject || len(payload) || payload); numbers are 8 bytes, big-endian; c(0) is
/// 32 zero bytes. Text is 64 hexadecimal digits; empty stands for c(0).
Chain chain_next(const Chain& previous, const StoredMessage& message);

/// The same over many events; the text is made where it is asked for.
class ChainDigest {
 public:
  static constexpr std::size_t kSize = 32;
  explicit ChainDigest(const Chain& chain = {});
  static ChainDigest of_bytes(std::string_view bytes);  // pre: kSize of them, of an event's chain
  void add(const StoredMessage& message);
  Chain text() const;
  std::string_view bytes() const { return {digest_.data(), kSize}; }

 private:
  std::array<char, kSize> digest_{};
  bool begun_ = false;  // else it stands at c(0)
  std::string bytes_;   // its memory is kept
};

}  // namespace daarion
