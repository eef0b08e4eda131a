// A primary that is open and refuses writes all the same says so in its health: beats carry that, and so do observations in the log.
#pragma once

#include <string>

#include "controlplane/core/evidence.h"

namespace daarion {

/// How such a health begins; the cause follows. A daemon of before says "its last dump failed, so it refuses writes".
inline constexpr const char* kRefusesWrites = "it refuses writes";

/// Whether an engine takes writes, as far as it says itself. Any other cause of ill health does not keep it from it.
inline bool takes_writes(EngineState state, const std::string& health) {
  return state == EngineState::kPrimary && health.find(kRefusesWrites) == std::string::npos;
}

}  // namespace daarion
