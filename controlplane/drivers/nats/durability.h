// What a crash or a power cut may take from nats-servers of a version, or as they are configured. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/types.h"

namespace daarion::nats {

/// What of a server's word this follows from.
struct Keeping {
  std::string node;
  std::string version;
  std::optional<Duration> sync;  // between syncs to its disk, as it says since 2.10; zero: after every write
};

/// Faults of a version for which a server should be taken out of use soon: acknowledged data are lost without a power cut.
std::vector<std::string> faults_of(const std::vector<Keeping>& servers);
/// What is as it always was, and cannot be helped at once: to know of, not to be woken for.
std::vector<std::string> notes_of(const std::vector<Keeping>& servers);

}  // namespace daarion::nats
