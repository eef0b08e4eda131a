#include "controlplane/topology/cluster_file.h"

#include <xxhash.h>

#include <algorithm>

#include "controlplane/core/state.h"
#include "controlplane/topology/section.h"
#include "controlplane/topology/services_section.h"

namespace daarion {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return text;
}

/// A node id as written, folded to its id. Anything but ASCII is refused: letters of another script can look the same.
std::optional<std::string> fold_id(Section& section, const YAML::Node& at, const std::string& text) {
  const std::string id = lower(text);
  if (is_valid_id(id)) return id;
  const bool script = std::ranges::any_of(text, [](unsigned char c) { return c >= 0x80; });
  section.error("bad_id", at, "id " + text + (script ? " mixes scripts: a letter in it is not ASCII" : " is malformed") +
                                  "; use a-z, 0-9, _ and -, at most 32, beginning with a letter or digit");
  return std::nullopt;
}

/// Reads one file, block after block. Each block is one function.
class FileReader {
 public:
  explicit FileReader(ParsedFile& out) : out_(out), file_(out.file) {}

  void read(const YAML::Node& root) {
    Section top(root, "", out_);
    std::uint32_t schema = 1;
    top.number("schema", schema, 1, 1);
    top.text("cluster", file_.spec.cluster);
    for (const char* needed : {"cluster", "nodes", "replication"})
      if (!top.has(needed)) top.error("missing_key", root, std::string("key ") + needed + " is missing; a cluster file needs cluster, nodes and replication");
    read_nodes(top);
    read_control(top);
    top.map("replication", [&](const std::string& name, const YAML::Node& node) { read_system(top, name, node); });
    top.map("resources", [&](const std::string& name, const YAML::Node& node) { read_resource(top, name, node); });
    ServicesReader services(out_, [this](Section& section, const YAML::Node& at, const std::string& name, const std::string& what) {
      return node_called(section, at, name, what);
    });
    top.map("services", [&](const std::string& name, const YAML::Node& node) { services.service(name, node); });
    top.map("capabilities", [&](const std::string& name, const YAML::Node& node) { services.chain(top, name, node); });
    if (top.has("gpu")) services.gpu(top.node("gpu"));
    services.finish();
    top.list("routing", [&](const YAML::Node& node) { read_route(node); });
    top.list("notify", [&](const YAML::Node& node) { read_notify(node); });
  }

 private:
  std::optional<NodeId> node_of(Section& section, const YAML::Node& at, const std::string& what) {
    return node_called(section, at, at.IsScalar() ? at.Scalar() : "", what);
  }
  std::optional<NodeId> node_called(Section& section, const YAML::Node& at, const std::string& name, const std::string& what) {
    if (const auto known = file_.node_named(name)) return known;
    std::set<std::string> names;
    for (const NodeSpec& n : file_.spec.nodes) names.insert(n.id.value);
    const std::string near = nearest(lower(name), names);
    section.error("unknown_node", at, what + " names node " + name + ", which nodes does not have" + (near.empty() ? "" : "; did you mean " + near + "?"));
    return std::nullopt;
  }
  std::vector<NodeId> nodes_of(Section& section, const std::string& key) {
    std::vector<NodeId> out;
    section.list(key, [&](const YAML::Node& at) {
      if (const auto id = node_of(section, at, section.called(key))) out.push_back(*id);
    });
    return out;
  }

  void read_nodes(Section& top) {
    top.map("nodes", [&](const std::string& name, const YAML::Node& node) {
      const auto id = fold_id(top, node, name);
      if (!id) return;
      Section one(node, "nodes." + name, out_);
      NodeSpec spec{.id = NodeId(*id), .address = {}, .region = {}, .role = NodeRole::kReplica};
      one.text("address", spec.address);
      one.text("region", spec.region);
      std::string role;
      one.text("role", role);
      static const std::map<std::string, NodeRole> kRoles = {{"primary", NodeRole::kPrimary}, {"replica", NodeRole::kReplica}, {"edge", NodeRole::kEdge}};
      if (const auto known = kRoles.find(role); known != kRoles.end())
        spec.role = known->second;
      else if (!role.empty())
        one.error("wrong_type", one.node("role"), "nodes." + name + ".role is " + role + "; it is primary, replica or edge");
      if (spec.address.empty()) one.error("missing_key", node, "nodes." + name + " has no address; give the one that other nodes reach");
      add_name(one, node, *id, spec.id);
      one.list("aliases", [&](const YAML::Node& alias) { add_name(one, alias, lower(alias.Scalar()), NodeId(*id)); });
      file_.lines["nodes." + *id] = line_of(node);
      file_.spec.nodes.push_back(std::move(spec));
    });
  }
  void add_name(Section& section, const YAML::Node& at, const std::string& name, const NodeId& id) {
    if (const auto [there, added] = file_.aliases.emplace(name, id); !added)
      section.error("duplicate_node", at, "node id or alias " + name + " stands for two nodes (case does not tell them apart); rename one");
  }

