#include "controlplane/dev/local_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/nats/store.h"
#include "controlplane/drivers/redis/render.h"
#include "controlplane/drivers/redis/settings.h"
#include "controlplane/node/clock.h"
#include "controlplane/topology/lint.h"

namespace daarion::dev {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSecretNames[] = {"PG_REPLICATION_PASSWORD", "DAARION_CONTROL_PASSWORD", "DAARION_SYS_PASSWORD", "DAARION_APP_PASSWORD",
                                        "DAARION_PROBE_PASSWORD", "REDIS_PASSWORD", "QDRANT_API_KEY", "NEO4J_PASSWORD"};
constexpr const char* kReplicationUser = "replicator";
// A killed process is gone in milliseconds; only the kernel's work for a core dump or a full disk takes longer.
constexpr Duration kKilled = seconds(10);
constexpr Duration kServerUp = seconds(20);   // nats-server listens after 50 ms; a loaded machine needs more
constexpr Duration kDaemonUp = seconds(30);

std::string random_secret() {
  std::random_device chance;
  std::string out;
  for (int i = 0; i < 4; ++i) {
    std::array<char, 9> part{};
    std::snprintf(part.data(), part.size(), "%08x", chance());
    out += part.data();
  }
  return out;
}

/// The daemon passes on nothing of its environment.
std::string restart_script(const std::string& folder) {
  std::string out = "#!/bin/sh\nexport DAARION_RUN='" + folder + "'";
  for (const char* name : {"NATS_SERVER", "DAARION_BIN"})
    if (const char* value = std::getenv(name)) out += " " + std::string(name) + "='" + value + "'";
  return out + "\nexec '" + program("daarionctl") + "' dev restart \"$DAARION_NODE\" \"$DAARION_SERVER_KIND\"\n";
}

Result<void> write_text(const std::string& path, const std::string& text, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  const bool done = fd >= 0 && ::fchmod(fd, mode) == 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!done) return fail(Remedy::kFixInput, "write " + path + ": " + std::strerror(error));
  return {};
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Every folder above data_dir must let the engine's user through.
Result<void> make_open_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || ::chmod(path.c_str(), 0755) != 0) return fail(Remedy::kFixInput, "make folder " + path + ": " + (error ? error.message() : std::strerror(errno)));
  return {};
}

/// Replaces ports that something else listens on; ports are the same on every node, so one taken anywhere is replaced everywhere.
Result<void> free_ports(Shape& shape, const Say& say) {
  std::vector<std::uint32_t> used;
  for (const Ports::Use& use : shape.ports.uses()) used.push_back(*use.port);
  const auto taken_at = [&](std::uint32_t port) {
    for (int node = 1; node <= shape.nodes; ++node)
      if (!port_is_free(shape.prefix + std::to_string(node), port)) return shape.prefix + std::to_string(node);
    return std::string();
  };
  for (const Ports::Use& use : shape.ports.uses()) {
    if (use.witness_only && shape.nodes < 3) continue;
    const std::string where = taken_at(*use.port);
    if (where.empty()) continue;
    const std::uint32_t before = *use.port;
    // Away from the usual ports, and below the range of ports that connections are given.
    for (std::uint32_t port = 20'000 + before % 10'000; port < 32'000; ++port)
      if (std::ranges::find(used, port) == used.end() && taken_at(port).empty()) {
        *use.port = port;
        break;
      }
    if (*use.port == before) return fail(Remedy::kFixInput, use.name + " port " + std::to_string(before) + " on " + where + " is taken, and no other is free");
    used.push_back(*use.port);
    if (say) say("port " + std::to_string(before) + " (" + use.name + ") on " + where + " is taken by another program: using " + std::to_string(*use.port));
  }
  return {};
}

Error absent(const NodeId& node, Part part) {
  return {Remedy::kFixInput, Effect::kNone, std::string(kPartNames[static_cast<int>(part)]) + " of " + node.value + " does not run; `daarionctl dev status` shows what does"};
}

bool is_of(const ProcessInfo& p, Part part) {
  if (part == Part::kNode) return true;
  if (part == Part::kDaemon) return p.name == "daariond";
  if (part == Part::kGuard) return p.name == "daarion-watcher" || p.name == "daarion-keeper" || p.name == "daarion-guard";  // the pair names itself
  if (part == Part::kPostgres || part == Part::kPostmaster) return p.name == "postgres";
  const bool sentinel = p.command.find("--sentinel") != std::string::npos || p.command.find("[sentinel]") != std::string::npos;
  if (part == Part::kRedis || part == Part::kSentinel) return p.name == "redis-server" && sentinel == (part == Part::kSentinel);
  if (part == Part::kQdrant) return p.name == "qdrant" || p.name.starts_with("daarion-qdrant");
  if (part == Part::kNeo4j) return p.name.starts_with("daarion-neo4j");
  return p.name == "nats-server";
}

// What is started here and not by the daemon, since it elects by itself.
constexpr Part kElecting[] = {Part::kRedis, Part::kSentinel, Part::kQdrant, Part::kNeo4j};

}  // namespace

