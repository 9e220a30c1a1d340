/* A blocking Kafka client for the command line: one connection, one request at a time.
 *
 *  1. Every step has the call's deadline: connect, send and receive together.
 *  2. A call uses the newest version that broker and codec share, at most `max_version`; Floe's own APIs,
 * which brokers do not list, in the codec's newest.
 *  3. Answers are bounded (FLOE_CLIENT_ANSWER_MAX) before they are read.
 */
#ifndef FLOE_SRC_CLI_CLIENT_H
#define FLOE_SRC_CLI_CLIENT_H

#include <floe/base/arena.h>
#include <floe/kafka/codec.h>

#define FLOE_CLIENT_ANSWER_MAX (UINT32_C(64) << 20)

struct floe_client;
/* Connects to HOST:PORT, or the first of HOST:PORT,HOST:PORT,... that answers, and asks for ApiVersions. The
 * sentence of a failure names the address and what to do.
 */
enum floe_err floe_client_connect(struct floe_client **out, const char *bootstrap, uint32_t timeout_ms,
                                  struct floe_error *err) FLOE_MUST_USE;
void floe_client_close(struct floe_client **c); /* null is fine */
/* Sends `request`, the struct of that API, and decodes the answer: *response lies in the client until the
 * next call. *version, which may be null, gets the version that was spoken. */
enum floe_err floe_client_call(struct floe_client *c, int16_t api_key, int16_t max_version,
                               const void *request, void **response, int16_t *version,
                               struct floe_error *err) FLOE_MUST_USE;
/* Sets the error to "TOPIC_ALREADY_EXISTS: <the broker's sentence, or Kafka's>". */
enum floe_err floe_client_error(int16_t code, struct floe_kstr message, struct floe_error *err);

#endif
