// Killing the postmaster alone fences nothing: a busy backend goes on committing until it notices by itself. What counts is that the
// lease is not released before the guard has emptied the engine.
//
// The commits are read from the dead engine's own WAL, before its node rejoins and rewinds it: the node's daemon is frozen as soon as the
// release is in the log, when the other node is not even promoted.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "controlplane/node/clock.h"
#include "streams/log_stream.h"
#include "streams/nats_log_reader.h"
#include "streams/codec.h"
#include "tests/bench/failover_rig.h"
#include "tests/bench/wal_commits.h"

namespace daarion::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Failed;
using test::need;

/// Waits for the release of a lease behind `from`, as soon as it is stored.
LogEvent await_release(Rig& rig, Sequence from, const NodeId& avoid) {
  const auto c = need(test::core_connection(rig.cluster(), avoid, seconds(5)));
  const auto reader = make_nats_log_reader({c}, kClusterLog, Sequence{from.value + 1});
  const Instant until = node_now() + seconds(20);
  while (node_now() < until) {
    const auto message = need(reader->next(milliseconds(500)));
    if (!message) continue;
    LogEvent event = need(decode_event(*message));
    if (std::holds_alternative<LeaseReleased>(event.event.payload)) return event;
  }
  throw Failed{"no LeaseReleased within 20 s of the postmaster's death"};
}

}  // namespace

LateCommits postmaster_alone(Rig& rig) {
  dev::LocalCluster& cluster = rig.cluster();
  const NodeId holder = rig.settle();
  {
    const auto c = need(postgres::Connection::open(cluster.application(holder), seconds(2)));
    need(c->query("create table if not exists daarion_busy (i bigint)", seconds(5)));
    need(c->query("truncate daarion_busy", seconds(5)));
  }
  const auto super = need(cluster.superuser(holder, seconds(2)));
  const auto where = need(super->query("select pg_current_wal_insert_lsn(), substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)", seconds(2)))[0];
  const std::uint64_t timeline = std::strtoull(where[1].c_str(), nullptr, 16);
  const auto count = need(postgres::Connection::open(cluster.application(holder), seconds(2)));
  std::thread busy([target = cluster.application(holder)] {
    if (const auto c = postgres::Connection::open(target, seconds(2))) (void)(*c)->query(kBusy, seconds(60));
  });
  struct Join {
    std::thread& thread;
    ~Join() { thread.join(); }
  } join{busy};
  need(cluster.await_that("a backend that commits in a loop", seconds(10), cluster.log_of(holder, dev::Part::kPostgres), [&] {
    const auto rows = count->query("select count(*) from daarion_busy", seconds(1));
    return rows && std::strtoll((*rows)[0][0].c_str(), nullptr, 10) >= 200;
  }));
  const Sequence before = rig.head(rig.bystander(holder));
  const Instant killed = need(cluster.kill(holder, dev::Part::kPostmaster));
  const LogEvent release = await_release(rig, before, holder);
  need(cluster.pause(holder, dev::Part::kDaemon));
  LateCommits out;
  const std::int64_t killed_ns = test::wall_of(killed);
  out.kill_to_release_ms = double(release.stored_ns - killed_ns) / 1e6;
  for (const std::int64_t at : commits_in_wal(cluster.node_folder(holder) + "/postgres", where[0], timeline)) {
    ++out.commits;
    out.after_kill += at > killed_ns;
    out.late += at > release.stored_ns;
    out.last_commit_ms = std::max(out.last_commit_ms, double(at - killed_ns) / 1e6);
  }
  need(cluster.resume(holder, dev::Part::kDaemon));
  (void)rig.first_write_after(killed);
  return out;
}

}  // namespace daarion::bench
