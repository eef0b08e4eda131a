#include "controlplane/drivers/redis/redis_driver.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <thread>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/engine.h"
#include "controlplane/drivers/redis/rdb_header.h"

namespace daarion {

Result<std::unique_ptr<Driver>> make_redis_driver(const DriverConfig& config, EngineHost& host) {
  const auto password = redis::needed_password("Redis");
  if (!password) return tl::unexpected(password.error());
  auto driver = redis::make_driver_with(config, *password, host);
  if (!driver) return tl::unexpected(driver.error());
  return std::unique_ptr<Driver>(std::move(*driver));
}

namespace redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Until a started server answers. After it loading goes on by itself, and observe() says "starting".
constexpr seconds kStartLimit{10};
constexpr milliseconds kStartPoll{2};
constexpr seconds kPromoteLimit{2};  // two round trips over a local socket: a server that needs longer is stuck
// A dump is written before the pause, so that nobody waits for it. A big one takes longer than this: then the switchover goes on without,
// and the old primary takes the rest, or all, from the new one.
constexpr seconds kSaveAheadLimit{10};
// Data up to this size are written down within the pause, tens of ms on a slow disk, whether or not replicas have them.
constexpr std::uint64_t kSmallBytes = 32 << 20;
constexpr seconds kPauseLimit{30};         // of writes; it ends with the server, or when this driver is stuck
constexpr milliseconds kReachLimit{300};       // to connect to a replica, before the pause; each streams, so it answers
constexpr milliseconds kFollowersLimit{2000};  // for one of them to have everything: writes wait meanwhile
constexpr milliseconds kOthersLimit{300};
constexpr milliseconds kFollowerPoll{1};
constexpr milliseconds kSavePoll{5};
constexpr seconds kStopLimit{30};          // a last dump included
constexpr seconds kFrozenStopLimit{3};  // a server that does not answer hears no signal either; whoever waits for it is to fence it soon
constexpr std::size_t kMaxSocketPath = 107;

Result<std::string> find_program() {
  for (const char* path : {"/usr/bin/redis-server", "/usr/local/bin/redis-server"})
    if (access(path, X_OK) == 0) return std::string(path);
  return fail(Remedy::kFixInput, "find redis-server: it is not installed; install Debian's package redis-server");
}

/// "Redis server v=7.0.15 sha=..." -> 7
int major_in(const std::string& text) {
  const std::size_t at = text.find("v=");
  return at == std::string::npos ? 0 : std::atoi(text.c_str() + at + 2);
}

Result<void> need_version(const std::string& program) {
  auto ran = run_tool({.argv = {program, "--version"}, .environment = {}, .user = {"", geteuid(), getegid(), {}}, .limit = seconds(5)});
  if (!ran) return tl::unexpected(ran.error());
  if (major_in(ran->output) >= 7) return {};
  return fail(Remedy::kFixInput, "prepare Redis: " + program + " is " + ran->output.substr(0, ran->output.find(" sha")) + "; 7.0 or later is needed");
}

/// The first refusal among replies, or nothing.
std::string refusal_in(const std::vector<Reply>& replies) {
  const auto at = std::ranges::find(replies, Reply::Kind::kError, &Reply::kind);
  return at == replies.end() ? "" : at->text;
}

}  // namespace

Result<std::unique_ptr<RedisDriver>> make_driver_with(const DriverConfig& config, const std::string& password, EngineHost& host) {
  if (auto checked = check_config(config); !checked) return tl::unexpected(checked.error());
  if (password.find('\n') != std::string::npos) return fail(Remedy::kFixInput, "prepare Redis: REDIS_PASSWORD holds a line end");
  if (socket_of(config).size() > kMaxSocketPath)
    return fail(Remedy::kFixInput, "prepare " + config.resource.id.value + ": run folder " + config.run_dir + " is too long for a socket's path (107 bytes)");
  auto user = find_user(config.engine_user);
  if (!user) return tl::unexpected(user.error());
  auto program = find_program();
  if (!program) return tl::unexpected(program.error());
  if (auto fits = need_version(*program); !fits) return tl::unexpected(fits.error());
  if (!config.looks_only)
    if (auto made = make_folder(config.run_dir, 0700, *user); !made) return tl::unexpected(made.error());
  return std::unique_ptr<RedisDriver>(std::make_unique<Engine>(config, password, *program, *user, host));
}

Engine::Engine(DriverConfig config, std::string password, std::string program, SystemUser user, EngineHost& host)
    : RedisDriver(std::move(config), host), password_(std::move(password)), program_(std::move(program)), user_(std::move(user)) {}

// ---------------------------------------------------------------- processes

