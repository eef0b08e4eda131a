// Ids made by a node: from the kernel's randomness, the one place where the daemon is not deterministic.
#pragma once

#include <string>

#include "controlplane/core/types.h"

namespace daarion {

/// 128 random bits. Source: getrandom(2).
template <class Id>
Id random_id();

/// A UUIDv7: 48 bits of wall time in ms, the rest random. Two events never share one.
EventId event_id(std::int64_t wall_time_ns);

/// This boot of this host. Source: /proc/sys/kernel/random/boot_id.
BootId boot_id();

/// A new voter record's id: random, with the machine's own id mixed in, so that a copied disk image is another instance.
/// Source: getrandom(2), /etc/machine-id where there is one.
InstanceId new_instance();

/// Whether `instance` was made on this machine.
bool made_here(const InstanceId& instance);

std::int64_t wall_time_ns();

}  // namespace daarion
