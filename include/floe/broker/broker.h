/* One broker process, from a configuration to its exit code. */
#ifndef FLOE_BROKER_BROKER_H
#define FLOE_BROKER_BROKER_H

#include <floe/broker/config.h>

/* Runs a broker until SIGTERM or SIGINT. 0: a clean end; 1: it could not start, or not end cleanly. Says why
 * on stderr, and `ready listen=HOST:PORT` there once requests are served. */
int floe_broker_main(const struct floe_config *cfg);

#endif
