#include "controlplane/core/routing.h"

#include <algorithm>

#include "controlplane/core/state.h"
#include "controlplane/core/subject.h"

namespace daarion {
namespace {

constexpr std::uint32_t kReplicas = 3;  // survive one loss; more servers than these do not make a write safer, only slower

bool has(const std::vector<NodeId>& nodes, const NodeId& node) { return std::ranges::find(nodes, node) != nodes.end(); }

void add_once(std::vector<std::string>& to, std::string text) {
  if (std::ranges::find(to, text) == to.end()) to.push_back(std::move(text));
}

std::uint32_t replicas_of(const RoutePlan& plan, const RouteRule& rule) {
  if (rule.replicas != 0) return rule.replicas;
  return plan.core_servers >= kReplicas ? kReplicas : 1;
}

/// `edges`: the plan's.
StreamPlan core_stream(const RoutePlan& plan, const RouteRule& rule, const NodeList& edges) {
  return {.name = stream_of(rule), .subjects = rule.subjects, .sources = edges, .rule_stream = stream_of(rule), .mirror = false,
          .replicas = replicas_of(plan, rule), .max_age_s = rule.max_age_s, .max_bytes = rule.max_bytes, .consumers = rule.consumers};
}

StreamPlan captured_on(const RouteRule& rule, const NodeId& edge) {
  return {.name = edge_stream_of(rule, edge), .subjects = rule.subjects, .sources = {}, .rule_stream = stream_of(rule), .mirror = false,
          .replicas = 1, .max_age_s = rule.max_age_s, .max_bytes = rule.max_bytes, .consumers = {}};
}

StreamPlan mirrored(const RouteRule& rule) {
  return {.name = mirror_of(rule), .subjects = {}, .sources = {}, .rule_stream = stream_of(rule), .mirror = true,
          .replicas = 1, .max_age_s = rule.max_age_s, .max_bytes = rule.max_bytes, .consumers = {}};
}

std::string joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += (out.empty() ? "" : ", ") + text;
  return out;
}

std::string names(const std::vector<NodeId>& nodes) {
  std::string out;
  for (const NodeId& node : nodes) out += (out.empty() ? "" : ", ") + node.value;
  return out;
}

template <class T>
std::vector<T> missing_in(const std::vector<T>& from, const std::vector<T>& other) {
  const std::set<T> there(other.begin(), other.end());
  std::vector<T> out;
  for (const T& item : from)
    if (!there.contains(item)) out.push_back(item);
  return out;
}

std::string differences(const RouteRule& from, const RouteRule& to) {
  std::string out;
  const auto say = [&](const std::string& what) { out += (out.empty() ? "" : "; ") + what; };
  if (from.subjects != to.subjects) say("captures " + joined(to.subjects) + ", not " + joined(from.subjects));
  if (from.max_age_s != to.max_age_s) say("max_age " + std::to_string(to.max_age_s) + " s, not " + std::to_string(from.max_age_s) + " s");
  if (from.max_bytes != to.max_bytes) say("max_bytes " + std::to_string(to.max_bytes) + ", not " + std::to_string(from.max_bytes));
  if (from.replicas != to.replicas) say("replicas " + std::to_string(to.replicas) + ", not " + std::to_string(from.replicas));
  if (from.consumers != to.consumers) say("other consumers");
  return out;
}

/// What a change of the set of edges means for a core stream; empty: nothing.
std::string source_changes(const std::vector<NodeId>& joined_edges, const std::vector<NodeId>& left_edges) {
  std::string out;
  if (!joined_edges.empty()) out += "also sources " + names(joined_edges);
  if (!left_edges.empty()) out += (out.empty() ? "" : "; ") + ("sources " + names(left_edges) + " no more");
  return out;
}

class Differ {
 public:
  Differ(const RoutePlan& from, const RoutePlan& to) : from_(from), to_(to), from_edges_(from.edges), to_edges_(to.edges) {}

