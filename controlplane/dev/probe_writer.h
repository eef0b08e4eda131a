// A client that writes to one PostgreSQL and never looks elsewhere: what it was acknowledged, and when, is what a failover is
// measured by, and what is looked for afterwards.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/drivers/postgres/connection.h"

namespace daarion::dev {

struct ProbeWrite {
  Instant sent;        // NodeClock
  Instant at;          // acknowledged
  std::uint64_t n = 0; // counted by the writer: with its name, the row's identity
  std::int64_t id = 0; // given by the server; a promoted replica may give one again whose row was lost
};

/// Makes the table of all probe writers, on the primary. Idempotent.
Result<void> make_probe_table(const postgres::Target& primary, Duration limit);

/// One connection, one insert every 5 ms; reconnects at once. A server that does not answer (frozen, cut off) costs one bounded wait
/// each time and never hangs it. Threads: an own one writes; the rest may be called from any.
class ProbeWriter {
 public:
  ProbeWriter(postgres::Target target, std::string name);
  ~ProbeWriter();
  ProbeWriter(const ProbeWriter&) = delete;
  ProbeWriter& operator=(const ProbeWriter&) = delete;
  void stop();

  const std::string& name() const { return name_; }
  std::vector<ProbeWrite> writes() const;
  /// Those acknowledged after `from`.
  std::vector<ProbeWrite> writes_since(Instant from) const;
  std::size_t count() const;
  /// The first write that was sent and acknowledged after `from`; kNever: none yet.
  Instant first_after(Instant from) const;
  /// The last write acknowledged until now; Instant{}: none.
  Instant last() const;
  std::string last_error() const;  // of the newest attempt; empty: it succeeded

 private:
  void run();
  void note(const std::string& error);
  postgres::Target target_;
  std::string name_;
  mutable std::mutex mutex_;
  std::vector<ProbeWrite> writes_;
  std::string error_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

/// The longest time without an acknowledged write, of several writers together, within [from, to].
Duration longest_gap(const std::vector<const ProbeWriter*>& writers, Instant from, Instant to);

/// Which acknowledged writes of `writer` are not in the database at `where`. Errors: kRetry.
Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const ProbeWriter& writer, Duration limit);
Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const std::string& writer, const std::vector<ProbeWrite>& writes, Duration limit);

}  // namespace daarion::dev
