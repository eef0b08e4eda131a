/* From every state some lease can be had again without a further fault: as a model for spin, of the rules in rules.pml.
 *
 * "Can be had" is a question of branching time, which spin's LTL cannot ask (and with fairness of every step the product would not
 * fit). So it is asked by a witness. The states are those of lease.pml, faults and arbitrary decisions included. In every one of them
 * the faults may freeze: one voter is dead for good, or none, and one node is dead for good with its word; the rest then follow
 * the schedule that DESIGN gives them (RESCUE below), which is deterministic, and must have a majority within ROUNDS ticks. One schedule that
 * gets there is what "can" means; an assertion fails in each state from which it does not. The state after the rescue is
 * the one before it (scratch is zeroed), so the check costs no states.
 *
 * The schedule, each tick: the survivor's beat is heard by every living voter, its acks by the survivor; blank voters return as
 * their rule says. A claim without its majority in L ticks ends itself, and says so (DESIGN: "gets none within one ttl"). Without a
 * claim, and with votes of a majority (living voters that are not blank and whose promise is over), the survivor is nominated with a
 * new session, under epoch 1 + the highest in the log and in the votes.
 *
 * Bounds: as lease.pml without PAUSES (while paused no lease is had without an operator, by design); epochs and sessions above E and S
 * exist for the rescue alone.
 *
 * Removable: NO_VOTE_EPOCH (the epoch from the log alone), NO_GIVE_UP (a claim without a majority goes on for ever).
 */
#define LIVENESS
#define ROUNDS (2*L+4)

byte r_epoch[3], r_ends[3], r_blank[3], r_folded[3];   /* the voters in the rescue */
bit r_mine[3];                                         /* promised to the survivor's present session */
byte dead, who, round, claimed, age, top, votes, won;

#define R_OVER(v) (r_epoch[v] == 0 || r_ends[v] == 0)
#ifdef NO_VOTE_EPOCH
#define VOTED(v) 0
#else
#define VOTED(v) r_epoch[v]
#endif
#ifdef NO_GIVE_UP
#define GIVE_UP skip
#else
#define GIVE_UP \
  if :: age > L -> claimed = 0; age = 0; for (i : 0 .. 2) { if :: r_mine[i] -> r_ends[i] = 0; r_mine[i] = 0 :: else fi } \
     :: else fi
#endif
/* Of the living voters that may vote: how many, and the highest epoch that they know. */
#define NOMINATE \
  n = top; \
  for (i : 0 .. 2) { \
    if :: i != dead && r_blank[i] == 0 && R_OVER(i) -> votes++; if :: VOTED(i) > n -> n = VOTED(i) :: else fi :: else fi } \
  if :: votes >= 2 -> claimed = n + 1; top = claimed; for (i : 0 .. 2) { r_mine[i] = 0 } :: else fi; votes = 0; n = 0
#define BEAT \
  for (i : 0 .. 2) { \
    if :: i != dead && r_blank[i] == 0 && ((r_epoch[i] == claimed && r_mine[i]) || \
          (claimed > r_epoch[i] && claimed >= r_folded[i] && (R_OVER(i) || r_mine[i]))) -> \
          r_epoch[i] = claimed; r_mine[i] = 1; r_ends[i] = L; votes++ :: else fi } \
  if :: votes >= 2 -> won = 1 :: else -> age++; GIVE_UP fi; votes = 0
#define ROUND \
  if :: claimed == 0 -> NOMINATE :: else fi; \
  if :: claimed != 0 -> BEAT :: else fi; \
  for (i : 0 .. 2) { \
    if :: r_ends[i] > 0 -> r_ends[i]-- :: else fi; \
    if :: r_blank[i] > 1 -> r_blank[i]-- \
       :: r_blank[i] == 1 -> r_blank[i] = 0; r_folded[i] = top \
       :: else fi } i = 0; round++
#define BEGIN(who) \
  claimed = (claim[who] == 0 -> 0 : EPOCH(claim[who])); top = log_epoch; \
  for (i : 0 .. 2) { \
    r_epoch[i] = (voter[i].promise == 0 -> 0 : EPOCH(voter[i].promise)); r_ends[i] = voter[i].ends; \
    r_blank[i] = voter[i].blank; r_folded[i] = voter[i].folded; \
    r_mine[i] = (claim[who] != 0 && voter[i].promise != 0 && SID(voter[i].promise) == SID(claim[who])) }
#define RESCUE \
  :: d_step { true -> \
       for (dead : 0 .. 3) { for (who : 0 .. 1) { \
         BEGIN(who); \
         do :: round < ROUNDS && !won -> ROUND :: else -> break od; \
         assert(won);                  /* a state from which no lease can be had */ \
         won = 0; round = 0; age = 0; claimed = 0; top = 0 } } \
       dead = 0; who = 0; i = 0; \
       for (n : 0 .. 2) { r_epoch[n] = 0; r_ends[n] = 0; r_blank[n] = 0; r_folded[n] = 0; r_mine[n] = 0 } n = 0 }
#include "lease.pml"
