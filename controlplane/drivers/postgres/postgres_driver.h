// PostgreSQL, 15 or later. The control plane starts and stops it, promotes it, and makes replicas of it; what
// the operator may set himself is in settings.h.
//
// Rules that hold at every step:
//  - A starting engine never comes up writable: standby.signal is there before every start; only kPromote opens it.
//  - What was opened under which session is on disk before the engine is told to open (marker.h).
//  - The data directory changes hands by renames: a half made copy is never taken for data.
//  - Data without our marker are foreign: read, never written.
//  - The replication password is in the environment of this process and in one 0600 file, nowhere else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/drivers/verbs.h"

namespace daarion {

/// Reads PG_REPLICATION_USER and PG_REPLICATION_PASSWORD. Errors: kFixInput if one is missing, the member is not listed, or
/// PostgreSQL is not installed.
Result<std::unique_ptr<Driver>> make_postgres_driver(const DriverConfig& config, EngineHost& host);

namespace postgres {

struct Credentials {
  std::string user;
  std::string password;
};
Result<Credentials> credentials_from_environment();

/// What the primary says of one replica: its end of the lag. Units: bytes of log, milliseconds.
struct ReplicaLag {
  NodeId node;
  std::string state;       // streaming, catchup, backup, ...
  std::string sync_state;  // async, sync, quorum, potential
  Lsn sent;
  Lsn flushed;
  Lsn replayed;
  std::uint64_t lag_bytes = 0;  // written here, not flushed there
  std::uint64_t lag_ms = 0;     // from writing here to replaying there; 0 when nothing is written
};

class PostgresDriver : public VerbDriver {
 public:
  using VerbDriver::VerbDriver;
  /// Source: pg_stat_replication, over the kept connection; at most 300 ms. Errors: kRetry if the engine is not the primary's.
  virtual Result<std::vector<ReplicaLag>> replicas() = 0;
};

/// make_postgres_driver with the credentials given.
Result<std::unique_ptr<PostgresDriver>> make_driver_with(const DriverConfig& config, Credentials credentials, EngineHost& host);

}  // namespace postgres
}  // namespace daarion
