// Engines for daarion-guard-margins: each under a guard pair of its own, busy all the time, and able to say when it wrote last.
#pragma once

#include <memory>
#include <string>

#include "tests/guard/guard_pair.h"

namespace daarion::bench {

class GuardedEngine {
 public:
  virtual ~GuardedEngine() = default;
  virtual std::string name() const = 0;
  virtual test::GuardPair& pair() = 0;
  /// Starts it below the guard; returns when it writes.
  virtual Result<void> start() = 0;
  /// When its newest write or commit was made, or acknowledged to a client if that was later. Call it when no process of it is left.
  virtual Instant last_write() = 0;
};

/// Three children that write the time as often as they can, in sessions of their own (tests/guard/stubborn_engine.cc).
std::unique_ptr<GuardedEngine> stubborn(const std::string& cgroup);

/// PostgreSQL as it comes from initdb, on a UNIX socket: one backend that commits in a loop without asking anybody, and two clients with a commit
/// for each statement. Errors: no PostgreSQL is installed, or it does not start.
Result<std::unique_ptr<GuardedEngine>> busy_postgres(const std::string& cgroup);

}  // namespace daarion::bench
