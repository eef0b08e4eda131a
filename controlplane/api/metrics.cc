#include "controlplane/api/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

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
  f.family("lease_margin_min_ms", "Closest that this node's guards came to their deadline, in this run.");
  if (s.has_lease_margin_min_ms()) f.sample(static_cast<double>(s.lease_margin_min_ms()));
  f.family("waits", "Named waits of this node; `daarionctl status` says for what.").sample(s.waits_size());
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
  f.family("resource_problems", "Where the engine elects by itself: what is not as declared; `daarionctl resource` says what.");
  for (const v1::ResourceStatus& r : s.resources())
    if (!r.elected_by().empty()) f.sample(r.problems_size(), {{"resource", r.id()}});
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
  f.family("resource_loss_if_holder_dies_bytes", "Announced bound if its holder died now; no sample if nobody would be promoted.");
  for (const v1::ResourceStatus& r : s.resources())
    if (r.if_holder_dies().has_to()) f.sample(static_cast<double>(r.if_holder_dies().loss_bytes()), {{"resource", r.id()}});
  f.family("replica_lag_bytes", "Behind its primary's last known position.");
  for (const v1::ResourceStatus& r : s.resources())
    for (const v1::ReplicaView& v : r.replicas())
      if (r.elected_by().empty() || v.lag_known()) f.sample(static_cast<double>(v.lag_bytes()), {{"resource", r.id()}, {"replica", v.node()}});
  f.family("replica_lag_ms", "How long it has not caught up.");
  for (const v1::ResourceStatus& r : s.resources())
    for (const v1::ReplicaView& v : r.replicas())
      if (r.elected_by().empty() || v.lag_known()) f.sample(static_cast<double>(v.lag_ms()), {{"resource", r.id()}, {"replica", v.node()}});
}

}  // namespace

std::string metrics_text(const StatusView& view) {
  Families families;
  of_cluster(*view.status, families);
  of_resources(*view.status, families);
  return families.text();
}

}  // namespace daarion
