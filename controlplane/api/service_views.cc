#include "controlplane/api/service_views.h"

#include "controlplane/api/views.h"
#include "controlplane/core/capability.h"
#include "controlplane/core/services.h"

namespace daarion {
namespace {

void fill_place(const State& state, const PlaceView& place, v1::ServicePlaceView& to) {
  to.set_node(place.node.value);
  if (const NodeSpec* node = state.topology.spec.node(place.node)) to.set_address(node->address);
  to.set_declared(text_of(place.declared));
  to.set_state(text_of(place.role));
  to.set_health(text_of(place.health));
  to.set_check_broken(place.check_broken);
  to.set_flapping(place.flapping);
  to.set_reachable(place.reachable);
  to.set_intent(text_of(place.intent));
  to.set_cause(place.cause);
}

std::string why_nobody(const std::vector<PlaceView>& places) {
  std::string out;
  for (const PlaceView& place : places) {
    if (place.declared == ServiceRole::kOff || place.declared == ServiceRole::kRead) continue;
    out += (out.empty() ? "" : "; ") + place.node.value + " ";
    if (!place.reachable) out += "is unreachable";
    else if (place.intent != MemberIntent::kActive) out += std::string("is ") + text_of(place.intent);
    else out += std::string("is ") + text_of(place.health) + (place.cause.empty() ? "" : " (" + place.cause + ")");
  }
  return out;
}

}  // namespace

v1::ServiceView service_view(const State& state, const ServiceSpec& service) {
  v1::ServiceView out;
  const std::vector<PlaceView> places = places_of(state, service);
  out.set_name(service.name);
  out.set_port(service.port);
  for (const NodeId& node : routed(places)) out.add_active(node.value);
  for (const NodeId& node : routed(places, true)) out.add_readers(node.value);
  if (const auto decided = state.services.find(ResourceId(service.name)); decided != state.services.end() && service.moves()) {
    out.set_moved(decided->second.changed.value);
    out.set_moved_at(time_text(decided->second.changed_ns));
  }
  for (const PlaceView& place : places) fill_place(state, place, *out.add_places());
  return out;
}

v1::ServiceList service_list(const State& state) {
  v1::ServiceList out;
  out.set_schema_version(kViewSchema);
  out.set_sequence(state.applied.value);
  for (const ServiceSpec& service : state.topology.spec.services) *out.add_services() = service_view(state, service);
  return out;
}

v1::CapabilityList capability_list(const State& state) {
  v1::CapabilityList out;
  out.set_schema_version(kViewSchema);
  out.set_sequence(state.applied.value);
  for (const auto& [name, chain] : state.topology.spec.capabilities) {
    v1::CapabilityView& to = *out.add_capabilities();
    const auto [capability, agent] = split_capability(name);
    to.set_capability(capability);
    to.set_agent(agent);
    if (const auto said = state.routes.find(name); said != state.routes.end()) {
      to.set_provider(said->second.provider);
      to.set_moved(said->second.changed.value);
    }
    for (const ProviderEvidence& view : providers_of(state, chain)) {
      v1::ProviderView& one = *to.add_chain();
      one.set_provider(view.provider);
      one.set_usable(view.usable);
      one.set_cause(view.cause);
    }
  }
  return out;
}

std::vector<std::string> service_warnings(const State& state) {
  std::vector<std::string> out;
  for (const ServiceSpec& service : state.topology.spec.services) {
    const std::vector<PlaceView> places = places_of(state, service);
    if (service.name == kGpu || !routed(places).empty()) continue;
    if (const std::string why = why_nobody(places); !why.empty()) out.push_back("service " + service.name + ": nobody serves it: " + why);
  }
  for (const auto& [name, chain] : state.topology.spec.capabilities)
    if (const auto said = state.routes.find(name); said != state.routes.end() && said->second.provider.empty() && said->second.changed.value != 0)
      out.push_back("capability " + name + ": nobody provides it: " + choose_provider(providers_of(state, chain)).reason);
  return out;
}

}  // namespace daarion
