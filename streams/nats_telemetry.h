// Reports on their way to CLUSTER_TELEMETRY, or to the edge's outbox: whichever stream the server of this connection has.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "streams/connection.h"

namespace daarion {

/// Threads: any; publish() never blocks. Reports wait in a bounded queue while the server is away, the oldest are dropped when it is full.
class TelemetryPublisher {
 public:
  virtual ~TelemetryPublisher() = default;
  virtual void publish(const std::string& subject, const std::string& payload) = 0;
  /// Reports dropped so far: the queue was full, or no stream took them.
  virtual std::uint64_t lost() const = 0;
};

/// Each report carries a Nats-Msg-Id of its own, the same on every try, so that a repeat is stored once.
std::shared_ptr<TelemetryPublisher> make_nats_telemetry(std::shared_ptr<Connection> connection);

}  // namespace daarion
