#include "controlplane/api/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "controlplane/core/capability.h"
#include "controlplane/core/services.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

class Families {
 public:
  /// Starts the next family; samples follow. One without samples is shown nowhere: absent is "not known", 0 is a value.
  Families& family(const char* name, const char* help) {
    out_.push_back({.name = std::string("daarion_") + name, .help = help, .type = prometheus::MetricType::Gauge, .metric = {}});
    return *this;
  }
  Families& sample(double value, std::vector<ClientMetric::Label> labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    out_.back().metric.push_back(std::move(metric));
    return *this;
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(out_); }

 private:
  std::vector<MetricFamily> out_;
};

void of_cluster(const v1::Status& s, Families& f) {
  f.family("info", "Constant 1; what this node is.")
      .sample(1, {{"cluster", s.cluster()}, {"node", s.node()}, {"log_id", s.log_id()}, {"feature_level", std::to_string(s.feature_level())}});
  f.family("sequence", "Last event of the log that this node folded.").sample(static_cast<double>(s.sequence()));
  f.family("ready", "1 if folded to the head heard in beats and not draining.").sample(s.ready());
  f.family("degraded", "1 if status is degraded.").sample(s.status() == "degraded");
  f.family("quorum_voters", "Voters of the present set.").sample(s.quorum().voters());
  f.family("quorum_reachable", "Voters heard within one lease.").sample(s.quorum().reachable());
  f.family("quorum_failure_tolerance", "Voters that may still be lost.").sample(s.quorum().failure_tolerance());
  f.family("stale_ms", "Since this node last heard a majority of the voters: what it says of the others is at least as old.").sample(static_cast<double>(s.stale_ms()));
  f.family("lease_margin_min_ms", "Closest that this node's guards came to their deadline, in this run.");
  if (s.has_lease_margin_min_ms()) f.sample(static_cast<double>(s.lease_margin_min_ms()));
  f.family("waits", "Named waits of this node; `daarionctl status` says for what.").sample(static_cast<double>(std::ranges::count(s.waits(), s.node(), [](const v1::WaitStatus& w) { return w.node(); })));
  f.family("warnings", "Warnings in the status.").sample(s.warnings_size());
  f.family("digest_disagreements", "Nodes whose digest differed from this one's at the same sequence.").sample(s.disagreeing_size());
  f.family("log_regressions", "How often the log was found to have lost events; the newest 16 at most.").sample(s.log_regressions());
  f.family("node_silence_ms", "Since this node last heard the other's beat.");
  for (const v1::NodeStatus& n : s.nodes()) f.sample(static_cast<double>(n.age_ms()), {{"peer", n.id()}});
  f.family("node_reachable", "1 if heard within one lease.");
  for (const v1::NodeStatus& n : s.nodes()) f.sample(n.state() == "reachable", {{"peer", n.id()}});
}

void of_resources(const v1::Status& s, Families& f) {
  f.family("resource_epoch", "Fencing token: rises with every holder.");
  for (const v1::ResourceStatus& r : s.resources())
    if (r.elected_by().empty()) f.sample(static_cast<double>(r.epoch()), {{"resource", r.id()}});
  f.family("resource_election", "Where the engine elects by itself: its own count of its elections.");
  for (const v1::ResourceStatus& r : s.resources())
    if (!r.elected_by().empty()) f.sample(static_cast<double>(r.election()), {{"resource", r.id()}});
  f.family("resource_problems", "What is not as it should be; `daarionctl resource` says what.");
  for (const v1::ResourceStatus& r : s.resources())
    f.sample(r.problems_size(), {{"resource", r.id()}});
  f.family("resource_writable", "1 if its holder is heard and its engine is open for writing.");
  for (const v1::ResourceStatus& r : s.resources()) f.sample(r.writable(), {{"resource", r.id()}});
  f.family("resource_paused", "1 if automatic failover is off.");
  for (const v1::ResourceStatus& r : s.resources()) f.sample(r.paused(), {{"resource", r.id()}});
  f.family("resource_holder", "1 for the node that holds it; no sample while nobody does.");
  for (const v1::ResourceStatus& r : s.resources())
    if (r.has_holder()) f.sample(1, {{"resource", r.id()}, {"holder", r.holder()}});
  f.family("resource_candidates", "Replicas that could be promoted now.");
  for (const v1::ResourceStatus& r : s.resources())
    if (r.elected_by().empty()) f.sample(static_cast<double>(std::ranges::count_if(r.replicas(), [](const v1::ReplicaView& v) { return v.candidate(); })), {{"resource", r.id()}});
  f.family("resource_loss_if_holder_dies_bytes", "Announced bound if its holder died now; no sample if nobody would be promoted, or if nobody heard how far it wrote.");
  for (const v1::ResourceStatus& r : s.resources())
    if (r.if_holder_dies().has_to() && !r.if_holder_dies().loss_unknown()) f.sample(static_cast<double>(r.if_holder_dies().loss_bytes()), {{"resource", r.id()}});
  f.family("replica_lag_bytes", "Behind its primary's last known position.");
  for (const v1::ResourceStatus& r : s.resources())
    for (const v1::ReplicaView& v : r.replicas())
      if (r.elected_by().empty() || (v.lag_known() && !v.has_lag_transactions())) f.sample(static_cast<double>(v.lag_bytes()), {{"resource", r.id()}, {"replica", v.node()}});
  f.family("replica_lag_transactions", "The same, of an engine that counts transactions.");
  for (const v1::ResourceStatus& r : s.resources())
    for (const v1::ReplicaView& v : r.replicas())
      if (v.has_lag_transactions()) f.sample(static_cast<double>(v.lag_transactions()), {{"resource", r.id()}, {"replica", v.node()}});
  f.family("replica_lag_ms", "How long it has not caught up.");
  for (const v1::ResourceStatus& r : s.resources())
    for (const v1::ReplicaView& v : r.replicas())
      if (r.elected_by().empty() || v.lag_known()) f.sample(static_cast<double>(v.lag_ms()), {{"resource", r.id()}, {"replica", v.node()}});
}

