/* Segments, seals and the names of chain keys: the bytes of everything below `chain/`.
 *
 * What it is: a pure writer and reader of docs/formats/segment.md. The writer gathers batches of many
 * partitions by reference and gives the slices of one PUT; the reader walks a footer without allocating.
 * What it is not: I/O, leases, offsets' assignment; it never looks into a record.
 *
 * Invariants
 *  1. A batch lies in the object byte for byte as it was handed in; the writer copies none.
 *  2. A block is batches of one partition and one leader epoch, contiguous, by ascending offset, at most
 *     FLOE_SEGMENT_BLOCK_MAX bytes unless it is a single batch; its CRC-32C is in the footer.
 *  3. floe_segment_finish with the same arguments gives the same bytes, however often it is called.
 *  4. Blocks come out grouped by partition, partitions in the order in which they were first added.
 *  5. A reader allocates nothing, and gives out nothing that it has not checked against the object's bounds.
 *
 * Thread: none of its own; one writer or reader is used by one thread at a time. Memory: a writer holds a
 * reference on every buffer that was handed in until reset or destroy; a footer borrows its bytes and its
 * key. Errors: FLOE_ECORRUPT with key and position; FLOE_EUNSUPPORTED for a newer version or a section that a
 * reader must know; FLOE_ETOOLARGE, FLOE_ENOMEM from the writer.
 */
#ifndef FLOE_SEGMENT_H
#define FLOE_SEGMENT_H

#include <floe/base/buf.h>
#include <floe/base/bytes.h>
#include <floe/base/err.h>

/* ---- names ---------------------------------------------------------------------------------------- */

/* One life of a node. All zero: none. */
struct floe_session_name {
    int32_t node, epoch;
    uint64_t id;
};
static inline bool floe_session_name_eq(const struct floe_session_name *a, const struct floe_session_name *b)
{
    return a->node == b->node && a->epoch == b->epoch && a->id == b->id;
}
static inline bool floe_session_name_is_none(const struct floe_session_name *a)
{
    return a->node == 0 && a->epoch == 0 && a->id == 0;
}
#define FLOE_SESSION_NAME_MAX 40 /* "<node>-<epoch>-<16 hex>" with its terminator */
#define FLOE_CHAIN_KEY_MAX 72    /* "chain/<session>/<20 digits>" with its terminator */

void floe_session_format(char out[FLOE_SESSION_NAME_MAX], const struct floe_session_name *s);
/* Takes the canonical form only (no sign, no leading zero, lower-case hex): one name, one spelling. */
bool floe_session_parse(struct floe_session_name *out, const char *text);
void floe_chain_key(char out[FLOE_CHAIN_KEY_MAX], const struct floe_session_name *s, uint64_t seq);
/* "chain/<session>/": what all keys of the chain begin with, for LIST. */
void floe_chain_prefix(char out[FLOE_CHAIN_KEY_MAX], const struct floe_session_name *s);
bool floe_chain_key_parse(const char *key, struct floe_session_name *s, uint64_t *seq);

/* ---- sizes ---------------------------------------------------------------------------------------- */

#define FLOE_SEGMENT_VERSION 1
#define FLOE_SEGMENT_HEADER_BYTES 96u
#define FLOE_SEGMENT_TRAILER_BYTES 32u
#define FLOE_SEGMENT_TAIL_BYTES (64u << 10) /* one GET of that many last bytes usually has the footer */
#define FLOE_SEGMENT_BLOCK_MAX (1u << 20)   /* a longer block is split at batch borders */
#define FLOE_SEGMENT_BATCH_MAX (128u << 20) /* bytes of one batch */
#define FLOE_SEGMENT_OPAQUE_MAX (64u << 20) /* bytes of one opaque block */
#define FLOE_SEGMENT_DATA_MAX (512u << 20)  /* bytes of all blocks */
#define FLOE_SEGMENT_FOOTER_MAX (64u << 20) /* bytes */
#define FLOE_SEGMENT_TOPIC_NAME_MAX 249     /* Kafka's limit */
#define FLOE_SEAL_BYTES 264u                /* a seal is exactly that long */

/* ---- header, seal --------------------------------------------------------------------------------- */

/* Who wrote an object, as its header (and a copy in its footer) says. */
struct floe_segment_id {
    struct floe_session_name session; /* whose chain */
    uint64_t seq;
    struct floe_uuid cluster, nonce;
    int64_t created_ms; /* wall clock of the writer, for people */
    bool seal;
};
/* Reads the first FLOE_SEGMENT_HEADER_BYTES of any chain object: what is it, and whose? Checks magic, version
 * and CRC. `key` only names the object in errors. */
