#ifndef E
#define E 2          /* epochs, from 1 */
#endif
#ifndef S
#define S 1          /* sessions a node may ever have */
#endif
#ifndef L
#define L 2          /* lease length, ticks */
#endif
#ifndef RESTARTS
#define RESTARTS 1   /* daemon restarts of voters */
#endif
#ifndef REBOOTS
#define REBOOTS 1    /* reboots of voters' hosts */
#endif
#ifndef RESTORES
#define RESTORES 1   /* how many of the reboots find a record from an old backup */
#endif
#ifndef LOSSES
#define LOSSES 0     /* how often the log loses its tail */
#endif
#ifndef PAUSES
#define PAUSES 0     /* Paused and Resumed events in all */
#endif

#define C (E*2*S)                               /* claims are numbered 1..C; 0 is none */
#define CLAIM(e,h,s) ((((e)-1)*2+(h))*S+(s)+1)
#define EPOCH(c)     (((c)-1)/(2*S)+1)
#define SID(c)       (((c)-1)%(2*S))            /* node * S + session */
#define NODE(c)      (SID(c)/S)
#define BIT(c)       (1 << SID(c))
#define FOREVER (L+1)                           /* a valid_until without an end */

byte claim[2];            /* what a node claims in its beats; its session is session[h] */
byte session[2];
byte valid[2];            /* ticks until valid_until */
byte held[2];             /* the epoch that a majority last acked: the one to write under. A raised claim has to earn its own */
bit  writes[2];           /* its engine is open for writing */
bit  sent[C+1];           /* a beat with this claim is in flight */
byte gone;                /* sessions that ended, a bit each */
byte log_epoch;           /* the highest epoch in the log */
byte newest;              /* the highest epoch that ever wrote */
byte restarts, reboots, restores, losses;

typedef Voter {
  byte promise;           /* also the record on disk: it is written before the first ack of a promise */
  byte ends;              /* ticks until the promise is over */
  byte folded;            /* highest epoch folded */
  byte blank;             /* 0: answers; n: silent for n - 1 more ticks, and until it has folded its MemberReturned */
  byte ack[2];            /* per node: what this voter's newest ack in flight for the node's claim is worth, in ticks */
  byte worth[SLOTS];      /* what the newest ack heard of this voter is worth; which is whose: the model that includes this */
#if PAUSES > 0
  byte endless;           /* the Paused that the promise honours: it has no end; 0 none. On disk with the promise */
  byte named[SLOTS];      /* the newest Paused that this voter named in those acks */
#endif
  VOTER_FIELDS
}
Voter voter[V];

#if PAUSES > 0
byte pause_log;           /* pause events in the log, numbered from 1: odd is Paused, even is Resumed */
byte pause_node[2];       /* folded by the node */
byte sent_names[C+1];     /* the newest Resumed named by beats in flight */
bit  completed[C+1];      /* the log: PromotionCompleted */
byte decided_at[C+1];     /* the log: pause events before the decision (its node had folded them when it took it) */
#define ENDLESS(v) (voter[v].endless != 0)
#define NEWEST_PAUSED (pause_log == 0 -> 0 : pause_log - ((pause_log + 1) % 2))
#else
#define ENDLESS(v) false
#endif

byte i, n, t;             /* scratch, 0 between steps */

#define OVER(v) (voter[v].promise == 0 || (voter[v].ends == 0 && !ENDLESS(v)))

#ifdef NO_ACK
#define FREE(v,x) true
#else
#define FREE(v,x) (OVER(v) || SID(voter[v].promise) == SID(x))
#endif
#ifdef NO_FLOOR
#define HIGHER(v,x) true
#else
#define HIGHER(v,x) (voter[v].promise == 0 || EPOCH(x) > EPOCH(voter[v].promise))
#endif
#ifdef NO_FOLD_CHECK
#define PASSES_LOG(v,x) true
#else
#define PASSES_LOG(v,x) (EPOCH(x) >= voter[v].folded)
#endif
#define ACCEPTS(v,x) (voter[v].blank == 0 && MEMBER(v) && \
                      (voter[v].promise == x && SAME_PASSES(v,x) || (HIGHER(v,x) && PASSES_LOG(v,x) && FREE(v,x))))

