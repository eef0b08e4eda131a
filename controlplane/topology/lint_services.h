// What is wrong with the services and capabilities of a cluster file.
#pragma once

#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// Places that cannot work, checks that cannot say anything, chains whose providers do not exist. Pure.
std::vector<Finding> lint_services(const ClusterFile& file);

}  // namespace daarion