enum floe_err floe_segment_header_decode(struct floe_slice head, const char *key, struct floe_segment_id *out,
                                         struct floe_error *err) FLOE_MUST_USE;
/* FLOE_ECORRUPT when `id` does not belong at that key of that cluster (cluster may be null: any). */
enum floe_err floe_segment_id_check(const struct floe_segment_id *id, const char *key,
                                    const struct floe_session_name *session, uint64_t seq,
                                    const struct floe_uuid *cluster, struct floe_error *err) FLOE_MUST_USE;

/* The object that ends a chain. `id.session` is the sealed session, `by` who sealed it (itself at a clean
 * end). */
struct floe_seal {
    struct floe_segment_id id;
    struct floe_session_name by;
};
/* `seal->id.seal` need not be set. */
void floe_seal_encode(uint8_t out[FLOE_SEAL_BYTES], const struct floe_seal *seal);
/* FLOE_ECORRUPT as well when the object is a segment (look with floe_segment_header_decode first). */
enum floe_err floe_seal_decode(struct floe_slice object, const char *key, struct floe_seal *out,
                               struct floe_error *err) FLOE_MUST_USE;

/* ---- what a footer tells -------------------------------------------------------------------------- */

/* A contiguous run of batches of one partition and leader epoch. */
struct floe_segment_block {
    struct floe_uuid topic;
    int32_t partition, leader_epoch;
    uint64_t position; /* in the object */
    uint32_t length, crc;
    int64_t base_offset, end_offset; /* offsets [base, end) */
    int64_t max_timestamp;           /* of its records; -1 when none has one */
    uint32_t topic_ref;              /* index in the footer's dictionary */
    uint32_t batch_count;
};
struct floe_segment_batch {
    int64_t base_offset, base_timestamp, max_timestamp, producer_id;
    uint64_t position; /* in the object */
    uint32_t length;
    int32_t last_offset_delta, count, base_sequence;
    uint16_t attributes;
    int16_t producer_epoch;
};
/* Blocks that hold no batches. A reader skips kinds that it does not know. */
enum floe_segment_opaque_kind {
    FLOE_OPAQUE_CHECKPOINT = 1, /* docs/formats/checkpoint.md */
    FLOE_OPAQUE_INDEX = 2,      /* docs/formats/index.md */
    FLOE_OPAQUE_ROLLUP = 3,     /* docs/formats/rollup.md; of no topic */
};
struct floe_segment_opaque {
    uint16_t kind;
    bool has_topic; /* else topic, partition and leader_epoch are zero */
    struct floe_uuid topic;
    int32_t partition, leader_epoch;
    uint64_t position;
    uint32_t length, crc;
    uint64_t covers; /* checkpoint: it holds everything below this key of its own chain */
    uint32_t topic_ref;
};

/* ---- writer --------------------------------------------------------------------------------------- */

struct floe_batch; /* kafka/batch.h */
struct floe_segment_writer;
enum floe_err floe_segment_writer_create(struct floe_segment_writer **out,
                                         const struct floe_uuid *cluster) FLOE_MUST_USE;
/* Drops every reference and starts an empty segment; keeps its memory for the next one. */
void floe_segment_writer_reset(struct floe_segment_writer *w);
void floe_segment_writer_destroy(struct floe_segment_writer **w);

/* Adds one batch whose offset and epoch are final: `batch` says what `bytes` hold, patches included
 * (asserted). The CRC in the batch's own header must be right (checked at the front door): a long batch is
 * not read again. Takes its own reference on bytes->buf. `topic_name` is copied the first time the topic is
 * seen.
 * `*ordinal` (may be null): 0, 1, 2, … in the order of adding. FLOE_ETOOLARGE past a limit above,
 * FLOE_ENOMEM; then nothing was added. */
enum floe_err floe_segment_add_batch(struct floe_segment_writer *w, const struct floe_uuid *topic,
                                     int32_t partition, int32_t leader_epoch, const char *topic_name,
                                     const struct floe_batch *batch, const struct floe_bufslice *bytes,
                                     uint32_t *ordinal) FLOE_MUST_USE;
/* Adds a typed block; `o` gives kind, has_topic, topic, partition, leader_epoch and covers (the rest is
 * ignored). Opaque blocks lie after all batches, in the order of adding. */
enum floe_err floe_segment_add_opaque(struct floe_segment_writer *w, const struct floe_segment_opaque *o,
                                      const char *topic_name, const struct floe_bufslice *bytes,
                                      uint32_t *ordinal) FLOE_MUST_USE;

