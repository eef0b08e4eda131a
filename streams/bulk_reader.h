// Catch-up: a long stretch of the log by an ordered consumer. A thread of its own takes what the library has, so that reading and
// folding overlap, and hands it over by the hundred: a lock and a wake-up for each message would cost as much as the message.
#pragma once

#include <memory>
#include <vector>

#include "streams/message.h"
#include "streams/nats_log_reader.h"

namespace daarion {

/// Threads: one uses it, and one of its own fills it.
class BulkReader {
 public:
  enum class Outcome {
    kGoing,    // more may come
    kEnd,      // it gave all that the stream had
    kStalled,  // nothing came for too long, or not what should: begin anew where you are
  };

  virtual ~BulkReader() = default;
  /// Begins at sequence `from` of the source, or gives nothing if no consumer can be made there now.
  static std::unique_ptr<BulkReader> begin(const LogSource& source, std::uint64_t from);
  /// Gives what came since the last call, in order and without a gap, into `out`, which is emptied first. Waits up to `wait` for a
  /// message. The outcome is that after these messages.
  virtual Outcome take(std::vector<StoredMessage>& out, Duration wait) = 0;
};

}  // namespace daarion
