#include "controlplane/api/api_replies.h"

#include <nlohmann/json.hpp>

#include "controlplane/api/json.h"
#include "controlplane/api/service_views.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

namespace {

using Json = nlohmann::ordered_json;

std::string resolve(const StatusView& view, RouteDesk& routes, const std::string& request) {
  const Json asked = Json::parse(request, nullptr, false);
  const auto text = [&](const char* key) { return asked.is_object() && asked.contains(key) && asked[key].is_string() ? asked[key].get<std::string>() : ""; };
  const std::string subject = text("subject"), from = text("from");
  if (subject.empty()) return Json{{"error", R"(cluster.api.resolve takes {"subject": "message.created", "from": "node1"})"}}.dump();
  const auto found = routes.resolve(*view.state, subject, from.empty() ? view.status->node() : from);
  return found ? to_json(*found) : Json{{"error", found.error().message}}.dump();
}

}  // namespace

std::string api_reply(const StatusView& view, RouteDesk& routes, const std::string& verb, const std::string& request) {
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
  if (verb == "routes") return to_json(route_table_of(*view.state));
  if (verb == "services") return to_json(service_list(*view.state));
  if (verb == "capabilities") return to_json(capability_list(*view.state));
  if (verb == "resolve") return resolve(view, routes, request);
  return Json{{"error", "cluster.api." + verb + " is no verb; changes go by gRPC or daarionctl"},
              {"verbs", {"status", "peers", "ready", "nodes", "resources", "routes", "resolve", "services", "capabilities"}}}.dump();
}

}  // namespace daarion
