/* The newest format of table and bucket that this program reads. Alone in its file, so that a test's program
 * can be linked with another value. */
#include <floe/lease.h>

#ifndef FLOE_FORMAT_NEWEST
#define FLOE_FORMAT_NEWEST 2
#endif

const int32_t floe_format_newest = FLOE_FORMAT_NEWEST;
