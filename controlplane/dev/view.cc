#include "controlplane/dev/view.h"

#include <httplib.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace daarion::dev {
namespace {

using Json = nlohmann::json;

template <class T>
T value(const Json& at, const char* key, T otherwise) {
  const auto found = at.find(key);
  return found == at.end() || found->is_null() ? otherwise : found->get<T>();
}

const Json& list(const Json& at, const char* key) {
  static const Json kNone = Json::array();
  const auto found = at.find(key);
  return found == at.end() || !found->is_array() ? kNone : *found;
}

ResourceSeen resource_of(const Json& r) {
  ResourceSeen out{.id = value<std::string>(r, "id", ""), .holder = value<std::string>(r, "holder", ""), .epoch = value<std::uint64_t>(r, "epoch", 0),
                   .writable = value(r, "writable", false), .replicas = {}, .next = {}};
  for (const Json& p : list(r, "replicas"))
    out.replicas.push_back({.node = value<std::string>(p, "node", ""), .state = value<std::string>(p, "state", ""), .verdict = value<std::string>(p, "verdict", ""),
                            .lag_bytes = value<std::uint64_t>(p, "lag_bytes", 0), .lag_ms = value<std::uint64_t>(p, "lag_ms", 0), .candidate = value(p, "candidate", false)});
  if (const auto dies = r.find("if_holder_dies"); dies != r.end() && dies->is_object()) {
    out.next = value<std::string>(*dies, "to", "");
    out.expected_ms = value<std::int64_t>(*dies, "expected_ms", 0);
    out.loss_bytes = value<std::uint64_t>(*dies, "loss_bytes", 0);
  }
  return out;
}

Result<std::string> get(const std::string& address, std::uint32_t port, const std::string& path, Duration limit, int* status = nullptr) {
  httplib::Client client(address, static_cast<int>(port));
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(limit).count();
  client.set_connection_timeout(us / 1'000'000, us % 1'000'000);
  client.set_read_timeout(us / 1'000'000, us % 1'000'000);
  const auto answer = client.Get(path);
  if (!answer) return fail(Remedy::kRetry, "ask http://" + address + ":" + std::to_string(port) + path + ": " + httplib::to_string(answer.error()));
  if (status) *status = answer->status;
  else if (answer->status != 200) return fail(Remedy::kRetry, "ask http://" + address + ":" + std::to_string(port) + path + ": answer " + std::to_string(answer->status));
  return answer->body;
}

}  // namespace

const ResourceSeen* ClusterView::resource(const std::string& id) const {
  const auto at = std::ranges::find(resources, id, &ResourceSeen::id);
  return at == resources.end() ? nullptr : &*at;
}
std::string ClusterView::holder_of(const std::string& id) const {
  const ResourceSeen* r = resource(id);
  return r && r->writable ? r->holder : "";
}
bool ClusterView::streams(const std::string& id, const std::string& node) const {
  const ResourceSeen* r = resource(id);
  return r && std::ranges::any_of(r->replicas, [&](const ReplicaSeen& p) { return p.node == node && p.state == "streaming"; });
}

Result<ClusterView> parse_view(const std::string& body) {
  try {
    const Json at = Json::parse(body);
    ClusterView out;
    out.status = value<std::string>(at, "status", "");
    out.ready = value(at, "ready", false);
    out.log_id = value<std::string>(at, "log_id", "");
    out.digest = value<std::string>(at, "digest", "");
    out.chain = value<std::string>(at, "chain", "");
    out.sequence = value<std::uint64_t>(at, "sequence", 0);
    if (const auto quorum = at.find("quorum"); quorum != at.end() && quorum->is_object()) {
      out.voters = value<std::uint32_t>(*quorum, "voters", 0);
      out.reachable = value<std::uint32_t>(*quorum, "reachable", 0);
      out.failure_tolerance = value<std::uint32_t>(*quorum, "failure_tolerance", 0);
    }
    for (const Json& n : list(at, "nodes"))
      out.nodes.push_back({.id = value<std::string>(n, "id", ""), .role = value<std::string>(n, "role", ""), .state = value<std::string>(n, "state", ""),
                           .intent = value<std::string>(n, "intent", ""), .age_ms = value<std::int64_t>(n, "age_ms", 0)});
    for (const Json& r : list(at, "resources")) out.resources.push_back(resource_of(r));
    for (const Json& w : list(at, "waits")) {
      const std::string unblock = value<std::string>(w, "unblock", "");
      out.waits.push_back(value<std::string>(w, "what", "") + (unblock.empty() ? "" : "; " + unblock));
    }
    for (const Json& w : list(at, "warnings")) out.warnings.push_back(w.get<std::string>());
    for (const Json& w : list(at, "not_ready")) out.not_ready.push_back(w.get<std::string>());
    if (const auto margin = at.find("lease_margin_min_ms"); margin != at.end() && !margin->is_null()) out.lease_margin_min_ms = value<std::uint64_t>(at, "lease_margin_min_ms", 0);
    out.lease_margin_slowest = value<std::string>(at, "lease_margin_slowest", "");
    return out;
  } catch (const Json::exception& e) {
    return fail(Remedy::kRetry, std::string("read /cluster/status: ") + e.what());
  }
}

Result<ClusterView> ask_view(const std::string& address, std::uint32_t http_port, Duration limit) {
  const auto body = get(address, http_port, "/cluster/status", limit);
  if (!body) return tl::unexpected(body.error());
  return parse_view(*body);
}

Result<LeadersView> ask_leaders(const std::string& address, std::uint32_t monitor_port, Duration limit) {
  const auto body = get(address, monitor_port, "/jsz?accounts=true&streams=true", limit);
  if (!body) return tl::unexpected(body.error());
  try {
    const Json at = Json::parse(*body);
    LeadersView out;
    if (const auto meta = at.find("meta_cluster"); meta != at.end()) out.meta = value<std::string>(*meta, "leader", "");
    for (const Json& account : list(at, "account_details"))
      for (const Json& stream : list(account, "stream_detail"))
        if (value<std::string>(stream, "name", "") == "CLUSTER_LOG" && stream.contains("cluster")) out.log = value<std::string>(stream["cluster"], "leader", "");
    return out;
  } catch (const Json::exception& e) {
    return fail(Remedy::kRetry, std::string("read /jsz: ") + e.what());
  }
}

}  // namespace daarion::dev
