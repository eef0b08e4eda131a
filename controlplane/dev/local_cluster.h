// A whole cluster of real processes on this machine: `daarionctl dev`, the demo, benches and tests use the same one.
//
//   <folder>/cluster.yaml, secrets (0600)
//   <folder>/<node>/   nats.conf nats.log nats/   witness.conf witness.log witness/   daemon.log data/ run/ postgres/   *.pid
//                      redis/ redis.log sentinel/ sentinel.log, where Sentinel decides: then they are started here, not by the daemon
//                      qdrant/ qdrant.log, neo4j/ neo4j.log, also started here
//
// Node N is at <prefix>N with the standard ports, on this machine's loopback or each in a network namespace (netns.h); its processes are told by its folder (processes.h). Processes outlive us: the folder is
// all that there is to know, so open() in another process goes on where create() left. Waiting is by what is waited for: every
// wait names it, has a limit, and shows the end of the log that tells why.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/dev/cluster_text.h"
#include "controlplane/dev/loopback.h"
#include "controlplane/dev/netns.h"
#include "controlplane/dev/processes.h"
#include "controlplane/dev/view.h"
#include "controlplane/drivers/postgres/connection.h"
#include "controlplane/drivers/redis/connection.h"
#include "controlplane/topology/render.h"

namespace daarion::dev {

enum class Part { kNode, kNats, kWitness, kDaemon, kGuard, kPostgres, kPostmaster, kRedis, kSentinel, kQdrant, kNeo4j };
inline constexpr const char* kPartNames[] = {"node", "nats", "witness", "daemon", "guard", "postgres", "postmaster", "redis", "sentinel", "qdrant", "neo4j"};
std::optional<Part> part_named(const std::string& name);

using Say = std::function<void(const std::string&)>;  // one line of progress

struct LocalOptions {
  int nodes = 3;
  std::string folder;               // made here; must be missing or empty
  std::string prefix = "127.83.0.";
  Say say;                          // may be empty
  bool netns = false;               // each node in a network namespace of its own: prefix is of a private network, e.g. "10.83.0."
  std::string max_promotions;       // "64 per 1s" for those who lose nodes all day; empty: the default
  std::string data_dir = "postgres";  // PostgreSQL's, below a node's folder
  std::set<std::string> engines{"postgres"};  // postgres, postgres-billing, redis or redis-sentinel, qdrant, neo4j or neo4j-community
};

class LocalCluster {
 public:
  /// DAARION_RUN, else /var/tmp/daarion-dev-<uid>.
  static std::string default_folder();
  /// Writes cluster file, secrets and server configurations; starts nothing. A port that is taken is named and replaced.
  /// Errors: kFixInput if the folder has something in it, or the file would not pass lint.
  static Result<LocalCluster> create(const LocalOptions& options);
  /// Errors: kFixInput if there is none.
  static Result<LocalCluster> open(const std::string& folder, Say say = {});

  const ClusterFile& file() const { return file_; }
  const std::string& folder() const { return folder_; }
  std::string config_path() const { return folder_ + "/cluster.yaml"; }
  std::string node_folder(const NodeId& node) const { return folder_ + "/" + node.value; }
  std::string log_of(const NodeId& node, Part part) const;
  std::string address_of(const NodeId& node) const;
  std::string server_of(const NodeId& node) const;  // host:port of its gRPC
  std::vector<NodeId> nodes() const;
  /// The data systems that the control plane leads here, in the file's order.
  std::vector<ResourceId> leased() const;
  bool leads(const std::string& resource) const;
  /// Whether it has the engine, as LocalOptions names them.
  bool runs(const std::string& engine) const;
  /// Redis under Sentinel; null: there is none.
  const DataSystem* sentinel_system() const;
  /// Qdrant; null: there is none.
  const DataSystem* qdrant_system() const;
  /// Neo4j; null: there is none.
  const DataSystem* neo4j_system() const;
  /// What runs as Qdrant: the program that DAARION_QDRANT names; else our stand-in, which is no Qdrant.
  static std::string qdrant_program();
  std::optional<NodeId> node_named(const std::string& name) const { return file_.node_named(name); }
  std::vector<NatsServerPlan> servers() const { return nats_plan(file_); }
  /// For start(): PG_REPLICATION_USER and so on, as the daemon's environment has them. A test may spoil one.
  std::map<std::string, std::string>& secrets() { return secrets_; }

