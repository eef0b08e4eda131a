#include "consumers/state_codec.h"

#include <array>

#include "consumers/describe_state.h"
#include "proto/daarion/v1/state.pb.h"
#include "streams/wire.h"

namespace daarion {
namespace {

constexpr std::array<const char*, 12> kNames = {"log", "voters", "topology", "member", "lease", "replica", "operator", "route", "request",
                                               "service", "health", "observed"};

template <class Message, class T>
std::string decode(std::string_view bytes, T& value) { return wire::read(bytes, *Message::descriptor(), value); }

/// All requests are one value: their order matters, and there are few.
struct Requests {
  std::vector<RequestState> requests;
};
template <class A>
void describe(A& a, Is<Requests> auto& x) { a(1, x.requests); }

template <class T>
bool encode_into(std::string& out, const T& part) {
  wire::write(part, out);
  return true;
}
template <class Map, class Key>
bool encode_of(std::string& out, const Map& map, const Key& key) {
  const auto at = map.find(key);
  return at != map.end() && encode_into(out, at->second);
}

std::pair<ResourceId, NodeId> node_key(const std::string& name) {
  const auto dot = name.find('.');
  return {ResourceId(name.substr(0, dot)), NodeId(dot == std::string::npos ? "" : name.substr(dot + 1))};
}

}  // namespace

bool encode_part(const State& s, const StateKey& key, std::string& out) {
  out.clear();
  switch (key.table) {
    case Table::kLog: return s.log != LogState{} && encode_into(out, s.log);
    case Table::kVoters: return s.voters != VoterSet{} && encode_into(out, s.voters);
    case Table::kTopology: return s.topology != TopologyState{} && encode_into(out, s.topology);
    case Table::kMember: return encode_of(out, s.members, NodeId(key.name));
    case Table::kLease: return encode_of(out, s.leases, ResourceId(key.name));
    case Table::kReplica: return encode_of(out, s.replicas, node_key(key.name));
    case Table::kOperator: return encode_of(out, s.operators, key.name);
    case Table::kRoute: return encode_of(out, s.routes, key.name);
    case Table::kService: return encode_of(out, s.services, ResourceId(key.name));
    case Table::kServiceHealth: return encode_of(out, s.service_health, node_key(key.name));
    case Table::kObserved: return encode_of(out, s.observed, ResourceId(key.name));
    case Table::kRequest: return !s.requests.empty() && encode_into(out, Requests{s.requests});
  }
  return false;
}

std::optional<std::string> encode_part(const State& s, const StateKey& key) {
  std::string out;
  if (!encode_part(s, key, out)) return std::nullopt;
  return out;
}

Result<void> decode_part(State& s, const StateKey& key, const std::string& bytes) {
  std::string what;
  switch (key.table) {
    case Table::kLog: what = decode<v1::LogState>(bytes, s.log); break;
    case Table::kVoters: what = decode<v1::VoterSetState>(bytes, s.voters); break;
    case Table::kTopology: what = decode<v1::TopologyState>(bytes, s.topology); break;
    case Table::kMember: what = decode<v1::MemberState>(bytes, s.members[NodeId(key.name)]); break;
    case Table::kLease: what = decode<v1::LeaseState>(bytes, s.leases[ResourceId(key.name)]); break;
    case Table::kReplica: what = decode<v1::ReplicaState>(bytes, s.replicas[node_key(key.name)]); break;
    case Table::kOperator: what = decode<v1::OperatorState>(bytes, s.operators[key.name]); break;
    case Table::kRoute: what = decode<v1::RouteState>(bytes, s.routes[key.name]); break;
    case Table::kService: what = decode<v1::ServiceState>(bytes, s.services[ResourceId(key.name)]); break;
    case Table::kServiceHealth: what = decode<v1::ServiceHealthState>(bytes, s.service_health[node_key(key.name)]); break;
    case Table::kObserved: what = decode<v1::ObservedState>(bytes, s.observed[ResourceId(key.name)]); break;
    case Table::kRequest: {
      Requests requests;
      what = decode<v1::Requests>(bytes, requests);
      s.requests = std::move(requests.requests);
      break;
    }
  }
  if (!what.empty()) return fail(Remedy::kStop, "read state " + key_text(key) + ": " + what);
  return {};
}

std::vector<StateKey> keys_of(const State& s) {
  std::vector<StateKey> keys = {{Table::kLog, {}}, {Table::kVoters, {}}, {Table::kTopology, {}}, {Table::kRequest, {}}};
  for (const auto& [node, part] : s.members) keys.push_back({Table::kMember, node.value});
  for (const auto& [resource, part] : s.leases) keys.push_back({Table::kLease, resource.value});
  for (const auto& [pair, part] : s.replicas) keys.push_back({Table::kReplica, pair.first.value + "." + pair.second.value});
  for (const auto& [name, part] : s.operators) keys.push_back({Table::kOperator, name});
  for (const auto& [name, part] : s.routes) keys.push_back({Table::kRoute, name});
  for (const auto& [service, part] : s.services) keys.push_back({Table::kService, service.value});
  for (const auto& [pair, part] : s.service_health) keys.push_back({Table::kServiceHealth, pair.first.value + "." + pair.second.value});
  for (const auto& [resource, part] : s.observed) keys.push_back({Table::kObserved, resource.value});
  std::erase_if(keys, [&](const StateKey& key) { return !encode_part(s, key); });
  return keys;
}

void key_text(const StateKey& key, std::string& out) { out.assign(kNames[static_cast<std::size_t>(key.table)]).append("/").append(key.name); }

std::string key_text(const StateKey& key) {
  std::string out;
  key_text(key, out);
  return out;
}

std::optional<StateKey> parse_key(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (text.compare(0, slash, kNames[i]) == 0) return StateKey{static_cast<Table>(i), text.substr(slash + 1)};
  return std::nullopt;
}

}  // namespace daarion
