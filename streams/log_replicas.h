// A replica of the log can have another event than the others in one place, and nats-server does not notice (measured with 2.9.10). One that was
// away while the others lost events comes back with them and keeps them, beside what came later: its raft log is led back, what it had applied is
// not. And one that heard a leader which nobody followed may have applied an append that never had its majority. When such a replica leads, the log
// is another one; until then it may show its event to a reader that finds no leader.
//
// So whoever's server leads looks at each follower, by a consumer that the servers place at one of them. A follower that twice has another event
// in the place of one that the leader has is taken out of the stream's group, which deletes its copy, and taken in again, which copies the
// leader's. The leader and a majority keep everything meanwhile: measured, appends go on. Between the two it waits for the server's own word that
// its copy is gone: one that was cut off from the meta leader heard of both at once, kept its copy, and was never current again.
//
// One is taken out, or in, only while every other one is whole: with another away the leader's copy would be the only one. And where all followers agree
// on another event than the leader has, it is the leader's that never had a majority, or that the others lost together: it is asked to hand over, and
// whoever leads then takes it out. A copy that does not begin with the log's first event is wrong as well, as nothing is ever deleted from it:
// nats-server 2.9 can make one from what it kept of an earlier life.
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
  /// Looks at the followers where anything changed, a minute after it, and seldom without. `events`: in the log by its leader's word, in order, the
  /// newest known by name. Returns what it did, in words; empty: nothing. Errors: kRetry.
  virtual Result<std::string> tend(const EventHeads& events, Duration limit) = 0;
  /// Another server leads: what was seen of the followers is void. Asks nobody. `events` as for tend().
  virtual void rest(const EventHeads& events) = 0;
  /// Whether any follower may lead: each has the events last given. Errors: kRetry: it cannot be told now.
  virtual Result<bool> may_lead(Duration limit) = 0;
};

/// `sys`: to the account SYS. `own_server`: the only one for which it acts as leader. `replicas`: of the stream.
std::unique_ptr<ReplicaKeeper> make_replica_keeper(std::shared_ptr<Connection> core, std::shared_ptr<Connection> sys, std::string stream, std::string own_server,
                                                   int replicas);

}  // namespace daarion
