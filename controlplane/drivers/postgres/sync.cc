// For whose word the commits of a primary wait: told by the agent in step with the log (core/sync_set.h), and seen here as the server has it.
#include <algorithm>
#include <thread>
#include <tuple>
#include <utility>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/postgres/engine.h"

namespace daarion::postgres {
namespace {

using std::chrono::milliseconds;

// A server reads its files again within ms of being told; beyond it something else has set the value.
constexpr milliseconds kTakenUpWithin{1000};
constexpr milliseconds kAskAgain{10};

}  // namespace

Result<void> Engine::put_in_force(const std::string& names, const PeerAddress* upstream) {
  auto conn = connection(kConnectLimit);
  if (!conn) return tl::unexpected(conn.error());
  auto senders = (*conn)->query("SELECT current_setting('max_wal_senders')", kUpstreamLimit);
  if (!senders) return tl::unexpected(senders.error());
  const std::uint64_t now = senders->empty() ? 0 : number_of((*senders)[0][0]);
  if (auto done = write_settings(config_, data_dir_, upstream, credentials_, tools_.user, now, names); !done) return done;
  if (auto told = (*conn)->query("SELECT pg_reload_conf()", kUpstreamLimit); !told) return tl::unexpected(told.error());
  const auto until = Steady::now() + kTakenUpWithin;
  while (true) {
    auto seen = look(kUpstreamLimit);
    if (!seen) return tl::unexpected(seen.error());
    if (seen->sync == names) return {};
    if (Steady::now() >= until)
      return fail(Remedy::kFixInput, "synchronous_standby_names stays '" + seen->sync + "', not '" + names +
                                         "': postgresql.auto.conf overrides it; ALTER SYSTEM RESET synchronous_standby_names");
    std::this_thread::sleep_for(kAskAgain);
  }
}

Result<void> Engine::set_sync(const DriverCommand& c) {
  if (auto ours = need_ours(); !ours) return ours;
  auto seen = look(kUpstreamLimit);
  if (!seen) return tl::unexpected(seen.error());
  if (!seen->primary) return fail(Remedy::kStepDown, "it is not open");
  const NodeId upstream = node_at(*seen);  // as keep_files() has it
  return put_in_force(sync_names(config_.resource, c.confirmers, c.confirmations), upstream.empty() ? nullptr : find_peer(config_, upstream));
}

/// One that was written and not read yet would come into force with anybody's reload.
bool Engine::file_has(const std::string& names) const {
  return read_file(data_dir_ + "/daarion.conf").value_or("").find("synchronous_standby_names = " + quoted(names) + "\n") != std::string::npos;
}

/// The position from which on only the present names acknowledged is one read after every sender was seen to go by them: until then one of before may
/// still release a commit.
void Engine::fill_sync(EngineReport& r, const Seen& seen) {
  if (config_.resource.confirmations() == 0) return;
  std::tie(r.confirmers, r.confirmations) = read_sync_names(seen.sync);
  if (std::exchange(sync_seen_, seen.sync) != seen.sync) sync_taken_up_ = false, sync_from_.reset();
  if (sync_taken_up_ && !sync_from_) sync_from_ = seen.written;
  const auto senders = replicas();
  if (!senders) return;
  std::size_t hold = 0;
  bool agreed = true;
  for (const ReplicaLag& sender : *senders) {
    const bool named = std::ranges::find(r.confirmers, sender.node) != r.confirmers.end();
    agreed = agreed && named == (sender.sync_state != "async");  // what the sender itself goes by
    if (sender.state != "streaming" || find_peer(config_, sender.node) == nullptr) continue;
    r.followers.push_back(sender.node);
    if (named && sync_from_ && sender.flushed >= *sync_from_) ++hold;
  }
  if (agreed) sync_taken_up_ = true;
  r.confirmed_all = agreed && sync_from_ && hold >= r.confirmations && r.confirmations > 0 && file_has(seen.sync);
}

}  // namespace daarion::postgres
