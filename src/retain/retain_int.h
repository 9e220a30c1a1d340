/* What the files of the garbage collector share. */
#ifndef FLOE_RETAIN_INT_H
#define FLOE_RETAIN_INT_H

#include <floe/retain.h>

#include <floe/base/list.h>
#include <floe/base/log.h>
#include <floe/base/map.h>

#define RETAIN_RUNS_MAX 1024u   /* of one chain: about 60 KiB of its record */
#define RETAIN_GONE_MAX 65536u  /* ids of topics that no record names any more */
#define RETAIN_UNKNOWN_MAX 64u  /* of one pass */
#define RETAIN_GETS 4u          /* footers in flight */
#define RETAIN_TAIL_BYTES 8192u /* what of a segment's end is asked for first */
#define RETAIN_SWEEP_AGES 36u   /* a sweep of everything comes after so many ages */
#define RETAIN_GAP_LOOKS 32u    /* keys of a gap above the floor that are asked for */
#define RETAIN_NEVER UINT64_MAX

/* ---- runs.c: what pins the segments of a chain ------------------------------------------------------- */

enum retain_pin_kind {
    RETAIN_PIN_NONE,       /* nothing in it is wanted */
    RETAIN_PIN_TOPIC,      /* while the topic lives */
    RETAIN_PIN_CHECKPOINT, /* of a live topic: until no lease can name it; looked at by every sweep */
    RETAIN_PIN_MIXED,      /* not remembered, or not readable: looked at by every sweep */
    RETAIN_PIN_ALWAYS,     /* holds something that this version does not know */
};
struct retain_pin {
    enum retain_pin_kind kind;
    struct floe_uuid topic; /* TOPIC, CHECKPOINT */
};
struct retain_run { /* keys [from, to) */
    uint64_t from, to;
    struct retain_pin pin;
};
struct retain_runs {
    struct retain_run *v;
    uint32_t n, cap;
};
void retain_runs_fini(struct retain_runs *r);
/* Appends a key above all that are there. Past RETAIN_RUNS_MAX the last run becomes a mixed one. */
bool retain_runs_push(struct retain_runs *r, uint64_t from, uint64_t to, const struct retain_pin *pin);
/* The first run that ends behind the key, and the one that holds it; or null. */
const struct retain_run *retain_runs_from(const struct retain_runs *r, uint64_t seq);
const struct retain_run *retain_runs_find(const struct retain_runs *r, uint64_t seq);

/* The record `floor/<session>`. */
struct retain_record {
    uint64_t floor; /* keys below it that are missing held nothing wanted */
    uint64_t known; /* keys below it were looked at: those in no run hold nothing wanted */
    struct retain_runs runs;
};
void retain_floor_key(char out[FLOE_TABLE_KEY_MAX], const struct floe_session_name *s);
char *retain_record_encode(const struct retain_record *r); /* null: no memory */
/* FLOE_ECORRUPT names key and field; `out` untouched then. */
enum floe_err retain_record_decode(const char *key, const char *json, size_t n, struct retain_record *out,
                                   struct floe_error *err) FLOE_MUST_USE;

/* ---- chains ------------------------------------------------------------------------------------------- */

struct retain_chain {
    struct floe_map_node node;
    struct floe_list link; /* r->chains */
    struct floe_session_name session;
    bool loaded;  /* its records were read */
    bool ended;   /* ended/<session> is there, or a seal was found */
    uint64_t end; /* key of the last seal; ended only */
    char ended_version[FLOE_TABLE_VERSION_MAX],
        version[FLOE_TABLE_VERSION_MAX]; /* of its records; empty: absent */
    struct retain_record rec;
    uint64_t since_us; /* when this broker first saw it ended */
    uint64_t aged_us;  /* when the floor is old enough; RETAIN_NEVER: it is not durable everywhere yet */
    uint64_t due_us;   /* next pass */
    bool deep;         /* the next pass looks at what is not known and at pins that may have gone */
    uint8_t empty;     /* listings in a row that showed nothing but the seal, at most 2 */
    uint64_t empty_us; /* when the first of them ended */
    uint32_t fails;
    uint64_t gen; /* of the scan that saw it last */
};

/* ---- pass.c: one look at one chain --------------------------------------------------------------------- */

