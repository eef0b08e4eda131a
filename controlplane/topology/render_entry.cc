#include "controlplane/topology/render_entry.h"

#include <algorithm>
#include <map>

#include "controlplane/core/geo.h"
#include "controlplane/topology/nearest.h"
#include "controlplane/topology/render.h"

namespace daarion {
namespace {

// A daemon's "yes" counts at once: it has looked often enough itself. Its "no" may be a lost connection, and is asked for again.
constexpr int kCheckEveryMs = 250, kCheckDoubtMs = 50;
constexpr std::uint32_t kReplicaPorts = 10'000;           // a data system's replicas are behind its own port and this

std::string number(std::uint32_t n) { return std::to_string(n); }

/// The daemons' HTTP as others reach it; nothing: they do not.
Result<void> askable(const ClusterFile& file) {
  if (file.bind == "node" || file.bind == "0.0.0.0" || file.bind == "::") return {};
  return fail(Remedy::kFixInput, "control.bind is " + file.bind + ": what stands before the cluster asks each node's daemon who is active; write bind: node");
}

/// Whether some node is of the region: of a wrong name all nodes would be alike, and nobody would notice.
Result<void> known_region(const ClusterFile& file, const std::string& wanted) {
  std::vector<std::string> regions;
  for (const NodeSpec& node : file.spec.nodes)
    if (!node.region.empty() && std::ranges::find(regions, node.region) == regions.end()) regions.push_back(node.region);
  if (wanted.empty() || std::ranges::any_of(regions, [&](const std::string& r) { return distance(wanted, r) == 0; })) return {};
  std::string all;
  for (const std::string& region : regions) all += (all.empty() ? "" : ", ") + region;
  const std::string near = nearest(wanted, regions);
  return fail(Remedy::kFixInput, "no node is of region " + wanted + (near.empty() ? "" : "; did you mean " + near + "?") +
                                     (all.empty() ? "; the cluster file gives its nodes no region" : "; the cluster file has " + all));
}

class Haproxy {
 public:
  Haproxy(const ClusterFile& file, const HaproxyWish& wish) : f_(file), wish_(wish) {}

  Result<std::string> run() {
    if (auto ok = askable(f_); !ok) return tl::unexpected(ok.error());
    if (auto ok = known_region(f_, wish_.region); !ok) return tl::unexpected(ok.error());
    for (const ResourceSpec& r : f_.spec.resources)
      if (r.leased) data_system(r);
    for (const ServiceSpec& s : f_.spec.services)
      if (s.port != 0) service(s);
    if (parts_.empty()) return fail(Remedy::kFixInput, "nothing to balance: the cluster file has no leased data system and no service with a port");
    return head() + parts_;
  }

 private:
  std::string head() const {
    return "# HAProxy before cluster " + f_.spec.cluster + ", made by `daarionctl render haproxy`. Who is active is asked of each node's daemon.\n"
           "global\n  maxconn 4096\n\n"
           "defaults\n  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n  timeout check 1s\n  retries 2\n  option redispatch\n"
           "  default-server check port " + number(f_.http_port) + " inter " + std::to_string(kCheckEveryMs) + " fastinter " + std::to_string(kCheckDoubtMs) +
           " fall 2 rise 1 on-marked-down shutdown-sessions\n";
  }
  void section(const std::string& kind, const std::string& name) { parts_ += "\n" + kind + " " + name + "\n"; }
  void line(const std::string& text) { parts_ += "  " + text + "\n"; }
  void asks(const std::string& path) {
    line("option httpchk GET " + path);
    line("http-check expect status 200");
  }
  void bind(std::uint32_t port) { line("bind " + wish_.bind + ":" + number(port)); }
  void servers(const std::vector<NodeId>& nodes, std::uint32_t port) {
    const bool near = !wish_.region.empty() && std::ranges::any_of(nodes, [&](const NodeId& n) { return is_near(n); });
    for (const NodeId& id : nodes)
      if (const NodeSpec* node = f_.spec.node(id)) line("server " + id.value + " " + node->address + ":" + number(port) + (near && !is_near(id) ? " backup" : ""));
  }
  bool is_near(const NodeId& id) const {
    const NodeSpec* node = f_.spec.node(id);
    return node != nullptr && distance(wish_.region, node->region) == 0;
  }

  void data_system(const ResourceSpec& r) {
    section("listen", r.id.value + "_primary");
    line("mode tcp");
    bind(r.port);
    asks("/" + r.id.value + "/primary");
    servers(r.members, r.port);
    section("listen", r.id.value + "_read_only");
    line("mode tcp");
    line("balance leastconn");
    bind(r.port + kReplicaPorts);
    asks("/" + r.id.value + "/read-only");
    servers(r.members, r.port);
  }

  void service(const ServiceSpec& s) {
    std::vector<NodeId> active, readers;
    for (const ServicePlace& place : s.on) {
      if (place.role == ServiceRole::kActive || place.role == ServiceRole::kStandby) active.push_back(place.node);
      if (place.role != ServiceRole::kOff) readers.push_back(place.node);
    }
    if (active.empty()) return;
    const bool http = s.check.kind == ServiceCheck::Kind::kHttp, reads = http && readers.size() > active.size();
    section("frontend", s.name);
    line(http ? "mode http" : "mode tcp");
    bind(s.port);
    // Who only asks can be answered by a node that only reads.
    if (reads) line("use_backend " + s.name + "_read if METH_GET");
    line("default_backend " + s.name + "_active");
    backend(s, "active", active, http);
    if (reads) backend(s, "read", readers, http);
  }
  void backend(const ServiceSpec& s, const std::string& what, const std::vector<NodeId>& nodes, bool http) {
    section("backend", s.name + "_" + what);
    line(http ? "mode http" : "mode tcp");
    line("balance leastconn");
    asks("/" + s.name + "/" + what);
    servers(nodes, s.port);
  }

