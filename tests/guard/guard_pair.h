// A guard pair of real processes around an engine, as tests drive it. Nothing here is GoogleTest's: daarion-guard-margins uses it too.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/node/guard_client.h"

namespace daarion::test {

/// Asks every 2 ms until it is so. Returns whether it came to be, within the limit.
bool until(const std::function<bool()>& what, Duration limit = std::chrono::seconds(10));

/// A file's bytes; empty if it cannot be read to its end. Source: the file, also one of /proc whose process ends meanwhile.
std::string text_of_file(const std::string& path);

/// The newest time in what daarion-stubborn-engine's children wrote to the file.
Instant last_write(const std::string& path);

class GuardPair {
 public:
  explicit GuardPair(GuardConfig config) : config_(std::move(config)) {}
  ~GuardPair();
  GuardPair(const GuardPair&) = delete;
  GuardPair& operator=(const GuardPair&) = delete;

  /// Starts the pair or finds a living one; true once it has reported.
  Result<void> connect();
  bool connected() const { return client_ != nullptr; }
  /// As a daemon that is gone.
  void disconnect() { client_.reset(); }
  /// Ends the pair and what it runs. Returns whether no process is left.
  bool end();

  GuardClient& client() { return *client_; }
  GuardConfig& config() { return config_; }
  GuardReport report();
  Instant reported();  // when the newest report came
  std::optional<EndCause> end_of(const SessionId& session);

  void arm(const SessionId& session, Instant deadline, std::uint64_t epoch = 1);
  /// Takes the next session for `length`, and waits for the guard's word; empty: it never came.
  SessionId take(Duration length);

  /// Living processes by working directory (engine) or command line (guards), named `comm` if given.
  std::vector<pid_t> processes(const std::string& comm = "") const;
  std::vector<pid_t> engine() const;  // without the guards

 private:
  GuardConfig config_;
  std::mutex mutex_;
  GuardReport report_;
  Instant reported_{};
  std::unique_ptr<GuardClient> client_;
};

}  // namespace daarion::test
