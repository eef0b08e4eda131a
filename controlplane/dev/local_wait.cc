// What a local cluster looks like from outside, and waiting for it.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "controlplane/dev/local_cluster.h"

namespace daarion::dev {
namespace {
constexpr std::chrono::milliseconds kStatusAge{300};  // a daemon makes its status anew every 200 ms

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kPoll = milliseconds(20);     // often enough that waiting adds nothing to what is measured by people
constexpr Duration kAnswer = milliseconds(500);  // answers come from memory; longer means frozen
constexpr const char* kProbeUser = "probe";

std::string text_of(Duration d) {
  return d < seconds(1) ? std::to_string(to_ms(d)) + " ms" : std::to_string(to_ms(d) / 1000) + " s";
}

std::string summary(const ClusterView& v) {
  std::string out = "status " + v.status + ", sequence " + std::to_string(v.sequence);
  for (const ResourceSeen& r : v.resources) {
    out += "; " + r.id + " epoch " + std::to_string(r.epoch) + " holder " + (r.holder.empty() ? "nobody" : r.holder) + (r.writable ? " writable" : " not writable");
    for (const ReplicaSeen& p : r.replicas) out += ", " + p.node + " " + p.state + (p.verdict.empty() ? "" : " (" + p.verdict + ")");
  }
  for (const std::string& w : v.waits) out += "; waits: " + w;
  for (const std::string& w : v.warnings) out += "; warning: " + w;
  for (const std::string& w : v.not_ready) out += "; not ready: " + w;
  return out;
}

}  // namespace

Result<void> LocalCluster::await_that(const std::string& what, Duration limit, const std::string& log, const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) {
      const std::string tail = log.empty() ? "" : tail_of(log, 12);
      return fail(Remedy::kRetry, "wait for " + what + ": not in " + text_of(limit) + (tail.empty() ? "" : "; " + log + " ends with\n" + tail));
    }
    std::this_thread::sleep_for(kPoll);
  }
  return {};
}

Result<ClusterView> LocalCluster::view(const NodeId& node) const { return ask_view(address_of(node), file_.http_port, kAnswer); }

Result<ClusterView> LocalCluster::await(const NodeId& node, const std::string& what, Duration limit,
                                        const std::function<bool(const ClusterView&)>& condition) const {
  Result<ClusterView> last = fail(Remedy::kRetry, "not asked");
  const auto done = await_that(what + ", as " + node.value + " sees it", limit, log_of(node, Part::kDaemon), [&] {
    last = view(node);
    return last && condition(*last);
  });
  if (done) return last;
  return fail(Remedy::kRetry, done.error().message + "last seen: " + (last ? summary(*last) : last.error().message));
}

/// A node's answer may be a status age old: what it says after a failure may be from before it. So everybody is asked until the same
/// epoch was settled for longer than that.
Result<ClusterView> LocalCluster::await_settled(Duration limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  const auto left = [&] { return std::max<Duration>(until - std::chrono::steady_clock::now(), milliseconds(1)); };
  const std::vector<ResourceId> resources = leased();
  const auto settled = [&](const ClusterView& v, const ResourceId& id) {
    const std::string holder = v.holder_of(id.value);
    return !holder.empty() && std::ranges::all_of(file_.spec.resource(id)->members, [&](const NodeId& m) { return m.value == holder || v.streams(id.value, m.value); });
  };
  std::vector<std::uint64_t> epochs;
  auto since = std::chrono::steady_clock::now();
  for (;;) {
    Result<ClusterView> out = fail(Remedy::kFixInput, "the cluster has no node");
    bool same = true;
    for (const NodeId& node : nodes()) {
      const auto began = std::chrono::steady_clock::now();
      out = await(node, "a writable primary of each data system, and every replica streaming", left(),
                  [&](const ClusterView& v) { return v.ready && std::ranges::all_of(resources, [&](const ResourceId& id) { return settled(v, id); }); });
      if (!out) return out;
      std::vector<std::uint64_t> seen;
      for (const ResourceId& id : resources) seen.push_back(out->resource(id.value)->epoch);
      same = same && seen == epochs && std::chrono::steady_clock::now() - began < kStatusAge;
      epochs = std::move(seen);
    }
    const auto now = std::chrono::steady_clock::now();
    if (!same) since = now;
    if (now - since > kStatusAge) return out;
    std::this_thread::sleep_for(milliseconds(20));
  }
}

