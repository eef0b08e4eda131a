#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/engine.h"

namespace daarion::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Roles, grants and slots are looked at this often on a primary, stale slots on a standby: a lost slot is mended within it, and it
// costs a few ms.
constexpr seconds kKeepUpEvery{10};
// A standby that does not stream for longer than a restart of its upstream's walsender takes has a cause that is worth naming.
constexpr seconds kNotStreamingIsNews{3};
// Within this time of losing its primary a standby is promoted or follows another one; later its host is looked at again, as what it lacks may be
// what a promotion waits for.
constexpr seconds kContested{10};
// Beyond it a contact is not known any better, and sums do not wrap.
constexpr std::uint64_t kLongAgoMs = 1ULL << 40;

std::string version_text(std::uint32_t version) { return std::to_string(version / 10000) + "." + std::to_string(version % 10000); }

// One row with all that is reported, and a read of a table: an engine whose answers come from memory alone is not healthy.
std::string look_of(const char* replay_pause) {
  return std::string(R"(
SELECT pg_is_in_recovery(), s.system_identifier, pg_postmaster_start_time(),
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END,
  w.status, w.received_tli, w.sender_host, w.sender_port,
  (extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time) * 1000)::bigint,
  current_setting('primary_conninfo'), current_setting('primary_slot_name'),
  (extract(epoch FROM clock_timestamp() - greatest(pg_last_xact_replay_timestamp(), c.checkpoint_time)) * 1000)::bigint,
  c.timeline_id, c.checkpoint_lsn, r.min_recovery_end_timeline, r.min_recovery_end_lsn,
  CASE WHEN pg_is_in_recovery() THEN )") + replay_pause + R"( END, (SELECT count(*) FROM pg_class),
  (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'), current_setting('synchronous_standby_names')
FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r LEFT JOIN pg_stat_wal_receiver w ON true)";
}
const std::string kLook = look_of("pg_get_wal_replay_pause_state()");
const std::string kLook13 = look_of("CASE WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'not paused' END");

}  // namespace

Result<ControlData> Engine::control() {
  struct stat info {};
  const std::string path = data_dir_ + "/global/pg_control";
  if (stat(path.c_str(), &info) != 0) return fail(Remedy::kFixInput, path + " cannot be read");
  const std::string key =
      std::to_string(info.st_ino) + "." + std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec);
  if (control_cache_ && control_cache_->first == key) return control_cache_->second;
  auto read = read_control(tools_, data_dir_);
  if (read) control_cache_ = {key, *read};
  return read;
}

/// The kept connection, of this incarnation and to these data, opened if there is none.
Result<Connection*> Engine::connection(Duration limit) {
  const std::uint64_t incarnation = host_.incarnation();
  if (kept_ && (!kept_->alive() || kept_incarnation_ != incarnation)) kept_.reset();
  if (kept_) return kept_.get();
  const PeerAddress* self = find_peer(config_, config_.self);
  auto opened = Connection::open({.host = config_.run_dir, .port = self->port, .user = kSuperuser, .password = ""}, limit);
  if (!opened) return tl::unexpected(opened.error());
  // Our own statements never wait for a replica, nor long for anything.
  if (auto set = (*opened)->query("SET synchronous_commit = local; SET statement_timeout = '15s'; SET lock_timeout = '2s'", limit);
      !set)
    return tl::unexpected(set.error());
  auto which = (*opened)->query("SELECT current_setting('data_directory')", limit);
  if (!which) return tl::unexpected(which.error());
  if (which->empty() || (*which)[0][0] != data_dir_)
    return fail(Remedy::kFixInput,
                "port " + std::to_string(self->port) + " is served from " + (which->empty() ? "?" : (*which)[0][0]));
  kept_ = std::move(*opened);
  kept_incarnation_ = incarnation;
  answered_incarnation_ = incarnation;
  return kept_.get();
}

