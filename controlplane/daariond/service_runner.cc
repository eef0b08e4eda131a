#include "controlplane/daariond/service_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controlplane/daariond/hook.h"
#include "controlplane/health/probe.h"

namespace daarion {
namespace {

constexpr std::size_t kJobs = 64;
constexpr int kSooner = 5;  // a look that differs from those before is made again after this part of the interval

}  // namespace

/// One service of this node.
struct ServiceRunner::Worker {
  ServiceSpec spec;
  std::string address;
  Mailbox<Job> jobs{kJobs};
  std::atomic<bool> done = false;
  std::thread thread;
};

ServiceRunner::ServiceRunner(BesidePorts ports)
    : self_(ports.self),
      core_(std::move(ports), "services",
            {.folded =
                 [this](const State& state, ServiceCore& core) {
                   if (state.topology.sequence == topology_) return;
                   topology_ = state.topology.sequence;
                   const NodeSpec* self = state.topology.spec.node(self_);
                   staff(core.own(), self == nullptr ? "127.0.0.1" : self->address);
                 },
             .perform = [this](ServiceOutput output) { perform(std::move(output)); }}) {}

ServiceRunner::~ServiceRunner() {
  core_.end();
  for (auto& [name, worker] : workers_) leaving_.push_back(std::move(worker));
  for (auto& worker : leaving_) worker->jobs.close();
  for (auto& worker : leaving_) worker->thread.join();
}

/// A worker for each service of this node; one whose service is declared otherwise now is replaced.
void ServiceRunner::staff(const std::vector<ServiceSpec>& specs, const std::string& address) {
  for (auto& [name, worker] : workers_) {
    const auto at = std::ranges::find(specs, name, &ServiceSpec::name);
    if (at != specs.end() && *at == worker->spec && worker->address == address) continue;
    worker->jobs.close();
    leaving_.push_back(std::move(worker));
  }
  std::erase_if(workers_, [](const auto& entry) { return entry.second == nullptr; });
  for (auto& worker : leaving_)
    if (worker->done) worker->thread.join();
  std::erase_if(leaving_, [](const auto& worker) { return !worker->thread.joinable(); });
  for (const ServiceSpec& spec : specs) {
    std::unique_ptr<Worker>& worker = workers_[spec.name];
    if (worker) continue;
    worker = std::make_unique<Worker>();
    worker->spec = spec;
    worker->address = address;
    worker->thread = std::thread([this, w = worker.get()] { work(*w); });
  }
}

void ServiceRunner::perform(ServiceOutput output) {
  const auto give = [this](const std::string& service, Job job) {
    const auto worker = workers_.find(service);
    return worker != workers_.end() && worker->second->jobs.push(job);
  };
  if (const auto* hook = std::get_if<RunServiceHook>(&output)) {
    if (!give(hook->service, hook->start ? Job::kStart : Job::kStop)) core_.post(ServiceHookEnded{hook->service, hook->start, false, "this service is being set up"});
  } else if (const auto* soon = std::get_if<LookSoon>(&output)) {
    give(soon->service, Job::kLook);
  }
}

void ServiceRunner::work(Worker& worker) {
  const Duration interval = worker.spec.check.interval;
  Instant next = node_now();
  while (!worker.jobs.closed()) {
    const auto job = worker.jobs.pop(std::max(Duration{}, next - node_now()));
    if (worker.jobs.closed()) break;
    if (job == Job::kStart || job == Job::kStop) {
      run_hook_of(worker, *job == Job::kStart);
      next = node_now();
    } else if (job == Job::kLook) {
      next = std::min(next, node_now() + interval / kSooner);
    }
    if (node_now() < next) continue;
    const Instant begun = node_now();
    core_.post(ServiceLooked{worker.spec.name, look_at(worker.spec, worker.address, {"DAARION_NODE=" + self_.value, "DAARION_SERVICE=" + worker.spec.name})});
    next = std::max(begun + interval, node_now());
  }
  worker.done = true;
}

void ServiceRunner::run_hook_of(Worker& worker, bool start) {
  const std::string& exec = start ? worker.spec.start : worker.spec.stop;
  spdlog::info("service {}: {} here: running {}", worker.spec.name, start ? "active" : "no more active", exec);
  const auto done = run_hook({.exec = exec, .argument = worker.spec.name, .limit = worker.spec.hook_limit,
                              .environment = {"DAARION_NODE=" + self_.value, "DAARION_SERVICE=" + worker.spec.name,
                                              "DAARION_PORT=" + std::to_string(worker.spec.port), std::string("DAARION_STATE=") + (start ? "active" : "standby")}});
  core_.post(ServiceHookEnded{worker.spec.name, start, done.has_value(), done ? "" : done.error().message});
}

}  // namespace daarion
