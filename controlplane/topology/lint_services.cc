#include "controlplane/topology/lint_services.h"

#include <algorithm>
#include <set>

#include "controlplane/core/capability.h"
#include "controlplane/core/health.h"
#include "controlplane/core/subject.h"
#include "controlplane/topology/nearest.h"

namespace daarion {
namespace {

constexpr Duration kLeastInterval = std::chrono::milliseconds(20);
constexpr const char* kTable = "table";  // the route table's own name beside the capabilities in the log

class ServiceLinter {
 public:
  explicit ServiceLinter(const ClusterFile& file) : f_(file) {}

  std::vector<Finding> run() {
    for (const ServiceSpec& service : f_.spec.services) {
      names(service);
      places(service);
      check(service);
      needs(service);
    }
    for (const auto& [capability, chain] : f_.spec.capabilities) providers(capability, chain);
    return std::move(out_);
  }

 private:
  void say(Severity severity, std::string rule, const std::string& key, std::string message) {
    out_.push_back({severity, std::move(rule), f_.line_of(key), std::move(message)});
  }
  void error(std::string what, const ServiceSpec& service, const std::string& message) {
    say(Severity::kError, std::move(what), service.name == kGpu ? kGpu : "services." + service.name,
        (service.name == kGpu ? "" : "service ") + service.name + ": " + message);
  }

  void names(const ServiceSpec& service) {
    if (!is_valid_id(service.name)) error("service_name", service, "a service's name is lower-case letters, digits, _ and -, at most 32");
    if (f_.spec.resource(ResourceId(service.name)) != nullptr) error("service_name", service, "a data system has this name; rename the service");
    if (std::ranges::count(f_.spec.services, service.name, &ServiceSpec::name) > 1 && f_.spec.service(service.name) == &service)
      error("service_name", service, "the GPU of a node is called so; rename the service (the GPU's probe is declared under `gpu`)");
  }

  void places(const ServiceSpec& service) {
    const auto has = [&](ServiceRole role) { return std::ranges::find(service.on, role, &ServicePlace::role) != service.on.end(); };
    if (service.on.empty()) error("service_nowhere", service, "on no node; write on: {node1: active}");
    if (has(ServiceRole::kStandby) && !has(ServiceRole::kActive)) error("service_no_active", service, "a standby and nobody active; a standby takes an active one's place");
    if (has(ServiceRole::kRead) && !has(ServiceRole::kActive)) error("service_no_active", service, "reads and nobody active; name who writes");
    if (service.start.empty() != service.stop.empty())
      error("service_hooks", service, "hooks has " + std::string(service.start.empty() ? "stop and no start" : "start and no stop") +
                                          "; without both, a node that is active no more goes on, or one that becomes active does not begin");
    if (!service.start.empty() && !service.moves())
      say(Severity::kWarning, "service_hooks", "services." + service.name, "service " + service.name + ": hooks and no standby; they are never run");
  }

  void check(const ServiceSpec& service) {
    const ServiceCheck& c = service.check;
    const bool http = c.kind == ServiceCheck::Kind::kHttp;
    if (service.port == 0 && c.kind != ServiceCheck::Kind::kCommand) error("service_port", service, "no port; its check and its routes need one");
    if (!http && (!c.expect.empty() || c.status != 0)) error("service_expect", service, "expect and check.status are of an HTTP answer; its check is none");
    if (c.kind == ServiceCheck::Kind::kTcp && !c.text.empty()) error("service_expect", service, "check.text is of a body or an output; a TCP check has none");
    if (c.interval < kLeastInterval) error("service_check", service, "check.interval is below 20 ms: it would only load the machine");
    if (c.timeout < kLeastInterval || c.timeout > std::chrono::minutes(1)) error("service_check", service, "check.timeout is 20ms to 1m");
    if (service.hook_limit < std::chrono::milliseconds(100) || service.hook_limit > std::chrono::minutes(10)) error("service_check", service, "hooks.timeout is 100ms to 10m");
    for (const auto& [field, wanted] : c.expect)
      if (const std::string why = malformed_expectation(field, wanted); !why.empty()) error("service_expect", service, "expect." + field + ": " + why);
  }

  void needs(const ServiceSpec& service) {
    for (const std::string& need : service.needs) {
      const ServiceSpec* other = f_.spec.service(need);
      if (other == nullptr) {
        std::vector<std::string> known{kGpu};
        for (const ServiceSpec& s : f_.spec.services) known.push_back(s.name);
        const std::string near = nearest(need, known);
        error("service_needs", service, "needs " + need + ", which is no service" + (near.empty() ? "" : "; did you mean " + near + "?"));
        continue;
      }
      for (const ServicePlace& place : service.on)
        if (place.role != ServiceRole::kOff && other->role_on(place.node) == ServiceRole::kOff)
          error("service_needs", service, "needs " + need + " on " + place.node.value + ", where it is off");
      std::set<std::string> seen;
      if (reaches(*other, service.name, seen)) error("service_needs", service, "needs " + need + ", which needs it in turn; neither could ever be well");
    }
  }
  bool reaches(const ServiceSpec& from, const std::string& to, std::set<std::string>& seen) const {
    if (from.name == to) return true;
    if (!seen.insert(from.name).second) return false;
    return std::ranges::any_of(from.needs, [&](const std::string& need) {
      const ServiceSpec* next = f_.spec.service(need);
      return next != nullptr && reaches(*next, to, seen);
    });
  }

  void providers(const std::string& capability, const std::vector<std::string>& chain) {
    const std::string key = "capabilities." + capability;
    const auto wrong = [&](const std::string& message) { say(Severity::kError, "capability", key, "capability " + capability + ": " + message); };
    const auto [name, agent] = split_capability(capability);
    if (capability == kTable || name.empty() || !is_subject(capability) || (capability.find('@') != std::string::npos && agent.empty()))
      wrong("its name is like llm.chat, or llm.chat@agent for one agent's own chain");
    if (!agent.empty() && !f_.spec.capabilities.contains(name)) wrong("a chain of agent " + agent + " and none for everybody else; declare " + name);
    if (chain.empty()) wrong("no provider; name at least one");
    for (const std::string& provider : chain) {
      const auto at = provider_place(provider);
      if (!at || at->service == kGpu) continue;
      const ServiceSpec* service = f_.spec.service(at->service);
      if (service == nullptr) wrong("provider " + provider + ": there is no service " + at->service);
      else if (service->role_on(at->node) == ServiceRole::kOff) wrong("provider " + provider + ": " + at->service + " is off there");
    }
  }

  const ClusterFile& f_;
  std::vector<Finding> out_;
};

}  // namespace

std::vector<Finding> lint_services(const ClusterFile& file) { return ServiceLinter(file).run(); }

}  // namespace daarion