  void read_control(Section& top) {
    Section control(top.node("control").IsDefined() ? top.node("control") : YAML::Node(YAML::NodeType::Map), "control", out_);
    TopologySpec& spec = file_.spec;
    file_.voters_declared = control.has("voters");
    spec.voters = nodes_of(control, "voters");
    if (control.has("witness"))
      if (const auto witness = node_of(control, control.node("witness"), "control.witness")) spec.witness = *witness;
    if (!file_.voters_declared) default_voters();
    control.duration("lease_ttl", spec.lease.ttl);
    spec.lease.beat = spec.lease.ttl / 8;
    control.duration("beat_interval", spec.lease.beat);
    control.duration("fence_budget", spec.lease.fence_budget);
    read_drift(control);
    Duration report = std::chrono::milliseconds(spec.report_interval_ms);
    control.duration("report_interval", report);
    spec.report_interval_ms = static_cast<std::uint64_t>(to_ms(report));
    read_promotions(control);
    read_fencing(control);
    control.duration("log_sync", file_.log_sync);
    control.number("grpc_port", file_.grpc_port, 1, 65535);
    control.number("http_port", file_.http_port, 1, 65535);
    control.number("beat_port", file_.beat_port, 0, 65535);
    control.text("bind", file_.bind);
    if (!control.has("nats")) return;
    Section nats(control.node("nats"), "control.nats", out_);
    const std::pair<const char*, std::uint32_t*> ports[] = {
        {"client", &file_.nats.client}, {"route", &file_.nats.route}, {"leaf", &file_.nats.leaf}, {"monitor", &file_.nats.monitor},
        {"witness_client", &file_.nats.witness_client}, {"witness_route", &file_.nats.witness_route}, {"witness_monitor", &file_.nats.witness_monitor}};
    for (const auto& [key, port] : ports) nats.number(key, *port, 1, 65535);
    nats.size("max_file", file_.nats_max_file);
    if (nats.has("max_file")) file_.lines["control.nats.max_file"] = line_of(nats.node("max_file"));
    read_sync_interval(nats);
    read_restart(nats);
  }
  void read_sync_interval(Section& nats) {
    if (!nats.has("sync_interval")) return;
    file_.lines["control.nats.sync_interval"] = line_of(nats.node("sync_interval"));
    std::string how;
    nats.text("sync_interval", how);
    file_.nats_sync = how == "always" ? Duration{} : parse_duration(how).value_or(Duration{});
    if (how != "always" && (*file_.nats_sync < std::chrono::milliseconds(10) || *file_.nats_sync > std::chrono::minutes(10)))
      nats.error("wrong_type", nats.node("sync_interval"), "control.nats.sync_interval is " + how + "; it is always, or 10ms to 10m");
  }
  void read_restart(Section& nats) {
    if (!nats.has("restart")) return;
    Section one(nats.node("restart"), "control.nats.restart", out_);
    read_command(one, nats.node("restart"), file_.nats_restart.exec);
    read_within(one, "after", file_.nats_restart.after, std::chrono::seconds(5), "5s to 10m");
    read_within(one, "timeout", file_.nats_restart.timeout, std::chrono::seconds(1), "1s to 10m");
  }
  /// The core nodes, plus the first edge where that makes them odd.
  void default_voters() {
    for (const NodeSpec& node : file_.spec.nodes)
      if (node.role != NodeRole::kEdge) file_.spec.voters.push_back(node.id);
    if (file_.spec.voters.size() % 2 == 1) return;
    const auto edge = std::ranges::find(file_.spec.nodes, NodeRole::kEdge, &NodeSpec::role);
    if (edge == file_.spec.nodes.end()) return;
    file_.spec.voters.push_back(edge->id);
    if (file_.spec.witness.empty()) file_.spec.witness = edge->id;
  }
  void read_drift(Section& control) {
    std::string text;
    control.text("clock_drift", text);
    if (text.empty()) return;
    char* end = nullptr;
    const double percent = std::strtod(text.c_str(), &end);
    if (std::string(end) != "%" || percent < 0 || percent > 50)
      return control.error("wrong_type", control.node("clock_drift"), "control.clock_drift is " + text + "; write it like 1%, up to 50%");
    file_.spec.lease.drift_ppm = static_cast<std::uint32_t>(percent * 10'000 + 0.5);
  }
  void read_promotions(Section& control) {
    std::string text;
    control.text("max_promotions", text);
    if (text.empty()) return;
    unsigned count = 0;
    char window[32] = {};
    const auto parsed = std::sscanf(text.c_str(), "%u per %31s", &count, window) == 2 ? parse_duration(window) : std::nullopt;
    if (!parsed) return control.error("wrong_type", control.node("max_promotions"), "control.max_promotions is " + text + "; write it like 3 per 1h");
    if (count > kMaxPromotions)
      return control.error("wrong_type", control.node("max_promotions"), "control.max_promotions is " + text + "; at most " + std::to_string(kMaxPromotions) + " are remembered");
    file_.spec.max_promotions = count;
    file_.spec.promotion_window_s = static_cast<std::uint64_t>(to_ms(*parsed) / 1000);
  }

  /// No shell and no search: what is run must be plain from the file.
  void read_command(Section& section, const YAML::Node& at, std::string& exec) {
    section.text("exec", exec);
    if (exec.empty()) return section.error("missing_key", at, section.called("exec") + " is missing; give the absolute path of a command");
    if (exec.front() != '/') section.error("relative_command", section.node("exec"), section.called("exec") + " is " + exec + "; give an absolute path: no shell looks for it");
  }
  void read_within(Section& section, const char* key, Duration& value, Duration least, const char* range) {
    section.duration(key, value);
    if (value < least || value > std::chrono::minutes(10)) section.error("wrong_type", section.node(key), section.called(key) + " is out of range; it is " + range);
  }
  void read_fencing(Section& control) {
    if (!control.has("fencing")) return;
    Section one(control.node("fencing"), "control.fencing", out_);
    read_command(one, control.node("fencing"), file_.fencing.exec);
    read_within(one, "timeout", file_.fencing.timeout, std::chrono::seconds(1), "1s to 10m");
  }
  void read_notify(const YAML::Node& node) {
    Section one(node, "notify", out_);
    NotifySpec notify;
    static const std::vector<std::string> kEvents = log_event_names();
    one.list("on", [&](const YAML::Node& event) {
      const std::string name = event.IsScalar() ? event.Scalar() == "LogRegression" ? "LogRegressed" : event.Scalar() : "";
      if (std::ranges::find(kEvents, name) != kEvents.end()) return notify.on.push_back(name);
      const std::string near = nearest(name, std::set<std::string>(kEvents.begin(), kEvents.end()));
      one.error("unknown_event", event, "notify.on names " + (name.empty() ? "a list or nothing" : name) + ", which is no event of the log" +
                                            (near.empty() ? "; `daarionctl events` shows their names" : "; did you mean " + near + "?"));
    });
    if (!one.has("on")) one.error("missing_key", node, "notify.on is missing; name the events, e.g. [PromotionDecided, PromotionFailed]");
    read_command(one, node, notify.exec);
    file_.notify.push_back(std::move(notify));
  }

  void read_system(Section& top, const std::string& name, const YAML::Node& node) {
    const auto id = fold_id(top, node, name == "PostgreSQL" ? "postgres" : name);
    if (!id) return;
    Section one(node, "replication." + name, out_);
    DataSystem system;
    system.id = ResourceId(*id);
    system.line = line_of(node);
    system.engine = *id == "postgres" ? "postgresql" : *id;
    one.text("engine", system.engine);
    one.text("mode", system.mode);
    static const std::map<std::string, std::string> kModes = {{"primary-replica", "postgresql"}, {"sharded", "qdrant"}, {"causal-cluster", "neo4j"}, {"single", "neo4j"},
                                                              {"sentinel", "redis"}, {"managed", "redis"}, {"cache", "redis"}, {"supercluster", "nats"}};
    static const std::set<std::string> kEngines = {"postgresql", "redis", "qdrant", "neo4j", "nats"};
    if (!kEngines.contains(system.engine)) {
      const std::string near = nearest(system.engine, kEngines);
      one.error("unknown_engine", node, "replication." + name + " is no engine that is known" + (near.empty() ? "" : "; did you mean " + near + "?") +
                                            " (a second one of an engine: add `engine: postgresql`)");
    }
    const auto mode = kModes.find(system.mode);
    if (kEngines.contains(system.engine) && (mode == kModes.end() || mode->second != system.engine))
      one.error("unknown_mode", one.has("mode") ? one.node("mode") : node, "replication." + name + ".mode is " + (system.mode.empty() ? "missing" : system.mode) +
                                                  "; " + system.engine + " has " + modes_of(system.engine, kModes));
    NodeId primary;
    for (const char* key : {"primary", "master"})
      if (one.has(key))
        if (const auto found = node_of(one, one.node(key), one.called(key))) primary = *found;
    if (!primary.empty()) system.nodes.push_back(primary);
    for (const char* key : {"replicas", "nodes", "core_servers"})
      for (const NodeId& n : nodes_of(one, key)) {
        if (std::ranges::find(system.nodes, n) != system.nodes.end())
          one.error("node_twice", one.node(key), one.called(key) + " names " + n.value + ", which is there already; a node has one place");
        else
          system.nodes.push_back(n);
      }
    system.read_replicas = nodes_of(one, "read_replicas");
    one.number("shards", system.shards, 1, 10'000);
    one.number("replication_factor", system.replication_factor, 1, 100);
    one.number("sentinels", system.sentinels, 1, 15);
    SyncMode sync = SyncMode::kAsync;
    read_sync(one, sync);
    one.list("clusters", [&](const YAML::Node& cluster) {
      Section c(cluster, "replication." + name + ".clusters", out_);
      NatsClusterSpec spec;
      spec.line = line_of(cluster);
      c.text("name", spec.name);
      spec.nodes = nodes_of(c, "nodes");
      c.text("leafnode_to", spec.leafnode_to);
      system.clusters.push_back(std::move(spec));
    });
    ResourceSpec resource;
    resource.id = system.id;
    resource.engine = system.engine;
    resource.leased = system.engine == "postgresql" || system.mode == "managed";
    resource.declared_primary = primary;
    resource.members = system.nodes;
    resource.sync = sync;
    resource.port = system.engine == "postgresql" ? 5432 : system.engine == "redis" ? 6379 : system.engine == "qdrant" ? 6333 : system.engine == "neo4j" ? 7687 : 4222;
    file_.spec.resources.push_back(std::move(resource));
    file_.systems.push_back(std::move(system));
  }
  static std::string modes_of(const std::string& engine, const std::map<std::string, std::string>& modes) {
    std::string out;
    for (const auto& [mode, of] : modes)
      if (of == engine) out += (out.empty() ? "" : " and ") + mode;
    return out.empty() ? "none" : out;
  }
  /// "async (streaming)": the word before the bracket counts.
  void read_sync(Section& one, SyncMode& sync) {
    std::string text;
    one.text("sync", text);
    if (text.empty()) return;
    const std::string word = text.substr(0, text.find_first_of(" ("));
    if (word == "async") sync = SyncMode::kAsync;
    else if (word == "sync") sync = SyncMode::kSync;
    else if (word == "quorum") sync = SyncMode::kQuorum;
    else one.error("wrong_type", one.node("sync"), one.called("sync") + " is " + text + "; it is async, sync or quorum");
  }

  void read_resource(Section& top, const std::string& name, const YAML::Node& node) {
    const auto at = std::ranges::find(file_.spec.resources, ResourceId(name), &ResourceSpec::id);
    if (at == file_.spec.resources.end()) {
      std::set<std::string> names;
      for (const ResourceSpec& r : file_.spec.resources) names.insert(r.id.value);
      const std::string near = nearest(name, names);
      return top.error("unknown_resource", node, "resources." + name + " is not in replication" + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
    Section one(node, "resources." + name, out_);
    file_.lines["resources." + name] = line_of(node);
    one.text("engine", at->engine);
    one.number("port", at->port, 1, 65535);
    one.text("data_dir", at->data_dir);
    one.text("runner", at->runner);
    one.number("sentinel_port", file_.sentinel_port, 1, 65535);
    if (const auto system = std::ranges::find(file_.systems, at->id, &DataSystem::id); system != file_.systems.end()) {
      one.text("master_name", system->master_name);
      one.duration("down_after", system->down_after);
      one.duration("failover_timeout", system->failover_timeout);
      if (system->engine == "neo4j") {
        one.number("http_port", system->http_port, 1, 65535);
        read_dump(one, system->dump);
      }
    }
    if (one.has("max_lag")) {
      Section lag(one.node("max_lag"), "resources." + name + ".max_lag", out_);
      Duration time = std::chrono::milliseconds(at->max_lag.time_ms), staleness = std::chrono::milliseconds(at->max_lag.staleness_ms);
      lag.size("bytes", at->max_lag.bytes);
      lag.duration("time", time);
      lag.duration("staleness", staleness);
      at->max_lag.time_ms = static_cast<std::uint64_t>(to_ms(time));
      at->max_lag.staleness_ms = static_cast<std::uint64_t>(to_ms(staleness));
    }
    one.map("tags", [&](const std::string& node_name, const YAML::Node& tags) { read_tags(one, *at, node_name, tags); });
    read_role_callback(one, at->id);
  }
  void read_role_callback(Section& resource, const ResourceId& id) {
    if (!resource.has("on_role_change")) return;
    Section one(resource.node("on_role_change"), resource.called("on_role_change"), out_);
    RoleCallback callback{.resource = id, .exec = {}};
    read_command(one, resource.node("on_role_change"), callback.exec);
    one.duration("timeout", callback.timeout);
    if (callback.timeout < std::chrono::seconds(1) || callback.timeout > std::chrono::seconds(30))
      one.error("wrong_type", one.has("timeout") ? one.node("timeout") : resource.node("on_role_change"), one.called("timeout") + " is out of range; it is 1s to 30s: a planned stop waits for it");
    static const std::set<std::string> kModes = {"primary-replica", "managed", "sentinel", "causal-cluster"};
    const auto system = std::ranges::find(file_.systems, id, &DataSystem::id);
    if (system != file_.systems.end() && !kModes.contains(system->mode))
      one.error("no_roles", resource.node("on_role_change"), one.called("exec") + " would be told nothing: " + id.value + " has no primary that moves (mode " + system->mode + ")");
    file_.role_callbacks.push_back(std::move(callback));
  }
  void read_dump(Section& resource, DumpSpec& dump) {
    if (!resource.has("dump")) return;
    Section one(resource.node("dump"), resource.called("dump"), out_);
    read_command(one, resource.node("dump"), dump.exec);
    one.text("file", dump.file);
    one.duration("every", dump.every);
    // What is not said follows the period.
    if (dump.at >= dump.every) dump.at = {};
    dump.timeout = std::min(dump.timeout, dump.every / 2);
    one.duration("at", dump.at);
    one.duration("timeout", dump.timeout);
    dump.max_age = dump.every + dump.every / 4;
    one.duration("max_age", dump.max_age);
    const auto wrong = [&](const char* key, const std::string& text) {
      one.error("wrong_type", one.has(key) ? one.node(key) : resource.node("dump"), one.called(key) + " is out of range; " + text);
    };
    if (dump.every < std::chrono::minutes(10)) wrong("every", "it is 10m or longer: each may be an outage");
    if (dump.at >= dump.every) wrong("at", "it is less than `every`");
    if (dump.timeout < std::chrono::seconds(1) || dump.timeout > dump.every / 2) wrong("timeout", "it is 1s to half of `every`");
    if (dump.max_age <= dump.every) wrong("max_age", "it is more than `every`");
  }
  void read_tags(Section& one, ResourceSpec& resource, const std::string& name, const YAML::Node& node) {
    const auto id = file_.node_named(name);
    if (!id) return one.error("unknown_node", node, one.called("tags") + " names node " + name + ", which nodes does not have");
    Section section(node, one.called("tags") + "." + name, out_);
    ResourceTags& tags = resource.tags[*id];
    std::uint32_t priority = 100;
    section.number("priority", priority, 0, 1000);
    tags.priority = static_cast<std::int32_t>(priority);
    for (const auto& [key, flag] : {std::pair{"nofailover", &tags.nofailover}, std::pair{"noloadbalance", &tags.noloadbalance}}) {
      std::string text;
      section.text(key, text);
      if (text == "true") *flag = true;
      else if (!text.empty() && text != "false") section.error("wrong_type", section.node(key), section.called(key) + " is " + text + "; it is true or false");
    }
  }

  void read_route(const YAML::Node& node) {
    Section one(node, "routing", out_);
    RouteRule rule;
    one.text("rule", rule.name);
    one.list("subjects", [&](const YAML::Node& subject) { rule.subjects.push_back(subject.Scalar()); });
    std::string cls;
    one.text("class", cls);
    static const std::map<std::string, RouteClass> kClasses = {{"replicated", RouteClass::kReplicated}, {"node_local", RouteClass::kNodeLocal}, {"edge_local", RouteClass::kEdgeLocal}};
    if (const auto known = kClasses.find(cls); known != kClasses.end())
      rule.cls = known->second;
    else
      one.error("wrong_type", node, "routing rule " + rule.name + " has class " + (cls.empty() ? "missing" : cls) + "; it is replicated, node_local or edge_local");
    Duration age{};
    one.duration("max_age", age);
    rule.max_age_s = static_cast<std::uint64_t>(to_ms(age) / 1000);
    one.size("max_bytes", rule.max_bytes);
    one.text("service", rule.service);
    one.text("capability", rule.capability);
    one.number("replicas", rule.replicas, 1, 5);
    one.map("consumers", [&](const std::string& name, const YAML::Node& filter) { rule.consumers[name] = filter.Scalar(); });
    file_.lines["routing." + rule.name] = line_of(node);
    file_.spec.routes.push_back(std::move(rule));
  }

  ParsedFile& out_;
  ClusterFile& file_;
};

}  // namespace

std::string text_of(const Finding& f, const std::string& file) {
  const char* severity = f.severity == Severity::kError ? "error" : f.severity == Severity::kWarning ? "warning" : "note";
  return file + (f.line > 0 ? ":" + std::to_string(f.line) : "") + ": " + severity + ": " + f.message + " [" + f.rule + "]";
}

bool has_errors(const std::vector<Finding>& findings) {
  return std::ranges::any_of(findings, [](const Finding& f) { return f.severity == Severity::kError; });
}

std::optional<NodeId> ClusterFile::node_named(const std::string& name) const {
  const auto at = aliases.find(lower(name));
  return at == aliases.end() ? std::nullopt : std::optional(at->second);
}

int ClusterFile::line_of(const std::string& key) const {
  const auto at = lines.find(key);
  return at == lines.end() ? 0 : at->second;
}

std::vector<NodeId> sentinel_nodes(const ClusterFile& file, const DataSystem& system) {
  std::vector<NodeId> out = system.nodes;
  for (const NodeSpec& node : file.spec.nodes)
    if (std::ranges::find(out, node.id) == out.end()) out.push_back(node.id);
  out.resize(std::min<std::size_t>(out.size(), system.sentinels));
  return out;
}

std::string cluster_file_hash(const std::string& text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  std::string out = id_text(hash.high64, hash.low64);
  std::erase(out, '-');
  return out;
}

ParsedFile parse_cluster_file(const std::string& text) {
  ParsedFile out;
  out.file.hash = cluster_file_hash(text);
  try {
    FileReader(out).read(YAML::Load(text));
  } catch (const YAML::Exception& e) {  // yaml-cpp's own: the text is no YAML
    out.findings.push_back({Severity::kError, "malformed_yaml", e.mark.line + 1, "this is no YAML: " + e.msg + "; look at the indentation and brackets of this line"});
  }
  return out;
}

}  // namespace daarion
