// SIGHUP: what has changed on this node's disk is taken up (the cluster file, the programs), and nothing is given up for it. The program on disk first
// checks the files as they are (`--check`); if it finds nothing wrong, the daemon becomes that program in its place, with its process id, arguments and
// environment. For everybody else it is a daemon that crashed and is back at once: guards and engines stay, and what this node holds is taken up again
// within the lease. Files that are refused change nothing; `status` says why.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// How this process was started.
struct Started {
  std::string program;  // absolute
  std::vector<std::string> arguments, environment;
  /// Pre: nothing has been put into the environment since the start.
  static Started here(int argc, char** argv);
};

/// What of the next file this node cannot take up in place, in words; empty: nothing. A reload keeps what has its ports, and what its engines run on.
std::string needs_restart(const ClusterFile& now, const ClusterFile& next, const NodeId& self);

class Reloader {
 public:
  /// `config`: where `file` was read from, for node `self`.
  Reloader(Started started, std::string config, ClusterFile file, NodeId self);
  ~Reloader();
  /// Returns only if this process goes on as it is. Errors: kFixInput, what `--check` said or what needs a restart; kRetry, if nobody could be asked.
  Result<void> reload();
  /// For `status`: a file that was refused, or that nobody has asked to take up. Threads: any.
  std::vector<std::string> warnings() const;

 private:
  Result<void> check() const;
  void watch();
  const Started started_;
  const std::string config_;
  const ClusterFile file_;
  const NodeId self_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::string on_disk_;          // hash of the file, where it is another and has been for a while
  std::string refused_, cause_;  // hash of the file that was refused, and why
  std::thread thread_;
};

}  // namespace daarion
