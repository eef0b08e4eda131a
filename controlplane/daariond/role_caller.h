// Runs an operator's command when what this node is to a resource changes (`resources.<id>.on_role_change`): an address that goes with the primary, a
// job that is to run beside it alone. Each node's daemon speaks of its own node, also while it is cut off from all others; what the cluster decided is
// told by `notify`.
//
// The last role counts: a role that came and went while a command ran is not told, and a command that fails is run again. When the daemon begins the
// role of now is told once, since nobody knows what was told before. While a daemon is down nobody is told anything, also not of a fence.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/api/status.h"
#include "controlplane/topology/cluster_file.h"

namespace daarion {

/// "primary", "replica", "none"; empty: not known yet. An engine that does not answer for a moment is what it was, and a primary is one for as long as
/// its lease is. `before`: what it was. Pure.
std::string role_now(const std::string& before, const StatusView::Role& seen);

class RoleCaller {
 public:
  RoleCaller(std::vector<RoleCallback> callbacks, const NodeId& self, std::string cluster);
  /// Runs what is not told yet, once; blocks for as long as that may take.
  ~RoleCaller();
  /// Threads: any, one at a time; does not block.
  void look(const StatusView& view);
  /// This daemon ends, and has stopped the engines of these: they are nothing here any more. As the destructor; look() changes nothing from here on.
  void finish(const std::vector<ResourceId>& stopped);
  /// Commands that failed the last time, for `status`, each until it succeeds. Threads: any.
  std::vector<std::string> warnings() const;

 private:
  struct Role {
    std::string name, primary;
    std::uint64_t epoch = 0;
  };
  struct Call {
    RoleCallback callback;
    Role now;
    std::optional<std::string> told;  // and the command ended well; nothing: nobody knows what became of it
    std::string former;               // told before
    std::string failed;
    std::thread thread;
    bool due() const { return !now.name.empty() && now.name != told; }
  };
  void end();
  void run(Call& call);
  Result<void> tell(const Call& call, const Role& role, const std::string& former) const;

  const std::string self_, cluster_;
  mutable std::mutex mutex_;  // guards the calls but their callbacks
  std::condition_variable changed_;
  bool ended_ = false;
  std::vector<std::unique_ptr<Call>> calls_;
};

}  // namespace daarion
