// A stand-in for Neo4j where there is none, and for its Enterprise cluster, which nobody gives away: one server, a process, alone or in a cluster of
// them. It has no graph; it has what a control plane sees of one: databases with ids and transaction ids, a raft for each of them with a leader, copies
// that lag, and the HTTP interface of 5 or, told so, of 4.4, with the answers that Community 5.26.0 and 4.4.38 were seen to give, and the published
// ones of Enterprise.
//
//   --home-dir=DIR --config-dir=DIR   as Neo4j's own: DIR/neo4j.conf has server.http.listen_address and server.bolt.listen_address
//   NEO4J_AUTH                        "neo4j/PASSWORD", as its image has it; "none"
//   DAARION_STAND_IN_EDITION          community (default) | enterprise
//   DAARION_STAND_IN_VERSION          5.26.0
//   DAARION_STAND_IN_SHARED           a folder that all servers of a cluster have in common; without it the server is alone
//   DAARION_STAND_IN_PLACE            core (default) | read_replica
//
// What it does wrong on demand: PUT /stand-in, for this server {"delay_ms": all it says, "query_delay_ms": its queries, "status", "garbage", "edition",
// "version", "store": another id of its data, "names_leader": whom it says to be the leader, "stuck": it takes no transactions, "unhealthy", "expired": its
// password, "database": {"neo4j": {"current":..., "message":...}}, "state": in SHOW SERVERS, "unknown_rows": SHOW DATABASES has no row that is known as
// its own}.
#include <httplib.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "tests/standins/shared.h"

namespace daarion::standin {
namespace {

std::string hex(std::size_t digits) {
  static std::random_device chance;
  std::string out;
  while (out.size() < digits) out += "0123456789abcdef"[chance() % 16];
  return out;
}
std::string uuid() { return hex(8) + "-" + hex(4) + "-4" + hex(3) + "-a" + hex(3) + "-" + hex(12); }

std::string base64(const std::string& bytes) {
  std::string bits, out;
  for (const char c : bytes)
    for (int i = 7; i >= 0; --i) bits += static_cast<unsigned char>(c) >> i & 1 ? '1' : '0';
  while (bits.size() % 6 != 0) bits += '0';
  for (std::size_t i = 0; i < bits.size(); i += 6)
    out += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[std::stoul(bits.substr(i, 6), nullptr, 2)];
  return out + std::string((4 - out.size() % 4) % 4, '=');
}

std::map<std::string, std::string> read_conf(const std::string& path) {
  std::map<std::string, std::string> out;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (const std::size_t at = line.find('='); at != std::string::npos && line[0] != '#') out[line.substr(0, at)] = line.substr(at + 1);
  return out;
}

/// An answer that is an error of the HTTP interface.
struct Failure {
  int status;
  std::string code, message;
};

struct Settings {
  std::string http, bolt, edition, version, place, user, password;
  bool cluster = false;
};

class Server {
 public:
  Server(Settings settings, const std::string& shared, const std::string& data)
      : settings_(std::move(settings)), file_(shared, "cluster.json", {{"servers", Json::object()}, {"databases", Json::object()}, {"of", Json::object()}}) {
    fs::create_directories(data);
    Json own = read_json(data + "/server_id.json");
    if (!own.contains("id")) own["id"] = uuid();
    id_ = own["id"];
    write_json(data + "/server_id.json", own);
    file_.live(id_);
    file_.with([&](Json& s) {
      s["servers"][id_] = {{"http", settings_.http}, {"bolt", settings_.bolt}, {"place", settings_.place}};
      for (const char* name : {"neo4j", "system"}) {
        if (!s["databases"].contains(name)) make(s, name);
        join(s["databases"][name]);
      }
      return true;
    });
  }

