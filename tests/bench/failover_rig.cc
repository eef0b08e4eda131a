#include "tests/bench/failover_rig.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "controlplane/api/event_line.h"
#include "controlplane/api/views.h"
#include "controlplane/node/clock.h"
#include "tests/harness/stalls.h"

namespace daarion::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Failed;
using test::need;

constexpr Duration kSettled = seconds(90);
constexpr Duration kWrites = seconds(30);
constexpr double kStopLimitMs = 200;        // INTERFACES: a longer stop of the whole machine makes a run void
constexpr int kTries = 5;

// A Redis is back within tens of ms: rows 5 ms apart would measure the writer.
constexpr Duration kRedisEvery = milliseconds(1);

test::ScratchCluster make_cluster(const std::string& resource) {
  return need(test::ScratchCluster::make(3, [](const std::string& line) { std::printf("%s\n", line.c_str()); }, "64 per 1s", false, "postgres", {resource}));
}

}  // namespace

Rig::Rig(std::string resource) : resource_(std::move(resource)), cluster_(make_cluster(resource_)) {
  need(cluster_->start_all());
  const auto view = need(cluster_->await_settled(kSettled));
  if (resource_ == kPostgres) {
    const NodeId holder(view.holder_of(kPostgres));
    need(test::make_probe_table(*cluster_, holder));
  }
  fresh_writers();
}

std::unique_ptr<dev::ProbeWriter> Rig::make_writer(const NodeId& node) {
  const std::string name = node.value + "-" + std::to_string(generation_);
  if (resource_ == kPostgres) return std::make_unique<dev::ProbeWriter>(cluster_->application(node), name);
  return std::make_unique<dev::ProbeWriter>(dev::probe_of(cluster_->redis_application(node)), name, kRedisEvery);
}

void Rig::fresh_writers() {
  writers_.clear();
  ++generation_;
  for (const char* node : {"node1", "node2"}) writers_.push_back(make_writer(NodeId(node)));
}

NodeId Rig::settle() {
  const auto view = need(cluster_->await_settled(kSettled));
  const NodeId holder(view.holder_of(resource_));
  const std::size_t rows = writer(holder).count();
  need(cluster_->await_that("rows acknowledged by " + holder.value, kWrites, cluster_->log_of(holder, dev::Part::kDaemon),
                            [&] { return writer(holder).count() >= rows + kWarmRows; }));
  return holder;
}

NodeId Rig::other(const NodeId& node) const { return NodeId(node.value == "node1" ? "node2" : "node1"); }
NodeId Rig::bystander(const NodeId& node) const { return NodeId(node.value == "node3" ? "node1" : "node3"); }
dev::ProbeWriter& Rig::writer(const NodeId& node) { return *writers_[node.value == "node1" ? 0 : 1]; }

std::vector<const dev::ProbeWriter*> Rig::writers() const {
  std::vector<const dev::ProbeWriter*> out;
  for (const auto& w : writers_) out.push_back(w.get());
  return out;
}

Instant Rig::first_row(const NodeId& one, Instant from_one, const NodeId& two, Instant from_two) {
  Instant first = kNever;
  need(cluster_->await_that("the first row after it", kWrites, cluster_->log_of(NodeId("node3"), dev::Part::kDaemon), [&] {
    first = std::min(writer(one).first_after(from_one), writer(two).first_after(from_two));
    return first != kNever;
  }));
  return first;
}

Instant Rig::first_write_after(Instant from) { return first_row(NodeId("node1"), from, NodeId("node2"), from); }
Instant Rig::first_write_after_kill(const NodeId& holder, Instant killed) { return first_row(holder, node_now(), other(holder), killed); }

std::size_t Rig::missing_rows(const NodeId& holder) {
  std::size_t missing = 0;
  for (const auto& w : writers_)
    missing += resource_ == kPostgres ? need(dev::missing_rows(cluster_->application(holder), *w, seconds(10))).size()
                                      : need(dev::missing_rows(cluster_->redis_application(holder), *w, seconds(10))).size();
  return missing;
}

Sequence Rig::head(const NodeId& at) { return Sequence{need(cluster_->view(at)).sequence}; }

std::vector<LogEvent> Rig::log_since(Sequence from, const NodeId& avoid, const NodeId& ask) {
  return need(test::read_log(*cluster_, from, head(ask), avoid)).events;
}

void Rig::tell_since(Sequence from) {
  for (const LogEvent& e : log_since(from, NodeId(), NodeId("node3"))) std::printf("  %s", event_line(view_of(e, log_subject(e.event.header.aggregate, e.event.header.version))).c_str());
}

double Rig::fair(const std::function<double()>& measure) {
  for (int i = 0; i < kTries; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const double value = measure();
    const double stop = double(test::longest_stall(began).count());
    if (stop <= kStopLimitMs) {
      stall_max_ms_ = std::max(stall_max_ms_, stop);
      return value;
    }
    std::printf("  the machine stopped for %.0f ms: again\n", stop);
    ++repeated_;
  }
  throw Failed{"the machine stopped for more than 200 ms in each of five runs: it is not fit for this bench now"};
}

}  // namespace daarion::bench
