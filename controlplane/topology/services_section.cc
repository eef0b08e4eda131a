#include "controlplane/topology/services_section.h"

#include <algorithm>

namespace daarion {
namespace {

constexpr const char* kGpuProbe = "/usr/bin/nvidia-smi -L";
constexpr Duration kGpuInterval = std::chrono::milliseconds(500);  // a look of nvidia-smi costs tens of ms
constexpr std::uint32_t kGpuRise = 4;                              // back for 2 s: a chain that follows each turn would be worse than the next provider
constexpr std::string_view kExec = "exec:";

void command(Section& section, const std::string& key, std::string& to) {
  section.text(key, to);
  if (!to.empty() && to.front() != '/')
    section.error("relative_command", section.node(key), section.called(key) + " is " + to + "; give an absolute path: no shell looks for it");
}

ServiceCheck gpu_check() { return {.kind = ServiceCheck::Kind::kCommand, .target = kGpuProbe, .interval = kGpuInterval, .rise = kGpuRise}; }

}  // namespace

void ServicesReader::service(const std::string& name, const YAML::Node& node) {
  Section one(node, "services." + name, out_);
  ServiceSpec service;
  service.name = name;
  one.number("port", service.port, 1, 65535);
  health(one, service);
  places(one, service);
  one.list("needs", [&](const YAML::Node& need) { service.needs.push_back(need.IsScalar() ? need.Scalar() : ""); });
  one.map("expect", [&](const std::string& field, const YAML::Node& value) {
    if (!value.IsScalar()) return one.error("wrong_type", value, one.called("expect") + "." + field + " is no single value; write true, a text, or \">0\"");
    service.check.expect[field] = value.Scalar();
  });
  hooks(one, service);
  out_.file.lines["services." + name] = line_of(node);
  out_.file.spec.services.push_back(std::move(service));
}

/// "/health", "tcp", or "exec:/path words".
void ServicesReader::health(Section& one, ServiceSpec& service) {
  ServiceCheck& to = service.check;
  std::string text;
  one.text("health", text);
  if (text == "tcp") {
    to.kind = ServiceCheck::Kind::kTcp;
    to.target.clear();
  } else if (text.starts_with(kExec)) {
    to.kind = ServiceCheck::Kind::kCommand;
    to.target = text.substr(kExec.size());
    if (!to.target.starts_with('/'))
      one.error("relative_command", one.node("health"), one.called("health") + " is " + text + "; give an absolute path after exec: no shell looks for it");
  } else if (!text.empty()) {
    to.target = text;
    if (!text.starts_with('/')) one.error("wrong_type", one.node("health"), one.called("health") + " is " + text + "; it is a path like /health, tcp, or exec:/path/of/command");
  }
  if (!one.has("check")) return;
  Section section(one.node("check"), one.called("check"), out_);
  section.number("status", to.status, 100, 599);
  section.text("text", to.text);
  check(section, to);
}

void ServicesReader::check(Section& section, ServiceCheck& to) {
  section.duration("interval", to.interval);
  section.duration("timeout", to.timeout);
  section.number("rise", to.rise, 1, 1000);
  section.number("fall", to.fall, 1, 1000);
}

void ServicesReader::hooks(Section& one, ServiceSpec& service) {
  if (!one.has("hooks")) return;
  Section section(one.node("hooks"), one.called("hooks"), out_);
  command(section, "start", service.start);
  command(section, "stop", service.stop);
  section.duration("timeout", service.hook_limit);
}

void ServicesReader::places(Section& one, ServiceSpec& service) {
  static const std::map<std::string, ServiceRole> kRoles = {
      {"active", ServiceRole::kActive}, {"standby", ServiceRole::kStandby}, {"read", ServiceRole::kRead}, {"off", ServiceRole::kOff}};
  one.map("on", [&](const std::string& name, const YAML::Node& state) {
    const auto id = node_of_(one, state, name, one.called("on"));
    if (!id) return;
    const auto role = kRoles.find(state.IsScalar() ? state.Scalar() : "");
    if (role == kRoles.end())
      return one.error("wrong_type", state, one.called("on") + "." + name + " is " + (state.IsScalar() ? state.Scalar() : "no single value") + "; it is active, standby, read or off");
    if (std::ranges::find(service.on, *id, &ServicePlace::node) != service.on.end())
      return one.error("node_twice", state, one.called("on") + " names " + id->value + " twice; a node has one place");
    service.on.push_back({*id, role->second});
  });
}

void ServicesReader::chain(Section& top, const std::string& name, const YAML::Node& node) {
  if (!node.IsSequence()) return top.error("wrong_type", node, "capabilities." + name + " is no list of providers; write [gpu@node1, api:name]");
  out_.file.lines["capabilities." + name] = line_of(node);
  std::vector<std::string>& chain = out_.file.spec.capabilities[name];
  for (const YAML::Node& at : node) {
    const auto one = provider(top, at, "capabilities." + name);
    if (!one) continue;
    if (std::ranges::find(chain, *one) != chain.end()) top.error("provider_twice", at, "capabilities." + name + " names " + *one + " twice; the second is never asked");
    else chain.push_back(*one);
  }
}

/// "gpu@node1", "<service>@node2" or "api:<model>", with the node's own id.
std::optional<std::string> ServicesReader::provider(Section& section, const YAML::Node& at, const std::string& what) {
  const std::string text = at.IsScalar() ? at.Scalar() : "";
  const auto sign = text.find('@');
  if (text.starts_with("api:") && text.size() > 4) return text;
  if (sign == std::string::npos || sign == 0) {
    section.error("bad_provider", at, what + " names provider " + (text.empty() ? "(no text)" : text) + "; it is gpu@node1, a service like swapper@node1, or api:name");
    return std::nullopt;
  }
  const auto node = node_of_(section, at, text.substr(sign + 1), what);
  if (!node) return std::nullopt;
  return text.substr(0, sign + 1) + node->value;
}

void ServicesReader::gpu(const YAML::Node& node) {
  Section one(node, "gpu", out_);
  ServiceCheck probe = gpu_check();
  command(one, "probe", probe.target);
  one.text("text", probe.text);
  check(one, probe);
  gpu_ = probe;
}

void ServicesReader::finish() {
  std::vector<NodeId> having;
  TopologySpec& spec = out_.file.spec;
  const auto add = [&](const NodeId& node) {
    if (std::ranges::find(having, node) == having.end()) having.push_back(node);
  };
  for (const auto& [capability, chain] : spec.capabilities)
    for (const std::string& provider : chain)
      if (provider.starts_with(std::string(kGpu) + "@")) add(NodeId(provider.substr(provider.find('@') + 1)));
  for (const ServiceSpec& service : spec.services)
    if (std::ranges::find(service.needs, kGpu) != service.needs.end())
      for (const ServicePlace& place : service.on)
        if (place.role != ServiceRole::kOff) add(place.node);
  if (having.empty()) return;
  std::ranges::sort(having);
  ServiceSpec gpu{.name = kGpu, .check = gpu_.value_or(gpu_check())};
  for (const NodeId& node : having) gpu.on.push_back({node, ServiceRole::kActive});
  spec.services.push_back(std::move(gpu));
}

}  // namespace daarion