  /// Elections, and what copies take from their leader.
  void tick() {
    file_.touch();
    file_.with([&](Json& s) {
      bool changed = false;
      for (auto& [name, db] : s["databases"].items()) {
        std::vector<std::string> living;
        std::size_t voters = 0;
        for (const auto& [server, txn] : db["txn"].items()) {
          if (place(s, server) != "core") continue;
          ++voters;
          if (file_.lives(server)) living.push_back(server);
        }
        const std::string leader = db["leader"];
        std::string next = leader;
        if (living.size() <= voters / 2) next = "";
        else if (std::ranges::find(living, leader) == living.end())
          next = *std::ranges::max_element(living, {}, [&](const std::string& server) { return std::pair(txn(db, server), server != last_led(s, name)); });
        if (next != leader) db["leader"] = next, changed = true;
        if (!next.empty() && place(s, id_) != "" && db["txn"].contains(id_) && txn(db, id_) != txn(db, next) && !knobs(s).value("stuck", false))
          db["txn"][id_] = txn(db, next), changed = true;
      }
      return changed;
    });
  }

  void serve(httplib::Server& server) {
    server.set_pre_routing_handler([this](const httplib::Request& req, httplib::Response& res) { return before(req, res); });
    server.Get("/", answer([this](const httplib::Request&) {
      Json out = {{"bolt_routing", "neo4j://" + settings_.bolt}, {"transaction", "http://" + settings_.http + "/db/{databaseName}/tx"}, {"bolt_direct",
          "bolt://" +
          settings_.bolt}, {"neo4j_version", version()}, {"neo4j_edition", edition()}};
      if (!old()) out["query"] = "http://" + settings_.http + "/db/{databaseName}/query/v2";
      return out;
    }));
    server.Get("/dbms/cluster/status", answer([this](const httplib::Request&) { return status(); }));
    server.Post("/db/([^/]+)/tx/commit", answer([this](const httplib::Request& req) { return commit(req); }));
    server.Put("/stand-in", answer([this](const httplib::Request& req) {
      const Json told = Json::parse(req.body);
      file_.with([&](Json& s) {
        s["of"][id_].update(told);
        return true;
      });
      return Json(id_);
    }));
    server.set_error_handler([](const httplib::Request&, httplib::Response& res) {
      if (res.status == 404 && res.body.empty()) res.set_content(errors("Neo.ClientError.Request.Invalid", "Not Found").dump(), "application/json");
    });
  }

 private:
  using Handler = std::function<Json(const httplib::Request&)>;
  static Json errors(const std::string& code, const std::string& message) { return {{"errors", {{{"code", code}, {"message", message}}}}}; }
  static httplib::Server::Handler answer(Handler what) {
    return [what = std::move(what)](const httplib::Request& req, httplib::Response& res) {
      Json out;
      try {
        out = what(req);
      } catch (const Failure& no) {
        res.status = no.status;
        out = errors(no.code, no.message);
        if (no.status == 200) out["results"] = Json::array();
      } catch (const std::exception& e) {
        res.status = 400;
        out = errors("Neo.ClientError.Request.InvalidFormat", e.what());
      }
      res.set_content(out.dump(), "application/json");
    };
  }
  httplib::Server::HandlerResponse before(const httplib::Request& req, httplib::Response& res) {
    using Response = httplib::Server::HandlerResponse;
    if (req.path == "/stand-in") return Response::Unhandled;
    const Json k = knobs();
    linger(k.value("delay_ms", 0));
    if (req.method == "POST") linger(k.value("query_delay_ms", 0));
    if (k.value("status", 0) != 0) {
      res.status = k.value("status", 0);
      res.set_content(errors("Neo.DatabaseError.General.UnknownError", "as it was told").dump(), "application/json");
      return Response::Handled;
    }
    if (k.value("garbage", false)) {
      res.set_content(R"({"neo4j_version":["5"],"results":[{"columns":)", "application/json");
      return Response::Handled;
    }
    if (req.path == "/" || settings_.password.empty()) return Response::Unhandled;
    const std::string given = req.get_header_value("Authorization");
    if (given == httplib::make_basic_authentication_header(settings_.user, settings_.password).second) return Response::Unhandled;
    res.status = 401;
    res.set_content(errors("Neo.ClientError.Security.Unauthorized", given.empty() ? "No authentication header supplied." : "Invalid credential.").dump(),
        "application/json");
    return Response::Handled;
  }