std::optional<Part> part_named(const std::string& name) {
  const auto at = std::ranges::find(kPartNames, name);
  if (at == std::end(kPartNames)) return std::nullopt;
  return static_cast<Part>(at - std::begin(kPartNames));
}

std::string program(const std::string& name) {
  if (const char* bin = std::getenv("DAARION_BIN")) return std::string(bin) + "/" + name;
  std::error_code error;
  return (fs::read_symlink("/proc/self/exe", error).parent_path() / name).string();
}

std::string LocalCluster::default_folder() {
  if (const char* run = std::getenv("DAARION_RUN")) return run;
  return "/var/tmp/daarion-dev-" + std::to_string(::getuid());
}

Result<LocalCluster> LocalCluster::create(const LocalOptions& o) {
  if (o.nodes < 1 || o.nodes > kMostNodes) return fail(Remedy::kFixInput, "make a local cluster of " + std::to_string(o.nodes) + " nodes: 1 to 4 are possible");
  for (const std::string& engine : o.engines)
    if (engine != "postgres" && engine != "postgres-billing" && engine != "redis" && engine != "redis-sentinel" && engine != "qdrant" && engine != "neo4j" && engine != "neo4j-community")
      return fail(Remedy::kFixInput, "make a local cluster with " + engine + ": postgres, postgres-billing, redis or redis-sentinel, qdrant, and neo4j or neo4j-community are possible");
  if (o.engines.contains("redis") && o.engines.contains("redis-sentinel"))
    return fail(Remedy::kFixInput, "make a local cluster with redis and redis-sentinel: either the lease decides or Sentinel; name one of them");
  if (o.netns)
    if (auto can = NodeNetwork::possible(); !can) return tl::unexpected(can.error());
  std::error_code error;
  if (fs::exists(o.folder, error) && !fs::is_empty(o.folder, error))
    return fail(Remedy::kFixInput, "make a local cluster in " + o.folder + ": the folder is not empty; `daarionctl dev down` ends what is there");
  if (auto made = make_open_folder(o.folder); !made) return tl::unexpected(made.error());
  LocalCluster out;
  out.folder_ = fs::canonical(o.folder, error).string();
  out.say_ = o.say;
  Shape shape{.nodes = o.nodes, .prefix = o.prefix, .folder = out.folder_, .ports = {}, .max_promotions = o.max_promotions, .data_dir = o.data_dir, .engines = o.engines};
  // The first dump of a stand-in is soon: whoever starts one looks on.
  constexpr std::int64_t kDumpEvery = 600, kDumpIn = 25;
  shape.dump_at = static_cast<std::uint32_t>((std::chrono::duration_cast<seconds>(std::chrono::system_clock::now().time_since_epoch()).count() + kDumpIn) % kDumpEvery);
  // A namespace has all its ports.
  if (!o.netns)
    if (auto freed = free_ports(shape, o.say); !freed) return tl::unexpected(freed.error());
  std::string secrets = std::string("PG_REPLICATION_USER=") + kReplicationUser + "\n";
  for (const char* name : kSecretNames) secrets += std::string(name) + "=" + random_secret() + "\n";
  if (auto written = write_text(out.folder_ + "/secrets", secrets, 0600); !written) return tl::unexpected(written.error());
  if (auto written = write_text(out.config_path(), cluster_text(shape), 0644); !written) return tl::unexpected(written.error());
  if (auto written = write_text(out.folder_ + "/" + kRestartScript, restart_script(out.folder_), 0755); !written) return tl::unexpected(written.error());
  auto opened = open(out.folder_, o.say);
  if (!opened) return opened;
  for (const NodeId& node : opened->nodes())
    if (auto written = opened->write_node(node); !written) return tl::unexpected(written.error());
  if (o.netns) {
    auto made = NodeNetwork::make(out.folder_, o.prefix, opened->addresses());
    if (!made) return tl::unexpected(made.error());
    opened->network_ = std::move(*made);
  }
  return opened;
}

