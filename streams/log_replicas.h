// A replica of the log that was away while the others lost events comes back with them and keeps them, beside what came later: its raft log is
// led back, what it had applied is not, and nats-server does not notice (measured with 2.9.10). When it leads, the log is another one.
//
// So whoever's server leads looks at each follower, by a consumer that the servers place at one of them. A follower that twice has another event
// in the place of one that the leader has is taken out of the stream's group, which deletes its copy, and taken in again, which copies the
// leader's. The leader and a majority keep everything meanwhile: measured, appends go on.
#pragma once

#include <memory>
#include <vector>

#include "controlplane/core/regression.h"
#include "controlplane/core/result.h"
#include "streams/connection.h"

namespace daarion {

/// Threads: any; calls block for a few requests of at most `limit` each.
class ReplicaKeeper {
 public:
  virtual ~ReplicaKeeper() = default;
  /// Looks at the followers where anything changed, or a minute has passed. `events`: in the log by its leader's word, in order, in places
  /// where the log has lost others. Returns what it did, in words; empty: nothing. Errors: kRetry.
  virtual Result<std::string> tend(const EventHeads& events, Duration limit) = 0;
  /// Whether any follower may lead: each has the events last given to tend(). Errors: kRetry: it cannot be told now.
  virtual Result<bool> may_lead(Duration limit) = 0;
};

/// `own_server`: the only one for which it acts as leader. `replicas`: of the stream.
std::unique_ptr<ReplicaKeeper> make_replica_keeper(std::shared_ptr<Connection> core, std::string stream, std::string own_server, int replicas);

}  // namespace daarion
