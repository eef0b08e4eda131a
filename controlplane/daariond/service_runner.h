// The services of this node as threads around their core (core/service_core.h). Nothing here touches the protocol thread.
//
//   services   steps the core, hands out its outputs
//   append     waits for a stream quorum
//   worker     one per service of this node: looks at it, and runs its commands; both in turn, so that a look never sees a service half started
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/service_core.h"
#include "streams/event_log.h"
#include "streams/mailbox.h"

namespace daarion {

struct ServicePorts {
  NodeId self;
  std::shared_ptr<Appender> appender;
  std::function<void(const std::string& subject, const std::string& payload)> telemetry;  // must not block; may lose; null: none
};

class ServiceRunner {
 public:
  explicit ServiceRunner(ServicePorts ports);
  ~ServiceRunner();

  // Threads: any; none of these blocks.
  void folded(std::shared_ptr<const State> state);
  void meet(ServiceContact contact);
  /// For `status`.
  std::vector<std::string> warnings() const;

 private:
  struct Worker;
  enum class Job { kLook, kStart, kStop };
  void run();
  void run_append();
  void perform(ServiceOutput output);
  void staff(const std::vector<ServiceSpec>& specs, const std::string& address);
  void work(Worker& worker);
  void run_hook_of(Worker& worker, bool start);
  void post(ServiceInput input);

  static constexpr std::size_t kInbox = 1024;  // looks pile up only while the machine stands still; what is lost is looked at again
  static constexpr std::size_t kQueue = 64;

  const ServicePorts ports_;
  ServiceCore core_;                        // of the services thread
  Mailbox<ServiceInput> inbox_{kInbox};
  Mailbox<std::shared_ptr<const State>> states_{1};
  Mailbox<AppendRequest> appends_{kQueue};
  std::map<std::string, std::unique_ptr<Worker>> workers_;  // of the services thread
  std::vector<std::unique_ptr<Worker>> leaving_;            // told to end
  mutable std::mutex mutex_;
  std::vector<std::string> warnings_;       // guarded by mutex_
  std::atomic<bool> ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace daarion