  // ---- processes. What runs already is not started again; what is gone is not stopped.
  Result<void> start(const NodeId& node, Part part = Part::kNode);
  Result<void> start_all();
  /// SIGTERM to the daemon, which hands over; then to the servers. What is left after `limit` is killed, and named in the error.
  Result<void> stop(const NodeId& node, Duration limit);
  /// Sends it to each of them; 0 sends nothing. Errors: none of them lives.
  Result<void> signal_part(const NodeId& node, Part part, int signal);
  /// SIGKILL, until none of them lives. Returns the instant of the first signal.
  Result<Instant> kill(const NodeId& node, Part part = Part::kNode);
  Result<void> pause(const NodeId& node, Part part = Part::kNode);
  Result<void> resume(const NodeId& node, Part part = Part::kNode);
  /// Ends everything. keep: in order, so that the folder is good for another start_all(); else at once, and the folder goes.
  Result<void> down(bool keep);
  std::vector<ProcessInfo> processes(const NodeId& node, Part part = Part::kNode) const;

  /// Added to the environment of daemons that are started from now on: KEY=value.
  std::map<NodeId, std::vector<std::string>>& daemon_environment() { return daemon_environment_; }

  // ---- links between nodes (local_network.cc). Errors: kFixInput if the nodes have no namespaces.
  NodeNetwork* network() { return network_ ? &*network_ : nullptr; }
  const NodeNetwork* network() const { return network_ ? &*network_ : nullptr; }
  /// What they send each other is lost, silently; one_way: what `from` sends to `to`. `percent` of the packets.
  Result<void> cut(const NodeId& from, const NodeId& to, bool one_way = false, int percent = 100);
  /// Between two nodes, or everywhere.
  Result<void> heal(const NodeId& a, const NodeId& b);
  Result<void> heal();

  // ---- what it looks like from outside
  Result<ClusterView> view(const NodeId& node) const;
  /// Asks the servers until one answers.
  Result<LeadersView> leaders() const;
  /// Whether a majority of the core's nats-servers answers, and none of them knows a leader of the log.
  bool log_is_leaderless() const;
  /// Waits for a condition on the view of `node`. Errors: kRetry naming `what`, the last view and the end of the daemon's log.
  Result<ClusterView> await(const NodeId& node, const std::string& what, Duration limit, const std::function<bool(const ClusterView&)>& condition) const;
  /// Everything is as after a good start: a writable holder, every other member streaming from it, every node ready.
  Result<ClusterView> await_settled(Duration limit) const;
  /// The log's and the meta group's leaders are known and on none of `nodes`.
  Result<LeadersView> await_leaders_off(const std::vector<NodeId>& nodes, Duration limit) const;
  /// Waits for anything. Errors: kRetry naming `what`, with the end of `log`.
  static Result<void> await_that(const std::string& what, Duration limit, const std::string& log, const std::function<bool()>& condition);

  // ---- PostgreSQL
  std::string data_dir_of(const NodeId& node) const;
  /// The superuser, over the node's UNIX socket. Errors: kRetry.
  Result<std::unique_ptr<postgres::Connection>> superuser(const NodeId& node, Duration limit, const std::string& resource = "postgres") const;
  /// How an application reaches the node's PostgreSQL: over TCP, its own user and database.
  postgres::Target application(const NodeId& node) const;
  /// Makes that user and database on the primary; idempotent.
  Result<void> make_application(const NodeId& primary) const;

  /// How an application reaches the node's Redis; how we reach its sentinel.
  redis::Target redis_application(const NodeId& node) const;
  redis::Target sentinel(const NodeId& node) const;

 private:
  LocalCluster() = default;
  void say(const std::string& line) const { if (say_) say_(line); }
  Result<LeadersView> leaders_by(const NatsServerPlan& server) const;
  Result<void> write_node(const NodeId& node) const;
  Result<void> start_server(const NatsServerPlan& server);
  Result<void> start_daemon(const NodeId& node);
  Result<void> start_redis(const NodeId& node, Part part);
  Result<void> start_qdrant(const NodeId& node);
  Result<void> start_neo4j(const NodeId& node);
  /// Whether it is started here and not by the daemon, since it elects by itself.
  bool is_electing(Part part) const;
  Result<void> start_engine(const NodeId& node, Part part) {
    return part == Part::kQdrant ? start_qdrant(node) : part == Part::kNeo4j ? start_neo4j(node) : start_redis(node, part);
  }
  Result<void> await_server(const NatsServerPlan& server) const;
  Result<void> await_daemon(const NodeId& node) const;
  std::map<NodeId, std::string> addresses() const;
  std::string netns_of(const NodeId& node) const { return network_ ? network_->name_of(node) : ""; }
  Result<NodeNetwork*> need_network();
  std::string pid_file(const NodeId& node, Part part) const;

  std::string folder_;
  ClusterFile file_;
  std::map<std::string, std::string> secrets_;
  Say say_;
  std::map<NodeId, std::vector<std::string>> daemon_environment_;
  std::optional<NodeNetwork> network_;
};

/// Where our programs are: beside the running one. DAARION_BIN overrides it.
std::string program(const std::string& name);

}  // namespace daarion::dev
