#include "controlplane/daariond/service_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "controlplane/daariond/hook.h"
#include "controlplane/health/probe.h"
#include "controlplane/node/clock.h"
#include "controlplane/node/make_event.h"
#include "streams/codec.h"

namespace daarion {
namespace {

constexpr Duration kAppendLimit = std::chrono::seconds(2);  // above an append without a fault, below an election: then it is tried again
constexpr Duration kIdle = std::chrono::seconds(1);
constexpr int kSooner = 5;  // a look that differs from those before is made again after this part of the interval

}  // namespace

/// One service of this node.
struct ServiceRunner::Worker {
  ServiceSpec spec;
  std::string address;
  Mailbox<Job> jobs{kQueue};
  std::atomic<bool> done = false;
  std::thread thread;
};

ServiceRunner::ServiceRunner(ServicePorts ports) : ports_(std::move(ports)), core_(ports_.self) {
  threads_.emplace_back([this] { run(); });
  threads_.emplace_back([this] { run_append(); });
}

ServiceRunner::~ServiceRunner() {
  ending_ = true;
  inbox_.close();
  appends_.close();
  for (std::thread& thread : threads_) thread.join();
  for (auto& [name, worker] : workers_) leaving_.push_back(std::move(worker));
  for (auto& worker : leaving_) worker->jobs.close();
  for (auto& worker : leaving_) worker->thread.join();
}

void ServiceRunner::post(ServiceInput input) {
  if (!inbox_.push(std::move(input)) && !ending_) spdlog::warn("services: the queue is full; a look or a result is lost");
}

void ServiceRunner::folded(std::shared_ptr<const State> state) {
  // The newest alone: each is the whole state.
  states_.push_fresh(std::move(state));
  inbox_.push(ServiceTick{});
}

void ServiceRunner::meet(ServiceContact contact) { inbox_.push(contact); }

std::vector<std::string> ServiceRunner::warnings() const {
  const std::lock_guard lock(mutex_);
  return warnings_;
}

void ServiceRunner::run() {
  const auto carry_out = [this](std::vector<ServiceOutput> outputs) {
    for (ServiceOutput& output : outputs) perform(std::move(output));
  };
  Sequence topology;
  while (!ending_) {
    const auto input = inbox_.pop(std::max(Duration{}, core_.next_tick() - node_now()));
    if (auto state = states_.pop({})) {
      const TopologySpec& spec = (*state)->topology.spec;
      std::vector<ServiceOutput> outputs = core_.step(ServicesFolded{*state}, node_now());
      // Who is new must be there before he is told to do something.
      if ((*state)->topology.sequence != topology) {
        topology = (*state)->topology.sequence;
        const NodeSpec* self = spec.node(ports_.self);
        staff(core_.own(), self == nullptr ? "127.0.0.1" : self->address);
      }
      carry_out(std::move(outputs));
    }
    carry_out(core_.step(input ? *input : ServiceInput(ServiceTick{}), node_now()));
    std::vector<std::string> warnings = core_.warnings();
    const std::lock_guard lock(mutex_);
    warnings_ = std::move(warnings);
  }
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
    if (!give(hook->service, hook->start ? Job::kStart : Job::kStop)) post(ServiceHookEnded{hook->service, hook->start, false, "this service is being set up"});
  } else if (const auto* soon = std::get_if<LookSoon>(&output)) {
    give(soon->service, Job::kLook);
  } else if (const auto* report = std::get_if<Report>(&output)) {
    if (ports_.telemetry) ports_.telemetry(telemetry_subject(report->payload, report->resource), encode_event(event_of(*report, ports_.self)));
  } else if (auto* append = std::get_if<Append>(&output)) {
    const std::uint64_t id = append->request.id;
    if (!appends_.push(std::move(append->request))) post(ServiceAppended{{.id = id}});
  }
}

void ServiceRunner::run_append() {
  while (!ending_) {
    const auto request = appends_.pop(kIdle);
    if (!request) continue;
    post(ServiceAppended{append(*ports_.appender, *request, ports_.self, kAppendLimit)});
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
    post(ServiceLooked{worker.spec.name, look_at(worker.spec, worker.address, {"DAARION_NODE=" + ports_.self.value, "DAARION_SERVICE=" + worker.spec.name})});
    next = std::max(begun + interval, node_now());
  }
  worker.done = true;
}

void ServiceRunner::run_hook_of(Worker& worker, bool start) {
  const std::string& exec = start ? worker.spec.start : worker.spec.stop;
  spdlog::info("service {}: {} here: running {}", worker.spec.name, start ? "active" : "no more active", exec);
  const auto done = run_hook({.exec = exec, .argument = worker.spec.name, .limit = worker.spec.hook_limit,
                              .environment = {"DAARION_NODE=" + ports_.self.value, "DAARION_SERVICE=" + worker.spec.name,
                                              "DAARION_PORT=" + std::to_string(worker.spec.port), std::string("DAARION_STATE=") + (start ? "active" : "standby")}});
  post(ServiceHookEnded{worker.spec.name, start, done.has_value(), done ? "" : done.error().message});
}

}  // namespace daarion
