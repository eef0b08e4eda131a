// What a daemon is started with: arguments, the users' environment, secrets, and the cluster file; all of it checked before anything is
// touched, with one line per thing that is wrong.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

struct Options {
  std::string config = "/etc/daarion/cluster.yaml";
  std::string node;     // NODE_ID
  std::string data;     // voter's record and folded state
  std::string run;      // guard sockets, engine sockets, engine logs
  std::string guard;    // the guard's program
  std::string nats_dir; // of this node's nats-servers' configuration, which it keeps in step with the members; empty: somebody else does
  std::string cgroup;   // cgroup v2 folder that guards may make groups in; empty: none
  std::string log_level = "info";
  bool check = false;   // look at everything, reach NATS, start nothing
};

struct Secrets {
  std::string control, sys;
};

/// The node that this daemon is, with everything it needs to know.
struct Setup {
  Options options;
  ClusterFile file;
  NodeId self;
  NodeRole role = NodeRole::kReplica;
  Secrets secrets;
  std::vector<std::string> notes;  // for the log
};

using Environment = std::map<std::string, std::string>;
Environment environment();

/// Reads and checks everything. Errors: kFixInput; the message has one line per finding, each naming file, key, variable or argument.
/// Source: NODE_ID, NODE_ROLE, CLUSTER_PEERS, DAARION_CONTROL_PASSWORD, DAARION_SYS_PASSWORD, PG_REPLICATION_PASSWORD (the last three
/// also as <name>_FILE, a path).
Result<Setup> read_setup(Options options, const Environment& env);

/// The value of `name`, or what the file that `name`_FILE names holds, without its line end. Errors: kFixInput if it cannot be read.
Result<std::string> secret_of(const std::string& name, const Environment& env);

}  // namespace daarion
