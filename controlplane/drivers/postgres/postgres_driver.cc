#include "controlplane/drivers/postgres/postgres_driver.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/engine.h"

namespace daarion {

Result<std::unique_ptr<Driver>> make_postgres_driver(const DriverConfig& config, EngineHost& host) {
  auto credentials = postgres::credentials_from_environment();
  if (!credentials) return tl::unexpected(credentials.error());
  auto driver = postgres::make_driver_with(config, *credentials, host);
  if (!driver) return tl::unexpected(driver.error());
  return std::unique_ptr<Driver>(std::move(*driver));
}

namespace postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// The poll of a promotion: its floor is what this adds; each poll is one query over a local socket, about 0.1 ms.
constexpr milliseconds kPromotePoll{2};
// Everything received is replayed first. The lease (2 s by default) ends long before; a fence then ends the engine.
constexpr seconds kPromoteLimit{5};
// Until a started engine takes connections. After it recovery goes on by itself, and observe() says "starting".
constexpr seconds kStartLimit{10};
constexpr milliseconds kStartPoll{
    20};  // each poll while it starts is a refusal in its log; more often would push causes out of the tail
// Before the fast shutdown, so that its own checkpoint finds little to write while nobody can write.
constexpr seconds kCheckpointLimit{10};
// A fast shutdown waits for replicas that lag or are gone until wal_sender_timeout (5 s), and for its checkpoint.
constexpr seconds kStopLimit{30};
// A postmaster that forks nothing hears no signal either; whoever waits for it is to fence it soon.
constexpr seconds kFrozenStopLimit{3};
constexpr seconds kFollowLimit{2};  // until streaming is seen; following goes on after it all the same
constexpr std::size_t kMaxSocketPath = 107;

/// Whether an end at start means that the data cannot be recovered; a taken port or a wrong setting would not.
bool is_about_data(const std::string& cause) {
  for (const char* words : {"could not locate a valid checkpoint record", "could not locate required checkpoint record",
                            "invalid primary checkpoint record", "is not a child of this server's history",
                            "WAL ends before end of online backup", "WAL ends before consistent recovery point"})
    if (cause.find(words) != std::string::npos) return true;
  return false;
}

}  // namespace

Result<Credentials> credentials_from_environment() {
  const char* user = std::getenv("PG_REPLICATION_USER");
  const char* password = std::getenv("PG_REPLICATION_PASSWORD");
  if (user == nullptr || *user == 0 || password == nullptr || *password == 0)
    return fail(
        Remedy::kFixInput,
        std::string("prepare PostgreSQL: ") + (user && *user ? "PG_REPLICATION_PASSWORD" : "PG_REPLICATION_USER") +
            " is not set; set PG_REPLICATION_USER and PG_REPLICATION_PASSWORD in the daemon's environment, the same on all nodes");
  if (std::string(user) == kSuperuser)
    return fail(Remedy::kFixInput,
                "prepare PostgreSQL: PG_REPLICATION_USER may not be the superuser postgres; name a user of its own");
  if (std::strpbrk(user, "\"\n") || std::strchr(password, '\n'))
    return fail(Remedy::kFixInput,
                "prepare PostgreSQL: PG_REPLICATION_USER or PG_REPLICATION_PASSWORD holds a quote or a line end");
  return Credentials{user, password};
}

