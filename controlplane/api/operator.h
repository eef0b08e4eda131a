// What an operator asks for, turned into one event of the log or into a refusal with its reason. Checks against what this node has
// folded; the compare-and-append settles what moved meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/api/status.h"
#include "controlplane/core/result.h"
#include "streams/event_log.h"
#include "streams/message.h"

namespace daarion {

struct OperatorIntent {
  std::string reason;            // mandatory
  Sequence expected;             // of the fold; 0: any
  std::string request;           // idempotency key; empty: none
  bool dry_run = false;
  std::string actor;             // of a person; empty: "unnamed"
  bool own = false;              // of this daemon itself, not of a person
};

struct OperatorAnswer {
  LogEvent event;
  std::string subject;
  bool dry_run = false;
  bool repeated = false;         // this request was taken before, at event.sequence: nothing new is done
  std::string outcome;           // what will follow, for people
  std::string whom = {};         // of whom a person's word is: names, with commas
};

/// Threads: any; calls block for at most a few seconds (an append).
class Operator {
 public:
  struct Ports {
    NodeId self;
    TopologySpec spec;
    std::function<std::shared_ptr<const StatusView>()> view;
    std::shared_ptr<Appender> appender;
    std::function<std::int64_t()> wall_ns;
    std::function<EventId(std::int64_t)> new_id;
  };
  explicit Operator(Ports ports) : ports_(std::move(ports)) {}

  // Errors: kFixInput malformed or unknown name; kStepDown refused by a rule or no quorum; kRefold the state moved; kRetry with
  // Effect::kMaybe: no answer from the log in time.
  Result<OperatorAnswer> switchover(const ResourceId& resource, const NodeId& from, const NodeId& to, const OperatorIntent& intent);
  Result<OperatorAnswer> failover(const ResourceId& resource, const NodeId& to, bool allow_data_loss, const OperatorIntent& intent);
  /// A replica's data are copied anew from the holder, whole. Errors: kStepDown: it is the holder, is not heard, or nobody holds.
  Result<OperatorAnswer> rejoin(const ResourceId& resource, const NodeId& node, const OperatorIntent& intent);
  /// A replica's engine is stopped and started. Errors: as of rejoin.
  Result<OperatorAnswer> restart(const ResourceId& resource, const NodeId& node, const OperatorIntent& intent);
  Result<OperatorAnswer> pause(const ResourceId& resource, const OperatorIntent& intent);   // empty: the cluster
  Result<OperatorAnswer> resume(const ResourceId& resource, const OperatorIntent& intent);
  /// The word that the holder writes no more, which alone ends promises without an end. Empty `holder` or `session`: whoever is waited
  /// for. Refused where nothing waits for it: it would change nothing now, and might later.
  Result<OperatorAnswer> confirm_fencing(const ResourceId& resource, const NodeId& holder, const OperatorIntent& intent,
                                         const std::string& how = "an operator's word", const SessionId& session = {});
  /// The word that of the voters only `left` are left, and the others off for good: in place of a majority (core/override.h). `left` are all voters
  /// that are heard. Refused where they are a majority, and where some session may have no end that this word does not cover.
  Result<OperatorAnswer> grant_override(const std::vector<NodeId>& left, const std::string& others_off, const OperatorIntent& intent);
  Result<OperatorAnswer> set_member_intent(const NodeId& node, MemberIntent wanted, const OperatorIntent& intent);

 private:
  /// Who holds the resource, where `node` is a replica of it that is heard. `at_holder`: what to say where it is the holder itself. Errors: as of `verb`.
  Result<NodeId> holder_beside(const ResourceId& resource, const NodeId& node, const char* verb, const std::string& at_holder) const;
  /// Whether another than these two could take over.
  bool another_could(const ResourceId& resource, const NodeId& holder, const NodeId& node) const;
  /// The members of leased resources that are not heard: an override says of them too that they are off.
  std::vector<NodeId> off_by_override(const StatusView& view) const;
  /// Who would be promoted once the resource's lease has ended, if all of these voted, and what that may lose; for a sentence.
  std::string outlook(const ResourceId& resource, const std::vector<VoterInstance>& voters, const std::string& as_far_as) const;
  /// The answer to a request that the log has already; nothing if it is a new one, or has no id.
  std::optional<OperatorAnswer> taken_before(const OperatorIntent& intent) const;
  Result<OperatorAnswer> append(Payload payload, const NodeId& about, const ResourceId& resource, const OperatorIntent& intent,
                                std::string outcome);
  /// Errors: also for one whose engine decides by itself: `verb` is not ours to do there.
  Result<const ResourceSpec*> resource_of(const ResourceId& id, const char* verb) const;
  Result<OperatorAnswer> ask_engine(const ResourceId& resource, const ObservedState& said, const NodeId& from, const NodeId& to, const OperatorIntent& intent);
  Ports ports_;
};

}  // namespace daarion