Result<Engine::Seen> Engine::look(Duration limit) {
  auto conn = connection(limit);
  if (!conn) return tl::unexpected(conn.error());
  auto rows = (*conn)->query((*conn)->version() >= kReplayPauseState ? kLook : kLook13, limit);
  if (!rows) return tl::unexpected(rows.error());
  if (rows->size() != 1) return fail(Remedy::kRetry, "an answer of " + std::to_string(rows->size()) + " rows");
  const Row& v = (*rows)[0];
  Seen s;
  s.primary = v[0] == "f";
  s.identity = v[1];
  s.started = v[2];
  s.version = version_text((*conn)->version());
  s.replayed = parse_lsn(v[4]);
  s.received = std::max(parse_lsn(v[3]), s.replayed);
  s.written = parse_lsn(v[5]);
  s.receiver = v[7];
  s.streaming = v[7] == "streaming";
  s.upstream_host = v[9];
  s.upstream_port = static_cast<std::uint32_t>(number_of(v[10]));
  s.conninfo = v[12];
  s.slot = v[13];
  s.sync = v[22];
  if (!v[11].empty()) contact_ = Steady::now() - milliseconds(number_of(v[11]));
  s.contact_known = contact_.has_value();
  s.contact_age_ms =
      std::min(kLongAgoMs, s.contact_known ? static_cast<std::uint64_t>(to_ms(Steady::now() - *contact_)) : number_of(v[14]));
  if (s.primary) {
    s.timeline = number_of(v[6].substr(0, 8), 16);
  } else {
    ControlData control;
    control.checkpoint_timeline = number_of(v[15]);
    control.checkpoint = parse_lsn(v[16]);
    control.recovery_timeline = number_of(v[17]);
    control.recovery_end = parse_lsn(v[18]);
    if (control_cache_) control.segment_bytes = control_cache_->second.segment_bytes;
    s.timeline = newest_timeline(data_dir_, control, s.received);
    if (s.streaming) s.timeline = std::max(s.timeline, number_of(v[8]));
    s.paused = v[19] != "not paused";
    // It waits for more, or is given it: what it has itself it has read.
    s.read_out = s.paused || !s.receiver.empty() || v[21] == "RecoveryWalStream" || v[21] == "RecoveryRetrieveRetryInterval";
  }
  return s;
}

NodeId Engine::node_at(const Seen& seen) const {
  for (const PeerAddress& p : config_.peers)
    if (seen.conninfo == conninfo_to(p, config_.self, credentials_.user)) return p.node;
  return {};
}

void Engine::fill_rest(EngineReport& r) {
  r.lacks = fitness_.lacks();
  r.diverged = r.diverged || exists(rewinding_path());
  if (exists(strayed_path())) {
    r.diverged = true;
    r.health = "it was opened by hand; what was written then goes when it rejoins, unless you remove " + strayed_path();
  }
  const auto marker = read_marker(data_dir_);
  if (!marker || r.position.timeline == 0) return;
  fill_opening(r, *marker);
  if (const auto history = read_history(data_dir_, r.position.timeline); history && !history->empty()) r.timeline_start = history->back().end;
}

void Engine::fill_stopped(EngineReport& r) {
  kept_.reset();
  r.state = EngineState::kStopped;
  r.version = read_file(data_dir_ + "/PG_VERSION").value_or("");
  while (!r.version.empty() && r.version.back() == '\n') r.version.pop_back();
  if (auto p = stopped_position())
    r.position = *p;
  else
    r.health = p.error().message;
}

