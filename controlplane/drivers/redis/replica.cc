// How data come to be: made from nothing, or copied from an upstream; and how a replica is led to another upstream.
#include <sys/random.h>

#include <thread>

#include "controlplane/drivers/files.h"
#include "controlplane/drivers/redis/engine.h"
#include "controlplane/drivers/redis/rdb_header.h"

namespace daarion::redis {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kFollowLimit{2};  // until streaming is seen; following goes on after it all the same
constexpr milliseconds kLinkPoll{5};
// A copy takes as long as it takes, as long as it moves. The first bytes wait for the upstream's fork.
constexpr hours kCopyLimit{24};
constexpr seconds kCopyIdleLimit{60};
constexpr seconds kEndLimit{15};

std::string new_identity() {
  std::uint64_t words[2] = {};
  if (getrandom(words, sizeof words, 0) != sizeof words) std::abort();
  return id_text(words[0], words[1]);
}

}  // namespace

Result<Lineage> Engine::own_lineage() {
  const auto marker = read_marker(data_dir_);
  if (!marker) return fail(Remedy::kFixInput, what_is_foreign());
  if (!host_.running()) {
    const Position p = stopped_position();
    Lineage l{.identity = p.identity, .timeline = p.timeline, .end = p.lsn, .writable = false, .openings = marker->openings};
    l.openings.erase(l.openings.upper_bound(l.timeline), l.openings.end());
    return l;
  }
  auto seen = look(kUpstreamLimit);
  if (!seen) return tl::unexpected(seen.error());
  if (seen->loading) return fail(Remedy::kRetry, "it still loads its data");
  const Position p = position_of(*seen, *marker);
  Lineage l{.identity = p.identity, .timeline = p.timeline, .end = p.lsn, .writable = seen->primary, .openings = seen->data ? seen->data->openings : marker->openings};
  l.openings.erase(l.openings.upper_bound(l.timeline), l.openings.end());
  return l;
}

Result<Lineage> Engine::ask_upstream(const PeerAddress& upstream) {
  const auto failed = [&](const Error& e) {
    const bool password = e.message.find("WRONGPASS") != std::string::npos || e.message.find("NOAUTH") != std::string::npos || e.message.find("without any password") != std::string::npos;
    return fail(Remedy::kRetry, "ask " + upstream.node.value + ": " + e.message + (password ? "; REDIS_PASSWORD must be the same on both nodes" : ""));
  };
  auto conn = Connection::open({.host = upstream.host, .port = upstream.port, .user = kUser, .password = password_}, kUpstreamLimit);
  if (!conn) return failed(conn.error());
  auto seen = look_at(**conn, kUpstreamLimit);
  if (!seen) return failed(seen.error());
  Lineage l{.identity = {}, .timeline = 0, .end = seen->offset, .writable = seen->primary && !seen->loading, .openings = {}};
  if (!seen->data) return l;
  l.identity = seen->data->identity;
  l.openings = seen->data->openings;
  l.timeline = timeline_of(&*seen->data, {}, {});
  return l;
}

/// Ours are looked at first: what the upstream wrote meanwhile only makes it later.
Result<Judgement> Engine::compare(const PeerAddress& upstream, Lineage& theirs) {
  auto own = own_lineage();
  if (!own) return tl::unexpected(own.error());
  if (own->writable) return fail(Remedy::kStepDown, "it is open for writing; stop it first");
  auto asked = ask_upstream(upstream);
  if (!asked) return tl::unexpected(asked.error());
  theirs = *asked;
  // Data that are gone were of somebody all the same.
  if (const auto marker = read_marker(data_dir_); marker && own->identity.empty()) own->identity = marker->identity;
  return judge(*own, theirs);
}

/// Where it is, running or not; nothing where it does not answer.
Position Engine::present_position() {
  if (!host_.running()) return stopped_position();
  const auto seen = look(kUpstreamLimit);
  const auto marker = read_marker(data_dir_);
  return seen && marker ? position_of(*seen, *marker) : Position{};
}