Result<LeadersView> LocalCluster::leaders_by(const NatsServerPlan& server) const {
  Result<LeadersView> out = fail(Remedy::kRetry, "ask " + server.name + " who leads: its node is not there");
  const auto ask = [&] { out = ask_leaders(server.monitor_host(), server.monitor, kAnswer); };
  if (!network_) ask();
  else (void)inside(network_->name_of(server.node), ask);
  return out;
}

Result<LeadersView> LocalCluster::leaders() const {
  Result<LeadersView> out = fail(Remedy::kRetry, "ask a nats-server who leads: none of the core is known");
  for (const NatsServerPlan& server : servers()) {
    if (server.kind == NatsServerPlan::Kind::kLeaf) continue;
    out = leaders_by(server);
    if (out && !out->meta.empty()) return out;
  }
  return out;
}

bool LocalCluster::log_is_leaderless() const {
  std::size_t core = 0, answered = 0;
  for (const NatsServerPlan& server : servers()) {
    if (server.kind == NatsServerPlan::Kind::kLeaf) continue;
    ++core;
    const auto seen = leaders_by(server);
    if (seen && !seen->log.empty()) return false;
    if (seen) ++answered;
  }
  return answered > core / 2;
}

Result<LeadersView> LocalCluster::await_leaders_off(const std::vector<NodeId>& off, Duration limit) const {
  LeadersView last;
  const auto names_of = [&](const std::string& server) {
    return std::ranges::any_of(servers(), [&](const NatsServerPlan& s) { return s.name == server && std::ranges::find(off, s.node) != off.end(); });
  };
  const auto done = await_that("the leaders of log and meta group to be elsewhere", limit, "", [&] {
    const auto seen = leaders();
    if (!seen) return false;
    last = *seen;
    return !last.log.empty() && !last.meta.empty() && !names_of(last.log) && !names_of(last.meta);
  });
  if (done) return last;
  return fail(Remedy::kRetry, done.error().message + "; log led by " + (last.log.empty() ? "nobody" : last.log) + ", meta by " + (last.meta.empty() ? "nobody" : last.meta));
}

Result<std::unique_ptr<postgres::Connection>> LocalCluster::superuser(const NodeId& node, Duration limit, const std::string& resource) const {
  const ResourceSpec* spec = file_.spec.resource(ResourceId(resource));
  if (spec == nullptr) return fail(Remedy::kFixInput, "connect to " + resource + " of " + node.value + ": this cluster has no such resource");
  const std::string socket = ".s.PGSQL." + std::to_string(spec->port);
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(node_folder(node) + "/run", error))
    if (entry.path().filename() == socket)
      return postgres::Connection::open({.host = entry.path().parent_path().string(), .port = spec->port, .user = "postgres", .password = ""}, limit);
  return fail(Remedy::kRetry, "connect to PostgreSQL of " + node.value + ": no socket " + socket + " in " + node_folder(node) + "/run");
}

postgres::Target LocalCluster::application(const NodeId& node) const {
  return {.host = address_of(node), .port = ports_of(file_).postgres, .user = kProbeUser, .password = secrets_.at("DAARION_PROBE_PASSWORD"), .database = kProbeUser};
}

redis::Target LocalCluster::redis_application(const NodeId& node) const {
  return {.host = address_of(node), .port = ports_of(file_).redis, .user = {}, .password = secrets_.at("REDIS_PASSWORD")};
}

redis::Target LocalCluster::sentinel(const NodeId& node) const {
  return {.host = address_of(node), .port = file_.sentinel_port, .user = {}, .password = secrets_.at("REDIS_PASSWORD")};
}

Result<void> LocalCluster::make_application(const NodeId& primary) const {
  auto c = superuser(primary, seconds(2));
  if (!c) return tl::unexpected(c.error());
  const auto run = [&](const std::string& sql) -> Result<postgres::Rows> { return (*c)->query(sql, seconds(10)); };
  const std::string user = (*c)->name(kProbeUser);
  auto there = run("select 1 from pg_roles where rolname = " + (*c)->literal(kProbeUser));
  if (there && there->empty())
    there = run("create role " + user + " login password " + (*c)->literal((*c)->verifier(kProbeUser, secrets_.at("DAARION_PROBE_PASSWORD"))));
  if (there) there = run("select 1 from pg_database where datname = " + (*c)->literal(kProbeUser));
  if (there && there->empty()) there = run("create database " + user + " owner " + user);
  if (!there) return fail(there.error().remedy, "make user and database probe on " + primary.value + ": " + there.error().message, there.error().effect);
  return {};
}

}  // namespace daarion::dev
