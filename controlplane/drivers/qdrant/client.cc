#include "controlplane/drivers/qdrant/client.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

namespace daarion::qdrant {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

/// A field of an answer that is missing, or of another type, is an answer that cannot be used: nothing is guessed from half of it.
template <class T>
Result<T> read(const std::string& text, const char* what, const std::function<T(const Json&)>& take) {
  const Json all = Json::parse(text, nullptr, false);
  if (all.is_discarded()) return fail(Remedy::kRetry, std::string("read ") + what + ": the answer is no JSON");
  try {
    return take(all.at("result"));
  } catch (const std::exception& e) {
    return fail(Remedy::kRetry, std::string("read ") + what + ": " + e.what());
  }
}

template <class T>
std::optional<T> given(const Json& at, const char* key) {
  const auto found = at.find(key);
  if (found == at.end() || found->is_null()) return std::nullopt;
  return found->get<T>();
}

// JSON has no unsigned type of its own: -1 would be read as a huge number.
std::uint64_t number(const Json& at, const char* key) {
  const Json& n = at.at(key);
  if (!n.is_number_unsigned()) throw std::runtime_error(std::string(key) + " is no whole number");
  return n.get<std::uint64_t>();
}
ShardId shard_in(const Json& at) {
  const std::uint64_t n = number(at, "shard_id");
  if (n > UINT32_MAX) throw std::runtime_error("shard_id is too large");
  return static_cast<ShardId>(n);
}

std::string in_path(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    char coded[4];
    std::snprintf(coded, sizeof coded, "%%%02X", c);
    out += std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~' ? std::string(1, static_cast<char>(c)) : std::string(coded);
  }
  return out;
}

}  // namespace

Result<void> read_cluster(const std::string& text, PeerView& view) {
  auto read_one = read<PeerView>(text, "GET /cluster", [&](const Json& r) {
    PeerView v = view;
    v.clustered = r.at("status").get<std::string>() == "enabled";
    if (!v.clustered) return v;
    v.id = number(r, "peer_id");
    for (const auto& [id, peer] : r.at("peers").items()) v.peers[std::stoull(id)] = peer.at("uri").get<std::string>();
    const Json& raft = r.at("raft_info");
    v.term = number(raft, "term");
    v.commit = number(raft, "commit");
    v.pending = number(raft, "pending_operations");
    v.leader = given<std::uint64_t>(raft, "leader");
    if (v.leader == 0) v.leader.reset();
    v.voter = raft.at("is_voter").get<bool>();
    const Json& thread = r.at("consensus_thread_status");
    const std::string status = thread.at("consensus_thread_status").get<std::string>();
    if (status != "working") v.consensus = status + (thread.contains("err") ? ": " + thread.at("err").get<std::string>() : "");
    return v;
  });
  if (!read_one) return tl::unexpected(read_one.error());
  view = std::move(*read_one);
  return {};
}

Result<std::vector<std::string>> read_names(const std::string& text) {
  return read<std::vector<std::string>>(text, "GET /collections", [](const Json& r) {
    std::vector<std::string> out;
    for (const Json& c : r.at("collections")) out.push_back(c.at("name").get<std::string>());
    return out;
  });
}

Result<CollectionParams> read_params(const std::string& text) {
  return read<CollectionParams>(text, "GET /collections/{name}", [](const Json& r) {
    const Json& p = r.at("config").at("params");
    CollectionParams out;
    out.shard_number = static_cast<std::uint32_t>(given<std::uint64_t>(p, "shard_number").value_or(1));
    out.replication_factor = static_cast<std::uint32_t>(given<std::uint64_t>(p, "replication_factor").value_or(1));
    out.write_consistency_factor = static_cast<std::uint32_t>(given<std::uint64_t>(p, "write_consistency_factor").value_or(1));
    out.custom_sharding = given<std::string>(p, "sharding_method").value_or("auto") == "custom";
    return out;
  });
}

Result<void> read_placement(const std::string& text, CollectionSeen& seen) {
  auto read_one = read<CollectionSeen>(text, "GET /collections/{name}/cluster", [&](const Json& r) {
    CollectionSeen c = seen;
    const std::uint64_t self = number(r, "peer_id");
    for (const Json& s : r.at("local_shards")) c.shards[shard_in(s)][self] = replica_state(s.at("state").get<std::string>());
    for (const Json& s : r.at("remote_shards")) c.shards[shard_in(s)][number(s, "peer_id")] = replica_state(s.at("state").get<std::string>());
    for (const Json& t : r.at("shard_transfers"))
      c.transfers.push_back({.shard = shard_in(t), .from = number(t, "from"), .to = number(t, "to"), .sync = t.at("sync").get<bool>()});
    std::ranges::sort(c.transfers);
    const auto resharding = r.find("resharding_operations");
    c.resharding = resharding != r.end() && resharding->is_array() && !resharding->empty();
    return c;
  });
  if (!read_one) return tl::unexpected(read_one.error());
  seen = std::move(*read_one);
  return {};
}

std::string error_in(const std::string& text) {
  const Json all = Json::parse(text, nullptr, false);
  if (all.is_object() && all.contains("status") && all["status"].is_object() && all["status"].contains("error") && all["status"]["error"].is_string())
    return all["status"]["error"].get<std::string>();
  return text.substr(0, std::min<std::size_t>(text.find('\n'), 120));
}