Result<std::unique_ptr<PostgresDriver>> make_driver_with(const DriverConfig& config, Credentials credentials, EngineHost& host) {
  const std::string name = "prepare " + config.resource.id.value + ": ";
  if (auto checked = check_config(config); !checked) return tl::unexpected(checked.error());
  if (config.run_dir.size() + sizeof("/.s.PGSQL.65535") > kMaxSocketPath)
    return fail(Remedy::kFixInput, name + "run folder " + config.run_dir + " is too long for a socket's path (107 bytes)");
  auto user = find_user(config.engine_user);
  if (!user) return tl::unexpected(user.error());
  if (user->uid == 0) return fail(Remedy::kFixInput, name + "PostgreSQL refuses to run as root; set the engine's system user");
  auto programs = find_programs(major_of(config.resource.data_dir));
  if (!programs) return tl::unexpected(programs.error());
  const std::string pass_file = config.run_dir + "/" + config.resource.id.value + ".pgpass";
  if (!config.looks_only) {
    if (auto made = make_folder(config.run_dir, 0700, *user); !made) return tl::unexpected(made.error());
    if (auto done = write_file(pass_file, render_pass_file(credentials), 0600, *user); !done) return tl::unexpected(done.error());
  }
  return std::unique_ptr<PostgresDriver>(
      std::make_unique<Engine>(config, std::move(credentials), Tools{*programs, *user, pass_file}, host));
}

Engine::Engine(DriverConfig config, Credentials credentials, Tools tools, EngineHost& host)
    : PostgresDriver(std::move(config), host), credentials_(std::move(credentials)), tools_(std::move(tools)) {}

// ---------------------------------------------------------------- the data directory

/// An unfinished rewind may have left no marker, or its upstream's; its note is ours.
bool Engine::noted_ours() const { return exists(rewinding_path()); }

Result<Position> Engine::stopped_position() {
  auto control = this->control();
  if (!control) return tl::unexpected(control.error());
  return position_of(data_dir_, *control);
}

/// An opening of ours that was written down and never came to be: another node may open a timeline of that number. Those of others were learned
/// from an upstream that was on them, and what is learned from the next one takes their place.
Result<void> Engine::forget_unopened() {
  auto marker = read_marker(data_dir_);
  auto control = this->control();
  if (!marker || !control) return {};
  const std::uint64_t newest = newest_timeline(data_dir_, *control, control->checkpoint);
  bool changed = marker->node != config_.self;
  marker->node = config_.self;
  for (auto it = marker->openings.upper_bound(newest); it != marker->openings.end();)
    // Its history file is written as the last step of opening; WAL of it may lie segments ahead of the last checkpoint.
    if (it->second.node != config_.self || read_history(data_dir_, it->first)) {
      ++it;
    } else {
      it = marker->openings.erase(it);
      changed = true;
    }
  return changed ? write_marker(data_dir_, *marker, tools_.user) : Result<void>{};
}

// ---------------------------------------------------------------- processes

/// Why the engine ended, in its own words; refusals of our own connections while it started are not it.
std::string Engine::last_fatal() const {
  static const std::string kDetail = "DETAIL:  ";
  std::string cause;
  bool grave_before = false;
  std::stringstream lines(log_tail());
  for (std::string line; std::getline(lines, line);) {
    const bool grave = line.find("FATAL:") != std::string::npos || line.find("PANIC:") != std::string::npos;
    const std::size_t detail = line.find(kDetail);
    if (grave_before && detail != std::string::npos) cause += " (" + line.substr(detail + kDetail.size()) + ")";
    grave_before = grave && line.find("the database system is") == std::string::npos;
    if (grave_before) cause = line;
  }
  return cause;
}

Result<void> Engine::launch(const PeerAddress* upstream) {
  if (exists(rewinding_path())) return fail(Remedy::kRetry, "an unfinished rewind left the data unusable; rejoin it");
  if (auto done = note_stray(); !done) return done;
  if (auto done = forget_unopened(); !done) return done;
  if (auto done = write_settings(config_, data_dir_, upstream, credentials_, tools_.user, senders_at_least()); !done) return done;
  kept_.reset();
  EngineCommand command{.argv = {tools_.folder + "/postgres", "-D", data_dir_},
                        .environment = tools_.environment(),
                        .user = config_.engine_user,
                        .directory = data_dir_,
                        .log_file = log_file_};
  auto started = host_.start(command);
  if (!started) return tl::unexpected(started.error());
  const auto until = Steady::now() + kStartLimit;
  while (Steady::now() < until) {
    if (connection(kConnectLimit)) return {};
    if (!host_.running()) return fail(Remedy::kRetry, "it ended at once: " + last_fatal() + "; see " + log_file_, Effect::kMaybe);
    std::this_thread::sleep_for(kStartPoll);
  }
  return {};  // still recovering: observe() says so
}