/// The upstream's openings, so that an older epoch is known for one from now on.
Result<void> Engine::learn(const Marker& there) {
  auto marker = read_marker(data_dir_);
  if (!marker) return fail(Remedy::kFixInput, what_is_foreign());
  const Marker before = *marker;
  for (const auto& [timeline, opening] : there.openings)
    if (const auto known = marker->openings.find(timeline); known == marker->openings.end() || known->second.session != opening.session)
      marker->openings[timeline] = opening;
  return *marker == before ? Result<void>{} : write_marker(data_dir_, *marker, user_);
}

Result<void> Engine::await_link(Duration limit) {
  const auto until = Steady::now() + limit;
  while (Steady::now() < until) {
    const auto seen = look(kAskLimit);
    if (seen && field(seen->info, "master_link_status") == "up") return {};
    if (!host_.running()) return fail(Remedy::kRetry, "it ended: " + last_cause() + "; see " + log_file_, Effect::kMaybe);
    std::this_thread::sleep_for(kLinkPoll);
  }
  return {};
}

Result<void> Engine::follow(const DriverCommand& c, DriverResult& r) {
  if (auto ours = need_ours(); !ours) return ours;
  auto found = peer(c.upstream);
  if (!found) return tl::unexpected(found.error());
  const PeerAddress& upstream = **found;
  if (!host_.running())
    if (auto back = take_back(); !back) return back;
  Lineage theirs;
  auto j = compare(upstream, theirs);
  if (!j) return tl::unexpected(j.error());
  r.diverged = j->kinship == Kinship::kParted;
  if (j->kinship != Kinship::kMayFollow)
    return fail(j->kinship == Kinship::kParted || j->kinship == Kinship::kNotYet ? Remedy::kRetry : Remedy::kFixInput, upstream.node.value + ": " + j->why);
  if (auto learned = learn({.node = {}, .resource = {}, .identity = {}, .openings = theirs.openings}); !learned) return learned;
  if (!host_.running()) {
    if (auto up = launch(&upstream); !up) return up;
  } else {
    auto conn = connection(kConnectLimit);
    if (!conn) return tl::unexpected(conn.error());
    if (auto told = (*conn)->ask({"REPLICAOF", upstream.host, std::to_string(upstream.port)}, kUpstreamLimit); !told) return tl::unexpected(told.error());
  }
  return await_link(kFollowLimit);
}

/// Starts it without data, and waits until it has the upstream's. Pre: the upstream was looked at; no server runs.
Result<void> Engine::copy_from(const PeerAddress& upstream, DriverResult& r) {
  if (auto up = launch(&upstream); !up) return up;
  const auto until = Steady::now() + kCopyLimit;
  auto moved = Steady::now();
  std::string before;
  while (Steady::now() < until) {
    const auto seen = look(kAskLimit);
    if (seen && field(seen->info, "master_link_status") == "up") {
      const auto marker = read_marker(data_dir_);
      if (seen->data && marker) r.position = position_of(*seen, note(*seen, *marker));
      if (seen->data) return {};
    }
    if (!host_.running()) return fail(Remedy::kRetry, "it ended: " + last_cause() + "; see " + log_file_, Effect::kMaybe);
    const std::string progress = seen ? field(seen->info, "master_sync_read_bytes") + " " + field(seen->info, "loading_loaded_bytes") : before;
    if (progress != before) before = progress, moved = Steady::now();
    if (Steady::now() - moved > kCopyIdleLimit) break;
    std::this_thread::sleep_for(kLinkPoll);
  }
  return fail(Remedy::kRetry, "copy from " + upstream.node.value + ": no progress for " + std::to_string(kCopyIdleLimit.count()) + " s: " + last_cause(), Effect::kMaybe);
}

