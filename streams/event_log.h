// CLUSTER_LOG as an appender and a reader see it.
//
// Append is compare-and-append: the version is in the subject and every append expects subject sequence 0, so the first append
// of a version wins, on every server and through mirrors. It carries Nats-Msg-Id (the event's id). A timeout means "may have
// happened": the subject is read back before anything is answered, and kUnknown is said only if that fails too.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "controlplane/core/io.h"
#include "controlplane/core/result.h"
#include "streams/message.h"

namespace daarion {

struct NatsEndpoint {
  std::vector<std::string> urls;  // tried in order, then round; nats://user:password@host:port
  std::string user, password;     // of the account; taken before those in the URL
  std::string name;               // of the connection, for people
  std::function<void(const std::string&)> leaves;  // told when it leaves a server that passes no answers on, any thread; empty: it stays
};

struct AppendItem {
  std::string subject, payload;
  EventId id;
};

/// Threads: any; calls block for at most `limit`.
class Appender {
 public:
  virtual ~Appender() = default;
  /// Appends `payload` under `subject`, expecting nothing there yet.
  /// kStored: it is in the log at `sequence` (also if an earlier try of the same id is). kConflict: another event has the
  /// subject. kUnknown: neither could be found out within `limit`.
  virtual AppendResult append(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) = 0;
  /// As append(), but looks first, and publishes nothing where another event has the subject, or while the stream's leader has not just heard a
  /// majority of its replicas: both would be refused, and there are servers that number wrong by what they refused (docs/adr/0006).
  /// One more question to the leader, unless an append of this node was stored a moment ago; for what is decided, not for much.
  virtual AppendResult append_if_free(const std::string& subject, const std::string& payload, const EventId& id, Duration limit) {
    return append(subject, payload, id, limit);
  }
  /// Appends many that do not depend on each other, many in flight where the log
  /// can: answers in the order of the items, each as append() gives it.
  virtual std::vector<AppendResult> append_all(const std::vector<AppendItem>& items, Duration limit) {
    std::vector<AppendResult> results;
    for (const AppendItem& item : items) results.push_back(append(item.subject, item.payload, item.id, limit));
    return results;
  }
};

/// Reads the log in order, from a sequence on, without a gap: live tail by cluster.events.> on two connections, gaps one by one,
/// catch-up by an ordered consumer. Threads: one reader; read() and next() block.
class LogReader {
 public:
  virtual ~LogReader() = default;
  /// The next messages in sequence: what is there, up to `most` (from 1 on), or none within `wait`: also where the log ends before what was read
  /// (LogInfo::look tells that). They stand, and may be moved from, until the next call.
  virtual Result<std::span<StoredMessage>> read(std::size_t most, Duration wait) = 0;
  /// The next one alone, or nothing within `wait`.
  Result<std::optional<StoredMessage>> next(Duration wait) {
    const auto messages = read(1, wait);
    if (!messages) return tl::unexpected(messages.error());
    if (messages->empty()) return std::optional<StoredMessage>{};
    return std::optional(std::move(messages->front()));
  }
  /// A head heard in a beat: what is missing up to it is fetched.
  virtual void heard_head(Sequence head) = 0;
};

/// What the log has in the place of an event.
struct LogLook {
  bool same = false;  // that very event
  Sequence head;      // the log's end, where it is not
};

/// What the stream's leader says.
class LogInfo {
 public:
  virtual ~LogInfo() = default;
  /// Of the log's end, by its leader's word. Errors: kRetry: nobody leads, or nobody answers; kStepDown: who leads lacks its beginning.
  virtual Result<LogHead> head(Duration limit) = 0;
  /// Whether the event of this id, stored at that time if it is known, stands at its sequence. That it does not is said only by a leader that has just heard a majority of its
  /// replicas. Errors: kRetry: nobody answers, or nobody who can know; there is no such stream.
  virtual Result<LogLook> look(const EventHead& event, Duration limit) = 0;
};

}  // namespace daarion
