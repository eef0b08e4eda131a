// Who provides a capability (vision, image, llm.chat): the first healthy one of its chain. Pure.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/core/state.h"

namespace daarion {

/// "llm.chat@sofia" -> llm.chat and sofia: an agent's own chain. Without an agent, the second is empty.
std::pair<std::string, std::string> split_capability(const std::string& name);

struct ProviderPlace {
  std::string service;  // kGpu, or a service's name
  NodeId node;
  bool operator==(const ProviderPlace&) const = default;
};
/// "gpu@node1" -> gpu on node1; nothing for one that is no place of ours, as "api:mistral".
std::optional<ProviderPlace> provider_place(const std::string& provider);

/// The chain with what is known of each. An API model is always usable: nobody here looks at it.
std::vector<ProviderEvidence> providers_of(const State& state, const std::vector<std::string>& chain);

/// The first usable one, and why; empty provider: none is. The same evidence gives the same choice.
struct ProviderChoice {
  std::string provider, reason;
  bool certain = true;  // every better one is known not to be usable
  bool operator==(const ProviderChoice&) const = default;
};
ProviderChoice choose_provider(const std::vector<ProviderEvidence>& chain);

/// Who provides it, as the log says, for this agent: its own chain if it has one, else everybody's. Empty: nobody yet.
std::string provider_now(const State& state, const std::string& capability, const std::string& agent = {});

}  // namespace daarion
