#include "streams/codec.h"

#include <openssl/evp.h>

#include <array>

#include "controlplane/core/check.h"
#include "controlplane/core/state.h"
#include "proto/daarion/v1/beat.pb.h"
#include "proto/daarion/v1/event.pb.h"
#include "streams/describe.h"
#include "streams/wire.h"

namespace daarion {
namespace {

constexpr int kFirstPayload = 20;  // field numbers of the oneof follow the order of Payload's alternatives

/// An event as the stream holds it: the header's fields and one payload, in one message.
template <class Header, class Types>
struct Envelope {
  Header& h;
  Types& payload;
};
template <class A, class Header, class Types>
void describe(A& a, const Envelope<Header, Types>& x) {
  auto& h = x.h;
  a(1, h.id); a(2, h.schema); a(3, h.node); a(4, h.actor); a(5, h.reason); a(6, h.cause); a(7, h.resource); a(8, h.epoch);
  a(9, h.wall_time_ns); a(10, h.min_feature);
  a.one_of(kFirstPayload, x.payload);
}

template <class Message, class T>
Result<T> decode(std::string_view bytes, const char* name) {
  T value;
  const std::string what = wire::read(bytes, *Message::descriptor(), value);
  if (!what.empty()) return fail(Remedy::kRetry, std::string("read a ") + name + ": " + what);
  return value;
}

tl::unexpected<Error> unreadable(const StoredMessage& message, const std::string& why) {
  return fail(Remedy::kStop, "read event " + std::to_string(message.sequence.value) + " (" + message.subject + "): " + why +
                                 "; nothing after it is applied here until this software can read it");
}

}  // namespace

std::array<char, 16> wire::id_bytes(std::uint64_t hi, std::uint64_t lo) {
  std::array<char, 16> out;
  for (std::size_t i = 0; i < 8; ++i) {
    out[i] = static_cast<char>(hi >> (56 - 8 * i));
    out[8 + i] = static_cast<char>(lo >> (56 - 8 * i));
  }
  return out;
}

bool wire::parse_id_bytes(std::string_view bytes, std::uint64_t& hi, std::uint64_t& lo) {
  hi = lo = 0;
  if (bytes.size() != 16) return false;
  for (std::size_t i = 0; i < 8; ++i) {
    hi = hi << 8 | static_cast<unsigned char>(bytes[i]);
    lo = lo << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  return hi != 0 || lo != 0;
}

bool wire::is_utf8(const std::string& text) { return google::protobuf::internal::IsStructurallyValidUTF8(text); }

std::string encode_event(const Event& event) { return wire::write(Envelope<const EventHeader, const Payload>{event.header, event.payload}); }

Result<LogEvent> decode_event(const StoredMessage& stored) {
  auto named = parse_log_subject(stored.subject);
  if (!named) return unreadable(stored, named.error().message);
  LogEvent out{.sequence = stored.sequence, .stored_ns = stored.stored_ns, .event = {}};
  Envelope<EventHeader, Payload> envelope{out.event.header, out.event.payload};
  std::string what = wire::read(stored.payload, *v1::Event::descriptor(), envelope);
  // An event that needs a newer reader says so in a field that every reader knows, whatever else it holds.
  v1::Event message;
  if (!what.empty() && message.ParseFromString(stored.payload)) out.event.header.min_feature = message.min_feature();
  if (out.event.header.min_feature > kFeatureLevel)
    what = "it needs feature level " + std::to_string(out.event.header.min_feature) + ", this software has " + std::to_string(kFeatureLevel) +
           ": upgrade this node";
  if (what.empty() && out.event.header.reason.empty()) what = "it has no reason";
  if (what.empty() && out.event.header.id.empty()) what = "it has no id";
  if (!what.empty()) return unreadable(stored, what);
  out.event.header.aggregate = std::move(named->first);
  out.event.header.version = named->second;
  return out;
}

std::string encode_beat(const Beat& beat) { return wire::write(beat); }
std::string encode_ack(const Ack& ack) { return wire::write(ack); }
std::string encode_vote(const Vote& vote) { return wire::write(vote); }
Result<Beat> decode_beat(std::string_view bytes) { return decode<v1::Beat, Beat>(bytes, "beat"); }
Result<Ack> decode_ack(std::string_view bytes) { return decode<v1::Ack, Ack>(bytes, "ack"); }
Result<Vote> decode_vote(std::string_view bytes) { return decode<v1::Vote, Vote>(bytes, "vote"); }

Chain chain_next(const Chain& previous, const StoredMessage& message) {
  constexpr std::size_t kSize = 32;
  std::array<unsigned char, kSize> digest{};
  if (!previous.empty()) {
    DAARION_CHECK(previous.size() == 2 * kSize, "a chain digest is 64 hexadecimal digits");
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    for (std::size_t i = 0; i < kSize; ++i)
      digest[i] = static_cast<unsigned char>(digit(previous[2 * i]) << 4 | digit(previous[2 * i + 1]));
  }
  // Fetched once: OpenSSL 3 otherwise looks the algorithm up by name for every event.
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> sha256(EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> sha(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const auto number = [&](std::uint64_t n) {
    std::array<unsigned char, 8> bytes{};
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(n >> (56 - 8 * i));
    return EVP_DigestUpdate(sha.get(), bytes.data(), bytes.size());
  };
  const auto text = [&](const std::string& t) { return number(t.size()) && EVP_DigestUpdate(sha.get(), t.data(), t.size()); };
  const bool ok = sha && sha256 && EVP_DigestInit_ex(sha.get(), sha256.get(), nullptr) && EVP_DigestUpdate(sha.get(), digest.data(), kSize) &&
                  number(message.sequence.value) && text(message.subject) && text(message.payload) &&
                  EVP_DigestFinal_ex(sha.get(), digest.data(), nullptr);
  DAARION_CHECK(ok, "SHA-256 is available");
  Chain out(2 * kSize, '0');
  for (std::size_t i = 0; i < kSize; ++i) {
    out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  return out;
}

}  // namespace daarion
