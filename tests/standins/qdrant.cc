// A stand-in for Qdrant where there is none: one peer of a cluster of them, each a process. It has no vectors and no search; it has what a
// control plane sees of a cluster: collections, shards, replicas and their states, transfers that take time, a consensus that needs a majority.
//
//   [--uri URI] [--bootstrap URI]     as Qdrant's; without --bootstrap it founds a cluster, or stays alone if one is there already
//   QDRANT__SERVICE__HOST, QDRANT__SERVICE__HTTP_PORT, QDRANT__SERVICE__API_KEY, QDRANT__STORAGE__STORAGE_PATH    as Qdrant's
//   DAARION_STAND_IN_SHARED           a folder that all peers of a cluster have in common
//
// The consensus is simple: one file in the shared folder, changed under a lock by whoever has a majority of living peers. A peer lives while
// it holds the lock on its own file there and has touched it lately, so SIGKILL and SIGSTOP are both seen. As with the real one, a replica on
// a dead peer is marked Dead by the first write that misses it, and is brought up to date by a transfer when the peer is back.
//
// What it does wrong on demand: PUT /stand-in, for this peer {"delay_ms", "status", "garbage"}, for all {"transfer_ms", "transfer_fails",
// "transfer_hangs", "ends_partial", "no_recovery", "eager": dead peers' replicas are marked at once}; PUT /stand-in/replica sets a state.

#include <iostream>
#include <set>

#include "tests/standins/qdrant_cluster.h"

namespace daarion::standin {
namespace {

std::uint64_t number_of(const std::string& peer) { return std::stoull(peer); }

/// What a peer answers.
class Peer {
 public:
  Peer(Cluster& cluster, std::string key) : cluster_(cluster), key_(std::move(key)) {}

  void serve(httplib::Server& server) {
    server.set_pre_routing_handler([this](const httplib::Request& req, httplib::Response& res) { return before(req, res); });
    for (const char* path : {"/healthz", "/livez"})
      server.Get(path, [](const httplib::Request&, httplib::Response& res) { res.set_content("healthz check passed", "text/plain"); });
    server.Get("/readyz", [this](const httplib::Request&, httplib::Response& res) {
      const Json s = cluster_.look();
      const bool ready = !cluster_.alone() && s["peers"].contains(cluster_.name()) && !s["leader"].is_null();
      res.status = ready ? 200 : 503;
      res.set_content(ready ? "all shards are ready" : "some shards are not ready", "text/plain");
    });
    server.Get("/", [](const httplib::Request&, httplib::Response& res) {
      res.set_content(R"({"title":"a stand-in for qdrant, without vectors","version":"0.0.0-stand-in"})", "application/json");
    });
    server.Get("/cluster", answer([this](const httplib::Request&) { return cluster_status(); }));
    server.Delete(R"(/cluster/peer/(\d+))", answer([this](const httplib::Request& req) { return remove_peer(req); }));
    server.Get("/collections", answer([this](const httplib::Request&) {
      Json names = Json::array();
      const Json s = cluster_.look();
      if (!cluster_.alone())
        for (const auto& [name, c] : s["collections"].items()) names.push_back({{"name", name}});
      return Json{{"collections", names}};
    }));
    const std::string one = "/collections/([^/]+)";
    server.Get(one, answer([this](const httplib::Request& req) {
      const Json c = collection(cluster_.look(), req.matches[1]);
      return Json{{"status", "green"}, {"optimizer_status", "ok"}, {"points_count", count(c)}, {"segments_count", 1}, {"config", {{"params",
          c["params"]}}}, {"payload_schema", Json::object()}};
    }));
    server.Put(one, answer([this](const httplib::Request& req) { return create(req); }));
    server.Patch(one, answer([this](const httplib::Request& req) {
      cluster_.agree(req, [&](Json& s) { collection(s, req.matches[1])["params"].update(body(req).at("params")); });
      return Json(true);
    }));
    server.Delete(one, answer([this](const httplib::Request& req) {
      cluster_.agree(req, [&](Json& s) { s["collections"].erase(std::string(req.matches[1])); });
      return Json(true);
    }));
    server.Get(one + "/cluster", answer([this](const httplib::Request& req) { return placement(req.matches[1]); }));
    server.Post(one + "/cluster", answer([this](const httplib::Request& req) { return change(req); }));
    server.Put(one + "/points", answer([this](const httplib::Request& req) { return upsert(req); }));
    server.Post(one + "/points/count", answer([this](const httplib::Request& req) { return Json{{"count", count(collection(cluster_.look(),
        req.matches[1]))}}; }));
    server.Put("/stand-in", answer([this](const httplib::Request& req) {
      const Json told = body(req);
      cluster_.with([&](Json& s) {
        for (const auto& [knob, value] : told.items())
          (knob == "delay_ms" || knob == "status" || knob == "garbage" ? s["knobs"]["of"][cluster_.name()] : s["knobs"])[knob] = value;
        return true;
      });
      return Json(true);
    }));
    server.Put("/stand-in/replica", answer([this](const httplib::Request& req) {
      const Json b = body(req);
      cluster_.with([&](Json& s) {
        Cluster::commit(s);
        Json& replicas = collection(s, b.at("collection"))["shards"][std::to_string(b.at("shard_id").get<int>())];
        replicas[std::to_string(b.at("peer_id").get<std::uint64_t>())] = b.at("state");
        return true;
      });
      return Json(true);
    }));
  }

