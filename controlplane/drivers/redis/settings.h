// Every file that Redis reads and that is ours, rendered and written.
//
// What the operator sets himself goes into local.conf in the data directory (memory, eviction, save points); ours come after it and win.
#pragma once

#include <string>
#include <vector>

#include "controlplane/drivers/verbs.h"

namespace daarion::redis {

inline constexpr const char* kUser = "daarion";  // ours: replication and the control plane
// Nobody's address. Port 0 takes no connection, so a server that follows it is a read-only replica, and stays one.
inline constexpr const char* kNobody = "127.0.0.1";
inline constexpr const char* kNobodyPort = "0";
inline constexpr const char* kDumpFile = "dump.rdb";

/// Pure. How many replicas must be near before the primary takes a write.
std::size_t replicas_to_write(const ResourceSpec& resource);

/// Pure. What Sentinel is to know of a node by its tags: the least is taken first, 0 never. 100 where nothing is declared.
std::string replica_priority(const ResourceSpec& resource, const NodeId& node);

std::string socket_of(const DriverConfig& config);
std::string config_path(const std::string& data_dir);

/// Pure. redis.conf; upstream empty: follow nobody. `local`: there is a local.conf.
std::string render_settings(const DriverConfig& config, const PeerAddress* upstream, const std::string& password, bool local);

/// REDIS_PASSWORD of the environment. Errors: kFixInput, naming `what` cannot be prepared without.
Result<std::string> needed_password(const std::string& what);

/// How a server under Sentinel is started, so that one that restarts never serves its replicas what it came back with: the end of its command line.
std::vector<std::string> as_nobodys_replica();

/// Writes it. Idempotent. Errors: kRetry with the system's word.
Result<void> write_settings(const DriverConfig& config, const PeerAddress* upstream, const std::string& password, const SystemUser& user);

}  // namespace daarion::redis
