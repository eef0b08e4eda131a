// What keeps the log in step with the cluster's membership: its creation, the topology, the voter set, who joined, who is
// silent, who returned. Every voter tries in a fixed order with small delays; the compare-and-append settles races.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/core/agent.h"
#include "controlplane/core/regression.h"

namespace daarion {

struct Identity {
  NodeId self;
  RunId run;
  BootId boot;
  InstanceId instance;
  NodeRole role = NodeRole::kReplica;
  std::string address;
  std::string region;
  std::string software;
  LogId fresh_log;            // the id to give a log that does not exist yet
  std::string topology_hash;  // of this node's cluster.yaml
  Duration log_sync = std::chrono::seconds(150);  // an event this old no power cut takes from the log: nats-server syncs every 2 min
};

/// An event about a member (or the cluster), with whom it is about.
struct MemberWish {
  NodeId about;
  AppendWish wish;
};

class Housekeeper {
 public:
  explicit Housekeeper(Identity identity) : id_(std::move(identity)) {}

  /// What the log should be told now. `log` is what the log itself last said of itself; `blank` that the voter waits for its
  /// own MemberReturned.
  /// `recorded`: the log that the voter's record names; empty: none yet.
  std::vector<MemberWish> advance(const DeciderContext& context, const LogHead& log, bool blank, Instant now, const LogId& recorded = {});

  /// The log lost events that this node had folded: it will say so, once the state is folded anew, unless another node has. `before`: the losses that
  /// the state told of when this one was noticed; one of the same places that came earlier is not this one.
  void on(const LogLost& lost, const std::vector<Regression>& before) {
    if (!lost_) told_before_ = before;
    lost_ = lost_ ? joined(*lost_, lost) : lost;
  }

  /// What it waits for while there is no voter set.
  const std::optional<Wait>& wait() const { return wait_; }
  /// What a change of the voter set waits for, while one is wanted.
  const std::optional<Wait>& set_wait() const { return set_wait_; }
  Instant next_change() const { return next_; }

 private:
  bool my_turn(const DeciderContext& context, const std::string& what, Instant now, bool voters_only = true);
  void bootstrap(const DeciderContext& context, const LogHead& log, const LogId& recorded, Instant now, std::vector<MemberWish>& out);
  void tell_loss(const DeciderContext& context, Instant now, std::vector<MemberWish>& out);
  void announce(const DeciderContext& context, bool blank, Instant now, std::vector<MemberWish>& out);
  void watch(const DeciderContext& context, Instant now, std::vector<MemberWish>& out);
  void follow_voters(const DeciderContext& context, Instant now, std::vector<MemberWish>& out);
  void follow_topology(const DeciderContext& context, Instant now, std::vector<MemberWish>& out);
  void follow_routes(const DeciderContext& context, Instant now, std::vector<MemberWish>& out);

  Identity id_;
  std::map<std::string, Instant> since_;  // since when each thing has been due
  std::optional<LogLost> lost_;           // not in the log yet
  std::vector<Regression> told_before_;   // what was, when it was noticed
  std::optional<Wait> wait_;
  std::optional<Wait> set_wait_;
  /// With which set, declared voters and installations each was found in its place: planning at each step would cost too much.
  struct InPlace {
    EventId set;
    std::vector<NodeId> declared;
    std::uint64_t installations = 0;
  };
  std::optional<InPlace> in_place_;
  EventId set_seen_;      // the present voter set,
  Instant set_since_{};   // and since when it has been seen here
  /// Of which topology, members and table it is known whether the table is theirs: compiling the rules at each step would cost too much.
  struct RoutesSeen {
    Sequence topology;
    std::string file_hash;
    std::set<NodeId> retired;
    Version table;
    Sequence changed;
    bool operator==(const RoutesSeen&) const = default;
  };
  std::optional<RoutesSeen> routes_seen_;
  std::vector<RouteRule> routes_due_;
  bool routes_differ_ = false;
  bool said_ = false;        // the log showed this instance in this boot
  Instant doubled_since_{};  // another instance since; the epoch of time: none
  Instant next_ = kNever;
};

/// Nodes of the spec that have been silent for longer than a ttl, as beats call them: suspects.
std::vector<NodeId> suspects(const DeciderContext& context, Instant now);

}  // namespace daarion
