// SIGHUP: what has changed on this node's disk is taken up (the cluster file, the programs), and nothing is given up for it. The program on disk first
// checks the files as they are (`--check`); if it finds nothing wrong, the daemon becomes that program in its place, with its process id, arguments and
// environment. For everybody else it is a daemon that crashed and is back at once: guards and engines stay, and what this node holds is taken up again
// within the lease. Files that are refused change nothing; `status` says why.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/result.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// How this process was started.
struct Started {
  std::string program, directory;  // absolute
  std::vector<std::string> arguments, environment;
  std::vector<pid_t> left;     // children: tools of the daemon before, which have ended with it, or are ending
  std::vector<pid_t> foreign;  // children of whatever became this daemon first
  /// Pre: nothing has been put into the environment, and no child started.
  static Started here(int argc, char** argv);
  /// What is left is no more, or half a second is over: the next one of its kind may begin the same work.
  void end_what_is_left() const;
};

/// What of the next file this node cannot take up in place, in words; empty: nothing. A reload keeps what has its ports, and what its engines run on.
std::string needs_restart(const ClusterFile& now, const ClusterFile& next, const NodeId& self);

class Reloader {
 public:
  /// `config`: where `file` was read from, for node `self`. `heard`: how many voters but this node this one hears now.
  Reloader(Started started, std::string config, ClusterFile file, NodeId self, std::function<std::size_t()> heard);
  ~Reloader();
  /// Returns only if this process goes on as it is. Errors: kFixInput, what `--check` said or what needs a restart; kRetry, if nobody could be asked, or this
  /// is no time for it: a signal that ends the daemon waits, or too few others are heard for a lease to go on without this node.
  Result<void> reload();
  /// For `status`: a file that was refused, or that nobody has asked to take up. Threads: any.
  std::vector<std::string> warnings() const;

 private:
  Result<void> check() const;
  Result<void> await_turn() const;
  void watch();
  const Started started_;
  const std::string config_;
  const ClusterFile file_;
  const NodeId self_;
  const std::function<std::size_t()> heard_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::string on_disk_;          // hash of the file, where it is another and has been for a while
  std::string refused_, cause_;  // hash of the file that was refused, and why
  std::thread thread_;
};

}  // namespace daarion
