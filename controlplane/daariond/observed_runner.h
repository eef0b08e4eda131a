// The resources whose engine elects by itself as threads around their core (core/observed_core.h, core_thread.h): a worker for each one looks at
// it, waits for the engine's word, and does what was asked for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/daariond/core_thread.h"
#include "controlplane/drivers/observer.h"

namespace daarion {

struct ObservedSeat {
  ResourceId resource;
  std::function<Result<std::unique_ptr<Observer>>()> make;  // tried again where it fails
};

class ObservedRunner {
 public:
  ObservedRunner(BesidePorts ports, std::vector<ObservedSeat> seats);
  ~ObservedRunner();

  // Threads: any; none of these blocks.
  void folded(std::shared_ptr<const State> state) { core_.folded(std::move(state)); }
  void meet(Contact contact) { core_.meet(contact); }
  /// For `status`.
  std::vector<std::string> warnings() const;
  /// As last seen from this node.
  ResourceViews views() const;

 private:
  struct Worker;
  void work(Worker& worker);
  void perform(ObservedOutput output);
  void note(const State& state);

  std::map<ResourceId, std::unique_ptr<Worker>> workers_;
  mutable std::mutex mutex_;
  ResourceViews views_;                             // guarded by mutex_
  std::map<NodeId, MemberIntent> intents_;          // guarded by mutex_: of those that are not active
  std::map<ResourceId, std::string> not_made_;      // guarded by mutex_: why an observer could not be made
  CoreThread<ObservedCore> core_;                   // after what its threads use
};

}  // namespace daarion