  const ClusterFile& f_;
  const HaproxyWish& wish_;
  std::string parts_;
};

/// CloudFlare's own regions, by what ours begin with.
const char* cloudflare_region(const std::string& region) {
  static const std::map<std::string, const char*> kRegions = {
      {"eu-north", "WEU"}, {"eu-west", "WEU"}, {"eu-central", "WEU"}, {"eu-east", "EEU"}, {"us-east", "ENAM"}, {"us-west", "WNAM"}, {"sa", "SSAM"},
      {"af", "NAF"}, {"me", "ME"}, {"ap-south", "SAS"}, {"ap-southeast", "SEAS"}, {"ap-northeast", "NEAS"}, {"oc", "OC"}};
  const char* found = nullptr;
  std::size_t longest = 0;
  for (const auto& [prefix, name] : kRegions)
    if (region.starts_with(prefix) && prefix.size() >= longest) found = name, longest = prefix.size();
  return found;
}

}  // namespace

Result<std::string> render_haproxy(const ClusterFile& file, const HaproxyWish& wish) { return Haproxy(file, wish).run(); }

Result<std::string> render_cloudflare(const ClusterFile& file, const CloudflareWish& wish) {
  const ServiceSpec* service = file.spec.service(wish.service);
  if (service == nullptr) return fail(Remedy::kFixInput, "service " + wish.service + " is not declared in the cluster file");
  if (wish.hostname.empty()) return fail(Remedy::kFixInput, "no public name; give --hostname, as daarion.city");
  if (auto ok = askable(file); !ok) return tl::unexpected(ok.error());
  std::vector<std::pair<std::string, std::string>> pools;  // region -> origins, in the file's order
  for (const ServicePlace& place : service->on) {
    const NodeSpec* node = file.spec.node(place.node);
    if (node == nullptr || (place.role != ServiceRole::kActive && place.role != ServiceRole::kStandby)) continue;
    const std::string region = node->region.empty() ? "everywhere" : node->region;
    auto pool = std::ranges::find(pools, region, [](const auto& p) { return p.first; });
    if (pool == pools.end()) pool = pools.insert(pools.end(), {region, ""});
    pool->second += (pool->second.empty() ? "" : ", ") + ("{\"name\": " + quoted(node->id.value) + ", \"address\": " + quoted(node->address) +
                                                          (service->port == 0 ? "" : ", \"port\": " + number(service->port)) + ", \"enabled\": true, \"weight\": 1}");
  }
  if (pools.empty()) return fail(Remedy::kFixInput, "service " + wish.service + " is active on no node");
  const auto name_of = [&](const std::string& region) { return file.spec.cluster + "-" + wish.service + "-" + region; };
  // Made by the account, and known only then.
  const auto id_of = [&](const std::string& region) { return quoted("<id of pool " + name_of(region) + ">"); };
  std::string out = "{\n  \"monitors\": [{\"type\": \"http\", \"description\": " + quoted(file.spec.cluster + ": each node's daemon") +
                    ", \"method\": \"GET\", \"path\": \"/ready\", \"port\": " + number(file.http_port) +
                    ", \"expected_codes\": \"200\", \"interval\": 60, \"timeout\": 5, \"retries\": 2, \"follow_redirects\": false}],\n  \"pools\": [\n";
  std::string names, regions;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const auto& [region, origins] = pools[i];
    const char* known = cloudflare_region(region);
    out += "    {\"name\": " + quoted(name_of(region)) + ", \"description\": " + quoted(wish.service + " in " + region) + ", \"monitor\": \"<id of the monitor>\", \"enabled\": true, " +
           "\"minimum_origins\": 1, " + (known != nullptr ? "\"check_regions\": [\"" + std::string(known) + "\"], " : "") + "\"origins\": [" + origins + "]}" +
           (i + 1 < pools.size() ? ",\n" : "\n");
    names += (names.empty() ? "" : ", ") + id_of(region);
  }
  // Each region's own pool first, then the others in the file's order. Pools of one CloudFlare region share its entry.
  std::map<std::string, std::string> by_region;
  for (const auto& [region, origins] : pools)
    if (const char* known = cloudflare_region(region)) by_region[known] += (by_region[known].empty() ? "" : ", ") + id_of(region);
  for (auto& [known, first] : by_region) {
    for (const auto& [region, origins] : pools)
      if (first.find(id_of(region)) == std::string::npos) first += ", " + id_of(region);
    regions += (regions.empty() ? "" : ", ") + quoted(known) + ": [" + first + "]";
  }
  return out + "  ],\n  \"load_balancers\": [{\"name\": " + quoted(wish.hostname) + ", \"description\": " + quoted(file.spec.cluster + ": " + wish.service) +
         ", \"default_pools\": [" + names + "], \"fallback_pool\": " + id_of(pools.front().first) + ", \"region_pools\": {" + regions +
         "}, \"steering_policy\": \"geo\", \"proxied\": true, \"session_affinity\": \"none\"}]\n}\n";
}

}  // namespace daarion
