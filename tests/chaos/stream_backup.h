// A JetStream stream taken out as `nats stream backup` does, and put back in place of what is there.
#pragma once

#include <string>
#include <vector>

#include "streams/connection.h"

namespace daarion::chaos {

struct StreamBackup {
  std::string config, state;        // JSON, as the server gave them
  std::vector<std::string> chunks;  // of its archive
};

/// Errors: kRetry if a server does not answer within `limit`.
Result<StreamBackup> back_up(Connection& connection, const std::string& stream, Duration limit);
/// Deletes the stream that is there now. Errors: as back_up; then there may be none.
Result<void> restore(Connection& connection, const std::string& stream, const StreamBackup& backup, Duration limit);

}  // namespace daarion::chaos
