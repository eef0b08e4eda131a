// One connection to NATS, kept up: reconnects for ever, notices a frozen server in half a second, never blocks when it is made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "streams/event_log.h"

namespace daarion {

class Connection {
 public:
  /// Begins to connect, in the order of the URLs. Errors: kFixInput if a URL is malformed.
  static Result<std::shared_ptr<Connection>> open(const NatsEndpoint& endpoint);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool connected() const;
  /// Waits until it is up. Errors: kFixInput if the server refuses the credentials, kRetry if none can be reached: naming the URLs.
  Result<void> wait_connected(Duration limit) const;

  /// For the adapters of this folder alone: the library's own handles.
  struct Handles;
  Handles& handles() const { return *handles_; }

 private:
  explicit Connection(std::unique_ptr<Handles> handles);
  std::unique_ptr<Handles> handles_;
};

}  // namespace daarion
