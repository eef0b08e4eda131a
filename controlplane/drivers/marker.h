// daarion.json in the data directory: these data are ours, and under which sessions their timelines were opened.
//
// Why sessions: PostgreSQL numbers timelines by itself. Two nodes that were promoted from the same timeline, one after the other,
// both open "timeline 2", possibly at the same LSN, and nothing in PostgreSQL tells the two apart; pg_rewind even says that there
// is nothing to do. So each opening is written down with its session before the engine is promoted, a follower learns its
// upstream's list, and two lists that name different sessions for one timeline have parted. Redis has no timelines at all: there the
// number is the epoch of the opening, and its place and replication id are written down too (redis/redis_driver.h).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "controlplane/core/types.h"
#include "controlplane/drivers/files.h"

namespace daarion {

inline constexpr const char* kMarkerFile = "daarion.json";

struct Opening {
  SessionId session;
  Epoch epoch;
  NodeId node;
  Lsn start{};          // where it left the timeline before it; 0: the engine's own files tell
  std::string replid{};  // the engine's name for it, once seen; empty: it has none
  bool operator==(const Opening&) const = default;
};

struct Marker {
  NodeId node;  // whose data directory it is; a copy of another's has another's
  ResourceId resource;
  std::string identity;                       // of the data; PostgreSQL: the system identifier
  std::map<std::uint64_t, Opening> openings;  // by timeline, as far as known
  bool operator==(const Marker&) const = default;
};

/// Errors: nothing if it is no marker, or of a later schema.
std::optional<Marker> parse_marker(const std::string& text);
std::string to_text(const Marker& marker);

/// Writes it durably. Pre: the data directory is ours or about to be.
Result<void> write_marker(const std::string& data_dir, const Marker& marker, const SystemUser& owner);
std::optional<Marker> read_marker(const std::string& data_dir);

}  // namespace daarion
