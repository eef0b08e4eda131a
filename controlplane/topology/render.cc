#include "controlplane/topology/render.h"

#include <algorithm>

namespace daarion {
namespace {

using Kind = NatsServerPlan::Kind;

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string address_of(const NatsServerPlan& server, std::uint32_t port) { return quoted(server.address + ":" + std::to_string(port)); }

/// Monitoring has no password: it stays on the machine, on the node's own address only where that is loopback already.
std::string monitor_of(const NatsServerPlan& server) {
  const bool loopback = server.address.starts_with("127.");
  return quoted((loopback ? server.address : "127.0.0.1") + ":" + std::to_string(server.monitor));
}

std::string accounts(const NatsSecrets& secrets, bool serves_applications) {
  std::string out = "system_account: SYS\naccounts {\n";
  out += "  SYS { users: [{user: " + std::string(kSysUser) + ", password: " + quoted(secrets.sys) + "}] }\n";
  out += "  CONTROL {\n    jetstream: enabled\n    users: [{user: " + std::string(kControlUser) + ", password: " + quoted(secrets.control) + "}]\n";
  out += "    exports: [{stream: \"cluster.events.>\"}, {service: \"cluster.api.>\"}]\n  }\n";
  out += "  APP {\n    jetstream: enabled\n";
  if (serves_applications) out += "    users: [{user: " + std::string(kAppUser) + ", password: " + quoted(secrets.app) + "}]\n";
  out += "    imports: [{stream: {account: CONTROL, subject: \"cluster.events.>\"}}, {service: {account: CONTROL, subject: \"cluster.api.>\"}}]\n  }\n}\n";
  return out;
}

}  // namespace

std::vector<NatsServerPlan> nats_plan(const ClusterFile& file) {
  std::vector<NatsServerPlan> out;
  const NatsPorts& p = file.nats;
  for (const NodeSpec& node : file.spec.nodes) {
    const bool votes = std::ranges::find(file.spec.voters, node.id) != file.spec.voters.end();
    const bool witness = node.id == file.spec.witness;
    const std::string& id = node.id.value;
    if (votes && witness)
      out.push_back({.kind = Kind::kWitness, .node = node.id, .name = id + "-witness", .domain = kCoreDomain, .address = node.address,
                     .client = p.witness_client, .route = p.witness_route, .leaf = 0, .monitor = p.witness_monitor});
    if (votes && !witness)
      out.push_back({.kind = Kind::kCore, .node = node.id, .name = id, .domain = kCoreDomain, .address = node.address,
                     .client = p.client, .route = p.route, .leaf = p.leaf, .monitor = p.monitor});
    else
      out.push_back({.kind = Kind::kLeaf, .node = node.id, .name = id, .domain = id, .address = node.address,
                     .client = p.client, .route = 0, .leaf = 0, .monitor = p.monitor});
  }
  return out;
}

std::string render_nats(const ClusterFile& file, const NatsServerPlan& server, const NatsSecrets& secrets, const std::string& store_dir,
                        const std::string& cluster_name) {
  const std::vector<NatsServerPlan> plan = nats_plan(file);
  std::string out = "# Made from the cluster file of " + file.spec.cluster + "; changes here are lost.\n";
  out += "server_name: " + server.name + "\nlisten: " + address_of(server, server.client) + "\nhttp: " + monitor_of(server) + "\n";
  // A frozen peer is noticed in seconds; a client that does not read is cut, it must not hold up the others.
  out += "ping_interval: \"5s\"\nping_max: 2\nwrite_deadline: \"2s\"\nmax_payload: 1MB\n";
  out += "jetstream {\n  store_dir: " + quoted(store_dir) + "\n  domain: " + server.domain + "\n  max_mem: 256MB\n  max_file: 20GB\n}\n";
  out += accounts(secrets, server.kind != Kind::kWitness);
  if (server.kind == Kind::kLeaf) {
    std::string urls;
    for (const NatsServerPlan& core : plan)
      if (core.kind == Kind::kCore)
        urls += (urls.empty() ? "" : ", ") + quoted("nats://" + std::string(kControlUser) + ":" + secrets.control + "@" + core.address + ":" + std::to_string(core.leaf));
    // Telemetry goes by the outbox, which the core sources: directly it would be stored twice.
    out += "leafnodes {\n  reconnect: 1\n  remotes: [{\n    urls: [" + urls + "]\n    account: CONTROL\n"
           "    deny_exports: [\"cluster.telemetry.>\"]\n    deny_imports: [\"cluster.telemetry.>\"]\n  }]\n}\n";
    return out;
  }
  if (server.leaf != 0) out += "leafnodes {\n  listen: " + address_of(server, server.leaf) + "\n  no_advertise: true\n}\n";
  std::string routes;
  std::size_t core_servers = 0;
  for (const NatsServerPlan& core : plan) {
    if (core.kind == Kind::kLeaf) continue;
    ++core_servers;
    if (core.name != server.name) routes += (routes.empty() ? "" : ", ") + quoted("nats://" + core.address + ":" + std::to_string(core.route));
  }
  if (core_servers > 1)
    out += "cluster {\n  name: " + (cluster_name.empty() ? file.spec.cluster + "-core" : cluster_name) + "\n  listen: " +
           address_of(server, server.route) + "\n  routes: [" + routes + "]\n}\n";
  return out;
}

std::string path_on(const std::string& path, const NodeId& node) {
  static const std::string kToken = "{node_id}";
  std::string out = path;
  for (std::size_t at = out.find(kToken); at != std::string::npos; at = out.find(kToken, at + node.value.size()))
    out.replace(at, kToken.size(), node.value);
  return out;
}

std::string bind_of(const ClusterFile& file, const NodeId& node) {
  if (file.bind != "node") return file.bind;
  const NodeSpec* spec = file.spec.node(node);
  return spec ? spec->address : "127.0.0.1";
}

}  // namespace daarion
