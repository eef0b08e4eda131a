// What CLUSTER_LOG and CLUSTER_TELEMETRY must look like, and their making and mending. A log is never deleted, purged or made anew.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "streams/connection.h"
#include "streams/event_log.h"

namespace daarion {

inline constexpr const char* kClusterLog = "CLUSTER_LOG";
inline constexpr const char* kClusterTelemetry = "CLUSTER_TELEMETRY";
// On an edge: its own copies, under their own names, which answer while it is cut off.
inline constexpr const char* kLogMirror = "CLUSTER_LOG_MIRROR";
inline constexpr const char* kTelemetryMirror = "CLUSTER_TELEMETRY_MIRROR";

/// A node with a JetStream domain of its own.
struct EdgeDomain {
  NodeId edge;
  std::string domain;
};

/// Creates the core's streams, or mends settings that differ. `replicas`: 1 or 3. `edges`: whose outboxes CLUSTER_TELEMETRY takes in;
/// an edge that is away is waited for by the server.
/// Errors: kRetry while JetStream has no leader or too few servers; kFixInput if a stream differs in what cannot be changed.
Result<void> provision_core_streams(Connection& connection, int replicas, Duration limit, const std::vector<EdgeDomain>& edges = {});

/// "CLUSTER_OUTBOX_node3": where an edge's reports wait for the core.
std::string outbox_of(const NodeId& edge);
/// Creates or mends the edge's outbox on its own JetStream. The leaf link must not carry cluster.telemetry.>: the core takes it from here.
Result<void> provision_edge_outbox(Connection& leaf, const NodeId& edge, Duration limit);

/// Creates an edge's mirrors of log and telemetry. `core_domain`: the core's JetStream domain, as leaf nodes see it.
/// Errors: kRetry while a mirror is yet to be made and the core's streams cannot be reached over the leaf link; kFixInput if a mirror of
/// another origin is there: it is a copy, and may be deleted; it is not deleted here.
Result<void> provision_edge_mirrors(Connection& leaf, const std::string& core_domain, const NodeId& edge, Duration limit);

/// Asks the leader of `stream`.
std::shared_ptr<LogInfo> make_nats_log_info(std::shared_ptr<Connection> connection, std::string stream = kClusterLog);

/// What a stream has, by the word of a leader that has just heard a majority of its replicas: one that was cut off or frozen answers for up
/// to 20 s of what was. `heard_within`: in how short a time before it answers; nothing: about two of raft's heartbeats. Errors: kRetry: nobody
/// answers, or nobody who can know; there is no such stream. `domain`: JetStream's; empty: the connection's own.
struct StreamRange {
  std::uint64_t first = 0, last = 0;
};
Result<StreamRange> range_in_touch(Connection& connection, const std::string& stream, Duration limit, std::optional<Duration> heard_within = {},
                                   const std::string& domain = {});

/// The server that leads `stream`; empty: unknown, or a standalone server.
std::string stream_leader(Connection& connection, const std::string& stream, Duration limit);
/// Asks the leader of `stream`, of the JetStream domain (empty: the connection's own), to hand over: costs 0.3 s of appends.
Result<void> step_down_stream_leader(Connection& connection, const std::string& stream, Duration limit, const std::string& domain = {});

}  // namespace daarion