Result<LocalCluster> LocalCluster::open(const std::string& folder, Say say) {
  std::error_code error;
  LocalCluster out;
  out.folder_ = fs::weakly_canonical(folder, error).string();
  out.say_ = std::move(say);
  const std::string text = read_text(out.config_path());
  if (text.empty()) return fail(Remedy::kFixInput, "open the local cluster in " + folder + ": there is none; `daarionctl dev up` starts one");
  ParsedFile parsed = parse_cluster_file(text);
  if (!has_errors(parsed.findings)) parsed.findings = lint(parsed.file);
  for (const Finding& f : parsed.findings)
    if (f.severity == Severity::kError) return fail(Remedy::kFixInput, text_of(f, out.config_path()));
  out.file_ = std::move(parsed.file);
  out.network_ = NodeNetwork::of(out.folder_, out.addresses());
  std::istringstream lines(read_text(out.folder_ + "/secrets"));
  for (std::string line; std::getline(lines, line);)
    if (const std::size_t at = line.find('='); at != std::string::npos) out.secrets_[line.substr(0, at)] = line.substr(at + 1);
  return out;
}

Result<void> LocalCluster::write_node(const NodeId& node) const {
  if (auto made = make_open_folder(node_folder(node)); !made) return made;
  const NatsSecrets secrets{.control = secrets_.at("DAARION_CONTROL_PASSWORD"), .sys = secrets_.at("DAARION_SYS_PASSWORD"), .app = secrets_.at("DAARION_APP_PASSWORD")};
  for (const NatsServerPlan& server : servers()) {
    if (server.node != node) continue;
    const std::string name = node_folder(node) + (server.kind == NatsServerPlan::Kind::kWitness ? "/witness" : "/nats");
    if (auto written = write_text(name + ".conf", render_nats(file_, server, secrets, name, "", node_folder(node)), 0600); !written) return written;
    if (auto written = write_text(node_folder(node) + "/" + routes_file_of(server), render_routes(plan_routes(file_.spec), server), 0600); !written) return written;
  }
  return {};
}

std::vector<NodeId> LocalCluster::nodes() const {
  std::vector<NodeId> out;
  for (const NodeSpec& node : file_.spec.nodes) out.push_back(node.id);
  return out;
}
std::vector<ResourceId> LocalCluster::leased() const {
  std::vector<ResourceId> out;
  for (const ResourceSpec& r : file_.spec.resources)
    if (r.leased) out.push_back(r.id);
  return out;
}
bool LocalCluster::leads(const std::string& resource) const {
  const ResourceSpec* spec = file_.spec.resource(ResourceId(resource));
  return spec != nullptr && spec->leased;
}
bool LocalCluster::runs(const std::string& engine) const {
  if (const DataSystem* system = neo4j_system(); engine.starts_with("neo4j")) return system != nullptr && (system->mode == "single") == (engine == "neo4j-community");
  return engine == "redis-sentinel" ? sentinel_system() != nullptr : engine == "qdrant" ? qdrant_system() != nullptr : leads(engine == "postgres-billing" ? "billing" : engine);
}
bool LocalCluster::is_electing(Part part) const {
  return std::ranges::find(kElecting, part) != std::end(kElecting) && (part == Part::kQdrant ? qdrant_system() : part == Part::kNeo4j ? neo4j_system() : sentinel_system()) != nullptr;
}
const DataSystem* LocalCluster::neo4j_system() const {
  const auto at = std::ranges::find(file_.systems, "neo4j", &DataSystem::engine);
  return at == file_.systems.end() ? nullptr : &*at;
}
const DataSystem* LocalCluster::qdrant_system() const {
  const auto at = std::ranges::find(file_.systems, "qdrant", &DataSystem::engine);
  return at == file_.systems.end() ? nullptr : &*at;
}
std::string LocalCluster::qdrant_program() {
  const char* named = std::getenv("DAARION_QDRANT");
  return named && *named ? named : program("daarion-qdrant-stand-in");
}
const DataSystem* LocalCluster::sentinel_system() const {
  const auto at = std::ranges::find_if(file_.systems, [](const DataSystem& s) { return s.engine == "redis" && s.mode == "sentinel"; });
  return at == file_.systems.end() ? nullptr : &*at;
}
std::string LocalCluster::address_of(const NodeId& node) const {
  const NodeSpec* spec = file_.spec.node(node);
  return spec ? spec->address : "";
}
std::string LocalCluster::data_dir_of(const NodeId& node) const {
  for (const ResourceSpec& r : file_.spec.resources)
    if (r.engine == "postgresql") return path_on(r.data_dir, node);
  return "";
}
std::string LocalCluster::server_of(const NodeId& node) const { return address_of(node) + ":" + std::to_string(file_.grpc_port); }
std::string LocalCluster::pid_file(const NodeId& node, Part part) const { return node_folder(node) + "/" + kPartNames[static_cast<int>(part)] + ".pid"; }

