/* Kafka's messages: bytes to typed structs and back, for every API and version of src/kafka/messages.txt.
 *
 * What it is: one interpreter over generated field tables (src/kafka/gen.py). floe/gen/kafka_messages.h has a
 * `struct floe_kafka_<Message>` for each message (ProduceRequest, ProduceResponse, ...), `struct
 * floe_kafka_<Message>_<Struct>` for the structs inside, and for each of both a descriptor
 * `floe_kafka_<...>_desc`. Fields have Kafka's spelling; an array X is a pointer `X` and a count `X_n` (-1:
 * null); a struct that may be null is a pointer. What it is not: which versions a broker serves (api_kafka),
 * the contents of record batches (kafka/batch.h). It does no I/O.
 *
 *  1. Every count and length is checked against the bytes left before anything is allocated; the arena's
 * maximum bounds the rest.
 *  2. Decoded strings, bytes and records borrow from the input, arrays and structs lie in the arena.
 *  3. Fields that a version lacks have their default after decoding. Encoding drops ignorable ones and
 * refuses (FLOE_EINVAL) others that are not at their default.
 *  4. Unknown tags are skipped; bytes left after the message are an error.
 *
 * Threads: pure functions, any thread. Errors: FLOE_EINVAL for malformed bytes or a value that the version
 * cannot express, FLOE_EUNSUPPORTED for a version or key outside the tables, FLOE_ETOOLARGE past the arena's
 * or writer's maximum. The message names message, version, field path and offset.
 */
#ifndef FLOE_KAFKA_CODEC_H
#define FLOE_KAFKA_CODEC_H

#include <floe/base/arena.h>
#include <floe/base/buf.h>
#include <floe/base/err.h>
#include <floe/kafka/types.h>
#include <floe/gen/kafka_errors.h>

struct floe_kafka_struct; /* field table of one struct; src/kafka/desc.h */

struct floe_kafka_msg {
    const char *name;      /* "ProduceRequest" */
    int16_t key;           /* -1: not an API */
    int16_t min, max;      /* versions in the table */
    int16_t flexible_from; /* INT16_MAX: never */
    const struct floe_kafka_struct *body;
};
struct floe_kafka_api {
    int16_t key;
    const char *name;      /* "Produce" */
    int16_t min, max;      /* versions in the table */
    int16_t max_stable;    /* do not advertise a higher one */
    int16_t flexible_from; /* INT16_MAX: never */
    bool peer;             /* Floe's own: brokers' listener only, never in ApiVersions */
    const struct floe_kafka_msg *request, *response;
};

#include <floe/gen/kafka_messages.h>

/* Null for an unknown key. */
const struct floe_kafka_api *floe_kafka_api_find(int16_t key);
/* All of them, ascending by key. */
const struct floe_kafka_api *floe_kafka_api_all(uint32_t *count);
static inline bool floe_kafka_flexible(const struct floe_kafka_api *a, int16_t version)
{
    return version >= a->flexible_from;
}

/* Kafka's name ("NOT_LEADER_OR_FOLLOWER"; "UNKNOWN_SERVER_ERROR" for a code outside the table) and a sentence
 * for people. */
const char *floe_kafka_error_name(int16_t code);
const char *floe_kafka_error_message(int16_t code);
bool floe_kafka_error_retriable(int16_t code);

/* Decodes one message, all of `in`. *out lies in the arena. */
enum floe_err floe_kafka_decode(const struct floe_kafka_msg *m, int16_t version, struct floe_slice in,
                                struct floe_arena *arena, void **out, struct floe_error *err) FLOE_MUST_USE;
/* As above for a message at the start of `in`: *used gets its length. */
enum floe_err floe_kafka_decode_prefix(const struct floe_kafka_msg *m, int16_t version, struct floe_slice in,
                                       size_t *used, struct floe_arena *arena, void **out,
                                       struct floe_error *err) FLOE_MUST_USE;

/* Sets every field to its default; `msg` is the struct of `m` (or of `s`). A zeroed struct has other values
 * where the table says
 * "= x", and every struct to be encoded goes through one of these three first. */
void floe_kafka_defaults(const struct floe_kafka_msg *m, void *msg);
void floe_kafka_struct_defaults(const struct floe_kafka_struct *s, void *p);
/* n structs at their defaults, for an array field; null when the arena is full. */
void *floe_kafka_array(const struct floe_kafka_struct *s, int32_t n, struct floe_arena *arena) FLOE_MUST_USE;

