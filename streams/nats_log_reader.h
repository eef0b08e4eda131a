#pragma once

#include <memory>
#include <string>
#include <vector>

#include "streams/connection.h"
#include "streams/event_log.h"

namespace daarion {

/// Where the log may be read: a connection, and the stream that is asked for there.
struct LogSource {
  std::shared_ptr<Connection> connection;
  std::string stream;  // CLUSTER_LOG in the core, CLUSTER_LOG_MIRROR on an edge's own server
};

/// Reads the log from `from` on. The tail is heard on every source, and repeats are dropped by sequence; what is missing is asked for from
/// each source in turn. In the core: two connections to different servers. On an edge: {leaf, CLUSTER_LOG_MIRROR} first, then
/// {core, CLUSTER_LOG}: cut off it goes on from the mirror, and after a heal it need not wait for the mirror to catch up.
std::unique_ptr<LogReader> make_nats_log_reader(std::vector<LogSource> sources, Sequence from);
/// The same stream on every connection.
std::unique_ptr<LogReader> make_nats_log_reader(const std::vector<std::shared_ptr<Connection>>& connections, const std::string& stream,
                                                Sequence from);

}  // namespace daarion