  Json knobs(const Json& s) const { return s["of"].value(id_, Json::object()); }
  Json knobs() { return knobs(file_.look()); }
  std::string edition() { return knobs().value("edition", settings_.edition); }
  std::string version() { return knobs().value("version", settings_.version); }
  bool old() { return version().starts_with("4."); }
  static std::string place(const Json& s, const std::string& server) { return s["servers"].contains(server)
      ? s["servers"][server]["place"].get<std::string>() : ""; }
  static std::uint64_t txn(const Json& db, const std::string& server) { return db["txn"].value(server, std::uint64_t{0}); }
  /// Leaders of different databases are different servers, where there is a choice.
  static std::string last_led(const Json& s, const std::string& but) {
    for (const auto& [name, db] : s["databases"].items())
      if (name != but && db["leader"] != "") return db["leader"];
    return "";
  }
  void make(Json& s, const std::string& name) {
    std::string id = hex(64);
    std::ranges::transform(id, id.begin(), ::toupper);
    s["databases"][name] = {{"id", id}, {"raw", hex(32)}, {"leader", ""}, {"txn", Json::object()}};
  }
  void join(Json& db) {
    if (!db["txn"].contains(id_)) db["txn"][id_] = db["txn"].empty() ? 3 : 0;
  }

  Json status() {
    if (!settings_.cluster || edition() != "enterprise") throw Failure{404, "Neo.ClientError.Request.Invalid", "Not Found"};
    const Json s = file_.look(), k = knobs(s);
    Json out = Json::array();
    for (const auto& [name, db] : s["databases"].items()) {
      if (!db["txn"].contains(id_)) continue;
      Json voters = Json::array();
      for (const auto& [server, txn] : db["txn"].items())
        if (place(s, server) == "core") voters.push_back(server);
      const bool core = place(s, id_) == "core";
      const std::string leader = k.value("names_leader", db["leader"].get<std::string>());
      Json one = {{"lastAppliedRaftIndex", txn(db, id_)}, {"votingMembers", voters}, {"memberId", id_}, {"raftCommandsPerSecond", 0.0}, {"core", core},
                  {"participatingInRaftGroup", core && !leader.empty()}, {"healthy", !k.value("unhealthy", false)}};
      if (!leader.empty()) one["leader"] = leader;
      if (core && !leader.empty()) one["millisSinceLastLeaderMessage"] = 12;
      out.push_back({{"databaseName", name}, {"databaseUuid", db["raw"]}, {"databaseStatus", one}});
    }
    return out;
  }

  Json commit(const httplib::Request& req) {
    const std::string database = req.matches[1];
    const Json s = file_.look();
    if (knobs(s).value("expired", false))
      throw Failure{200, "Neo.ClientError.Security.CredentialsExpired",
          "Permission denied.\n\nThe credentials you provided were valid, but must be changed before you can use this instance."};
    if (!s["databases"].contains(database) || !s["databases"][database]["txn"].contains(id_))
      throw Failure{404, "Neo.ClientError.Database.DatabaseNotFound", "The database requested does not exists. Requested database name: '" + database + "'."};
    Json results = Json::array();
    const Json request = Json::parse(req.body);
    for (const Json& one : request.at("statements")) results.push_back(run(database, one.at("statement"), req.get_header_value("access-mode") == "READ"));
    Json out = {{"results", results}, {"errors", Json::array()}};
    if (!old()) out["lastBookmarks"] = {bookmark(file_.look()["databases"][database])};
    return out;
  }
  std::string bookmark(const Json& db) const {
    std::string bytes("\x91\xcc\x10", 3);
    const std::string raw = db["raw"];
    for (std::size_t i = 0; i < raw.size(); i += 2) bytes += static_cast<char>(std::stoi(raw.substr(i, 2), nullptr, 16));
    const std::uint64_t n = txn(db, id_);
    if (n < 0x80) {
      bytes += static_cast<char>(n);
    } else {
      bytes += '\xca';
      for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(n >> shift & 0xff);
    }
    bytes += '\x90';
    return "FB:" + base64(bytes);
  }

