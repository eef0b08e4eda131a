#include "streams/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
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

template <class A>
void describe_header(A& a, auto& h) {
  a(1, h.id); a(2, h.schema); a(3, h.node); a(4, h.actor); a(5, h.reason); a(6, h.cause); a(7, h.resource); a(8, h.epoch);
  a(9, h.wall_time_ns); a(10, h.min_feature);
}

std::string bytes_of(const google::protobuf::Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

template <class Message, class T>
std::string encode(const T& value) {
  Message message;
  wire::Writer writer(message);
  describe(writer, value);
  return bytes_of(message);
}

template <class Message, class T>
Result<T> decode(std::string_view bytes, const char* name) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(Remedy::kRetry, std::string("read a ") + name + ": the bytes are truncated or not one");
  std::string what;
  T value;
  wire::Reader reader(message, what);
  describe(reader, value);
  if (!what.empty()) return fail(Remedy::kRetry, std::string("read a ") + name + ": " + what);
  return value;
}

/// Reads the payload of the given field number into the matching alternative.
template <std::size_t I = 0>
void read_payload(wire::Reader& reader, int number, Payload& payload) {
  if constexpr (I < std::variant_size_v<Payload>) {
    if (number == kFirstPayload + static_cast<int>(I)) {
      std::variant_alternative_t<I, Payload> value;
      reader(number, value);
      payload = std::move(value);
    } else {
      read_payload<I + 1>(reader, number, payload);
    }
  }
}

tl::unexpected<Error> unreadable(const StoredMessage& message, const std::string& why) {
  return fail(Remedy::kStop, "read event " + std::to_string(message.sequence.value) + " (" + message.subject + "): " + why +
                                 "; nothing after it is applied here until this software can read it");
}

}  // namespace

std::string wire::id_bytes(std::uint64_t hi, std::uint64_t lo) {
  if (hi == 0 && lo == 0) return {};
  std::string out(16, '\0');
  for (int i = 0; i < 8; ++i) {
    out[static_cast<std::size_t>(i)] = static_cast<char>(hi >> (56 - 8 * i));
    out[static_cast<std::size_t>(8 + i)] = static_cast<char>(lo >> (56 - 8 * i));
  }
  return out;
}

bool wire::parse_id_bytes(const std::string& bytes, std::uint64_t& hi, std::uint64_t& lo) {
  hi = lo = 0;
  if (bytes.empty()) return true;
  if (bytes.size() != 16) return false;
  for (std::size_t i = 0; i < 8; ++i) {
    hi = hi << 8 | static_cast<unsigned char>(bytes[i]);
    lo = lo << 8 | static_cast<unsigned char>(bytes[8 + i]);
  }
  return hi != 0 || lo != 0;
}

std::string encode_event(const Event& event) {
  v1::Event message;
  wire::Writer writer(message);
  describe_header(writer, event.header);
  std::visit([&](const auto& payload) { writer(kFirstPayload + static_cast<int>(event.payload.index()), payload); }, event.payload);
  return bytes_of(message);
}

Result<LogEvent> decode_event(const StoredMessage& stored) {
  auto named = parse_log_subject(stored.subject);
  if (!named) return unreadable(stored, named.error().message);
  v1::Event message;
  if (!message.ParseFromString(stored.payload)) return unreadable(stored, "its bytes are truncated or no event");
  // Before anything else: an event that needs a newer reader says so in a field that every reader knows.
  if (message.min_feature() > kFeatureLevel)
    return unreadable(stored, "it needs feature level " + std::to_string(message.min_feature()) + ", this software has " +
                                  std::to_string(kFeatureLevel) + ": upgrade this node");
  std::string what;
  LogEvent out{.sequence = stored.sequence, .stored_ns = stored.stored_ns, .event = {}};
  wire::Reader reader(message, what);
  describe_header(reader, out.event.header);
  if (what.empty() && message.payload_case() == v1::Event::PAYLOAD_NOT_SET) what = "its type is unknown to this software, or missing";
  if (what.empty()) read_payload(reader, message.payload_case(), out.event.payload);
  if (what.empty() && out.event.header.reason.empty()) what = "it has no reason";
  if (what.empty() && out.event.header.id.empty()) what = "it has no id";
  if (!what.empty()) return unreadable(stored, what);
  out.event.header.aggregate = std::move(named->first);
  out.event.header.version = named->second;
  return out;
}

std::string encode_beat(const Beat& beat) { return encode<v1::Beat>(beat); }
std::string encode_ack(const Ack& ack) { return encode<v1::Ack>(ack); }
std::string encode_vote(const Vote& vote) { return encode<v1::Vote>(vote); }
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
