#include "controlplane/api/api_replies.h"

#include <nlohmann/json.hpp>

#include "controlplane/api/json.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

std::string api_reply(const StatusView& view, const std::string& verb) {
  using Json = nlohmann::ordered_json;
  if (verb == "status") return view.status_json;
  if (verb == "peers") return view.peers_json;
  if (verb == "ready") return Json{{"ready", view.ready}, {"reasons", view.reasons}}.dump();
  if (verb == "nodes") {
    v1::ListNodesResponse out;
    *out.mutable_nodes() = view.status->nodes();
    return to_json(out);
  }
  if (verb == "resources") {
    v1::ListResourcesResponse out;
    *out.mutable_resources() = view.status->resources();
    return to_json(out);
  }
  return Json{{"error", "cluster.api." + verb + " is no verb; changes go by gRPC or daarionctl"},
              {"verbs", {"status", "peers", "ready", "nodes", "resources"}}}.dump();
}

}  // namespace daarion