/* A node forgets the acks of its last claim, heard or in flight: they name another claim. */
#define FORGET(h) for (i : 0 .. V-1) { voter[i].ack[h] = 0; FORGET_HEARD(i,h) } i = 0

/* ---- the steps: each is one line of the loop at the end */

/* The log names (epoch, session of node h), and h takes it, or raises the epoch of the session that it has. */
#define TAKE(e,h) \
  :: d_step { session[h] < S && (claim[h] == 0 || EPOCH(claim[h]) < e) -> \
       claim[h] = CLAIM(e,h,session[h]); sent[claim[h]] = 1; SEND_RESUMED(h) \
       if :: log_epoch < e -> log_epoch = e :: else fi; \
       FORGET(h); SORT }

/* A voter hears a beat whose claim it accepts. The ack of a claim that its node has left is of no use to anyone. */
#define HEAR(x,v) HEARD(x,v,0) HEAR_PAUSED(x,v)
#define HEARD(x,v,paused) \
  :: d_step { sent[x] && ACCEPTS(v,x) -> \
       PROMISE_PAUSE(x,v,paused) \
       voter[v].promise = x; voter[v].ends = L; \
       if :: claim[NODE(x)] == x -> ANSWER(NODE(x),v) :: else fi; \
       SORT }
#if AT_ONCE
#define ANSWER(h,v) voter[v].worth[SLOT(h,v)] = L; NAME_PAUSED(h,v) COUNT(h)
#else
#define ANSWER(h,v) voter[v].ack[h] = L
#endif

#ifdef NO_SEND_TIME
#define WORTH(h,v) L
#else
#define WORTH(h,v) (voter[v].ack[h] - 1)
#endif
/* The node hears an ack of its claim: valid_until is the M-th newest, and never moves back. */
#define HEAR_ACK(h,v) \
  :: d_step { voter[v].ack[h] != 0 -> \
       if :: voter[v].worth[h] < voter[v].ack[h] -> voter[v].worth[h] = voter[v].ack[h] :: else fi; \
       COUNT(h) SORT }
#define COUNT(h) \
       for (i : 1 .. L) { \
         if :: MAJORITY_WORTH(h,i) -> held[h] = EPOCH(claim[h]); if :: valid[h] < i -> valid[h] = i :: else fi \
            :: else fi } i = 0;

/* The guard confirmed session and deadline: the engine is opened, or goes on under a higher epoch. */
#ifdef NO_EARNED
#define UNDER(h) EPOCH(claim[h])
#else
#define UNDER(h) held[h]
#endif
#define OPEN(h) \
  :: d_step { held[h] != 0 && valid[h] > 0 && !(writes[h] && newest == UNDER(h)) -> \
       assert(!writes[1-h]);           /* two writers */ \
       assert(UNDER(h) >= newest);     /* an older epoch after a newer one */ \
       writes[h] = 1; newest = UNDER(h) }

/* A session ends, by release, fence or death of its host: for ever, unless NO_SESSION lets the node open it again. */
#ifdef NO_SESSION
#define END(h) writes[h] = 0; gone = gone | (1 << (h*S + session[h]))
#else
#define END(h) writes[h] = 0; gone = gone | (1 << (h*S + session[h])); claim[h] = 0; valid[h] = 0; held[h] = 0; session[h]++; FORGET(h)
#endif
#define QUIT(h) :: d_step { claim[h] != 0 -> END(h); SORT }

/* A voter learns, from the session's own node in the instance that it was promised to, that the session has ended. Another
   instance, a second host with the node's id, does not have that session and may say so at any time, also while the first host
   writes: its word moves nothing, so with the rule it has no step. */
#ifdef NO_INSTANCE
#define SAID_TO_END(v) true
#else
#define SAID_TO_END(v) (gone & BIT(voter[v].promise))
#endif
#define HEAR_END(v) \
  :: d_step { voter[v].promise != 0 && SAID_TO_END(v) && !OVER(v) -> \
       voter[v].ends = 0; LOSE_PAUSE(v); SORT }

#ifdef NO_RECORD
#define RELOAD(v) voter[v].promise = 0; voter[v].ends = 0; LOSE_PAUSE(v)
#else
#define RELOAD(v) if :: voter[v].promise != 0 -> voter[v].ends = L; RELOAD_PAUSE(v) :: else fi
#endif
#define RESTART(v) :: d_step { restarts < RESTARTS && voter[v].blank == 0 -> restarts++; RELOAD(v); RELOAD_SET(v); SORT }

