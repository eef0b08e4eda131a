// The folded state on disk: RocksDB, one column family per projection. RocksDB's own WAL is off and the column families flush
// atomically: the stream is the WAL, and a crash at any byte leaves a prefix of the log.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "controlplane/core/peers.h"
#include "controlplane/core/regression.h"
#include "controlplane/core/result.h"
#include "controlplane/core/state.h"
#include "streams/message.h"

namespace daarion {

/// Folds the log into State, and State into RocksDB. Threads: one.
class StateStore {
 public:
  virtual ~StateStore() = default;
  /// Opens `folder`, or makes it. A corrupt or foreign one is moved aside to `<folder>.bad-<n>` and begun anew; `rebuilt` then
  /// says so. Errors: kFixInput if the folder cannot be used at all (locked by another daemon, no right), kRetry if it has no room.
  static Result<std::unique_ptr<StateStore>> open(const std::string& folder);

  /// Moves `folder`, which no store has open, aside to `<folder>.lost`, in place of an earlier one. Returns where it is now.
  /// Errors: kRetry.
  static Result<std::string> set_aside(const std::string& folder);

  virtual const State& state() const = 0;
  virtual FoldMark mark() const = 0;      // sequence, digest and chain after the last applied event
  /// The newest events applied, kHeads of them where this store has applied as many.
  virtual const EventHeads& heads() const = 0;
  virtual const std::string& rebuilt() const = 0;  // why it was begun anew; empty: it was not

  /// Applies messages in order, as one batch. Pre: messages[0].sequence == mark().sequence + 1, without a gap.
  /// Errors: kStop at the first that cannot be decoded (those before it are applied), with decode_event's message.
  virtual Result<void> apply(std::span<const StoredMessage> messages) = 0;
  /// Makes all that was applied durable. Called at least every 60 s, and at the end. Errors: kRetry, no room or a bad disk: the fold goes on
  /// in memory, and the next call writes all of it anew.
  virtual Result<void> flush() = 0;
};

/// The digest of a whole state, computed from nothing: what the incremental one must equal.
Digest state_digest(const State& state);

}  // namespace daarion
