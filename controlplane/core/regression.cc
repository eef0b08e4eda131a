#include "controlplane/core/regression.h"

#include <algorithm>

namespace daarion {

void head_of(const LogEvent& event, EventHead& out) {
  const EventHeader& h = event.event.header;
  out.sequence = event.sequence;
  out.id = h.id;
  out.type = payload_name(event.event.payload);
  out.subject.assign(h.aggregate.kind).append(".").append(h.aggregate.name).append(".").append(std::to_string(h.version.value));
  out.epoch = h.epoch;
  out.stored_ns = event.stored_ns;
}

bool EventHead::is(std::string_view message_id, std::int64_t stored) const { return message_id == to_text(id) && (stored_ns == 0 || stored == stored_ns); }

EventHead head_of(const LogEvent& event) {
  EventHead out;
  head_of(event, out);
  return out;
}

std::string lines_of(const EventHeads& heads, Sequence head, Sequence folded) {
  const auto lost = std::ranges::upper_bound(heads, head, {}, &EventHead::sequence);
  const auto end = std::ranges::upper_bound(heads, folded, {}, &EventHead::sequence);
  const auto count = static_cast<std::size_t>(end - lost);
  const auto named = end - static_cast<std::ptrdiff_t>(std::min(count, kHeadsNamed));
  const std::uint64_t others = folded.value - std::min(folded.value, head.value) - std::min<std::uint64_t>(count, kHeadsNamed);
  std::string out = others == 0 ? "" : std::to_string(others) + " older ones\n";
  for (auto at = named; at != end; ++at) {
    out += std::to_string(at->sequence.value) + " " + at->type + " " + at->subject;
    if (at->epoch.value != 0) out += " epoch " + std::to_string(at->epoch.value);
    out += " " + to_text(at->id) + "\n";
  }
  return out;
}

LogLost joined(const LogLost& older, const LogLost& newer) {
  if (older.log != newer.log || newer.head > older.folded) return newer;
  if (newer.head >= older.head && newer.folded <= older.folded) return older;
  return {.log = newer.log, .folded = std::max(older.folded, newer.folded), .head = std::min(older.head, newer.head), .known = older.known + newer.known};
}

}  // namespace daarion
