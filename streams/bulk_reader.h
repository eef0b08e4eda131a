// Catch-up: a long stretch of the log by an ordered consumer. A thread of its own takes what the library has, so that reading and
// folding overlap, and hands it over by the hundred: a lock and a wake-up for each message would cost as much as the message.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "streams/message.h"
#include "streams/nats_log_reader.h"

namespace daarion {

/// A list of messages that keeps the memory of those that were in it.
class Gulp {
 public:
  StoredMessage& add() {
    if (count_ == messages_.size()) messages_.emplace_back();
    return messages_[count_++];
  }
  void clear() { count_ = 0; }
  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  std::span<StoredMessage> from(std::size_t at, std::size_t most) { return {messages_.data() + at, std::min(most, count_ - at)}; }

 private:
  std::vector<StoredMessage> messages_;
  std::size_t count_ = 0;
};

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
  virtual Outcome take(Gulp& out, Duration wait) = 0;
};

}  // namespace daarion
