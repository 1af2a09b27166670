/*
 * Recall, as a model for spin: how the master lends connections, takes idle ones back from a worker
 * that is in the app, and finds out after a death what became of each. It follows
 * prefork/wire/recall.py, prefork/worker/sync.py and engine.py, and prefork/master/lending.py.
 *
 * Any process may take no step for as long as others take theirs, as if it were stopped or slow. A
 * worker may be killed between any two steps; so may the master, with MASTER_DIES. What nobody else
 * can see the middle of, as it takes the gate, is one step. Channels keep their order and take what
 * is sent: the real ones keep in the sender what the kernel has no room for.
 *
 * Checked: a worker touches no connection but those that are lent to it at that moment, so none is
 * read by two; the master hears of no loan that it does not know; no process waits for ever; and when
 * nothing can happen any more, each client has got an answer or the end of its connection, and each
 * id is in use or free. As the counts below bound all that can happen, that comes in every run.
 *
 * What other capital words leave out or put off makes mutants, each of which must fail: they are
 * told in tests/model/test_recall.py.
 */

#ifndef DEATHS
#define DEATHS 1        /* of workers */
#endif
#ifndef REQUESTS
#define REQUESTS 2      /* of the first client; the other has one less */
#endif
#ifndef RECALLS
#define RECALLS 2       /* times that idle loans are taken back */
#endif
#ifndef PARTINGS
#define PARTINGS 1      /* idle loans that workers end or return */
#endif
#define WORKERS 2
#define CONNECTIONS 2
#define LOANS 3
#define NOBODY 255

mtype = { UNREAD, IDLE, BUSY, RESPONDING, CLOSED, RECALLED, RETURNED }  /* states of a loan */
mtype = { closed, returned, released }                                  /* reports */
mtype = { OPEN, WORKERS_OWN, MASTERS }                                  /* who has a gate */
mtype = { ALIVE, KILLED, DEAD }                                         /* DEAD: to be reaped */

/* The board, the gates and the channels. */
mtype state[LOANS];
bool recalled[WORKERS];                                 /* the flag of a worker's row */
mtype gate[WORKERS] = WORKERS_OWN;
chan lending[WORKERS] = [LOANS] of { byte, byte };      /* loan, connection */
chan report[WORKERS] = [2 * LOANS] of { mtype, byte };  /* what, loan */

/* The kernel's. */
bool has_data[CONNECTIONS];     /* a request that nobody has read */
bool gone[CONNECTIONS];         /* it has come to its end */
mtype life[WORKERS] = ALIVE;
bool master_alive = true;

/* The master's books. */
byte borrower[LOANS] = NOBODY;          /* whose loan it is, also when it was taken back */
byte lent[LOANS];                       /* which connection */
byte loan_of[CONNECTIONS] = NOBODY;     /* by which loan it is lent: parked if by none */

/* What only the clients, and the checks, know. */
bool awaiting[CONNECTIONS];     /* the client has asked, and has no answer */
byte recalls, partings;

#define IS_PARKED(c) (loan_of[c] == NOBODY && !gone[c])
#define IS_TAKEN_BACK(l) (borrower[l] != NOBODY && loan_of[lent[l]] != l)
/* An orphan may also have what the dead master was about to take back. */
#define IS_LENT_TO(w, l, c) \
    (borrower[l] == w && lent[l] == c && !gone[c] && \
     (loan_of[c] == l || (!master_alive && loan_of[c] == NOBODY)))

/* A worker. `held` has the connections that it has borrowed, by loan. */

inline take_the_gate() {
#ifdef WAITS_FOR_THE_DEAD
    atomic { gate[w] == OPEN -> gate[w] = WORKERS_OWN }
#else
    atomic { (gate[w] == OPEN || !master_alive) -> gate[w] = WORKERS_OWN }
#endif
}

inline drop(l) {
    held[l] = NOBODY;
#ifndef NO_WORD
    report[w] ! released, l
#endif
}

inline obey_recall() {
    atomic {
        recalled[w] = false;
        for (i : 0 .. LOANS - 1) {
            if
            :: held[i] != NOBODY && state[i] == RECALLED -> drop(i)
            :: else
            fi
        };
        i = 0
    }
}

/* Read from a connection, with the gate in hand. The app runs without it, and its response is out
 * before it is taken again. */
