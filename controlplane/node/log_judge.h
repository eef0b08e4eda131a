// Judges whether what this node folded is still in the log: the rule "judged" of core/regression.h.
//
// A look asks for an event at its sequence and compares ids. The newest event folded is looked at each time: a log that ends before it, or
// that went on with others, does not have it. All others known by name are looked at too: each when it is new here; all of them, the newest
// first, after another server came to lead or nobody answered (the log may have lost events meanwhile, and grown past what was folded); and one by one for ever. For a
// replica that comes back with what the log lost keeps it, beside what came later, and nats-server does not notice: it may give it to a
// reader, and when it leads, the log is another one.
#pragma once

#include <functional>
#include <optional>

#include "controlplane/core/regression.h"
#include "controlplane/core/result.h"
#include "streams/event_log.h"

namespace daarion {

class LogJudge {
 public:
  /// Asks for the event in its place. Errors: nobody can tell now.
  using Look = std::function<Result<LogLook>(const EventHead&)>;

  /// `apart`: between the two looks that are believed.
  explicit LogJudge(Duration apart) : apart_(apart) {}

  /// One look, and more where something is wrong. Returns what the log has lost of what was folded, once that is certain.
  /// Threads: one; blocks for as long as `look` does.
  std::optional<LogLost> judge(const LogId& log, const EventHeads& heads, const Look& look, Instant now);

  /// Another server leads the log, which may be another log: everything known by name is looked at again, the newest first.
  void look_again();
  /// Whether something was missing at the last look: the next one should not be waited for long.
  bool doubts() const { return doubt_.has_value(); }

 private:
  struct Doubt {
    EventHead head;
    Instant since{};
  };
  std::optional<EventHead> missing(const EventHeads& heads, const Look& look);

  Duration apart_;
  Sequence sound_from_, sound_to_;  // looked at since nobody answered
  bool whole_ = false;              // all that is known by name was
  std::optional<Doubt> doubt_;
};

}  // namespace daarion