 private:
  using Handler = std::function<Json(const httplib::Request&)>;
  static httplib::Server::Handler answer(Handler what) {
    return [what = std::move(what)](const httplib::Request& req, httplib::Response& res) {
      Json out;
      try {
        out = {{"result", what(req)}, {"status", "ok"}, {"time", 0.0001}};
      } catch (const Refused& no) {
        res.status = no.status;
        out = {{"status", {{"error", no.text}}}, {"time", 0.0001}};
      } catch (const std::exception& e) {
        res.status = 400;
        out = {{"status", {{"error", std::string("Format error in JSON body: ") + e.what()}}}, {"time", 0.0001}};
      }
      res.set_content(out.dump(), "application/json");
    };
  }
  static Json body(const httplib::Request& req) { return Json::parse(req.body); }

  httplib::Server::HandlerResponse before(const httplib::Request& req, httplib::Response& res) {
    using Response = httplib::Server::HandlerResponse;
    if (req.path.starts_with("/stand-in")) return Response::Unhandled;
    const Json of = cluster_.look()["knobs"].value("of", Json::object()).value(cluster_.name(), Json::object());
    linger(of.value("delay_ms", 0));
    if (of.value("status", 0) != 0) {
      res.status = of.value("status", 0);
      res.set_content(R"({"status":{"error":"as it was told"},"time":0.0})", "application/json");
      return Response::Handled;
    }
    if (of.value("garbage", false)) {
      res.set_content(R"({"result":{"status":"enabled","peer_id":"many","peers":[)", "application/json");
      return Response::Handled;
    }
    static const std::set<std::string> kOpen = {"/", "/healthz", "/livez", "/readyz"};
    if (key_.empty() || kOpen.contains(req.path) || req.get_header_value("api-key") == key_ || req.get_header_value("Authorization") == "Bearer "
        + key_) return Response::Unhandled;
    res.status = 401;
    res.set_content("an API key is needed, and it is not this one", "text/plain");
    return Response::Handled;
  }

  static Json& collection(Json& s, const std::string& name) {
    if (!s["collections"].contains(name)) missing("Collection `" + name + "` doesn't exist!");
    return s["collections"][name];
  }
  Json collection(Json&& s, const std::string& name) const {
    if (cluster_.alone()) missing("Collection `" + name + "` doesn't exist!");
    return collection(s, name);
  }

  Json cluster_status() {
    const Json s = cluster_.look();
    const bool in = !cluster_.alone() && s["peers"].contains(cluster_.name());
    Json peers = Json::object();
    if (in)
      for (const auto& [peer, info] : s["peers"].items()) peers[peer] = {{"uri", info["uri"]}};
    else
      peers[cluster_.name()] = {{"uri", cluster_.uri()}};
    Json failures = Json::object();
    if (in)
      for (const auto& [peer, info] : s["peers"].items())
        if (!cluster_.lives(peer)) failures[info["uri"].get<std::string>()] = {{"count", 1}, {"latest_error", "no connection"}, {"latest_error_timestamp",
            nullptr}};
    const Json leader = cluster_.alone() ? Json(cluster_.id()) : in && !s["leader"].is_null() ? Json(number_of(s["leader"])) : Json(nullptr);
    Json thread = {{"consensus_thread_status", "working"}, {"last_update", "2024-01-01T00:00:00.000000000Z"}};
    if (!in && !cluster_.alone()) thread = {{"consensus_thread_status", "stopped"}};
    return {{"status", "enabled"},
            {"peer_id", cluster_.id()},
            {"peers", peers},
            {"raft_info",
             {{"term", cluster_.alone() ? Json(1) : s["term"]}, {"commit", cluster_.alone() ? Json(1) : s["commit"]}, {"pending_operations", 0}, {"leader",
                 leader},
              {"role", leader == Json(cluster_.id()) ? "Leader" : leader.is_null() ? "Candidate" : "Follower"}, {"is_voter", true}}},
            {"consensus_thread_status", thread},
            {"message_send_failures", failures}};
  }

