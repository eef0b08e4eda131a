// daariond: one node of the cluster. Reads its setup, joins the parts, and waits to be told to stop.
#include <CLI/CLI.hpp>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netdb.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <thread>

#include "controlplane/api/api_replies.h"
#include "controlplane/api/grpc_server.h"
#include "controlplane/api/http_server.h"
#include "controlplane/api/operator.h"
#include "controlplane/api/service_views.h"
#include "controlplane/api/status.h"
#include "controlplane/daariond/fencer.h"
#include "controlplane/daariond/hook.h"
#include "controlplane/daariond/notifier.h"
#include "controlplane/daariond/observed_runner.h"
#include "controlplane/daariond/options.h"
#include "controlplane/daariond/reloader.h"
#include "controlplane/daariond/role_caller.h"
#include "controlplane/daariond/server_keeper.h"
#include "controlplane/daariond/service_runner.h"
#include "controlplane/daariond/wiring.h"
#include "controlplane/health/round_trips.h"
#include "controlplane/node/clock.h"
#include "controlplane/node/daemon.h"
#include "controlplane/node/ids.h"
#include "controlplane/topology/render.h"
#include "controlplane/version.h"
#include "streams/api_responder.h"

namespace {

using namespace daarion;
using std::chrono::seconds;

constexpr int kFailed = 1, kUsage = 2, kUnreachable = 3;
// A clean stop of a primary with its checkpoint, and the hand-over's event; beyond it the deadline fences.
constexpr Duration kStopLimit = seconds(30);
constexpr Duration kFirstNats = std::chrono::milliseconds(200);  // a small part of a lease
constexpr Duration kNatsAgain = seconds(1);
constexpr Duration kCheckNats = seconds(10);
constexpr Duration kCheckBeside = seconds(3);  // a running daemon, which waits for the answer
constexpr Duration kFirstLook = seconds(5);
constexpr Duration kTidyLimit = seconds(5);

const std::string kSoftware = std::string("daariond ") + kVersion + " (" + kCommit + ")";

int refuse(const std::string& lines, int code) {
  std::stringstream all(lines);
  for (std::string line; std::getline(all, line);) std::fprintf(stderr, "daariond: %s\n", line.c_str());
  return code;
}

/// The newest view, as interfaces ask for it from any thread.
class ViewBox {
 public:
  void put(StatusView view) {
    auto next = std::make_shared<const StatusView>(std::move(view));
    {
      const std::lock_guard lock(mutex_);
      view_ = std::move(next);
    }
    came_.notify_all();
  }
  std::shared_ptr<const StatusView> get() const {
    const std::lock_guard lock(mutex_);
    return view_;
  }
  bool await(Duration limit) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, limit, [&] { return view_ != nullptr; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable came_;
  std::shared_ptr<const StatusView> view_;
};

/// Whether a port could be had: said before anything is started.
Result<void> try_port(const std::string& address, std::uint32_t port, const char* key) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return fail(Remedy::kFixInput, "control.bind: " + address + " is no address of this machine");
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool bound = bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
  const std::string why = bound ? "" : std::strerror(errno);
  freeaddrinfo(found);
  close(fd);
  if (bound) return {};
  return fail(Remedy::kFixInput, "listen on " + address + ":" + std::to_string(port) + ": " + why + "; set " + key + " or control.bind, or end who has it");
}

Result<void> make_folders(const Options& options) {
  for (const std::string& folder : {options.data, options.run}) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error || access(folder.c_str(), W_OK) != 0)
      return fail(Remedy::kFixInput, "use folder " + folder + ": " + (error ? error.message() : std::string(std::strerror(errno))) + "; give another with --data or --run");
  }
  chmod(options.data.c_str(), 0700);
  return {};
}

/// Blocks the signals that end a daemon, in every thread made from now on.
sigset_t block_signals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGUSR2, SIGHUP}) sigaddset(&set, s);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

int refuse_nats(const Error& error) { return refuse(error.message, error.remedy == Remedy::kFixInput ? kFailed : kUnreachable); }

void try_reload(Reloader& reloader) {
  if (const auto reloaded = reloader.reload(); !reloaded) spdlog::warn("the reload is refused: {}", reloaded.error().message);
}

