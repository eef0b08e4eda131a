// Redis, 7.0 or later, `mode: managed`: lease and epoch decide who writes, no sentinel. The control plane starts and stops it, opens it,
// and says whom it follows; what the operator may set himself is in settings.h.
//
// HOW REDIS'S WORDS BECOME THE CORE'S. The core compares positions by timeline, place and identity, and must not learn Redis's.
//   identity   of the data, made once when they are made from nothing. (A replication id is of one master's time, not of the data.)
//   timeline   the epoch under which the data were last opened for writing. Redis changes its replication id with each master, which
//              says that two streams differ, but not which is the later; epochs are ordered, and no two openings share one.
//   lsn        the replication offset, in bytes of the stream. A replica that is promoted goes on counting where it was.
// Which timelines data are of is written in the data: kTimelinesKey holds the list of openings, the first thing that a new master
// writes. It comes to replicas by replication, to a restarted server by its dump, and is gone with the data when they are. What
// FLUSHALL or eviction takes is put back by the master within one look; meanwhile the replication id tells (Opening::replid in
// daarion.json, noted when both were seen together). A dump file names its stream and offset, so a stopped server has a position too.
//
// Rules that hold at every step:
//  - A starting server never comes up writable: its configuration always has a `replicaof`, of nobody (kNobody) if there is no upstream.
//    A server that was the master and is started again is a replica of nobody: replicas cannot copy from it, however empty it is.
//  - Nobody is followed unseen. Before REPLICAOF is said, the upstream must be open for writing, say that its data are ours, be on no
//    older timeline, and not behind us on the same one (lineage.h). So an empty master wipes nobody.
//  - What is opened under which session is in the data with the opening itself, in one piece, and in daarion.json before any dump is made
//    of it: a host that loses power in between comes back with data from before the opening, and with a list that says so. (Two syncs,
//    8 ms on the disk that this was measured on, would be a third of the outage after a crash.) Where the timeline begins is exact: the
//    stream of the old master is cut first.
//  - A planned stop pauses writes, and waits until replicas have acknowledged all of it, before the server ends.
//  - Applications have a user of their own (Redis's default one): it may not promote, reconfigure or stop the server.
//  - The password is in the environment of this process and in one 0600 file, nowhere else.
//
// WHAT REDIS CANNOT DO. Replication is asynchronous. `sync: sync` or `quorum` becomes min-replicas-to-write, which bounds the loss by
// refusing writes while too few replicas are near; it does not make it zero. Only dump files keep data over a restart (an append-only
// file does not say where in the stream it ends): a cluster that loses all its hosts at once goes back to the last dump.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "controlplane/drivers/redis/connection.h"
#include "controlplane/drivers/verbs.h"

namespace daarion {

/// Reads REDIS_PASSWORD. Errors: kFixInput if it is missing, the member is not listed, or Redis 7 is not installed.
Result<std::unique_ptr<Driver>> make_redis_driver(const DriverConfig& config, EngineHost& host);

namespace redis {

inline constexpr const char* kTimelinesKey = "daarion:timelines";  // in database 0

/// What the primary says of one replica: its end of the lag. Units: bytes of stream, milliseconds.
struct ReplicaLag {
  NodeId node;
  std::string state;  // online, wait_bgsave, send_bulk
  Lsn acknowledged;
  std::uint64_t lag_bytes = 0;  // written here, not acknowledged there
  std::uint64_t lag_ms = 0;     // since its last acknowledgement, which comes every second
};

/// From INFO replication of a primary.
std::vector<ReplicaLag> replica_lags(const Info& info, const std::vector<PeerAddress>& peers);

/// The ill health of a primary whose last dump failed: whether it refuses writes is told by its settings; those that are not there count as ours do.
std::string dump_failed(const Info& config);

class RedisDriver : public VerbDriver {
 public:
  using VerbDriver::VerbDriver;
  /// Source: INFO replication, over the kept connection; at most 300 ms. Errors: kRetry if the engine is not the primary's.
  virtual Result<std::vector<ReplicaLag>> replicas() = 0;
};

/// make_redis_driver with the password given.
Result<std::unique_ptr<RedisDriver>> make_driver_with(const DriverConfig& config, const std::string& password, EngineHost& host);

}  // namespace redis
}  // namespace daarion
