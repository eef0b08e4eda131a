// How data come to be: made from nothing, copied from an upstream, or led back to its history.
#include <signal.h>

#include <filesystem>
#include <thread>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/engine.h"

namespace daarion::postgres {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// initdb writes 40 MB and syncs them: seconds, on the slowest disk a minute.
constexpr minutes kInitLimit{3};
// A copy takes as long as it takes, as long as it moves: its tool reports at least each second while bytes come. The first
// report waits for the upstream's checkpoint.
constexpr hours kCopyLimit{24};
constexpr minutes kCopyIdleLimit{3};
constexpr seconds kEndLimit{15};
constexpr minutes kCheckpointThereLimit{2};

/// "\x6461..." as PostgreSQL prints bytea.
std::string from_hex(const std::string& text) {
  std::string out;
  for (std::size_t i = 2; i + 1 < text.size(); i += 2) out += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  return out;
}

}  // namespace

Target Engine::target_of(const PeerAddress& p) const {
  return {.host = p.host,
          .port = p.port,
          .user = credentials_.user,
          .password = credentials_.password,
          .database = "postgres",
          .replication = true};
}

Result<std::unique_ptr<Connection>> Engine::connect_to(const PeerAddress& upstream) {
  auto conn = Connection::open(target_of(upstream), kUpstreamLimit);
  if (conn) return conn;
  std::string why = upstream.node.value + ": " + conn.error().message;
  if (why.find("password authentication failed") != std::string::npos)
    why += "; PG_REPLICATION_USER and PG_REPLICATION_PASSWORD must be the same on both nodes";
  return fail(Remedy::kRetry, why);
}

Result<Lineage> Engine::ask_upstream(Connection& c, const PeerAddress& upstream) {
  const auto failed = [&](const Error& e) { return fail(Remedy::kRetry, "ask " + upstream.node.value + ": " + e.message); };
  auto system = c.query("IDENTIFY_SYSTEM", kUpstreamLimit);
  if (!system) return failed(system.error());
  auto more = c.query("SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()", kUpstreamLimit);
  if (!more) return failed(more.error());
  if (system->empty() || more->empty()) return failed({.message = "an empty answer"});
  Lineage l;
  l.identity = (*system)[0][0];
  l.timeline = number_of((*system)[0][1]);
  l.end = parse_lsn((*system)[0][2]);
  l.writable = (*more)[0][0] == "f";
  l.checkpoint_timeline = number_of((*more)[0][1]);
  if (l.timeline > 1) {
    auto history = c.query("TIMELINE_HISTORY " + std::to_string(l.timeline), kUpstreamLimit);
    if (!history) return failed(history.error());
    if (!history->empty()) l.history = parse_history((*history)[0][1]);
  }
  // Its list of openings; one that is not ours to read is not known.
  if (auto text = c.query("SELECT pg_read_binary_file('daarion.json')", kUpstreamLimit); text && !text->empty())
    if (const auto marker = parse_marker(from_hex((*text)[0][0]))) l.openings = marker->openings;
  l.openings.erase(l.openings.upper_bound(l.timeline), l.openings.end());
  return l;
}

Result<Lineage> Engine::own_lineage() {
  Lineage l;
  if (host_.running()) {
    auto seen = look(kUpstreamLimit);
    if (!seen) return tl::unexpected(seen.error());
    // Received bytes may end inside a record that is thrown away on the way to another timeline: what counts is replayed.
    l = {.identity = seen->identity,
         .timeline = seen->timeline,
         .end = seen->primary ? seen->written : seen->replayed,
         .writable = seen->primary};
  } else {
    auto control = this->control();
    if (!control) return tl::unexpected(control.error());
    const Position p = position_of(data_dir_, *control);
    l = {.identity = p.identity, .timeline = p.timeline, .end = p.lsn};
    if (l.end.value == 0) l.end = std::max(control->checkpoint, control->recovery_end);
  }
  l.history = read_history(data_dir_, l.timeline).value_or(History{});
  if (const auto marker = read_marker(data_dir_)) l.openings = marker->openings;
  l.openings.erase(l.openings.upper_bound(l.timeline), l.openings.end());
  return l;
}

