#include "controlplane/topology/lint.h"

#include <algorithm>
#include <set>

#include "controlplane/core/lease.h"
#include "controlplane/topology/lint_nats.h"
#include "controlplane/topology/lint_routes.h"
#include "controlplane/topology/lint_services.h"

namespace daarion {
namespace {

// Beats that may be lost in a row before a holder fences itself.
constexpr int kLostBeats = 2;
// A connection notices its frozen server after 250 ms x 2 and then needs to reconnect: the lease must outlast it.
constexpr Duration kServerNoticed = std::chrono::milliseconds(750);
// A keeper that is stopped is noticed by its watcher 100 to 120 ms after the deadline (measured), and killing a busy engine took 14 ms.
constexpr Duration kLeastFence = std::chrono::milliseconds(300);
constexpr Duration kLeastBeat = std::chrono::milliseconds(20);

std::string ms(Duration d) { return std::to_string(to_ms(d)) + " ms"; }

class Linter {
 public:
  explicit Linter(const ClusterFile& file) : f_(file) {}

  std::vector<Finding> run() {
    voters();
    timers();
    ports();
    folders();
    for (const DataSystem& system : f_.systems) data_system(system);
    for (const ResourceSpec& r : f_.spec.resources) resource(r);
    for (Finding& finding : lint_nats(f_)) out_.push_back(std::move(finding));
    for (Finding& finding : lint_routes(f_)) out_.push_back(std::move(finding));
    for (Finding& finding : lint_services(f_)) out_.push_back(std::move(finding));
    if (f_.bind == "0.0.0.0" || f_.bind == "::")
      say(Severity::kWarning, "bind_everywhere", "control.bind", "control.bind is " + f_.bind + ": the admin API has no password; bind the node's address");
    std::ranges::stable_sort(out_, {}, &Finding::severity);
    return std::move(out_);
  }

 private:
  void say(Severity severity, std::string rule, const std::string& key, std::string message) {
    out_.push_back({severity, std::move(rule), f_.line_of(key), std::move(message)});
  }
  std::vector<NodeId> core_nodes() const {
    std::vector<NodeId> out;
    for (const NodeSpec& n : f_.spec.nodes)
      if (n.role != NodeRole::kEdge) out.push_back(n.id);
    return out;
  }

  void voters() {
    const auto& voters = f_.spec.voters;
    const std::string key = f_.voters_declared ? "control.voters" : "nodes";
    std::set<NodeId> distinct(voters.begin(), voters.end());
    if (distinct.size() != voters.size()) say(Severity::kError, "voter_twice", key, "control.voters names a node twice; a node has one vote");
    const std::size_t n = voters.size();
    if (n != 1 && n != 3 && n != 5)
      say(Severity::kError, "voter_count", key,
          std::to_string(n) + " voters: " + (n == 2 ? "the loss of either one stops both" : "an even or large number buys nothing") +
              "; declare 1, 3 or 5, e.g. an edge node with control.witness as the third");
    const auto cores = core_nodes();
    if (n == 1 && f_.spec.nodes.size() > 1)
      say(Severity::kWarning, "one_voter", key, "one voter: nothing fails over by itself; failover is by audited override only");
    if (cores.size() == 2 && n == 3 && f_.spec.witness.empty())
      say(Severity::kError, "no_witness", key, "2 core nodes and no control.witness: the log would be R2, which refuses writes as soon as one dies; name the third voter as witness");
    if (!f_.spec.witness.empty()) {
      const NodeSpec* witness = f_.spec.node(f_.spec.witness);
      if (witness != nullptr && witness->role != NodeRole::kEdge)
        say(Severity::kError, "witness_in_core", "control.witness", "control.witness is " + f_.spec.witness.value + ", a core node already; name an edge node or leave it out");
      else if (!distinct.contains(f_.spec.witness))
        say(Severity::kError, "witness_no_voter", "control.witness", "control.witness " + f_.spec.witness.value + " is no voter; add it to control.voters");
      else if (cores.size() == 2)
        say(Severity::kNote, "witness_votes", "control.witness", "2 core nodes, " + f_.spec.witness.value + "'s witness is the third vote");
    }
  }

  void timers() {
    const std::string broken = timers_out_of_order(f_.spec.lease);
    if (!broken.empty()) say(Severity::kError, "timer_order", broken.substr(0, broken.find(' ')), broken);
    if (f_.spec.lease.ttl < std::chrono::seconds(1))
      say(Severity::kWarning, "short_lease", "control.lease_ttl", "control.lease_ttl is " + ms(f_.spec.lease.ttl) + ": pauses of a busy machine will fence healthy primaries; 2s is the default");
    if (f_.log_sync < ClusterFile().log_sync)
      say(Severity::kWarning, "short_log_sync", "control.log_sync",
          "control.log_sync is " + ms(f_.log_sync) + ": one power cut can take two changes of the voter set from the log, unless every nats-server has a lower sync_interval (2.10 and later); leave it out for 150s");
    if (f_.nats_sync)
      say(Severity::kNote, "sync_needs_210", "control.nats.sync_interval", "control.nats.sync_interval needs nats-server 2.10 on every node: older ones do not start with it");
    if (f_.spec.lease.ttl > std::chrono::seconds(30))
      say(Severity::kWarning, "long_lease", "control.lease_ttl", "control.lease_ttl is " + ms(f_.spec.lease.ttl) + ": a lost host is an outage for that long");
  }