  Json run(const std::string& database, const std::string& statement, bool reads) {
    if (statement.starts_with("SHOW DATABASES")) return show_databases();
    if (statement.starts_with("SHOW SERVERS")) return show_servers();
    if (statement.starts_with("RETURN 1")) return {{"columns", {"1"}}, {"data", {{{"row", {1}}, {"meta", {nullptr}}}}}};
    const bool makes = statement.starts_with("CREATE DATABASE ");
    if (makes && edition() != "enterprise")
      throw Failure{200, "Neo.ClientError.Statement.UnsupportedAdministrationCommand", "Unsupported administration command: " + statement};
    if (!statement.starts_with("CREATE ")) throw Failure{200, "Neo.ClientError.Statement.SyntaxError", "Invalid input '" + statement.substr(0, 20) + "'"};
    if (reads) throw Failure{200, "Neo.ClientError.Statement.AccessMode", "Writing in read access mode not allowed."};
    file_.with([&](Json& s) {
      Json& db = s["databases"][database];
      if (settings_.cluster && db["leader"] != id_) throw Failure{200, "Neo.ClientError.Cluster.NotALeader",
          "No write operations are allowed directly on this database."};
      db["txn"][id_] = txn(db, id_) + 1;
      if (makes) {
        const std::string name = statement.substr(16);
        make(s, name);
        for (const auto& [server, info] : s["servers"].items()) s["databases"][name]["txn"][server] = 3;
      }
      return true;
    });
    return {{"columns", Json::array()}, {"data", Json::array()}};
  }

  Json show_databases() {
    const Json s = file_.look();
    const bool before_five = old(), community = edition() != "enterprise";
    static const std::vector<std::string> kFive = {"name", "type", "aliases", "access", "databaseID", "serverID", "address", "role", "writer",
        "requestedStatus", "currentStatus",
        "statusMessage", "default", "home", "lastCommittedTxn", "replicationLag"};
    static const std::vector<std::string> kFour = {"name", "aliases", "access", "databaseID", "serverID", "address", "role", "requestedStatus",
        "currentStatus", "error", "default",
        "home", "lastCommittedTxn", "replicationLag"};
    const std::vector<std::string>& columns = before_five ? kFour : kFive;
    Json data = Json::array();
    for (const auto& [name, db] : s["databases"].items())
      for (const auto& [server, n] : db["txn"].items()) {
        if (!settings_.cluster && server != id_) continue;
        const Json k = s["of"].value(server, Json::object()), told = k.value("database", Json::object()).value(name, Json::object());
        const bool lives = file_.lives(server), core = place(s, server) == "core", leads = !settings_.cluster || db["leader"] == server;
        const std::string role = !lives ? "unknown" : !before_five ? core ? "primary" : "secondary" : !settings_.cluster ? "standalone" : !core
            ? "read_replica" : leads ? "leader" : "follower";
        const bool hidden = knobs(s).value("unknown_rows", false);
        Json row = {{"name", name}, {"type", name == "system" ? "system" : "standard"}, {"aliases", Json::array()}, {"access", "read-write"}, {"databaseID",
            k.contains("store") &&
            name == "neo4j" ? k["store"] : db["id"]}, {"serverID", hidden ? Json("a-name") : Json(server)},
            {"address", hidden ? Json("elsewhere:7687") : settings_.cluster ? lives ? s["servers"][server]["bolt"] : Json(nullptr) : Json("localhost:7687")},
                {"role", role}, {"writer", lives && leads},
            {"requestedStatus", "online"}, {"currentStatus", lives ? told.value("current", "online") : "unknown"}, {"default", name == "neo4j"}, {"home",
                name == "neo4j"},
            {"lastCommittedTxn", community || !lives ? Json(nullptr) : n}, {"replicationLag", 0}};
        row[before_five ? "error" : "statusMessage"] = lives ? told.value("message", "") : "Server is unavailable";
        Json fields = Json::array();
        for (const std::string& column : columns) fields.push_back(row[column]);
        data.push_back({{"row", fields}, {"meta", Json::array()}});
      }
    return {{"columns", columns}, {"data", data}};
  }