/* After a reboot the clock says nothing about the promise: the voter is silent for a length. */
#ifdef NO_BLANK
#define SILENCE 1
#else
#define SILENCE (L+1)
#endif
#define REBOOT(v) \
  :: d_step { reboots < REBOOTS -> reboots++; \
       voter[v].blank = SILENCE; voter[v].ends = 0; voter[v].folded = 0; SORT } \
  :: d_step { reboots < REBOOTS && restores < RESTORES -> reboots++; restores++; \
       voter[v].blank = SILENCE; voter[v].ends = 0; voter[v].folded = 0; \
       voter[v].promise = 0; LOSE_PAUSE(v); SORT }
#ifdef NO_RETURNED
#define CATCH_UP(v) skip
#else
#define CATCH_UP(v) voter[v].folded = log_epoch
#endif
#define RETURN(v) \
  :: d_step { voter[v].blank == 1 -> \
       LOOK; \
       if :: MAY_RETURN -> CATCH_UP(v); RETURN_SET(v); voter[v].blank = 0; OWE(v) :: else fi; \
       n = 0; t = 0; SORT }

/* Time passes. A guard has fenced before the tick that would make its engine late. */
#define FENCE(h) if :: writes[h] && valid[h] <= 1 -> END(h) :: else fi
#define DEC(a) if :: a > 0 -> a-- :: else fi
#define DEC_VALID(h) if :: valid[h] > 0 && valid[h] != FOREVER -> valid[h]-- :: else fi
#define TICK \
  :: d_step { true -> FENCE(0); FENCE(1); DEC_VALID(0); DEC_VALID(1); \
       for (i : 0 .. V-1) { \
         DEC(voter[i].ends); if :: voter[i].blank > 1 -> voter[i].blank-- :: else fi; \
         DEC_ACK(voter[i].ack[0]); DEC_ACK(voter[i].ack[1]); \
         for (n : 0 .. SLOTS-1) { DEC(voter[i].worth[n]) } TICK_SET(i) } \
       i = 0; n = 0; SORT }

/* Power loss on a majority of the log's servers: the newest decisions are gone. Whoever folded them folds anew; the voters' records stay. */
#define LOSE_TAIL :: d_step { losses < LOSSES && log_epoch > 0 -> losses++; log_epoch-- }
#ifdef NO_SEND_TIME
#define DEC_ACK(a) skip
#else
#define DEC_ACK(a) DEC(a)
#endif

/* ---- pause: a promise without an end */
#if PAUSES > 0
#if REBOOTS > 0
#define SEND_RESUMED(h) decided_at[claim[h]] = pause_node[h]; NAME_RESUMED(h)
#else
#define SEND_RESUMED(h) NAME_RESUMED(h)   /* a voter that was blank is the only one to look at decisions and completions */
#endif
#define NAME_RESUMED(h) sent_names[claim[h]] = pause_node[h] - (pause_node[h] % 2);
#ifdef NO_RESUME_NAMED
#define RESUMES(x,v) (pause_log > voter[v].endless)
#else
#define RESUMES(x,v) (sent_names[x] > voter[v].endless)
#endif
/* A new promise has no end if its voter has folded a Paused that stands: it may have, or not yet. */
#define HEAR_PAUSED(x,v) HEARD(x,v,(pause_log % 2) * pause_log)
#ifdef NO_PAUSE_KEPT
#define SAME_SESSION(x,v) (voter[v].promise == x)
#else
#define SAME_SESSION(x,v) (voter[v].promise != 0 && SID(voter[v].promise) == SID(x))   /* also under a raised epoch */
#endif
#define PROMISE_PAUSE(x,v,paused) \
  if :: SAME_SESSION(x,v) && voter[v].endless != 0 && RESUMES(x,v) -> voter[v].endless = 0; RESUMED_SET(v) \
     :: else -> if :: !SAME_SESSION(x,v) -> voter[v].endless = 0 :: else fi fi; \
  if :: voter[v].promise != x && voter[v].endless < paused -> voter[v].endless = paused :: else fi;