void of_services(const State& state, Families& f) {
  std::vector<std::pair<std::string, std::vector<PlaceView>>> services;
  for (const ServiceSpec& spec : state.topology.spec.services) services.emplace_back(spec.name, places_of(state, spec));
  const auto each_place = [&](auto&& value) {
    for (const auto& [name, places] : services)
      for (const PlaceView& p : places)
        if (const std::optional<bool> v = value(p)) f.sample(*v, {{"service", name}, {"member", p.node.value}});
  };
  f.family("service_active", "1 on the nodes where the service is active, as the log says; 0 where it stands by, reads or is off.");
  each_place([](const PlaceView& p) -> std::optional<bool> { return p.role == ServiceRole::kActive; });
  f.family("service_healthy", "1 if its own node found it healthy; no sample while nothing is known.");
  each_place([](const PlaceView& p) { return p.health == Health::kUnknown ? std::nullopt : std::optional<bool>(p.health == Health::kHealthy); });
  f.family("service_check_broken", "1 if its check itself is wrong, so that nobody knows how it is.");
  each_place([](const PlaceView& p) -> std::optional<bool> { return p.check_broken; });
  f.family("service_flapping", "1 while it is held down because it came and went.");
  each_place([](const PlaceView& p) -> std::optional<bool> { return p.flapping; });
  f.family("service_routed", "Nodes that its requests can go to.");
  for (const auto& [name, places] : services) f.sample(static_cast<double>(routed(places).size()), {{"service", name}});
  f.family("service_moved_sequence", "The event that moved it last; 0: it is as declared.");
  for (const auto& [name, places] : services) {
    const auto moved = state.services.find(ResourceId(name));
    f.sample(moved == state.services.end() ? 0 : static_cast<double>(moved->second.changed.value), {{"service", name}});
  }
  std::vector<std::pair<std::vector<ClientMetric::Label>, std::string>> provided;  // as decided; before that it has no sample
  for (const auto& [name, chain] : state.topology.spec.capabilities)
    if (const auto said = state.routes.find(name); said != state.routes.end() && said->second.changed.value != 0) {
      const auto [capability, agent] = split_capability(name);
      provided.push_back({{{"capability", capability}, {"agent", agent}}, said->second.provider});
    }
  f.family("capability_provided", "1 if somebody provides it; no sample before that was decided.");
  for (const auto& [labels, provider] : provided) f.sample(!provider.empty(), labels);
  f.family("capability_provider", "1 for who provides it.");
  for (auto& [labels, provider] : provided) {
    if (provider.empty()) continue;
    labels.push_back({"provider", provider});
    f.sample(1, labels);
  }
}

void of_copies(const std::vector<CopyView>& copies, Families& f) {
  f.family("route_behind_messages", "What a mirror on this edge, or a source of the core, has not taken of its origin yet; no sample while that does not answer.");
  for (const CopyView& c : copies)
    if (c.behind) f.sample(static_cast<double>(*c.behind), {{"stream", c.stream}, {"origin", c.origin}, {"edge", c.edge.value}});
  f.family("route_stands_still", "1 if it takes nothing more although there is something.");
  for (const CopyView& c : copies)
    if (c.behind) f.sample(c.stands_still, {{"stream", c.stream}, {"origin", c.origin}, {"edge", c.edge.value}});
}

}  // namespace

std::string metrics_text(const StatusView& view) {
  Families families;
  of_cluster(*view.status, families);
  of_resources(*view.status, families);
  of_services(*view.state, families);
  of_copies(view.copies, families);
  return families.text();
}

}  // namespace daarion
