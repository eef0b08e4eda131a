#include "controlplane/drivers/nats/client.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "streams/js_request.h"

namespace daarion::nats {
namespace {

using Json = nlohmann::json;

constexpr Duration kCoreLimit = std::chrono::milliseconds(600), kLeafLimit = std::chrono::milliseconds(300);  // the core's looks are a second apart

/// "$JS.node3.API" -> "node3".
std::string domain_of(const std::string& api) {
  const std::size_t begin = api.find('.'), end = api.rfind('.');
  return begin == std::string::npos || begin == end ? "" : api.substr(begin + 1, end - begin - 1);
}

/// A stream's configuration names its origins, and where they are.
std::string domain_in(const Json& config, const std::string& stream) {
  Json declared = config.value("sources", Json::array());
  if (config.contains("mirror")) declared.push_back(config["mirror"]);
  for (const Json& source : declared)
    if (source.value("name", "") == stream && source.contains("external")) return domain_of(source["external"].value("api", ""));
  return "";
}

Origin origin_of(const Json& info, const Json& config) {
  Origin out{.stream = info.value("name", ""), .domain = {}, .silent = {}, .lag = info.value("lag", std::uint64_t{0})};
  out.domain = domain_in(config, out.stream);
  if (const std::int64_t silent_ns = info.value("active", std::int64_t{-1}); silent_ns >= 0) out.silent = Duration(silent_ns);
  return out;
}

std::vector<Replica> replicas_of(const Json& group) {
  std::vector<Replica> out;
  for (const Json& replica : group.value("replicas", Json::array()))
    out.push_back({.server = replica.value("name", ""), .current = replica.value("current", false), .offline = replica.value("offline", false),
                   .lag = replica.value("lag", std::uint64_t{0})});
  return out;
}

Stream stream_of(const Json& detail, const std::string& account) {
  const Json config = detail.value("config", Json::object()), cluster = detail.value("cluster", Json::object());
  Stream out{.account = account, .name = detail.at("name").get<std::string>(), .leader = cluster.value("leader", ""),
             .wanted = config.value("num_replicas", std::size_t{1}), .last = detail.value("state", Json::object()).value("last_seq", std::uint64_t{0}), .others = {},
             .origins = {}};
  out.others = replicas_of(cluster);
  Json origins = detail.value("sources", Json::array());
  if (detail.contains("mirror")) origins.push_back(detail["mirror"]);
  for (const Json& origin : origins) out.origins.push_back(origin_of(origin, config));
  return out;
}

template <class Take>
Result<void> read(const Json& answer, const char* what, Word& word, Take take) {
  Word out = word;
  try {
    const Json& server = answer.at("server");
    out.server = server.at("name").get<std::string>();
    out.id = server.at("id").get<std::string>();
    out.version = server.value("ver", "");
    take(answer.at("data"), out);
  } catch (const Json::exception& e) {  // the library's own: a field that is not there, or of another type
    return fail(Remedy::kRetry, std::string("read ") + what + ": " + e.what());
  }
  word = std::move(out);
  return {};
}

/// Those of the core, by their names; a server that says nothing of its JetStream is there all the same.
std::map<std::string, Word> ask_core(Connection& sys, const std::vector<Server>& planned, bool streams) {
  const Json wanted = streams ? Json{{"accounts", true}, {"streams", true}, {"config", true}} : Json();
  std::map<std::string, Word> out;
  (void)ask_together(sys, {JsonRequest{kAskJetStream, wanted}, JsonRequest{kAskRoutes, nullptr}}, [&](std::size_t request, const Json& answer) {
    if (!answer.contains("server") || !answer["server"].is_object()) return true;
    Word& word = out[answer["server"].value("name", "")];
    (void)(request == 0 ? read_jetstream(answer, word) : read_routes(answer, word));
    return std::ranges::any_of(planned, [&](const Server& server) {
      const auto at = out.find(server.name);
      return server.kind != Kind::kLeaf && (at == out.end() || !at->second.answers || !at->second.routes);
    });
  }, kCoreLimit);
  std::erase_if(out, [](const auto& entry) { return entry.second.server.empty(); });
  return out;
}

void ask_leafs(Connection& control, const std::vector<Server>& planned, std::vector<Word>& out) {
  std::vector<const Server*> leafs;
  std::vector<JsonRequest> requests;
  for (const Server& server : planned)
    if (server.kind == Kind::kLeaf) {
      leafs.push_back(&server);
      requests.push_back({js_api(server.domain) + ".INFO", nullptr});
    }
  if (leafs.empty()) return;
  std::size_t answered = 0;
  (void)ask_together(control, requests, [&](std::size_t request, const Json& answer) {
    if (!answer.is_null()) out.push_back({.server = leafs[request]->name, .answers = true, .jetstream = true});
    return ++answered < leafs.size();
  }, kLeafLimit);
}

}  // namespace

Result<void> read_jetstream(const Json& answer, Word& word) {
  return read(answer, "JSZ", word, [](const Json& data, Word& out) {
    out.answers = true;
    out.jetstream = !data.value("disabled", false);
    out.stored = data.value("storage", std::uint64_t{0});
    const Json config = data.value("config", Json::object());
    out.may_store = config.value("max_storage", std::uint64_t{0});
    out.sync.reset();
    if (config.value("sync_always", false)) out.sync = Duration{};
    else if (config.contains("sync_interval")) out.sync = Duration(config["sync_interval"].get<std::int64_t>());
    const Json meta = data.value("meta_cluster", Json::object());
    out.meta_leader = meta.value("leader", "");
    out.meta_size = meta.value("cluster_size", std::size_t{0});
    out.meta_others = replicas_of(meta);
    if (!data.contains("account_details")) return;
    out.streams.emplace();
    for (const Json& account : data["account_details"])
      for (const Json& detail : account.value("stream_detail", Json::array())) out.streams->push_back(stream_of(detail, account.at("name").get<std::string>()));
  });
}

Result<void> read_routes(const Json& answer, Word& word) {
  return read(answer, "ROUTEZ", word, [](const Json& data, Word& out) {
    out.routes.emplace();
    // Newer servers have several routes to each other.
    for (const Json& route : data.value("routes", Json::array())) out.routes->insert(route.at("remote_id").get<std::string>());
  });
}

std::vector<Word> look(Connection& sys, Connection& control, const std::vector<Server>& planned, bool streams) {
  std::vector<Word> out;
  for (auto& [name, word] : ask_core(sys, planned, streams)) out.push_back(std::move(word));
  ask_leafs(control, planned, out);
  return out;
}

}  // namespace daarion::nats
