// What a daemon may take up of the cluster file while it runs.
#include "controlplane/daariond/reloader.h"

#include <gtest/gtest.h>

#include "tests/daariond/commands.h"

namespace daarion {
namespace {

const std::string kUsers = test::contents(std::string(DAARION_SOURCE_DIR) + "/tests/fixtures/cluster.yaml");

/// What needs a restart of the node's daemon once `old` is `now` in the users' file.
std::string needed(const std::string& old, const std::string& now, const char* node = "node1") {
  std::string text = kUsers;
  const std::size_t at = text.find(old);
  EXPECT_NE(at, std::string::npos) << old;
  text.replace(at, old.size(), now);
  const ParsedFile next = parse_cluster_file(text);
  EXPECT_FALSE(has_errors(next.findings)) << next.findings[0].message;
  EXPECT_NE(next.file.hash, parse_cluster_file(kUsers).file.hash);
  return needs_restart(parse_cluster_file(kUsers).file, next.file, NodeId(node));
}

TEST(Reloader, MostIsTakenUpInPlace) {
  EXPECT_EQ(needed("max_promotions: 3 per 1h", "max_promotions: 5 per 1h"), "");
  EXPECT_EQ(needed("lease_ttl: 2s", "lease_ttl: 3s"), "");
  EXPECT_EQ(needed("  node3: {", "  node4: {address: 10.0.0.4, region: eu-north, role: replica}\n  node3: {"), "");
  EXPECT_EQ(needed("    replicas: [NODE2]", "    replicas: [NODE2, NODE3]"), "");
  EXPECT_EQ(needed("sync: async", "sync: sync"), "");
  EXPECT_EQ(needed("priority: 100", "priority: 50"), "");
  EXPECT_EQ(needed("address: 10.0.0.2", "address: 10.0.0.22"), "") << "of another node";
}

TEST(Reloader, WhatThePortsAndTheEngineDependOnNeedsARestart) {
  EXPECT_EQ(needed("grpc_port: 9350", "grpc_port: 9360"), "control has another bind, grpc_port, http_port or beat_port");
  EXPECT_EQ(needed("bind: 127.0.0.1", "bind: node"), "control has another bind, grpc_port, http_port or beat_port");
  EXPECT_EQ(needed("address: 10.0.0.1,", "address: 10.0.0.11,"), "nodes.node1 has another address");
  const std::string engine = "resources.postgres has another engine, port, data_dir or runner";
  EXPECT_EQ(needed("port: 5432", "port: 5433"), engine);
  EXPECT_EQ(needed("/15/daarion", "/16/daarion"), engine);
  EXPECT_EQ(needed("port: 5432", "port: 5433", "node3"), "") << "which runs none";
  EXPECT_EQ(needed("    replicas: [NODE2]", "    replicas: [NODE3]", "node2"), "this node runs postgres, and is no member of it any more");
  EXPECT_EQ(needed("cluster: daarion ", "cluster: other "), "cluster is another");
}

}  // namespace
}  // namespace daarion
