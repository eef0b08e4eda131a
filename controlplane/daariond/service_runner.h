// The services of this node as threads around their core (core/service_core.h, core_thread.h): a worker for each one looks at it and runs its
// commands; both in turn, so that a look never sees a service half started.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/service_core.h"
#include "controlplane/daariond/core_thread.h"

namespace daarion {

class ServiceRunner {
 public:
  explicit ServiceRunner(BesidePorts ports);
  ~ServiceRunner();

  // Threads: any; none of these blocks.
  void folded(std::shared_ptr<const State> state) { core_.folded(std::move(state)); }
  void meet(Contact contact) { core_.meet(contact); }
  /// For `status`.
  std::vector<std::string> warnings() const { return core_.warnings(); }

 private:
  struct Worker;
  enum class Job { kLook, kStart, kStop };
  void staff(const std::vector<ServiceSpec>& specs, const std::string& address);
  void perform(ServiceOutput output);
  void work(Worker& worker);
  void run_hook_of(Worker& worker, bool start);

  const NodeId self_;
  Sequence topology_;                                       // of the core's thread, as what follows
  std::map<std::string, std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Worker>> leaving_;            // told to end
  CoreThread<ServiceCore> core_;                            // the last: its threads use the others
};

}  // namespace daarion
