#include "controlplane/core/capability.h"

#include "controlplane/core/services.h"

namespace daarion {

std::pair<std::string, std::string> split_capability(const std::string& name) {
  const auto sign = name.find('@');
  if (sign == std::string::npos) return {name, {}};
  return {name.substr(0, sign), name.substr(sign + 1)};
}

std::optional<ProviderPlace> provider_place(const std::string& provider) {
  const auto sign = provider.find('@');
  if (sign == std::string::npos || provider.starts_with("api:")) return std::nullopt;
  return ProviderPlace{provider.substr(0, sign), NodeId(provider.substr(sign + 1))};
}

std::vector<ProviderEvidence> providers_of(const State& state, const std::vector<std::string>& chain) {
  std::vector<ProviderEvidence> out;
  for (const std::string& provider : chain) {
    ProviderEvidence& view = out.emplace_back(ProviderEvidence{.provider = provider, .usable = false, .known = true, .cause = {}});
    const auto at = provider_place(provider);
    if (!at) {
      view.usable = true;
      continue;
    }
    const auto place = place_of(state, at->service, at->node);
    if (!place) {
      view.cause = "it is no member's";
    } else if (!place->reachable) {
      view.cause = at->node.value + " is unreachable";
    } else if (place->intent != MemberIntent::kActive) {
      view.cause = at->node.value + " is " + text_of(place->intent);
    } else if (place->role != ServiceRole::kActive) {
      view.cause = std::string(text_of(place->role)) + " there";
    } else if (place->health == Health::kUnknown) {
      view.known = place->check_broken;
      view.cause = place->check_broken ? "its check is broken: " + place->cause : "nothing is known of it yet";
    } else {
      // A chain has others: what is degraded is passed over.
      view.usable = place->health == Health::kHealthy;
      if (!view.usable) view.cause = std::string(text_of(place->health)) + (place->cause.empty() ? "" : ": " + place->cause);
    }
  }
  return out;
}

ProviderChoice choose_provider(const std::vector<ProviderEvidence>& chain) {
  ProviderChoice out;
  for (const ProviderEvidence& view : chain) {
    if (view.usable) {
      out.provider = view.provider;
      out.reason += (out.reason.empty() ? "" : "; ") + view.provider + (out.reason.empty() ? " is the first of the chain" : " is the next of the chain");
      return out;
    }
    out.certain &= view.known;
    out.reason += (out.reason.empty() ? "" : "; ") + view.provider + ": " + view.cause;
  }
  out.reason += "; nobody is left";
  return out;
}

std::string provider_now(const State& state, const std::string& capability, const std::string& agent) {
  const auto own = agent.empty() ? state.routes.end() : state.routes.find(capability + "@" + agent);
  if (own != state.routes.end() && state.topology.spec.capabilities.contains(own->first)) return own->second.provider;
  const auto all = state.routes.find(capability);
  return all == state.routes.end() ? std::string{} : all->second.provider;
}

}  // namespace daarion