std::string LocalCluster::log_of(const NodeId& node, Part part) const {
  if (part == Part::kNats || part == Part::kWitness || part == Part::kDaemon) return node_folder(node) + "/" + kPartNames[static_cast<int>(part)] + ".log";
  if (is_electing(part)) return node_folder(node) + "/" + kPartNames[static_cast<int>(part)] + ".log";
  // The engine's is where the daemon was told to keep such things.
  std::error_code error;
  const std::string engine = part == Part::kRedis ? "redis" : part == Part::kGuard && !leased().empty() ? leased().front().value : "postgres";
  for (const auto& entry : fs::recursive_directory_iterator(node_folder(node) + "/run", error))
    if (entry.path().filename() == (part == Part::kGuard ? engine + ".guard.log" : engine + ".log")) return entry.path().string();
  return node_folder(node) + "/daemon.log";
}

std::vector<ProcessInfo> LocalCluster::processes(const NodeId& node, Part part) const {
  std::vector<ProcessInfo> all = processes_of(node_folder(node));
  if (part == Part::kNode) return all;
  std::vector<ProcessInfo> out;
  // Two servers of one node differ only in which file they were started with.
  const auto started = part == Part::kNats || part == Part::kWitness ? read_pid_file(pid_file(node, part)) : std::nullopt;
  for (const ProcessInfo& p : all) {
    if (!is_of(p, part)) continue;
    if ((part == Part::kNats || part == Part::kWitness) && !(started && p.id == *started)) continue;
    if (part == Part::kPostmaster && std::ranges::any_of(all, [&](const ProcessInfo& q) { return q.id.pid == p.parent && q.name == "postgres"; })) continue;
    out.push_back(p);
  }
  return out;
}

Result<void> LocalCluster::start_server(const NatsServerPlan& server) {
  const Part part = server.kind == NatsServerPlan::Kind::kWitness ? Part::kWitness : Part::kNats;
  if (!processes(server.node, part).empty()) return {};
  const char* binary = std::getenv("NATS_SERVER") ? std::getenv("NATS_SERVER") : "nats-server";
  const std::string store = node_folder(server.node) + "/" + kPartNames[static_cast<int>(part)], conf = store + ".conf";
  if (auto mended = mend_nats_store(store); !mended) return tl::unexpected(mended.error());
  const auto started = spawn({.argv = {binary, "-c", conf}, .environment = {}, .folder = node_folder(server.node), .log_file = log_of(server.node, part),
                              .netns = netns_of(server.node)});
  if (!started) return fail(started.error().remedy, started.error().message + "; install Debian's nats-server, or set NATS_SERVER");
  return write_pid_file(pid_file(server.node, part), *started);
}

Result<void> LocalCluster::start_daemon(const NodeId& node) {
  if (!processes(node, Part::kDaemon).empty()) return {};
  std::vector<std::string> environment;
  for (const char* name : {"PG_REPLICATION_USER", "PG_REPLICATION_PASSWORD", "REDIS_PASSWORD", "QDRANT_API_KEY", "NEO4J_PASSWORD", "DAARION_CONTROL_PASSWORD", "DAARION_SYS_PASSWORD"})
    environment.push_back(std::string(name) + "=" + secrets_[name]);
  for (const std::string& more : daemon_environment_[node]) environment.push_back(more);
  const std::string folder = node_folder(node);
  for (const char* sub : {"/data", "/run"})
    if (auto made = make_open_folder(folder + sub); !made) return made;
  const auto started = spawn({.argv = {program("daariond"), "--config", config_path(), "--node", node.value, "--data", folder + "/data", "--run", folder + "/run",
                                       "--guard", program("daarion-guard"), "--nats-dir", folder},
                              .environment = environment, .folder = folder, .log_file = log_of(node, Part::kDaemon), .netns = netns_of(node)});
  if (!started) return tl::unexpected(started.error());
  return write_pid_file(pid_file(node, Part::kDaemon), *started);
}