/* Appends the message to the writer. Records given as slices are copied. On failure what was appended is
 * taken off again. */
enum floe_err floe_kafka_encode(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                                struct floe_writer *w, struct floe_error *err) FLOE_MUST_USE;

/* A message in pieces: bytes written here, and slices of others (records) that are referenced, never copied.
 */
struct floe_kafka_cut {
    size_t at; /* after so many bytes of w */
    struct floe_bufslice slice;
};
struct floe_kafka_out {
    struct floe_writer w;
    struct floe_kafka_cut *cuts;
    uint32_t cut_count, cut_cap, cut_max;
    size_t external; /* bytes in cuts */
};
/* `max` bounds the bytes written here, `cut_max` the slices. */
void floe_kafka_out_init(struct floe_kafka_out *o, size_t max, uint32_t cut_max);
/* Drops references that were not taken. */
void floe_kafka_out_fini(struct floe_kafka_out *o);
size_t floe_kafka_out_size(const struct floe_kafka_out *o);
/* As floe_kafka_encode; records given as slices become references (each with a buffer is ref'd; without one
 * the bytes must outlive the output). Records given by `p` are copied. */
enum floe_err floe_kafka_encode_out(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                                    struct floe_kafka_out *o, struct floe_error *err) FLOE_MUST_USE;
/* All bytes in order as owned slices, ready to be written: the bytes written here move into one buffer
 * charged to `budget` (which may be null; past its limit if need be). *slices is malloc'd, the caller drops
 * each reference and frees it. Leaves `o` empty. FLOE_ENOMEM changes nothing. */
enum floe_err floe_kafka_out_take(struct floe_kafka_out *o, struct floe_budget *budget,
                                  struct floe_bufslice **slices, uint32_t *count,
                                  struct floe_error *err) FLOE_MUST_USE;

/* Headers. A frame is what stands after the four bytes of its length. */
struct floe_kafka_request_header {
    int16_t api_key, api_version;
    int32_t correlation_id;
    struct floe_kstr client_id;       /* borrowed */
    const struct floe_kafka_api *api; /* null: unknown key */
    bool known_version;               /* in the table; false: the body must not be decoded */
    struct floe_slice body;
};
/* An unknown key or version is no error here: key, version and correlation id are set, client id and body are
 * empty (ApiVersions of an unknown version is answered without them). FLOE_EINVAL when the bytes are no
 * header. */
enum floe_err floe_kafka_request_header(struct floe_slice frame, struct floe_kafka_request_header *out,
                                        struct floe_error *err) FLOE_MUST_USE;
/* Clients' side: header v1 or v2 as the version wants it. */
void floe_kafka_write_request_header(const struct floe_kafka_api *a, int16_t version, int32_t correlation_id,
                                     struct floe_kstr client_id, struct floe_writer *w);
/* v0, or v1 in flexible versions; ApiVersions always v0. */
void floe_kafka_write_response_header(const struct floe_kafka_api *a, int16_t version, int32_t correlation_id,
                                      struct floe_writer *w);
enum floe_err floe_kafka_read_response_header(const struct floe_kafka_api *a, int16_t version,
                                              struct floe_slice frame, int32_t *correlation_id,
                                              struct floe_slice *body, struct floe_error *err) FLOE_MUST_USE;

/* Whole frames with their four bytes of length: header and body into an empty output or writer. */
enum floe_err floe_kafka_response_frame(const struct floe_kafka_api *a, int16_t version,
                                        int32_t correlation_id, const void *body, struct floe_kafka_out *o,
                                        struct floe_error *err) FLOE_MUST_USE;
enum floe_err floe_kafka_request_frame(const struct floe_kafka_api *a, int16_t version,
                                       int32_t correlation_id, struct floe_kstr client_id, const void *body,
                                       struct floe_writer *w, struct floe_error *err) FLOE_MUST_USE;

/* The message as JSON, as Kafka's own tools print it: names with a small first letter, bytes in base64, uuids
 * in base64url without padding, tagged fields left out at their default. */
enum floe_err floe_kafka_json(const struct floe_kafka_msg *m, int16_t version, const void *msg,
                              struct floe_writer *w, struct floe_error *err) FLOE_MUST_USE;

#endif
