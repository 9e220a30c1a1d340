/* Private parts of the `file` store driver. Paths are relative to the store's directory, which is held open.
 */
#ifndef FLOE_OBJSTORE_FILE_INT_H
#define FLOE_OBJSTORE_FILE_INT_H

#include "../body.h"

#include <floe/base/list.h>
#include <floe/base/map.h>
#include <floe/objstore/file.h>
#include <pthread.h>

#define FILE_COMPONENT_MAX 250 /* bytes of one escaped component */
#define FILE_PATH_MAX (3 * FLOE_STORE_KEY_MAX + 32)
#define FILE_TRAILER 128 /* bytes at the end of every object file */
#define FILE_NAME_SIZE 256
#define FILE_SUFFIX ".obj"

/* What a trailer says. */
struct file_trailer {
    uint64_t body_n;
    uint32_t body_crc;
    uint8_t random[12];
    char nonce[FLOE_STORE_NONCE_MAX];
};
void file_trailer_encode(uint8_t out[FILE_TRAILER], const struct file_trailer *t);
/* False: not a trailer of ours, or damaged, or for a file of another size. */
bool file_trailer_decode(struct file_trailer *t, const uint8_t in[FILE_TRAILER], uint64_t file_n);
void file_version(char out[FLOE_STORE_VERSION_MAX], const struct file_trailer *t);

/* "objects/<escaped key>.obj", or false where a component is too long. `dir_n`: length of the folder's part.
 */
bool file_path(char out[FILE_PATH_MAX], size_t *dir_n, const char *key);
/* "objects/<escaped prefix up to its last slash>": the deepest folder that holds all keys with that prefix.
 */
bool file_dir_path(char out[FILE_PATH_MAX], const char *prefix, size_t prefix_n);
/* Adds one escaped component to a path of *n bytes. */
bool file_path_add(char out[FILE_PATH_MAX], size_t *n, const char *comp, size_t comp_n, bool object);
/* A name found on disk, as the component it stands for; false for foreign files. */
bool file_name_decode(char out[FILE_NAME_SIZE], bool *object, const char *name);

/* Folders that are being fsynced, or known to be there for good. One fsync serves all who wait for it. */
struct file_dirs {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct floe_map map;
    int root_fd;
    bool fsync;
};
bool file_dirs_init(struct file_dirs *d, int root_fd, bool fsync);
void file_dirs_fini(struct file_dirs *d);
/* Returns 0 or an errno, after an fsync of the folder that began after this call. */
int file_dirs_sync(struct file_dirs *d, const char *path);
/* A name in the folder is about to change; what is returned goes to file_dirs_placed, once it has (or has
 * not). Until a later fsync has succeeded a machine's crash may take it back. */
struct dir *file_dirs_placing(struct file_dirs *d, const char *path);
void file_dirs_placed(struct file_dirs *d, struct dir *was, bool changed);
/* Returns 0 or an errno, once all that was seen in the folder stays. */
int file_dirs_settle(struct file_dirs *d, const char *path);
/* Makes the folder and those above it, durably. `again`: it was found missing though it was known. */
int file_dirs_ensure(struct file_dirs *d, const char *path, bool again);
/* Removes the folder, and those above it below "objects", where they are empty. */
void file_dirs_prune(struct file_dirs *d, const char *path);

struct file_store;
enum file_lane { FILE_DATA, FILE_CONTROL, FILE_LANES };

/* One request. Fields up to `floe_task` are set by the loop before a thread sees the op. */
struct file_op {
    struct floe_list link; /* a lane's queue, under the store's lock */
    struct floe_list all;  /* the store's open requests, loop only */
    struct file_store *s;
    struct floe_store_req *req; /* loop only; null once cancelled or timed out */
    bool queued;                /* under the store's lock */
    enum file_lane lane;
    enum floe_store_kind kind;
    enum floe_store_cond cond;
    char key[FLOE_STORE_KEY_MAX], start_after[FLOE_STORE_KEY_MAX];
    char if_version[FLOE_STORE_VERSION_MAX], nonce[FLOE_STORE_NONCE_MAX];
    uint32_t max_keys, key_count;
    int64_t offset;
    uint64_t length;
    uint64_t timeout_us;
    uint8_t random[12];
    char **keys;
    struct floe_store_body body;
    struct floe_task task;
    struct floe_timer timer;

    /* results, the thread's until the task is posted */
    struct floe_error err;
    char version[FLOE_STORE_VERSION_MAX], got_nonce[FLOE_STORE_NONCE_MAX];
    uint64_t size;
    struct floe_buf *data;
    struct floe_arena arena;
    struct floe_store_entry *entries;
    uint32_t entry_count;
    bool truncated;
};

struct file_store {
    struct floe_store base;
    int root_fd;
    struct file_dirs dirs;
    char tmp_id[17];
    int tmp_lock_fd;
    _Atomic uint64_t tmp_seq;

    pthread_mutex_t lock;
    pthread_cond_t work[FILE_LANES];
    struct floe_list queue[FILE_LANES];
    uint32_t queued;
    bool stopping;
    uint32_t running; /* threads */

    pthread_t *threads;
    uint32_t thread_count;
    struct floe_list open; /* loop only: ops not yet back */
    struct floe_task exit_task;
    bool closing, threads_gone;
    void (*closed)(void *user);
    void *closed_user;
};

/* The work itself, on a driver thread. */
void file_put(struct file_op *op);
void file_get(struct file_op *op);
void file_head(struct file_op *op);
void file_list(struct file_op *op);
void file_delete(struct file_op *op);
/* Opens an object and reads its trailer: an fd, or -1 and the errno in *e (EBADMSG for a damaged one). */
int file_open_object(struct file_store *s, const char *path, struct file_trailer *t, int *e);
/* Sets err from an errno of step `what` on `key`. */
enum floe_err file_error(struct file_op *op, int e, const char *what, const char *key);

/* Takes a name for temporary files that no living process has, and removes what dead ones left. */
enum floe_err file_tmp_open(struct file_store *s, struct floe_error *err) FLOE_MUST_USE;
void file_tmp_close(struct file_store *s);

#endif
