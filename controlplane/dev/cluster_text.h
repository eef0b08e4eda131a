// The cluster file of a local cluster: text from a few numbers. Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "controlplane/topology/cluster_file.h"

namespace daarion::dev {

/// Which ports a local cluster listens on; the same on every node, as the nodes' addresses differ.
struct Ports {
  std::uint32_t grpc = 9350, http = 9351, postgres = 5432, billing = 5433, redis = 6379, sentinel = 26379, qdrant = 6333, neo4j = 7687, neo4j_http = 7474;
  NatsPorts nats;
  struct Use {
    std::string name;
    std::uint32_t* port;
    bool witness_only;
  };
  std::vector<Use> uses();
};

struct Shape {
  int nodes = 3;        // 1 to 4: node1 primary, node2 replica, node3 edge with the witness, node4 edge
  std::string prefix;   // "127.83.0.": node N is at prefix + N
  std::string folder;   // node N keeps everything below folder/nodeN
  Ports ports;
  std::string max_promotions;  // empty: the default
  std::string data_dir = "postgres";  // PostgreSQL's, below a node's folder
  std::set<std::string> engines{"postgres"};  // postgres, postgres-billing, redis, redis-sentinel, qdrant, neo4j, neo4j-community: which data systems there are
  std::uint32_t dump_at = 0;  // s of each ten minutes, when neo4j-community is dumped
};

inline constexpr int kMostNodes = 4;
/// In the folder: restarts the nats-server that the daemon names.
inline constexpr const char* kRestartScript = "restart-nats";

/// The file. With 1 and 2 nodes there is one voter, and the file says what that costs.
std::string cluster_text(const Shape& shape);

/// The ports that a cluster file declares.
Ports ports_of(const ClusterFile& file);

}  // namespace daarion::dev