enum retain_verdict { RETAIN_SKIP, RETAIN_KEEP, RETAIN_LOOK, RETAIN_GARBAGE, RETAIN_ORPHAN, RETAIN_SEAL };
struct retain_item {
    uint64_t seq, size;
    enum retain_verdict verdict;
    struct retain_pin pin;
};
struct retain_get {
    struct floe_store_req req;
    struct floe_retain *r;
    struct retain_item *item;
    bool active;
};
struct retain_pass {
    struct retain_chain *c; /* null: none runs */
    bool past;              /* the node had gone on from the session when the pass began */
    bool deep, tail, live;  /* tail: the keys behind the end are being listed */
    uint64_t to;            /* keys below are looked at */
    uint64_t end;           /* of the chain, as it was when the pass began */
    uint64_t list_from;     /* where the next page begins */
    bool more;              /* another page follows */
    struct retain_runs runs;
    uint64_t garbage_end;              /* behind the last key that holds nothing wanted */
    uint64_t present, removed;         /* keys that stay, beside the seal; that went */
    uint64_t removed_bytes, del_bytes; /* of the page's removal */
    bool orphans_wait, garbage_waits;  /* something is there that has not aged */
    struct floe_uuid unknown[RETAIN_UNKNOWN_MAX];
    uint32_t unknown_n;
    struct retain_item items[2 * FLOE_STORE_LIST_MAX];
    uint32_t item_n, item_at, gap_n;
    struct retain_get get[RETAIN_GETS];
    uint32_t gets;
    struct floe_store_req store; /* LIST, DELETE */
    struct floe_table_req table;
    bool in_store, in_table;
    char *text;
    char (*keys)[FLOE_CHAIN_KEY_MAX];
    const char **key_ptrs;
    uint32_t key_n;
};
void retain_pass_start(struct floe_retain *r, struct retain_chain *c);
void retain_pass_fini(struct floe_retain *r);
/* pass.c: the rest of a pass, for its files. */
void retain_pass_failed(struct floe_retain *r, const struct floe_error *err);
void retain_list(struct floe_retain *r);
/* load.c: reads ended/ and floor/ of the pass's chain, then retain_pass_loaded. */
void retain_load(struct floe_retain *r);
void retain_pass_loaded(struct floe_retain *r);
/* finish.c: after the listing: topics that no cached record names, the floor, the records. */
void retain_finish(struct floe_retain *r);
/* look.c: reads the footers of the page's items that want it, then retain_page_done. */
void retain_look(struct floe_retain *r);
void retain_page_done(struct floe_retain *r);

/* wanted.c */
bool retain_topic_gone(struct floe_retain *r, const struct floe_uuid *id);
/* What pins the segment; `prefer` is taken where it does (long runs). */
enum floe_err retain_wanted(struct floe_retain *r, const struct floe_segment_footer *f,
                            const struct floe_uuid *prefer, struct retain_pin *out,
                            struct floe_error *err) FLOE_MUST_USE;

/* ---- retain.c --------------------------------------------------------------------------------------------
 */

struct retain_gone {
    struct floe_map_node node;
    struct floe_uuid id;
};
struct floe_retain {
    struct floe_retain_config cfg;
    struct floe_map by_session, gone;
    struct floe_list chains;
    struct floe_timer tick;
    uint64_t scan_due_us, sweep_due_us, gen, members;
    bool deep_ended, deep_own; /* after the next scan */
    bool any_gone;             /* some topic is, since the start */
    bool scanning, confirming;
    struct floe_table_req scan;
    char scan_prefix[8];
    struct retain_pass pass;
    struct floe_retain_stats stats;
};
uint64_t retain_now(struct floe_retain *r);
struct retain_chain *retain_chain_find(struct floe_retain *r, const struct floe_session_name *s);
void retain_chain_free(struct floe_retain *r, struct retain_chain *c);
/* Is it the open session's, as far as nobody has ended it? */
bool retain_is_live(struct floe_retain *r, const struct floe_session_name *s);
void retain_gone_add(struct floe_retain *r, const struct floe_uuid *id);
void retain_gone_drop(struct floe_retain *r); /* all of them */
/* Has the node gone on from that session, or ended it for good? Its end was recorded before. */
bool retain_is_past(struct floe_retain *r, const struct floe_session_name *s);
/* The pass is over: what is due next. */
void retain_next(struct floe_retain *r);

#endif
