/* Fetch sessions (KIP-227): a consumer names its partitions once; after that it sends only what changed, and
 * is answered with only what changed.
 *
 *  1. A session is found by its id alone, as in Apache Kafka; its epoch says which request comes next.
 *  2. Nothing depends on a session: a client whose session is not there begins again with a full fetch.
 *  3. Sessions and their bytes are bounded. A full cache takes a new one in the place of one unused for two
 * minutes, else of one older than that with fewer partitions; else the client gets no session (id 0) and
 * sends all each time.
 *  4. A request under way keeps its session's memory, also when that was taken out of the cache meanwhile.
 *
 * All of it is the core loop's. */
#ifndef FLOE_API_FETCH_SESSION_H
#define FLOE_API_FETCH_SESSION_H

#include <floe/base/buf.h>
#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/net/request.h>
#include <floe/os/loop.h>

#define FETCH_SESSION_STALE_US 120000000u /* unused for so long: anybody's to take */

struct fetch_sessions {
    struct floe_loop *loop;
    struct floe_map by_id;
    struct floe_list used; /* the one used last is the last */
    struct floe_list gone; /* out of the cache, but a request uses it */
    struct floe_budget bytes;
    uint32_t slots;
    uint64_t evictions;
};
void fetch_sessions_init(struct fetch_sessions *c, struct floe_loop *loop, uint32_t slots, size_t bytes);
void fetch_sessions_fini(struct fetch_sessions *c);
uint64_t fetch_sessions_partitions(const struct fetch_sessions *c); /* of all sessions in the cache */

/* What one fetch has to do with a session. */
struct fetch_session;
struct fetch_use {
    struct fetch_session *session; /* an incremental fetch's */
    int32_t epoch;                 /* the session's while this fetch is the newest */
    bool make;                     /* a full one that asks for a session */
};

/* Takes a request's session fields. *in becomes the request with all partitions of the session where it is
 * incremental, in its arena. Returns Kafka's code for the whole answer; then nothing is used. */
int16_t fetch_session_begin(struct fetch_sessions *c, struct floe_request *rq,
                            const struct floe_kafka_FetchRequest **in, struct fetch_use *use);
/* The answer to *in (partition by partition in its order) is ready: takes out what did not change, makes the
 * session that was asked for, sets session id and error. */
void fetch_session_answer(struct fetch_sessions *c, struct floe_request *rq,
                          const struct floe_kafka_FetchRequest *in, struct floe_kafka_FetchResponse *rs,
                          struct fetch_use *use);
/* There will be no answer. Does nothing after fetch_session_answer. */
void fetch_session_drop(struct fetch_sessions *c, struct fetch_use *use);

#endif
