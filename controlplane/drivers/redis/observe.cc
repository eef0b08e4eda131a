#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "controlplane/core/write_refusal.h"
#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/engine.h"
#include "controlplane/drivers/redis/rdb_header.h"

namespace daarion::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A replica that does not stream for longer than a reconnection takes has a cause that is worth naming.
constexpr seconds kNotStreamingIsNews{3};
// Beyond it a contact is not known any better, and sums do not wrap.
constexpr std::uint64_t kLongAgoMs = 1ULL << 40;
// Openings that the key holds: it is written at each promotion. A node that missed more than these takes a whole copy.
constexpr std::size_t kKeyOpenings = 32;

std::uint64_t age_ms_of(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return kLongAgoMs;
  const auto written = std::chrono::system_clock::from_time_t(info.st_mtim.tv_sec);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now() - written).count()));
}

/// "ip=127.0.0.1,port=7002,state=online,offset=50,lag=1" -> one of its values.
std::string part_of(const std::string& line, const std::string& name) {
  const std::size_t at = ("," + line).find("," + name + "=");
  if (at == std::string::npos) return {};
  const std::size_t from = at + name.size() + 1;
  return line.substr(from, line.find(',', from) - from);
}

std::uint64_t number(const std::string& text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::uint64_t timeline_of(const Marker* data, const std::string& replid, const Marker& marker) {
  if (data != nullptr && !data->openings.empty()) return data->openings.rbegin()->first;
  for (auto at = marker.openings.rbegin(); at != marker.openings.rend(); ++at)
    if (!replid.empty() && at->second.replid == replid) return at->first;
  return 0;
}

std::string timelines_text(const Marker& marker) {
  Marker newest = marker;
  while (newest.openings.size() > kKeyOpenings) newest.openings.erase(newest.openings.begin());
  for (auto& [timeline, opening] : newest.openings) opening.replid.clear();  // not known yet when it is written
  return to_text(newest);
}

/// The kept connection, of this incarnation and to these data, opened if there is none.
Result<Connection*> Engine::connection(Duration limit) {
  const std::uint64_t incarnation = host_.incarnation();
  if (kept_ && (!kept_->alive() || kept_incarnation_ != incarnation)) kept_.reset();
  if (kept_) return kept_.get();
  auto opened = Connection::open({.host = socket_of(config_), .port = 0, .user = kUser, .password = password_}, limit);
  if (!opened) return tl::unexpected(opened.error());
  auto which = (*opened)->ask({"CONFIG", "GET", "dir"}, limit);
  if (!which) return tl::unexpected(which.error());
  if (which->list.size() != 2 || which->list[1].text != data_dir_)
    return fail(Remedy::kFixInput, socket_of(config_) + " is served from " + (which->list.size() == 2 ? which->list[1].text : "?"));
  kept_ = std::move(*opened);
  kept_incarnation_ = incarnation;
  answered_incarnation_ = incarnation;
  return kept_.get();
}

Result<Engine::Seen> Engine::look(Duration limit) {
  auto conn = connection(limit);
  if (!conn) return tl::unexpected(conn.error());
  return look_at(**conn, limit);
}

/// Its word on itself, and a read of a key: a server that answers from its counters alone is not healthy.
Result<Engine::Seen> Engine::look_at(Connection& c, Duration limit) {
  auto replies = c.run({{"INFO", "server", "replication", "persistence"}, {"GET", kTimelinesKey}}, limit);
  if (!replies) return tl::unexpected(replies.error());
  const Reply& told = (*replies)[0];
  const Reply& key = (*replies)[1];
  if (told.kind != Reply::Kind::kText) return fail(Remedy::kRetry, told.text.empty() ? "INFO: no text" : told.text);
  Seen s;
  s.info = parse_info(told.text);
  s.primary = field(s.info, "role") == "master";
  s.loading = field(s.info, "loading") == "1";
  s.replid = field(s.info, "master_replid");
  // What is received and not applied yet is lost when it is promoted, so it does not count.
  s.offset = {redis::number(s.info, s.primary ? "master_repl_offset" : "slave_repl_offset")};
  if (key.kind == Reply::Kind::kText) s.data = parse_marker(key.text);
  if (key.kind == Reply::Kind::kError && !s.loading) return fail(Remedy::kRetry, "GET " + std::string(kTimelinesKey) + ": " + key.text);
  return s;
}

NodeId Engine::node_at(const Seen& seen) const {
  const std::string host = field(seen.info, "master_host");
  const std::uint64_t port = redis::number(seen.info, "master_port");
  for (const PeerAddress& p : config_.peers)
    if (p.host == host && p.port == port) return p.node;
  return {};
}

Position Engine::position_of(const Seen& seen, const Marker& marker) const {
  Position p{timeline_of(seen.data ? &*seen.data : nullptr, seen.replid, marker), seen.offset, {}};
  // Data that do not say whose they are, and of a stream that is not known either, are none: restarted empty, or not copied yet.
  if (seen.data) p.identity = seen.data->identity;
  else if (p.timeline != 0 || marker.openings.empty()) p.identity = marker.identity;
  if (p.identity.empty()) p.lsn = {};
  return p;
}

Position Engine::stopped_position() const {
  const auto marker = read_marker(data_dir_);
  const auto dump = read_rdb_header(dump_path());
  if (!marker) return {};
  if (!dump) return {0, {}, marker->openings.empty() ? marker->identity : ""};
  return {timeline_of(nullptr, dump->replid, *marker), dump->offset, marker->identity};
}

void Engine::fill_stopped(EngineReport& r) {
  kept_.reset();
  r.state = EngineState::kStopped;
  r.position = stopped_position();
  const auto marker = read_marker(data_dir_);
  if (!marker) return;
  if (!marker->openings.empty() && !exists(dump_path())) r.health = "its data are gone: there is no " + dump_path();
  fill_timeline(r, *marker);
}

void Engine::fill_timeline(EngineReport& r, const Marker& marker) const {
  if (const Opening* opening = fill_opening(r, marker)) r.timeline_start = opening->start;
}

/// A copy that was asked for and that another daemon began, which is gone: what the replica had before goes once the copy is there. One that does not go on
/// is ended, so that the replica starts with what it had. Returns whether it was.
bool Engine::settle_copy(const Seen& seen) {
  if (seen.primary || !exists(kept_path())) return false;
  if (seen.data) {
    if (field(seen.info, "master_link_status") == "up") (void)remove_file(kept_path());
    return false;
  }
  if (field(seen.info, "master_sync_in_progress") == "1") return false;
  return end_process("NOSAVE", kUpstreamLimit).has_value();
}

void Engine::fill_running(EngineReport& r) {
  r.state = answered_incarnation_ == r.incarnation ? EngineState::kUnresponsive : EngineState::kStarting;
  if (auto conn = connection(kConnectLimit); !conn) {
    r.health = conn.error().message;
    return;
  }
  auto seen = look(kAskLimit);
  if (!seen) {
    r.state = EngineState::kUnresponsive;
    r.health = seen.error().message;
    return;
  }
  r.version = field(seen->info, "redis_version");
  if (seen->loading) {
    r.state = EngineState::kStarting;
    r.health = "it loads its data: " + field(seen->info, "loading_loaded_perc") + " %";
    return;
  }
  if (settle_copy(*seen)) return fill_stopped(r);
  const auto marker = read_marker(data_dir_);
  if (!marker) return;
  const Marker now = note(*seen, *marker);
  r.position = position_of(*seen, now);
  r.replayed = r.position.lsn;
  fill_timeline(r, now);
  if (seen->primary) {
    r.state = EngineState::kPrimary;
    r.health = health_of_primary(*seen);
    not_streaming_since_.reset();
    keep_up(*seen, now);
  } else {
    r.state = EngineState::kStandby;
    fill_standby(r, *seen);
    const auto opening = now.openings.find(r.position.timeline);
    const bool other_stream = opening != now.openings.end() && !opening->second.replid.empty() && opening->second.replid != seen->replid;
    if (other_stream && !r.streaming && seen->data) {
      r.diverged = true;
      r.health = "it was opened by hand on timeline " + std::to_string(r.position.timeline) + "; what was written then goes when it rejoins";
    }
  }
  if (!r.position.identity.empty() && r.position.identity != now.identity)
    r.health = "its data are of " + r.position.identity + ", not daarion.json's " + now.identity;
}

void Engine::fill_standby(EngineReport& r, const Seen& s) {
  r.upstream = node_at(s);
  r.streaming = field(s.info, "master_link_status") == "up";
  r.contact_age_ms = contact_age_ms(s);
  if (r.position.identity.empty()) r.health = "it has no data of this resource: they are to be copied";
  if (r.streaming || r.upstream.empty()) {
    not_streaming_since_.reset();
    return;
  }
  if (!not_streaming_since_) not_streaming_since_ = Steady::now();
  const auto since = Steady::now() - *not_streaming_since_;
  if (since < kNotStreamingIsNews) return;
  const bool copying = field(s.info, "master_sync_in_progress") == "1";
  r.health = copying ? "it copies from " + r.upstream.value + ": " + field(s.info, "master_sync_read_bytes") + " bytes so far"
                     : "it has not streamed from " + r.upstream.value + " for " + std::to_string(to_ms(since) / 1000) + " s: " + last_cause() + "; see " + log_file_;
}

/// Since it last heard its upstream; of one that heard none in this run, since its data were written down.
std::uint64_t Engine::contact_age_ms(const Seen& s) {
  const std::uint64_t none = kLongAgoMs;
  if (const std::uint64_t ago = redis::number(s.info, "master_last_io_seconds_ago", none); ago != none) contact_ = Steady::now() - seconds(ago);
  const std::uint64_t age = contact_ ? static_cast<std::uint64_t>(to_ms(Steady::now() - *contact_)) : age_ms_of(dump_path());
  return std::min(kLongAgoMs, age);
}

std::string dump_failed(const Info& config) {
  const auto is = [&](const char* name, const char* wanted) { const auto at = config.find(name); return at != config.end() && at->second == wanted; };
  const std::string what = "its last dump failed";
  return is("stop-writes-on-bgsave-error", "no") || is("save", "") ? what : std::string(kRefusesWrites) + ": " + what;
}

std::string Engine::health_of_primary(const Seen& s) {
  if (field(s.info, "rdb_last_bgsave_status") == "err") {
    Info config;
    if (auto conn = connection(kConnectLimit); conn)
      if (auto told = (*conn)->ask({"CONFIG", "GET", "save", "stop-writes-on-bgsave-error"}, kAskLimit); told)
        for (std::size_t i = 0; i + 1 < told->list.size(); i += 2) config[told->list[i].text] = told->list[i + 1].text;
    return dump_failed(config) + "; see " + log_file_;
  }
  const std::uint64_t wanted = replicas_to_write(config_.resource);
  if (wanted > 0 && redis::number(s.info, "min_slaves_good_slaves", wanted) < wanted)
    return std::string(kRefusesWrites) + ": fewer than " + std::to_string(wanted) + " replicas are near";
  return {};
}

/// What the data say of their openings goes into daarion.json: for the time when the key, or the server, is gone. Best effort.
Marker Engine::note(const Seen& seen, Marker marker) {
  const Marker before = marker;
  if (seen.data && (marker.identity.empty() || marker.identity == seen.data->identity)) {
    marker.identity = seen.data->identity;
    for (const auto& [timeline, opening] : seen.data->openings) {
      Opening& known = marker.openings[timeline];
      const std::string replid = known.session == opening.session ? known.replid : std::string();
      known = opening;
      known.replid = replid;
    }
    // A replica knows the stream for sure only while it is on it; a primary writes its own.
    if (const std::uint64_t newest = timeline_of(&*seen.data, {}, marker); newest != 0) {
      Opening& opening = marker.openings[newest];
      // (which it changes once more when it begins to count).
      const bool own = seen.primary && opening.node == config_.self;
      const bool streams = field(seen.info, "master_link_status") == "up";
      if ((opening.replid.empty() && (own || streams)) || (own && opened_incarnation_ == host_.incarnation())) opening.replid = seen.replid;
    }
  }
  if (marker != before) (void)write_marker(data_dir_, marker, user_);
  return marker;
}

/// Without a replica ever, Redis does not count what is written, and a dump does not say where it ends. Being asked once for its stream is
/// enough for it to begin; the copy that it offers is not taken. Returns whether it was asked now.
bool Engine::begin_to_count(const Seen& seen) {
  if (field(seen.info, "repl_backlog_active") != "0") return false;
  auto asks = Connection::open({.host = socket_of(config_), .port = 0, .user = kUser, .password = password_}, kConnectLimit);
  if (asks) (void)(*asks)->run({{"PSYNC", "?", "-1"}}, kAskLimit);
  return true;
}

/// Things that are to be so on a primary of ours: the key, a stream that is counted, a dump of this timeline. Best effort: what fails is
/// tried again.
void Engine::keep_up(const Seen& seen, const Marker& marker) {
  if (marker.openings.empty()) return;
  const auto& [timeline, opening] = *marker.openings.rbegin();
  if (opening.node != config_.self || (!opening.replid.empty() && opening.replid != seen.replid)) return;
  auto conn = connection(kConnectLimit);
  if (!conn) return;
  Connection& c = **conn;
  const std::string text = timelines_text(marker);
  if (!seen.data || timelines_text(*seen.data) != text) (void)c.run({{"SET", kTimelinesKey, text}}, kAskLimit);
  if (begin_to_count(seen)) return;
  if (const std::pair wanted(kept_incarnation_, timeline); saved_ != wanted && c.alive()) {
    auto begun = c.ask({"BGSAVE", "SCHEDULE"}, kAskLimit);
    if (begun) saved_ = wanted;
  }
}

std::vector<ReplicaLag> replica_lags(const Info& info, const std::vector<PeerAddress>& peers) {
  const Lsn written{number(info, "master_repl_offset")};
  std::vector<ReplicaLag> out;
  for (std::uint64_t i = 0; i < number(info, "connected_slaves"); ++i) {
    const std::string line = field(info, "slave" + std::to_string(i));
    ReplicaLag lag;
    const auto is_it = [&](const PeerAddress& p) { return p.host == part_of(line, "ip") && std::to_string(p.port) == part_of(line, "port"); };
    if (const auto at = std::ranges::find_if(peers, is_it); at != peers.end()) lag.node = at->node;
    lag.state = part_of(line, "state");
    lag.acknowledged = {number(part_of(line, "offset"))};
    lag.lag_bytes = written > lag.acknowledged ? written.value - lag.acknowledged.value : 0;
    lag.lag_ms = lag.lag_bytes == 0 ? 0 : number(part_of(line, "lag")) * 1000;
    out.push_back(std::move(lag));
  }
  return out;
}

Result<std::vector<ReplicaLag>> Engine::replicas() {
  if (!host_.running())
    return fail(Remedy::kRetry, "ask for the replicas of " + config_.resource.id.value + ": the engine does not run");
  auto seen = look(kAskLimit);
  if (!seen) return tl::unexpected(seen.error());
  if (!seen->primary) return fail(Remedy::kRetry, "ask for the replicas of " + config_.resource.id.value + ": it is a replica itself");
  return replica_lags(seen->info, config_.peers);
}

}  // namespace daarion::redis
