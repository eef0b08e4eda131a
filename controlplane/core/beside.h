// What the cores beside the node's core have in common (services, observed resources): how this node stands with the others, and appends
// of which each aggregate has one under way. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/core/io.h"
#include "controlplane/core/node_core.h"

namespace daarion {

/// How this node stands with the others.
struct Contact {
  bool caught_up = false;
  bool voter = false;
  int rank = 0;        // voters that live and come before it
  bool alone = false;  // no majority of the voters was heard for too long
};
Contact contact_of(const NodeCore& core, Instant now);

/// The newest one. Between an event's beat and its fold everybody is behind for a moment: one such moment is none.
struct KeptContact : Contact {
  bool ever_caught_up = false;
  void take(const Contact& contact);

 private:
  bool was_caught_up_ = false;
};

/// Between one node's turn and the next: an append takes 2 to 5 ms, and nobody should wait long for a node that has just died.
inline constexpr Duration kTurn = std::chrono::milliseconds(60);

/// The next version of each aggregate, appended once: the fold shows who won; if it does not for a while, the append was lost and is made again.
class Appends {
 public:
  explicit Appends(NodeId self) : self_(std::move(self)) {}
  /// Nothing while that version is under way; `next` is then no later than when it is to be tried again.
  std::optional<Append> make(Payload payload, const ResourceId& resource, std::string reason, const EventId& cause, const State& state, Instant now, Instant& next);
  void ended(const AppendResult& result, Instant now);
  /// The log was folded anew: the versions were of events that are gone.
  void forget() { under_way_.clear(); }

 private:
  struct UnderWay {
    std::uint64_t id = 0;
    Version version;
    bool done = false;
    Instant again{};
  };
  const NodeId self_;
  std::map<Aggregate, UnderWay> under_way_;
  std::uint64_t next_id_ = 1;
};

}  // namespace daarion
