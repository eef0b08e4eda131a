// What needs more of the log than one event: why with what led to it and what followed, and the state of any past moment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/core/state.h"
#include "proto/daarion/v1/admin.pb.h"
#include "streams/event_log.h"

namespace daarion {

using OpenReader = std::function<Result<std::unique_ptr<LogReader>>(Sequence from)>;
using Gone = std::function<bool()>;  // whoever asked has gone

/// One event. Errors: kRetry if it does not come within 3 s; kStop as decode_event.
Result<LogEvent> event_at(const OpenReader& open, Sequence at);

/// All from `first` to `last`. Errors: as event_at.
Result<std::vector<LogEvent>> events_of(const OpenReader& open, Sequence first, Sequence last);

/// `why` at a sequence: the decision, the event that caused it, and its phases as far as the log shows them up to `head`.
/// Errors: kFixInput if `at` is no decision or not in the log; kRetry if the log does not answer within 3 s.
Result<v1::Explanation> explain_at(const OpenReader& open, Sequence at, Sequence head);

/// Up to where a log is folded.
struct FoldLimit {
  Sequence sequence;                    // the last event to take; at most
  std::int64_t time_ns = INT64_MAX;     // and none stored after this
};
struct Folded {
  State state;
  Chain chain;
};
/// Folds the log from its first event in memory. `progress` is called after every 1000 events. Errors: kFixInput if it begins after the
/// limit; kRetry if an event does not come within 3 s, or `gone` became true; kStop as decode_event.
Result<Folded> fold_log(const OpenReader& open, const FoldLimit& limit, const Gone& gone,
                        const std::function<void(const State&)>& progress = {});

/// The whole state as JSON: one object per table, ids as UUIDs, enums as words.
std::string state_json(const State& state);

/// "2026-11-24T01:02:03.456Z", "2026-11-24T03:02:03+02:00" -> ns since 1970. Nothing if it is no RFC 3339 time.
std::optional<std::int64_t> parse_time(const std::string& text);

}  // namespace daarion
