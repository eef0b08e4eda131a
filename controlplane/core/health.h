// What one look at a service says, and what many looks in a row say. Pure: looks and the time in, the health that counts out.
//
// WHY NOT EACH LOOK. A service that misses one answer is not lost, and one that answers once is not back: what counts falls after `fall` bad
// looks in a row and rises after `rise` good ones. One that falls again and again is held down (`flapping`) until it has been well for a
// while: else everything that follows it would move with each of its turns.
//
// A CHECK CAN BE WRONG TOO: a path that the service does not have, a command that is not there, no JSON where a field is expected. Such a look
// says nothing of the service: its health stays as it was, and the check is said to be broken.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "controlplane/core/event.h"
#include "controlplane/core/types.h"

namespace daarion {

/// What one look says.
struct HealthVerdict {
  Health health = Health::kUnknown;
  bool check_broken = false;  // then `health` says nothing
  std::string cause;          // why it is not healthy, or what is wrong with the check
  std::uint32_t looks = 1;    // that it counts as: one that had no answer for several intervals
  bool operator==(const HealthVerdict&) const = default;
};

/// 0 healthy, then degraded, maintenance, broken; unknown is worst.
int rank_of(Health health);

class HealthFilter {
 public:
  HealthFilter() = default;
  HealthFilter(std::uint32_t rise, std::uint32_t fall) : rise_(rise), fall_(fall) {}

  /// Takes a look. Returns whether what counts changed (the cause alone does not count).
  bool step(const HealthVerdict& look, Instant now);
  /// It is not known any more, as of a service that was stopped or started: the next look counts at once if it is good. Its falls are remembered.
  bool forget(Instant now);
  /// A fall without a look: its start command failed.
  bool fail(std::string cause, Instant now);

  const ServiceHealthChanged& now() const { return view_; }
  /// The last look was another than what counts: worth looking again soon.
  bool in_doubt() const { return in_doubt_; }

  // A fourth fall within a minute is held down until half a minute of good looks.
  static constexpr std::size_t kFalls = 4;
  static constexpr Duration kWindow = std::chrono::seconds(60);
  static constexpr Duration kSettled = std::chrono::seconds(30);

 private:
  bool take(Health health, bool check_broken, std::string cause, Instant now);
  void begin_anew();
  Health counted(Health look, std::uint32_t looks);
  void fell(Instant now);

  std::uint32_t rise_ = 2, fall_ = 2;
  ServiceHealthChanged view_;
  static constexpr std::size_t kRanks = 4;
  std::array<std::uint32_t, kRanks> at_most_{}, at_least_{};  // looks in a row that were of this rank or better, or worse
  std::uint32_t wrong_ = 0;                                   // that the check was broken
  bool in_doubt_ = false;
  std::deque<Instant> falls_;
  Instant good_since_ = kNever;
};

/// What is expected of one field of a JSON body: "true", "text", "!= text", "> 0", ">= 1", "< 5", "<= 5", "~ part".
struct Expectation {
  enum class Op { kIs, kIsNot, kAbove, kAtLeast, kBelow, kAtMost, kContains };
  Op op = Op::kIs;
  std::string text;
  double number = 0;  // of the comparisons
  bool operator==(const Expectation&) const = default;
};

/// Errors: nothing, where a comparison has no number.
std::optional<Expectation> parse_expectation(std::string_view text);
/// Why field and text are no expectation; empty: they are one.
std::string malformed_expectation(std::string_view field, std::string_view text);
/// Whether a value keeps it: its text ("true", "null", a number, a string), its number if it is one; a list keeps it with any element.
bool keeps(const Expectation& expected, std::string_view text, std::optional<double> number);

}  // namespace daarion
