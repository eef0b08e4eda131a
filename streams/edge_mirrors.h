// An edge's mirrors of log and telemetry are copies, and nats-server does not notice when one is no copy any more: where its origin lost
// events or was made again, a mirror keeps what it has, takes nothing at the sequences that it has, and goes on after them.
//
// A mirror is deleted, and made again, only here, only on the edge's own server, and only if its origin's leader, in touch with a majority,
// said twice that it does not have the mirror's newest message or one of those before it; or when the log is known to have lost events and the
// mirror reaches as far (core/regression.h). An origin is never deleted. What is deleted wrongly is copied again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "controlplane/core/result.h"
#include "controlplane/core/types.h"
#include "streams/connection.h"

namespace daarion {

/// A stream where it is asked for. `domain`: of JetStream; empty: the connection's own.
struct StreamAt {
  std::shared_ptr<Connection> connection;
  std::string name, domain = {};
};

/// Whether a mirror is still a copy, by its newest message and one of those before it, another one with each look. Threads: one.
class CopyJudge {
 public:
  CopyJudge(StreamAt copy, StreamAt origin) : copy_(std::move(copy)), origin_(std::move(origin)) {}
  /// `last`: the copy's. Errors: kRetry: nobody can tell now.
  Result<bool> is_copy(std::uint64_t last, Duration limit);
  /// It was no copy in two looks in a row.
  bool other() const { return doubts_ >= kDoubts; }
  void forget() { doubts_ = 0, suspect_ = 0; }
  /// The copy is asked first: what it has then, its origin had before. What an origin let go because it was old, its copy may still have.
  /// Errors: kRetry: nobody can tell, the origin's leader is out of touch, or the copy does not have it.
  Result<bool> same_at(std::uint64_t sequence, Duration limit) const;

 private:
  static constexpr int kDoubts = 2;
  Result<bool> look(std::uint64_t last, Duration limit);

  StreamAt copy_, origin_;
  int doubts_ = 0;               // looks in a row that found it no copy
  std::uint64_t back_ = 1;       // how far behind the newest the next older message is that is looked at
  std::uint64_t suspect_ = 0;    // an older one that was found to be another than the origin's
};

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