Result<void> Engine::provision(const DriverCommand& c, DriverResult& r) {
  r.method = c.upstream.empty() ? "new" : "full-copy";
  switch (data()) {
    case Data::kForeign:
      return fail(Remedy::kFixInput, what_is_foreign());
    case Data::kOurs:
      r.position = present_position();
      return {};
    case Data::kEmpty:
      break;
  }
  if (host_.running()) return fail(Remedy::kRetry, "a server runs without a data directory; stop it first");
  Marker marker{config_.self, config_.resource.id, {}, {}};
  const PeerAddress* upstream = nullptr;
  if (c.upstream.empty()) {
    marker.identity = new_identity();
  } else {
    auto found = peer(c.upstream);
    if (!found) return tl::unexpected(found.error());
    upstream = *found;
    auto theirs = ask_upstream(*upstream);
    if (!theirs) return tl::unexpected(theirs.error());
    if (const Judgement j = judge({}, *theirs); j.kinship != Kinship::kMayFollow) return fail(Remedy::kRetry, upstream->node.value + ": " + j.why);
    marker.identity = theirs->identity;
    marker.openings = theirs->openings;
  }
  // The marker makes a folder ours, and goes in with it: one that is cut off leaves another folder.
  const std::string fresh = data_dir_ + ".daarion-new";
  if (auto gone = remove_tree(fresh); !gone) return gone;
  if (auto made = make_folder(fresh, 0700, user_); !made) return made;
  if (auto done = write_marker(fresh, marker, user_); !done) return done;
  if (auto done = swap_folder(fresh, data_dir_); !done) return done;
  if (auto gone = remove_tree(fresh); !gone) return gone;
  if (upstream != nullptr) return copy_from(*upstream, r);
  r.position = stopped_position();
  return {};
}

/// Whether its dump says of which stream it is: one that was saved in the midst of a copy does not.
bool Engine::has_known_dump() const {
  const auto dump = read_rdb_header(dump_path());
  return dump && !dump->replid.empty();
}

/// Puts back what it had before a copy that was asked for, if that copy did not come to its end. Pre: no server runs.
Result<void> Engine::take_back() {
  if (!exists(kept_path())) return {};
  return has_known_dump() ? remove_file(kept_path()) : rename_file(kept_path(), dump_path());
}

/// A whole copy. What it had is kept beside it: of data that have parted for a person who wants to look for what was lost, else until the copy is there.
Result<void> Engine::rejoin(const DriverCommand& c, DriverResult& r) {
  if (data() == Data::kEmpty) return provision(c, r);
  if (auto ours = need_ours(); !ours) return ours;
  auto found = peer(c.upstream);
  if (!found) return tl::unexpected(found.error());
  const PeerAddress& upstream = **found;
  Lineage theirs;
  auto j = compare(upstream, theirs);
  if (!j) return tl::unexpected(j.error());
  if (j->kinship != Kinship::kParted && j->kinship != Kinship::kMayFollow)
    return fail(j->kinship == Kinship::kNotYet ? Remedy::kRetry : Remedy::kFixInput, upstream.node.value + ": " + j->why);
  if (auto learned = learn({.node = {}, .resource = {}, .identity = {}, .openings = theirs.openings}); !learned) return learned;
  r.method = "full-copy";
  if (host_.running()) {
    if (const auto seen = look(kAskLimit); seen && !c.anew && j->kinship == Kinship::kMayFollow && field(seen->info, "master_link_status") == "up" && node_at(*seen) == upstream.node) {
      r.position = present_position();  // it was done already
      return {};
    }
    if (auto ended = end_process("SAVE", kEndLimit); !ended) return ended;
  }
  if (auto back = take_back(); !back) return back;
  const bool healthy = c.anew && j->kinship == Kinship::kMayFollow;
  const std::string kept = healthy ? kept_path() : data_dir_ + "/parted.rdb";
  if (exists(dump_path()) && (has_known_dump() || !exists(kept)))
    if (auto moved = rename_file(dump_path(), kept); !moved) return moved;
  auto copied = copy_from(upstream, r);
  if (!healthy) return copied;
  if (copied) return remove_file(kept);
  if (auto ended = end_process("NOSAVE", kEndLimit); !ended) return ended;
  if (auto back = take_back(); !back) return back;
  return copied;
}

}  // namespace daarion::redis