/// The newest line of its log that warns: why it ended, or does not stream.
std::string Engine::last_cause() const {
  std::string cause;
  std::stringstream lines(log_tail());
  for (std::string line; std::getline(lines, line);) {
    const std::size_t mark = line.find(" # ");  // "1234:S 26 Nov 2026 12:09:48.217 # Connection with master lost."
    if (mark != std::string::npos && !line.substr(mark + 3).starts_with("WARNING")) cause = line.substr(mark + 3);
    if (line.starts_with("***") || line.starts_with(">>>")) cause = line;  // of a configuration that it refuses
  }
  return cause.empty() ? "its log tells no cause" : cause;
}

Result<void> Engine::launch(const PeerAddress* upstream) {
  if (auto done = write_settings(config_, upstream, password_, user_); !done) return done;
  kept_.reset();
  auto started = host_.start({.argv = {program_, config_path(data_dir_)},
                              .environment = {"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"},
                              .user = config_.engine_user,
                              .directory = data_dir_,
                              .log_file = log_file_});
  if (!started) return tl::unexpected(started.error());
  const auto until = Steady::now() + kStartLimit;
  while (Steady::now() < until) {
    if (connection(kConnectLimit)) return {};
    if (!host_.running()) return fail(Remedy::kRetry, "it ended at once: " + last_cause() + "; see " + log_file_, Effect::kMaybe);
    std::this_thread::sleep_for(kStartPoll);
  }
  return {};  // still loading: observe() says so
}

/// Ends the server. `how`: SAVE or NOSAVE. By its own command, since a signal waits for the next turn of its clock, up to 100 ms.
Result<void> Engine::end_process(const std::string& how, Duration limit) {
  if (!host_.running()) return host_.wait_empty(limit);
  if (auto conn = connection(kConnectLimit); conn) {
    if (auto announced = host_.stop(0); !announced) return announced;
    auto refused = (*conn)->ask({"SHUTDOWN", how, "NOW", "FORCE"}, limit);
    kept_.reset();
    if (refused) return fail(Remedy::kRetry, "it does not stop: " + refused->text, Effect::kMaybe);
    if (host_.wait_empty(limit)) return {};
  }
  kept_.reset();
  if (auto sent = host_.stop(SIGTERM); !sent) return sent;
  return host_.wait_empty(kFrozenStopLimit);
}

// ---------------------------------------------------------------- verbs

/// Follows nobody: whom it may follow is looked at by follow().
Result<void> Engine::start(const DriverCommand&, DriverResult&) {
  if (auto ours = need_ours(); !ours) return ours;
  if (host_.running()) return {};
  if (auto back = take_back(); !back) return back;
  return launch(nullptr);
}

Result<void> Engine::promote(const DriverCommand& c, DriverResult& r) {
  if (auto ours = need_ours(); !ours) return ours;
  auto seen = look(kUpstreamLimit);
  if (!seen) return tl::unexpected(seen.error());
  auto marker = read_marker(data_dir_);
  if (!marker) return fail(Remedy::kFixInput, what_is_foreign());
  if (auto newest = need_newest(*marker, c.epoch); !newest) return newest;
  const Position now = position_of(*seen, *marker);
  if (seen->primary) {
    const auto it = marker->openings.find(now.timeline);
    if (it == marker->openings.end() || it->second.session != c.session)
      return fail(Remedy::kStepDown, "it is open already, under another session");
    r.position = {now.timeline, it->second.start, marker->identity};
    return {};
  }
  if (now.identity != marker->identity)
    return fail(Remedy::kFixInput, "it has no data of " + marker->identity + ": opened like this it would be an empty primary");
  auto conn = connection(kConnectLimit);
  if (!conn) return tl::unexpected(conn.error());
  // The old master's stream is cut first: from here on the offset stands still.
  auto cut = (*conn)->run({{"REPLICAOF", kNobody, kNobodyPort}, {"INFO", "replication"}}, kPromoteLimit);
  if (!cut) return tl::unexpected(cut.error());
  if (const std::string no = refusal_in(*cut); !no.empty()) return fail(Remedy::kRetry, no);
  const Lsn start{number(parse_info((*cut)[1].text), "slave_repl_offset")};
  marker->openings[c.epoch.value] = {c.session, c.epoch, config_.self, start, {}};
  marker->node = config_.self;
  // In one piece: nobody else's command comes between them, so the list is the first write, and the limit holds from the second on.
  auto opened = (*conn)->run({{"REPLICAOF", "NO", "ONE"},
                              {"SET", kTimelinesKey, timelines_text(*marker)},
                              {"CONFIG", "SET", "min-replicas-to-write", std::to_string(replicas_to_write(config_.resource))}},
                             kPromoteLimit);
  if (!opened) return fail(Remedy::kRetry, opened.error().message, Effect::kMaybe);
  if (const std::string no = refusal_in(*opened); !no.empty()) return fail(Remedy::kRetry, no, Effect::kMaybe);
  opened_incarnation_ = host_.incarnation();
  if (auto written = write_marker(data_dir_, *marker, user_); !written) return fail(written.error().remedy, written.error().message, Effect::kMaybe);
  r.position = {c.epoch.value, start, marker->identity};
  return {};
}

