/* floe-proxy, see proxy/proxy.h: the ports, a thread for each connection, and the control lines. */
#include "proxy/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct sockaddr_in listen_at;
static int listen_fd = -1;
static int clients[CLIENTS_MAX];
static size_t client_count;

static void die(const char *what)
{
    fprintf(stderr, "floe-proxy: %s\n", what);
    exit(1);
}

static int open_port(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    socklen_t n = sizeof *at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)at, sizeof *at) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)at, &n) != 0)
        die("cannot listen");
    return fd;
}

void proxy_listen(bool up)
{
    pthread_mutex_lock(&lock);
    if (up && listen_fd < 0) {
        listen_fd = open_port(&listen_at);
        pthread_cond_broadcast(&changed);
    } else if (!up && listen_fd >= 0) {
        /* The accepting thread closes it when accept fails. */
        shutdown(listen_fd, SHUT_RDWR);
        while (listen_fd >= 0)
            pthread_cond_wait(&changed, &lock);
        for (size_t i = 0; i < client_count; i++)
            shutdown(clients[i], SHUT_RDWR);
    }
    pthread_mutex_unlock(&lock);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    proxy_serve(fd);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i] == fd) {
            clients[i] = clients[--client_count];
            break;
        }
    }
    close(fd);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void spawn(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&t, &a, fn, arg) != 0)
        die("no more threads");
    pthread_attr_destroy(&a);
}

static void *accept_clients(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (listen_fd < 0)
            pthread_cond_wait(&changed, &lock);
        int from = listen_fd;
        pthread_mutex_unlock(&lock);
        int fd = accept4(from, NULL, NULL, SOCK_CLOEXEC);
        pthread_mutex_lock(&lock);
        if (fd < 0) {
            close(listen_fd);
            listen_fd = -1;
            pthread_cond_broadcast(&changed);
        } else if (client_count == CLIENTS_MAX) {
            close(fd);
        } else {
            clients[client_count++] = fd;
            spawn(serve, (void *)(intptr_t)fd);
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *control(void *arg)
{
    int fd = (int)(intptr_t)arg;
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
    char line[1024];
    while (in && out && fgets(line, sizeof line, in)) {
        bool go_on = proxy_command(line, out);
        fflush(out);
        if (!go_on)
            exit(0);
    }
    if (out)
        fclose(out);
    if (in)
        fclose(in);
    return NULL;
}

/* HOST:PORT of IPv4. */
static struct sockaddr_in address(char *text)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    if (!colon)
        die("addresses are of the form 127.0.0.1:PORT");
    *colon = '\0';
    a.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
        die("addresses are of the form 127.0.0.1:PORT");
    return a;
}

static const char usage[] =
    "usage: floe-proxy --to http://HOST:PORT [--listen 127.0.0.1:PORT] [--control 127.0.0.1:PORT]";

int main(int argc, char **argv)
{
    char any[2][16] = {"127.0.0.1:0", "127.0.0.1:0"}, *to = NULL, *at = any[0], *control_at = any[1];
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--to") == 0)
            to = argv[i + 1];
        else if (strcmp(argv[i], "--listen") == 0)
            at = argv[i + 1];
        else if (strcmp(argv[i], "--control") == 0)
            control_at = argv[i + 1];
        else
            die(usage);
    }
    if (!to || argc % 2 == 0 || strncmp(to, "http://", 7) != 0 || !strrchr(to + 7, ':'))
        die(usage);
    char *colon = strrchr(to + 7, ':');
    *colon = '\0';
    colon[1 + strcspn(colon + 1, "/")] = '\0';
    proxy_set_target(to + 7, colon + 1);
    signal(SIGPIPE, SIG_IGN);
    listen_at = address(at);
    listen_fd = open_port(&listen_at);
    struct sockaddr_in c = address(control_at);
    int control_fd = open_port(&c);
    char a[2][INET_ADDRSTRLEN];
    printf("listen=%s:%d control=%s:%d\n", inet_ntop(AF_INET, &listen_at.sin_addr, a[0], sizeof a[0]),
           ntohs(listen_at.sin_port), inet_ntop(AF_INET, &c.sin_addr, a[1], sizeof a[1]), ntohs(c.sin_port));
    fflush(stdout);
    spawn(accept_clients, NULL);
    for (;;) {
        int fd = accept4(control_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            spawn(control, (void *)(intptr_t)fd);
    }
}
