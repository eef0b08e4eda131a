// A driver turns one engine into the same few verbs; all engine knowledge stays in its folder. The engine's processes belong to
// the guard: a driver asks an EngineHost to start them, and never kills on its own account.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "controlplane/core/io.h"
#include "controlplane/core/result.h"

namespace daarion {

/// One process to run as the engine. The host makes it a descendant of the guard.
struct EngineCommand {
  std::vector<std::string> argv;               // argv[0] is an absolute path
  std::vector<std::string> environment;        // KEY=value, whole: nothing is inherited
  std::string user;                            // to become, if the host runs as root; empty: stay
  std::string directory;                       // working directory; also how strays are known after a lost guard
  std::string log_file;                        // stdout and stderr are appended there
};

/// Where engines run. Threads: a driver calls it from its own worker only; calls block for at most a few seconds.
class EngineHost {
 public:
  virtual ~EngineHost() = default;
  /// Starts the engine. Returns the incarnation it was given. Errors: kRetry while fencing, or if one already runs.
  virtual Result<std::uint64_t> start(const EngineCommand& command) = 0;
  /// Sends a signal to the engine's first process (the postmaster), announced: an end that follows is no crash. 0: only announced.
  virtual Result<void> stop(int signal) = 0;
  /// Waits until no process of the engine is left. Errors: kRetry after `limit`.
  virtual Result<void> wait_empty(Duration limit) = 0;
  /// The newest incarnation and whether it runs.
  virtual std::uint64_t incarnation() const = 0;
  virtual bool running() const = 0;
};

/// How to reach a peer's engine.
struct PeerAddress {
  NodeId node;
  std::string host;
  std::uint32_t port = 0;
};

struct DriverConfig {
  NodeId self;
  ResourceSpec resource;
  std::vector<PeerAddress> peers;  // every member, this node among them
  std::string run_dir;             // sockets, pass files, logs; private to this node
  std::string engine_user;         // the engine's system user when started by root; empty: the caller
  bool looks_only = false;         // nothing is written for it: another daemon may run the engine
};

/// One engine on one node. Threads: all calls come from one worker per resource, so a slow engine holds up nobody else.
class Driver {
 public:
  virtual ~Driver() = default;
  /// Looks at the engine. Bounded: at most about 500 ms. Fills everything but `resource` and `age_ms`.
  virtual EngineReport observe() = 0;
  /// Runs one verb to its end; idempotent: a repeat after success is a success. `command.epoch` is the fencing token.
  virtual DriverResult run(const DriverCommand& command) = 0;
};

}  // namespace daarion
