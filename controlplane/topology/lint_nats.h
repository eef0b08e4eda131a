// What is wrong with the NATS block of `replication`: the servers follow from `nodes` and `control` (render.h), and the block may not say otherwise.
#pragma once

#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// Errors: a block that contradicts itself. Warnings: one that contradicts the servers that the file gives. Pure.
std::vector<Finding> lint_nats(const ClusterFile& file);

}  // namespace daarion
