#include "controlplane/api/route_desk.h"

#include "controlplane/api/lint_view.h"
#include "controlplane/api/names.h"
#include "controlplane/api/service_views.h"
#include "controlplane/api/views.h"
#include "controlplane/core/capability.h"
#include "controlplane/core/services.h"
#include "controlplane/core/subject.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {
namespace {

v1::RouteEntry entry_of(const RouteRule& rule) {
  v1::RouteEntry out;
  out.set_rule(rule.name);
  out.set_class_(class_text(rule.cls));
  for (const std::string& subject : rule.subjects) out.add_subjects(subject);
  if (rule.cls == RouteClass::kReplicated) {
    out.set_stream(stream_of(rule));
    out.set_mirror(mirror_of(rule));
  }
  out.set_service(rule.service);
  out.set_capability(rule.capability);
  out.set_max_age_s(rule.max_age_s);
  out.set_max_bytes(rule.max_bytes);
  for (const auto& [name, filter] : rule.consumers) {
    v1::RouteWorker& worker = *out.add_consumers();
    worker.set_name(name);
    worker.set_subjects(filter);
  }
  return out;
}

}  // namespace

v1::RouteTable route_table_of(const State& state) {
  v1::RouteTable out;
  out.set_schema_version(kViewSchema);
  out.set_cluster(state.topology.spec.cluster);
  out.set_log_id(to_text(state.log.log));
  if (const auto table = state.routes.find("table"); table != state.routes.end()) {
    out.set_version(table->second.version.value);
    out.set_sequence(table->second.changed.value);
    for (const RouteRule& rule : table->second.rules) *out.add_rules() = entry_of(rule);
  }
  const std::set<NodeId> retired = retired_in(state);
  for (const NodeSpec& node : state.topology.spec.nodes) {
    if (retired.contains(node.id)) continue;
    v1::RouteNode& to = *out.add_nodes();
    to.set_id(node.id.value);
    to.set_site(in_core(state.topology.spec, node.id) ? "core" : node.id.value);
    to.set_region(node.region);
  }
  for (const ServiceSpec& service : state.topology.spec.services) *out.add_services() = service_view(state, service);
  *out.mutable_capabilities() = std::move(*capability_list(state).mutable_capabilities());
  out.set_updated(routes_changed(state).value);
  out.set_regressed(state.log.newest_regression().value);
  return out;
}

Resolver& RouteDesk::resolver_of(const State& state) {
  std::set<NodeId> retired = retired_in(state);
  if (!resolver_ || topology_ != state.topology.sequence || file_hash_ != state.topology.file_hash || retired_ != retired) {
    resolver_ = std::make_unique<Resolver>(plan_of(state));
    topology_ = state.topology.sequence;
    file_hash_ = state.topology.file_hash;
    retired_ = std::move(retired);
  }
  return *resolver_;
}

Result<v1::Resolution> RouteDesk::resolve(const State& state, const std::string& subject, const std::string& from) {
  if (!is_subject(subject))
    return fail(Remedy::kFixInput, "resolve \"" + subject + "\": no message can be published under it; a subject has no empty token, no white space " +
                                       "and no wildcard");
  std::vector<std::string> known;
  for (const NodeSpec& node : state.topology.spec.nodes) known.push_back(node.id.value);
  const auto origin = fold_name("node", from, known, aliases_);
  if (!origin) return tl::unexpected(origin.error());
  const std::lock_guard lock(mutex_);
  const Resolution& r = resolver_of(state).resolve(subject, NodeId(*origin));
  v1::Resolution out;
  out.set_schema_version(kViewSchema);
  out.set_subject(subject);
  out.set_from(*origin);
  out.set_class_(class_text(r));
  out.set_rule(r.rule);
  out.set_stream(r.stream);
  out.set_mirror(r.mirror);
  for (const NodeId& node : r.nodes) out.add_nodes(node.value);
  out.set_service(r.service);
  if (const ServiceSpec* service = state.topology.spec.service(r.service)) {
    // What was measured is from this node to the others: of a message that is published elsewhere, it says nothing.
    const NodeId publisher(*origin);
    RoundTrips round_trips = round_trips_.contains(publisher) ? RoundTrips() : round_trips_;
    round_trips[publisher] = 0;
    const std::string& region = state.topology.spec.node(publisher)->region;
    for (const GeoNode& n : nearest_nodes(state, *service, region, round_trips)) out.add_service_nodes(n.node.value);
    for (const GeoNode& n : nearest_nodes(state, *service, region, round_trips, true)) out.add_service_readers(n.node.value);
  }
  out.set_capability(r.capability);
  if (!r.capability.empty()) out.set_provider(provider_now(state, r.capability));
  out.set_dead_letter(r.dead_letter);
  out.set_reason(r.reason);
  out.set_sequence(state.applied.value);
  return out;
}

void RouteDesk::measured(RoundTrips round_trips) {
  const std::lock_guard lock(mutex_);
  round_trips_ = std::move(round_trips);
}

Result<v1::GeoRoute> RouteDesk::route(const State& state, const std::string& service, const std::string& region, const std::string& from, bool reads) const {
  std::vector<std::string> known;
  for (const ServiceSpec& s : state.topology.spec.services)
    if (s.port != 0) known.push_back(s.name);
  const auto name = fold_name("service", service, known);
  if (!name) return tl::unexpected(name.error());
  RoundTrips round_trips;
  {
    const std::lock_guard lock(mutex_);
    round_trips = round_trips_;
  }
  round_trips[NodeId(from)] = 0;
  v1::GeoRoute out;
  out.set_schema_version(kViewSchema);
  out.set_service(*name);
  out.set_region(region);
  out.set_from(from);
  out.set_sequence(state.applied.value);
  for (const GeoNode& n : nearest_nodes(state, *state.topology.spec.service(*name), region, round_trips, reads)) {
    v1::GeoRouteNode& to = *out.add_nodes();
    to.set_node(n.node.value);
    to.set_address(n.address);
    to.set_port(n.port);
    to.set_region(n.region);
    to.set_health(text_of(n.health));
    if (n.rtt_ms) to.set_rtt_us(static_cast<std::uint64_t>(*n.rtt_ms * 1000));
  }
  return out;
}

v1::RoutePlan RouteDesk::plan(const State& state, const std::string& text) const {
  v1::RoutePlan out;
  const v1::LintResponse found = lint_view(text, false);
  for (const v1::LintFinding& finding : found.findings())
    if (finding.severity() == "error") *out.add_findings() = finding;
  if (!found.ok()) return out;
  const ParsedFile parsed = parse_cluster_file(text);
  const RoutePlan planned = plan_routes(parsed.file.spec, retired_in(state));
  for (const std::string& line : lines_of(diff_of(plan_of(state), planned))) out.add_changes(line);
  if (in_the_way_)
    for (const std::string& line : in_the_way_(planned)) out.add_changes(line);
  return out;
}

}  // namespace daarion
