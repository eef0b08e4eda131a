#include "streams/codec.h"

#include <openssl/evp.h>

#include <algorithm>
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
  put_number(out.data(), hi);
  put_number(out.data() + 8, lo);
  return out;
}

bool wire::parse_id_bytes(std::string_view bytes, std::uint64_t& hi, std::uint64_t& lo) {
  hi = lo = 0;
  if (bytes.size() != 16) return false;
  hi = number_at(bytes.data());
  lo = number_at(bytes.data() + 8);
  return hi != 0 || lo != 0;
}

bool wire::is_utf8(const std::string& text) { return google::protobuf::internal::IsStructurallyValidUTF8(text); }

std::string encode_event(const Event& event) { return wire::write(Envelope<const EventHeader, const Payload>{event.header, event.payload}); }

Result<void> decode_event(const StoredMessage& stored, LogEvent& out) {
  auto named = parse_log_subject(stored.subject);
  if (!named) return unreadable(stored, named.error().message);
  out.sequence = stored.sequence;
  out.stored_ns = stored.stored_ns;
  EventHeader& header = out.event.header;
  Envelope<EventHeader, Payload> envelope{header, out.event.payload};
  std::string what = wire::read(stored.payload, *v1::Event::descriptor(), envelope);
  // An event that needs a newer reader says so in a field that every reader knows, whatever else it holds.
  if (!what.empty())
    if (v1::Event message; message.ParseFromString(stored.payload)) header.min_feature = message.min_feature();
  if (header.min_feature > kFeatureLevel)
    what = "it needs feature level " + std::to_string(header.min_feature) + ", this software has " + std::to_string(kFeatureLevel) +
           ": upgrade this node";
  if (what.empty() && header.reason.empty()) what = "it has no reason";
  if (what.empty() && header.id.empty()) what = "it has no id";
  if (!what.empty()) return unreadable(stored, what);
  header.aggregate = std::move(named->first);
  header.version = named->second;
  return {};
}

Result<LogEvent> decode_event(const StoredMessage& stored) {
  LogEvent out;
  if (auto read = decode_event(stored, out); !read) return tl::unexpected(std::move(read.error()));
  return out;
}

std::string encode_beat(const Beat& beat) { return wire::write(beat); }
std::string encode_ack(const Ack& ack) { return wire::write(ack); }
std::string encode_vote(const Vote& vote) { return wire::write(vote); }
Result<Beat> decode_beat(std::string_view bytes) { return decode<v1::Beat, Beat>(bytes, "beat"); }
Result<Ack> decode_ack(std::string_view bytes) { return decode<v1::Ack, Ack>(bytes, "ack"); }
Result<Vote> decode_vote(std::string_view bytes) { return decode<v1::Vote, Vote>(bytes, "vote"); }

ChainDigest::ChainDigest(const Chain& chain) {
  if (chain.empty()) return;
  DAARION_CHECK(chain.size() == 2 * digest_.size(), "a chain digest is 64 hexadecimal digits");
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  for (std::size_t i = 0; i < digest_.size(); ++i) digest_[i] = static_cast<char>(digit(chain[2 * i]) << 4 | digit(chain[2 * i + 1]));
  begun_ = true;
}

ChainDigest ChainDigest::of_bytes(std::string_view bytes) {
  DAARION_CHECK(bytes.size() == kSize, "a chain digest is 32 bytes");
  ChainDigest out;
  std::ranges::copy(bytes, out.digest_.begin());
  out.begun_ = true;
  return out;
}

void ChainDigest::add(const StoredMessage& message) {
  // Fetched once: OpenSSL 3 otherwise looks the algorithm up by name for every event.
  static const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> sha256(EVP_MD_fetch(nullptr, "SHA256", nullptr), &EVP_MD_free);
  thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> sha(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  const std::size_t head = digest_.size() + 2 * sizeof(std::uint64_t);
  std::string& bytes = bytes_;  // all of it in one piece: each update costs as much as a block
  bytes.resize(head + message.subject.size() + sizeof(std::uint64_t));
  std::ranges::copy(digest_, bytes.begin());
  wire::put_number(bytes.data() + digest_.size(), message.sequence.value);
  wire::put_number(bytes.data() + digest_.size() + sizeof(std::uint64_t), message.subject.size());
  std::ranges::copy(message.subject, bytes.begin() + static_cast<std::ptrdiff_t>(head));
  wire::put_number(bytes.data() + head + message.subject.size(), message.payload.size());
  const bool ok = sha && sha256 && EVP_DigestInit_ex(sha.get(), sha256.get(), nullptr) && EVP_DigestUpdate(sha.get(), bytes.data(), bytes.size()) &&
                  EVP_DigestUpdate(sha.get(), message.payload.data(), message.payload.size()) &&
                  EVP_DigestFinal_ex(sha.get(), reinterpret_cast<unsigned char*>(digest_.data()), nullptr);
  DAARION_CHECK(ok, "SHA-256 is available");
  begun_ = true;
}

Chain ChainDigest::text() const {
  if (!begun_) return {};
  Chain out(2 * digest_.size(), '0');
  for (std::size_t i = 0; i < digest_.size(); ++i) {
    const auto byte = static_cast<unsigned char>(digest_[i]);
    out[2 * i] = "0123456789abcdef"[byte >> 4];
    out[2 * i + 1] = "0123456789abcdef"[byte & 15];
  }
  return out;
}

Chain chain_next(const Chain& previous, const StoredMessage& message) {
  ChainDigest digest(previous);
  digest.add(message);
  return digest.text();
}

}  // namespace daarion