/// As systemd would: nobody else starts or ends what Sentinel decides about.
Result<void> LocalCluster::start_redis(const NodeId& node, Part part) {
  const DataSystem* system = sentinel_system();
  if (system == nullptr) return {};
  const bool sentinel = part == Part::kSentinel;
  const std::vector<NodeId> on = sentinel ? sentinel_nodes(file_, *system) : system->nodes;
  if (std::ranges::find(on, node) == on.end() || !processes(node, part).empty()) return {};
  const ResourceSpec& resource = *file_.spec.resource(system->id);
  const auto user = find_user(geteuid() == 0 ? "redis" : "");
  if (!user) return tl::unexpected(user.error());
  const std::string folder = sentinel ? node_folder(node) + "/sentinel" : path_on(resource.data_dir, node);
  if (auto made = make_folder(folder, 0700, *user); !made) return made;
  const std::string& password = secrets_.at("REDIS_PASSWORD");
  const PeerAddress self{node, address_of(node), sentinel ? file_.sentinel_port : resource.port};
  std::vector<std::string> argv{"redis-server"};
  Result<void> written;
  if (sentinel) {
    argv.insert(argv.end(), {folder + "/sentinel.conf", "--sentinel"});
    if (!exists(argv[1])) written = write_file(argv[1], redis::sentinel_config(self.host, self.port, folder, password), 0600, *user);
  } else {
    DriverConfig config{.self = node, .resource = resource, .peers = {self}, .run_dir = folder, .engine_user = {}};
    config.resource.data_dir = folder;
    written = redis::write_settings(config, nullptr, password, *user);
    argv.push_back(redis::config_path(folder));
    for (std::string& word : redis::as_nobodys_replica()) argv.push_back(std::move(word));
  }
  if (!written) return written;
  if (geteuid() == 0) argv.insert(argv.begin(), {"setpriv", "--reuid", "redis", "--regid", "redis", "--clear-groups"});
  const auto started = spawn({.argv = argv, .environment = {}, .folder = node_folder(node), .log_file = log_of(node, part), .netns = netns_of(node)});
  if (!started) return fail(started.error().remedy, started.error().message + "; install Debian's redis-server");
  return await_that(std::string(kPartNames[static_cast<int>(part)]) + " of " + node.value, kServerUp, log_of(node, part),
                    [&] { return accepts(self.host, self.port, milliseconds(200)); });
}

Result<void> LocalCluster::start_qdrant(const NodeId& node) {
  const DataSystem* system = qdrant_system();
  if (system == nullptr || std::ranges::find(system->nodes, node) == system->nodes.end() || !processes(node, Part::kQdrant).empty()) return {};
  const std::string folder = node_folder(node) + "/qdrant";
  if (auto made = make_open_folder(folder); !made) return made;
  const std::uint32_t port = ports_of(file_).qdrant;
  const auto uri = [&](const NodeId& of) { return "http://" + address_of(of) + ":6335/"; };
  std::vector<std::string> argv{qdrant_program(), "--uri", uri(node)};
  if (node != system->nodes.front()) argv.insert(argv.end(), {"--bootstrap", uri(system->nodes.front())});
  const auto started = spawn({.argv = argv,
                              .environment = {"QDRANT__SERVICE__HOST=" + address_of(node), "QDRANT__SERVICE__HTTP_PORT=" + std::to_string(port),
                                              "QDRANT__SERVICE__API_KEY=" + secrets_["QDRANT_API_KEY"], "QDRANT__STORAGE__STORAGE_PATH=" + folder + "/storage",
                                              "QDRANT__CLUSTER__ENABLED=true", "DAARION_STAND_IN_SHARED=" + folder_ + "/qdrant"},
                              .folder = node_folder(node), .log_file = log_of(node, Part::kQdrant), .netns = netns_of(node)});
  if (!started) return tl::unexpected(started.error());
  return await_that("qdrant of " + node.value, kServerUp, log_of(node, Part::kQdrant), [&] { return accepts(address_of(node), port, milliseconds(200)); });
}