Judgement Engine::compare(const Lineage& own, const Lineage& theirs) {
  return judge(own, theirs, [&](std::uint64_t timeline, Lsn at) { return has_record_at(tools_, data_dir_, timeline, at); });
}

Result<void> Engine::learn_openings(const Lineage& own, const Lineage& upstream) {
  auto marker = read_marker(data_dir_);
  if (!marker) return {};
  const Marker before = *marker;
  marker->openings.erase(marker->openings.upper_bound(own.timeline), marker->openings.end());  // written down, and never came to be
  for (const auto& [timeline, opening] : upstream.openings) marker->openings[timeline] = opening;
  return *marker == before ? Result<void>{} : write_marker(data_dir_, *marker, tools_.user);
}

/// A standby goes on with its upstream to a timeline that this opens, without a verb of ours: who opened it is asked then.
void Engine::learn_followed(const Seen& seen) {
  const auto marker = read_marker(data_dir_);
  if (seen.primary || !seen.streaming || seen.timeline == learned_timeline_ || !marker || marker->openings.contains(seen.timeline)) return;
  auto upstream = peer(node_at(seen));
  if (!upstream) return;
  auto there = connect_to(**upstream);
  if (!there) return;
  const auto theirs = ask_upstream(**there, **upstream);
  const auto own = own_lineage();
  if (!theirs || !own || theirs->timeline != seen.timeline || own->timeline != seen.timeline) return;
  if (learn_openings(*own, *theirs)) learned_timeline_ = seen.timeline;
}

Result<void> Engine::make_slot_there(Connection& c) {
  auto made = c.query("CREATE_REPLICATION_SLOT " + c.name(slot_of(config_.self)) + " PHYSICAL RESERVE_WAL", kUpstreamLimit);
  if (made || c.sqlstate() == "42710") return {};  // duplicate_object: it is there
  return fail(Remedy::kRetry, "make its slot on the upstream: " + made.error().message);
}

/// Asked by the file: START_REPLICATION itself answers that all is well, and says of a segment that is gone only once it would send it.
bool Engine::has_wal_there(Connection& c, const Lineage& own, const Lineage& theirs) {
  if (own.end >= theirs.end) return true;
  const auto control = this->control();
  const std::uint64_t segment_bytes = control ? control->segment_bytes : ControlData{}.segment_bytes;
  // The segment in which a timeline ended is there under its heir's number.
  auto found = c.query("SELECT count(*) FROM pg_ls_dir('pg_wal', true, false) f WHERE length(f) = 24 AND right(f, 16) = '" +
                           segment_of(own.end, segment_bytes) + "'",
                       kUpstreamLimit);
  return !found || found->empty() || (*found)[0][0] != "0";
}

/// A primary that crashed: how far its log went shows in its WAL alone, and that may be what is broken.
bool Engine::ended_as_primary() {
  const auto control = this->control();
  return !control || !(control->clean() || control->state == "in archive recovery");
}

/// Data that were last open for writing, on a timeline that another node opened: no verb of ours did that. Once they run as a standby again
/// pg_control no longer says so, and nothing else would: the timeline's number is the same on both sides. A copy of a primary looks the same
/// until its first start, but has a backup_label.
Result<void> Engine::note_stray() {
  const auto control = this->control();
  const auto marker = read_marker(data_dir_);
  if (!control || !marker || exists(data_dir_ + "/backup_label") || control->state == "in archive recovery" || control->state == "shut down in recovery") return {};
  const auto opening = marker->openings.find(position_of(data_dir_, *control).timeline);
  if (opening == marker->openings.end() || opening->second.node == config_.self) return {};
  return write_file(strayed_path(), timeline_text(opening->first) + " was opened by " + opening->second.node.value + ", and written here\n", 0600, tools_.user);
}