uint32_t floe_segment_batch_count(const struct floe_segment_writer *w);
uint32_t floe_segment_opaque_count(const struct floe_segment_writer *w);
/* Bytes of batches and opaque blocks so far. */
uint64_t floe_segment_data_bytes(const struct floe_segment_writer *w);
/* No less than what floe_segment_finish will give, and close to it. */
uint64_t floe_segment_estimate(const struct floe_segment_writer *w);
/* The bytes of batch `ordinal`, as the writer holds them: a caller that spilled a batch may drop the
 * reference (set buf and p to null, keep n), and must put the same bytes back before floe_segment_finish. */
struct floe_bufslice *floe_segment_batch_bytes(struct floe_segment_writer *w, uint32_t ordinal);

/* The bytes of one PUT and where everything lies in them. Borrowed from the writer: valid until its next
 * finish, reset or destroy. */
struct floe_segment_image {
    const struct floe_bufslice *slices; /* whole object, in order; hold your own reference on each `buf` to
                                           keep bytes longer */
    uint32_t slice_count;               /* the last one is footer and trailer */
    uint64_t bytes;
    const struct floe_segment_block *blocks; /* in the object's order */
    uint32_t block_count;
    const struct floe_segment_opaque *opaques; /* in the order of adding */
    uint32_t opaque_count;
};
enum floe_err floe_segment_finish(struct floe_segment_writer *w, const struct floe_session_name *session,
                                  uint64_t seq, const struct floe_uuid *nonce, int64_t created_ms,
                                  struct floe_segment_image *out, struct floe_error *err) FLOE_MUST_USE;

/* ---- reader --------------------------------------------------------------------------------------- */

/* Step 1: the object's last bytes (FLOE_SEGMENT_TAIL_BYTES are a good first try; the whole object is fine).
 * On FLOE_OK either `need` is 0 and `footer` is set, or `need` is the number of last bytes to get instead
 * (at most FLOE_SEGMENT_FOOTER_MAX + FLOE_SEGMENT_TRAILER_BYTES). */
struct floe_segment_tail {
    uint64_t need;
    uint64_t footer_position; /* in the object */
    struct floe_slice footer; /* borrowed from the tail; its CRC is checked */
};
enum floe_err floe_segment_tail_open(struct floe_slice tail, uint64_t object_size, const char *key,
                                     struct floe_segment_tail *out, struct floe_error *err) FLOE_MUST_USE;

/* Step 2: the footer. Everything borrowed: the bytes and the key must outlive it. */
struct floe_segment_footer {
    struct floe_segment_id id;
    uint64_t data_end; /* blocks lie in [FLOE_SEGMENT_HEADER_BYTES, data_end) */
    uint32_t topic_count, block_count, opaque_count;
    const char *key;
    /* the reader's own */
    struct floe_slice bytes, dict_ids, dict_names, blocks, opaques;
};
enum floe_err floe_segment_footer_open(const struct floe_segment_tail *tail, const char *key,
                                       struct floe_segment_footer *out, struct floe_error *err) FLOE_MUST_USE;
struct floe_uuid floe_segment_topic_id(const struct floe_segment_footer *f, uint32_t ref);
/* Copies the name with its terminator; linear in the dictionary. */
void floe_segment_topic_name(const struct floe_segment_footer *f, uint32_t ref,
                             char out[FLOE_SEGMENT_TOPIC_NAME_MAX + 1]);

/* Step 3: walk. next_block steps over whatever is left of the current block. Each returns false at the end
 * or at the first error; then look at floe_segment_cursor_err once. Everything given out is checked: inside
 * the data area, ascending, batches fill their block exactly. */
struct floe_segment_cursor {
    const struct floe_segment_footer *f;
    struct floe_reader blocks, batches, opaques;
    uint32_t blocks_left, batches_left, opaques_left;
    uint64_t position, batch_position, opaque_position;
    int64_t offset, end_offset, timestamp, producer_id;
    struct floe_error err;
};
void floe_segment_cursor_init(struct floe_segment_cursor *c, const struct floe_segment_footer *f);
bool floe_segment_next_block(struct floe_segment_cursor *c, struct floe_segment_block *out);
bool floe_segment_next_batch(struct floe_segment_cursor *c, struct floe_segment_batch *out);
bool floe_segment_next_opaque(struct floe_segment_cursor *c, struct floe_segment_opaque *out);
static inline const struct floe_error *floe_segment_cursor_err(const struct floe_segment_cursor *c)
{
    return &c->err;
}

/* CRC-32C of a then b, from the two CRCs and b's length, without touching a byte. */
uint32_t floe_segment_crc_combine(uint32_t crc_a, uint32_t crc_b, uint64_t length_b);

#endif
