/* A change of the voter set of the quorum lease, as a model for spin. The rules of promise, claim, session, record, blank and pause are
 * those of rules.pml, shared with lease.pml; here are the rules of VoterSetChanged (DESIGN, "Voter set").
 * Built in controlplane/core/voter_set.h, which argues it.
 *
 * What is modelled. V voters, pairs (node, instance): a replaced disk is another voter. The log holds sets, each differing from the one
 * before by one voter; voters fold them as late as they like. An ack names its voter's set, and counts under that set only. A
 * holder counts under ANY set that ever was: whichever it adopted from acks, or has not left yet. So its own set binds nothing.
 *   - The faults of lease.pml, and LOSSES: the log loses its newest decisions, or its newest set with all that came later (never two
 *     sets at once: the implementation waits until a set is on the disks before it is changed; with two, two write); whoever
 *     folded that set folds anew, and another may be appended. Other ids, so never mistaken for the lost one.
 *   - Acks are heard at once (a later hearing is worth less), as in lease.pml with PAUSES.
 *   - A word and the append that rests on it are two steps, as far from each other as it likes: a word that was given is never taken back,
 *     whatever its voter does later, and counts for the set that it was given for wherever that set is the present one (again).
 *
 * A set may be appended when a majority of the present set have given their word for it. When it is given, the voter
 *   named          is not blank, and has named that set for a length,
 *   unpaused       has no promise without an end, nor had one in that length,
 * and the word says the epoch that it promised:
 *   records        when the set is appended, the log is not below it.
 * Besides: one voter   a set differs from the last by one voter;
 *          next        a set of even number is followed only by the change that it named (or by itself, naming another one): two
 *                      changes of it, of which the log lost one after it had been acted on, would have majorities apart;
 *   set named      an ack counts only under the set that it names;
 *   set log        after a change of set the voter's old claim has to pass the log too;
 *   set kept       a daemon restarted with a stale fold keeps the set of its record: it moves back only where the log lost it.
 *
 * Where this differs from DESIGN, found here:
 *   - The conditions need not hold when the set is appended, only when the words were given: they are about promises under earlier sets.
 *   - "Nothing is paused", read in the log, is not enough (UNPAUSED_BY_LOG): a holder that has not folded Resumed holds without an end.
 *     Nor are the promises at the moment of the append (UNPAUSED_MOMENT): a holder that folds Resumed arms for a length without an ack.
 *   - Not needed for safety, and not assumed here: that the newcomer was silent for a length and has folded (two majorities of sets
 *     next to each other meet in an old voter, and a newcomer folds the log up to the set that makes it a voter); that every
 *     reachable holder names the present set (it serves not to lose the lease).
 *
 * Bounds: two voters, {0} -> {0,1} -> {1} and every other path of two changes; 2 epochs; one session per node; length 1; the
 * faults not all at once: see run.sh. Equal clocks, as in lease.pml. With pauses no session raises its epoch (NO_RAISING) and no voter
 * restarts: 22 million states with raised epochs showed no violation, but did not end. Three voters (-DV=3) were not run to an end.
 * Lengths are equal and never change, in all models.
 *
 * Removable: NO_NAMED NO_RECORDS NO_UNPAUSED NO_ONE_VOTER NO_NEXT NO_SET_NAMED NO_SET_LOG NO_SET_KEPT.
 */
#ifndef V
#define V 2              /* voters there are: pairs (node, instance), so a replaced disk is another one */
#endif
#ifndef FIRST
#define FIRST 1          /* the first set, a bit per voter */
#endif
#ifndef CHANGES
#define CHANGES 2        /* VoterSetChanged ever appended, also those that the log loses again */
#endif
#define K (CHANGES+1)    /* sets are numbered 0..CHANGES, as their events have ids */

#define AT_ONCE 1
#define SLOTS (2*K)      /* acks count under the set that they name */
#define SLOT(h,v) ((h)*K+voter[v].set)
#define VOTER_FIELDS \
  byte set;              /* the set that its record names: number of it */ \
  byte named_for;        /* ticks for which it has named that one, up to L */ \
  byte said[K];          /* its word for each set: 1 + the epoch promised; 0 none */
#define IN(v,k) ((mask[k] >> (v)) & 1)
#define MEMBER(v) IN(v,voter[v].set)
#ifdef NO_SET_LOG
#define SAME_PASSES(v,x) true
#else
#define SAME_PASSES(v,x) PASSES_LOG(v,x)   /* what is folded moves here with the set and after a reboot only */
#endif
#ifdef NO_SET_KEPT
#define RELOAD_SET(v) voter[v].set = logged[0]; voter[v].named_for = 0
#else
#define RELOAD_SET(v) skip
#endif
#define RETURN_SET(v) \
  if :: voter[v].set != logged[depth] -> voter[v].set = logged[depth]; voter[v].named_for = 0 :: else fi