Result<void> Engine::make_new_cluster(const std::string& folder) {
  auto ran = run_tool(
      {.argv = {tools_.folder + "/initdb", "-D", folder, "-U", kSuperuser, "-E", "UTF8", "--locale=C.UTF-8", "--lc-messages=C",
                "--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256"},
       .environment = tools_.environment(),
       .user = tools_.user,
       .limit = kInitLimit});
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0) return fail(Remedy::kRetry, "initdb: " + cause_in(ran->errors));
  return {};
}

Result<void> Engine::copy_from(const PeerAddress& upstream, const std::string& folder) {
  auto ran = run_tool(
      {.argv = {tools_.folder + "/pg_basebackup", "-D", folder, "-h", upstream.host, "-p", std::to_string(upstream.port), "-U",
                credentials_.user, "-X", "stream", "-S", slot_of(config_.self), "-c", "fast", "-P", "-w", "--no-manifest"},
       .environment = tools_.environment(),
       .user = tools_.user,
       .limit = kCopyLimit,
       .idle_limit = kCopyIdleLimit});
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0) return fail(Remedy::kRetry, "copy from " + upstream.node.value + ": " + cause_in(ran->errors));
  return {};
}

/// Settings and marker go into the new folder first; then it takes the data directory's place in one step.
Result<void> Engine::put_in_place(const std::string& folder, const Marker& marker, const PeerAddress* upstream) {
  if (auto done = write_settings(config_, folder, upstream, credentials_, tools_.user); !done) return done;
  if (auto done = write_marker(folder, marker, tools_.user); !done) return done;
  if (auto done = swap_folder(folder, data_dir_); !done) return done;
  control_cache_.reset();
  for (const std::string& note : {rewinding_path(), strayed_path()})
    if (auto done = remove_file(note); !done) return done;
  return remove_tree(folder);
}

Result<void> Engine::provision(const DriverCommand& c, DriverResult& r) {
  const std::string fresh = data_dir_ + ".daarion-new";
  r.method = c.upstream.empty() ? "initdb" : "basebackup";
  if (const Data there = data(); there == Data::kForeign) {
    return fail(Remedy::kFixInput, what_is_foreign());
  } else if (there == Data::kOurs) {
    if (auto p = stopped_position(); p) r.position = *p;
    return {};
  }
  if (host_.running()) return fail(Remedy::kRetry, "an engine runs without a data directory; stop it first");
  if (auto gone = remove_tree(fresh); !gone) return gone;
  if (auto made = make_folder(fresh, 0700, tools_.user); !made) return made;
  Marker marker{config_.self, config_.resource.id, {}, {}};
  const PeerAddress* upstream = nullptr;
  if (c.upstream.empty()) {
    if (auto done = make_new_cluster(fresh); !done) return done;
  } else {
    auto found = peer(c.upstream);
    if (!found) return tl::unexpected(found.error());
    upstream = *found;
    auto there = connect_to(*upstream);
    if (!there) return tl::unexpected(there.error());
    auto theirs = ask_upstream(**there, *upstream);
    if (!theirs) return tl::unexpected(theirs.error());
    auto programs = find_programs((*there)->version() / 10000);  // data of one major version run under no other
    if (!programs) return fail(Remedy::kFixInput, programs.error().message + ", as on " + upstream->node.value);
    tools_.folder = *programs;
    if (auto room = has_room(**there, fresh); !room) return room;
    if (auto slot = make_slot_there(**there); !slot) return slot;
    if (auto done = copy_from(*upstream, fresh); !done) return done;
    marker.openings = theirs->openings;
  }
  auto control = read_control(tools_, fresh);
  if (!control) return tl::unexpected(control.error());
  marker.identity = control->identity;
  if (auto done = put_in_place(fresh, marker, upstream); !done) return done;
  auto position = stopped_position();
  if (!position) return tl::unexpected(position.error());
  r.position = *position;
  return {};
}

