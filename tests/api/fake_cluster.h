// A cluster without servers: a log in memory, the real core of node3 that folds it and hears beats, and the ports that the API wants.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "controlplane/api/grpc_server.h"
#include "controlplane/api/operator.h"
#include "tests/unit/make.h"

namespace daarion::test {

/// node1 and node2 run postgres, node3 votes and answers. Threads: any; the API's threads read while the test writes.
class FakeCluster {
 public:
  FakeCluster();

  /// node1 holds epoch 1 and writes at 1000; node2 streams 100 bytes behind. Eight events; 7 is the decision.
  void settle();
  /// node1 falls silent and node2 is promoted to epoch 2, with the evidence that a real decider would give. Events 9 to 11; 10 is the decision.
  void fail_over();

  /// A topology with three rules, node3 an edge with the witness, and its route table. Two events.
  void route();
  /// And services of which node1's router is broken and node2's active, memory is read on node2, and the GPU of node1 is lost; a rule for router
  /// that needs vision. Events 11 to 19; 16 is the move of router.
  void serve();

  /// Appends as the log would, at the next second, and folds.
  Sequence add(Payload payload, const NodeId& by, const ResourceId& resource = {}, Epoch epoch = {}, const std::string& reason = "test", const EventId& cause = {});
  /// Beats of both data nodes as they are now; without one of them it is silent from then on.
  void beats(bool node1, bool node2);
  void pass(Duration time);
  /// Runs after each append of an operator, in its thread; to script what the cluster does then.
  std::function<void(const LogEvent&)> after;
  AppendResult::Outcome appends = AppendResult::Outcome::kStored;
  std::uint64_t node2_lag = 100;  // bytes; `beats` makes it heard
  std::vector<std::string> node2_lacks, node2_problems;  // likewise
  std::string node1_health, node2_health;
  bool node2_streams = true;
  std::vector<WaitNote> node2_waits;
  std::string node2_file = "hash";  // of its cluster file; node3's is "hash"
  std::vector<std::string> warnings;
  bool node2_bound = false;         // to the paused session of node1, which it does not hear

  std::shared_ptr<const StatusView> view() const;
  AdminPorts ports();
  std::vector<StoredMessage> log() const;

 private:
  friend class FakeReader;
  friend class FakeAppender;
  void look();  // with the lock
  Sequence store(LogEvent event);

  mutable std::recursive_mutex mutex_;
  std::condition_variable_any grown_;
  Log log_;
  std::vector<StoredMessage> messages_;
  Chain chain_;
  Instant now_;
  std::uint64_t counter_ = 0;
  std::uint64_t ids_ = 100;
  int holder_ = 1;
  std::unique_ptr<NodeCore> core_;
  StatusMemory memory_;
  std::shared_ptr<const StatusView> view_;
};

}  // namespace daarion::test