  Json show_servers() {
    if (old()) throw Failure{200, "Neo.ClientError.Statement.SyntaxError", "Invalid input 'SERVERS'"};
    if (edition() != "enterprise") throw Failure{200, "Neo.ClientError.Statement.NotSystemDatabaseError", "Unsupported administration command: SHOW SERVERS"};
    const Json s = file_.look();
    Json data = Json::array();
    for (const auto& [server, info] : s["servers"].items()) {
      Json hosting = Json::array();
      for (const auto& [name, db] : s["databases"].items())
        if (db["txn"].contains(server)) hosting.push_back(name);
      const Json k = s["of"].value(server, Json::object());
      data.push_back({{"row", {server, server, info["bolt"], info["http"], k.value("state", "Enabled"), file_.lives(server) ? "Available" : "Unavailable",
          hosting,
          info["place"] == "core" ? "NONE" : "SECONDARY", k.value("version", settings_.version)}}, {"meta", Json::array()}});
    }
    return {{"columns", {"serverId", "name", "address", "httpAddress", "state", "health", "hosting", "modeConstraint", "version"}}, {"data", data}};
  }

  const Settings settings_;
  SharedFile file_;
  std::string id_;
};

}  // namespace
}  // namespace daarion::standin

int main(int argc, char** argv) {
  using namespace daarion::standin;
  std::string home = ".", conf;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--home-dir=")) home = word.substr(11);
    if (word.starts_with("--config-dir=")) conf = word.substr(13);
  }
  auto settings = read_conf((conf.empty() ? home + "/conf" : conf) + "/neo4j.conf");
  const std::string http = settings["server.http.listen_address"], auth = env("NEO4J_AUTH", "none"), shared = env("DAARION_STAND_IN_SHARED", "");
  const std::size_t colon = http.rfind(':'), slash = auth.find('/');
  if (colon == std::string::npos) {
    std::cerr << "a stand-in for Neo4j: server.http.listen_address is not in neo4j.conf\n";
    return 2;
  }
  httplib::Server server;
  if (!listen_at(server, "Neo4j", http.substr(0, colon), std::atoi(http.c_str() + colon + 1))) return 1;
  Server neo4j({.http = http, .bolt = settings["server.bolt.listen_address"], .edition = env("DAARION_STAND_IN_EDITION", "community"),
                .version = env("DAARION_STAND_IN_VERSION", "5.26.0"), .place = env("DAARION_STAND_IN_PLACE", "core"), .user = auth.substr(0, slash),
                .password = slash == std::string::npos ? "" : auth.substr(slash + 1), .cluster = !shared.empty()},
               shared.empty() ? home + "/data/shared" : shared, home + "/data");
  neo4j.serve(server);
  std::thread ticking([&] {
    for (; !g_ending; std::this_thread::sleep_for(milliseconds(50))) neo4j.tick();
  });
  std::cout << "a stand-in for Neo4j, without a graph, on " << http << std::endl;
  server.listen_after_bind();
  g_ending = true;
  ticking.join();
  return 0;
}