/// A dump of about now, while writes go on.
void Engine::save_ahead() {
  auto conn = connection(kConnectLimit);
  if (!conn) return;
  (void)(*conn)->run({{"BGSAVE", "SCHEDULE"}}, kAskLimit);
  const auto until = Steady::now() + kSaveAheadLimit;
  while (Steady::now() < until) {
    const auto seen = look(kAskLimit);
    if (!seen || field(seen->info, "rdb_bgsave_in_progress") == "0") return;
    std::this_thread::sleep_for(kSavePoll);
  }
}

/// Connections to the replicas that stream from it now. It is they who are asked how far they are: a server whose writes are paused asks
/// them for no acknowledgement, and theirs come once in a second.
Engine::Followers Engine::reach_followers(const Seen& seen) {
  Followers out;
  for (const ReplicaLag& replica : replica_lags(seen.info, config_.peers)) {
    const PeerAddress* p = find_peer(config_, replica.node);
    if (p == nullptr) continue;
    auto conn = Connection::open({.host = p->host, .port = p->port, .user = kUser, .password = password_}, kReachLimit);
    if (conn) out.push_back(std::move(*conn));
  }
  return out;
}

/// Whether one of them has the stream up to `end`. Once one has, the others get a little longer.
bool Engine::await_followers(const Followers& followers, Lsn end) {
  auto until = Steady::now() + kFollowersLimit;
  bool one = false;
  while (Steady::now() < until) {
    bool all = true;
    for (const auto& follower : followers) {
      const auto seen = look_at(*follower, kAskLimit);
      const bool has = seen && seen->offset >= end;
      if (has && !one) one = true, until = std::min(until, Steady::now() + kOthersLimit);
      all = all && (has || !follower->alive());
    }
    if (all) break;
    std::this_thread::sleep_for(kFollowerPoll);
  }
  return one;
}

/// Writes are paused, replicas get the rest, and it ends. Returns where.
Result<Position> Engine::stop_primary(const Seen& before) {
  const auto marker = read_marker(data_dir_);
  if (!marker) return fail(Remedy::kFixInput, what_is_foreign());
  auto conn = connection(kConnectLimit);
  if (!conn) return tl::unexpected(conn.error());
  const auto memory = (*conn)->ask({"INFO", "memory"}, kAskLimit);
  const bool small = memory && number(parse_info(memory->text), "used_memory_dataset", kSmallBytes + 1) <= kSmallBytes;
  if (!small) save_ahead();
  (void)begin_to_count(before);
  const Followers followers = reach_followers(before);
  if (conn = connection(kConnectLimit); !conn) return tl::unexpected(conn.error());
  if (auto paused = (*conn)->ask({"CLIENT", "PAUSE", std::to_string(to_ms(kPauseLimit)), "WRITE"}, kUpstreamLimit); !paused) return tl::unexpected(paused.error());
  auto seen = look(kUpstreamLimit);
  if (!seen) return tl::unexpected(seen.error());
  const Marker noted = note(*seen, *marker);
  const Position end = position_of(*seen, noted);
  const bool copied = await_followers(followers, end.lsn);
  if (auto ended = end_process(small || !copied ? "SAVE" : "NOSAVE", kStopLimit); !ended) {
    if (auto again = connection(kConnectLimit); again) (void)(*again)->run({{"CLIENT", "UNPAUSE"}}, kAskLimit);
    return tl::unexpected(ended.error());
  }
  return end;
}

Result<void> Engine::stop(const DriverCommand&, DriverResult& r) {
  const bool ours = data() == Data::kOurs;
  if (host_.running()) {
    auto seen = ours ? look(kAskLimit) : Result<Seen>(fail(Remedy::kRetry, "no data"));
    if (!seen) {
      kept_.reset();
      if (auto sent = host_.stop(SIGTERM); !sent) return sent;
      if (auto ended = host_.wait_empty(kFrozenStopLimit); !ended) return ended;
    } else if (seen->primary) {
      auto end = stop_primary(*seen);
      if (!end) return tl::unexpected(end.error());
      r.position = *end;
      return {};
    } else if (auto ended = end_process("SAVE", kStopLimit); !ended) {
      return ended;
    }
  }
  if (!ours) return {};
  r.position = stopped_position();
  if (r.position.timeline != 0 && r.position.lsn.value == 0) return fail(Remedy::kRetry, "the end of its data cannot be read from " + dump_path(), Effect::kMaybe);
  return {};
}

}  // namespace redis
}  // namespace daarion