Result<void> Engine::end_process(int signal, Duration limit) {
  kept_.reset();
  if (!host_.running()) return host_.wait_empty(limit);
  if (auto sent = host_.stop(signal); !sent) return sent;
  return host_.wait_empty(limit);
}

// ---------------------------------------------------------------- verbs

Result<void> Engine::start(const DriverCommand& c, DriverResult&) {
  if (auto ours = need_ours(); !ours) return ours;
  if (host_.running()) return {};
  if (c.upstream.empty()) return launch(nullptr);
  auto upstream = peer(c.upstream);
  if (!upstream) return tl::unexpected(upstream.error());
  return launch(*upstream);
}

Result<void> Engine::follow(const DriverCommand& c, DriverResult& r) {
  if (auto ours = need_ours(); !ours) return ours;
  auto found = peer(c.upstream);
  if (!found) return tl::unexpected(found.error());
  const PeerAddress& upstream = **found;
  if (exists(rewinding_path())) {
    r.diverged = true;
    return fail(Remedy::kRetry, "an unfinished rewind left the data unusable; rejoin it");
  }
  auto own = own_lineage();
  if (!own) return tl::unexpected(own.error());
  if (own->writable) return fail(Remedy::kStepDown, "it is open for writing; stop it first");
  auto there = connect_to(upstream);
  if (!there) return tl::unexpected(there.error());
  auto theirs = ask_upstream(**there, upstream);
  if (!theirs) return tl::unexpected(theirs.error());
  const Judgement j = compare(*own, *theirs);
  r.diverged = j.kinship == Kinship::kParted || j.kinship == Kinship::kSameNumber;
  if (j.kinship != Kinship::kMayFollow)
    return fail(j.kinship == Kinship::kOtherSystem ? Remedy::kFixInput : Remedy::kRetry, upstream.node.value + ": " + j.why);
  if (auto slot = make_slot_there(**there); !slot) return slot;
  if (auto learned = learn_openings(*own, *theirs); !learned) return learned;
  const std::string conninfo = conninfo_to(upstream, config_.self, credentials_.user);
  if (!host_.running()) {
    if (auto up = launch(&upstream); !up) {
      r.diverged = is_about_data(up.error().message);  // nothing to recover with: what it lacks, only the upstream has
      return up;
    }
  } else {
    if (auto done = write_settings(config_, data_dir_, &upstream, credentials_, tools_.user, senders_at_least()); !done) return done;
    auto conn = connection(kConnectLimit);
    if (!conn) return tl::unexpected(conn.error());
    if (auto told = (*conn)->query("SELECT pg_reload_conf()", kUpstreamLimit); !told) return tl::unexpected(told.error());
  }
  const auto until = Steady::now() + kFollowLimit;
  std::string set;
  while (Steady::now() < until) {
    const auto seen = look(kAskLimit);
    if (seen && seen->conninfo == conninfo && seen->streaming) return {};
    if (seen) set = seen->conninfo;
    if (!host_.running()) return fail(Remedy::kRetry, "it ended: " + last_fatal() + "; see " + log_file_, Effect::kMaybe);
    std::this_thread::sleep_for(kStartPoll);
  }
  if (!set.empty() && set != conninfo)
    return fail(Remedy::kFixInput,
                "primary_conninfo is not ours: postgresql.auto.conf overrides it; ALTER SYSTEM RESET primary_conninfo");
  return {};
}

