/* What server.c (threads, listeners), conn.c (life of a connection), frame.c (frames in) and reply.c (answers
 * out) share. All of it belongs to the network thread but what is marked. */
#ifndef FLOE_SERVER_INT_H
#define FLOE_SERVER_INT_H

#include <floe/net/server.h>
#include <pthread.h>
#include <uv.h>

#define SCRATCH (64 * 1024)
#define SCRATCH_SHORT 4096      /* read at once where the next frame is large, or memory is short */
#define READ_STEP (1024 * 1024) /* of a frame: room is taken for so much, what did not come is given back */
#define PIPELINE_MAX 64         /* requests inside, a connection */
#define FEW_MAX 4 /* of these: such as have answers of any size (all but Produce and brokers') */
#define WRITE_HIGH (1024 * 1024) /* bytes of answers waiting: the socket is read no more */
#define FORCED_MAX 4096          /* a connection's only request passes a full budget up to this size */
#define DECODED_FREE (64 * 1024) /* what a decoded request takes beside its frame, and is not counted */
#define RESUME_US 5000           /* how often paused connections look for room */
#define OVERDRAFT_US 200000      /* no room for so long: one connection finishes its frame */
#define OVERDRAFT_IDLE_MS 2000   /* the one that may, and sends nothing for so long, is closed */
#define OVERDRAFT_MAX_MS 30000   /* or is not done after so long */
#define STALLED_MS 60000         /* a frame without a new byte for so long closes its connection, */
#define STALLED_SHORT_MS 5000    /* ... and for so long while others wait for memory */
#define OWN_LITTLE (64 * 1024)   /* of its answers in the memory budget: who keeps no more is not hurried */
#define REPLY_MAX ((size_t)256 << 20)
#define LOG_PER_S 20

struct net_thread {
    struct floe_server *s;
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    pthread_t thread;
    bool started;
    struct floe_list conns;
    struct floe_list paused; /* conns that wait for room in the budget */
    struct floe_timer resume, sweep;
    uint64_t paused_since_us; /* since when none of them went on */
    struct floe_task open, stop;
    uv_poll_t *polls; /* thread 0: one a listener */
    uint32_t poll_count;
    bool accepting, stopping;
    uint32_t log_left;
    uint8_t scratch[SCRATCH];
};
struct floe_server {
    struct floe_server_config cfg;
    int *fds;
    struct net_thread *threads;
    uint32_t next_thread; /* thread 0 */
    atomic_uint open_conns;
    atomic_uint waiting;    /* connections on `paused` lists */
    _Atomic size_t partial; /* bytes of frames that are not whole yet, as charged */
    atomic_flag overdraft;  /* a connection is over the budget */
    struct floe_server_stats stats;
    void (*closed)(void *user);
    void *closed_user;
    atomic_uint threads_left;
    struct floe_task closed_task;
};
struct floe_conn {
    uv_tcp_t tcp;
    struct net_thread *t;
    struct floe_list link, paused_link;
    struct floe_client client; /* the core's, once the first request was posted */
    struct floe_list requests; /* in order of arrival */
    uint32_t inside, few;      /* requests on that list; of them those that FEW_MAX counts */
    struct floe_task gone_task;
    struct floe_task back_task;
    bool for_peers, reading, closing, closed, gone_posted, gone_back, overdraft;
    bool ending;              /* what comes is dropped; closes when what is inside is answered */
    bool known;               /* to the core: a request was posted */
    bool broker;              /* another broker: never muted, leases depend on it */
    struct floe_timer unmute; /* armed: muted */
    uint8_t head[4];
    uint32_t head_n;
    struct floe_buf *frame; /* being filled */
    size_t frame_len;
    size_t charged;  /* of the frame: its bytes that have come; a small frame's buffer is charged itself */
    size_t reserved; /* taken for the read that runs now */
    uint8_t *stash;  /* bytes that were read and could not be taken yet */
    size_t stash_n;
    bool last_large;
    size_t write_bytes, write_left; /* handed to libuv; of that not sent when last looked at */
    size_t own_bytes;               /* of write_bytes: those in the memory budget */
    size_t held; /* of what answers keep in memory by the handlers' account, not written yet */
    struct floe_budget *held_budget;
    uint64_t muted_us;
    uint64_t active_us, overdraft_us, write_us; /* write_us: when the last of an answer was taken */
};

/* conn.c */
void floe_conn_open(struct net_thread *t, int fd, uint32_t listener);
void floe_conn_close(struct floe_conn *c);
void floe_conn_end(struct floe_conn *c);   /* a bad frame: those before it are answered, then it closes */
void floe_conn_ended(struct floe_conn *c); /* closes it if that is done */
void floe_conn_sweep(struct floe_conn *c, uint64_t now_us);
void floe_conn_complain(struct floe_conn *c, const char *api, const char *reason);
void floe_conn_free(struct floe_conn *c);
void floe_conn_mute(struct floe_conn *c, uint32_t ms);
/* frame.c */
void floe_conn_resume(struct floe_conn *c); /* goes on reading where that is allowed */
void floe_conn_drop_frame(struct floe_conn *c);
void floe_conn_unpause(struct floe_conn *c);
/* reply.c */
void floe_conn_flush(struct floe_conn *c); /* sends the answers that stand at the head */
void floe_conn_returned(struct floe_task *task);
void floe_conn_drop_requests(struct floe_conn *c);
/* server.c */
void floe_server_conn_freed(struct net_thread *t);

#endif
