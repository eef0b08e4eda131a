#include "controlplane/daariond/wiring.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "controlplane/api/json.h"
#include "controlplane/api/route_desk.h"
#include "controlplane/daariond/route_files.h"
#include "controlplane/drivers/nats/nats_observer.h"
#include "controlplane/drivers/registry.h"
#include "controlplane/topology/render.h"
#include "streams/edge_mirrors.h"
#include "streams/log_replicas.h"
#include "streams/log_stream.h"
#include "streams/meta_leader.h"
#include "streams/nats_appender.h"
#include "streams/nats_beat_link.h"
#include "streams/nats_log_reader.h"
#include "streams/nats_telemetry.h"

namespace daarion {
namespace {

using std::chrono::seconds;
using Kind = NatsServerPlan::Kind;

constexpr Duration kLookLimit = std::chrono::milliseconds(500);
constexpr Duration kApiLimit = seconds(2);  // of one JetStream request: above a healthy answer, below an election

/// The core's servers as this node should try them: its own first, then round from there, so that nodes spread.
std::vector<NatsServerPlan> core_from(const Setup& setup) {
  std::vector<NatsServerPlan> core;
  for (NatsServerPlan& server : nats_plan(setup.file))
    if (server.kind != Kind::kLeaf) core.push_back(std::move(server));
  const auto own = std::ranges::find(core, setup.self, &NatsServerPlan::node);
  if (own != core.end()) std::ranges::rotate(core, own);
  return core;
}

/// A driver that could not be made yet (a folder's rights, say): tried again at each call, and says why until then.
class UnreadyDriver final : public Driver {
 public:
  UnreadyDriver(DriverConfig config, EngineHost& host) : config_(std::move(config)), host_(host) {}
  EngineReport observe() override {
    if (ready()) return driver_->observe();
    EngineReport report;
    report.health = why_;
    return report;
  }
  DriverResult run(const DriverCommand& command) override {
    if (ready()) return driver_->run(command);
    return DriverResult{.op = command.op, .resource = command.resource, .verb = command.verb, .ok = false, .message = why_};
  }