/// Our stand-in: Neo4j is none of Debian's, and its cluster is nobody's to give.
Result<void> LocalCluster::start_neo4j(const NodeId& node) {
  const DataSystem* system = neo4j_system();
  if (system == nullptr || !processes(node, Part::kNeo4j).empty()) return {};
  const bool core = std::ranges::find(system->nodes, node) != system->nodes.end(), community = system->mode == "single";
  if (!core && std::ranges::find(system->read_replicas, node) == system->read_replicas.end()) return {};
  const auto user = find_user("");
  if (!user) return tl::unexpected(user.error());
  const std::string folder = node_folder(node) + "/neo4j";
  if (auto made = make_open_folder(folder); !made) return made;
  const auto at = [&](std::uint32_t port) { return address_of(node) + ":" + std::to_string(port) + "\n"; };
  const std::uint32_t port = system->http_port;
  if (auto written = write_file(folder + "/neo4j.conf", "server.http.listen_address=" + at(port) + "server.bolt.listen_address=" + at(ports_of(file_).neo4j), 0644, *user); !written) return written;
  if (community)
    if (auto written = write_file(folder + "/dump", "#!/bin/sh\necho \"a dump of nothing: this is a stand-in\" > " + folder + "/neo4j.dump\n", 0755, *user); !written) return written;
  std::vector<std::string> environment{"NEO4J_AUTH=neo4j/" + secrets_["NEO4J_PASSWORD"], std::string("DAARION_STAND_IN_EDITION=") + (community ? "community" : "enterprise"),
                                       std::string("DAARION_STAND_IN_PLACE=") + (core ? "core" : "read_replica")};
  if (!community) environment.push_back("DAARION_STAND_IN_SHARED=" + folder_ + "/neo4j");
  const auto started = spawn({.argv = {program("daarion-neo4j-stand-in"), "--home-dir=" + folder, "--config-dir=" + folder}, .environment = environment, .folder = node_folder(node),
                              .log_file = log_of(node, Part::kNeo4j), .netns = netns_of(node)});
  if (!started) return tl::unexpected(started.error());
  return await_that("neo4j of " + node.value, kServerUp, log_of(node, Part::kNeo4j), [&] { return accepts(address_of(node), port, milliseconds(200)); });
}

Result<void> LocalCluster::await_server(const NatsServerPlan& server) const {
  const Part part = server.kind == NatsServerPlan::Kind::kWitness ? Part::kWitness : Part::kNats;
  return await_that("nats-server " + server.name + " at " + server.url(), kServerUp, log_of(server.node, part),
                    [&] { return accepts(server.address, server.client, milliseconds(200)); });
}

Result<void> LocalCluster::await_daemon(const NodeId& node) const {
  const std::string log = log_of(node, Part::kDaemon);
  bool gone = false;
  auto done = await_that("daariond of " + node.value + " at http://" + address_of(node) + ":" + std::to_string(file_.http_port) + "/cluster/status", kDaemonUp, log, [&] {
    gone = processes(node, Part::kDaemon).empty();
    return gone || view(node).has_value();
  });
  if (done && gone) return fail(Remedy::kFixInput, "start daariond of " + node.value + ": it ended at once; its log " + log + " ends with\n" + tail_of(log, 8));
  return done;
}

Result<void> LocalCluster::start(const NodeId& node, Part part) {
  if (part != Part::kNode && part != Part::kNats && part != Part::kWitness && part != Part::kDaemon && !is_electing(part))
    return fail(Remedy::kFixInput, std::string("start ") + kPartNames[static_cast<int>(part)] + " of " + node.value + ": the daemon does that; start daemon, nats, witness or the whole node");
  const auto wanted = [&](const NatsServerPlan& s) {
    const Part of = s.kind == NatsServerPlan::Kind::kWitness ? Part::kWitness : Part::kNats;
    return s.node == node && (part == Part::kNode || part == of);
  };
  for (const NatsServerPlan& server : servers())
    if (wanted(server))
      if (auto started = start_server(server); !started) return started;
  for (const NatsServerPlan& server : servers())
    if (wanted(server))
      if (auto up = await_server(server); !up) return up;
  for (const Part of : kElecting)
    if (part == Part::kNode || part == of)
      if (auto started = start_engine(node, of); !started) return started;
  if (part != Part::kNode && part != Part::kDaemon) return {};
  if (auto started = start_daemon(node); !started) return started;
  return await_daemon(node);
}

