/* One broker process, from a configuration to its exit code. */
#ifndef FLOE_BROKER_BROKER_H
#define FLOE_BROKER_BROKER_H

#include <floe/broker/config.h>
#include <floe/objstore.h>

/* Runs a broker until SIGTERM or SIGINT. 0: a clean end; 1: it could not start, or not end cleanly. Says why
 * on stderr, and `ready listen=HOST:PORT` there once requests are served. */
int floe_broker_main(const struct floe_config *cfg);

/* Opens the store that a URL of the configuration names, as a broker would; for inspection too. */
enum floe_err floe_broker_open_store(struct floe_store **out, struct floe_loop *loop,
                                     const struct floe_config *cfg, const struct floe_config_url *url,
                                     struct floe_error *err) FLOE_MUST_USE;

#endif
