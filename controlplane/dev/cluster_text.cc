#include "controlplane/dev/cluster_text.h"

#include <algorithm>

namespace daarion::dev {
namespace {

std::string number(std::uint32_t n) { return std::to_string(n); }

}  // namespace

std::vector<Ports::Use> Ports::uses() {
  return {{"gRPC", &grpc, false}, {"HTTP", &http, false}, {"PostgreSQL", &postgres, false}, {"PostgreSQL of billing", &billing, false}, {"Redis", &redis, false}, {"Sentinel", &sentinel, false}, {"Qdrant", &qdrant, false},
          {"Neo4j", &neo4j, false}, {"Neo4j HTTP", &neo4j_http, false},
          {"NATS client", &nats.client, false},
          {"NATS route", &nats.route, false}, {"NATS leaf", &nats.leaf, false}, {"NATS monitor", &nats.monitor, false},
          {"witness client", &nats.witness_client, true}, {"witness route", &nats.witness_route, true},
          {"witness monitor", &nats.witness_monitor, true}};
}

std::string cluster_text(const Shape& shape) {
  const auto has = [&](int node) { return shape.nodes >= node; };
  const auto address = [&](int node) { return shape.prefix + std::to_string(node); };
  const Ports& p = shape.ports;
  std::string s = "# A local cluster, written by `daarionctl dev`: every node is real processes on an address of its own.\n";
  s += "schema: 1\ncluster: daarion-dev\n\nnodes:\n";
  s += "  node1: {address: " + address(1) + ", region: eu-central, role: primary}\n";
  if (has(2)) s += "  node2: {address: " + address(2) + ", region: eu-central, role: replica}\n";
  for (int edge = 3; edge <= shape.nodes; ++edge) s += "  node" + std::to_string(edge) + ": {address: " + address(edge) + ", region: eu-north, role: edge}\n";
  s += "\ncontrol:\n";
  if (has(3))
    s += "  voters: [node1, node2, node3]\n  witness: node3                        # its second nats-server is the third member of core\n";
  else
    s += "  voters: [node1]                       # one: nothing fails over by itself, and the log has one copy\n";
  if (!shape.max_promotions.empty()) s += "  max_promotions: " + shape.max_promotions + "\n";
  s += "  grpc_port: " + number(p.grpc) + "\n  http_port: " + number(p.http) + "\n  bind: node\n";
  s += "  nats: {client: " + number(p.nats.client) + ", route: " + number(p.nats.route) + ", leaf: " + number(p.nats.leaf) + ", monitor: " + number(p.nats.monitor);
  s += ",\n         witness_client: " + number(p.nats.witness_client) + ", witness_route: " + number(p.nats.witness_route) +
       ", witness_monitor: " + number(p.nats.witness_monitor);
  // Words are split at spaces.
  if (shape.folder.find(' ') == std::string::npos) s += ",\n         restart: {exec: " + shape.folder + "/" + kRestartScript + "}";
  s += "}\n";
  const std::string replicas = has(2) ? "    replicas: [NODE2]\n" : "    replicas: []\n";
  const bool postgres = shape.engines.contains("postgres"), redis = shape.engines.contains("redis"), sentinel = shape.engines.contains("redis-sentinel");
  s += "\nreplication:\n";
  if (postgres)
    s += "  PostgreSQL:\n    mode: primary-replica\n    primary: NODE1                      # bootstrap only: then the log wins\n" + replicas +
         "    sync: async (streaming)\n";
  if (shape.engines.contains("postgres-billing"))
    s += std::string("  billing:\n    engine: postgresql                  # a second cluster on the same nodes, the other way round\n    mode: primary-replica\n") +
         (has(2) ? "    primary: NODE2\n    replicas: [NODE1]\n" : "    primary: NODE1\n    replicas: []\n");
  if (sentinel) s += "  Redis:\n    mode: sentinel                      # Sentinel decides who is the primary\n    master: NODE1\n" + replicas + "    sentinels: 3\n";
  if (redis) s += "  Redis:\n    mode: managed                       # lease and epoch decide, no sentinel\n    master: NODE1\n" + replicas;
  if (has(3)) {
    s += "  NATS:\n    mode: supercluster\n    clusters:\n      - {name: core, nodes: [NODE1, NODE2]}\n      - {name: edge, nodes: [NODE3";
    s += std::string(has(4) ? ", NODE4" : "") + "], leafnode_to: core}\n";
  }
  std::string peers;
  for (int node = 1; node <= std::min(shape.nodes, 3); ++node) peers += (node == 1 ? "NODE" : ", NODE") + std::to_string(node);
  const bool community = shape.engines.contains("neo4j-community"), neo4j = community || shape.engines.contains("neo4j");
  if (community) s += "  Neo4j: {mode: single, nodes: [NODE1]}\n";
  else if (neo4j) s += "  Neo4j: {mode: causal-cluster, core_servers: [" + peers + "]" + (has(4) ? ", read_replicas: [NODE4]" : "") + "}\n";
  if (shape.engines.contains("qdrant")) {
    s += "  Qdrant: {mode: sharded, shards: 2, replication_factor: " + std::to_string(std::min(shape.nodes, 2)) + ", nodes: [" + peers + "]}\n";
  }
  const auto resource = [&](const char* id, std::uint32_t port, const std::string& data_dir) {
    s += std::string("  ") + id + ":\n    port: " + number(port) + "\n    data_dir: " + shape.folder + "/{node_id}/" + data_dir + "\n    runner: process\n";
  };
  s += "\nresources:\n";
  if (postgres) resource("postgres", p.postgres, shape.data_dir);
  if (shape.engines.contains("postgres-billing")) resource("billing", p.billing, "billing");
  if (redis || sentinel) resource("redis", p.redis, "redis");
  if (sentinel) s += "    sentinel_port: " + number(p.sentinel) + "\n    down_after: 1s                      # Sentinel's own default is 30s\n";
  if (shape.engines.contains("qdrant")) s += "  qdrant: {port: " + number(p.qdrant) + "}\n";
  if (neo4j) s += "  neo4j:\n    port: " + number(p.neo4j) + "\n    http_port: " + number(p.neo4j_http) + "\n";
  if (community) s += "    dump: {exec: " + shape.folder + "/node1/neo4j/dump, file: " + shape.folder + "/node1/neo4j/neo4j.dump, every: 10m, at: " + number(shape.dump_at) + "s}\n";
  s += "\nrouting:\n";
  for (const char* rule : {"message, subjects: [\"message.*\"], class: replicated, max_age: 7d", "attachment, subjects: [\"attachment.*\"], class: replicated, max_age: 30d",
                           "agent_run, subjects: [\"agent.run.*\"], class: replicated, max_age: 7d"})
    s += "  - {rule: " + std::string(rule) + ", max_bytes: 256MiB}\n";
  s += "  - {rule: node_local, subjects: [\"node.{node_id}.local.*\"], class: node_local}\n";
  s += "  - {rule: cache, subjects: [\"cache.invalidate.*\"], class: edge_local}\n";
  return s;
}

Ports ports_of(const ClusterFile& file) {
  Ports out;
  out.grpc = file.grpc_port;
  out.http = file.http_port;
  out.nats = file.nats;
  out.sentinel = file.sentinel_port;
  for (const DataSystem& s : file.systems)
    if (s.engine == "neo4j") out.neo4j_http = s.http_port;
  for (const ResourceSpec& r : file.spec.resources)
    if (r.engine == "postgresql") (r.id.value == "billing" ? out.billing : out.postgres) = r.port;
    else if (r.engine == "neo4j") out.neo4j = r.port;
    else if (r.engine == "redis") out.redis = r.port;
    else if (r.engine == "qdrant") out.qdrant = r.port;
  return out;
}

}  // namespace daarion::dev
