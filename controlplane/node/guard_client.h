// The daemon's side of daarion-guard: starts the pair or finds a living one, sends commands, hears reports.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "controlplane/core/io.h"
#include "controlplane/drivers/driver.h"

namespace daarion {

struct GuardConfig {
  ResourceId resource;
  std::string binary;    // path of daarion-guard
  std::string socket;    // path of its UNIX socket (SOCK_SEQPACKET, 0600): guard_socket(data_dir)
  std::string data_dir;  // strays of a lost guard are known by this working directory
  std::string cgroup;    // a cgroup v2 folder that the guard may make and kill; empty: none
  std::string log_file;
};

/// Beside the data, with the guard's lock: a daemon that lost its run folder still finds the pair that owns the engine.
inline std::string guard_socket(const std::string& data_dir) { return data_dir + ".guard.socket"; }

/// Connects to the resource's guard, starting a pair if none lives, after no process of an earlier engine is left.
/// Threads: an own thread reads the socket and calls `on_report` from there; send() may be called from any thread and never
/// blocks; EngineHost's calls block and may be called from one other thread at a time.
class GuardClient : public EngineHost {
 public:
  using OnReport = std::function<void(const GuardReport&)>;
  static Result<std::unique_ptr<GuardClient>> open(GuardConfig config, OnReport on_report);
  /// Arm, retire or fence. Its effect comes back as a report. Instants are NodeClock's (node/clock.h), the same on both sides.
  virtual void send(const GuardCommand& command) = 0;
  /// Ends the guard pair, and whatever it still runs: after a planned stop. Until then a guard outlives its daemon.
  virtual void end() = 0;
};

}  // namespace daarion
