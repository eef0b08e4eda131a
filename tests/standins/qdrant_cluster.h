// The cluster that the peers of a Qdrant stand-in share: one file, changed under a lock. See qdrant.cc.
#pragma once

#include <httplib.h>

#include <algorithm>
#include <random>

#include "tests/standins/shared.h"

namespace daarion::standin {

/// An answer that is an error: what a request refuses with.
struct Refused {
  int status;
  std::string text;
};
[[noreturn]] inline void wrong(const std::string& text) { throw Refused{400, "Wrong input: " + text}; }
[[noreturn]] inline void missing(const std::string& text) { throw Refused{404, "Not found: " + text}; }
[[noreturn]] inline void internal(const std::string& text) { throw Refused{500, "Service internal error: " + text}; }

/// The cluster, as it is in the shared file, seen from one peer.
class Cluster {
 public:
  Cluster(std::string shared, std::string storage, std::string uri, bool bootstrap)
      : file_(std::move(shared), "consensus.json",
              {{"term", 0}, {"commit", 0}, {"leader", nullptr}, {"peers", Json::object()}, {"collections", Json::object()}, {"knobs", Json::object()}}) {
    fs::create_directories(storage);
    const std::string own = storage + "/raft_state.json";
    Json raft = read_json(own);
    const bool fresh = !raft.contains("this_peer_id");
    if (fresh) {
      std::random_device chance;
      raft["this_peer_id"] = (static_cast<std::uint64_t>(chance()) << 32 | chance()) | 1ULL << 63;  // as large as the type allows
    }
    id_ = raft["this_peer_id"].get<std::uint64_t>();
    me_ = std::to_string(id_);
    uri_ = std::move(uri);
    alone_ = raft.value("alone", false);
    for (bool decided = false; !decided && !g_ending; std::this_thread::sleep_for(milliseconds(decided ? 0 : 100)))
      with([&](Json& s) {
        file_.live(me_);
        decided = true;
        const bool known = s["peers"].contains(me_), founds = s["peers"].empty();
        if (alone_ || (!fresh && !known)) return false;  // of its own, or removed from the cluster
        if (!known && !founds && !bootstrap) return alone_ = true, false;
        if (!known && (founds ? bootstrap : !quorum(s))) return decided = false, false;
        s["peers"][me_] = {{"uri", uri_}};
        commit(s);
        return true;
      });
    raft["alone"] = alone_;
    write_json(own, raft);
  }

  std::uint64_t id() const { return id_; }
  const std::string& name() const { return me_; }
  bool alone() const { return alone_; }
  const std::string& uri() const { return uri_; }

  bool with(const std::function<bool(Json&)>& change) { return file_.with(change); }
  Json look() { return file_.look(); }
  /// A change that the peers agree on. Waits for a majority as long as the caller does.
  void agree(const httplib::Request& req, const std::function<void(Json&)>& change) {
    const int limit = req.has_param("timeout") ? std::atoi(req.get_param_value("timeout").c_str()) : 10;
    for (const auto end = now_ms() + limit * 1000; !g_ending; std::this_thread::sleep_for(milliseconds(50))) {
      if (!alone_ && with([&](Json& s) { return quorum(s) && (change(s), commit(s), true); })) return;
      if (now_ms() >= end) internal("no commit of the operation within " + std::to_string(limit) + " seconds");
    }
  }

  bool lives(const std::string& peer) const { return file_.lives(peer); }
  bool quorum(const Json& s) const {
    std::size_t living = 0;
    for (const auto& [peer, info] : s["peers"].items()) living += lives(peer) ? 1 : 0;
    return living > s["peers"].size() / 2;
  }
  static void commit(Json& s) { s["commit"] = s["commit"].get<std::uint64_t>() + 1; }

  /// What happens by itself: elections, transfers, recoveries.
  void tick() {
    file_.touch();
    if (alone_) return;
    with([&](Json& s) {
      if (!s["peers"].contains(me_)) return false;
      if (!quorum(s)) return s["leader"].is_null() ? false : (s["leader"] = nullptr, true);
      bool changed = false;
      if (s["leader"].is_null() || !s["peers"].contains(s["leader"].get<std::string>()) || !lives(s["leader"])) {
        s["leader"] = me_;
        s["term"] = s["term"].get<std::uint64_t>() + 1;
        changed = true;
      }
      for (auto& [name, c] : s["collections"].items()) changed |= tick_collection(s["knobs"], c);
      if (changed) commit(s);
      return changed;
    });
  }

  static void begin_transfer(const Json& knobs, Json& c, int shard, const std::string& from, const std::string& to, bool sync) {
    c["shards"][std::to_string(shard)][to] = "Partial";
    c["transfers"].push_back({{"shard_id", shard}, {"from", from}, {"to", to}, {"sync", sync}, {"ends_ms", now_ms() + knobs.value("transfer_ms", 300)}});
  }
  static void end_transfer(Json& c, const Json& t, const std::string& state) {
    Json& replicas = c["shards"][std::to_string(t["shard_id"].get<int>())];
    const std::string to = t["to"], from = t["from"];
    Json& data = c["data"][std::to_string(t["shard_id"].get<int>())];
    if (data.is_null()) data = Json::object();
    if (state != "Dead") data[to] = data.value(from, Json::object());
    replicas[to] = state;
    if (!t["sync"].get<bool>()) replicas.erase(state == "Active" ? from : to);
  }

 private:
  bool tick_collection(const Json& knobs, Json& c) {
    bool changed = false;
    Json going = Json::array();
    for (const Json& t : c["transfers"]) {
      const bool broken = !lives(t["from"]) || !lives(t["to"]);
      const bool over = now_ms() >= t["ends_ms"].get<std::int64_t>() && !knobs.value("transfer_hangs", false);
      if (!broken && !over) going.push_back(t);
      else end_transfer(c, t, broken || knobs.value("transfer_fails", false) ? "Dead" : knobs.value("ends_partial", false) ? "Partial" : "Active");
      changed |= broken || over;
    }
    c["transfers"] = going;
    for (auto& [shard, replicas] : c["shards"].items()) {
      std::string source, broken;
      for (auto& [peer, state] : replicas.items()) {
        if (knobs.value("eager", false) && !lives(peer) && state == "Active") state = "Dead", changed = true;
        if (state == "Active" && lives(peer)) source = peer;
        if (state == "Dead" && lives(peer)) broken = peer;
      }
      const bool busy = std::any_of(c["transfers"].begin(), c["transfers"].end(),
          [&](const Json& t) { return std::to_string(t["shard_id"].get<int>()) == shard; });
      if (source.empty() || broken.empty() || busy || knobs.value("no_recovery", false)) continue;
      begin_transfer(knobs, c, std::stoi(shard), source, broken, true);
      changed = true;
    }
    return changed;
  }

  SharedFile file_;
  std::string me_, uri_;
  std::uint64_t id_ = 0;
  bool alone_ = false;
};

}  // namespace daarion::standin
