#include "controlplane/api/api_replies.h"

#include <nlohmann/json.hpp>

#include "controlplane/api/json.h"
#include "controlplane/api/service_views.h"
#include "proto/daarion/v1/admin.pb.h"

namespace daarion {

namespace {

using Json = nlohmann::ordered_json;

/// A text of the request's; empty: it has none.
std::string text_in(const Json& asked, const char* key) {
  return asked.is_object() && asked.contains(key) && asked[key].is_string() ? asked[key].get<std::string>() : "";
}

std::string route(const StatusView& view, RouteDesk& routes, const std::string& request) {
  const Json asked = Json::parse(request, nullptr, false);
  const auto found = routes.route(*view.state, text_in(asked, "service"), text_in(asked, "region"), view.status->node(), text_in(asked, "mode") == "read");
  return found ? to_json(*found) : Json{{"error", found.error().message}}.dump();
}

std::string resolve(const StatusView& view, RouteDesk& routes, const std::string& request) {
  const Json asked = Json::parse(request, nullptr, false);
  const std::string subject = text_in(asked, "subject"), from = text_in(asked, "from");
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
  if (verb == "route") return route(view, routes, request);
  if (verb == "resolve") return resolve(view, routes, request);
  return Json{{"error", "cluster.api." + verb + " is no verb; changes go by gRPC or daarionctl"},
              {"verbs", {"status", "peers", "ready", "nodes", "resources", "routes", "resolve", "services", "capabilities", "route"}}}.dump();
}

}  // namespace daarion
