/* Several brokers' lease modules in one simulated world, each with a stand-in for the log, and a checker that
 * watches every write to the bucket.
 *
 * The stand-in adopts what it is told to (it reads the lease again first, as the log does), writes segments
 * when told to, and ends cleanly with its own seal. The checker fails the test at the first broken promise: a
 * lease's leader epoch that does not rise by one with its holder, a span closed elsewhere than at the seal, a
 * chain with two seals or a hole, an `ended` record that is changed or disagrees, two live sessions serving
 * one partition. */
#ifndef FLOE_TEST_LEASE_LRIG_H
#define FLOE_TEST_LEASE_LRIG_H

#include "floe_cmocka.h"

#include <floe/kafka/codec.h>
#include <floe/lease.h>
#include <floe/sim.h>

enum { LRIG_BROKERS = 6, LRIG_PARTS = 12000 };

struct lrig_part {
    struct floe_tp tp;
    int32_t epoch; /* -1: not served */
    uint32_t adopts;
    bool handing, stopping; /* appends wait; that they do is not told yet */
};
struct lrig_broker {
    struct lrig *rig;
    char name[16], addr[32];
    struct floe_sim_node *node;
    struct floe_sim_disk *disk;
    struct floe_store *store;
    struct floe_table *table;
    struct floe_tier *tier;
    struct floe_peers *peers;
    struct floe_lease *lease;
    bool up, started, start_failed, open, alive, ended, closed, fatal, vanished;
    bool close_on_start, close_on_change, destroy_on_close;
    struct floe_error start_err, end_err;
    char last_fatal[320];
    struct floe_session_name session;
    uint64_t next, committed;
    uint32_t opens, overs, lapses, changes, catalog_calls, notes, adopt_calls;
    struct lrig_part *parts;
    uint32_t part_count;
    struct floe_list adopting, writes; /* under way */
    /* planned moves (lease_rig_moves.c) */
    struct floe_list ckpts; /* wanted and not committed */
    uint64_t ckpt_us;
    uint32_t resumed;
    uint32_t ahead_asks, ahead_parts, ahead_waits; /* told to read ahead; partitions then, and when appends
                                                      had stopped; so many times it has not read them yet */
    uint32_t ahead_stopped;
    bool hold_stop, drained; /* hold_stop: a flush that does not end */
    int32_t newest;          /* format that it reads, when it starts the next time; 0: the program's */
};
struct lrig {
    struct floe_sim *sim;
    struct floe_sim_bucket *bucket;
    struct floe_sim_net *net;
    struct floe_uuid cluster;
    uint32_t lease_ms, shards;
    bool verbose;
    bool moves; /* brokers that start from now on move partitions */
    struct lrig_broker b[LRIG_BROKERS];
    uint64_t faults;                                              /* that hit */
    uint64_t lease_puts, table_puts, table_gets, lists, requests; /* at the bucket, since lrig_count_reset */
    struct lrig_watch *watch;
};

void lrig_init(struct lrig *r, uint64_t seed, uint32_t lease_ms);
void lrig_fini(struct lrig *r);
/* The record `cluster`, which is there before the first broker opens its leases. */
void lrig_put_cluster(struct lrig *r, int32_t format, int32_t next);
/* A broker's process starts: a new node over the same disk and address. */
void lrig_boot(struct lrig *r, int i);
void lrig_boot_wait(struct lrig *r, int i); /* and it has started */
/* SIGKILL: nothing of it runs any more, its port refuses. */
void lrig_kill(struct lrig *r, int i);
/* The machine goes: nobody refuses, nobody answers. */
void lrig_vanish(struct lrig *r, int i);
void lrig_reap(struct lrig *r, int i); /* frees what a node that killed itself leaves */
void lrig_wipe(struct lrig *r, int i); /* its disk too */
/* The stand-in's clean end: own seal, floe_lease_end, close. */
void lrig_end_begin(struct lrig *r, int i); /* only the seal and floe_lease_end */
void lrig_end(struct lrig *r, int i);
void lrig_run_ms(struct lrig *r, uint64_t ms);
bool lrig_until(struct lrig *r, bool (*stop)(struct lrig *), uint64_t ms);

/* Creates leases of partitions [0, n) of topic number `topic` by broker i, and waits for the answer. */
enum floe_err lrig_create(struct lrig *r, int i, uint64_t topic, int32_t n);
struct floe_tp lrig_tp(uint64_t topic, int32_t index);
/* Puts the broker's next segment; the answer is taken when it comes. */
void lrig_write(struct lrig *r, int i);
/* The bytes of a chain object (one reference), and one put behind everybody's back. */
struct floe_buf *lrig_object(struct lrig *r, const struct floe_session_name *session, uint64_t seq,
                             bool seal);
void lrig_place(struct lrig *r, const struct floe_session_name *session, uint64_t seq, bool seal);
/* How many partitions the broker serves now. */
uint32_t lrig_serves(struct lrig *r, int i);
/* Partitions of the topic that exactly one living broker serves with an alive session. */
uint32_t lrig_served(struct lrig *r, uint64_t topic, int32_t n);
int lrig_holder(struct lrig *r, uint64_t topic, int32_t index); /* broker, -1: nobody */
bool lrig_fault_hit(struct lrig *r);
void lrig_count_reset(struct lrig *r);
/* Reads the whole bucket: chains dense, one seal each, ended records agree, entries well formed. */
void lrig_check(struct lrig *r);

/* Scale-in: hands everything over; b->drained when that is done. */
void lrig_drain(struct lrig *r, int i, uint64_t limit_ms);

/* lease_rig_moves.c and lease_rig.c for each other */
struct lrig_part *lrig_part_of(struct lrig_broker *b, const struct floe_tp *tp);
int32_t lrig_read_ahead(struct lrig_broker *b, const struct floe_kafka_PeerMoveAheadRequest *rq);
void lrig_move_hooks(struct floe_lease_hooks *h);
void lrig_committed(struct lrig_broker *b); /* something was; or hold_stop ended */
void lrig_forget_moves(struct lrig_broker *b);

/* lease_rig_check.c, for the others */
/* What the table says now. */
bool lrig_lease_names(struct lrig *r, const struct floe_session_name *s, const struct floe_tp *tp,
                      int32_t epoch);
void lrig_watch_start(struct lrig *r);
void lrig_watch_stop(struct lrig *r);
bool lrig_seal_at(struct lrig *r, const struct floe_session_name *s, uint64_t seq);
void lrig_check_single(struct lrig *r, struct lrig_broker *b, const struct floe_tp *tp);

#endif