/// Until NATS answers, refuses this node for good, or a signal comes that ends it, which `told` is then.
Result<void> reach_nats(const Links& links, const sigset_t& signals, Reloader& reloader, int& told) {
  for (;;) {
    const auto up = await_links(links, kNatsAgain);
    if (up || up.error().remedy == Remedy::kFixInput) return up;
    timespec none{};
    told = std::max(0, sigtimedwait(&signals, nullptr, &none));
    if (told == SIGHUP) try_reload(reloader), told = 0;
    if (told != 0) return {};
  }
}

/// Waits for a signal that ends this daemon. One that has it read its files again may end it too, by putting another in its place.
int await_end(const sigset_t& signals, Reloader& reloader) {
  int told = 0;
  while (sigwait(&signals, &told) == 0 && told == SIGHUP) try_reload(reloader);
  return told;
}

int serve(const Setup& setup, const Started& started, const sigset_t& signals) {
  const Options& options = setup.options;
  const std::string bind = bind_of(setup.file, setup.self);
  std::vector<std::string> notes = setup.notes;
  const TopologySpec spec = led_spec(setup, notes);
  auto links = open_links(setup);
  if (!links) return refuse(links.error().message, kUsage);
  const std::string record_path = options.data + "/voter.json";
  const bool runs = options.check && RecordFile::in_use(record_path);
  if (!runs) {  // else its daemon has the ports
    for (const auto& [port, key] : {std::pair{setup.file.grpc_port, "control.grpc_port"}, std::pair{setup.file.http_port, "control.http_port"}})
      if (const auto free = try_port(bind, port, key); !free) return refuse(free.error().message, kUsage);
    // An address that is translated on its way is not this machine's: then beats go through NATS alone, and `status` says so.
    if (const auto free = try_beat_port(direct_beats(setup)); !free && free.error().remedy == Remedy::kFixInput)
      return refuse(free.error().message + "; set control.beat_port (0: none), or end who has it", kUsage);
  }
  if (options.check) {
    if (const auto fit = check_engines(setup, spec, *links, true); !fit) return refuse(fit.error().message, kUsage);
    if (const auto up = await_links(*links, runs ? kCheckBeside : kCheckNats); !up) return refuse_nats(up.error());
    std::printf("%s: node %s is ready to start\n", options.config.c_str(), setup.self.value.c_str());
    return 0;
  }
  if (const auto made = make_folders(options); !made) return refuse(made.error().message, kUsage);
  // Data that are not ours do not end a voter: the core leaves them alone, and `status` says so. What an engine lacks does.
  if (const auto fit = check_engines(setup, spec, *links, false); !fit) return refuse(fit.error().message, kUsage);
  DaemonPorts ports = make_ports(setup, spec, *links);
  const std::shared_ptr<RouteKeeper> routing = make_routes(setup, *links);
  auto record = RecordFile::open(record_path);
  if (!record) return refuse(record.error().message, kUsage);
  auto voter = record->read();
  if (!voter) return refuse(voter.error().message, kUsage);
  for (const std::string& note : notes) spdlog::info("{}", note);
  std::vector<std::string> commands = {setup.file.fencing.exec, setup.file.nats_restart.exec};
  for (const NotifySpec& notify : setup.file.notify) commands.push_back(notify.exec);
  for (const RoleCallback& callback : setup.file.role_callbacks) commands.push_back(callback.exec);
  for (const std::string& exec : commands)
    if (const std::string command = command_of(exec); !command.empty() && access(command.c_str(), X_OK) != 0)
      spdlog::warn("{}, which the cluster file names, cannot be run here: {}", command, std::strerror(errno));
  // While NATS does not answer, nothing is wrong with a node that has been in a log: beats go from daemon to daemon, and a lease that a guard of
  // ours still has may depend on them. A node that never was in one has nothing to lose, and a wrong address is said at once.
  const auto up = await_links(*links, voter->log.empty() ? kCheckNats : kFirstNats);
  if (!up && (voter->log.empty() || up.error().remedy == Remedy::kFixInput)) return refuse_nats(up.error());
  if (!up) spdlog::warn("{}; trying on", up.error().message);

  const NodeSpec& node = *spec.node(setup.self);
  NodeConfig config{.identity = {.self = setup.self, .run = random_id<RunId>(), .boot = boot_id(), .instance = voter->instance, .role = setup.role,
                                 .address = node.address, .region = node.region, .software = kSoftware, .fresh_log = random_id<LogId>(),
                                 .topology_hash = setup.file.hash, .log_sync = setup.file.log_sync},
                    .spec = spec, .record = *voter, .uptime = node_uptime()};
  const auto notifier = std::make_shared<Notifier>(setup.file.notify, spec.cluster);
  const auto appender = ports.appender = noticed(std::move(ports.appender), notifier);
  ports.reader = [notifier, open = std::move(ports.reader)](Sequence from) -> Result<std::unique_ptr<LogReader>> {
    return open(from).map([&](auto reader) { return noticed(std::move(reader), notifier); });
  };
  const BesidePorts beside{.self = setup.self, .appender = appender, .telemetry = ports.telemetry};
  const auto services = std::make_shared<ServiceRunner>(beside);
  const auto observed = std::make_shared<ObservedRunner>(beside, observed_seats(setup, *links));
  ports.folded = [routing, services, observed](std::shared_ptr<const State> state) {
    routing->folded(state);
    observed->folded(state);
    services->folded(std::move(state));
  };
  const auto routes = std::make_shared<RouteDesk>(setup.file.aliases, in_the_way_of(*links));
  std::vector<std::pair<NodeId, std::string>> others;
  for (const NodeSpec& other : spec.nodes)
    if (other.id != setup.self) others.emplace_back(other.id, other.address);
  const RoundTripMeter round_trips(std::move(others), setup.file.http_port);
  ViewBox box;
  const auto view = [&box] { return box.get(); };
  const auto operations = std::make_shared<Operator>(Operator::Ports{.self = setup.self, .spec = spec, .view = view, .appender = appender, .wall_ns = wall_time_ns, .new_id = event_id});
  Fencer fencer(setup.file.fencing, spec.lease.ttl, [operations](const FenceWish& wish, const std::string& how) -> Result<void> {
    const auto done = operations->confirm_fencing(wish.resource, wish.lost.node, {.reason = wish.lost.node.value + " was fenced: the command ended with 0", .own = true}, how, wish.lost.session);
    return done ? Result<void>{} : tl::unexpected(done.error());
  });
  const ServerKeeper servers(setup.file.nats_restart, own_servers(setup));
  RoleCaller roles(setup.file.role_callbacks, setup.self, spec.cluster);
  Reloader reloader(started, options.config, setup.file, setup.self, [&] {
    const auto now = view();
    return now == nullptr ? 0 : static_cast<std::size_t>(std::ranges::count_if(now->voters_heard, [&](const VoterInstance& voter) { return voter.node != setup.self; }));
  });
  Daemon daemon(std::move(config), std::move(*record), std::move(ports));
  StatusMemory memory;
  daemon.watch([&](const NodeCore& core, Instant now) {
    fencer.look(fences_wanted(core, now), now);
    const Contact contact = contact_of(core, now);
    services->meet(contact);
    observed->meet(contact);
    routes->measured(round_trips.newest());
    std::vector<std::string> said = daemon.warnings();
    for (const std::vector<std::string>& more : {notifier->warnings(), fencer.warnings(), servers.warnings(), roles.warnings(), reloader.warnings(), routing->warnings(), services->warnings(), observed->warnings(),
                                                                                                          service_warnings(core.state())}) said.insert(said.end(), more.begin(), more.end());
    StatusView status = make_status(core, said, now, wall_time_ns(), memory, observed->views());
    status.copies = routing->copies();
    roles.look(status);
    box.put(std::move(status));
  });
  daemon.start();
  std::unique_ptr<GrpcServer> grpc;
  std::unique_ptr<HttpServer> http;
  std::unique_ptr<ApiResponder> replies;
  if (box.await(kFirstLook)) {
    auto admin = GrpcServer::start(bind, setup.file.grpc_port, {.view = view, .operations = operations, .reader = [links = *links](Sequence from) { return open_reader(links, from); },
                                                                  .routes = routes, .aliases = setup.file.aliases});
    auto web = HttpServer::start(bind, setup.file.http_port, view, routes);
    if (!admin) return refuse(admin.error().message, kFailed);
    if (!web) return refuse(web.error().message, kFailed);
    grpc = std::move(*admin);
    http = std::move(*web);
  }
  int told = 0;
  if (!up)
    if (const auto reached = reach_nats(*links, signals, reloader, told); !reached) return refuse_nats(reached.error());
  if (told == 0) {
    replies = make_nats_api_responder({links->leaf ? links->leaf : links->near}, [view, routes](const std::string& verb, const std::string& request) {
      return api_reply(*view(), *routes, verb, request);
    });
  }
  spdlog::info("{} serves {} of {}: gRPC {}:{}, HTTP {}:{}", kSoftware, setup.self.value, spec.cluster, bind, setup.file.grpc_port, bind, setup.file.http_port);

  if (told == 0) told = await_end(signals, reloader);
  if (told == SIGUSR2) {
    spdlog::info("leaving: guards and engines stay for a daemon that comes back within {} ms", to_ms(spec.lease.ttl));
    spdlog::shutdown();
    _exit(0);  // at once: a crash at any moment is safe, and the record's lock is to be free for the daemon that follows
  }
  spdlog::info("stopping: handing over");
  daemon.request_stop();
  const bool clean = daemon.wait_stopped(kStopLimit);
  if (!clean) spdlog::warn("not everything could be handed over in {} s: ending engines as they are", to_ms(kStopLimit) / 1000);
  daemon.end_guards();
  std::vector<ResourceId> stopped;
  for (const ResourceSpec& resource : spec.resources)
    if (resource.leased) stopped.push_back(resource.id);
  roles.finish(stopped);
  // What is left is tidying up, which a server that does not answer may not hold up.
  std::thread([] {
    std::this_thread::sleep_for(kTidyLimit);
    _exit(0);
  }).detach();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Started started = Started::here(argc, argv);
  Options options;
  const Environment env = environment();
  const auto from_env = [&](const char* name, std::string& to) {
    if (const auto at = env.find(name); at != env.end() && !at->second.empty()) to = at->second;
  };
  from_env("DAARION_CONFIG", options.config);
  from_env("NODE_ID", options.node);
  options.guard = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "daarion-guard";
  CLI::App app("One node of a DAARION cluster: folds the log, votes, keeps this node's leases, runs its databases under a guard.", "daariond");
  app.set_version_flag("--version", kSoftware);
  app.add_option("--config", options.config, "The cluster file, the same on every node (DAARION_CONFIG)")->capture_default_str();
  app.add_option("--node", options.node, "Which node of it this is (NODE_ID)");
  app.add_option("--data", options.data, "Voter's record and folded state; default /var/lib/daarion/<node>");
  app.add_option("--run", options.run, "Sockets and engine logs; default /run/daarion/<node>");
  app.add_option("--guard", options.guard, "The guard's program")->capture_default_str();
  app.add_option("--nats-dir", options.nats_dir, "The folder of `daarionctl render nats --routes-dir`: kept in step with the members, and reloaded; default none");
  app.add_option("--cgroup", options.cgroup, "A cgroup v2 folder of ours, where each engine gets a group to be killed as one; default none");
  app.add_option("--log-level", options.log_level, "debug, info, warn or error")->check(CLI::IsMember({"debug", "info", "warn", "error"}))->capture_default_str();
  app.add_flag("--check", options.check, "Check file, environment, ports and NATS; start nothing");
  app.footer("Environment: NODE_ID, NODE_ROLE, CLUSTER_PEERS, DAARION_CONTROL_PASSWORD, DAARION_SYS_PASSWORD, PG_REPLICATION_USER,\n"
             "PG_REPLICATION_PASSWORD, REDIS_PASSWORD, NEO4J_USER, NEO4J_PASSWORD (passwords also as <name>_FILE). NATS_CLUSTER_NAME is read by `daarionctl render nats`.\n"
             "Signals: SIGTERM and SIGINT hand over and stop; SIGUSR2 leaves guards and engines to a daemon that follows within a lease;\n"
             "SIGHUP checks cluster file and programs as they are on disk and goes on with them in place, handing nothing over.\n"
             "Exit codes: 0 ended as asked, 1 failed, 2 wrong setup, 3 NATS does not answer (--check, or a first start).");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("daariond"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  spdlog::set_level(spdlog::level::from_str(options.log_level));
  spdlog::flush_on(spdlog::level::info);
  const sigset_t signals = block_signals();
  started.end_what_is_left();
  for (const char* name : {"PG_REPLICATION_PASSWORD", "REDIS_PASSWORD", "NEO4J_PASSWORD"})
    if (const auto password = secret_of(name, env)) setenv(name, password->c_str(), 1);
  const auto setup = read_setup(std::move(options), env);
  if (!setup) return refuse(setup.error().message, kUsage);
  return serve(*setup, started, signals);
}
