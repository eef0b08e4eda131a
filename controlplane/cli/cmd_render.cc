// render: configurations made from the cluster file: a node's nats-server, what it denies, and what stands before the cluster.
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <fstream>

#include "controlplane/api/names.h"
#include "controlplane/cli/admin_client.h"
#include "controlplane/cli/commands.h"
#include "controlplane/cli/output.h"
#include "controlplane/drivers/redis/render.h"
#include "controlplane/topology/render.h"
#include "controlplane/topology/render_entry.h"

namespace daarion {
namespace {

struct RenderOptions {
  std::string node, kind, store_dir, cluster_name, routes_dir;
};

/// The cluster file, and the one server that is meant.
struct Chosen {
  ClusterFile file;
  NatsServerPlan server;
};

const char* name_of(NatsServerPlan::Kind kind) {
  return kind == NatsServerPlan::Kind::kCore ? "core" : kind == NatsServerPlan::Kind::kWitness ? "witness" : "leaf";
}

/// NAME, or the first line of the file that NAME_FILE names. Never from a command line: others can read those.
Answer<std::string> secret(const std::string& name) {
  if (const char* value = std::getenv(name.c_str()); value && *value) return std::string(value);
  const char* path = std::getenv((name + "_FILE").c_str());
  if (!path || !*path) return refuse(ExitCode::kUsage, "no password: set " + name + ", or " + name + "_FILE to a file that holds it");
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line) || line.empty()) return refuse(ExitCode::kUsage, "read " + name + "_FILE: " + path + " cannot be read or is empty");
  return line;
}

Answer<Chosen> chosen(const Globals& globals, const RenderOptions& options) {
  auto file = context_file(globals);
  if (!file) return tl::unexpected(file.error());
  std::vector<std::string> nodes;
  for (const NodeSpec& n : file->spec.nodes) nodes.push_back(n.id.value);
  const auto node = fold_name("node", options.node, nodes, file->aliases);
  if (!node) return refuse(ExitCode::kUsage, node.error().message);
  std::vector<NatsServerPlan> found;
  std::string kinds;
  for (const NatsServerPlan& server : nats_plan(*file)) {
    if (server.node.value != *node) continue;
    kinds += (kinds.empty() ? "" : " and ") + std::string(name_of(server.kind));
    if (options.kind.empty() || options.kind == name_of(server.kind)) found.push_back(server);
  }
  if (found.empty()) return refuse(ExitCode::kUsage, *node + " runs no " + options.kind + " server; it runs " + kinds);
  if (found.size() > 1) return refuse(ExitCode::kUsage, *node + " runs more than one server: name one with --kind, " + kinds);
  return Chosen{std::move(*file), found[0]};
}

ExitCode render_one_routes(const Globals& globals, const RenderOptions& options) {
  const auto one = chosen(globals, options);
  if (!one) return say(one.error());
  print(render_routes(plan_routes(one->file.spec), one->server));
  return ExitCode::kOk;
}

ExitCode run_render(const Globals& globals, const RenderOptions& options) {
  const auto one = chosen(globals, options);
  if (!one) return say(one.error());
  NatsSecrets secrets;
  const std::pair<const char*, std::string*> wanted[] = {
      {"DAARION_CONTROL_PASSWORD", &secrets.control}, {"DAARION_SYS_PASSWORD", &secrets.sys}, {"DAARION_APP_PASSWORD", &secrets.app}};
  for (const auto& [name, to] : wanted) {
    auto value = secret(name);
    if (!value) return say(value.error());
    *to = std::move(*value);
  }
  const char* name = std::getenv("NATS_CLUSTER_NAME");
  const std::string cluster = !options.cluster_name.empty() ? options.cluster_name : name ? name : "";
  const std::string store = options.store_dir.empty() ? "/var/lib/nats/" + one->server.name : options.store_dir;
  print(render_nats(one->file, one->server, secrets, store, cluster, options.routes_dir));
  return ExitCode::kOk;
}

/// What a node's redis-server or redis-sentinel is started with where Sentinel decides.
ExitCode render_one_redis(const Globals& globals, const RenderOptions& options) {
  const auto file = context_file(globals);
  if (!file) return say(file.error());
  std::vector<std::string> nodes;
  for (const NodeSpec& n : file->spec.nodes) nodes.push_back(n.id.value);
  const auto named = fold_name("node", options.node, nodes, file->aliases);
  if (!named) return say({ExitCode::kUsage, named.error().message});
  const NodeId node(*named);
  const auto system = std::ranges::find_if(file->systems, [](const DataSystem& s) { return s.engine == "redis" && s.mode == "sentinel"; });
  if (system == file->systems.end()) return say({ExitCode::kUsage, "the cluster file has no Redis with `mode: sentinel`; in `mode: managed` the daemon writes the configuration itself"});
  const bool sentinel = options.kind == "sentinel";
  const std::vector<NodeId> on = sentinel ? sentinel_nodes(*file, *system) : system->nodes;
  if (std::ranges::find(on, node) == on.end()) return say({ExitCode::kUsage, node.value + " runs no " + (sentinel ? "sentinel" : "server") + " of " + system->id.value});
  const auto password = secret("REDIS_PASSWORD");
  if (!password) return say(password.error());
  const ResourceSpec& resource = *file->spec.resource(system->id);
  const std::string& host = file->spec.node(node)->address;
  const std::string folder = !options.store_dir.empty() ? options.store_dir : sentinel || resource.data_dir.empty() ? "/var/lib/redis" : path_on(resource.data_dir, node);
  print(sentinel ? redis::sentinel_config(host, file->sentinel_port, folder, *password) : redis::server_config(resource, node, host, folder, *password));
  return ExitCode::kOk;
}

