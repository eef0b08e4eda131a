// An edge's mirrors of log and telemetry are copies, and nats-server does not notice when one is no copy any more: where its origin lost
// events or was made again, a mirror keeps what it has, takes nothing at the sequences that it has, and goes on after them.
//
// A mirror is deleted, and made again, only here, only on the edge's own server, and only if its origin's leader, in touch with a majority,
// said twice that it does not have the mirror's newest message or one of those before it; or when the log is known to have lost events and the
// mirror reaches as far (core/regression.h). An origin is never deleted. What is deleted wrongly is copied again.
#pragma once

#include <memory>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"
#include "streams/connection.h"

namespace daarion {

/// Threads: one; calls block for a few requests of at most `limit` each.
class MirrorKeeper {
 public:
  virtual ~MirrorKeeper() = default;
  /// Looks at both mirrors. Returns what it deleted or made, in words; empty: nothing. Errors: kRetry.
  virtual Result<std::string> tend(Duration limit) = 0;
  /// The log lost its events from `first` on. Returns and errors as tend().
  virtual Result<std::string> log_lost(Sequence first, Duration limit) = 0;
};

/// `core`: a connection to the core's servers; `core_domain` as for provision_edge_mirrors.
std::unique_ptr<MirrorKeeper> make_mirror_keeper(std::shared_ptr<Connection> leaf, std::shared_ptr<Connection> core, std::string core_domain, NodeId edge);

}  // namespace daarion
