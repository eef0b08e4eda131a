// What travels between the log and its readers, and the subjects it travels under. No NATS header here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "controlplane/core/event.h"
#include "controlplane/core/result.h"

namespace daarion {

/// One stored message of CLUSTER_LOG, as the stream holds it: the bytes that the chain digest is made of.
struct StoredMessage {
  Sequence sequence;
  std::int64_t stored_ns = 0;  // JetStream's timestamp, ns since 1970
  std::string subject;         // cluster.log.<kind>.<name>.<version>, also when it came by cluster.events
  std::string payload;
  bool operator==(const StoredMessage&) const = default;
};

/// "cluster.log.lease.postgres.8". A replica's name is "<resource>.<node>": two tokens.
std::string log_subject(const Aggregate& aggregate, Version version);
/// The reverse. Errors: kStop, naming the subject, if it is not of that form.
Result<std::pair<Aggregate, Version>> parse_log_subject(std::string_view subject);
/// "cluster.telemetry.lag.postgres.node2", "cluster.telemetry.health.node2.gpu".
std::string telemetry_subject(const Payload& payload, const ResourceId& resource);

}  // namespace daarion
