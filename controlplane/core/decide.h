// Chooses whom to promote, from evidence alone. Pure: `why` runs it again on the evidence that the log kept.
//
// Rules, in this order; the first that speaks against a candidate is its verdict:
//   not_active      its intent is draining, maintenance, disabled or retired
//   nofailover      tagged so (an operator's wish for exactly this node overrides it)
//   unreachable     no beat for longer than unreachable_ms
//   no_session      it offers no session: its guard is not there, or the log shows the end of the one it has
//   no_engine       no data, data that is not ours, or an engine that does not answer
//   not_standby     its engine is not a running standby (bootstrap: not empty and not stopped)
//   other_identity  its data are another database's
//   diverged        its timeline left the holder's history before its own position, or is another session's of the same number
//                   (allow_data_loss overrides, for the node wanted)
//   cannot_replay   its engine says that it replays no more: a promotion would not come to an end, whoever asks for it
//   unfit           its data need something that its host does not have and the last holder's had (allow_data_loss overrides, for the
//                   node wanted); what the holder lacked too is no worse there
//   lag_bytes, lag_ms, staleness   behind by more than the limits (allow_data_loss overrides)
//   loses_writes    the holder stopped cleanly and this candidate does not have all of it (allow_data_loss overrides)
//   sync_unheard    commits waited for replicas, and too few of those are heard to know what was acknowledged (not where its own data say it;
//                   allow_data_loss overrides)
//   not_in_sync_set one of those has more than this candidate, which may have been acknowledged (allow_data_loss overrides)
//   deaf            it has not read the newest decision, which nobody claimed, and somebody else who passes all rules has (not the node wanted)
//   not_wanted      an operator asked for another node, and that one can be had
// Among the eligible: the furthest (is_further), then the higher priority, then the lower node id. Never random.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/core/evidence.h"

namespace daarion {

struct Decision {
  std::optional<NodeId> to;  // nothing: nobody can be promoted, `reason` says why and what would help
  SessionId session;
  InstanceId instance;  // whose session it is
  Epoch epoch;
  std::uint64_t loss_bytes = 0;  // bound on what the asynchronous tail may lose; with Evidence::end_unknown there is none, and more may be missing
  std::vector<Verdict> verdicts; // one per candidate, in the evidence's order
  std::string reason;
  std::string unblock;  // the command that would end the wait; empty when decided
  bool operator==(const Decision&) const = default;
};

/// Ends a pause of the cluster.
inline constexpr const char* kUnblockPause = "daarionctl resume --reason TEXT";

/// Chooses the candidate, or says why nobody can be promoted.
/// Units: lag in bytes of the engine's log and in ms. Errors: none; "no" is a Decision without `to`.
/// Source: positions are what each node's own driver observed (PostgreSQL: pg_last_wal_receive_lsn on a standby).
Decision decide(const Evidence& evidence);

/// One rule's word against a candidate: empty rule means that it has nothing to say.
struct Objection {
  std::string rule;
  std::string detail;
};

/// sync_unheard or not_in_sync_set. Each acknowledged write is held by some `needed` of the members: of so many of them as are asked for here, one has
/// it, and so has whoever is furthest. `shows_all`: whether all that the member may have confirmed is in its position.
Objection object_to_sync(const Evidence& evidence, const CandidateEvidence& candidate, const std::function<bool(const CandidateEvidence&)>& shows_all);

/// Whether the data of `a` go further than those of `b`. Two nodes that were promoted from one timeline, one after the other, both open the next number:
/// what was opened under the higher epoch is later, whatever its number.
bool is_further(const EngineReport& a, const EngineReport& b);

/// How many bytes the candidate is behind the holder's last known position (0 if at or past it).
std::uint64_t lag_bytes(const Evidence& evidence, const CandidateEvidence& candidate);

/// What the candidate lacks and the last holder was not known to lack, for a sentence; empty: nothing.
std::string lacks_beyond_holder(const Evidence& evidence, const CandidateEvidence& candidate);

/// Whether the candidate's history is a prefix of the holder's.
bool shares_history(const Evidence& evidence, const CandidateEvidence& candidate);

}  // namespace daarion
