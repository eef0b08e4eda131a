#include "controlplane/cli/cmd_dev.h"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "controlplane/dev/local_cluster.h"

namespace daarion {
namespace {

using dev::LocalCluster;
using dev::Part;
using std::chrono::seconds;

constexpr Duration kSettled = seconds(90);  // initdb and a base backup on a slow disk; 6 s are usual
constexpr Duration kStopped = seconds(45);  // a planned stop hands over within 30 s

ExitCode report(const Error& error) {
  std::fprintf(stderr, "daarionctl: %s\n", error.message.c_str());
  return error.remedy == Remedy::kFixInput ? ExitCode::kUsage : ExitCode::kFailed;
}
ExitCode report(const Result<void>& result) { return result ? ExitCode::kOk : report(result.error()); }

dev::Say progress() {
  const auto began = std::chrono::steady_clock::now();
  return [began](const std::string& line) {
    std::printf("%6.1f s  %s\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(), line.c_str());
    std::fflush(stdout);
  };
}

Result<LocalCluster> present(dev::Say say = {}) { return LocalCluster::open(LocalCluster::default_folder(), std::move(say)); }

/// What a cluster of this size cannot do, before anybody relies on it.
void say_what_is_absent(std::size_t nodes) {
  if (nodes == 1)
    std::printf("\nOne node: no replica, so the loss of its disk loses the data; no failover; the decision log has one copy (R1).\n"
                "What is kept: one writer at most, every decision in the log. `daarionctl dev up --nodes 3` has the rest.\n");
  if (nodes == 2)
    std::printf("\nTwo nodes, one voter (node1): node2 has the data, but nobody is elected without node1. If node1 is lost, node2 takes over\n"
                "by audited override only; the decision log has one copy (R1). `daarionctl dev up --nodes 3` fails over by itself.\n");
}

void say_what_to_try(const LocalCluster& c) {
  const NodeId first = c.nodes().front();
  const std::string server = c.server_of(first), uri = "http://" + c.address_of(first) + ":" + std::to_string(c.file().http_port);
  std::printf("\ntry   daarionctl dev status\n");
  if (c.nodes().size() >= 3)
    std::printf("      daarionctl dev kill node1      # as if the host lost power; then: daarionctl dev status, daarionctl dev start node1\n");
  if (c.network() && c.nodes().size() >= 2)
    std::printf("      daarionctl dev cut node1 node2 # their links are silent; also: loss node1 node2 30; daarionctl dev heal\n");
  std::printf("      daarionctl dev shell           # DAARION_CONFIG, DAARION_SERVER=%s and PATH set\n", server.c_str());
  if (c.leads("postgres"))
    std::printf("      psql -h %s/run/postgres -p %u -U postgres   # the superuser, over the socket; applications: host %s, user and database probe\n",
              c.node_folder(first).c_str(), dev::ports_of(c.file()).postgres, c.address_of(first).c_str());
  if (c.leads("redis") || c.sentinel_system() != nullptr)
    std::printf("      redis-cli -h %s -p %u --askpass   # REDIS_PASSWORD of %s/secrets\n", c.address_of(first).c_str(), dev::ports_of(c.file()).redis, c.folder().c_str());
  if (c.qdrant_system() != nullptr)
    std::printf("      curl -H \"api-key: $(sed -n 's/^QDRANT_API_KEY=//p' %s/secrets)\" http://%s:%u/cluster   # each peer's own word\n", c.folder().c_str(), c.address_of(first).c_str(),
                dev::ports_of(c.file()).qdrant);
  if (c.neo4j_system() != nullptr)
    std::printf("      curl -u neo4j:$(sed -n 's/^NEO4J_PASSWORD=//p' %s/secrets) http://%s:%u/dbms/cluster/status   # each member's own word\n", c.folder().c_str(),
                c.address_of(first).c_str(), dev::ports_of(c.file()).neo4j_http);
  std::printf("      curl %s/cluster/status\n      daarionctl dev down            # ends all of it and removes %s\n", uri.c_str(), c.folder().c_str());
}

ExitCode up(int nodes, bool netns, const std::vector<std::string>& engines) {
  const dev::Say say = progress();
  const std::string folder = LocalCluster::default_folder();
  std::error_code ignored;
  const bool there = std::filesystem::exists(folder + "/cluster.yaml", ignored);
  auto cluster = there ? LocalCluster::open(folder, say)
                       : LocalCluster::create({.nodes = nodes > 0 ? nodes : 3, .folder = folder, .prefix = netns ? "10.83.0." : "127.83.0.", .say = say, .netns = netns, .max_promotions = {},
                                                  .data_dir = "postgres", .engines = engines.empty() ? std::set<std::string>{"postgres"} : std::set<std::string>(engines.begin(), engines.end())});
  if (!cluster) return report(cluster.error());
  if (there && netns && !cluster->network())
    return report(Error{Remedy::kFixInput, Effect::kNone, "start nodes in network namespaces: " + folder + " has a cluster without; `daarionctl dev down` first"});
  if (there && nodes > 0 && static_cast<int>(cluster->nodes().size()) != nodes)
    return report(Error{Remedy::kFixInput, Effect::kNone, "start " + std::to_string(nodes) + " nodes: " + folder + " has a cluster of " +
                                                              std::to_string(cluster->nodes().size()) + "; `daarionctl dev down` first"});
  for (const std::string& engine : there ? engines : std::vector<std::string>{})
    if (!cluster->runs(engine))
      return report(Error{Remedy::kFixInput, Effect::kNone, "start " + engine + ": " + folder + " has a cluster without it; `daarionctl dev down` first"});
  say((there ? "found " : "wrote ") + cluster->config_path());
  if (cluster->network()) say("network namespaces " + cluster->network()->hub() + " and one for each node");
  if (auto started = cluster->start_all(); !started) return report(started);
  const auto view = cluster->await_settled(kSettled);
  if (!view) return report(view.error());
  for (const ResourceId& id : cluster->leased()) {
    const dev::ResourceSeen* r = view->resource(id.value);
    say(id.value + ": " + r->holder + " writes, epoch " + std::to_string(r->epoch) +
        (r->replicas.size() > 1 || (r->replicas.size() == 1 && r->replicas[0].node != r->holder) ? "; its replica streams" : ""));
    if (id.value != "postgres") continue;
    if (auto made = cluster->make_application(NodeId(r->holder)); !made) return report(made);
  }
  const auto elected = [&](const std::string& id, const std::string& who, const char* is) -> Result<void> {
    const auto seen = cluster->await(cluster->nodes().front(), who, kSettled, [&](const dev::ClusterView& v) { return !v.holder_of(id).empty(); });
    if (!seen) return tl::unexpected(seen.error());
    say(id + ": " + seen->holder_of(id) + is);
    return {};
  };
  if (const DataSystem* system = cluster->sentinel_system()) {
    const std::string& id = system->id.value;
    if (auto done = elected(id, "a primary of " + id + " by Sentinel", " is the primary, by Sentinel"); !done) return report(done.error());
  }
  if (const DataSystem* system = cluster->qdrant_system()) {
    const std::string& id = system->id.value;
    if (auto done = elected(id, "a leader of " + id + "'s raft", " leads its raft"); !done) return report(done.error());
    if (std::getenv("DAARION_QDRANT") == nullptr)
      say(id + ": this is our STAND-IN (" + LocalCluster::qdrant_program() + "), NOT Qdrant: shards and replicas, no vectors. DAARION_QDRANT=/path/of/qdrant runs a real one");
  }
  if (const DataSystem* system = cluster->neo4j_system()) {
    const std::string& id = system->id.value;
    if (auto done = elected(id, "a leader of " + id, system->mode == "single" ? " is the one instance" : " leads the default database"); !done) return report(done.error());
    say(id + ": this is our STAND-IN, NOT Neo4j: databases, leaders and transaction ids, no graph");
  }
  say_what_is_absent(cluster->nodes().size());
  say_what_to_try(*cluster);
  return ExitCode::kOk;
}

/// "daemon 4711, guard 4713 4714 (stopped), ..."
std::string processes_text(const LocalCluster& c, const NodeId& node) {
  std::string out;
  for (const Part part : {Part::kNats, Part::kWitness, Part::kDaemon, Part::kGuard, Part::kPostgres, Part::kRedis, Part::kSentinel, Part::kQdrant, Part::kNeo4j}) {
    const auto found = c.processes(node, part == Part::kPostgres ? Part::kPostmaster : part);
    if (found.empty()) continue;
    out += (out.empty() ? "" : ", ") + std::string(dev::kPartNames[static_cast<int>(part)]);
    bool stopped = false;
    for (const dev::ProcessInfo& p : found) {
      out += " " + std::to_string(p.id.pid);
      stopped |= p.state == 'T';
    }
    if (stopped) out += " (paused)";
  }
  return out.empty() ? "nothing runs" : out;
}

/// A data system that elects its own leader. A node that runs two of its processes (a witness beside a server) is named once.
void say_observed(const dev::ResourceSeen& r) {
  std::printf("%s: %s", r.id.c_str(), r.holder.empty() ? "nobody leads" : (r.holder + " leads").c_str());
  std::set<std::string> said = {r.holder};
  for (const dev::ReplicaSeen& p : r.replicas)
    if (said.insert(p.node).second) std::printf("; %s %s", p.node.c_str(), p.state.c_str());
  std::printf("\n");
}

ExitCode status() {
  const auto cluster = present();
  if (!cluster) return report(cluster.error());
  std::printf("%s\n", cluster->config_path().c_str());
  Result<dev::ClusterView> view = fail(Remedy::kRetry, "no daemon answers");
  std::size_t running = 0;
  for (const NodeId& node : cluster->nodes()) {
    std::printf("  %-8s %-14s %s\n", node.value.c_str(), cluster->address_of(node).c_str(), processes_text(*cluster, node).c_str());
    running += cluster->processes(node).empty() ? 0 : 1;
    if (!view || !view->ready)
      if (auto seen = cluster->view(node)) view = std::move(seen);
  }
  if (const dev::NodeNetwork* network = cluster->network()) {
    for (const NodeId& node : cluster->nodes()) std::printf("  %-8s ip netns exec %s ...\n", node.value.c_str(), network->name_of(node).c_str());
    for (const dev::LostPackets& p : network->lost())
      std::printf("  %s -> %s: %s\n", p.from.value.c_str(), p.to.value.c_str(), p.percent >= 100 ? "cut" : (std::to_string(p.percent) + " % of the packets are lost").c_str());
  }
  if (!view) {
    std::printf("no daemon answers%s\n", running == 0 ? "; `daarionctl dev up` starts them" : "");
    return running == 0 ? ExitCode::kUnreachable : ExitCode::kDegraded;
  }
  const std::vector<ResourceId> leased = cluster->leased();
  for (const dev::ResourceSeen& r : view->resources) {
    if (std::ranges::find(leased, ResourceId(r.id)) == leased.end()) {
      say_observed(r);
      continue;
    }
    std::printf("%s: %s, epoch %llu", r.id.c_str(), r.holder.empty() ? "nobody writes" : (r.holder + (r.writable ? " writes" : " holds, not writable")).c_str(),
                static_cast<unsigned long long>(r.epoch));
    for (const dev::ReplicaSeen& p : r.replicas)
      if (p.node != r.holder) std::printf("; %s %s, %llu B behind", p.node.c_str(), p.state.c_str(), static_cast<unsigned long long>(p.lag_bytes));
    std::printf("\n");
  }
  for (const std::string& wait : view->waits) std::printf("waits: %s\n", wait.c_str());
  for (const std::string& warning : view->warnings) std::printf("warning: %s\n", warning.c_str());
  return view->status == "ok" ? ExitCode::kOk : ExitCode::kDegraded;
}

/// One command on a node or a part of it.
ExitCode on_node(const std::string& name, const std::string& part_name, const std::function<Result<void>(LocalCluster&, const NodeId&, Part)>& act,
                 const std::string& done) {
  auto cluster = present();
  if (!cluster) return report(cluster.error());
  const auto node = cluster->node_named(name);
  if (!node) return report(Error{Remedy::kFixInput, Effect::kNone, "no node is called " + name + "; `daarionctl dev status` lists them"});
  const auto part = dev::part_named(part_name.empty() ? "node" : part_name);
  if (!part) return report(Error{Remedy::kFixInput, Effect::kNone, "no part is called " + part_name + "; it is nats, witness, daemon, guard, postgres, postmaster, redis, sentinel, qdrant or neo4j"});
  const auto acted = act(*cluster, *node, *part);
  if (acted) std::printf("%s %s%s\n", node->value.c_str(), part_name.empty() ? "" : (part_name + " ").c_str(), done.c_str());
  return report(acted);
}

/// One change of the links between two nodes.
ExitCode on_link(const std::string& a, const std::string& b, const std::function<Result<void>(LocalCluster&, const NodeId&, const NodeId&)>& act, const std::string& done) {
  auto cluster = present();
  if (!cluster) return report(cluster.error());
  std::vector<NodeId> nodes;
  for (const std::string& name : {a, b}) {
    const auto node = cluster->node_named(name);
    if (!node) return report(Error{Remedy::kFixInput, Effect::kNone, "no node is called " + name + "; `daarionctl dev status` lists them"});
    nodes.push_back(*node);
  }
  const auto acted = act(*cluster, nodes[0], nodes[1]);
  if (acted) std::printf("%s and %s: %s\n", nodes[0].value.c_str(), nodes[1].value.c_str(), done.c_str());
  return report(acted);
}

ExitCode heal(const std::string& a, const std::string& b) {
  if (!a.empty()) {
    if (b.empty()) return report(Error{Remedy::kFixInput, Effect::kNone, "heal takes two nodes, or none for every link"});
    return on_link(a, b, [](LocalCluster& c, const NodeId& from, const NodeId& to) { return c.heal(from, to); }, "healed");
  }
  auto cluster = present();
  if (!cluster) return report(cluster.error());
  const auto healed = cluster->heal();
  if (healed) std::printf("every link is healed\n");
  return report(healed);
}

void add_links(CLI::App& dev, ExitCode& code) {
  struct Options {
    std::string a, b;
    bool one_way = false;
    int percent = 0;
  };
  auto o = std::make_shared<Options>();
  CLI::App* cut = dev.add_subcommand("cut", "What two nodes send each other is lost, silently (needs up --netns).");
  cut->add_option("a", o->a, "A node's id")->required();
  cut->add_option("b", o->b, "Another's")->required();
  cut->add_flag("--one-way", o->one_way, "Only what A sends to B");
  cut->callback([o, &code] {
    code = on_link(o->a, o->b, [&](LocalCluster& c, const NodeId& a, const NodeId& b) { return c.cut(a, b, o->one_way); }, o->one_way ? "cut, one way" : "cut");
  });
  CLI::App* loss = dev.add_subcommand("loss", "Some of the packets between two nodes are lost at random (needs up --netns).");
  loss->add_option("a", o->a, "A node's id")->required();
  loss->add_option("b", o->b, "Another's")->required();
  loss->add_option("percent", o->percent, "How many of a hundred, each way")->required()->check(CLI::Range(1, 100));
  loss->add_flag("--one-way", o->one_way, "Only of what A sends to B");
  loss->callback([o, &code] {
    code = on_link(o->a, o->b, [&](LocalCluster& c, const NodeId& a, const NodeId& b) { return c.cut(a, b, o->one_way, o->percent); },
                   "lose " + std::to_string(o->percent) + " % of the packets");
  });
  CLI::App* mend = dev.add_subcommand("heal", "Ends cut and loss, between two nodes or everywhere.");
  mend->add_option("a", o->a, "A node's id; default: every link");
  mend->add_option("b", o->b, "Another's");
  mend->callback([o, &code] { code = heal(o->a, o->b); });
}

ExitCode down(bool keep) {
  auto cluster = present();
  if (!cluster) return report(cluster.error());
  const std::string folder = cluster->folder();
  const auto done = cluster->down(keep);
  if (done) std::printf("nothing runs; %s %s\n", folder.c_str(), keep ? "is kept: `daarionctl dev up` goes on with it" : "is removed");
  return report(done);
}

ExitCode shell() {
  const auto cluster = present();
  if (!cluster) return report(cluster.error());
  std::string servers;
  for (const NodeId& node : cluster->nodes()) servers += (servers.empty() ? "" : ",") + cluster->server_of(node);
  std::error_code error;
  const std::string bin = std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
  const char* path = std::getenv("PATH");
  ::setenv("DAARION_CONFIG", cluster->config_path().c_str(), 1);
  ::setenv("DAARION_SERVER", servers.substr(0, servers.find(',')).c_str(), 1);
  ::setenv("PATH", (bin + (path ? std::string(":") + path : "")).c_str(), 1);
  const char* program = std::getenv("SHELL");
  const std::string chosen = program && *program ? program : "/bin/sh";
  std::printf("a shell with DAARION_CONFIG, DAARION_SERVER and PATH; `exit` ends it, the cluster goes on\n");
  std::fflush(stdout);
  ::execl(chosen.c_str(), chosen.c_str(), nullptr);
  return report(Error{Remedy::kFixInput, Effect::kNone, "start " + chosen + ": " + std::strerror(errno)});
}

}  // namespace

void add_dev(CLI::App& app, ExitCode& code) {
  struct Options {
    int nodes = 0;
    std::string node, part;
    std::vector<std::string> engines;
    bool keep = false, netns = false;
  };
  auto o = std::make_shared<Options>();
  CLI::App* dev = app.add_subcommand("dev", "A whole local cluster of real processes, node N on 127.83.0.N, or on 10.83.0.N with --netns.");
  dev->require_subcommand(1);
  dev->add_flag("--netns", o->netns, "For up: each node in a network namespace of its own, so that links can be cut (root only)");
  CLI::App* start = dev->add_subcommand("up", "Start a cluster, or what is down of the one that is there.");
  start->add_option("--nodes", o->nodes, "1, 2, 3 (default) or 4")->check(CLI::Range(1, dev::kMostNodes));
  start->add_flag("--netns", o->netns, "Each node in a network namespace of its own, so that links can be cut (root only)");
  start->add_option("--engine", o->engines, "The data systems: postgres (default), postgres-billing (a second PostgreSQL cluster, whose primary is node2), redis (the lease decides) or redis-sentinel, qdrant, neo4j or neo4j-community (stand-ins of ours); several with a comma between them")->delimiter(',');
  start->callback([o, &code] { code = up(o->nodes, o->netns, o->engines); });
  dev->add_subcommand("status", "Which processes run, and who writes.")->callback([&code] { code = status(); });
  const auto add = [&](const char* name, const char* text, const char* done, std::function<Result<void>(LocalCluster&, const NodeId&, Part)> act) {
    CLI::App* command = dev->add_subcommand(name, text);
    command->add_option("node", o->node, "The node's id")->required();
    command->add_option("part", o->part, "nats, witness, daemon, guard, postgres, postmaster, redis, sentinel, qdrant, neo4j; default: all of the node");
    command->callback([o, &code, act = std::move(act), done] { code = on_node(o->node, o->part, act, done); });
  };
  add("kill", "SIGKILL to a node's processes at once, as when the host loses power; or to one part.", "killed",
      [](LocalCluster& c, const NodeId& n, Part p) -> Result<void> {
        if (auto killed = c.kill(n, p); !killed) return tl::unexpected(killed.error());
        return {};
      });
  add("stop", "Planned stop: the node hands over first.", "stopped", [](LocalCluster& c, const NodeId& n, Part p) -> Result<void> {
    if (p != Part::kNode) return fail(Remedy::kFixInput, "stop takes a whole node; kill takes a part");
    return c.stop(n, kStopped);
  });
  add("pause", "SIGSTOP: the node, or a part, freezes.", "paused", [](LocalCluster& c, const NodeId& n, Part p) { return c.pause(n, p); });
  add("resume", "SIGCONT after pause.", "resumed", [](LocalCluster& c, const NodeId& n, Part p) { return c.resume(n, p); });
  add("start", "Start what does not run of a node: nats, witness, daemon, or all.", "started",
      [](LocalCluster& c, const NodeId& n, Part p) { return c.start(n, p); });
  add("restart", "SIGKILL, and start again.", "restarted", [](LocalCluster& c, const NodeId& n, Part p) -> Result<void> {
    if (!c.processes(n, p).empty())
      if (auto killed = c.kill(n, p); !killed) return tl::unexpected(killed.error());
    return c.start(n, p);
  });
  add_links(*dev, code);
  CLI::App* end = dev->add_subcommand("down", "End every process and remove the folder.");
  end->add_flag("--keep", o->keep, "Stop in order and keep the folder: `up` goes on with it");
  end->callback([o, &code] { code = down(o->keep); });
  dev->add_subcommand("shell", "A shell with DAARION_CONFIG, DAARION_SERVER and PATH set.")->callback([&code] { code = shell(); });
}

}  // namespace daarion
