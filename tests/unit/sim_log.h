// Logs as real clusters write them: the simulator's, encoded.
#pragma once

#include <vector>

#include "streams/message.h"

namespace daarion::test {

/// The log of the seed's run, as stored messages; a few seeds are joined by none: one log is one run.
std::vector<StoredMessage> sim_log(std::uint64_t seed);

/// One log of at least `events` events: operators' and members' events go on where a run ended.
std::vector<StoredMessage> long_log(std::uint64_t seed, std::size_t events);

}  // namespace daarion::test
