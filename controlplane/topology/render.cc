#include "controlplane/topology/render.h"

#include <algorithm>
#include <iterator>

#include "controlplane/topology/lint_routes.h"

namespace daarion {
namespace {

using Kind = NatsServerPlan::Kind;

std::string address_of(const NatsServerPlan& server, std::uint32_t port) { return quoted(server.address + ":" + std::to_string(port)); }

std::string list(const std::vector<std::string>& subjects) {
  std::string out;
  for (const std::string& subject : subjects) out += (out.empty() ? "" : ", ") + quoted(subject);
  return "[" + out + "]";
}

std::string accounts(const NatsSecrets& secrets, const NatsServerPlan& server) {
  std::string out = "system_account: SYS\naccounts {\n";
  out += "  SYS { users: [{user: " + std::string(kSysUser) + ", password: " + quoted(secrets.sys) + "}] }\n";
  out += "  CONTROL {\n    jetstream: enabled\n    users: [{user: " + std::string(kControlUser) + ", password: " + quoted(secrets.control) + "}]\n";
  out += "    exports: [{stream: \"cluster.events.>\"}, {service: \"cluster.api.>\"}]\n  }\n";
  out += "  APP {\n    jetstream: enabled\n";
  if (server.kind != Kind::kWitness) {
    out += "    users: [\n      {user: " + std::string(kAppUser) + ", password: " + quoted(secrets.app) + ", permissions: $DAARION_CLIENTS}\n";
    out += "      {user: " + std::string(kRoutesUser) + ", password: " + quoted(secrets.control) + "}\n";
    if (server.leaf != 0)
      out += "      {user: " + std::string(kAppLeafUser) + ", password: " + quoted(secrets.control) +
             ", allowed_connection_types: [\"LEAFNODE\"], permissions: $DAARION_LEAFS}\n";
    out += "    ]\n";
  }
  out += "    imports: [{stream: {account: CONTROL, subject: \"cluster.events.>\"}}, {service: {account: CONTROL, subject: \"cluster.api.>\"}}]\n  }\n}\n";
  return out;
}

constexpr std::uint64_t kControlFile = 20'000'000'000;  // bytes for log, telemetry and their mirrors: years of a small cluster's

/// JetStream reserves what streams may keep, and refuses one that does not fit.
std::uint64_t max_file_of(const ClusterFile& file, const NatsServerPlan& server) {
  if (file.nats_max_file != 0) return file.nats_max_file;
  return kControlFile + (server.kind == Kind::kLeaf ? rule_bytes_on_edge(file) : rule_bytes(file));
}

/// Only where it is asked for: nats-server before 2.10 does not start with it.
std::string sync_line(const ClusterFile& file) {
  if (!file.nats_sync) return {};
  return "  sync_interval: " + (*file.nats_sync == Duration{} ? "always" : quoted(std::to_string(to_ms(*file.nats_sync)) + "ms")) + "\n";
}

/// Streams of ours at any site, and the verbs that would lose what they hold.
std::vector<std::string> stream_denies(const RoutePlan& plan, const NodeId& node) {
  std::vector<std::string> names = {"KV_cluster_routes"}, out = {"$KV.cluster_routes.>"};
  for (const RouteRule& rule : plan.table)
    if (rule.cls == RouteClass::kReplicated) names.insert(names.end(), {stream_of(rule), mirror_of(rule), edge_stream_of(rule, node)});
  for (const std::string& name : names)
    for (const char* verb : {"UPDATE", "DELETE", "PURGE", "MSG.DELETE"})
      for (const char* api : {"$JS.API.STREAM.", "$JS.*.API.STREAM."}) out.push_back(api + std::string(verb) + "." + name);
  return out;
}

}  // namespace

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

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
                        const std::string& cluster_name, const std::string& routes_dir) {
  const std::vector<NatsServerPlan> plan = nats_plan(file);
  std::string out = "# Made from the cluster file of " + file.spec.cluster + "; changes here are lost.\n";
  out += "server_name: " + server.name + "\nlisten: " + address_of(server, server.client) + "\nhttp: " + quoted(server.monitor_host() + ":" + std::to_string(server.monitor)) + "\n";
  // A frozen peer is noticed in seconds; a client that does not read is cut, it must not hold up the others.
  out += "ping_interval: \"5s\"\nping_max: 2\nwrite_deadline: \"2s\"\nmax_payload: 1MB\n";
  out += "jetstream {\n  store_dir: " + quoted(store_dir) + "\n  domain: " + server.domain + "\n  max_mem: 256MB\n  max_file: " +
         std::to_string(max_file_of(file, server)) + "\n" + sync_line(file) + "}\n";
  if (routes_dir.empty()) out += render_routes(plan_routes(file.spec), server);
  // nats-server looks for what is included from the folder of the file that includes it.
  else out += "pid_file: " + quoted(routes_dir + "/" + pid_file_of(server)) + "\ninclude " + quoted(routes_file_of(server)) + "\n";
  out += accounts(secrets, server);
  if (server.kind == Kind::kLeaf) {
    const auto urls = [&](const char* user) {
      std::string text;
      for (const NatsServerPlan& core : plan)
        if (core.kind == Kind::kCore)
          text += (text.empty() ? "" : ", ") + quoted("nats://" + std::string(user) + ":" + secrets.control + "@" + core.address + ":" + std::to_string(core.leaf));
      return "[" + text + "]";
    };
    // Telemetry goes by the outbox, which the core sources: directly it would be stored twice. So it is with what the rules replicate.
    out += "leafnodes {\n  reconnect: 1\n  remotes: [{\n    urls: " + urls(kControlUser) + "\n    account: CONTROL\n"
           "    deny_exports: [\"cluster.telemetry.>\"]\n    deny_imports: [\"cluster.telemetry.>\"]\n  }, {\n    urls: " + urls(kAppLeafUser) +
           "\n    account: APP\n    deny_exports: $DAARION_LEAF_DENIES\n    deny_imports: $DAARION_LEAF_DENIES\n  }]\n}\n";
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
           address_of(server, server.route) + "\n  routes: [" + routes + "]\n  permissions: $DAARION_ROUTES\n}\n";
  return out;
}

std::string routes_file_of(const NatsServerPlan& server) { return server.name + ".routes.conf"; }
std::string pid_file_of(const NatsServerPlan& server) { return server.name + ".pid"; }

std::string render_routes(const RoutePlan& plan, const NatsServerPlan& server) {
  const auto both = [](const std::string& name, const char* one, const std::string& first, const char* other, const std::string& second) {
    return name + " { " + one + ": {deny: " + first + "}, " + other + ": {deny: " + second + "} }\n";
  };
  // A server refuses a name that it does not use.
  std::string out = "# What the routes deny here.\n";
  if (server.kind != Kind::kWitness) {
    const std::vector<std::string> local = client_denies(plan, server.node);
    std::vector<std::string> publish = local;
    std::ranges::copy(stream_denies(plan, server.node), std::back_inserter(publish));
    out += both("DAARION_CLIENTS", "publish", list(publish), "subscribe", list(local));
  }
  const std::string links = list(plan.leaf_denies), routes = list(plan.route_denies);
  if (server.kind == Kind::kLeaf) out += "DAARION_LEAF_DENIES " + links + "\n";
  if (server.leaf != 0) out += both("DAARION_LEAFS", "publish", links, "subscribe", links);
  if (server.kind != Kind::kLeaf && plan.core_servers > 1) out += both("DAARION_ROUTES", "import", routes, "export", routes);
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
