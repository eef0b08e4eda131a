#pragma once

#include <memory>
#include <string>
#include <vector>

#include "streams/connection.h"
#include "streams/event_log.h"

namespace daarion {

/// Reads `stream` (CLUSTER_LOG, or an edge's mirror of it) from `from` on. The connections should be to different servers: the tail
/// is heard on each, and repeats are dropped by sequence.
std::unique_ptr<LogReader> make_nats_log_reader(std::vector<std::shared_ptr<Connection>> connections, std::string stream, Sequence from);

}  // namespace daarion