inline serve() {
    assert(IS_LENT_TO(w, l, held[l]));
#ifndef BUSY_AFTER_READ
    state[l] = BUSY;
#endif
    if
    :: atomic { has_data[held[l]] -> has_data[held[l]] = false };
#ifdef BUSY_AFTER_READ
        state[l] = BUSY;
#endif
        gate[w] = OPEN;
        state[l] = RESPONDING;
        awaiting[held[l]] = false;
        take_the_gate();
#ifndef LATE_OBEDIENCE
        if
        :: recalled[w] -> obey_recall()
        :: else
        fi
#endif
    :: else /* there was nothing to read yet */
    fi;
    atomic { state[l] = IDLE; l = 0 }
}

/* End an idle loan, or return it: to be reported later, maybe after another request. */
inline part_with(l, mark, word) {
    partings++;
    held[l] = NOBODY;
#ifndef NO_MARK
    state[l] = mark;
#endif
    report[w] ! word, l
}

#define HAS_EVENT(l) (held[l] != NOBODY && has_data[held[l]])
#define MAY_PART_WITH(l) (partings < PARTINGS && held[l] != NOBODY && state[l] == IDLE)

proctype Worker(byte w) {
    byte held[LOANS] = NOBODY;
    byte i, l;
end_new:
    {
end_idle:
        do
        :: atomic { lending[w] ? l, i -> held[l] = i; i = 0 };
            if
#ifndef BLIND_RECEIPT
            :: state[l] == RECALLED -> atomic { drop(l); l = 0 }
#endif
            :: else -> serve()
            fi
        :: atomic { HAS_EVENT(0) -> l = 0 }; serve()
        :: atomic { HAS_EVENT(1) -> l = 1 }; serve()
        :: atomic { HAS_EVENT(2) -> l = 2 }; serve()
        :: atomic { MAY_PART_WITH(0) -> part_with(0, CLOSED, closed) }
        :: atomic { MAY_PART_WITH(1) -> part_with(1, CLOSED, closed) }
        :: atomic { MAY_PART_WITH(2) -> part_with(2, CLOSED, closed) }
        :: atomic { MAY_PART_WITH(0) -> part_with(0, RETURNED, returned) }
        :: atomic { MAY_PART_WITH(1) -> part_with(1, RETURNED, returned) }
        :: atomic { MAY_PART_WITH(2) -> part_with(2, RETURNED, returned) }
#ifdef LATE_OBEDIENCE
        :: recalled[w] -> obey_recall()
#endif
        od
    } unless { life[w] == KILLED };
    atomic {
        for (i : 0 .. LOANS - 1) { held[i] = NOBODY };
        i = 0;
        l = 0;
        life[w] = DEAD
    };
end_dead:
    life[w] != DEAD -> goto end_new     /* the next worker of this slot */
}

/* The master. */

inline free(l) {
    borrower[l] = NOBODY;
    lent[l] = 0
}

inline park(c) {
    loan_of[c] = NOBODY
}

inline end(c) {
    loan_of[c] = NOBODY;
    gone[c] = true
}

#ifdef REUSE_AT_ONCE
#define IS_FREE(l) (borrower[l] == NOBODY || IS_TAKEN_BACK(l))
#else
#define IS_FREE(l) (borrower[l] == NOBODY)
#endif
#define AN_ID_IS_FREE (IS_FREE(0) || IS_FREE(1) || IS_FREE(2))

inline lend(c, w) {
    l = 0;
    do
    :: !IS_FREE(l) -> l++
    :: else -> break
    od;
    borrower[l] = w;
    lent[l] = c;
    loan_of[c] = l;
    state[l] = UNREAD;
    lending[w] ! l, c;
    l = 0
}

inline hear(w) {
    assert(borrower[l] == w && IS_TAKEN_BACK(l) == (what == released));
    if
    :: what == closed -> end(lent[l])
    :: what == returned -> park(lent[l])
    :: what == released
    fi;
    free(l);
    l = 0
}

#define IS_AT_REST(w, l) \
    (borrower[l] == w && !IS_TAKEN_BACK(l) && (state[l] == UNREAD || state[l] == IDLE))

