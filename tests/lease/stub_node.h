// A node with a stub engine: the real daemon, log, beats and record, and in place of database and guard process a guard in memory
// and an engine that writes all the time and keeps count of every instant in which it could.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "controlplane/node/daemon.h"
#include "tests/harness/data_opening.h"
#include "tests/harness/nats_servers.h"

namespace daarion::test {

/// A stretch of time in which one engine took writes.
struct WritableSpan {
  NodeId node;
  Epoch epoch;
  Instant first{};  // of its writes
  Instant last{};
};

/// What all stub engines share: their data, as the replicas' streams would carry it, and the record of who wrote when.
class StubWorld {
 public:
  struct Data : DataOpening {
    bool exists = false, running = false, primary = false, streaming = false, diverged = false;
    Position position;
    std::vector<TimelineStart> history;
    Epoch epoch;
    NodeId upstream;
  };
  StubWorld();
  ~StubWorld();

  std::mutex mutex;
  std::map<NodeId, Data> data;

  std::vector<WritableSpan> spans();
  /// Instants of all writes of this node after `from`; the first one.
  Instant first_write_after(const NodeId& node, Instant from);
  Instant last_write(const NodeId& node);
  /// The longest time without a write by anybody, between two instants.
  Duration longest_gap(Instant from, Instant to);
  /// Whether two nodes ever wrote in the same stretch of time.
  bool overlapped();

 private:
  void write();  // every 2 ms: each engine that is writable writes, each replica receives
  std::vector<WritableSpan> spans_;
  std::vector<Instant> writes_;
  std::atomic<bool> closed_ = false;
  std::thread writer_;
};

class StubGuard;

class StubNode {
 public:
  StubNode(StubWorld& world, const NatsServers& servers, TopologySpec spec, NodeId self, int index, std::string folder);
  ~StubNode();
  void start();        // the daemon
  void stop_daemon();  // as a SIGKILL would: nothing is handed over; guard and engine stay
  void lose_host();    // daemon, guard and engine at once
  void boot();         // after lose_host(): a new guard, an engine that is down
  void crash_engine();
  bool stop_gracefully(Duration limit);
  std::shared_ptr<const State> state() const;
  /// What its daemon waits for, a line each: for the message of a test that waited in vain.
  std::string waits() const;
  Daemon& daemon() { return *daemon_; }

 private:
  StubWorld& world_;
  const NatsServers& servers_;
  TopologySpec spec_;
  NodeId self_;
  int index_;
  std::string folder_;
  std::shared_ptr<StubGuard> guard_;
  std::unique_ptr<Daemon> daemon_;
  mutable std::mutex mutex_;
  std::shared_ptr<const State> state_;
  std::vector<Wait> waits_;
};

}  // namespace daarion::test
