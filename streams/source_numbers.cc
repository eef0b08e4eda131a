#include "streams/source_numbers.h"

namespace daarion {

void SourceNumbers::take(std::uint64_t sequence, const std::string& origin, std::uint64_t number) {
  if (sequence > next_) holes_ += sequence - next_;
  next_ = sequence + 1;
  if (origin.empty()) return;
  const auto [at, fresh] = newest_.try_emplace(origin, whole_ ? Newest{} : Newest{number, holes_});
  Newest& newest = at->second;
  const std::uint64_t missing = number > newest.number ? number - newest.number - 1 : 0;
  if (missing > holes_ - newest.holes) gaps_[origin][newest.number + 1] = number - 1;
  newest = {number, holes_};
}

void SourceNumbers::forget(const std::string& origin, std::uint64_t first) {
  const auto at = gaps_.find(origin);
  if (at == gaps_.end()) return;
  at->second.erase(first);
  if (at->second.empty()) gaps_.erase(at);
}

}  // namespace daarion