#define TICK_SET(i) if :: voter[i].named_for < L -> voter[i].named_for++ :: else fi;
#ifdef UNPAUSED_MOMENT
#define RESUMED_SET(v) skip
#else
#define RESUMED_SET(v) voter[v].named_for = 0   /* the length is counted anew: a holder that resumes arms without an ack */
#endif
#define FORGET_HEARD(v,h) for (n : 0 .. K-1) { voter[v].worth[(h)*K+n] = 0; FORGET_NAMED(v,(h)*K+n) } n = 0
#if PAUSES > 0
#define FORGET_NAMED(v,s) voter[v].named[s] = 0
#else
#define FORGET_NAMED(v,s) skip
#endif

/* A majority of set k, of voters that satisfy P. */
#if V == 2
#define SUM(P,k,a,b) (P(0,k,a,b) + P(1,k,a,b))
#elif V == 3
#define SUM(P,k,a,b) (P(0,k,a,b) + P(1,k,a,b) + P(2,k,a,b))
#else
#define SUM(P,k,a,b) (P(0,k,a,b) + P(1,k,a,b) + P(2,k,a,b) + P(3,k,a,b))
#endif
#define P_IN(v,k,a,b) IN(v,k)
#define MAJORITY_OF(P,k,a,b) (2 * SUM(P,k,a,b) > SUM(P_IN,k,0,0))
#ifdef NO_SET_NAMED
#if CHANGES == 1
#define BEST(v,h) (voter[v].worth[(h)*K] > voter[v].worth[(h)*K+1] -> voter[v].worth[(h)*K] : voter[v].worth[(h)*K+1])
#elif CHANGES == 2
#define MAX2(a,b) (a > b -> a : b)
#define BEST(v,h) MAX2(MAX2(voter[v].worth[(h)*K],voter[v].worth[(h)*K+1]),voter[v].worth[(h)*K+2])
#endif
#define P_WORTH(v,k,h,i) (IN(v,k) && BEST(v,h) >= i)
#else
#define P_WORTH(v,k,h,i) (IN(v,k) && voter[v].worth[(h)*K+(k)] >= i)
#endif
#define P_NAMED(v,k,h,p) (IN(v,k) && voter[v].named[(h)*K+(k)] == p)
/* A holder counts under any set that ever was: whichever it adopted from acks, or has not left yet. */
#if CHANGES == 1
#define ANY_SET(P,a,b) (MAJORITY_OF(P,0,a,b) || ids > 1 && MAJORITY_OF(P,1,a,b))
#elif CHANGES == 2
#define ANY_SET(P,a,b) (MAJORITY_OF(P,0,a,b) || ids > 1 && MAJORITY_OF(P,1,a,b) || ids > 2 && MAJORITY_OF(P,2,a,b))
#else
#define ANY_SET(P,a,b) (MAJORITY_OF(P,0,a,b) || ids > 1 && MAJORITY_OF(P,1,a,b) || ids > 2 && MAJORITY_OF(P,2,a,b) || \
                        ids > 3 && MAJORITY_OF(P,3,a,b))
#endif
#define MAJORITY_WORTH(h,i) ANY_SET(P_WORTH,h,i)
#define MAJORITY_NAMED(h,p) ANY_SET(P_NAMED,h,p)
#define SORT i = 0
#include "rules.pml"

byte mask[K];            /* the sets */
byte at_epoch[K];        /* the highest epoch in the log when the set was appended */
byte place[K];           /* where in the log */
byte after[K];           /* of an even set: the voter that joins or leaves it next */
byte logged[K];          /* the log: the sets in it, in order */
byte depth;              /* the place of the newest */
byte ids;                /* sets ever appended, with the first */
#define NOW logged[depth]

/* A voter folds the next set. It may be as late as it likes. One whose set the log has lost folds anew. */
#define ADOPT(v) \
  :: d_step { voter[v].blank == 0 && voter[v].set != NOW -> \
       if :: logged[place[voter[v].set]] == voter[v].set && place[voter[v].set] < depth -> \
             voter[v].set = logged[place[voter[v].set]+1] \
          :: else -> voter[v].set = NOW fi; \
       voter[v].named_for = 0; \
       if :: voter[v].folded < at_epoch[voter[v].set] -> voter[v].folded = at_epoch[voter[v].set] :: else fi }

