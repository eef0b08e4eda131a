// What CLUSTER_LOG and CLUSTER_TELEMETRY must look like, and their making and mending. A log is never deleted, purged or made anew.
#pragma once

#include <memory>
#include <string>

#include "streams/connection.h"
#include "streams/event_log.h"

namespace daarion {

inline constexpr const char* kClusterLog = "CLUSTER_LOG";
inline constexpr const char* kClusterTelemetry = "CLUSTER_TELEMETRY";
inline constexpr const char* kLogMirror = "CLUSTER_LOG_MIRROR";  // on an edge: its own copy, under its own name

/// Creates the core's streams, or mends settings that differ. `replicas`: 1 or 3.
/// Errors: kRetry while JetStream has no leader or too few servers; kFixInput if a stream differs in what cannot be changed.
Result<void> provision_core_streams(Connection& connection, int replicas, Duration limit);

/// Creates an edge's mirror of the log. `core_domain`: the core's JetStream domain, as leaf nodes see it.
Result<void> provision_edge_mirror(Connection& connection, const std::string& core_domain, const std::string& edge, Duration limit);

/// Asks the leader of `stream`.
std::shared_ptr<LogInfo> make_nats_log_info(std::shared_ptr<Connection> connection, std::string stream = kClusterLog);

/// The server that leads `stream`; empty: unknown, or a standalone server.
std::string stream_leader(Connection& connection, const std::string& stream, Duration limit);
/// Asks the leader of `stream` to hand over: costs 0.3 s of appends.
Result<void> step_down_stream_leader(Connection& connection, const std::string& stream, Duration limit);

}  // namespace daarion
