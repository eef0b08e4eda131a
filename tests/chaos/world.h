// The cluster that faults are dealt to: three nodes in network namespaces, every store on a small disk of its own, a writer at each
// PostgreSQL, and a watch over what the nodes say while nobody writes.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/deal.h"
#include "tests/chaos/history.h"
#include "tests/cluster/kit.h"

namespace daarion::chaos {

inline constexpr const char* kPostgres = "postgres";
inline constexpr std::size_t kDataNodes = 2;
inline constexpr Duration kElection = std::chrono::seconds(9);  // of the log's leader, at most; longer is ours to explain

/// A wait that some node named while no write was acknowledged.
struct NamedWait {
  Instant at{};
  NodeId node;
  std::string text;
};

class World {
 public:
  /// A fresh cluster, settled and written to. Throws test::Failed.
  explicit World(History& history);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  dev::LocalCluster& cluster() { return *cluster_; }
  History& history() { return history_; }

  // ---- one fault
  /// Settled, everybody's leaders off the holder, the log with all its replicas; who is who is known then. `chance`: the fault's own. Returns when
  /// all was so. Throws.
  Instant begin(Chance chance);
  Chance& chance() { return chance_; }
  const NodeId& holder() const { return holder_; }    // writes when the fault begins
  const NodeId& replica() const { return replica_; }  // the other one with the data
  const NodeId& edge() const { return edge_; }
  NodeId any() { return chance_.one_of(std::vector<NodeId>{holder_, replica_, edge_}); }
  NodeId data_node() { return chance_.coin() ? holder_ : replica_; }

  /// The fault lasts so long.
  void hold(Duration length);
  /// The first write that a node acknowledged after `from`. Throws after `limit`.
  Instant until_writes_at(const NodeId& node, Instant from, Duration limit);
  void until(const std::string& what, Duration limit, const std::function<bool()>& condition);
  void note(const std::string& text) { history_.say("", "  " + text); }
  /// What `from` and every other node send each other is lost.
  void isolate(const NodeId& node);
  /// Everything that can be mended is: links, stopped processes, filled disks, what does not run. For after a fault that went wrong too.
  void mend();
  std::string disk_of(const NodeId& node, const std::string& store) { return cluster_->node_folder(node) + "/" + store; }
  /// Leaves no byte on the disk of this store; free_disk() ends that.
  void fill_disk(const NodeId& node, const std::string& store);
  void free_disk(const NodeId& node, const std::string& store);
  /// How often a daemon had its node's nats-server restarted, so far.
  std::size_t nats_restarts();
  /// Ends every nats-server by SIGQUIT: its log then says what each of its goroutines was waiting for.
  void dump_nats();

  // ---- the log: an event is known by its id, since one that lost events gives the others new numbers
  /// The log as it is now is what was before the fault, up to 30 events back.
  void remember();
  /// The fault is about to lose what comes after about `head`: all that the log holds now is remembered too, and some must be gone later.
  void about_to_lose(Sequence head);
  /// Every event lost is named by a LogRegressed in the log, and no node is without its warning. Throws after `limit`.
  void until_loss_is_told(Duration limit);
  bool must_lose() const { return must_lose_; }
  /// From the first event remembered on. Throws.
  std::vector<LogEvent> log_up_to(Sequence head);
  bool remembers(const LogEvent& event) const;
  bool was_before(const LogEvent& event) const { return before_.contains(to_text(event.event.header.id)); }
  /// Of those remembered, what is not in this log.
  std::vector<LogEvent> lost_from(const std::vector<LogEvent>& log) const;

  // ---- what was seen
  dev::ProbeWriter& writer(const NodeId& node) { return *writers_[node == NodeId("node1") ? 0 : 1]; }
  std::vector<const dev::ProbeWriter*> writers() const;
  Instant last_write() const;
  std::vector<NamedWait> waits_since(Instant from) const;
  /// For how long of the gap the log had no leader, as far as it was looked at (while nobody wrote for a while), and nobody had asked one to hand over.
  Duration leaderless_in(const dev::WriteGap& gap);
  double row_bytes() const { return row_bytes_; }
  Sequence head() { return Sequence{test::need(cluster_->view(edge_)).sequence}; }

 private:
  void make_disks();
  bool log_is_whole();
  bool is_of_leader(const std::vector<LogEvent>& events);
  void watch();
  void watch_leader();
  bool handed_over_in(std::int64_t from_ns, std::int64_t to_ns);
  double measure_row();
  History& history_;
  test::ScratchCluster cluster_;
  std::vector<std::unique_ptr<dev::ProbeWriter>> writers_;
  NodeId holder_, replica_;
  const NodeId edge_{"node3"};
  Chance chance_{0};
  double row_bytes_ = 0;
  std::vector<LogEvent> remembered_;
  std::set<std::string> before_;  // ids
  bool must_lose_ = false;
  mutable std::mutex mutex_;
  std::vector<NamedWait> waits_;
  std::vector<dev::WriteGap> leaderless_;  // from the first look that found no leader to the last one
  bool without_leader_ = false;            // by the newest look
  std::atomic<bool> ending_ = false;
  std::thread watch_;
};

}  // namespace daarion::chaos