void Engine::fill_running(EngineReport& r) {
  const PeerAddress* self = find_peer(config_, config_.self);
  r.state = answered_incarnation_ == r.incarnation ? EngineState::kUnresponsive : EngineState::kStarting;
  // First the postmaster, which old backends outlive; then what the engine says.
  if (auto knocked = knock({.host = config_.run_dir, .port = self->port}, kKnockLimit); !knocked) {
    r.health = knocked.error().message;
    return;
  }
  if (auto conn = connection(kConnectLimit); !conn) {
    r.health = conn.error().message;
    // Only a server that is up refuses for these reasons; any other answer is a fault.
    for (const char* starting : {"starting up", "not yet accepting", "recovery mode"})
      if (r.health.find(starting) != std::string::npos) r.state = EngineState::kStarting;
    return;
  }
  auto seen = look(kAskLimit);
  if (!seen) {
    r.state = EngineState::kUnresponsive;
    r.health = seen.error().message;
    return;
  }
  fill_seen(r, *seen);
  const bool changed = kept_up_incarnation_ != r.incarnation || kept_up_as_primary_ != seen->primary;
  if (changed || Steady::now() >= kept_up_ + kKeepUpEvery) {
    keep_up(*seen);
    files_kept_ = false;
  } else if (not_streaming_since_ && Steady::now() < *not_streaming_since_ + kContested) {
    // Its position may be wanted at once.
  } else if (!std::exchange(files_kept_, true)) {
    keep_files(*seen);
  } else {
    fitness_.step(r.incarnation, {.host = config_.run_dir, .port = self->port, .user = kSuperuser, .password = ""}, tools_, data_dir_);
  }
  fill_problems(r, *seen);
}

void Engine::fill_seen(EngineReport& r, const Seen& s) {
  r.state = s.primary ? EngineState::kPrimary : EngineState::kStandby;
  r.position = {s.timeline, s.primary ? s.written : s.received, s.identity};
  r.replayed = s.primary ? s.written : s.replayed;
  r.version = s.version;
  if (const auto marker = read_marker(data_dir_); marker && marker->identity != s.identity)
    r.health = "its system identifier " + s.identity + " is not daarion.json's " + marker->identity;
  if (s.primary) {
    not_streaming_since_.reset();
    fill_sync(r, s);
    return;
  }
  // One that crashed as a primary soon after its promotion, before its next checkpoint, answers as a standby while it still reads its own log: its
  // position grows, and would be taken for all that it has.
  if (s.read_out) read_out_incarnation_ = r.incarnation;
  else if (read_out_incarnation_ != r.incarnation) r.state = EngineState::kStarting;
  r.upstream = node_at(s);
  r.streaming = s.streaming;
  r.contact_age_ms = s.contact_age_ms;
  if (s.streaming || s.conninfo.empty()) {
    not_streaming_since_.reset();
    return;
  }
  if (!not_streaming_since_) not_streaming_since_ = Steady::now();
  const auto since = Steady::now() - *not_streaming_since_;
  if (since < kNotStreamingIsNews) return;
  r.health = "it has not streamed from " + (r.upstream.empty() ? std::string("its upstream") : r.upstream.value) + " for " +
             std::to_string(to_ms(since) / 1000) + " s: " + (s.receiver.empty() ? "no connection" : s.receiver) + "; see " +
             log_file_;
  // All that it has is replayed, and what comes next cannot come: only a rejoin helps. The server says so nowhere but in its log.
  if (s.replayed < s.received) return;
  const std::string log = log_tail();
  for (const char* words : {"has already been removed", "forked off current database system timeline", "has been invalidated"})
    if (log.find(words) != std::string::npos) {
      r.diverged = true;
      r.health += " (the WAL that it needs " + std::string(words) + ")";
      return;
    }
}

Result<std::vector<ReplicaLag>> Engine::replicas() {
  if (!host_.running())
    return fail(Remedy::kRetry, "ask for the replicas of " + config_.resource.id.value + ": the engine does not run");
  auto conn = connection(kConnectLimit);
  if (!conn) return tl::unexpected(conn.error());
  auto rows = (*conn)->query(
      "SELECT application_name, state, sync_state, sent_lsn, flush_lsn, replay_lsn, "
      "greatest(0, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN sent_lsn ELSE pg_current_wal_lsn() END, flush_lsn))::bigint, "
      "coalesce((extract(epoch FROM replay_lag) * 1000)::bigint, 0) FROM pg_stat_replication ORDER BY application_name",
      kAskLimit);
  if (!rows) return tl::unexpected(rows.error());
  std::vector<ReplicaLag> out;
  for (const Row& v : *rows)
    out.push_back({NodeId(v[0]), v[1], v[2], parse_lsn(v[3]), parse_lsn(v[4]), parse_lsn(v[5]), number_of(v[6]), number_of(v[7])});
  return out;
}

}  // namespace daarion::postgres
