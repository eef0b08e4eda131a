// The command that makes sure that a lost holder is off (`control.fencing` of the cluster file). It is needed in one case only: promises
// to a holder that was paused have no end, and a lost one cannot be asked; every other promise runs out by itself.
//
// The node that would decide runs it, once the case has stood for one lease and no pause stands (what fails in a maintenance is the
// operator's: he resumes, or gives his word). Exit code 0 is the word that the node is off, and FencingConfirmed is appended in its name;
// anything else is a warning that names the manual command, and another try later.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "controlplane/core/node_core.h"
#include "controlplane/core/result.h"
#include "controlplane/topology/cluster_file.h"
#include "streams/mailbox.h"

namespace daarion {

struct FenceWish {
  ResourceId resource;
  LostHolder lost;
  std::string address;  // of the lost node
  Epoch epoch;
  bool operator==(const FenceWish&) const = default;
};

/// The lost holders that this node should see fenced, as things stand. Pure.
std::vector<FenceWish> fences_wanted(const NodeCore& core, Instant now);

class Fencer {
 public:
  /// Appends FencingConfirmed for that very session, or says why not.
  using Confirm = std::function<Result<void>(const FenceWish& wish, const std::string& how)>;
  Fencer(FencingSpec spec, Duration settle, Confirm confirm);
  ~Fencer();

  /// What is wanted now, all of it. Never blocks. Threads: one.
  void look(const std::vector<FenceWish>& wanted, Instant now);
  /// For `status`, while the case stands. Threads: any.
  std::vector<std::string> warnings() const;

 private:
  struct Case {
    Instant since{}, next{};
    Duration pause{};     // before the next try
    std::string warning;  // of the last one
  };
  void run();

  const FencingSpec spec_;
  const Duration settle_;
  const Confirm confirm_;
  mutable std::mutex mutex_;
  std::map<std::pair<ResourceId, SessionId>, Case> cases_;
  bool busy_ = false;
  Mailbox<FenceWish> queue_{1};  // one run at a time
  std::thread thread_;
};

}  // namespace daarion
