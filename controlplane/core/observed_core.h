// One node's part in the resources whose engine elects by itself: what is seen of them goes into the log, what was asked of them is passed on.
// As service_core.h: inputs and the time in, outputs out, beside the node's core, so that nothing here can delay a lease.
//
// WHO SPEAKS. Several nodes look at the same resource and see it differently while a link is cut; if each said what it sees, they would contradict
// each other in the log for as long as that lasts. So whoever spoke last goes on speaking. Another node speaks instead only if
//   - the engine has elected since: its count of elections is higher than the log's. All nodes agree on that order; they take turns of 60 ms;
//   - the speaker is unreachable or gone, as the log says;
//   - it reaches more of the resource's processes than the speaker did.
// Each of these ends by itself, so two views never alternate. A change must stand for a moment before it is said, for longer if there were many.
// Who speaks also does what was asked (a switchover), mends what is not as declared, one step at a time, and reports the lag.
//
//   seq 90  resource.redis.7   ResourceObserved{primary node1, election 3}                      by node1, the speaker
//   seq 91  resource.redis.8   ResourceObserved{... redis of node1: down; sentinel +sdown}     by node1
//   seq 94  resource.redis.9   ResourceObserved{primary node2, election 4; +switch-master}     by node3: it heard of it first, and speaks from now on
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/core/beside.h"
#include "controlplane/core/helper_role.h"

namespace daarion {

// ---- what an observer sees (drivers/observer.h)
struct MemberView {
  MemberSeen seen;
  Position position;
  bool lag_known = false;
  std::uint64_t lag_bytes = 0, lag_ms = 0;
  std::optional<std::uint64_t> lag_transactions;  // of an engine that counts these; its lag_bytes is nothing
  bool operator==(const MemberView&) const = default;
};
/// Something that is not as declared and that the engine can be told to mend.
struct RepairStep {
  std::string name;     // the engine's own, handed back to it
  std::string what;     // for people: "tell the sentinel of node3 to monitor node1"
  Duration patience{};  // how long it must have been due: an engine in the middle of something mends itself
  bool operator==(const RepairStep&) const = default;
};
/// The whole resource as seen from one node.
struct ResourceView {
  NodeId primary;
  std::string elected_by;
  std::uint64_t election = 0;
  std::vector<MemberView> members;  // by node and role
  std::vector<std::string> problems;
  std::vector<RepairStep> repairs;  // the first is the next
  std::vector<std::string> notes;   // worth knowing, and nothing is wrong; of this node's own look alone, the log has none of them
  std::string source;
  bool operator==(const ResourceView&) const = default;
};
using ResourceViews = std::map<ResourceId, ResourceView>;

/// Something that the engine is asked to do.
struct ObservedAction {
  std::uint64_t id = 0;
  ResourceId resource;
  NodeId from, to;     // a switchover; `to` empty: whom the engine takes. Void if `from` is not the primary any more
  std::string repair;  // or else the step of this name
  bool operator==(const ObservedAction&) const = default;
};

// ---- inputs
struct ObservedTick {};
struct ObservedFolded {
  std::shared_ptr<const State> state;
};
struct ObservedLooked {
  ResourceId resource;
  ResourceView view;
};
struct ObservedActed {
  ObservedAction action;
  bool ok = false;
  std::string message;  // what was done, or why not
};
struct ObservedAppended {
  AppendResult result;
};
using ObservedInput = std::variant<ObservedTick, ObservedFolded, ObservedLooked, ObservedActed, Contact, ObservedAppended>;

// ---- outputs
struct RunObserved {
  ObservedAction action;
  bool operator==(const RunObserved&) const = default;
};
using ObservedOutput = std::variant<RunObserved, Append, Report>;

/// How many of its processes answered.
std::size_t reached(const ResourceObserved& seen);
/// What is another than before, in one line.
std::string change_between(const ResourceObserved& before, const ResourceObserved& now);

class ObservedCore {
 public:
  using Input = ObservedInput;
  using Output = ObservedOutput;
  using Tick = ObservedTick;
  using Folded = ObservedFolded;
  using Appended = ObservedAppended;

  explicit ObservedCore(NodeId self) : self_(std::move(self)) {}
  std::vector<ObservedOutput> step(const ObservedInput& input, Instant now);
  /// When step(ObservedTick) is due at the latest.
  Instant next_tick() const { return next_; }
  /// What goes wrong here and no event says: a repair that fails.
  std::vector<std::string> warnings() const;

 private:
  struct Own {
    ResourceView view;
    bool seen = false;
    std::optional<Instant> differs_since;
    std::deque<Instant> said;                 // appends of this node that no election made
    Sequence wish, wish_tried;                // the newest SwitchoverRequested, and the newest that was passed on
    Instant wish_since{};                     // when it was folded
    std::string wish_failed;
    std::uint64_t acting = 0;                 // the action under way; 0: none
    struct Repair {
      Instant again{};                        // due since then, with its patience, or after a try
      int tries = 0;
      std::string failed;
    };
    std::map<std::string, Repair> repairs;    // that are due
    bool looked_after = true;                 // since the newest action ended
    Instant lag_told{};
  };
  void on(const ObservedTick&, Instant) {}
  void on(const ObservedFolded& in, Instant now);
  void on(const ObservedLooked& in, Instant now);
  void on(const ObservedActed& in, Instant now);
  void on(const Contact& in, Instant) { contact_.take(in); }
  void on(const ObservedAppended& in, Instant now);
  void advance(Instant now);
  ResourceObserved present(const ResourceId& id, const Own& own, Instant now) const;
  bool wish_stands(const ResourceId& id, const Own& own, Instant now) const;
  bool speaks(const ObservedState& said) const { return said.observer == self_; }
  bool speaker_gone(const ObservedState& said) const;
  std::optional<Duration> wait_to_say(const ResourceObserved& mine, const ObservedState* said, Own& own, Instant now) const;
  EventId cause_of(const ResourceId& id, const Own& own, const ResourceObserved& mine, const ObservedState* said, Instant now) const;
  void say(const ResourceId& id, Own& own, Instant now);
  void do_wish(const ResourceId& id, Own& own, Instant now);
  void do_repair(const ResourceId& id, Own& own, Instant now);
  void tell_lag(const ResourceId& id, Own& own, Instant now);
  void run(Own& own, ObservedAction action);

  const NodeId self_;
  std::shared_ptr<const State> state_ = std::make_shared<State>();
  KeptContact contact_;
  std::map<ResourceId, Own> own_;
  Appends appends_{self_};
  std::uint64_t next_action_ = 1;
  Instant next_{};
  std::vector<ObservedOutput> out_;
};

}  // namespace daarion