  void ports() {
    std::map<std::uint32_t, std::string> owners;
    const auto own = [&](std::uint32_t port, const std::string& who, const std::string& key) {
      if (port == 0) return;
      if (const auto [there, added] = owners.emplace(port, who); !added)
        say(Severity::kError, "port_clash", key, "port " + std::to_string(port) + " is " + who + "'s and " + there->second + "'s; change one");
    };
    own(f_.grpc_port, "control.grpc_port", "control.grpc_port");
    own(f_.http_port, "control.http_port", "control.http_port");
    own(f_.beat_port, "control.beat_port", "control.beat_port");
    own(f_.nats.client, "control.nats.client", "control.nats.client");
    own(f_.nats.route, "control.nats.route", "control.nats.route");
    own(f_.nats.leaf, "control.nats.leaf", "control.nats.leaf");
    own(f_.nats.monitor, "control.nats.monitor", "control.nats.monitor");
    if (!f_.spec.witness.empty()) {
      own(f_.nats.witness_client, "control.nats.witness_client", "control.nats.witness_client");
      own(f_.nats.witness_route, "control.nats.witness_route", "control.nats.witness_route");
      own(f_.nats.witness_monitor, "control.nats.witness_monitor", "control.nats.witness_monitor");
    }
    for (const DataSystem& s : f_.systems)
      if (s.engine == "neo4j") own(s.http_port, "resources." + s.id.value + ".http_port", "resources." + s.id.value + ".http_port");
    for (const ResourceSpec& r : f_.spec.resources)
      if (r.engine != "nats") own(r.port, "resources." + r.id.value, "resources." + r.id.value + ".port");
    for (const ServiceSpec& s : f_.spec.services) own(s.port, "services." + s.name, "services." + s.name);
  }

  /// Two engines that took each other's files for their own would destroy both.
  void folders() {
    const auto path = [](const ResourceSpec& r) { return r.data_dir.substr(0, r.data_dir.find_last_not_of('/') + 1) + "/"; };
    const std::vector<ResourceSpec>& all = f_.spec.resources;
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const ResourceSpec &r = all[i], &other = all[j];
        const bool together = std::ranges::any_of(r.members, [&](const NodeId& n) { return other.has_member(n); });
        if (r.data_dir.empty() || other.data_dir.empty() || !together) continue;
        if (!path(r).starts_with(path(other)) && !path(other).starts_with(path(r))) continue;
        say(Severity::kError, "data_dir_clash", "resources." + r.id.value + ".data_dir",
            r.data_dir + " of " + r.id.value + " is " + (path(r) == path(other) ? "" : "in, or around, ") + other.id.value + "'s data_dir; give each a folder of its own");
      }
  }

