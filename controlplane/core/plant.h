// Bugs planted on purpose, and branches marked, for the simulator alone: its own build of the core defines DAARION_PLANT. In every
// other build PLANTED is the constant false and MARK is nothing, so nothing of either is in the product (tests/sim/product_test.cc).
//
//   if (claim.epoch > promised || PLANTED(kOldEpochAcked)) ...   true only in `daarion-sim --plant old_epoch_acked`
//   MARK(kVoterRefusesBound);                                    counted; a batch in which a mark is never hit fails
//
// A plant is a mistake that somebody could make: one rule forgotten, one comparison off. `daarion-sim --plants` finds each within a
// bounded number of seeds, or the checker is too weak. Names are snake_case of the constants.
#pragma once

#ifdef DAARION_NO_PLANTS
#error "controlplane/core/CMakeLists.txt lists this file among those without a plant or a mark"
#endif
#ifdef DAARION_PLANT
#include <cstddef>

/// X(constant, name, what is broken)
#define DAARION_PLANTS(X)                                                                                                    \
  /* who may write: the voter */                                                                                            \
  X(kPromoteBeforeFence, "promote_before_fence", "a voter takes its promise as over when half of it is left")               \
  X(kBoundVoterAcks, "bound_voter_acks", "a voter acks another claim while its promise runs")                               \
  X(kEqualEpochAcked, "equal_epoch_acked", "a voter takes >= for > between the claimed and the promised epoch")             \
  X(kOldEpochAcked, "old_epoch_acked", "a voter acks any epoch, below its promise or below the log")                        \
  X(kRecordForgotten, "record_forgotten", "a restarted voter knows nothing of its promises")                                \
  X(kRestartEndsPromise, "restart_ends_promise", "a restarted voter counts its promises as over instead of as made now")    \
  X(kRebootNotBlank, "reboot_not_blank", "a voter answers at once after a reboot")                                          \
  X(kRestartEndsBlank, "restart_ends_blank", "a daemon that is restarted ends the silence after a reboot")                   \
  X(kReturnedUnread, "returned_unread", "a blank voter does not wait for its own MemberReturned")                           \
  X(kAckBeforeRecord, "ack_before_record", "a voter acks a new promise before its record is on disk")                       \
  X(kEndedSessionAcked, "ended_session_acked", "a voter acks a session whose end it knows")                                 \
  X(kInstanceIgnored, "instance_ignored", "a second host with the same node id speaks for the first one's session")         \
  X(kStrangerAnswers, "stranger_answers", "a voter answers, and counts, whose instance is not in the voter set")            \
  X(kPauseDropped, "pause_dropped", "a voter names a Paused without keeping it: its promise runs out all the same")         \
  X(kResumeUnnamed, "resume_unnamed", "a voter ends an endless promise when it folds Resumed, not when the holder names it") \
  X(kBlankForgetsPause, "blank_forgets_pause", "a voter that was blank owes nothing to the holder of a pause")              \
  /* who may write: the holder */                                                                                           \
  X(kReceiveTime, "receive_time", "an ack counts from when it came, not from when its beat was sent")                       \
  X(kDriftIgnored, "drift_ignored", "holder and voter count the same length, whatever their clocks")                        \
  X(kWallClock, "wall_clock", "leases are counted on a clock that somebody sets")                                           \
  X(kNominationIsLease, "nomination_is_lease", "a decision in the log opens the engine before a majority acked")            \
  X(kMinorityHolds, "minority_holds", "one ack keeps a lease")                                                              \
  X(kUnearnedEpoch, "unearned_epoch", "a raised epoch is written under before its own majority")                            \
  X(kPauseOfOne, "pause_of_one", "a holder drops its deadline when one voter named the pause")                              \
  X(kNotRearmed, "not_rearmed", "a holder names a Resumed and arms no deadline")                                            \
  X(kNamedUnarmed, "named_unarmed", "a holder names a Resumed before its guard has a deadline")                             \
  X(kReleaseBeforeDemotion, "release_before_demotion", "a switchover says that the session ended before the engine stopped") \
  X(kWordAtOnce, "word_at_once", "a voter gives its word for a change of its set without having named it for a length")     \
  X(kOverrideAtOnce, "override_at_once", "a voter takes up the set of an override before the leases by the one before have run out")  \
  X(kWordWhilePaused, "word_while_paused", "a voter gives its word while a promise of its has no end")                      \
  X(kAcksOfAnySet, "acks_of_any_set", "acks count under whichever set the holder has, not the one that they name")          \
  /* deciding and folding */                                                                                                \
  X(kVotesIgnored, "votes_ignored", "one vote is enough for a decision")                                                    \
  X(kEndedNamed, "ended_named", "a decider names a session that the log knows to have ended")                               \
  X(kUnheardIsNone, "unheard_is_none", "a loss counts from the log's position also where nobody heard its holder write")     \
  X(kNamedIsSilent, "named_is_silent", "one that was named and lost is taken not to have written")                          \
  X(kLateIsFresh, "late_is_fresh", "what a beat says is taken as of when it came, however late it is")                      \
  X(kLagIgnored, "lag_ignored", "a candidate may be behind by any amount")                                                  \
  X(kAncestryIgnored, "ancestry_ignored", "a candidate of a forked timeline is eligible")                                   \
  X(kNumbersTell, "numbers_tell", "timelines of one number are taken as one, whoever opened them")                          \
  X(kSyncIgnored, "sync_ignored", "a candidate is promoted whatever those have that confirm commits")                       \
  X(kOpensUnasked, "opens_unasked", "who was named opens by what a decision of before its majority stood on")                \
  X(kSyncLeavesAtOnce, "sync_leaves_at_once", "a replica leaves the sync set before the others have what it confirmed")    \
  X(kWorstCandidate, "worst_candidate", "the candidate with the lowest position wins")                                      \
  X(kDivergedFollows, "diverged_follows", "a node whose data have parted from the writer's is never rejoined")              \
  X(kStopsForEver, "stops_for_ever", "a switchover that was overtaken keeps its node from ever following anybody")          \
  X(kEqualEpochFolded, "equal_epoch_folded", "the fold takes >= for > between a decision's epoch and the newest")           \
  X(kAnyoneEnds, "anyone_ends", "the fold takes the end of a session from any node")                                        \
  X(kMapOrder, "map_order", "a list in the fold is in the order of a container that does not keep one")                     \
  X(kUnknownIsStored, "unknown_is_stored", "an append of unknown outcome counts as stored: the next takes the next version") \
  /* what stands around the core: guard, engine, log */                                                                     \
  X(kGuardNeedsDaemon, "guard_needs_daemon", "only a living daemon fences at the deadline")                                 \
  X(kEngineOutlivesGuard, "engine_outlives_guard", "a guard that dies leaves its engine running")                           \
  X(kFencedIsSignalled, "fenced_is_signalled", "a session is said to have ended when its engine was only told to stop")     \
  X(kSessionReused, "session_reused", "a guard offers a session again that had ended")                                      \
  X(kStartsWritable, "starts_writable", "an engine that was primary comes up writable")                                     \
  X(kAppendBlind, "append_blind", "an append does not expect its version to be free")                                       \
  X(kTailGapSkipped, "tail_gap_skipped", "the live tail goes on behind an event that it lost")                              \
  X(kCheckpointAhead, "checkpoint_ahead", "a checkpoint names an event that its state does not have")