Result<void> LocalCluster::start_all() {
  for (const NatsServerPlan& server : servers())
    if (auto started = start_server(server); !started) return started;
  for (const NatsServerPlan& server : servers())
    if (auto up = await_server(server); !up) return up;
  const auto count = [](std::size_t n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); };
  say(count(servers().size(), "nats-server") + " up");
  for (const NodeId& node : nodes())
    for (const Part part : kElecting)
      if (auto started = start_engine(node, part); !started) return started;
  for (const NodeId& node : nodes())
    if (auto started = start_daemon(node); !started) return started;
  for (const NodeId& node : nodes())
    if (auto up = await_daemon(node); !up) return up;
  say(count(nodes().size(), "daemon") + " up");
  return {};
}

Result<void> LocalCluster::signal_part(const NodeId& node, Part part, int signal) {
  const std::vector<ProcessInfo> found = processes(node, part);
  if (found.empty()) return tl::unexpected(absent(node, part));
  for (const ProcessInfo& p : found) send_signal(p.id, signal);
  return {};
}

Result<Instant> LocalCluster::kill(const NodeId& node, Part part) {
  if (part == Part::kNode) return kill_all_of(node_folder(node), kKilled);
  const std::vector<ProcessInfo> found = processes(node, part);
  const Instant first = node_now();
  for (const ProcessInfo& p : found) send_signal(p.id, SIGKILL);
  if (found.empty()) return tl::unexpected(absent(node, part));
  auto ended = await_that(std::string("the end of ") + kPartNames[static_cast<int>(part)] + " of " + node.value, kKilled, "",
                          [&] { return std::ranges::none_of(found, [](const ProcessInfo& p) { return lives(p.id); }); });
  if (!ended) return tl::unexpected(ended.error());
  return first;
}

Result<void> LocalCluster::pause(const NodeId& node, Part part) { return signal_part(node, part, SIGSTOP); }
Result<void> LocalCluster::resume(const NodeId& node, Part part) { return signal_part(node, part, SIGCONT); }

Result<void> LocalCluster::stop(const NodeId& node, Duration limit) {
  const std::string folder = node_folder(node);
  for (const ProcessInfo& p : processes(node, Part::kDaemon)) send_signal(p.id, SIGTERM);
  auto stopped = await_that("the planned stop of " + node.value, limit, log_of(node, Part::kDaemon), [&] { return processes(node, Part::kDaemon).empty(); });
  std::vector<Part> others{Part::kNats, Part::kWitness};
  std::ranges::copy_if(kElecting, std::back_inserter(others), [&](Part part) { return is_electing(part); });
  for (const Part part : others)
    for (const ProcessInfo& p : processes(node, part)) send_signal(p.id, SIGTERM);
  const auto servers_ended = await_that("the end of the servers of " + node.value, seconds(10), log_of(node, Part::kNats),
                                        [&] { return std::ranges::all_of(others, [&](Part part) { return processes(node, part).empty(); }); });
  if (stopped && !servers_ended) stopped = servers_ended;
  const std::vector<ProcessInfo> left = processes_of(folder);
  if (stopped && !left.empty()) stopped = fail(Remedy::kStop, "stop " + node.value + ": its daemon left " + left.front().command + " behind");
  if (auto killed = kill_all_of(folder, kKilled); !killed) return tl::unexpected(killed.error());
  return stopped;
}

Result<void> LocalCluster::down(bool keep) {
  Result<void> out;
  if (keep) {
    // All daemons at once: nothing is left to hand over to, so each only stops its engine.
    for (const NodeId& node : nodes())
      for (const ProcessInfo& p : processes(node, Part::kDaemon)) send_signal(p.id, SIGTERM);
    for (const NodeId& node : nodes())
      if (auto stopped = stop(node, seconds(45)); !stopped && out) out = stopped;
    return out;
  }
  // The processes of all nodes first, then again: a guard that is left must find nothing to fence.
  for (const NodeId& node : nodes())
    if (auto killed = kill_all_of(node_folder(node), kKilled); !killed && out) out = tl::unexpected(killed.error());
  if (!out) return out;
  if (network_)
    if (auto removed = network_->remove(); !removed) return removed;
  std::error_code error;
  fs::remove_all(folder_, error);
  if (error) return fail(Remedy::kFixInput, "remove " + folder_ + ": " + error.message());
  return out;
}

}  // namespace daarion::dev
