// What a cluster file that reads well still does wrong: quorum mathematics of every layer, the order of all timers, ports.
#pragma once

#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// Findings in the file's order of severity: errors, warnings, notes. Pure.
std::vector<Finding> lint(const ClusterFile& file);

/// The order that makes the lease safe and useful for these timers; empty: kept. Otherwise which part is broken, with the numbers.
/// fence_done < valid_until <= end of promise <= vote < promotion.
std::string timers_out_of_order(const LeaseTimers& timers);

}  // namespace daarion
