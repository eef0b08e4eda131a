// Which nats-servers a cluster file asks for, and their configuration files. Pure: text in, text out.
//
// WHERE SERVERS RUN. Each voter has one server of the core cluster, which holds the log with R3 (R1 and standalone with one voter). The
// witness's core server is a second one beside the edge's own, on the witness ports, and serves no application. Every other node, and
// every edge, has a leaf server with a JetStream domain of its own: it goes on alone, and folds its local mirror of the log.
#pragma once

#include <string>
#include <vector>

#include "controlplane/core/routing.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

struct NatsServerPlan {
  enum class Kind { kCore, kWitness, kLeaf };
  Kind kind = Kind::kCore;
  NodeId node;
  std::string name;     // of the server, unique: "node1", "node3-witness"
  std::string domain;   // of its JetStream: "core", or the leaf's name
  std::string address;
  std::uint32_t client = 0, route = 0, leaf = 0, monitor = 0;  // 0: it does not listen for that
  /// Where it is monitored: there is no password, so that stays on the machine.
  std::string monitor_host() const { return address.starts_with("127.") ? address : "127.0.0.1"; }
  std::string url() const { return "nats://" + address + ":" + std::to_string(client); }
};

/// Every server of the cluster, in the order of `nodes`; the witness's core server before its leaf.
std::vector<NatsServerPlan> nats_plan(const ClusterFile& file);

/// The JetStream domain of the core.
inline constexpr const char* kCoreDomain = "core";
/// Users of the accounts CONTROL, SYS and APP.
inline constexpr const char* kControlUser = "control";
inline constexpr const char* kSysUser = "sys";
inline constexpr const char* kAppUser = "app";
/// In APP too, with the control password: who may change its streams, and who an edge's leaf link comes as.
inline constexpr const char* kRoutesUser = "routes";
inline constexpr const char* kAppLeafUser = "app-leaf";

struct NatsSecrets {
  std::string control, sys, app;  // passwords, or bcrypt hashes of them
};

/// The configuration of one server. `store_dir` and `pid_file` are paths on its node; pid_file may be empty.
/// `cluster_name`: NATS_CLUSTER_NAME, or empty for <cluster>-core. `routes_dir`: the folder that the configuration is put in,
/// which holds routes_file_of() and pid_file_of() too; empty: what render_routes() says stands in the configuration, and no pid is written.
std::string render_nats(const ClusterFile& file, const NatsServerPlan& server, const NatsSecrets& secrets, const std::string& store_dir,
                        const std::string& cluster_name, const std::string& routes_dir = {});

/// What the routes deny at one server: its clients what is local to other nodes, and to change streams; its leaf links and routes what does not
/// pass them. Made again when members change: a server takes it up by a reload. Holds no password.
std::string render_routes(const RoutePlan& plan, const NatsServerPlan& server);
std::string routes_file_of(const NatsServerPlan& server);  // "node1.routes.conf"
std::string pid_file_of(const NatsServerPlan& server);     // "node1.pid"

/// "text" as configurations and JSON quote it; control characters are left out.
std::string quoted(const std::string& text);

/// A path of the file with {node_id} replaced: one file serves every node, also when two share a machine.
std::string path_on(const std::string& path, const NodeId& node);

/// Where a node's gRPC and HTTP listen: control.bind, or the node's own address where it is `node`.
std::string bind_of(const ClusterFile& file, const NodeId& node);

}  // namespace daarion
