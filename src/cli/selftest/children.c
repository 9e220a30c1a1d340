/* Processes of this very program: started, told, listened to, ended. */
#include "cli/selftest/selftest.h"

#include <floe/base/assert.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SELF "/proc/self/exe"
#define ENV_MAX 1024

extern char **environ;

/* The environment without FLOE_*: what it says has become flags. FLOE_TEST_* stays. */
static char *const *child_env(void)
{
    static char *env[ENV_MAX + 1];
    size_t n = 0;
    for (char **e = environ; *e != NULL && n < ENV_MAX; e++)
        if (strncmp(*e, "FLOE_", 5) != 0 || strncmp(*e, "FLOE_TEST_", 10) == 0)
            env[n++] = *e;
    env[n] = NULL;
    return env;
}

/* After fork: only what is safe there. */
static void become(pid_t parent, const char *const *args, int in, int out, int log)
{
    (void)setpgid(0, 0); /* the terminal's Ctrl-C is the parent's */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    (void)dup2(in, STDIN_FILENO);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(log, STDERR_FILENO);
    (void)execve(SELF, (char *const *)(uintptr_t)args, child_env());
    _exit(127);
}

static void close_all(int *fd, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fd[i] >= 0)
            (void)close(fd[i]);
}

enum floe_err st_spawn(struct st *st, struct st_child *c, const char *const *args, const char *log_name,
                       bool pipes, struct floe_error *err)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, log = -1;
    *c = (struct st_child){.in = -1, .out = -1};
    (void)snprintf(c->log, sizeof c->log, "%s/%s", st->dir, log_name);
    log = open(c->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int rc = log < 0 ? -1 : 0;
    if (rc == 0 && pipes)
        rc = pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ? -1 : 0;
    if (rc == 0 && !pipes) {
        in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        rc = in[0] < 0 ? -1 : 0;
    }
    pid_t self = getpid(), pid = rc == 0 ? fork() : -1;
    if (pid == 0)
        become(self, args, in[0], pipes ? out[1] : log, log);
    int problem = errno, used[] = {in[0], out[1], log};
    close_all(used, FLOE_COUNTOF(used));
    if (pid < 0) {
        close_all((int[]){in[1], out[0]}, 2);
        return floe_error_set(err, FLOE_EIO, "cannot start a process (its log is %s): %s", c->log,
                              strerror(problem));
    }
    c->pid = pid;
    c->in = in[1];
    c->out = out[0];
    return FLOE_OK;
}

static void forget(struct st_child *c, int status)
{
    c->status = status;
    c->ended = true;
    c->pid = 0;
    close_all((int[]){c->in, c->out}, 2);
    c->in = c->out = -1;
}

bool st_child_poll(struct st_child *c)
{
    int status;
    if (c->pid != 0 && waitpid(c->pid, &status, WNOHANG) == c->pid)
        forget(c, status);
    return c->pid == 0;
}

bool st_child_end(struct st_child *c, int signal, uint32_t wait_ms)
{
    uint64_t until = st_now_us() + (uint64_t)wait_ms * 1000;
    if (c->pid == 0)
        return true;
    (void)kill(c->pid, signal);
    while (!st_child_poll(c)) {
        if (signal != SIGKILL && st_now_us() > until)
            return false;
        st_sleep_ms(2);
    }
    return true;
}

bool st_child_tell(struct st_child *c, const void *p, size_t n)
{
    c->done = false;
    return c->in >= 0 && write(c->in, p, n) == (ssize_t)n;
}

/* Whole events that lie in the pipe; the number of them, -1 at the end of the stream. */
static int read_events(struct st_child *c, struct st_event *e, int max)
{
    ssize_t n = read(c->out, e, (size_t)max * sizeof *e);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    if (n == 0)
        return -1;
    while (n % (ssize_t)sizeof *e != 0) {
        ssize_t more = read(c->out, (char *)e + n, sizeof *e - (size_t)n % sizeof *e);
        if (more <= 0 && errno != EINTR)
            return -1;
        n += more > 0 ? more : 0;
    }
    return (int)(n / (ssize_t)sizeof *e);
}

