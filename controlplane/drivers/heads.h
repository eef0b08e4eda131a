// What a leader had when, on its observer's clock: since when a follower lacks something, of an engine whose own word is how much it lacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "controlplane/core/types.h"

namespace daarion {

class Heads {
 public:
  /// Fewer than before: another leader, or another store. What was measured by the old count is nothing any more.
  void remember(std::uint64_t has, Instant now) {
    if (!all_.empty() && has < all_.back().second) all_.clear();
    if (all_.empty() || has > all_.back().second) all_.emplace_back(now, has);
    if (all_.size() > kMost) all_.pop_front();
  }
  /// Since when there is more than that, in ms and as far back as is remembered; 0 where there is not.
  std::uint64_t lacks_ms(std::uint64_t has, Instant now) const {
    for (const auto& [since, there] : all_)
      if (there > has) return static_cast<std::uint64_t>(to_ms(now - since));
    return 0;
  }
  bool operator==(const Heads&) const = default;

 private:
  static constexpr std::size_t kMost = 600;  // about ten minutes of a leader that writes every second
  std::deque<std::pair<Instant, std::uint64_t>> all_;
};

}  // namespace daarion
