// An EngineHost without a guard, for driver tests: forks the engine itself and ends all of it by pid.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "controlplane/drivers/driver.h"

namespace daarion {

/// Processes of the engine are those that work in its directory, as postgres' own do. Their parent may have died: this process
/// becomes a child subreaper, so that every one of them can be waited for. Threads: one.
class DirectHost : public EngineHost {
 public:
  DirectHost();
  ~DirectHost() override;  // leaves no process
  Result<std::uint64_t> start(const EngineCommand& command) override;
  Result<void> stop(int signal) override;  // SIGSTOP: returns once it has stopped
  Result<void> wait_empty(Duration limit) override;
  std::uint64_t incarnation() const override { return incarnation_; }
  bool running() const override;
  /// What a fence does: kills every process until none is left.
  void kill_all();
  pid_t first() const { return pid_; }

 private:
  std::vector<pid_t> processes() const;
  void reap() const;
  std::uint64_t incarnation_ = 0;
  mutable pid_t pid_ = 0;
  std::string directory_;
};

}  // namespace daarion
