// What demo, failover bench and cluster tests share beside the local cluster itself: a scratch cluster that goes away, the log as
// values, the admin API, wall time.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/event.h"
#include "controlplane/dev/local_cluster.h"
#include "controlplane/dev/probe_writer.h"
#include "proto/daarion/v1/admin.pb.h"
#include "streams/connection.h"

namespace daarion::test {

/// A cluster of a folder and a network of its own. Its end ends every process and removes the folder, unless keep() was called; so does
/// the end of this process, however it comes: a watching child sees to it.
class ScratchCluster {
 public:
  /// Errors: as LocalCluster::create.
  static Result<ScratchCluster> make(int nodes, dev::Say say = {}, const std::string& max_promotions = "", bool netns = false, const std::string& data_dir = "postgres",
                                     const std::set<std::string>& engines = {"postgres"});
  ScratchCluster(ScratchCluster&&) noexcept;
  ScratchCluster& operator=(ScratchCluster&&) = delete;
  ~ScratchCluster();
  dev::LocalCluster* operator->() { return &*cluster_; }
  dev::LocalCluster& operator*() { return *cluster_; }
  void keep();

 private:
  ScratchCluster(dev::Network network, dev::LocalCluster cluster);
  class Watcher;
  std::unique_ptr<dev::Network> network_;
  std::unique_ptr<dev::LocalCluster> cluster_;
  std::unique_ptr<Watcher> watcher_;
  bool keep_ = false;
};

/// For programs that end at the first thing that does not come about: the value, or Failed with the error's message.
struct Failed {
  std::string why;
};
template <class T>
T need(Result<T> result) {
  if (!result) throw Failed{result.error().message};
  return std::move(*result);
}
inline void need(const Result<void>& result) {
  if (!result) throw Failed{result.error().message};
}

/// A connection of CONTROL to the core's servers, those of `last` tried last.
Result<std::shared_ptr<Connection>> core_connection(dev::LocalCluster& cluster, const NodeId& last, Duration limit);
Result<std::shared_ptr<Connection>> sys_connection(dev::LocalCluster& cluster, const NodeId& last, Duration limit);  // of SYS

/// What a ProbeWriter writes to: the application's role and database, and the table of its rows, at the node that writes.
Result<void> make_probe_table(dev::LocalCluster& cluster, const NodeId& holder);

/// The events from `from` to the present end, in order. On an edge, its mirror's.
struct LogRead {
  std::vector<LogEvent> events;
  Digest digest;  // of the fold, where it was read from the first event on
  Chain chain;
};
Result<LogRead> read_log(dev::LocalCluster& cluster, Sequence from, Sequence to, const NodeId& avoid);
Result<LogRead> read_mirror(dev::LocalCluster& cluster, const NodeId& edge, Sequence to);

/// What a stream's leader says of the servers that follow it. Errors: kRetry, it has none.
struct Followers {
  std::uint64_t last = 0;  // where the leader's copy ends
  std::size_t all = 0;
  std::size_t whole = 0;   // of them, those that are there and have all of it
};
Result<Followers> log_followers(dev::LocalCluster& cluster, const NodeId& avoid);
/// The fewest whole followers of any replicated stream of the core, the control plane's and the users'. Errors: kRetry, one has no leader.
Result<std::size_t> whole_followers(dev::LocalCluster& cluster, const NodeId& avoid);
/// Whether each of them also has the log's newest events, and no others in their places.
Result<bool> log_followers_agree(dev::LocalCluster& cluster, const NodeId& avoid);

/// The newest event of this payload from `from` on; null: none.
template <class Payload>
const LogEvent* last_of(const std::vector<LogEvent>& events, Sequence from = {}) {
  for (auto e = events.rbegin(); e != events.rend() && e->sequence >= from; ++e)
    if (std::holds_alternative<Payload>(e->event.payload)) return &*e;
  return nullptr;
}

// The admin API of one node. Errors: kRetry with the status's text.
Result<v1::Mutation> switchover(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& to, const std::string& reason, const std::string& resource = "postgres");
/// A connection to a node's API that requests to it use for as long as this lives: without, each makes its own, which costs this machine some ms of a processor.
std::shared_ptr<void> keep_connected(const dev::LocalCluster& cluster, const NodeId& at);
Result<v1::Mutation> restart(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const std::string& resource = "postgres");
Result<v1::Mutation> rejoin(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason, const std::string& resource = "postgres");
Result<v1::Mutation> drain(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason);
Result<v1::Mutation> undrain(const dev::LocalCluster& cluster, const NodeId& at, const NodeId& node, const std::string& reason);
Result<v1::Explanation> explain(const dev::LocalCluster& cluster, const NodeId& at, Sequence sequence);
Result<v1::ReplayProgress> replay(const dev::LocalCluster& cluster, const NodeId& at, Sequence to);

/// The node's daemon; what it starts has its name for a moment, and `--check` for longer. Nothing: it does not run.
std::optional<dev::ProcessId> daemon_of(const dev::LocalCluster& cluster, const NodeId& node);

/// The wall clock's reading at an instant, ns since 1970: the log's stored times are of the same machine's clock.
std::int64_t wall_of(Instant at);

/// "nats-2.9.10,pg-15.14,redis-7.0.15". Source: the programs.
std::string server_versions();

}  // namespace daarion::test