static enum floe_err take(struct st_child *c, struct st_events *into, uint32_t *done, struct floe_error *err)
{
    struct st_event e[32];
    int n = read_events(c, e, FLOE_COUNTOF(e));
    if (n < 0 && c->done) {
        close_all(&c->out, 1);
        c->out = -1;
        return FLOE_OK;
    }
    if (n < 0)
        return floe_error_set(err, FLOE_ECLOSED, "a process of the test ended; its log is %s", c->log);
    for (int i = 0; i < n; i++) {
        e[i].text[sizeof e[i].text - 1] = '\0';
        if (e[i].op == ST_OP_FAILED)
            return floe_error_set(err, FLOE_EIO, "%s (log: %s)", e[i].text, c->log);
        if (e[i].op == ST_OP_DONE) {
            c->done = true;
            ++*done;
        } else if (!st_events_add(into, &e[i])) {
            return floe_error_set(err, FLOE_ENOMEM, "out of memory for the history");
        }
    }
    return FLOE_OK;
}

enum floe_err st_children_read(struct st_child *const *c, uint32_t n, struct st_events *into,
                               uint32_t want_done, uint64_t until_us, struct floe_error *err)
{
    struct pollfd p[16];
    uint32_t done = 0;
    FLOE_ASSERT(n <= FLOE_COUNTOF(p));
    for (;;) {
        uint64_t now = st_now_us();
        if (done >= want_done && want_done > 0)
            return FLOE_OK;
        if (st_stop)
            return floe_error_set(err, FLOE_ECANCELLED, "stopped");
        if (now >= until_us)
            return want_done > 0 ? floe_error_set(err, FLOE_ETIMEOUT, "a process of the test does not answer")
                                 : FLOE_OK;
        for (uint32_t i = 0; i < n; i++)
            p[i] = (struct pollfd){.fd = c[i]->out, .events = POLLIN};
        if (poll(p, n, (int)FLOE_MIN((until_us - now) / 1000 + 1, (uint64_t)200)) <= 0)
            continue;
        for (uint32_t i = 0; i < n; i++) {
            enum floe_err e = p[i].revents != 0 ? take(c[i], into, &done, err) : FLOE_OK;
            if (e != FLOE_OK)
                return e;
        }
    }
}

void st_url_below(char out[FLOE_CONFIG_PATH_MAX + 64], const struct st *st,
                  const struct floe_config_url *base, const char *sub)
{
    size_t n = strlen(base->text);
    while (n > 0 && base->text[n - 1] == '/')
        n--;
    (void)snprintf(out, FLOE_CONFIG_PATH_MAX + 64, "%.*s/%s%s%s", (int)n, base->text, st->name,
                   sub[0] != '\0' ? "/" : "", sub);
}

void st_settings_args(struct st *st, struct st_settings *s, const char **args, uint32_t *n)
{
    static const char *const styles[] = {"auto", "path", "virtual"};
    const struct floe_config *c = &st->cfg;
    const char *const values[][2] = {
        {"--s3-endpoint", c->s3_endpoint}, {"--s3-region", c->s3_region}, {"--s3-ca", c->s3_ca}};
    (void)snprintf(s->connections, sizeof s->connections, "%u", c->s3_connections);
    for (size_t i = 0; i < FLOE_COUNTOF(values); i++) {
        if (values[i][1][0] == '\0')
            continue;
        (void)snprintf(s->text[i], sizeof s->text[i], "%s", values[i][1]);
        args[(*n)++] = values[i][0];
        args[(*n)++] = s->text[i];
    }
    args[(*n)++] = "--s3-style";
    args[(*n)++] = styles[c->s3_style];
    args[(*n)++] = "--s3-connections";
    args[(*n)++] = s->connections;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s;
    (void)type;
    (void)f;
    (void)remove(path);
    return 0;
}

bool st_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return access(path, F_OK) != 0;
}
