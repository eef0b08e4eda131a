// A log whose topology has services, as in the users' own file in small.
#pragma once

#include "controlplane/core/services.h"
#include "tests/unit/make.h"

namespace daarion::test {

/// router: active node1, standby node2. memory: active node1, read node2. swapper: active node1, needs the GPU of node1.
inline TopologySpec spec_with_services() {
  TopologySpec spec = spec_of_three();
  using enum ServiceRole;
  spec.services.push_back({.name = "router", .port = 9102, .on = {{node(1), kActive}, {node(2), kStandby}}});
  spec.services.push_back({.name = "memory", .port = 8000, .on = {{node(1), kActive}, {node(2), kRead}}});
  spec.services.push_back({.name = "swapper", .port = 8890, .on = {{node(1), kActive}}, .needs = {kGpu}});
  spec.services.push_back({.name = kGpu, .check = {.kind = ServiceCheck::Kind::kCommand, .target = "/usr/bin/nvidia-smi -L"}, .on = {{node(1), kActive}}});
  spec.capabilities = {{"vision", {"gpu@node1", "api:mistral"}}, {"image", {"gpu@node1"}},        {"llm.chat", {"api:deepseek", "api:mistral"}},
                       {"stt", {"swapper@node1", "api:whisper"}}, {"llm.chat@sofia", {"api:claude"}}};
  return spec;
}

inline Log log_with_services(TopologySpec spec = spec_with_services()) {
  Log log;
  log.add(LogCreated{log_id(), "test", {}});
  log.add(TopologyChanged{std::move(spec), "hash"});
  log.add(voters_of(3));
  for (int n = 1; n <= 3; ++n) log.add(MemberJoined{.instance = instance(n), .boot = boot(1)}, node(n));
  return log;
}

/// What a node says of a service of its own.
inline void say(Log& log, const std::string& service, int n, Health health) {
  log.add(ServiceHealthChanged{.health = health, .cause = health == Health::kHealthy ? "" : "down"}, node(n), ResourceId(service));
}

}  // namespace daarion::test