std::string body_of(const Step& step) {
  if (step.kind == Step::Kind::kReplicate)
    return Json{{"replicate_shard", {{"shard_id", step.shard}, {"from_peer_id", step.from}, {"to_peer_id", step.to}}}}.dump();
  return Json{{"drop_replica", {{"shard_id", step.shard}, {"peer_id", step.to}}}}.dump();
}

Client::Client(Target target) : target_(std::move(target)), http_(target_.host, target_.port, true) {}

Result<std::string> Client::ask(const HttpCall& call, Duration limit) {
  HttpCall with_key = call;
  if (!target_.api_key.empty()) with_key.headers.emplace_back("api-key", target_.api_key);
  const HttpReply reply = http_.call(with_key, limit);
  const std::string what = call.method + " " + call.path + " on " + target_.node.value + ": ";
  if (!reply.error.empty()) return fail(Remedy::kRetry, what + (reply.late ? "no answer in time" : reply.error), call.method == "GET" ? Effect::kNone
      : Effect::kMaybe);
  const int status = reply.answer.status;
  if (status == 401 || status == 403) return fail(Remedy::kFixInput, what + "it refuses the API key (" + std::to_string(status)
      + "); QDRANT_API_KEY is to be the server's");
  if (status >= 500) return fail(Remedy::kRetry, what + "answer " + std::to_string(status) + ", " + error_in(reply.answer.body), call.method == "GET"
      ? Effect::kNone : Effect::kMaybe);
  if (status != 200) return fail(Remedy::kFixInput, what + "answer " + std::to_string(status) + ", " + error_in(reply.answer.body));
  return reply.answer.body;
}

PeerView Client::look(Duration limit) {
  const auto end = Clock::now() + limit;
  PeerView view;
  view.node = target_.node;
  const auto get = [&](const std::string& path) -> Result<std::string> {
    const auto left = std::chrono::duration_cast<Duration>(end - Clock::now());
    if (left <= Duration{}) return fail(Remedy::kRetry, "GET " + path + " on " + target_.node.value + ": no time is left");
    return ask({.path = path}, left);
  };
  const auto stop = [&](const Error& error) {
    view.error = error.message;
    return view;
  };
  auto cluster = get("/cluster");
  if (!cluster) return stop(cluster.error());
  if (auto done = read_cluster(*cluster, view); !done) return stop(done.error());
  view.reached = true;
  if (!view.clustered) return view;
  // Answered outside of "result", as the server does; the published text says inside.
  if (auto root = get("/")) {
    const Json all = Json::parse(*root, nullptr, false);
    const Json& at = all.is_object() && all.contains("result") && all["result"].is_object() ? all["result"] : all;
    if (at.is_object() && at.contains("version") && at["version"].is_string()) view.version = at["version"].get<std::string>().substr(0, 32);
  }
  auto listed = get("/collections");
  auto names = listed ? read_names(*listed) : tl::unexpected(listed.error());
  if (!names) return stop(names.error());
  for (const std::string& name : *names) {
    CollectionSeen seen;
    auto info = get("/collections/" + in_path(name));
    // A shard without a whole replica can make this fail, and then it matters most what the next one says: left unknown.
    if (auto params = info ? read_params(*info) : tl::unexpected(info.error())) seen.params = *params;
    auto cluster_of = get("/collections/" + in_path(name) + "/cluster");
    auto done = cluster_of ? read_placement(*cluster_of, seen) : tl::unexpected(cluster_of.error());
    if (!done) return stop(done.error());
    view.collections.emplace(name, std::move(seen));
  }
  view.whole = true;
  return view;
}

Result<void> Client::run(const Step& step, Duration limit) {
  // Their own wait for the commit ends before ours for the answer.
  const std::string timeout = "?timeout=" + std::to_string(std::max<std::int64_t>(to_ms(limit) / 1000 - 1, 1));
  const bool removal = step.kind == Step::Kind::kRemovePeer;
  auto done = ask({.method = removal ? "DELETE" : "POST",
                   .path = removal ? "/cluster/peer/" + std::to_string(step.to) + timeout : "/collections/" + in_path(step.collection) + "/cluster" + timeout,
                   .body = removal ? "" : body_of(step)},
                  limit);
  if (!done) return tl::unexpected(done.error());
  auto accepted = read<bool>(*done, "the answer to a step", [](const Json& r) { return r.get<bool>(); });
  if (!accepted) return fail(Remedy::kRetry, accepted.error().message, Effect::kMaybe);
  if (!*accepted) return fail(Remedy::kRetry, step.what + ": the cluster did not agree");
  return {};
}

Members::Members(const std::vector<Target>& targets, std::map<NodeId, std::string> addresses) : addresses_(std::move(addresses)) {
  for (const Target& target : targets) clients_.push_back(std::make_unique<Client>(target));
}

Picture Members::look(Duration limit) {
  words_.assign(clients_.size(), {});
  std::vector<std::thread> asking;
  for (std::size_t i = 0; i < clients_.size(); ++i) asking.emplace_back([this, i, limit] { words_[i] = clients_[i]->look(limit); });
  for (std::thread& one : asking) one.join();
  return picture_of(words_, addresses_);
}

Result<void> Members::run(const Step& step, const Picture& picture, Duration limit) {
  for (const auto& client : clients_)
    if (client->target().node == picture.by) return client->run(step, limit);
  return fail(Remedy::kRetry, step.what + ": no member to ask");
}

}  // namespace daarion::qdrant
