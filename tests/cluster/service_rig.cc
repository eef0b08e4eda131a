#include "tests/cluster/service_rig.h"

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "controlplane/core/health.h"
#include "controlplane/health/probe.h"
#include "controlplane/node/clock.h"
#include "controlplane/topology/render.h"
#include "controlplane/topology/render_entry.h"
#include "streams/js_request.h"

namespace daarion::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Json = nlohmann::json;

std::string body_file(const dev::LocalCluster& cluster, const NodeId& node, std::uint32_t port) {
  return cluster.node_folder(node) + "/" + std::to_string(port) + ".json";
}

}  // namespace

void add_to_file(const dev::LocalCluster& cluster, const std::string& text) { std::ofstream(cluster.config_path(), std::ios::app) << "\n" << text; }

Result<dev::ProcessId> start_stand_in(const dev::LocalCluster& cluster, const NodeId& node, const std::vector<std::uint32_t>& ports) {
  const std::string folder = cluster.node_folder(node);
  dev::Spawn what{.argv = {dev::program("daarion-stand-in"), cluster.address_of(node), folder}, .environment = {}, .folder = folder, .log_file = folder + "/stand-in.log", .netns = {}};
  for (const std::uint32_t port : ports) what.argv.push_back(std::to_string(port));
  auto started = dev::spawn(what);
  if (!started) return started;
  for (const std::uint32_t port : ports) {
    ServiceSpec spec{.name = "stand-in", .port = port};
    spec.check.kind = ServiceCheck::Kind::kTcp;
    const auto up = cluster.await_that("the stand-in on port " + std::to_string(port), seconds(10), folder + "/stand-in.log",
                                       [&] { return look_at(spec, cluster.address_of(node)).health == Health::kHealthy; });
    if (!up) return tl::unexpected(up.error());
  }
  return started;
}

void set_health(const dev::LocalCluster& cluster, const NodeId& node, std::uint32_t port, const std::string& body) {
  std::ofstream(body_file(cluster, node, port), std::ios::trunc) << body;
}

Result<std::string> start_haproxy(const dev::LocalCluster& cluster) {
  std::ifstream in(cluster.config_path());
  std::stringstream text;
  text << in.rdbuf();
  const std::string address = cluster.address_of(NodeId("node1")) + "00";  // no node's: node1's is <prefix>1
  const auto config = render_haproxy(parse_cluster_file(text.str()).file, {.bind = address, .region = {}});
  if (!config) return tl::unexpected(config.error());
  const std::string file = cluster.folder() + "/haproxy.cfg";
  std::ofstream(file) << *config;
  // In the folder of the node that lives on.
  const auto started = dev::spawn({.argv = {"haproxy", "-db", "-f", file}, .environment = {}, .folder = cluster.node_folder(NodeId("node3")), .log_file = cluster.folder() + "/haproxy.log", .netns = {}});
  if (!started) return tl::unexpected(started.error());
  return address;
}

NatsEndpoint own_server(dev::LocalCluster& cluster, const NodeId& node) {
  NatsEndpoint out{.urls = {}, .user = kAppUser, .password = cluster.secrets()["DAARION_APP_PASSWORD"], .name = "service"};
  for (const NatsServerPlan& server : cluster.servers())
    if (server.node == node && server.kind != NatsServerPlan::Kind::kWitness) out.urls.push_back(server.url());
  return out;
}

Result<TableReader> TableReader::open(dev::LocalCluster& cluster, const NodeId& node) {
  auto connection = Connection::open(own_server(cluster, node));
  if (!connection) return tl::unexpected(connection.error());
  if (auto up = (*connection)->wait_connected(seconds(10)); !up) return tl::unexpected(up.error());
  TableReader out;
  out.app_ = *connection;
  return out;
}

/// The KV's own way: a direct look at the newest message of the key.
Json TableReader::newest() const {
  const auto answer = js_request(*app_, "$JS.API.STREAM.MSG.GET.KV_cluster_routes", Json{{"last_by_subj", "$KV.cluster_routes.table"}}, seconds(2));
  if (!answer || !answer->contains("message")) return {};
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : (*answer)["message"].value("data", "")) {  // base64
    static const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const auto digit = kDigits.find(c);
    if (digit == std::string::npos) continue;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if (count += 6; count >= 8) text += static_cast<char>(bits >> (count -= 8) & 0xff);
  }
  return Json::parse(text, nullptr, false);
}

std::vector<std::string> TableReader::active(const std::string& service) const {
  const Json table = newest();
  if (!table.is_object()) return {};
  for (const Json& s : table["services"])
    if (s["name"] == service) return s["active"].get<std::vector<std::string>>();
  return {};
}

std::string TableReader::provider(const std::string& capability) const {
  const Json table = newest();
  if (!table.is_object()) return "-";
  for (const Json& c : table["capabilities"])
    if (c["capability"] == capability && c["agent"] == "" && c["moved"] != 0) return c["provider"].get<std::string>();
  return "-";
}

Result<Instant> TableReader::await(const std::string& what, Duration limit, const std::function<bool(const TableReader&)>& holds) const {
  for (const Instant end = node_now() + limit; node_now() < end; std::this_thread::sleep_for(milliseconds(2)))
    if (holds(*this)) return node_now();
  const Json table = newest();
  return fail(Remedy::kRetry, "wait for " + what + ": the table has " + (table.is_object() ? table["services"].dump() + table["capabilities"].dump() : "nothing"));
}

}  // namespace daarion::test