  PlanDiff run() {
    edges_joined_ = missing_in(to_.edges, from_.edges);
    edges_left_ = missing_in(from_.edges, to_.edges);
    out_.streams.reserve(to_.table.size() * (1 + 2 * edges_joined_.size()));
    std::map<std::string, const RouteRule*> old;
    for (const RouteRule& rule : from_.table)
      if (rule.cls == RouteClass::kReplicated) old[rule.name] = &rule;
    for (const RouteRule& rule : to_.table) {
      if (rule.cls != RouteClass::kReplicated) continue;
      const auto was = old.find(rule.name);
      if (was == old.end()) {
        everywhere(Kind::kCreate, to_, to_edges_, rule);
      } else {
        compare(*was->second, rule);
        old.erase(was);
      }
    }
    for (const RouteRule& rule : from_.table)
      if (old.contains(rule.name)) everywhere(Kind::kRetire, from_, from_edges_, rule);
    out_.leaf_added = missing_in(to_.leaf_denies, from_.leaf_denies);
    out_.leaf_removed = missing_in(from_.leaf_denies, to_.leaf_denies);
    out_.route_added = missing_in(to_.route_denies, from_.route_denies);
    out_.route_removed = missing_in(from_.route_denies, to_.route_denies);
    out_.joined = missing_in(members(to_), members(from_));
    out_.left = missing_in(members(from_), members(to_));
    out_.clients = from_.local != to_.local || (!to_.local.empty() && (!out_.joined.empty() || !out_.left.empty()));
    return std::move(out_);
  }

 private:
  using Kind = PlanChange::Kind;

  static std::vector<NodeId> members(const RoutePlan& plan) {
    std::vector<NodeId> out = plan.core;
    out.insert(out.end(), plan.edges.begin(), plan.edges.end());
    return out;
  }
  void add(Kind kind, const NodeId& edge, StreamPlan stream, std::string what = {}) {
    out_.streams.push_back({kind, edge, std::move(stream), std::move(what)});
  }
  void on_edge(Kind kind, const NodeId& edge, const RouteRule& rule, const std::string& what = {}) {
    add(kind, edge, captured_on(rule, edge), what);
    add(kind, edge, mirrored(rule), what);
  }
  void everywhere(Kind kind, const RoutePlan& plan, const NodeList& edges, const RouteRule& rule) {
    add(kind, {}, core_stream(plan, rule, edges));
    for (const NodeId& edge : plan.edges) on_edge(kind, edge, rule);
  }
  void compare(const RouteRule& was, const RouteRule& rule) {
    const std::string settings = differences(was, rule);
    std::string what = settings;
    if (const std::string sources = source_changes(edges_joined_, edges_left_); !sources.empty()) what += (what.empty() ? "" : "; ") + sources;
    if (what.empty() && replicas_of(from_, was) != replicas_of(to_, rule)) what = "replicas " + std::to_string(replicas_of(to_, rule));
    if (!what.empty()) add(Kind::kChange, {}, core_stream(to_, rule, to_edges_), what);
    for (const NodeId& edge : edges_left_) on_edge(Kind::kRetire, edge, was);
    for (const NodeId& edge : edges_joined_) on_edge(Kind::kCreate, edge, rule);
    if (settings.empty()) return;
    for (const NodeId& edge : to_.edges)
      if (!has(edges_joined_, edge)) on_edge(Kind::kChange, edge, rule, settings);
  }

  const RoutePlan& from_;
  const RoutePlan& to_;
  const NodeList from_edges_, to_edges_;
  std::vector<NodeId> edges_joined_, edges_left_;
  PlanDiff out_;
};

}  // namespace

bool RoutePlan::is_edge(const NodeId& node) const { return has(edges, node); }
bool RoutePlan::is_member(const NodeId& node) const { return has(core, node) || has(edges, node); }

bool in_core(const TopologySpec& spec, const NodeId& node) { return node != spec.witness && has(spec.voters, node); }

std::set<NodeId> retired_in(const State& state) {
  std::set<NodeId> out;
  for (const auto& [node, member] : state.members)
    if (member.intent == MemberIntent::kRetired) out.insert(node);
  return out;
}

