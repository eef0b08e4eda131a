// The members' replication slots: kept on a primary, bounded, and kept on a standby as far as they go, for when it is the primary.
#include "controlplane/drivers/postgres/engine.h"

namespace daarion::postgres {
namespace {

// A look at another host, on the way of a look at its own engine.
constexpr std::chrono::milliseconds kThereLimit{1000};

struct Slot {
  std::string name;
  NodeId node;  // whose it is; empty: not one of ours
  bool active = false;
  std::string status;      // pg_replication_slots.wal_status
  std::uint64_t kept = 0;  // bytes of WAL; 0 once it was cut off
  std::string limit;       // max_slot_wal_keep_size, "4GB"; "-1": none
};

const std::string kSlots =
    "SELECT slot_name, slot_type, active, coalesce(wal_status, ''), coalesce(greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint, "
    "current_setting('max_slot_wal_keep_size') FROM pg_replication_slots ORDER BY slot_name";

Slot slot_in(const Row& v) { return {v[0], v[1] == "physical" ? node_of_slot(v[0]) : NodeId{}, v[2] == "t", v[3], number_of(v[4]), v[5]}; }

/// Empty: it keeps what any server keeps. PostgreSQL says "extended" beyond max_wal_size, "unreserved" beyond the limit, until a checkpoint.
std::string problem_of(const Slot& s) {
  if (s.status != "extended" && s.status != "unreserved" && s.status != "lost") return {};
  const std::string then = s.node.empty() ? "what reads it has lost its place" : s.node.value + " is copied anew";
  const std::string name = "slot " + s.name;
  if (s.status == "lost") return name + " was cut off at " + s.limit + " of WAL: " + then;
  const std::string keeps = name + " keeps " + std::to_string(s.kept >> 20) + " MB of WAL";
  if (s.limit == "-1") return keeps + ", and nothing bounds it (max_slot_wal_keep_size)";
  if (s.status == "unreserved") return keeps + ", more than " + s.limit + ": with the next checkpoint it is cut off, and " + then;
  return keeps + "; beyond " + s.limit + " it is cut off, and " + then;
}

/// Another member, whose slot is kept.
bool is_fellow(const DriverConfig& config, const NodeId& node) { return node != config.self && config.resource.has_member(node); }

/// "ARRAY['daarion_node1', 'daarion_node3']::text[]"
std::string array_of(Connection& c, const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + c.literal(name);
  return "ARRAY[" + out + "]::text[]";
}

void make_missing(Connection& c, const std::string& names) {
  ask(c, "SELECT pg_create_physical_replication_slot(n, true) FROM unnest(" + names + ") n WHERE n NOT IN (SELECT slot_name FROM pg_replication_slots)");
}

}  // namespace

/// A member's slot keeps WAL for it, up to a bound: one that was cut off is made anew, and the log is told, as the member can only be copied anew.
void Engine::keep_slots(Connection& c) {
  for (const Row& row : ask(c, kSlots)) {
    const Slot slot = slot_in(row);
    const bool fellow = is_fellow(config_, slot.node), cut_off = slot.status == "lost";
    if (!slot.node.empty() && !slot.active && (cut_off || !fellow)) {
      const std::string why = fellow ? "it kept more WAL than max_slot_wal_keep_size (" + slot.limit + "): " + slot.node.value + " is copied anew"
                                     : slot.node.value + " is no replica here any more";
      if (!ask(c, "SELECT pg_drop_replication_slot(" + c.literal(slot.name) + ")").empty()) dropped_slots_.push_back({slot.node, slot.name, why});
    } else if (std::string problem = problem_of(slot); !problem.empty()) {
      slot_problems_.push_back(std::move(problem));
    }
  }
  std::vector<std::string> wanted;
  for (const NodeId& node : config_.resource.members)
    if (is_fellow(config_, node)) wanted.push_back(slot_of(node));
  if (!wanted.empty()) make_missing(c, array_of(c, wanted));
}

/// Where its upstream's are: promoted, it still has the WAL that its fellows lack. Its own and its upstream's would only keep WAL, those of another
/// history keep the wrong one. Without a stream it cannot tell where they are, and receives nothing that they could keep.
void Engine::keep_slots_as_heir(Connection& c, const Seen& seen) {
  const NodeId upstream = node_at(seen);
  const auto at = peer(upstream);
  if (!seen.streaming || !at) return;
  const auto there = Connection::open(target_of(**at), kThereLimit);
  if (!there) return;
  const auto slots = (*there)->query("SELECT slot_name, restart_lsn FROM pg_replication_slots WHERE slot_type = 'physical' AND restart_lsn IS NOT NULL", kThereLimit);
  if (!slots) return;
  std::vector<std::string> names;
  std::string places;
  for (const Row& slot : *slots) {
    const NodeId node = node_of_slot(slot[0]);
    if (node == upstream || !is_fellow(config_, node)) continue;
    names.push_back(slot[0]);
    places += (places.empty() ? "(" : ", (") + c.literal(slot[0]) + ", " + c.literal(slot[1]) + "::pg_lsn)";
  }
  const std::string wanted = array_of(c, names);
  ask(c, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'daarion\\_%' AND slot_type = 'physical' AND NOT active AND "
         "(slot_name <> ALL (" + wanted + ") OR wal_status = 'lost' OR restart_lsn > pg_last_wal_replay_lsn())");
  if (names.empty()) return;
  make_missing(c, wanted);
  ask(c, "SELECT pg_replication_slot_advance(s.slot_name, w.place) FROM (VALUES " + places + ") w (name, place) JOIN pg_replication_slots s ON s.slot_name = w.name "
         "WHERE NOT s.active AND s.restart_lsn < w.place");
}

}  // namespace daarion::postgres
