// An observer is what a driver is to a resource whose engine elects by itself (Sentinel, a raft): it looks at the whole of it from one node, tells
// what is not as declared, and passes on what is asked for. It neither starts nor ends the engine's processes. All engine knowledge stays in its
// folder; when something is said or done is the core's (core/observed_core.h).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/core/result.h"
#include "controlplane/drivers/driver.h"

namespace daarion {

struct NatsAccess;  // drivers/nats/nats_observer.h

struct ObserverConfig {
  NodeId self;
  ResourceSpec resource;
  std::string mode;                           // of its block in `replication`
  std::vector<PeerAddress> peers;             // its data nodes, in the block's order; this node is among them or not
  std::vector<PeerAddress> helpers;           // processes that elect and hold no data (sentinels); cores and replicas are peers
  std::map<std::string, std::string> declared;  // what else the block says: "shards", "replication_factor", "down_after"; units in the value
  std::string state_folder;                   // this node's own, for what must outlive the daemon; made when it is needed
  std::shared_ptr<const NatsAccess> nats;     // of NATS alone: the daemon's own connections, and the servers that the cluster file asks for
};

/// Threads: all calls come from one worker per resource, so a slow engine holds up nobody else.
class Observer {
 public:
  virtual ~Observer() = default;
  /// What the log says of the nodes, before each look: an engine whose shape follows its members takes nothing to one that rests or is retired.
  virtual void told(const std::map<NodeId, MemberIntent>& /*intents*/) {}
  /// Looks at every process. Bounded: at most about 1 s, also if none of them answers.
  virtual ResourceView observe() = 0;
  /// Waits at most so long for the engine's own word that something is another than in the last view: true, look again at once.
  /// An engine that gives no such word just waits.
  virtual bool await_word(Duration limit) = 0;
  /// Does one thing that was asked for, or has the engine do it: what follows shows in the views after it. Idempotent; bounded: at most about 5 s.
  /// Returns what was done, for people. Errors: kRetry; kStepDown: it is void, or the engine refuses.
  virtual Result<std::string> act(const ObservedAction& action) = 0;
};

}  // namespace daarion