Result<void> Engine::rewind_from(const PeerAddress& upstream, const Lineage& theirs) {
  const auto before = read_marker(data_dir_);
  if (!before) return fail(Remedy::kFixInput, what_is_foreign());
  if (theirs.checkpoint_timeline != theirs.timeline) {
    // pg_rewind reads the upstream's timeline from its last checkpoint, which after a promotion is still of the old one; it would
    // see nothing to do.
    auto conn = connect_to(upstream);
    if (!conn) return tl::unexpected(conn.error());
    if ((*conn)->version() < kCheckpointRole)
      return fail(Remedy::kRetry, "wait for " + upstream.node.value + "'s first checkpoint on timeline " + std::to_string(theirs.timeline));
    if (auto done = (*conn)->query("CHECKPOINT", kCheckpointThereLimit); !done)
      return fail(Remedy::kRetry, "checkpoint " + upstream.node.value + ": " + done.error().message);
  }
  // From here on the data are neither the old nor the new ones, and pg_rewind also brings the upstream's marker.
  if (auto noted = write_file(rewinding_path(), upstream.node.value + "\n", 0600, tools_.user); !noted) return noted;
  // Crash recovery, which it does first, runs a single-user server; that refuses standby.signal. No engine is started meanwhile:
  // launch() refuses while the note stands, and writes standby.signal itself.
  if (auto done = remove_file(data_dir_ + "/standby.signal"); !done) return done;
  const std::string source =
      "host=" + upstream.host + " port=" + std::to_string(upstream.port) + " user='" + credentials_.user + "' dbname=postgres";
  auto ran = run_tool({.argv = {tools_.folder + "/pg_rewind", "-D", data_dir_, "--source-server=" + source, "-P"},
                       .environment = tools_.environment(),
                       .user = tools_.user,
                       .limit = kCopyLimit,
                       .idle_limit = kCopyIdleLimit});
  control_cache_.reset();
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0) return fail(Remedy::kRetry, "pg_rewind: " + cause_in(ran->errors));
  if ((ran->output + ran->errors).find("no rewind required") != std::string::npos)
    return fail(Remedy::kRetry, "pg_rewind sees nothing to rewind, and the data have parted all the same");
  Marker marker{config_.self, config_.resource.id, before->identity, theirs.openings};
  if (auto done = write_settings(config_, data_dir_, &upstream, credentials_, tools_.user); !done) return done;
  if (auto done = write_marker(data_dir_, marker, tools_.user); !done) return done;
  if (auto done = remove_file(strayed_path()); !done) return done;
  return remove_file(rewinding_path());
}

Result<void> Engine::rebuild_from(const PeerAddress& upstream, const Lineage& theirs, DriverResult& r) {
  const std::string fresh = data_dir_ + ".daarion-new";
  if (auto gone = remove_tree(fresh); !gone) return gone;
  if (auto made = make_folder(fresh, 0700, tools_.user); !made) return made;
  auto there = connect_to(upstream);
  if (!there) return tl::unexpected(there.error());
  if (auto room = has_room(**there, data_dir_); !room) return room;
  if (auto slot = make_slot_there(**there); !slot) return slot;
  r.method = "rebuild";
  if (auto done = copy_from(upstream, fresh); !done) return done;
  return put_in_place(fresh, {config_.self, config_.resource.id, theirs.identity, theirs.openings}, &upstream);
}

/// Before a healthy replica is stopped for a whole copy. What its data are is not compared then: they may be newer than those of one that does not write.
Result<void> Engine::may_copy(Connection& there, const PeerAddress& upstream, const Lineage& theirs) {
  if (!theirs.writable) return fail(Remedy::kRetry, upstream.node.value + " is not open for writing: nothing is copied from it");
  if (const auto marker = read_marker(data_dir_); marker && !marker->identity.empty() && marker->identity != theirs.identity)
    return fail(Remedy::kFixInput, upstream.node.value + " has the data of " + theirs.identity + ", this node those of " + marker->identity);
  // What an attempt that was cut off left.
  if (auto gone = remove_tree(data_dir_ + ".daarion-new"); !gone) return gone;
  return has_room(there, data_dir_);
}