template <class Wish, class Make>
ExitCode render_entry(const Globals& globals, const Wish& wish, const Make& make) {
  const auto file = context_file(globals);
  if (!file) return say(file.error());
  const auto text = make(*file, wish);
  if (!text) return say({ExitCode::kUsage, text.error().message});
  print(*text);
  return ExitCode::kOk;
}

void add_entry(CLI::App& render, const Globals& globals, ExitCode& code) {
  auto local = std::make_shared<HaproxyWish>();
  CLI::App* haproxy = render.add_subcommand("haproxy", "HAProxy before data systems and services: it asks the daemons who is active. Needs control.bind: node.");
  haproxy->fallthrough();
  haproxy->add_option("--bind", local->bind, "Where it listens, at the services' own ports; a data system's replicas at its port + 10000")->capture_default_str()->type_name("ADDRESS");
  haproxy->add_option("--region", local->region, "Nodes of other regions are asked when none of this one serves")->type_name("REGION");
  haproxy->callback([local, &globals, &code] { code = render_entry(globals, *local, render_haproxy); });
  auto global = std::make_shared<CloudflareWish>();
  CLI::App* cloudflare = render.add_subcommand("cloudflare", "Monitor, pools and load balancer for CloudFlare's API, as one JSON document. Needs control.bind: node.");
  cloudflare->fallthrough();
  cloudflare->add_option("--service", global->service, "The service that it leads to")->capture_default_str()->type_name("SERVICE");
  cloudflare->add_option("--hostname", global->hostname, "The public name")->required()->type_name("NAME");
  cloudflare->callback([global, &globals, &code] { code = render_entry(globals, *global, render_cloudflare); });
}

}  // namespace

void add_render(CLI::App& app, const Globals& globals, ExitCode& code) {
  auto options = std::make_shared<RenderOptions>();
  CLI::App* render = app.add_subcommand("render", "Configuration files made from the cluster file.");
  render->require_subcommand(1);
  CLI::App* command = render->add_subcommand("nats", "A node's nats-server. Needs --context or DAARION_CONFIG. Passwords: DAARION_CONTROL_PASSWORD, DAARION_SYS_PASSWORD, "
                                                     "DAARION_APP_PASSWORD, or the same names with _FILE. The output holds them: keep it readable by the server alone.");
  command->fallthrough();
  command->add_option("--node", options->node, "The node")->required()->type_name("NODE");
  command->add_option("--kind", options->kind, "Which of its servers, where it runs two: core, witness or leaf")->check(CLI::IsMember({"core", "witness", "leaf"}));
  command->add_option("--store-dir", options->store_dir, "JetStream's folder on the node; default: /var/lib/nats/<server>")->type_name("DIR");
  command->add_option("--cluster-name", options->cluster_name, "Default: NATS_CLUSTER_NAME, else <cluster>-core")->type_name("NAME");
  command->add_option("--routes-dir", options->routes_dir, "The folder that the output will be in: it then includes <server>.routes.conf beside it (`render routes`) and names a pid "
                                                           "file, and a daemon with --nats-dir keeps it in step with the members")->type_name("DIR");
  command->callback([options, &globals, &code] { code = run_render(globals, *options); });
  auto part = std::make_shared<RenderOptions>();
  CLI::App* routes = render->add_subcommand("routes", "What a nats-server denies by the rules of routing: the file <server>.routes.conf. Holds no password.");
  routes->fallthrough();
  routes->add_option("--node", part->node, "The node")->required()->type_name("NODE");
  routes->add_option("--kind", part->kind, "Which of its servers, where it runs two: core, witness or leaf")->check(CLI::IsMember({"core", "witness", "leaf"}));
  routes->callback([part, &globals, &code] { code = render_one_routes(globals, *part); });
  auto one = std::make_shared<RenderOptions>();
  one->kind = "server";
  CLI::App* redis = render->add_subcommand("redis", "A node's redis-server or redis-sentinel where Sentinel decides (`mode: sentinel`). Start the server with the output and with\n"
                                                    "--replicaof \"127.0.0.1 0\" on its command line: one that restarts then serves nobody what it came back with. Password: REDIS_PASSWORD,\n"
                                                    "or REDIS_PASSWORD_FILE; the output holds it.");
  redis->fallthrough();
  redis->add_option("--node", one->node, "The node")->required()->type_name("NODE");
  redis->add_option("--kind", one->kind, "server or sentinel")->check(CLI::IsMember({"server", "sentinel"}))->capture_default_str();
  redis->add_option("--store-dir", one->store_dir, "Its folder on the node; default: the resource's data_dir, else /var/lib/redis")->type_name("DIR");
  redis->callback([one, &globals, &code] { code = render_one_redis(globals, *one); });
  add_entry(*render, globals, code);
}

}  // namespace daarion
