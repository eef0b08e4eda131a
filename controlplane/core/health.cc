#include "controlplane/core/health.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace daarion {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<double> number_in(std::string_view text) {
  double number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(number) : std::nullopt;
}

bool is_comparison(Expectation::Op op) {
  return op == Expectation::Op::kAbove || op == Expectation::Op::kAtLeast || op == Expectation::Op::kBelow || op == Expectation::Op::kAtMost;
}

}  // namespace

int rank_of(Health health) {
  switch (health) {
    case Health::kHealthy: return 0;
    case Health::kDegraded: return 1;
    case Health::kMaintenance: return 2;
    case Health::kBroken: return 3;
    case Health::kUnknown: break;
  }
  return 4;
}

bool HealthFilter::take(Health health, bool check_broken, std::string cause, Instant now) {
  const bool changed = view_.health != health || view_.check_broken != check_broken;
  if (rank_of(health) >= rank_of(Health::kMaintenance) && rank_of(view_.health) < rank_of(Health::kMaintenance)) fell(now);
  view_.health = health;
  view_.check_broken = check_broken;
  view_.cause = std::move(cause);
  return changed;
}

void HealthFilter::begin_anew() {
  at_most_ = at_least_ = {};
  wrong_ = 0;
  in_doubt_ = false;
}

/// What the looks in a row amount to: the best that `rise_` of them were at least, or the worst that `fall_` of them were at most.
Health HealthFilter::counted(Health look, std::uint32_t looks) {
  const auto of = [](std::size_t rank) { return static_cast<Health>(rank + 1); };
  const auto is = static_cast<std::size_t>(rank_of(look)), was = static_cast<std::size_t>(rank_of(view_.health));
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    at_most_[rank] = is <= rank ? at_most_[rank] + looks : 0;
    at_least_[rank] = is >= rank ? at_least_[rank] + looks : 0;
  }
  const bool unknown = view_.health == Health::kUnknown;
  if (unknown && look == Health::kHealthy) return look;
  for (std::size_t rank = 0; rank < was && !unknown; ++rank)
    if (at_most_[rank] >= rise_) return of(rank);
  for (std::size_t rank = kRanks - 1; rank > (unknown ? 0 : was); --rank)
    if (at_least_[rank] >= fall_) return of(rank);
  return view_.health;
}

void HealthFilter::fell(Instant now) {
  falls_.push_back(now);
  while (falls_.size() > kFalls || now - falls_.front() > kWindow) falls_.pop_front();
  if (falls_.size() == kFalls) view_.flapping = true;
}

bool HealthFilter::step(const HealthVerdict& look, Instant now) {
  if (look.check_broken) {
    const std::uint32_t wrong = wrong_ + 1;
    begin_anew();
    wrong_ = std::min(wrong, fall_);
    in_doubt_ = !view_.check_broken && wrong_ < fall_;
    return wrong_ >= fall_ && take(view_.health, true, look.cause, now);
  }
  // A check that says something again is believed at once; what it says takes its looks.
  const bool repaired = view_.check_broken;
  view_.check_broken = false;
  wrong_ = 0;
  if (look.health != Health::kHealthy) good_since_ = kNever;
  else if (good_since_ == kNever) good_since_ = now;
  if (view_.flapping) {
    if (good_since_ == kNever || now - good_since_ < kSettled) return repaired;
    view_.flapping = false;
    falls_.clear();
    begin_anew();
    take(look.health, false, look.cause, now);
    return true;
  }
  if (look.health == Health::kUnknown) return repaired;
  const Health health = counted(look.health, look.looks);
  in_doubt_ = health != look.health;
  return (health != view_.health && take(health, false, look.cause, now)) || repaired;
}

bool HealthFilter::forget(Instant now) {
  if (view_.flapping) {
    // Held down by time alone: nobody can look at what is not running.
    if (!falls_.empty() && now - falls_.back() < kSettled) return false;
    view_.flapping = false;
    falls_.clear();
  }
  good_since_ = kNever;
  const bool changed = view_ != ServiceHealthChanged{};
  view_ = {};
  begin_anew();
  return changed;
}

bool HealthFilter::fail(std::string cause, Instant now) {
  const bool flapping = view_.flapping;
  if (rank_of(view_.health) >= rank_of(Health::kMaintenance)) fell(now);  // not counted by take()
  begin_anew();
  const bool changed = take(Health::kBroken, false, std::move(cause), now);
  good_since_ = kNever;
  return changed || flapping != view_.flapping;
}

std::optional<Expectation> parse_expectation(std::string_view text) {
  using Op = Expectation::Op;
  static constexpr std::pair<std::string_view, Op> kOps[] = {{">=", Op::kAtLeast}, {"<=", Op::kAtMost}, {"!=", Op::kIsNot}, {">", Op::kAbove}, {"<", Op::kBelow}, {"~", Op::kContains}};
  Expectation out;
  text = trimmed(text);
  for (const auto& [sign, op] : kOps) {
    if (!text.starts_with(sign)) continue;
    out.op = op;
    text = trimmed(text.substr(sign.size()));
    break;
  }
  out.text = std::string(text);
  if (!is_comparison(out.op)) return out;
  const auto number = number_in(text);
  if (!number) return std::nullopt;
  out.number = *number;
  return out;
}

std::string malformed_expectation(std::string_view field, std::string_view text) {
  if (field.empty()) return "no field; name one of the body, like nats_connected, or /a/b for one within another";
  if (text.empty()) return "nothing is expected; write true, a text, or \">0\"";
  if (!parse_expectation(text)) return std::string(text) + " compares with no number";
  return {};
}

bool keeps(const Expectation& expected, std::string_view text, std::optional<double> number) {
  switch (expected.op) {
    case Expectation::Op::kIs: return text == expected.text || (number && number_in(expected.text) == number);
    case Expectation::Op::kIsNot: return text != expected.text && !(number && number_in(expected.text) == number);
    case Expectation::Op::kContains: return text.find(expected.text) != std::string_view::npos;
    case Expectation::Op::kAbove: return number && *number > expected.number;
    case Expectation::Op::kAtLeast: return number && *number >= expected.number;
    case Expectation::Op::kBelow: return number && *number < expected.number;
    case Expectation::Op::kAtMost: return number && *number <= expected.number;
  }
  return false;
}

}  // namespace daarion
