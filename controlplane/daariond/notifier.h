// One line per decision to people (`notify:` of the cluster file). The node that appended an event runs the commands that name it, so
// there is one line per decision and not one per node. Nothing is notified twice, and nothing of an earlier run: a daemon that dies
// between the append and the command has told nobody. PromotionCompleted is another node's event; name it too where that matters.
//
// An append without an answer (the log's leader just died) may be in the log all the same: such an event is noticed when it is read.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/topology/cluster_file.h"
#include "streams/event_log.h"
#include "streams/mailbox.h"

namespace daarion {

class Notifier {
 public:
  Notifier(std::vector<NotifySpec> specs, std::string cluster);
  /// Runs what is queued to its end first.
  ~Notifier();

  // Threads: any; none of these blocks.
  void appending(const std::string& subject, const std::string& payload, const EventId& id);
  void appended(const EventId& id, const AppendResult& result);
  void read(const StoredMessage& message);

  /// Commands that failed the last time, for `status`; each until it succeeds, at most an hour.
  std::vector<std::string> warnings() const;

 private:
  struct Open {  // an append whose outcome is not known
    std::string subject, payload;
    EventId id;
  };
  struct Failure {
    Instant at{};
    std::string text;
  };
  void stored(const Open& open, Sequence sequence);
  void run();
  void tell(const NotifySpec& spec, const LogEvent& event);

  static constexpr std::size_t kOpen = 64;   // appends of one node that wait for an answer; older ones are not noticed any more
  static constexpr std::size_t kQueue = 64;  // events, while a command hangs

  const std::vector<NotifySpec> specs_;
  const std::string cluster_;
  mutable std::mutex mutex_;
  std::vector<Open> open_;
  std::map<std::string, Failure> failures_;
  Mailbox<LogEvent> queue_{kQueue};
  std::thread thread_;
};

// The same appender and reader, and the notifier hears of what passes.
std::shared_ptr<Appender> noticed(std::shared_ptr<Appender> appender, std::shared_ptr<Notifier> notifier);
std::unique_ptr<LogReader> noticed(std::unique_ptr<LogReader> reader, std::shared_ptr<Notifier> notifier);

}  // namespace daarion
