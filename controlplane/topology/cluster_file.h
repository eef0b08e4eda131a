// cluster.yaml: one file, the same on every node. Every key, every default and every unit is known here and nowhere else.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/topology_spec.h"
#include "controlplane/topology/finding.h"

namespace daarion {

struct NatsPorts {
  std::uint32_t client = 4222, route = 6222, leaf = 7422, monitor = 8222;
  std::uint32_t witness_client = 4223, witness_route = 6223, witness_monitor = 8223;
};

struct NatsClusterSpec {
  std::string name;
  std::vector<NodeId> nodes;
  std::string leafnode_to;
  int line = 0;
};

/// A command that takes a dump of a data system, run on its node when one is due.
struct DumpSpec {
  std::string exec;  // words split at spaces, no shell; the first is an absolute path. Empty: none
  std::string file;  // what it writes, to be looked at; empty: its exit code is believed
  Duration every = std::chrono::hours(24), at = std::chrono::hours(3);  // within each period, the first of which began at midnight UTC
  Duration timeout = std::chrono::minutes(30);
  Duration max_age{};  // older than that is warned of; zero: `every` and a quarter of it
};

/// What the users' replication block says of one data system, beyond what the core needs.
struct DataSystem {
  ResourceId id;
  std::string engine;  // postgresql | redis | qdrant | neo4j | nats
  std::string mode;
  std::vector<NodeId> nodes;          // primary or cores first
  std::vector<NodeId> read_replicas;
  std::uint32_t shards = 0, replication_factor = 0, sentinels = 0;
  std::string master_name;            // of the group that sentinels monitor; empty: the id
  std::uint32_t http_port = 7474;     // of Neo4j: its resource's port is Bolt's
  DumpSpec dump;
  Duration down_after = std::chrono::seconds(5), failover_timeout = std::chrono::seconds(10);  // of Sentinel
  std::vector<NatsClusterSpec> clusters;
  int line = 0;
};

/// A command of the operator's: words split at spaces, no shell; the first is an absolute path.
struct NotifySpec {
  std::vector<std::string> on;  // names of events
  std::string exec;
};
/// Told of what this node is to a resource: "primary", "replica" or "none" is the last word.
struct RoleCallback {
  ResourceId resource;
  std::string exec;
  Duration timeout = std::chrono::seconds(10);
};
struct FencingSpec {
  std::string exec;  // empty: none
  Duration timeout = std::chrono::seconds(10);
};
/// Restarts a nats-server of this node that stands still; the server's name is the last word.
struct NatsRestartSpec {
  std::string exec;  // empty: none
  Duration after = std::chrono::seconds(20), timeout = std::chrono::seconds(30);
};

struct ClusterFile {
  TopologySpec spec;
  bool voters_declared = false;
  std::map<std::string, NodeId> aliases;  // every name that a node may be called by, lower case
  std::uint32_t grpc_port = 9350, http_port = 9351;
  std::uint32_t beat_port = 9352;  // UDP, daemon to daemon; 0: beats go through NATS alone
  std::string bind = "127.0.0.1";
  NatsPorts nats;
  NatsRestartSpec nats_restart;
  std::optional<Duration> nats_sync;       // between a nats-server's syncs to disk, zero: after every write; nothing: its own 2 minutes
  std::uint64_t nats_max_file = 0;         // bytes that one nats-server may keep on disk; 0: what is declared needs
  std::uint32_t sentinel_port = 26379;
  std::vector<DataSystem> systems;
  std::vector<NotifySpec> notify;
  std::vector<RoleCallback> role_callbacks;
  FencingSpec fencing;
  Duration log_sync = std::chrono::seconds(150);  // how old an event is that no power cut takes: nats-server syncs every 2 min
  std::map<std::string, int> lines;       // of keys that lint speaks of, e.g. "control.lease_ttl"
  std::string hash;                       // XXH3-128 of the bytes, hexadecimal

  std::optional<NodeId> node_named(const std::string& name) const;
  int line_of(const std::string& key) const;
};

struct ParsedFile {
  ClusterFile file;                // as far as it could be read
  std::vector<Finding> findings;   // errors of form: each names line, key and remedy
};

/// Where its sentinels are: on its own nodes first, then on others in the file's order.
std::vector<NodeId> sentinel_nodes(const ClusterFile& file, const DataSystem& system);

/// Reads the text of a cluster file. Units: durations "250ms", "2s", "7d"; sizes "1MiB"; shares "1%". Errors: as findings, all of
/// them and not only the first. Source: fixtures' cluster.yaml is the reference.
ParsedFile parse_cluster_file(const std::string& text);
/// As in ClusterFile::hash.
std::string cluster_file_hash(const std::string& text);

/// "2s" -> ns. "10GiB" -> bytes. Nothing if it is no such text.
std::optional<Duration> parse_duration(const std::string& text);
std::optional<std::uint64_t> parse_size(const std::string& text);

}  // namespace daarion
