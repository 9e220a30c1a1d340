/* Rules, counters, held requests, and the control lines that change them. */
#include "proxy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define RULES_MAX 64

struct rule {
    char name[32];
    enum proxy_action action;
    uint64_t arg;
    int method, cls; /* -1: any */
    char key[256];
    uint64_t skip, times;
    unsigned chance;
    bool endless;
};
struct held {
    struct held *next;
    char rule[32];
    const struct proxy_request *r;
    bool go;
};
struct counter {
    uint64_t requests, open, up, down, by_status[6];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static struct rule rules[RULES_MAX];
static size_t rule_count;
static struct held *held;
static unsigned dice = 1; /* of `chance`, under the lock */
static struct counter counters[METHODS][CLASSES];

static const char *const method_names[METHODS] = {"GET", "PUT", "HEAD", "DELETE", "LIST", "DELETES", "OTHER"};
static const char *const class_names[CLASSES] = {"chain", "table", "history", "cluster", "probe", "other"};
static const char *const action_names[] = {"pass",        "hold",    "hold-answer", "delay",        "drop",
                                           "drop-answer", "swallow", "status",      "apply-status", "cut",
                                           "cut-up",      "trickle", "corrupt"};
#define ACTIONS (sizeof action_names / sizeof *action_names)

static int find(const char *const *names, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], s) == 0)
            return (int)i;
    }
    return -1;
}

/* Is `name` a component of the key, or of a LIST's prefix (where slashes are escaped)? */
static bool has_component(const char *path, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strstr(path, name); p; p = strstr(p + 1, name)) {
        bool before =
            p > path && (p[-1] == '/' || p[-1] == '=' || (p - path >= 3 && strncmp(p - 3, "%2F", 3) == 0));
        bool after =
            p[n] == '\0' || p[n] == '/' || p[n] == '&' || p[n] == '?' || strncmp(p + n, "%2F", 3) == 0;
        if (before && after)
            return true;
    }
    return false;
}

void proxy_classify(struct proxy_request *r, const char *method, const char *path)
{
    int m = find(method_names, METHODS, method);
    snprintf(r->path, sizeof r->path, "%s", path);
    r->head = strcmp(method, "HEAD") == 0;
    r->method = m < 0 ? METHOD_OTHER : (enum proxy_method)m;
    if (r->method == METHOD_GET && strstr(path, "list-type="))
        r->method = METHOD_LIST;
    if (strcmp(method, "POST") == 0 && strstr(path, "?delete"))
        r->method = METHOD_DELETES;
    r->cls = CLASS_OTHER;
    for (int c = CLASS_OTHER - 1; c >= 0; c--) {
        if (has_component(path, class_names[c]))
            r->cls = (enum proxy_class)c;
    }
}

static bool matches(const struct rule *u, const struct proxy_request *r)
{
    return (u->method < 0 || u->method == (int)r->method) && (u->cls < 0 || u->cls == (int)r->cls) &&
           (u->key[0] == '\0' || strstr(r->path, u->key));
}

struct proxy_verdict proxy_begin(const struct proxy_request *r)
{
    struct proxy_verdict v = {.action = PROXY_PASS};
    pthread_mutex_lock(&lock);
    struct counter *c = &counters[r->method][r->cls];
    c->requests++;
    c->open++;
    for (size_t i = 0; i < rule_count; i++) {
        struct rule *u = &rules[i];
        if (!matches(u, r) || (!u->endless && u->times == 0))
            continue;
        if (u->chance < 100 && (unsigned)(rand_r(&dice) % 100) >= u->chance)
            continue;
        if (u->skip > 0) {
            u->skip--;
            continue;
        }
        if (!u->endless)
            u->times--;
        v.action = u->action;
        v.arg = u->arg;
        memcpy(v.rule, u->name, sizeof v.rule);
        break;
    }
    pthread_mutex_unlock(&lock);
    return v;
}

static bool rule_there(const char *name)
{
    for (size_t i = 0; i < rule_count; i++) {
        if (strcmp(rules[i].name, name) == 0)
            return true;
    }
    return false;
}

/* Where the rule has gone meanwhile, nobody would let it go. */
void proxy_hold(const struct proxy_request *r, const char *rule)
{
    struct held h = {.r = r};
    snprintf(h.rule, sizeof h.rule, "%s", rule);
    pthread_mutex_lock(&lock);
    h.go = !rule_there(rule);
    struct held **at = &held;
    while (*at)
        at = &(*at)->next;
    *at = &h;
    while (!h.go)
        pthread_cond_wait(&released, &lock);
    for (at = &held; *at != &h;)
        at = &(*at)->next;
    *at = h.next;
    pthread_mutex_unlock(&lock);
}

void proxy_answered(const struct proxy_request *r, int status)
{
    pthread_mutex_lock(&lock);
    if (status >= 100 && status < 600)
        counters[r->method][r->cls].by_status[status / 100]++;
    pthread_mutex_unlock(&lock);
}

void proxy_bytes(const struct proxy_request *r, uint64_t up, uint64_t down)
{
    pthread_mutex_lock(&lock);
    counters[r->method][r->cls].up += up;
    counters[r->method][r->cls].down += down;
    pthread_mutex_unlock(&lock);
}

void proxy_end(const struct proxy_request *r)
{
    pthread_mutex_lock(&lock);
    counters[r->method][r->cls].open--;
    pthread_mutex_unlock(&lock);
}

/* ---- control ---- */