  Json remove_peer(const httplib::Request& req) {
    const std::string peer = req.matches[1];
    cluster_.agree(req, [&](Json& s) {
      if (!s["peers"].contains(peer)) wrong("there is no peer " + peer);
      for (auto& [name, c] : s["collections"].items())
        for (auto& [shard, replicas] : c["shards"].items()) {
          if (replicas.contains(peer) && req.get_param_value("force") != "true") wrong("peer " + peer + " has shards, and force was not asked for");
          replicas.erase(peer);
        }
      s["peers"].erase(peer);
      if (s["leader"] == peer) s["leader"] = nullptr;
    });
    return true;
  }

  Json create(const httplib::Request& req) {
    const Json b = body(req);
    const std::string name = req.matches[1];
    cluster_.agree(req, [&](Json& s) {
      if (s["collections"].contains(name)) wrong("Collection `" + name + "` already exists!");
      const int shards = b.value("shard_number", static_cast<int>(s["peers"].size()));
      const int factor = std::min(b.value("replication_factor", 1), static_cast<int>(s["peers"].size()));
      Json c = {{"params", {{"vectors", b.value("vectors", Json::object())}, {"shard_number", shards}, {"replication_factor", b.value("replication_factor", 1)},
                            {"write_consistency_factor", b.value("write_consistency_factor", 1)}, {"on_disk_payload", true}}},
                {"shards", Json::object()}, {"transfers", Json::array()}, {"data", Json::object()}};
      std::vector<std::string> peers;
      for (const auto& [peer, info] : s["peers"].items()) peers.push_back(peer);
      std::size_t next = 0;
      for (int shard = 0; shard < shards; ++shard)
        for (int i = 0; i < factor; ++i) c["shards"][std::to_string(shard)][peers[next++ % peers.size()]] = "Active";
      s["collections"][name] = c;
    });
    return true;
  }

  Json placement(const std::string& name) {
    const Json c = collection(cluster_.look(), name);
    Json local = Json::array(), remote = Json::array(), transfers = Json::array();
    for (const auto& [shard, replicas] : c["shards"].items())
      for (const auto& [peer, state] : replicas.items()) {
        const int id = std::stoi(shard);
        if (peer == cluster_.name())
          local.push_back({{"shard_id", id}, {"points_count", c["data"].value(shard, Json::object()).value(peer, Json::object()).size()}, {"state", state}});
        else
          remote.push_back({{"shard_id", id}, {"peer_id", number_of(peer)}, {"state", state}});
      }
    for (const Json& t : c["transfers"])
      transfers.push_back({{"shard_id", t["shard_id"]}, {"from", number_of(t["from"])}, {"to", number_of(t["to"])}, {"sync", t["sync"]}, {"method",
          "stream_records"}});
    return {{"peer_id", cluster_.id()}, {"shard_count", c["shards"].size()}, {"local_shards", local}, {"remote_shards", remote}, {"shard_transfers",
        transfers}};
  }

  /// Of a shard and a peer that are there.
  static std::pair<std::string, std::string> place(const Json& s, const Json& c, const Json& op, const char* peer_key) {
    const std::string shard = std::to_string(op.at("shard_id").get<unsigned>()), peer = std::to_string(op.at(peer_key).get<std::uint64_t>());
    if (!c["shards"].contains(shard)) wrong("there is no shard " + shard);
    if (!s["peers"].contains(peer)) wrong("there is no peer " + peer);
    return {shard, peer};
  }
  Json change(const httplib::Request& req) {
    const Json b = body(req);
    cluster_.agree(req, [&](Json& s) {
      Json& c = collection(s, req.matches[1]);
      for (const char* kind : {"replicate_shard", "move_shard"})
        if (b.contains(kind)) return transfer(s, c, b[kind], std::string(kind) == "replicate_shard");
      if (b.contains("drop_replica")) return drop(s, c, b["drop_replica"]);
      if (b.contains("abort_transfer")) return abort(s, c, b["abort_transfer"]);
      wrong("no operation that is known");
    });
    return true;
  }
  static void transfer(Json& s, Json& c, const Json& op, bool sync) {
    const auto [shard, from] = place(s, c, op, "from_peer_id");
    const std::string to = place(s, c, op, "to_peer_id").second;
    if (from == to) wrong("a transfer to where the shard is");
    if (c["shards"][shard].value(from, "") != "Active") wrong("shard " + shard + " is not active on peer " + from);
    for (const Json& t : c["transfers"])
      if (std::to_string(t["shard_id"].get<int>()) == shard && (t["from"] == from || t["to"] == from || t["from"] == to || t["to"] == to))
        wrong("shard " + shard + " is in a transfer from " + t["from"].get<std::string>() + " to " + t["to"].get<std::string>());
    Cluster::begin_transfer(s["knobs"], c, std::stoi(shard), from, to, sync);
  }
  static void drop(Json& s, Json& c, const Json& op) {
    const auto [shard, peer] = place(s, c, op, "peer_id");
    Json& replicas = c["shards"][shard];
    if (!replicas.contains(peer)) wrong("shard " + shard + " has no replica on peer " + peer);
    bool other = false;
    for (const auto& [at, state] : replicas.items()) other |= at != peer && state == "Active";
    if (!other) wrong("no other replica of shard " + shard + " is active");
    replicas.erase(peer);
    if (c["data"].contains(shard)) c["data"][shard].erase(peer);
  }
  static void abort(Json& s, Json& c, const Json& op) {
    const auto [shard, from] = place(s, c, op, "from_peer_id");
    const std::string to = place(s, c, op, "to_peer_id").second;
    for (std::size_t i = 0; i < c["transfers"].size(); ++i) {
      const Json t = c["transfers"][i];
      if (std::to_string(t["shard_id"].get<int>()) != shard || t["from"] != from || t["to"] != to) continue;
      c["transfers"].erase(i);
      return Cluster::end_transfer(c, t, "Dead");
    }
    missing("no transfer of shard " + shard + " from " + from + " to " + to);
  }

