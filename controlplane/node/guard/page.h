// The page that both guards share: until when the engine may run, and whether the fence has begun.
//
// Every change is one compare-and-swap, so that an extension and a fence that meet have one winner: once fencing has begun, no
// extension succeeds, whoever began it.
#pragma once

#include <atomic>
#include <cstdint>

namespace daarion::guard {

inline constexpr std::int64_t kNoDeadline = INT64_MAX;  // no session is taken, or its promise has no end
inline constexpr std::int64_t kFencing = INT64_MIN;     // begun; only the keeper, when nothing is left, ends it

struct Page {
  std::atomic<std::int64_t> deadline{kNoDeadline};  // ns of NodeClock
  std::atomic<std::uint64_t> pulse{0};              // of a keeper that fences: it moves as long as the keeper works on it
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

/// Moves the deadline. False, and nothing changed, if fencing has begun or the present deadline has passed.
inline bool extend(Page& page, std::int64_t to, std::int64_t now) {
  std::int64_t present = page.deadline.load();
  while (present != kFencing && present > now)
    if (page.deadline.compare_exchange_weak(present, to)) return true;
  return false;
}

/// Begins the fence, whatever the deadline. False if it had begun.
inline bool begin_fence(Page& page) { return page.deadline.exchange(kFencing) != kFencing; }

/// Begins the fence if the deadline has passed. True if it has begun now or before.
inline bool fence_if_due(Page& page, std::int64_t now) {
  std::int64_t present = page.deadline.load();
  while (present != kFencing) {
    if (present > now) return false;
    if (page.deadline.compare_exchange_weak(present, kFencing)) return true;
  }
  return true;
}

}  // namespace daarion::guard