#define NAME_PAUSED(h,v) if :: voter[v].named[SLOT(h,v)] < voter[v].endless -> voter[v].named[SLOT(h,v)] = voter[v].endless :: else fi;
#define UNLEASH(h) \
  :: d_step { pause_node[h] % 2 == 1 && valid[h] > 0 && valid[h] != FOREVER && MAJORITY_NAMED(h,pause_node[h]) -> valid[h] = FOREVER }
#define LOSE_PAUSE(v) voter[v].endless = 0
#ifdef NO_PAUSE_RECORD
#define RELOAD_PAUSE(v) voter[v].endless = 0
#else
#define RELOAD_PAUSE(v) skip
#endif
/* What a voter may do that was blank, when its record cannot be trusted to show what it promised under a Paused. Of the
   claims in the log whose sessions live, c is the newest completed one. If no Paused stood at its decision or came since,
   nobody can hold without an end. Otherwise c, or what its session was raised to since, is owed a promise without an end, which a
   beat of c that names a later Resumed ends; and while a decision not older than c is open for another session, the log does not
   show who holds: the voter stays silent. */
#define LIVE(c) (sent[c] && !(gone & BIT(c)))
#ifdef NO_PAUSE_OWED
#define MAY_RETURN true
#define OWE(v) skip
#define LOOK skip
#else
#define LOOK \
  for (i : 1 .. C) { if :: LIVE(i) && completed[i] -> n = i :: else fi } \
  for (i : 1 .. C) { if :: LIVE(i) && !completed[i] && (n == 0 || (EPOCH(i) >= EPOCH(n) && SID(i) != SID(n))) -> t = 1 :: else fi } i = 0
#define NEVER_PAUSED (pause_log == 0 || (n != 0 && decided_at[n] == pause_log && pause_log % 2 == 0))
#define MAY_RETURN (NEVER_PAUSED || t == 0)
#define OWE(v) \
  if :: !NEVER_PAUSED && n != 0 && voter[v].endless == 0 -> \
        for (i : 1 .. C) { if :: LIVE(i) && SID(i) == SID(n) -> n = i :: else fi } i = 0; \
        if :: voter[v].promise == 0 || EPOCH(n) >= EPOCH(voter[v].promise) -> voter[v].promise = n; voter[v].endless = NEWEST_PAUSED :: else fi \
     :: else fi
#endif
#define PAUSE_EVENT :: d_step { pause_log < PAUSES -> pause_log++ }
#define PAUSE_FOLDS(h) \
  :: d_step { pause_node[h] < pause_log -> pause_node[h]++; \
       if :: pause_node[h] % 2 == 0 && valid[h] == FOREVER -> valid[h] = L :: else fi; \
       if :: claim[h] != 0 -> NAME_RESUMED(h) :: else fi; \
       for (i : 0 .. V-1) { FORGET_NAMED(i,h) } i = 0; SORT }
/* A voter folds the newest Paused: its promise, if it has one, has no end from now on. */
#define PAUSE_HEARD(v) \
  :: d_step { NEWEST_PAUSED != 0 && voter[v].blank == 0 && !OVER(v) -> voter[v].endless = NEWEST_PAUSED; SORT }
#if REBOOTS > 0
#define COMPLETE(h) :: d_step { writes[h] && held[h] == EPOCH(claim[h]) && !completed[claim[h]] -> completed[claim[h]] = 1 }
#else
#define COMPLETE(h)
#endif
#else
#define NAME_PAUSED(h,v)
#define SEND_RESUMED(h)
#define HEAR_PAUSED(x,v)
#define PROMISE_PAUSE(x,v,paused)
#define LOSE_PAUSE(v) skip
#define RELOAD_PAUSE(v) skip
#define MAY_RETURN true
#define OWE(v) skip
#define LOOK skip
#endif

/* ---- a step for each claim */
#define CLAIMS2(F,v) F(1,v) F(2,v)
#if C > 2
#define CLAIMS4(F,v) CLAIMS2(F,v) F(3,v) F(4,v)
#else
#define CLAIMS4(F,v) CLAIMS2(F,v)
#endif
#if C > 4
#define CLAIMS6(F,v) CLAIMS4(F,v) F(5,v) F(6,v)
#else
#define CLAIMS6(F,v) CLAIMS4(F,v)
#endif
#if C > 6
#define CLAIMS(F,v) CLAIMS6(F,v) F(7,v) F(8,v)
#else
#define CLAIMS(F,v) CLAIMS6(F,v)
#endif
