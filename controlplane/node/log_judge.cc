#include "controlplane/node/log_judge.h"

#include <algorithm>

namespace daarion {
namespace {

// Beside the newest. After a start or an interruption all heads are looked at within 4 s, the newest first.
constexpr int kPerLook = 16;

/// How many of the heads, from the oldest on, are the log's. Errors: of `look`.
Result<std::size_t> count_common(const EventHeads& heads, const LogJudge::Look& look, Sequence& end) {
  std::size_t common = 0, others = heads.size();
  while (common < others) {
    const std::size_t middle = common + (others - common) / 2;
    const auto seen = look(heads[middle]);
    if (!seen) return tl::unexpected(seen.error());
    if (seen->same) common = middle + 1;
    else others = middle, end = std::min(end, seen->head);
  }
  return common;
}

}  // namespace

void LogJudge::look_again() {
  sound_from_ = sound_to_ = {};
  whole_ = false;
}

/// An event that the log does not have; nothing: none is missing, or nobody can tell.
std::optional<EventHead> LogJudge::missing(const EventHeads& heads, const Look& look) {
  const auto newest = look(heads.back());
  if (!newest) {
    // Whoever answers next may be another leader, with another log, which may have grown past what was folded here.
    look_again();
    return std::nullopt;
  }
  if (!newest->same) return heads.back();
  const auto check = [&](const EventHead& head) -> std::optional<bool> {
    const auto seen = look(head);
    return seen ? std::optional<bool>(seen->same) : std::nullopt;
  };
  int left = kPerLook;
  if (sound_to_ < heads.front().sequence) sound_from_ = sound_to_ = heads.back().sequence;
  // What came since, oldest first; then on from the other end, and, once all are looked at, round again one by one.
  for (auto at = std::ranges::upper_bound(heads, sound_to_, {}, &EventHead::sequence); at != heads.end() && left > 0; ++at, --left) {
    const auto same = check(*at);
    if (!same) return std::nullopt;
    if (!*same) return *at;
    sound_to_ = at->sequence;
  }
  if (sound_from_ <= heads.front().sequence) {
    whole_ = true;
    sound_from_ = sound_to_;
  }
  if (whole_) left = std::min(left, 1);
  for (auto at = std::ranges::lower_bound(heads, sound_from_, {}, &EventHead::sequence); at != heads.begin() && left > 0; --left) {
    --at;
    const auto same = check(*at);
    if (!same) return std::nullopt;
    if (!*same) return *at;
    sound_from_ = at->sequence;
  }
  return std::nullopt;
}

std::optional<LogLost> LogJudge::judge(const LogId& log, const EventHeads& heads, const Look& look, Instant now) {
  if (heads.empty()) return std::nullopt;
  if (heads.back().sequence < sound_to_) look_again();  // the fold began anew
  const auto bad = missing(heads, look);
  if (!bad) {
    doubt_.reset();
    return std::nullopt;
  }
  if (!doubt_ || doubt_->head.id != bad->id) doubt_ = Doubt{*bad, now};
  if (now < doubt_->since + apart_) return std::nullopt;
  LogLost lost{.log = log, .folded = bad->sequence, .head = {}, .known = {}};
  // Up to the one that is missing: those after it may be the log's all the same.
  const EventHeads until(heads.begin(), std::ranges::upper_bound(heads, bad->sequence, {}, &EventHead::sequence));
  Sequence end = bad->sequence;
  const auto common = count_common(until, look, end);
  if (!common) return std::nullopt;
  lost.head = *common > 0 ? until[*common - 1].sequence : std::min(end, Sequence{heads.front().sequence.value - 1});
  lost.known = lines_of(heads, lost.head, lost.folded);
  doubt_.reset();
  look_again();
  return lost;
}

}  // namespace daarion