static void stats(FILE *out)
{
    for (int m = 0; m < METHODS; m++) {
        for (int k = 0; k < CLASSES; k++) {
            const struct counter *c = &counters[m][k];
            if (c->requests == 0 && c->open == 0)
                continue;
            fprintf(out, "%s %s requests=%llu open=%llu up=%llu down=%llu 2xx=%llu 4xx=%llu 5xx=%llu\n",
                    method_names[m], class_names[k], (unsigned long long)c->requests,
                    (unsigned long long)c->open, (unsigned long long)c->up, (unsigned long long)c->down,
                    (unsigned long long)c->by_status[2], (unsigned long long)c->by_status[4],
                    (unsigned long long)c->by_status[5]);
        }
    }
}

static void reset(void)
{
    for (int m = 0; m < METHODS; m++) {
        for (int k = 0; k < CLASSES; k++)
            counters[m][k] = (struct counter){.open = counters[m][k].open};
    }
}

static const char *add_rule(char **save)
{
    struct rule u = {.method = -1, .cls = -1, .endless = true, .chance = 100};
    char *name = strtok_r(NULL, " ", save), *action = strtok_r(NULL, " ", save);
    if (!name || !action || strlen(name) >= sizeof u.name)
        return "rule NAME ACTION [FIELD]...";
    int a = find(action_names, ACTIONS, action);
    if (a < 0 || rule_count == RULES_MAX)
        return a < 0 ? "unknown action" : "too many rules";
    u.action = (enum proxy_action)a;
    memcpy(u.name, name, strlen(name) + 1);
    if (a == PROXY_DELAY || a == PROXY_STATUS || a >= PROXY_APPLY_STATUS) {
        char *arg = strtok_r(NULL, " ", save);
        if (!arg)
            return "this action takes a number";
        u.arg = strtoull(arg, NULL, 10);
    }
    for (char *f; (f = strtok_r(NULL, " ", save)) != NULL;) {
        if (strncmp(f, "method=", 7) == 0 && (u.method = find(method_names, METHODS, f + 7)) >= 0)
            continue;
        if (strncmp(f, "class=", 6) == 0 && (u.cls = find(class_names, CLASSES, f + 6)) >= 0)
            continue;
        if (strncmp(f, "key=", 4) == 0 && strlen(f + 4) < sizeof u.key) {
            memcpy(u.key, f + 4, strlen(f + 4) + 1);
            continue;
        }
        if (strncmp(f, "skip=", 5) == 0) {
            u.skip = strtoull(f + 5, NULL, 10);
            continue;
        }
        if (strncmp(f, "chance=", 7) == 0) {
            u.chance = (unsigned)strtoul(f + 7, NULL, 10);
            continue;
        }
        if (strncmp(f, "times=", 6) == 0) {
            u.times = strtoull(f + 6, NULL, 10);
            u.endless = u.times == 0;
            continue;
        }
        return "unknown field or value";
    }
    rules[rule_count++] = u;
    return NULL;
}

/* Lets up to n held requests of the rule go (null: of any); gives how many. */
static uint64_t release(const char *name, uint64_t n)
{
    uint64_t done = 0;
    for (struct held *h = held; h && done < n; h = h->next) {
        if (!h->go && (!name || strcmp(h->rule, name) == 0)) {
            h->go = true;
            done++;
        }
    }
    pthread_cond_broadcast(&released);
    return done;
}

static bool remove_rule(const char *name)
{
    for (size_t i = 0; i < rule_count; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            memmove(&rules[i], &rules[i + 1], (--rule_count - i) * sizeof *rules);
            release(name, UINT64_MAX);
            return true;
        }
    }
    return false;
}

static void list_held(FILE *out)
{
    for (const struct held *h = held; h; h = h->next) {
        if (!h->go)
            fprintf(out, "%s %s %s\n", h->rule, method_names[h->r->method], h->r->path);
    }
}

/* Commands that touch rules and counters, under the lock; null: none of these. */
static const char *locked_command(const char *verb, char **save, FILE *out)
{
    const char *bad = "";
    if (strcmp(verb, "stats") == 0) {
        stats(out);
    } else if (strcmp(verb, "reset") == 0) {
        reset();
    } else if (strcmp(verb, "held") == 0) {
        list_held(out);
    } else if (strcmp(verb, "rule") == 0) {
        bad = add_rule(save);
    } else if (strcmp(verb, "clear") == 0) {
        rule_count = 0;
        release(NULL, UINT64_MAX);
    } else if (strcmp(verb, "unrule") == 0) {
        char *name = strtok_r(NULL, " ", save);
        bad = name && remove_rule(name) ? "" : "no such rule";
    } else if (strcmp(verb, "release") == 0) {
        char *name = strtok_r(NULL, " ", save), *n = strtok_r(NULL, " ", save);
        if (!name)
            return "release NAME|all [N]";
        fprintf(out, "released %llu\n",
                (unsigned long long)release(strcmp(name, "all") == 0 ? NULL : name,
                                            n ? strtoull(n, NULL, 10) : UINT64_MAX));
    } else {
        return NULL;
    }
    return bad ? bad : "";
}

bool proxy_command(char *line, FILE *out)
{
    char *save = NULL, *verb = strtok_r(line, " \r\n", &save);
    if (save)
        save[strcspn(save, "\r\n")] = '\0';
    if (!verb)
        return true;
    if (strcmp(verb, "quit") == 0) {
        fprintf(out, "ok\n");
        return false;
    }
    if (strcmp(verb, "down") == 0 || strcmp(verb, "up") == 0) {
        proxy_listen(verb[0] == 'u');
        fprintf(out, "ok\n");
        return true;
    }
    pthread_mutex_lock(&lock);
    const char *bad = locked_command(verb, &save, out);
    pthread_mutex_unlock(&lock);
    if (bad && bad[0] == '\0')
        fprintf(out, "ok\n");
    else
        fprintf(out, "error %s\n", bad ? bad : "unknown command");
    return true;
}
