/* What server.c (threads, listeners) and conn.c (one connection) share. All of it belongs to the network
 * thread but what is marked. */
#ifndef FLOE_SERVER_INT_H
#define FLOE_SERVER_INT_H

#include <floe/net/server.h>
#include <pthread.h>
#include <uv.h>

#define SCRATCH (64 * 1024)
#define PIPELINE_MAX 64           /* requests inside, a connection */
#define WRITE_HIGH (1024 * 1024)  /* bytes of answers waiting: the socket is read no more */
#define FORCED_MAX 4096           /* frames up to this size pass a full budget: heartbeats, metadata */
#define PROGRESSIVE (1024 * 1024) /* larger frames are charged as their bytes come, in such steps */
#define RESUME_US 5000            /* how often paused connections look for room */
#define OVERDRAFT_US 200000       /* no room for so long: one connection finishes its frame */
#define STALLED_MS 60000          /* a frame without a new byte for so long closes its connection */
#define REPLY_MAX ((size_t)256 << 20)
#define LOG_PER_S 20

struct net_thread {
    struct floe_server *s;
    struct floe_loop_uv *uv;
    struct floe_loop *loop;
    pthread_t thread;
    bool started;
    struct floe_list conns;
    struct floe_list paused; /* conns that wait for room */
    struct floe_timer resume, sweep;
    uint64_t paused_since_us;
    struct floe_task open, stop;
    uv_poll_t *polls; /* thread 0: one a listener */
    bool accepting, stopping;
    uint32_t log_left;
    uint8_t scratch[SCRATCH];
};
struct floe_server {
    struct floe_server_config cfg;
    struct floe_listen *listens;
    int *fds;
    struct net_thread *threads;
    uint32_t next_thread; /* thread 0 */
    atomic_uint open_conns;
    atomic_flag overdraft; /* a connection is over the budget */
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
    uint32_t inside;           /* requests on that list */
    struct floe_task gone_task;
    struct floe_task back_task;
    bool for_peers, reading, closing, closed, gone_posted, gone_back, overdraft;
    uint8_t head[4];
    uint32_t head_n;
    struct floe_buf *frame; /* being filled */
    size_t frame_len, charged;
    uint8_t *stash; /* bytes that were read and could not be taken yet */
    size_t stash_n, stash_at;
    bool last_large;
    uint32_t writes;
    size_t write_bytes;
    uint64_t active_us;
};

/* conn.c */
void floe_conn_open(struct net_thread *t, int fd, uint32_t listener);
void floe_conn_close(struct floe_conn *c);
void floe_conn_resume(struct floe_conn *c); /* tries to go on reading */
void floe_conn_sweep(struct floe_conn *c, uint64_t now_us);
/* reply.c */
void floe_conn_flush(struct floe_conn *c); /* sends the answers that stand at the head */
void floe_conn_returned(struct floe_task *task);
void floe_conn_drop_requests(struct floe_conn *c);
/* server.c */
void floe_server_conn_freed(struct net_thread *t);

#endif