RoutePlan plan_routes(const TopologySpec& spec, const std::set<NodeId>& retired) {
  RoutePlan plan;
  plan.core_servers = static_cast<std::uint32_t>(spec.voters.size());
  std::vector<NodeId> members;
  for (const NodeSpec& node : spec.nodes) {
    if (retired.contains(node.id)) continue;
    members.push_back(node.id);
    (in_core(spec, node.id) ? plan.core : plan.edges).push_back(node.id);
  }
  plan.leaf_denies.push_back(kOwnOfEachSite);
  plan.table.reserve(spec.routes.size());
  for (const RouteRule& declared : spec.routes) {
    RouteRule& rule = plan.table.emplace_back(declared);
    rule.subjects.clear();
    for (const std::string& subject : declared.subjects) {
      const std::string meant = as_prefix(subject);
      // Of any node, members or not: a node that joins is local before anybody heard of it.
      const std::string anywhere = with_node(meant, "*");
      plan.leaf_denies.push_back(anywhere);
      if (rule.cls != RouteClass::kNodeLocal) {
        rule.subjects.push_back(meant);
        continue;
      }
      add_once(plan.route_denies, anywhere);
      plan.local.push_back(meant);
      for (const NodeId& node : members) rule.subjects.push_back(with_node(meant, node.value));
    }
    for (auto& [name, filter] : rule.consumers) filter = as_prefix(filter);
  }
  return plan;
}

RoutePlan plan_of(const State& state) { return plan_routes(state.topology.spec, retired_in(state)); }

std::string stream_of(const RouteRule& rule) {
  std::string out = rule.name;
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}
std::string edge_stream_of(const std::string& rule_stream, const NodeId& edge) { return rule_stream + "_" + edge.value; }
std::string edge_stream_of(const RouteRule& rule, const NodeId& edge) { return edge_stream_of(stream_of(rule), edge); }
std::string mirror_of(const RouteRule& rule) { return stream_of(rule) + "_MIRROR"; }

std::vector<StreamPlan> core_streams(const RoutePlan& plan) {
  std::vector<StreamPlan> out;
  const NodeList edges(plan.edges);
  for (const RouteRule& rule : plan.table)
    if (rule.cls == RouteClass::kReplicated) out.push_back(core_stream(plan, rule, edges));
  return out;
}

std::vector<StreamPlan> edge_streams(const RoutePlan& plan, const NodeId& edge) {
  std::vector<StreamPlan> out;
  for (const RouteRule& rule : plan.table) {
    if (rule.cls != RouteClass::kReplicated) continue;
    out.push_back(captured_on(rule, edge));
    out.push_back(mirrored(rule));
  }
  return out;
}

std::vector<std::string> client_denies(const RoutePlan& plan, const NodeId& node) {
  std::vector<std::string> out;
  for (const std::string& pattern : plan.local)
    for (const auto* site : {&plan.core, &plan.edges})
      for (const NodeId& other : *site)
        if (other != node) out.push_back(with_node(pattern, other.value));
  return out;
}

PlanDiff diff_of(const RoutePlan& from, const RoutePlan& to) { return Differ(from, to).run(); }

std::vector<std::string> lines_of(const PlanDiff& diff) {
  std::vector<std::string> out;
  for (const NodeId& node : diff.joined) out.push_back("+ node " + node.value);
  for (const NodeId& node : diff.left) out.push_back("- node " + node.value);
  for (const PlanChange& c : diff.streams) {
    const std::string where = c.edge.empty() ? "core" : c.edge.value;
    const std::string what = c.stream.mirror ? "mirrors " + c.stream.rule_stream : "captures " + joined(c.stream.subjects);
    if (c.kind == PlanChange::Kind::kCreate) out.push_back("+ " + where + ": stream " + c.stream.name + " " + what);
    if (c.kind == PlanChange::Kind::kChange) out.push_back("~ " + where + ": stream " + c.stream.name + ": " + c.what);
    if (c.kind == PlanChange::Kind::kRetire) out.push_back("- " + where + ": stream " + c.stream.name + ": no rule asks for it; it is kept");
  }
  for (const std::string& p : diff.leaf_added) out.push_back("+ leaf links deny " + p);
  for (const std::string& p : diff.leaf_removed) out.push_back("- leaf links deny " + p);
  for (const std::string& p : diff.route_added) out.push_back("+ routes deny " + p);
  for (const std::string& p : diff.route_removed) out.push_back("- routes deny " + p);
  // A leaf link takes its denies up when its server starts: until then both sites would store what the new rule takes.
  if (!diff.leaf_added.empty() || !diff.leaf_removed.empty()) out.push_back("! restart the edges' nats-servers for what leaf links deny; a reload does not take it up");
  if (diff.clients) out.push_back("~ what clients are denied that is local to another node");
  return out;
}

}  // namespace daarion
