/* The trailer of an object file: docs/formats/file-store.md, "Trailer". */
#include "file_int.h"

#include <floe/base/crc32c.h>
#include <stdio.h>

enum {
    AT_MAGIC = 0,
    AT_BODY_N = 8,
    AT_BODY_CRC = 16,
    AT_RANDOM = 20,
    AT_NONCE_N = 32,
    AT_NONCE = 33,
    AT_CRC = 124
};
static const uint8_t magic[8] = {'F', 'L', 'O', 'E', 'O', 'B', 'J', 1};

void file_trailer_encode(uint8_t out[FILE_TRAILER], const struct file_trailer *t)
{
    size_t nonce_n = strlen(t->nonce);
    FLOE_ASSERT(nonce_n < FLOE_STORE_NONCE_MAX);
    memset(out, 0, FILE_TRAILER);
    memcpy(out + AT_MAGIC, magic, sizeof magic);
    floe_put_le64(out + AT_BODY_N, t->body_n);
    floe_put_le32(out + AT_BODY_CRC, t->body_crc);
    memcpy(out + AT_RANDOM, t->random, sizeof t->random);
    out[AT_NONCE_N] = (uint8_t)nonce_n;
    memcpy(out + AT_NONCE, t->nonce, nonce_n);
    floe_put_le32(out + AT_CRC, floe_crc32c(0, out, AT_CRC));
}

bool file_trailer_decode(struct file_trailer *t, const uint8_t in[FILE_TRAILER], uint64_t file_n)
{
    if (memcmp(in, magic, sizeof magic) != 0 || floe_le32(in + AT_CRC) != floe_crc32c(0, in, AT_CRC))
        return false;
    if (in[AT_NONCE_N] >= FLOE_STORE_NONCE_MAX || floe_le64(in + AT_BODY_N) != file_n - FILE_TRAILER)
        return false;
    *t = (struct file_trailer){.body_n = floe_le64(in + AT_BODY_N), .body_crc = floe_le32(in + AT_BODY_CRC)};
    memcpy(t->random, in + AT_RANDOM, sizeof t->random);
    memcpy(t->nonce, in + AT_NONCE, in[AT_NONCE_N]);
    return true;
}

void file_version(char out[FLOE_STORE_VERSION_MAX], const struct file_trailer *t)
{
    int n = snprintf(out, FLOE_STORE_VERSION_MAX, "%08x-", (unsigned)t->body_crc);
    floe_hex(out + n, t->random, sizeof t->random);
}
