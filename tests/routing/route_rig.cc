#include "tests/routing/route_rig.h"

#include "streams/js_request.h"
#include "streams/route_streams.h"

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

RoutePlan plan_for(const NatsServers& servers) { return plan_routes(servers.file().spec); }

}  // namespace

std::vector<RouteRule> users_rules() {
  constexpr std::uint64_t kDay = 86'400, kMiB = 1 << 20;
  return {{.name = "message", .subjects = {"message.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB},
          {.name = "attachment", .subjects = {"attachment.*"}, .max_age_s = 30 * kDay, .max_bytes = 256 * kMiB},
          {.name = "agent_run", .subjects = {"agent.run.*"}, .max_age_s = 7 * kDay, .max_bytes = 256 * kMiB, .consumers = {{"runner", "agent.run.requested.*"}}},
          {.name = "node_local", .subjects = {"node.{node_id}.local.*"}, .cls = RouteClass::kNodeLocal},
          {.name = "cache", .subjects = {"cache.invalidate.*"}, .cls = RouteClass::kEdgeLocal}};
}

RouteRig::RouteRig(RouteWorld size)
    : world(std::move(size)), servers({.size = world.core, .edges = world.edges, .witness = world.witness, .routes = users_rules(), .binary = world.binary}),
      plan(plan_for(servers)) {
  for (int i = 0; i < servers.size(); ++i)
    if (!servers.is_witness(i)) (servers.is_edge(i) ? edge_nodes : core_nodes).push_back(i);
  core = connect(servers, core_nodes, NatsServers::Account::kRoutes);
  for (const int i : edge_nodes) edges.push_back(connect(servers, {i}, NatsServers::Account::kRoutes));
  if (!edges.empty()) edge = edges.front();
  const auto done = until_done([&] { return apply_core().left; });
  EXPECT_TRUE(done) << done.error().message;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    const auto there = until_done([&] { return apply_edge(i).left; });
    EXPECT_TRUE(there) << there.error().message;
  }
}

RoutePlan RouteRig::plan_with(const RouteRule& rule) const {
  TopologySpec spec = servers.file().spec;
  spec.routes.push_back(rule);
  return plan_routes(spec);
}

std::vector<int> RouteRig::nodes() const {
  std::vector<int> out = core_nodes;
  out.insert(out.end(), edge_nodes.begin(), edge_nodes.end());
  return out;
}

std::unique_ptr<Publisher> RouteRig::publisher(const std::vector<int>& order, std::vector<std::string> subjects, int least, const std::atomic<bool>& until,
                                               milliseconds pace) const {
  return std::make_unique<Publisher>(servers.endpoint(order, "service", NatsServers::Account::kApp), servers.name(order.front()), std::move(subjects), least, until, pace);
}

CopyKeepers::CopyKeepers(RouteRig& rig, Duration still) : rig_(rig) {
  for (const int i : rig.core_nodes) cores.push_back(make_source_copies(rig.core, rig.node(i), still));
  for (std::size_t i = 0; i < rig.edges.size(); ++i) edges.push_back(make_mirror_copies(rig.edges[i], rig.node(rig.edge_nodes[i]), "core", still));
}

std::vector<RouteWork> CopyKeepers::tend() {
  std::vector<RouteWork> out;
  for (const auto* keepers : {&cores, &edges})
    for (const auto& keeper : *keepers) out.push_back(keeper->tend(rig_.plan, seconds(2)));
  for (std::size_t i = 0; i < edges.size(); ++i) out.push_back(rig_.apply_edge(i));
  return out;
}

bool set_repeat_window(Connection& core, const std::string& stream, Duration window) {
  const auto info = js_request(core, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  if (!info || !info->contains("config")) return false;
  nlohmann::json config = (*info)["config"];
  config["duplicate_window"] = std::chrono::nanoseconds(window).count();
  const auto done = js_request(core, "$JS.API.STREAM.UPDATE." + stream, config, seconds(2));
  return done && !done->contains("error");
}

std::uint64_t last_sequence_of(Connection& connection, const std::string& stream) {
  const auto info = js_request(connection, "$JS.API.STREAM.INFO." + stream, nullptr, seconds(2));
  return info && info->contains("state") ? (*info)["state"].value("last_seq", std::uint64_t{0}) : 0;
}

Log log_of(const RouteRig& rig) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{rig.servers.file().spec, "hash"});
  return log;
}

}  // namespace daarion::test