Result<void> Engine::promote(const DriverCommand& c, DriverResult& r) {
  if (auto ours = need_ours(); !ours) return ours;
  auto seen = look(kUpstreamLimit);
  if (!seen) return tl::unexpected(seen.error());
  auto marker = read_marker(data_dir_);
  if (!marker) return fail(Remedy::kFixInput, what_is_foreign());
  if (auto newest = need_newest(*marker, c.epoch); !newest) return newest;
  const auto where_it_began = [&](const Seen& s) -> Position {
    const auto history = read_history(data_dir_, s.timeline);
    return {s.timeline, history && !history->empty() ? history->back().end : Lsn{}, s.identity};
  };
  if (seen->primary) {
    const auto it = marker->openings.find(seen->timeline);
    if (it == marker->openings.end() || it->second.session != c.session)
      return fail(Remedy::kStepDown, "it is open already, under another session");
    r.position = where_it_began(*seen);
    return {};
  }
  // Opened with another set than the declared one, it would acknowledge what deciders do not know of. Its file has it as a rule, from when it began to follow.
  if (const std::string declared = declared_sync(config_.resource, config_.self); config_.resource.confirmations() > 0 && seen->sync != declared) {
    const NodeId upstream = node_at(*seen);
    if (auto set = put_in_force(declared, upstream.empty() ? nullptr : find_peer(config_, upstream)); !set) return set;
  }
  // PostgreSQL takes the number after the newest history file that it has, not after the timeline that it is on.
  std::uint64_t next = seen->timeline + 1;
  while (read_history(data_dir_, next)) ++next;
  marker->openings.erase(marker->openings.lower_bound(next), marker->openings.end());
  marker->openings[next] = {c.session, c.epoch, config_.self};
  marker->node = config_.self;
  if (auto written = write_marker(data_dir_, *marker, tools_.user); !written) return written;
  auto conn = connection(kConnectLimit);
  if (!conn) return tl::unexpected(conn.error());
  sync_seen_.clear();  // what the others hold is counted from this opening on
  sync_taken_up_ = false;
  sync_from_.reset();
  auto told = (*conn)->query("SELECT pg_promote(false)", kPromoteLimit);
  if (!told) return tl::unexpected(told.error());
  const auto until = Steady::now() + kPromoteLimit;
  while (true) {
    auto answer = (*conn)->query("SELECT pg_is_in_recovery()", kPromoteLimit);
    if (!answer) return fail(Remedy::kRetry, answer.error().message, Effect::kMaybe);
    if (!answer->empty() && (*answer)[0][0] == "f") break;
    if (Steady::now() >= until) return fail(Remedy::kRetry, "not open after 5 s; see " + log_file_, Effect::kMaybe);
    std::this_thread::sleep_for(kPromotePoll);
  }
  seen = look(kAskLimit);
  if (!seen) return fail(Remedy::kRetry, seen.error().message, Effect::kMaybe);
  r.position = where_it_began(*seen);
  if (seen->timeline != next) {  // never seen; but a wrong word about who opened what must not stay
    marker->openings.erase(next);
    marker->openings[seen->timeline] = {c.session, c.epoch, config_.self};
    if (auto written = write_marker(data_dir_, *marker, tools_.user); !written) return written;
  }
  kept_up_ = {};
  keep_up(*seen);
  return {};
}

Result<void> Engine::stop(const DriverCommand&, DriverResult& r) {
  if (data() != Data::kOurs) return host_.running() ? end_process(SIGINT, kStopLimit) : Result<void>{};
  if (host_.running()) {
    const bool answers = knock({.host = config_.run_dir, .port = find_peer(config_, config_.self)->port}, kKnockLimit).has_value();
    if (auto conn = connection(kConnectLimit); answers && conn) (void)(*conn)->query("CHECKPOINT", kCheckpointLimit);
    if (auto ended = end_process(SIGINT, answers ? kStopLimit : kFrozenStopLimit); !ended) return ended;
  }
  control_cache_.reset();
  auto control = this->control();
  if (!control) return tl::unexpected(control.error());
  if (!control->clean())
    return fail(Remedy::kRetry, "it did not stop cleanly: pg_control says '" + control->state + "'", Effect::kMaybe);
  r.position = position_of(data_dir_, *control);
  if (r.position.lsn.value == 0) return fail(Remedy::kRetry, "the end of its log cannot be read", Effect::kMaybe);
  return {};
}

}  // namespace postgres
}  // namespace daarion
