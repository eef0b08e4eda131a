// Every wait names what it waits for, since when, and what ends it.
#pragma once

#include <optional>
#include <string>

#include "controlplane/core/types.h"

namespace daarion {

/// A named wait: what for, since when, and the command that would end it.
struct Wait {
  ResourceId resource;
  std::string what;
  std::string unblock;
  Instant since{};
  bool operator==(const Wait&) const = default;
};

/// Takes up the wait. One that differs only by measured numbers ("silent for 2100 ms") is the same one, and keeps its beginning.
void take_up(std::optional<Wait>& wait, Wait next);

}  // namespace daarion
