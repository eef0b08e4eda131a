// A client that writes to one server and never looks elsewhere: what it was acknowledged, and when, is what a failover is
// measured by, and what is looked for afterwards.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/redis/connection.h"

namespace daarion::dev {

struct ProbeWrite {
  Instant sent;        // NodeClock
  Instant at;          // acknowledged
  std::uint64_t n = 0; // counted by the writer: with its name, the row's identity
  std::int64_t id = 0; // given by the server; a promoted replica may give one again whose row was lost
};

/// Makes the table of all probe writers, on the primary. Idempotent.
Result<void> make_probe_table(const postgres::Target& primary, Duration limit);

/// One session of a writer with one server.
class ProbeSession {
 public:
  virtual ~ProbeSession() = default;
  /// Writes row `n` of `writer`. Returns the server's own number of it, if it gives one. Errors: kRetry.
  virtual Result<std::int64_t> write(const std::string& writer, std::uint64_t n, Duration limit) = 0;
  virtual bool alive() const = 0;
};
using ProbeConnect = std::function<Result<std::unique_ptr<ProbeSession>>(Duration limit)>;
ProbeConnect probe_of(postgres::Target target);
ProbeConnect probe_of(redis::Target target);

/// One connection, one row every 5 ms; reconnects at once. A server that does not answer (frozen, cut off) costs one bounded wait
/// each time and never hangs it. Threads: an own one writes; the rest may be called from any.
class ProbeWriter {
 public:
  template <class Target>
  ProbeWriter(Target target, std::string name) : ProbeWriter(probe_of(std::move(target)), std::move(name), std::chrono::milliseconds(5)) {}
  ProbeWriter(ProbeConnect connect, std::string name, Duration every);
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
  std::size_t failed() const;      // attempts without an acknowledgement; a server that does not answer costs one each time

 private:
  void run();
  void note(const std::string& error);
  ProbeConnect connect_;
  std::string name_;
  Duration every_;
  mutable std::mutex mutex_;
  std::vector<ProbeWrite> writes_;
  std::string error_;
  std::size_t failed_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

/// A time without an acknowledged write.
struct WriteGap {
  Instant from{}, to{};
  Duration length() const { return to - from; }
};
/// The longest one of several writers together, within [from, to].
WriteGap longest_gap(const std::vector<const ProbeWriter*>& writers, Instant from, Instant to);

/// Which acknowledged writes of `writer` are not in the database at `where`. Errors: kRetry.
Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const ProbeWriter& writer, Duration limit);
Result<std::vector<ProbeWrite>> missing_rows(const redis::Target& where, const ProbeWriter& writer, Duration limit);
Result<std::vector<ProbeWrite>> missing_rows(const postgres::Target& where, const std::string& writer, const std::vector<ProbeWrite>& writes, Duration limit);

}  // namespace daarion::dev