/// X(constant, what happened, seeds in a batch from which on it must have happened)
#define DAARION_MARKS(X)                                                                                                     \
  X(kVoterBlank, "voter: blank after a reboot", 200)                                                                        \
  X(kVoterReturns, "voter: answers again after a reboot", 200)                                                              \
  X(kVoterWithholds, "voter: silent about a resource whose holder the log does not show", 5000)                             \
  X(kVoterOwesPause, "voter: owes an endless promise after a reboot", 1000)                                                 \
  X(kVoterEndByBeat, "voter: end of a promised session heard in a beat", 200)                                               \
  X(kVoterEndByLog, "voter: end of a promised session folded", 1000)                                                        \
  X(kVoterEndByCompletion, "voter: a higher epoch was completed", 200)                                                      \
  X(kVoterEndOfOther, "voter: end said by another instance of the node", 5000)                                              \
  X(kVoterRefusesEnded, "voter: refuses a session that ended", 1000)                                                        \
  X(kVoterRefusesUnproved, "voter: refuses its own promise after a reboot, the log is higher", 5000)                        \
  X(kVoterRefusesOld, "voter: refuses an epoch that is not higher", 200)                                                    \
  X(kVoterRefusesBound, "voter: refuses another claim while bound", 200)                                                    \
  X(kVoterRefusesBelowLog, "voter: refuses an epoch below the log", 1000)                                                   \
  X(kVoterSameWhileWriting, "voter: the same claim again while its record is written", 200)                                 \
  X(kVoterRaises, "voter: the same session under a higher epoch", 200)                                                      \
  X(kVoterEndedWhileWriting, "voter: a session ended while its record was written", 5000)                                   \
  X(kVoterPauses, "voter: a promise becomes endless", 200)                                                                  \
  X(kVoterPausesNew, "voter: a new promise is endless from its beginning", 1000)                                            \
  X(kVoterResumes, "voter: a beat ends an endless promise", 200)                                                            \
  X(kVoterFencingConfirmed, "voter: an operator's word gives an endless promise an end", 1000)                              \
  X(kVoterAdopts, "voter: takes up a log or a voter set", 200)                                                              \
  X(kHolderRaised, "holder: raises its epoch", 200)                                                                         \
  X(kHolderResumed, "holder: a daemon takes up a living guard's claim", 200)                                                \
  X(kHolderEndless, "holder: drops its deadline", 200)                                                                      \
  X(kHolderRearmed, "holder: arms again after a pause", 200)                                                                \
  X(kResumedUnarmed, "agent: does not name a Resumed yet, its guard has no deadline", 200)                                  \
  X(kHolderRefused, "holder: a majority named a higher promise", 1000)                                                      \
  X(kHolderStaleAcks, "holder: acks of a majority that are too old to give anything", 1000)                                 \
  X(kHolderOldAck, "holder: ack of a beat before its claim", 200)                                                           \
  X(kEndInLog, "agent: ends, the log shows its end", 5000)                                                                  \
  X(kEndCompletedElsewhere, "agent: ends, a higher epoch was completed elsewhere", 1000)                                    \
  X(kEndRefused, "agent: ends, a majority promised to a higher epoch", 5000)                                                \
  X(kEndOvertaken, "agent: ends, overtaken before its majority", 1000)                                                      \
  X(kEndNoMajority, "agent: ends, no majority within one ttl", 200)                                                         \
  X(kEndPaused, "agent: ends, paused before its decision", 5000)                                                            \
  X(kEndStoppedUnderLease, "agent: ends, its engine was stopped under the lease", 5000)                                     \
  X(kHandsOver, "agent: stops its engine for a switchover", 200)                                                            \
  X(kSwitchoverWaits, "agent: a switchover waits for its target", 200)                                                      \
  X(kKeeps, "agent: answers a needless nomination", 200)                                                                    \
  X(kLateCompletion, "agent: reports an opening after its end", 1000)                                                       \
  X(kOwesCompletion, "agent: an earlier opening is told before the next", 1000)                                             \
  X(kSessionGone, "agent: named for a session that is gone", 200)                                                           \
  X(kReleasedClean, "agent: released with its final position", 200)                                                         \
  X(kReleasedFenced, "agent: released after a fence", 200)                                                                  \
  X(kReleasedCrashed, "agent: released after its engine ended", 200)                                                        \
  X(kReleasedLost, "agent: released after its guard or host was lost", 200)                                                 \
  X(kSaysLostSession, "agent: a voter is bound to a session that is gone", 200)                                             \
  X(kRenewsNext, "agent: the session to be taken next has ended in the log", 5000)                                          \
  X(kRenewsOvertaken, "agent: the session to be taken next was named by a decision that was overtaken", 1000)              \
  X(kArmsAgain, "agent: says a deadline again", 200)                                                                        \
  X(kObservesAgain, "agent: asks for another observation, its own is old", 200)                                             \
  X(kRejoins, "agent: has its data rejoined", 200)                                                                          \
  X(kRejoinsAsked, "agent: has its data copied anew, as a person asked", 1000)                                              \
  X(kRestartsAsked, "agent: has its engine restarted, as a person asked", 1000)                                             \
  X(kFollowsDecided, "agent: follows a writer whose completion is late", 1000)                                              \
  X(kUpstreamSilent, "agent: whom it should follow is silent", 200)                                                         \
  X(kEarlierInstance, "agent: waits for the session of an earlier instance of its node", 1000)                              \
  X(kBackoff, "agent: waits after a failed step", 200)                                                                      \
  X(kWaitMajority, "decider: waits for a majority of votes", 200)                                                           \
  X(kWaitFold, "decider: waits for its fold", 200)                                                                          \
  X(kWaitClaim, "decider: waits for a named session to claim", 200)                                                         \
  X(kWaitBackOff, "decider: waits longer after each nomination that failed", 5000)                                          \
  X(kWaitTurn, "decider: waits for its turn", 200)                                                                          \
  X(kWaitPositions, "decider: waits for fresh positions", 200)                                                              \
  X(kWaitWanted, "decider: waits for the node that was asked for", 1000)                                                    \
  X(kWaitHolder, "decider: waits for the position of who wrote last", 1000)                                                  \
  X(kEndUnknown, "decider: nobody heard how far the last holder wrote", 1000)                                                \
  X(kWaitCandidate, "decider: nobody can be promoted", 200)                                                                 \
  X(kWaitDeaf, "decider: waits for the named node to read the log", 1000)                                                   \
  X(kOtherThanDeaf, "decider: another than who has not read the log", 1000)                                                 \
  X(kOldVote, "decider: a vote from before the newest decision", 200)                                                       \
  X(kLateVote, "decider: a vote that waited in a buffer", 200)                                                              \
  X(kNominates, "decider: nominates", 200)                                                                                  \
  X(kTwoHosts, "housekeeper: two hosts live under its id", 1000)                                                            \
  X(kChangesSet, "housekeeper: changes the voter set", 1000)                                                                \
  X(kSetLost, "node: its record names a voter set that the log has lost", 50000)                                            \
  X(kUnreachable, "housekeeper: a majority suspects a member", 200)                                                         \
  X(kConflict, "node: another's append was first", 200)                                                                     \
  X(kUnknown, "node: an append of unknown outcome", 200)                                                                    \
  X(kAloneSilent, "node: appends nothing while it hears no majority", 200)                                                  \
  X(kStoredUnfolded, "node: waits to fold what it appended", 200)                                                           \
  X(kSteers, "steering: a leader is asked to step down", 200)                                                               \
  X(kSteersNot, "steering: holds still beside a fresh loss", 200)                                                           \
  X(kFoldOldEpoch, "fold: a decision that is not higher", 1000)                                                             \
  X(kFoldEndedNamed, "fold: a decision for a session that ended", 1000)                                                     \
  X(kFoldLateCompletion, "fold: the completion of a decision that was overtaken", 1000)                                     \
  X(kFoldOverride, "fold: a person's word in place of a lost majority", 20000)                                              \
  X(kFoldOverrideRefused, "fold: an override that does not follow", 20000)                                                  \
  X(kVoterRenamed, "voter: takes up the set of an override", 20000)                                                         \
  X(kVoterOverridden, "voter: hears of an override that its own log has not shown", 20000)                                  \
  X(kFoldSetRefused, "fold: a change of the voter set that does not follow", 100000)                                             \
  X(kHolderOtherSet, "holder: goes on under a set that it learnt from an ack", 50000)                                           \
  X(kFoldForeignEnd, "fold: an end that another node or instance said", 200)                                                \
  X(kFoldVoid, "fold: a version that came before its turn, after the log lost events", 5000)                                \
  X(kSaysLeaseAgain, "agent: has a lease decided again that the log lost", 5000)                                            \
  X(kLostReplaced, "decider: a paused holder whose node was rebuilt is named", 20000)                                      \
  X(kAsks, "agent: asks what others have before its engine opens", 200)                                                     \
  X(kEndEmpty, "agent: ends, its data are gone", 20000)                                                                     \
  X(kEndLacks, "agent: ends, another has more than it", 20000)                                                              \
  X(kSyncSmaller, "agent: a replica leaves the sync set", 5000)                                                             \
  X(kSyncLarger, "agent: a replica joins the sync set", 5000)                                                               \
  X(kOnlyHeard, "decider: the first writer's completion never came, and it was heard writing", 50000)                     \
  X(kAnothersNumber, "decide: a timeline of a number in the history was opened by another session", 5000)                 \
  X(kLostOpening, "decider: counts a timeline whose opening the log does not show", 5000)                                  \
  X(kWriterAboveLog, "agent: leaves its engine beside a writer whose epoch the log does not show", 1000)                    \
  X(kPauseLost, "voter: its promise has no end by a Paused that the log has lost", 50000)                                   \
  X(kReportsLoss, "housekeeper: says what the log lost", 1000)

namespace daarion {

#define DAARION_CONSTANT(constant, ...) constant,
enum class Plant { kNone, DAARION_PLANTS(DAARION_CONSTANT) kCount };
enum class Mark { DAARION_MARKS(DAARION_CONSTANT) kCount };
#undef DAARION_CONSTANT

// Defined by the simulator.
bool planted(Plant plant);
void mark(Mark mark);

}  // namespace daarion

#define PLANTED(name) (::daarion::planted(::daarion::Plant::name))
#define MARK(name) ::daarion::mark(::daarion::Mark::name)
#define MARK_IF(name, condition) \
  do {                           \
    if (condition) MARK(name);   \
  } while (false)
#else
#define PLANTED(name) false
#define MARK(name) static_cast<void>(0)
#define MARK_IF(name, condition) static_cast<void>(0)
#endif