/* What is at rest, or a part of it: a tick takes back no more than so many. */
inline take_back(w) {
    atomic {
        recalls++;
        for (l : 0 .. LOANS - 1) {
            if
            :: IS_AT_REST(w, l) -> state[l] = RECALLED; park(lent[l])
            :: true
            fi
        };
        l = 0
    };
    recalled[w] = true;
#ifndef NO_GATE
    gate[w] = OPEN
#endif
}

/* By what the board says. What the worker had not sent of its reports is lost. */
inline bury(w) {
    atomic {
        do
        :: report[w] ? what, l -> hear(w)
        :: break
        od;
        do
        :: report[w] ? what, l
        :: lending[w] ? l, _
        :: empty(report[w]) && empty(lending[w]) -> break
        od;
        for (l : 0 .. LOANS - 1) {
            if
            :: borrower[l] == w && !IS_TAKEN_BACK(l) ->
                if
#ifdef FORGETFUL_BURIAL
                :: state[l] == UNREAD
#else
                :: state[l] == UNREAD -> park(lent[l])
#endif
                :: state[l] == IDLE || state[l] == RETURNED -> park(lent[l])
                /* Answered with 502; reset; shut down. */
                :: state[l] == BUSY || state[l] == RESPONDING || state[l] == CLOSED -> end(lent[l])
                fi
            :: else
            fi;
            if
            :: borrower[l] == w -> free(l)
            :: else
            fi
        };
        l = 0;
        what = 0;
        recalled[w] = false;
        gate[w] = WORKERS_OWN;
        life[w] = ALIVE
    }
}

#define WANTS_TO_BE_LENT(c) (IS_PARKED(c) && has_data[c] && AN_ID_IS_FREE)
#define MAY_TAKE_BACK(w) \
    (recalls < RECALLS && (IS_AT_REST(w, 0) || IS_AT_REST(w, 1) || IS_AT_REST(w, 2)))

proctype Master() {
    byte l;
    mtype what;
    {
        /* New connections are lent as soon as they are accepted. */
        atomic {
            lend(0, 0);
            if
            :: lend(1, 0)
            :: lend(1, 1)
            fi
        };
end_idle:
        do
        :: atomic { report[0] ? what, l -> hear(0); what = 0 }
        :: atomic { report[1] ? what, l -> hear(1); what = 0 }
        :: atomic { WANTS_TO_BE_LENT(0) -> lend(0, 0) }
        :: atomic { WANTS_TO_BE_LENT(0) -> lend(0, 1) }
        :: atomic { WANTS_TO_BE_LENT(1) -> lend(1, 0) }
        :: atomic { WANTS_TO_BE_LENT(1) -> lend(1, 1) }
        :: life[0] == DEAD -> bury(0)
        :: life[1] == DEAD -> bury(1)
#ifdef NO_GATE
        :: MAY_TAKE_BACK(0) -> take_back(0)
        :: MAY_TAKE_BACK(1) -> take_back(1)
#else
        :: atomic { MAY_TAKE_BACK(0) && gate[0] == OPEN -> gate[0] = MASTERS }; take_back(0)
        :: atomic { MAY_TAKE_BACK(1) && gate[1] == OPEN -> gate[1] = MASTERS }; take_back(1)
#endif
        od
    } unless { !master_alive }
}

/* The rest of the world. */

proctype Client(byte c) {
    byte asked = c;
end_idle:
    do
    :: atomic {
            asked < REQUESTS && !awaiting[c] && !gone[c] ->
            asked++;
            awaiting[c] = true;
            has_data[c] = true
        }
    od
}

proctype Fate() {
    byte deaths;
    do
    :: atomic { deaths < DEATHS && life[0] == ALIVE -> deaths++; life[0] = KILLED }
    :: atomic { deaths < DEATHS && life[1] == ALIVE -> deaths++; life[1] = KILLED }
    :: break
    od;
#ifdef MASTER_DIES
    master_alive = false
#endif
}

init {
    byte i;
    atomic {
        for (i : 0 .. WORKERS - 1) { run Worker(i) };
        for (i : 0 .. CONNECTIONS - 1) { run Client(i) };
        run Master();
        run Fate()
    };
    timeout;    /* nothing can happen any more */
    for (i : 0 .. CONNECTIONS - 1) {
        assert(!master_alive || !awaiting[i] || gone[i])
    };
    for (i : 0 .. LOANS - 1) {
        assert(!master_alive || !IS_TAKEN_BACK(i))
    }
}
