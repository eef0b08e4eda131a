// What is to be so while an engine runs, seen to by every look that finds it due, and what a person should know of it.
#include "controlplane/drivers/postgres/engine.h"

namespace daarion::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kKeepUpLimit{300};
// Why a replay stands is asked again this often while it does: until somebody mends it.
constexpr seconds kBlockedHolds{5};

}  // namespace

Rows ask(Connection& c, const std::string& sql) { return c.alive() ? c.query(sql, kKeepUpLimit).value_or(Rows{}) : Rows{}; }

/// On a primary the replication user, its rights and the members' slots; on a standby the slots that it would need as its heir.
void Engine::keep_up(const Seen& seen) {
  kept_up_ = Steady::now();
  kept_up_incarnation_ = kept_incarnation_;
  kept_up_as_primary_ = seen.primary;
  slot_problems_.clear();
  auto conn = connection(kConnectLimit);
  if (!conn) return;
  Connection& c = **conn;
  if (!seen.primary) {
    keep_slots_as_heir(c, seen);
    learn_followed(seen);
    return;
  }
  keep_role(c);
  keep_slots(c);
  keep_checkpoint(c);
}

void Engine::keep_role(Connection& c) {
  const std::string user = c.name(credentials_.user);
  const bool may_checkpoint = c.version() >= kCheckpointRole;
  const Rows role = ask(
      c,
      std::string("SELECT rolreplication AND rolcanlogin, has_function_privilege(rolname, 'pg_read_binary_file(text,bigint,bigint,boolean)', "
                  "'execute')") + (may_checkpoint ? " AND pg_has_role(rolname, 'pg_checkpoint', 'member')" : "") +
          " FROM pg_roles WHERE rolname = " + c.literal(credentials_.user));
  if (role.empty() || role[0][0] != "t") {
    const std::string verifier = c.verifier(credentials_.user, credentials_.password);
    if (verifier.empty()) return;
    ask(c, std::string(role.empty() ? "CREATE" : "ALTER") + " ROLE " + user + " LOGIN REPLICATION PASSWORD " + c.literal(verifier));
  }
  if (!role.empty() && role[0][1] == "t") return;
  for (const char* function : {"pg_ls_dir(text, boolean, boolean)", "pg_stat_file(text, boolean)", "pg_read_binary_file(text)",
                               "pg_read_binary_file(text, bigint, bigint, boolean)"})
    ask(c, std::string("GRANT EXECUTE ON FUNCTION pg_catalog.") + function + " TO " + user);
  if (may_checkpoint) ask(c, "GRANT pg_checkpoint TO " + user);
}

/// pg_rewind reads a server's timeline from its last checkpoint, which after a promotion is still of the old one, for minutes. Whoever rewinds asks
/// for another where he may; an older server makes it itself. It goes on when the statement is given up.
void Engine::keep_checkpoint(Connection& c) {
  if (c.version() >= kCheckpointRole) return;
  const Rows old = ask(c, "SELECT timeline_id <> ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint FROM pg_control_checkpoint()");
  if (old.empty() || old[0][0] != "t") return;
  auto own = Connection::open({.host = config_.run_dir, .port = find_peer(config_, config_.self)->port, .user = kSuperuser, .password = ""}, kConnectLimit);
  if (own) (void)(*own)->query("CHECKPOINT", kAskLimit);
}

/// Members come and go while it runs: who may connect, and whom a commit waits for. A restarted daemon may have another cluster file, and one that is told
/// to read its files again has its engine read its own.
void Engine::keep_files(const Seen& seen) {
  const NodeId node = node_at(seen);
  const PeerAddress* upstream = node.empty() ? nullptr : find_peer(config_, node);
  if (upstream == nullptr && !seen.primary && !seen.conninfo.empty()) return;  // a follow is due, or somebody has set it by hand
  auto conn = connection(kConnectLimit);
  if (!conn) return;
  const Rows senders = ask(**conn, "SELECT current_setting('max_wal_senders')");
  if (senders.empty()) return;
  const std::uint64_t now = number_of(senders[0][0]);  // fewer would wait for a restart, and then be too few for a primary
  // Whose word the commits of a primary wait for is changed in step with the log (core/sync_set.h), not by a file that changed.
  const bool waits = config_.resource.confirmations() > 0;
  const std::optional<std::string> sync = seen.primary && waits ? std::optional(seen.sync) : std::nullopt;
  const bool current = are_settings_current(config_, data_dir_, upstream, credentials_, tools_.user, now, sync);
  if (current && has_read_files_) return;
  if (current || write_settings(config_, data_dir_, upstream, credentials_, tools_.user, now, sync)) has_read_files_ = !ask(**conn, "SELECT pg_reload_conf()").empty();
}

/// A standby must have as many as its primary, whatever it is configured for itself, or it replays nothing.
std::uint64_t Engine::senders_at_least() {
  const auto control = this->control();
  return control ? control->settings.at("max_wal_senders") : 0;
}

/// Where a replay stands because of a setting, a promotion would stand with it. Empty: somebody paused it.
std::string Engine::why_replay_stands(Connection& c) {
  const auto control = this->control();
  if (!control) return {};
  std::string why;
  for (const auto& [name, primary] : control->settings) {
    const Rows own = ask(c, "SELECT current_setting(" + c.literal(name) + ")");
    if (own.empty() || number_of(own[0][0]) >= primary) continue;
    why += (why.empty() ? "" : ", ") + name + " is " + own[0][0] + " here and " + std::to_string(primary) + " on its primary";
  }
  return why.empty() ? why : "it replays no more and cannot be promoted: " + why + "; raise it and restart its PostgreSQL";
}

void Engine::fill_problems(EngineReport& r, const Seen& seen) {
  r.problems = fitness_.problems();
  r.problems.insert(r.problems.end(), slot_problems_.begin(), slot_problems_.end());
  r.dropped_slots = std::exchange(dropped_slots_, {});
  if (!seen.paused) {
    blocked_.clear();
    blocked_at_ = {};
    return;
  }
  if (const auto now = Steady::now(); now >= blocked_at_ + kBlockedHolds) {
    blocked_at_ = now;
    if (auto conn = connection(kConnectLimit)) blocked_ = why_replay_stands(**conn);
  }
  r.blocked = blocked_;
  if (blocked_.empty()) r.problems.push_back("its replay is paused; SELECT pg_wal_replay_resume() there ends that");
}

}  // namespace daarion::postgres
