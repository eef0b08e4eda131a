// What the servers and the sentinels of one Redis say, put together: who is the primary, what is not as declared, what mends it. Pure.
//
// SENTINEL DECIDES. The primary is whom the sentinel with the highest config epoch names; Redis has that rule itself. What we add is what Sentinel
// does not look at: that all sentinels are of one mind, know each other and nobody else, are set alike, and are enough (SENTINEL SET is of one
// sentinel alone, and a sentinel that was started with another master stays apart for ever without a word).
//
// A MASTER THAT RESTARTS within down-after is never noticed by Sentinel, and its replicas copy what it came back with, which may be nothing. So the
// servers are started with `--replicaof 127.0.0.1 0`, as replicas of nobody, whatever they were: nobody can copy from such a one. A primary that
// restarted like this shows as a replica, and the next step is
//   "elect"  a replica that stayed has all that it has: Sentinel is asked for a failover at once
//   "open"   nobody has more: it is opened again itself
// A replica that restarted is told whom to follow, unless that one is empty and it is not.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "controlplane/core/observed_core.h"
#include "controlplane/drivers/driver.h"
#include "controlplane/drivers/redis/connection.h"

namespace daarion::redis {

using Fields = std::map<std::string, std::string>;

struct ServerLook {
  PeerAddress at;
  bool answered = false;
  std::string why;   // it did not
  Info info;
  Fields config;     // of CONFIG GET
};
struct SentinelLook {
  PeerAddress at;
  bool answered = false;
  std::string why;
  std::string id, version;
  bool monitors = false;
  std::string master;  // that it names: "ip:port"
  Fields state;        // of SENTINEL MASTER
  std::vector<Fields> replicas, others;
};
struct SentinelDeclared {
  std::string resource, name;    // of ours; of the group that sentinels monitor
  NodeId primary;                // where nobody was ever elected
  std::size_t sentinels = 3;
  std::uint64_t down_after_ms = 5000, failover_timeout_ms = 10'000;
  std::uint64_t replicas_to_write = 0;
  std::map<NodeId, std::string> priorities = {};  // replica-priority; none: not looked at
  std::uint64_t quorum() const { return sentinels / 2 + 1; }
};

/// A problem that must have stood for so long: what an engine mends itself is none.
struct SentinelProblem {
  std::string text;
  Duration patience{};
};
struct SentinelJudgement {
  ResourceView view;                      // without problems
  std::vector<SentinelProblem> problems;
  bool busy = false;                      // a failover is under way: nothing is mended
};
SentinelJudgement judge_sentinel(const SentinelDeclared& declared, const std::vector<ServerLook>& servers, const std::vector<SentinelLook>& sentinels);

// The priority of whom a switchover prefers, for as long as it takes.
inline constexpr const char* kPreferred = "1";

/// The settings that every sentinel is to have, as SENTINEL SET takes them.
Fields sentinel_settings(const SentinelDeclared& declared);

std::string address_text(const PeerAddress& at);

}  // namespace daarion::redis