  void data_system(const DataSystem& s) {
    const std::string key = "replication";
    const auto at = [&](Severity severity, const char* rule, std::string message) { out_.push_back({severity, rule, s.line, std::move(message)}); };
    if (s.engine == "neo4j" && s.nodes.empty()) at(Severity::kError, "neo4j_nodes", "Neo4j: no nodes; name them in `core_servers:`, or the one in `nodes:`");
    if (s.engine == "neo4j" && s.mode == "single" && s.nodes.size() + s.read_replicas.size() > 1)
      at(Severity::kError, "neo4j_single", "Neo4j: mode single has one node, and " + std::to_string(s.nodes.size() + s.read_replicas.size()) + " are named; several are a causal-cluster");
    for (const NodeId& n : s.read_replicas)
      if (std::ranges::find(s.nodes, n) != s.nodes.end())
        at(Severity::kError, "neo4j_twice", "Neo4j: " + n.value + " is a core and a read replica; a node has one place");
    if (s.engine == "neo4j" && s.mode != "single" && s.nodes.size() == 2)
      at(Severity::kWarning, "neo4j_two_cores", "Neo4j: 2 cores survive no loss (and Community cannot cluster); a third core is needed to survive one");
    if (s.engine == "qdrant" && s.nodes.size() == 2)
      at(Severity::kWarning, "qdrant_two_peers", "Qdrant: 2 peers lose consensus with one; a third peer is needed to survive one");
    if (s.engine == "qdrant" && s.replication_factor > s.nodes.size())
      at(Severity::kError, "qdrant_factor", "Qdrant: replication_factor " + std::to_string(s.replication_factor) + " on " + std::to_string(s.nodes.size()) + " nodes; it cannot exceed them");
    if (s.engine == "qdrant" && s.nodes.empty()) at(Severity::kError, "qdrant_nodes", "Qdrant: no nodes; name them in `nodes:`");
    if (s.engine == "qdrant" && s.replication_factor == 1 && s.nodes.size() > 1)
      at(Severity::kWarning, "qdrant_one_copy", "Qdrant: replication_factor 1 keeps one copy of each shard: the loss of its node loses it");
    if (s.engine == "redis" && s.mode == "sentinel") {
      if (s.sentinels < 3 || s.sentinels % 2 == 0)
        at(Severity::kError, "sentinel_count", "Redis: " + std::to_string(s.sentinels) + " sentinels; 3 or another odd number is needed for a majority");
      else if (s.sentinels > f_.spec.nodes.size())
        at(Severity::kError, "sentinels_share", "Redis: " + std::to_string(s.sentinels) + " sentinels on " + std::to_string(f_.spec.nodes.size()) + " nodes: two on one host fall together");
      else if (s.sentinels == 3 && s.nodes.size() == 2)
        at(Severity::kNote, "third_sentinel", "third sentinel placed on " + sentinel_nodes(f_, s).back().value);
    }
    if (s.engine == "redis" && s.mode == "managed" && s.sentinels > 0)
      at(Severity::kWarning, "sentinels_unused", s.id.value + ": mode managed has no sentinels: lease and epoch decide; leave `sentinels` out");
    if (s.engine == "postgresql" && s.nodes.empty()) at(Severity::kError, "no_primary", s.id.value + ": no primary and no replicas; name `primary:`");
  }
  void resource(const ResourceSpec& r) {
    if (!r.leased) return;
    const std::string key = "resources." + r.id.value;
    if (r.declared_primary.empty()) say(Severity::kError, "no_primary", key, r.id.value + " has no primary; name `primary:` in replication");
    if (r.members.size() < 2) say(Severity::kWarning, "no_replica", key, r.id.value + " has no replica: the loss of its host is an outage");
    const bool all = r.members.size() > 1 && std::ranges::all_of(r.members, [&](const NodeId& n) { return n == r.declared_primary || r.tags_of(n).nofailover; });
    if (all) say(Severity::kWarning, "nobody_promotable", key + ".tags", r.id.value + ": every replica is tagged nofailover; nobody would be promoted");
    for (const auto& [node, tags] : r.tags)
      if (!r.has_member(node)) say(Severity::kWarning, "tag_of_stranger", key + ".tags", r.id.value + ": tags of " + node.value + ", which does not run it");
    if (r.leased && r.runner != "process")
      say(Severity::kError, "runner", key, "resources." + r.id.value + ".runner is " + r.runner + ": this version starts and ends engines itself, under its guard; write process, or leave it out");
    if (r.engine == "redis" && r.sync != SyncMode::kAsync)
      say(Severity::kNote, "redis_sync", key, r.id.value + " is never synchronous: it refuses writes while too few replicas are near, which bounds what may be lost");
    if (r.engine == "redis" && r.data_dir.empty())
      say(Severity::kError, "no_data_dir", key, r.id.value + " has no data_dir; give resources." + r.id.value + ".data_dir a folder of its own");
    if (r.engine == "postgresql" && r.sync == SyncMode::kAsync) say(Severity::kNote, "async_loss", key, "async PostgreSQL may lose the announced tail");
    if (r.sync != SyncMode::kAsync && r.members.size() == 2)
      say(Severity::kWarning, "sync_one_replica", key, r.id.value + " is synchronous with one replica: its loss stops writes");
  }

  const ClusterFile& f_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> lint(const ClusterFile& file) { return Linter(file).run(); }

std::string timers_out_of_order(const LeaseTimers& t) {
  const Duration held = holder_length(t.ttl, t.drift_ppm);
  if (t.ttl <= Duration{} || t.beat <= Duration{}) return "control.lease_ttl and control.beat_interval must be above 0";
  if (t.beat < kLeastBeat) return "control.beat_interval is " + ms(t.beat) + "; below 20 ms beats only load the machine";
  if (t.drift_ppm >= 500'000) return "control.clock_drift is 50 % or more: no lease is left; 1% is far above any real clock";
  if (t.fence_budget < kLeastFence) return "control.fence_budget is " + ms(t.fence_budget) + ", below 300 ms: the engine may not be gone before voters are free";
  if (t.fence_budget >= held)
    return "control.fence_budget " + ms(t.fence_budget) + " is not below lease_ttl less drift, " + ms(held) + ": the guard would fence before it may write; lengthen control.lease_ttl";
  const Duration room = held - t.fence_budget;  // a beat and its ack must renew within this
  if (room < t.beat * (kLostBeats + 1))
    return "control.beat_interval " + ms(t.beat) + ": " + ms(room) + " of lease before the fence has no room for 2 lost beats; shorten it to " + ms(room / (kLostBeats + 2));
  if (room < kServerNoticed)
    return "control.lease_ttl leaves " + ms(room) + " before the fence, less than the 750 ms in which a frozen nats-server is noticed; lengthen it or shorten control.fence_budget";
  return {};
}

}  // namespace daarion