 private:
  bool ready() {
    if (driver_) return true;
    auto made = make_driver(config_, host_);
    if (made) driver_ = std::move(*made);
    else why_ = made.error().message;
    return driver_ != nullptr;
  }
  DriverConfig config_;
  EngineHost& host_;
  std::unique_ptr<Driver> driver_;
  std::string why_;
};

DriverConfig driver_config(const Setup& setup, const ResourceSpec& resource) {
  DriverConfig config{.self = setup.self, .resource = resource, .peers = {}, .run_dir = setup.options.run + "/" + resource.id.value,
                      .engine_user = geteuid() == 0 ? system_user_of(resource.engine) : ""};
  config.resource.data_dir = path_on(resource.data_dir, setup.self);
  for (const NodeId& member : resource.members)
    if (const NodeSpec* node = setup.file.spec.node(member)) config.peers.push_back({member, node->address, resource.port});
  return config;
}

/// Its members are read replicas too, and are asked by HTTP.
void declare_neo4j(const Setup& setup, const DataSystem& system, ObserverConfig& config) {
  for (const NodeId& node : system.read_replicas) {
    if (const NodeSpec* spec = setup.file.spec.node(node)) config.peers.push_back({node, spec->address, 0});
    config.declared["read_replicas"] += node.value + " ";
  }
  for (PeerAddress& peer : config.peers) peer.port = system.http_port;
  if (system.dump.exec.empty()) return;
  config.declared.insert({{"dump_exec", system.dump.exec}, {"dump_file", system.dump.file}});
  for (const auto& [name, value] : {std::pair{"dump_every_ms", system.dump.every}, {"dump_at_ms", system.dump.at}, {"dump_timeout_ms", system.dump.timeout}, {"dump_max_age_ms", system.dump.max_age}})
    config.declared[name] = std::to_string(to_ms(value));
}

ObserverConfig observer_config(const Setup& setup, const ResourceSpec& resource, const DataSystem& system) {
  ObserverConfig config{.self = setup.self, .resource = resource, .mode = system.mode, .peers = driver_config(setup, resource).peers, .helpers = {}, .declared = {}};
  if (system.sentinels > 0) {
    for (const NodeId& node : sentinel_nodes(setup.file, system)) config.helpers.push_back({node, setup.file.spec.node(node)->address, setup.file.sentinel_port});
    if (!system.master_name.empty()) config.declared["master_name"] = system.master_name;
    config.declared["down_after_ms"] = std::to_string(to_ms(system.down_after));
    config.declared["failover_timeout_ms"] = std::to_string(to_ms(system.failover_timeout));
  }
  for (const auto& [name, value] : {std::pair{"shards", system.shards}, std::pair{"replication_factor", system.replication_factor}, std::pair{"sentinels", system.sentinels}})
    if (value > 0) config.declared[name] = std::to_string(value);
  config.state_folder = setup.options.data;
  if (system.engine == "neo4j") declare_neo4j(setup, system, config);
  return config;
}

EngineSeat seat_of(const Setup& setup, const ResourceSpec& resource) {
  const DriverConfig config = driver_config(setup, resource);
  const std::string base = setup.options.run + "/" + resource.id.value;
  const GuardConfig guard{.resource = resource.id, .binary = setup.options.guard, .socket = guard_socket(config.resource.data_dir), .data_dir = config.resource.data_dir,
                          .cgroup = setup.options.cgroup.empty() ? "" : setup.options.cgroup + "/" + resource.id.value, .log_file = base + ".guard.log"};
  return {resource.id, [guard](GuardClient::OnReport on_report) { return GuardClient::open(guard, std::move(on_report)); },
          [config](EngineHost& host) -> std::unique_ptr<Driver> { return std::make_unique<UnreadyDriver>(config, host); }};
}

/// For a look at what an engine needs, before there is a guard.
class NoHost final : public EngineHost {
  Result<std::uint64_t> start(const EngineCommand&) override { return fail(Remedy::kRetry, "no guard yet"); }
  Result<void> stop(int) override { return {}; }
  Result<void> wait_empty(Duration) override { return {}; }
  std::uint64_t incarnation() const override { return 0; }
  bool running() const override { return false; }
};

}  // namespace

std::vector<std::shared_ptr<Connection>> Links::beats() const {
  if (!leaf) return {near, far};
  return {near, far, leaf};
}

Result<Links> open_links(const Setup& setup) {
  Links links;
  const std::vector<NatsServerPlan> core = core_from(setup);
  const auto open = [&](const std::vector<NatsServerPlan>& servers, const char* what, const char* user, const std::string& password, bool beats = false) {
    NatsEndpoint endpoint{.urls = {}, .user = user, .password = password, .name = setup.self.value + what, .leaves = {}};
    // Beats go by two connections so that they go by two servers: those stay where they are, whoever answers there.
    if (!beats) endpoint.leaves = [name = std::string(what + 1)](const std::string& done) { spdlog::warn("{}: {}", name, done); };
    for (const NatsServerPlan& server : servers) endpoint.urls.push_back(server.url());
    return Connection::open(endpoint);
  };
  std::vector<NatsServerPlan> turned = core;
  if (turned.size() > 1) std::ranges::rotate(turned, turned.begin() + 1);
  std::vector<NatsServerPlan> own_leaf;
  for (const NatsServerPlan& server : nats_plan(setup.file))
    if (server.kind == Kind::kLeaf && server.node == setup.self) own_leaf.push_back(server);
  const std::string& password = setup.secrets.control;
  const std::pair<std::shared_ptr<Connection>*, Result<std::shared_ptr<Connection>>> made[] = {
      {&links.near, open(core, "-near", kControlUser, password, true)},
      {&links.far, open(turned, "-far", kControlUser, password, true)},
      {&links.control, open(core, "-log", kControlUser, password)},
      {&links.sys, open(core, "-sys", kSysUser, setup.secrets.sys)},
  };
  for (const auto& [to, connection] : made) {
    if (!connection) return tl::unexpected(connection.error());
    *to = *connection;
  }
  // The witness serves no application: its account APP has no users.
  std::vector<NatsServerPlan> serving = own_leaf;
  if (own_leaf.empty()) std::ranges::copy_if(core, std::back_inserter(serving), [](const NatsServerPlan& server) { return server.kind == Kind::kCore; });
  auto app = open(serving, "-routes", kRoutesUser, password);
  if (!app) return tl::unexpected(app.error());
  links.app = *app;
  if (own_leaf.empty()) return links;
  auto leaf = open(own_leaf, "-leaf", kControlUser, password);
  if (!leaf) return tl::unexpected(leaf.error());
  links.leaf = *leaf;
  return links;
}

Result<void> await_links(const Links& links, Duration limit) {
  for (const auto& connection : {links.control, links.leaf, links.sys})
    if (connection)
      if (const auto up = connection->wait_connected(limit); !up) return up;
  return {};
}

Result<std::unique_ptr<LogReader>> open_reader(const Links& links, Sequence from) {
  if (links.leaf) return make_nats_log_reader({LogSource{links.leaf, kLogMirror}, LogSource{links.near, kClusterLog}}, from);
  return make_nats_log_reader({links.near, links.far}, kClusterLog, from);
}

UdpBeats direct_beats(const Setup& setup) {
  UdpBeats out{.self = setup.self, .address = {}, .port = setup.file.beat_port, .peers = {}, .key = beat_key(setup.secrets.control, setup.file.spec.cluster)};
  for (const NodeSpec& node : setup.file.spec.nodes)
    if (node.id == setup.self) out.address = node.address;
    else out.peers.emplace_back(node.id, node.address);
  return out;
}

TopologySpec led_spec(const Setup& setup, std::vector<std::string>& notes) {
  TopologySpec spec = setup.file.spec;
  const std::vector<std::string> known = known_engines();
  for (ResourceSpec& resource : spec.resources) {
    if (!resource.leased || std::ranges::find(known, resource.engine) != known.end()) continue;
    resource.leased = false;
    notes.push_back(resource.id.value + ": this version cannot run " + resource.engine + " and leaves it alone");
  }
  return spec;
}

Result<void> check_engines(const Setup& setup, const TopologySpec& spec, const Links& links, bool data) {
  for (const ResourceSpec& resource : spec.resources) {
    if (!resource.leased || !resource.has_member(setup.self)) continue;
    NoHost nobody;
    DriverConfig config = driver_config(setup, resource);
    config.looks_only = data;
    auto driver = make_driver(config, nobody);
    if (!driver) return tl::unexpected(driver.error());
    if (!data) continue;
    const EngineReport seen = (*driver)->observe();
    if (seen.state == EngineState::kForeign) return fail(Remedy::kFixInput, "use " + resource.id.value + " on " + setup.self.value + ": " + seen.health);
  }
  for (const ObservedSeat& seat : observed_seats(setup, links))
    if (const auto observer = seat.make(); !observer) return tl::unexpected(observer.error());
  return {};
}

std::vector<ObservedSeat> observed_seats(const Setup& setup, const Links& links) {
  std::vector<ObservedSeat> out;
  for (const DataSystem& system : setup.file.systems) {
    const ResourceSpec* resource = setup.file.spec.resource(system.id);
    if (resource == nullptr || resource->leased || !is_observed(system.engine, system.mode)) continue;
    ObserverConfig config = observer_config(setup, *resource, system);
    if (system.engine == "nats")
      config.nats = std::make_shared<const NatsAccess>(NatsAccess{.sys = links.sys, .control = links.control, .app = links.app, .servers = nats_plan(setup.file)});
    // Who runs nothing of it needs no password of it. A nats-server every node runs.
    const auto runs = [&](const std::vector<PeerAddress>& of) { return std::ranges::find(of, setup.self, &PeerAddress::node) != of.end(); };
    if (!config.nats && !runs(config.peers) && !runs(config.helpers)) continue;
    out.push_back({system.id, [config = std::move(config)] { return make_observer(config); }});
  }
  return out;
}

std::vector<NatsServerPlan> own_servers(const Setup& setup) {
  std::vector<NatsServerPlan> out = nats_plan(setup.file);
  std::erase_if(out, [&](const NatsServerPlan& server) { return server.node != setup.self; });
  return out;
}

std::shared_ptr<RouteKeeper> make_routes(const Setup& setup, const Links& links) {
  RouteSite site{.app = links.app, .self = setup.self, .edge = links.leaf != nullptr, .core_domain = kCoreDomain};
  if (setup.options.nats_dir.empty()) {
    const RoutePlan plan = plan_routes(setup.file.spec);
    if (std::ranges::any_of(own_servers(setup), [&](const NatsServerPlan& server) { return render_routes(plan, server).find('"') != std::string::npos; }))
      spdlog::warn("what the routes deny here is as this node's nats-servers were rendered, and does not follow the members: render with --routes-dir, and give that folder with --nats-dir");
  } else {
    site.servers = [file = setup.file, self = setup.self, folder = setup.options.nats_dir](const RoutePlan& plan) { return keep_route_files(file, self, folder, plan); };
  }
  return make_route_keeper(
      site, [](const State& state) { return to_json(route_table_of(state)); }, [](const std::string& done) { spdlog::info("routes: {}", done); });
}

std::function<std::vector<std::string>(const RoutePlan&)> in_the_way_of(const Links& links) {
  return [app = links.app](const RoutePlan& plan) { return in_the_way(*app, plan, kCoreDomain, kLookLimit); };
}

DaemonPorts make_ports(const Setup& setup, const TopologySpec& spec, const Links& links) {
  DaemonPorts ports;
  ports.state_folder = setup.options.data + "/state";
  ports.beats = [links, self = setup.self, direct = direct_beats(setup)](const auto& handlers, const auto& warn) {
    std::vector<std::unique_ptr<BeatLink>> made;
    made.push_back(make_nats_beat_link(links.beats(), self, handlers("nats")));
    if (direct.port == 0) return std::move(made.front());
    if (auto udp = make_udp_beat_link(direct, handlers("direct"))) made.push_back(std::move(*udp));
    else warn(udp.error().message + "; nodes hear this one through NATS alone, and a restart of all of NATS fences its primaries");
    return join_beat_links(std::move(made));
  };
  ports.appender = make_nats_appender(links.control);
  ports.reader = [links](Sequence from) { return open_reader(links, from); };
  ports.info = make_nats_log_info(links.control);
  const bool votes = std::ranges::find(spec.voters, setup.self) != spec.voters.end();
  const int replicas = spec.voters.size() >= 3 ? 3 : 1;
  std::map<std::string, NodeId> node_of;
  std::vector<EdgeDomain> edges;
  std::string own_leaf;
  for (const NatsServerPlan& server : nats_plan(setup.file)) {
    node_of[server.name] = server.node;
    if (server.kind == Kind::kLeaf) edges.push_back({server.node, server.domain});
    if (server.kind == Kind::kLeaf && server.node == setup.self) own_leaf = server.name;
  }
  ports.provision = [links, votes, replicas, edges, self = setup.self]() -> Result<void> {
    if (votes)
      if (auto done = provision_core_streams(*links.control, replicas, kApiLimit, edges); !done) return done;
    if (!links.leaf) return {};
    if (auto done = provision_edge_outbox(*links.leaf, self, kApiLimit); !done) return done;
    return provision_edge_mirrors(*links.leaf, kCoreDomain, self, kApiLimit);
  };
  std::string own_core;
  for (const auto& [server, node] : node_of)
    if (node == setup.self && server != own_leaf) own_core = server;
  const std::shared_ptr<ReplicaKeeper> replica_keeper = make_replica_keeper(links.control, links.sys, kClusterLog, own_core, replicas);
  if (votes)
    ports.tend_replicas = [replica_keeper](const EventHeads& events, bool led_here) {
      if (!led_here) return replica_keeper->rest(events);
      const auto done = replica_keeper->tend(events, kLookLimit);
      if (!done) spdlog::info("replicas of the log: {}", done.error().message);
      else if (!done->empty()) spdlog::warn("{}", *done);
    };
  if (links.leaf) {
    const std::shared_ptr<MirrorKeeper> keeper = make_mirror_keeper(links.leaf, links.control, kCoreDomain, setup.self);
    const auto say = [](const Result<std::string>& done) {
      if (!done) spdlog::info("mirrors: {}", done.error().message);
      else if (!done->empty()) spdlog::warn("mirrors: {}", *done);
    };
    ports.tend_mirrors = [keeper, say] { say(keeper->tend(kLookLimit)); };
    ports.log_lost = [keeper, say](Sequence first) { say(keeper->log_lost(first, kApiLimit)); };
  }
  ports.telemetry = [publisher = make_nats_telemetry(links.leaf ? links.leaf : links.near)](const std::string& subject, const std::string& payload) {
    publisher->publish(subject, payload);
  };
  ports.leaders = [links, node_of] {
    const auto named = [&](const std::string& server) {
      const auto at = node_of.find(server);
      return at == node_of.end() ? NodeId{} : at->second;
    };
    return LeadersSeen{.log = named(stream_leader(*links.control, kClusterLog, kApiLimit)), .meta = named(meta_leader(*links.sys, kApiLimit))};
  };
  ports.step_down = [links, replica_keeper](bool meta) {
    // A refusal shows in who leads: it is asked again as long as it leads from the wrong node. Nor does the log's leader hand over while a
    // follower may hold what the log has lost.
    if (meta) (void)step_down_meta_leader(*links.sys, kApiLimit);
    else if (replica_keeper->may_lead(kLookLimit).value_or(false)) (void)step_down_stream_leader(*links.control, kClusterLog, kApiLimit);
  };
  for (const ResourceSpec& resource : spec.resources) {
    if (!resource.leased || !resource.has_member(setup.self)) continue;
    ports.engines.push_back(seat_of(setup, resource));
  }
  return ports;
}

}  // namespace daarion
