/* Names of things in a bucket or on a disk, whoever put them there: keys of chains and of the table,
 * sessions, and the file store's file names and trailers. What is taken is the one spelling of what it says.
 */
#include "lease/records.h"
#include "objstore/file/file_int.h"

#include <floe/base/crc32c.h>
#include <floe/segment.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void keys(const char *text)
{
    struct floe_session_name s;
    uint64_t seq;
    uint32_t shard;
    int32_t node;
    char again[FLOE_STORE_KEY_MAX];
    if (floe_session_parse(&s, text)) {
        floe_session_format(again, &s);
        FLOE_ASSERT(strcmp(again, text) == 0);
    }
    if (floe_chain_key_parse(text, &s, &seq)) {
        floe_chain_key(again, &s, seq);
        FLOE_ASSERT(strcmp(again, text) == 0);
    }
    if (lease_shard_key_parse(text, &shard)) {
        lease_shard_key(again, shard);
        FLOE_ASSERT(strcmp(again, text) == 0);
    }
    if (lease_node_key_parse(text, &node)) {
        lease_node_key(again, node);
        FLOE_ASSERT(node > 0 && strcmp(again, text) == 0);
    }
}

static void files(const char *text, const uint8_t *data, size_t n)
{
    char name[FILE_NAME_SIZE];
    bool object;
    struct file_trailer t;
    uint8_t again[FILE_TRAILER];
    if (file_name_decode(name, &object, text))
        FLOE_ASSERT(strlen(name) <= strlen(text));
    if (n < FILE_TRAILER)
        return;
    uint8_t in[FILE_TRAILER];
    memcpy(in, data, sizeof in);
    floe_put_le32(in + FILE_TRAILER - 4, floe_crc32c(0, in, FILE_TRAILER - 4)); /* past the checksum */
    if (file_trailer_decode(&t, in, n)) {
        FLOE_ASSERT(t.body_n == n - FILE_TRAILER && strlen(t.nonce) < FLOE_STORE_NONCE_MAX);
        file_trailer_encode(again, &t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1);
    FLOE_ASSERT(text);
    memcpy(text, data, n);
    text[n] = '\0';
    keys(text);
    files(text, data, n);
    free(text);
    return 0;
}
