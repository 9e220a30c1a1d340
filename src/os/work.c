#include <floe/base/assert.h>
#include <floe/base/str.h>
#include <floe/os/work.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 64 };

struct floe_work {
    struct floe_loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct floe_work_job *first, **last; /* the queue, oldest first */
    size_t pending, max;
    bool stop;
    unsigned threads;
    pthread_t thread[THREADS_MAX];
};

static void on_done(struct floe_task *t)
{
    struct floe_work_job *job = FLOE_CONTAINER(t, struct floe_work_job, task);
    job->done(job);
}

static void *worker(void *arg)
{
    struct floe_work *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->first == NULL && !w->stop)
            pthread_cond_wait(&w->wake, &w->lock);
        struct floe_work_job *job = w->first;
        if (job == NULL)
            break; /* stopped, and everything accepted has been started */
        w->first = job->next;
        if (w->first == NULL)
            w->last = &w->first;
        pthread_mutex_unlock(&w->lock);
        bool tell = job->done != NULL;
        job->run(job);
        /* Counted out before `done` can run, so that it can submit again. */
        pthread_mutex_lock(&w->lock);
        w->pending--;
        pthread_mutex_unlock(&w->lock);
        if (tell)
            floe_loop_post(w->loop, &job->task);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Signals are the main thread's: workers are started with all of them blocked. */
static int start(struct floe_work *w, const char *name, unsigned threads)
{
    sigset_t all, old;
    sigfillset(&all);
    int rc = pthread_sigmask(SIG_SETMASK, &all, &old);
    FLOE_ASSERT(rc == 0);
    while (rc == 0 && w->threads < threads) {
        rc = pthread_create(&w->thread[w->threads], NULL, worker, w);
        if (rc == 0) {
            char title[16];
            (void)floe_str_copy(title, sizeof title, name);
            (void)pthread_setname_np(w->thread[w->threads++], title);
        }
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

enum floe_err floe_work_create(struct floe_work **out, struct floe_loop *loop, const char *name,
                               unsigned threads, size_t max_jobs, struct floe_error *err)
{
    FLOE_ASSERT(threads >= 1 && threads <= THREADS_MAX && max_jobs >= 1);
    struct floe_work *w = calloc(1, sizeof *w);
    if (w == NULL)
        return floe_error_set(err, FLOE_ENOMEM, "out of memory for worker threads");
    w->loop = loop;
    w->max = max_jobs;
    w->last = &w->first;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    int rc = start(w, name, threads);
    if (rc != 0) {
        enum floe_err e = floe_error_set(err, FLOE_EIO, "cannot start worker thread %u of %u: %s",
                                         w->threads + 1, threads, strerror(rc));
        floe_work_destroy(&w);
        return e;
    }
    *out = w;
    return FLOE_OK;
}

enum floe_err floe_work_submit(struct floe_work *w, struct floe_work_job *job)
{
    FLOE_ASSERT(job->run != NULL);
    pthread_mutex_lock(&w->lock);
    FLOE_ASSERT(!w->stop);
    bool room = w->pending < w->max;
    if (room) {
        job->next = NULL;
        job->task = (struct floe_task){.fn = on_done};
        *w->last = job;
        w->last = &job->next;
        w->pending++;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    return room ? FLOE_OK : FLOE_EAGAIN;
}

size_t floe_work_pending(struct floe_work *w)
{
    pthread_mutex_lock(&w->lock);
    size_t n = w->pending;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void floe_work_destroy(struct floe_work **w)
{
    struct floe_work *x = *w;
    if (x == NULL)
        return;
    *w = NULL;
    pthread_mutex_lock(&x->lock);
    x->stop = true;
    pthread_cond_broadcast(&x->wake);
    pthread_mutex_unlock(&x->lock);
    for (unsigned i = 0; i < x->threads; i++)
        (void)pthread_join(x->thread[i], NULL);
    (void)pthread_cond_destroy(&x->wake);
    (void)pthread_mutex_destroy(&x->lock);
    free(x);
}
