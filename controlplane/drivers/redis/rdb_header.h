// What a dump file says of itself before its keys: which replication stream it is of, and how far.
#pragma once

#include <optional>
#include <string>

#include "controlplane/core/types.h"

namespace daarion::redis {

struct RdbHeader {
  std::string replid;  // empty: the server that wrote it knew of no stream
  Lsn offset;
  bool operator==(const RdbHeader&) const = default;
};

/// Pure. The first bytes of a dump file. Errors: nothing if they are not of one.
std::optional<RdbHeader> parse_rdb_header(const std::string& bytes);

/// Reads it. Errors: nothing if there is no such file, or it is no dump.
std::optional<RdbHeader> read_rdb_header(const std::string& path);

}  // namespace daarion::redis