  Json upsert(const httplib::Request& req) {
    const Json points = body(req).at("points");
    std::string failed;
    cluster_.with([&](Json& s) {
      Json& c = collection(s, req.matches[1]);
      const bool quorum = cluster_.quorum(s);
      for (const Json& point : points) {
        const std::string id = point.at("id").dump(), shard = std::to_string(std::hash<std::string>{}(id) % c["shards"].size());
        int written = 0;
        for (auto& [peer, state] : c["shards"][shard].items()) {
          if (!cluster_.lives(peer)) {
            if (state != "Active") continue;
            if (quorum) state = "Dead", Cluster::commit(s);
            else failed = "peer " + peer + " misses an update and cannot be marked: no majority";
          } else if (state == "Active" || state == "Partial") {
            c["data"][shard][peer][id] = 1;
            written += state == "Active" ? 1 : 0;
          }
        }
        if (written < c["params"]["write_consistency_factor"].get<int>()) failed = std::to_string(written) + " active replicas of shard " + shard + " took it";
      }
      return true;
    });
    if (!failed.empty()) internal(failed);
    return {{"operation_id", 1}, {"status", "completed"}};
  }
  std::size_t count(const Json& c) const {
    std::size_t out = 0;
    for (const auto& [shard, replicas] : c["shards"].items()) {
      std::string from;
      for (const auto& [peer, state] : replicas.items())
        if (state == "Active" && cluster_.lives(peer)) from = peer;
      if (from.empty()) internal("shard " + shard + " has no active replica that can be reached");
      out += c["data"].value(shard, Json::object()).value(from, Json::object()).size();
    }
    return out;
  }

  Cluster& cluster_;
  const std::string key_;
};

}  // namespace
}  // namespace daarion::standin

int main(int argc, char** argv) {
  using namespace daarion::standin;
  std::string uri, bootstrap;
  for (int i = 1; i + 1 < argc; i += 2) (std::string(argv[i]) == "--uri" ? uri : bootstrap) = argv[i + 1];
  const std::string host = env("QDRANT__SERVICE__HOST", "127.0.0.1"), shared = env("DAARION_STAND_IN_SHARED", "");
  const int port = std::atoi(env("QDRANT__SERVICE__HTTP_PORT", "6333").c_str());
  if (shared.empty()) {
    std::cerr << "a stand-in for Qdrant: DAARION_STAND_IN_SHARED names the folder that its peers have in common\n";
    return 2;
  }
  httplib::Server server;
  if (!listen_at(server, "Qdrant", host, port)) return 1;
  Cluster cluster(shared, env("QDRANT__STORAGE__STORAGE_PATH", "./storage"), uri.empty() ? "http://" + host + ":6335/" : uri, !bootstrap.empty());
  Peer peer(cluster, env("QDRANT__SERVICE__API_KEY", ""));
  peer.serve(server);
  std::thread ticking([&] {
    for (; !g_ending; std::this_thread::sleep_for(milliseconds(50))) cluster.tick();
  });
  std::cout << "a stand-in for Qdrant, peer " << cluster.name() << ", on " << host << ":" << port << std::endl;
  server.listen_after_bind();
  g_ending = true;
  ticking.join();
  return 0;
}
