// Ids, numbers and time as the whole system uses them. Strong types: a NodeId is never a ResourceId, an Epoch never a Sequence.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>

namespace daarion {

template <class Tag>
struct StrongString {
  std::string value;
  StrongString() = default;
  explicit StrongString(std::string v) : value(std::move(v)) {}
  bool empty() const { return value.empty(); }
  friend auto operator<=>(const StrongString&, const StrongString&) = default;
  /// From the end: "node1" and "node2" differ there, and are compared more often than anything else.
  friend bool operator==(const StrongString& a, const StrongString& b) {
    return a.value.size() == b.value.size() && (a.value.empty() || (a.value.back() == b.value.back() && a.value == b.value));
  }
};

template <class Tag>
struct StrongNumber {
  std::uint64_t value = 0;
  friend auto operator<=>(const StrongNumber&, const StrongNumber&) = default;
};

/// 128 bits that name one thing for ever: an event, a session, a log. All zero means "none".
template <class Tag>
struct StrongId {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;
  bool empty() const { return hi == 0 && lo == 0; }
  friend auto operator<=>(const StrongId&, const StrongId&) = default;
};

using NodeId = StrongString<struct NodeTag>;
using ResourceId = StrongString<struct ResourceTag>;

using Epoch = StrongNumber<struct EpochTag>;        // fencing token of a lease; rises with every holder; 0: none
using Sequence = StrongNumber<struct SequenceTag>;  // position in CLUSTER_LOG, from 1; 0: nothing
using Version = StrongNumber<struct VersionTag>;    // events of one aggregate, counted from 1
using Lsn = StrongNumber<struct LsnTag>;            // engine position, in bytes of its log

using EventId = StrongId<struct EventIdTag>;     // UUIDv7
using LogId = StrongId<struct LogIdTag>;         // one log, from its LogCreated on
using SessionId = StrongId<struct SessionTag>;   // a right to write, taken once; made by the guard
using RunId = StrongId<struct RunTag>;           // one run of a daemon
using BootId = StrongId<struct BootTag>;         // one boot of a host
using InstanceId = StrongId<struct InstanceTag>; // one voter record: a replaced disk is another instance
using Digest = StrongId<struct DigestTag>;       // of a folded state

/// Monotonic time of one node: CLOCK_MONOTONIC_RAW plus the time that the machine was suspended. It has no now(): in the core,
/// time is an input.
struct NodeClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<NodeClock, duration>;
  static constexpr bool is_steady = true;
};
using Duration = NodeClock::duration;
using Instant = NodeClock::time_point;

inline constexpr Instant kNever = Instant::max();  // an end or deadline that does not come

constexpr std::int64_t to_ms(Duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); }

/// t + d that stays at kNever instead of wrapping.
constexpr Instant later(Instant t, Duration d) { return t == kNever || d >= kNever - t ? kNever : t + d; }

/// A chain digest: SHA-256 over the log up to a sequence. Kept as text (64 hex digits) outside the hashing itself; empty: none.
using Chain = std::string;

/// Lower-case hexadecimal of the 128 bits, in UUID form (8-4-4-4-12).
std::string id_text(std::uint64_t hi, std::uint64_t lo);
template <class Tag>
std::string to_text(const StrongId<Tag>& id) { return id_text(id.hi, id.lo); }

/// The reverse of to_text, dashes optional. Errors: false if it is not 32 hexadecimal digits, and `hi`, `lo` are unchanged.
bool parse_id_text(const std::string& text, std::uint64_t& hi, std::uint64_t& lo);

/// Whether `text` is a node or resource id: [a-z0-9][a-z0-9_-]{0,31}.
bool is_valid_id(const std::string& text);

}  // namespace daarion
