/* The quorum lease of DAARION, as a model for spin. The rules are those of controlplane/core/lease.h, by the same names;
 * they stand in rules.pml, which voters.pml (a change of the voter set) shares. liveness.pml asks of the same states whether a lease can be had.
 *
 * What is modelled. V voters hold promises; two nodes take sessions and claim (epoch, session) with beats; a node may write
 * while a majority of voters promised to exactly its claim, counted from when it SENT the beat that they acked.
 *   - Decisions are arbitrary: any node may take any epoch for its session at any time, also one that the other took.
 *   - The network loses, delays, duplicates and reorders: a beat once sent can be heard at any later time or never, and so
 *     can an ack. (A node may send at any instant, so of its present claim only the newest beat is kept: an older one
 *     moves a voter's promise in the same way and its ack is worth less.)
 *   - Faults, each with a budget: restart of a voter's daemon; reboot of a voter's host, after which its fold is empty;
 *     reboot with a record restored from an old backup; the log's tail lost (LOSSES). Sessions end at any time, by release, fence or death of the host.
 *   - A voter's fold is as stale as the rules let it be: it moves only where a rule says that it must have.
 *   - PAUSES adds Paused and Resumed events, folded by every process at a time of its own, also late. Acks are then heard at once:
 *     a later hearing is worth less, and what an ack names is kept (the states with acks in flight would not fit).
 *
 * Time. A tick passes for everybody at once; every clock counts the ticks that remain, so the state space is finite and time
 * has no bound. The implementation's drift factors (a holder counts length * (1 - drift), a voter length * (1 + drift))
 * make up for clocks of other rates; here rates are equal and both count L.
 *
 * Symmetry. Voters differ in nothing but their number, so every step ends by sorting them: states that differ by a
 * renaming of voters are one.
 *
 * Checked: no two nodes write at once; no older epoch writes after a newer one.
 *
 * Not checked: LOSSES together with RESTORES. A voter whose record is lost relies on the log for the epochs that it promised, and the log
 * on the records for the epochs that it lost; with both gone an older epoch can follow a newer one (no two at once). run.sh shows it,
 * so that the limit stays known.
 *
 * Removable rules, to see that each is needed (tests/model/run.sh): NO_ACK NO_FLOOR NO_RECORD NO_BLANK NO_RETURNED
 * NO_SESSION NO_SEND_TIME NO_FOLD_CHECK NO_EARNED NO_INSTANCE, and with PAUSES: NO_PAUSE_RECORD NO_PAUSE_MAJORITY NO_PAUSE_OWED
 * NO_RESUME_NAMED NO_PAUSE_KEPT.
 */
/* ---- the voters, and what counts as a majority of them */
#define V 3
#define M 2
#ifdef PAUSES
#define AT_ONCE (PAUSES > 0)
#else
#define AT_ONCE 0
#endif
#define SLOTS 2                  /* one per node */
#define SLOT(h,v) h
#define VOTER_FIELDS
#define MEMBER(v) true           /* the set never changes (voters.pml) */
#define SAME_PASSES(v,x) true    /* the voter's claim again: acked whatever the log says */
#define RELOAD_SET(v) skip
#define RETURN_SET(v) skip
#define TICK_SET(v) skip
#define RESUMED_SET(v) skip
#define FORGET_HEARD(v,h) voter[v].worth[h] = 0; FORGET_NAMED(v,h)
#if AT_ONCE
#define FORGET_NAMED(v,h) voter[v].named[h] = 0
#else
#define FORGET_NAMED(v,h) skip
#endif
#define MAJORITY_WORTH(h,i) ((voter[0].worth[h] >= i) + (voter[1].worth[h] >= i) + (voter[2].worth[h] >= i) >= M)
#ifdef NO_PAUSE_MAJORITY
#define PAUSE_MAJORITY 1
#else
#define PAUSE_MAJORITY M
#endif
#define MAJORITY_NAMED(h,p) \
  ((voter[0].named[h] == p) + (voter[1].named[h] == p) + (voter[2].named[h] == p) >= PAUSE_MAJORITY)
#include "rules.pml"

/* ---- symmetry: voters in a fixed order */
#define SWAP(a,b) t = a; a = b; b = t
#if PAUSES > 0
#define PAUSE_KEY(v) + (voter[v].endless << 24) + (voter[v].named[0] << 27)
#define SWAP_PAUSE(a,b) SWAP(voter[a].endless, voter[b].endless); \
  SWAP(voter[a].named[0], voter[b].named[0]); SWAP(voter[a].named[1], voter[b].named[1]);
#else
#define PAUSE_KEY(v)
#define SWAP_PAUSE(a,b)
#endif
#define KEY(v) (voter[v].promise + (voter[v].ends << 4) + (voter[v].folded << 7) + (voter[v].blank << 10) + \
  (voter[v].ack[0] << 13) + (voter[v].ack[1] << 15) + (voter[v].worth[0] << 18) + (voter[v].worth[1] << 21) PAUSE_KEY(v))
#define ORDER(a,b) \
  if :: KEY(a) > KEY(b) -> \
        SWAP(voter[a].promise, voter[b].promise); SWAP(voter[a].ends, voter[b].ends); \
        SWAP(voter[a].folded, voter[b].folded); SWAP(voter[a].blank, voter[b].blank); \
        SWAP(voter[a].ack[0], voter[b].ack[0]); SWAP(voter[a].ack[1], voter[b].ack[1]); \
        SWAP(voter[a].worth[0], voter[b].worth[0]); SWAP(voter[a].worth[1], voter[b].worth[1]); \
        SWAP_PAUSE(a,b) t = 0 \
     :: else fi
#define SORT ORDER(0,1); ORDER(1,2); ORDER(0,1)

#define VOTERS(F) F(0) F(1) F(2)
#define VOTERS2(F,a) F(a,0) F(a,1) F(a,2)

init {
  do
  TAKE(1,0)
#if PAUSES == 0
  TAKE(1,1)    /* with PAUSES the nodes are told apart, for size: node 0 alone may take epoch 1 */
#endif
#if E > 1
  TAKE(2,0) TAKE(2,1)
#endif
#if E > 2
  TAKE(3,0) TAKE(3,1)
#endif
  CLAIMS(HEAR,0) CLAIMS(HEAR,1) CLAIMS(HEAR,2)
#if PAUSES == 0
  VOTERS2(HEAR_ACK,0) VOTERS2(HEAR_ACK,1)
#endif
  OPEN(0) OPEN(1) QUIT(0) QUIT(1)
  VOTERS(HEAR_END) VOTERS(RESTART) VOTERS(REBOOT) VOTERS(RETURN)
#if PAUSES > 0
  PAUSE_EVENT PAUSE_FOLDS(0) PAUSE_FOLDS(1) VOTERS(PAUSE_HEARD) UNLEASH(0) UNLEASH(1) COMPLETE(0) COMPLETE(1)
#endif
#if LOSSES > 0
  LOSE_TAIL
#endif
#ifdef LIVENESS
  RESCUE       /* liveness.pml */
#endif
  TICK
  od
}