/// Whether a whole copy fits beside what is there, as far as the upstream says how large its data are.
Result<void> Engine::has_room(Connection& there, const std::string& folder) {
  const auto size = there.query("SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database", kUpstreamLimit);
  std::error_code failed;
  const auto disk = std::filesystem::space(folder, failed);
  const std::uint64_t bytes = size && !size->empty() ? number_of((*size)[0][0]) : 0;
  if (failed || bytes <= disk.available) return {};
  return fail(Remedy::kRetry, "a whole copy needs " + std::to_string(bytes >> 20) + " MiB beside what is there, and the disk has " + std::to_string(disk.available >> 20) + " MiB left");
}

Result<void> Engine::rejoin(const DriverCommand& c, DriverResult& r) {
  if (data() == Data::kEmpty) return provision(c, r);
  const bool unfinished = exists(rewinding_path());
  if (auto ours = need_ours(); !ours) return ours;
  auto found = peer(c.upstream);
  if (!found) return tl::unexpected(found.error());
  const PeerAddress& upstream = **found;
  auto there = connect_to(upstream);
  if (!there) return tl::unexpected(there.error());
  auto theirs = ask_upstream(**there, upstream);
  if (!theirs) return tl::unexpected(theirs.error());
  if (c.anew)
    if (auto may = may_copy(**there, upstream, *theirs); !may) return may;
  if (host_.running()) {
    auto seen = look(kUpstreamLimit);
    if (seen && seen->primary) return fail(Remedy::kStepDown, "it is open for writing; stop it first");
    if (auto ended = end_process(SIGINT, kEndLimit); !ended && !(ended = end_process(SIGQUIT, kEndLimit))) return ended;
  }
  control_cache_.reset();
  std::string why_not = c.anew ? "a whole copy was asked for" : "an unfinished rewind";
  if (auto own = unfinished || c.anew ? Result<Lineage>(fail(Remedy::kRetry, why_not)) : own_lineage(); own) {
    Judgement j = compare(*own, *theirs);
    if (j.kinship == Kinship::kMayFollow && exists(strayed_path())) j = {Kinship::kSameNumber, "it was opened by hand on " + timeline_text(own->timeline)};
    if (j.kinship == Kinship::kOtherSystem || j.kinship == Kinship::kBehind)
      return fail(Remedy::kFixInput, upstream.node.value + ": " + j.why);
    if (j.kinship == Kinship::kMayFollow && !ended_as_primary() && has_wal_there(**there, *own, *theirs)) {
      r.method = "follow";  // nothing has parted, or it has been led back already
      if (auto p = stopped_position(); p) r.position = *p;
      return learn_openings(*own, *theirs);
    }
    if (j.kinship == Kinship::kParted || (j.kinship == Kinship::kMayFollow && ended_as_primary())) {
      auto done = rewind_from(upstream, *theirs);
      if (done) {
        r.method = "rewind";
        if (auto p = stopped_position(); p) r.position = *p;
        return {};
      }
      // Nothing was changed yet, and it only has to wait: its data may be led back later. A whole copy is for those that cannot be.
      if (done.error().remedy == Remedy::kRetry && !exists(rewinding_path())) return done;
      why_not = done.error().message;
    } else {
      why_not = j.why.empty() ? "the upstream no longer has the WAL that it needs" : j.why;
    }
  } else if (!unfinished) {
    why_not = own.error().message;
  }
  if (auto done = rebuild_from(upstream, *theirs, r); !done)
    return fail(done.error().remedy, done.error().message + " (no rewind: " + why_not + ")");
  auto position = stopped_position();
  if (!position) return tl::unexpected(position.error());
  r.position = *position;
  return {};
}

}  // namespace daarion::postgres
