// What is wrong with the rules of a cluster file, before anything of them is applied.
#pragma once

#include <string>
#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// Rules that overlap, would not be stored, would be worked on twice, or do not fit; and how they are read. Pure.
std::vector<Finding> lint_routes(const ClusterFile& file);

/// One note for each subject that no rule covers, with the nearest pattern. Pure.
std::vector<Finding> lint_subjects(const ClusterFile& file, const std::vector<std::string>& subjects);

/// Bytes that the replicated rules may keep on a core server, and on an edge's, which keeps its own messages and the mirror.
std::uint64_t rule_bytes(const ClusterFile& file);
std::uint64_t rule_bytes_on_edge(const ClusterFile& file);

}  // namespace daarion