/* ---- when a set may be appended */
#ifdef NO_NAMED
#define LONG_NAMED(v) true
#define SPOKEN_OF(v) NOW
#else
#define LONG_NAMED(v) (voter[v].blank == 0 && voter[v].named_for == L)
#define SPOKEN_OF(v) voter[v].set
#endif
#if PAUSES == 0 || defined(NO_UNPAUSED)
#define ALL_UNPAUSED true
#define UNPAUSED(v) true
#elif defined(UNPAUSED_BY_LOG)
#define ALL_UNPAUSED (pause_log % 2 == 0)
#define UNPAUSED(v) true
#else
#define ALL_UNPAUSED true
#define UNPAUSED(v) (voter[v].endless == 0)
#endif
#define PROMISED(v) (voter[v].promise == 0 -> 0 : EPOCH(voter[v].promise))
#define GIVE_WORD(v) \
  :: d_step { ids < K && LONG_NAMED(v) && UNPAUSED(v) && voter[v].said[SPOKEN_OF(v)] != 1 + PROMISED(v) -> \
       voter[v].said[SPOKEN_OF(v)] = 1 + PROMISED(v) }
#if defined(NO_RECORDS) || LOSSES == 0
#define BELOW_LOG(v,k) true
#else
#define BELOW_LOG(v,k) (voter[v].said[k] - 1 <= log_epoch)
#endif
#define P_READY(v,k,a,b) (IN(v,k) && voter[v].said[k] != 0 && BELOW_LOG(v,k))
#ifdef NO_ONE_VOTER
#define CHANGED(v) (mask[NOW] ^ ((1 << V) - 1))
#else
#define CHANGED(v) (mask[NOW] ^ (1 << (v)))
#endif
#define P_THERE(v,m,a,b) (((m) >> (v)) & 1)
#define EVEN(m) (SUM(P_THERE,m,0,0) % 2 == 0)
#ifdef NO_NEXT
#define NEXT_IS(v) true
#else
#define NEXT_IS(v) (!EVEN(mask[NOW]) || after[NOW] == v)
#endif
#define APPEND_SET(m,w) \
       mask[ids] = m; after[ids] = w; at_epoch[ids] = log_epoch; depth++; place[ids] = depth; logged[depth] = ids; ids++; \
       if :: ids == K -> for (i : 0 .. V-1) { for (n : 0 .. K-1) { voter[i].said[n] = 0 } } i = 0; n = 0 \
          :: else fi   /* words are of no use any more: fewer states */
/* v joins or leaves; if the number is even then, w is named as the next. */
#define CHANGE(v,w) \
  :: d_step { ids < K && ALL_UNPAUSED && CHANGED(v) != 0 && NEXT_IS(v) && (w == 0 || EVEN(CHANGED(v))) && MAJORITY_OF(P_READY,NOW,0,0) -> \
       APPEND_SET(CHANGED(v),w) }
#ifdef NO_NEXT
#define RENAME(w)
#else
#define RENAME(w) \
  :: d_step { ids < K && ALL_UNPAUSED && EVEN(mask[NOW]) && after[NOW] != w && MAJORITY_OF(P_READY,NOW,0,0) -> APPEND_SET(mask[NOW],w) }
#endif

/* The log's tail is lost: decisions since the newest set, or that set and all that came later. */
#define LOSE \
  :: d_step { losses < LOSSES && log_epoch > at_epoch[NOW] -> losses++; log_epoch = at_epoch[NOW] } \
  :: d_step { losses < LOSSES && depth > 0 -> losses++; log_epoch = at_epoch[NOW]; logged[depth] = 0; depth-- } \
  :: d_step { losses < LOSSES && depth > 0 -> losses++; logged[depth] = 0; depth--; log_epoch = at_epoch[NOW] }

#if V == 2
#define VOTERS(F) F(0) F(1)
#define VOTERS2(F,a) F(a,0) F(a,1)
#elif V == 3
#define VOTERS(F) F(0) F(1) F(2)
#else
#define VOTERS(F) F(0) F(1) F(2) F(3)
#endif
#define HEAR_ALL(v) CLAIMS(HEAR,v)

init {
  mask[0] = FIRST; ids = 1;
  do
  TAKE(1,0)
#if PAUSES == 0
  TAKE(1,1)    /* with PAUSES the nodes are told apart, for size: node 0 alone may take epoch 1 */
#endif
#if E > 1
#ifndef NO_RAISING
  TAKE(2,0)    /* NO_RAISING: each node has an epoch of its own, for size */
#endif
  TAKE(2,1)
#endif
  VOTERS(HEAR_ALL)
  OPEN(0) OPEN(1) QUIT(0) QUIT(1)
  VOTERS(HEAR_END) VOTERS(RESTART) VOTERS(REBOOT) VOTERS(RETURN) VOTERS(ADOPT) VOTERS(GIVE_WORD) VOTERS(RENAME)
  VOTERS2(CHANGE,0) VOTERS2(CHANGE,1)
#if V > 2
  VOTERS2(CHANGE,2)
#endif
#if PAUSES > 0
  PAUSE_EVENT PAUSE_FOLDS(0) PAUSE_FOLDS(1) VOTERS(PAUSE_HEARD) UNLEASH(0) UNLEASH(1) COMPLETE(0) COMPLETE(1)
#endif
#if LOSSES > 0
  LOSE
#endif
  TICK
  od
}
