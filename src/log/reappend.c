#include "log_int.h"
void floe_reappend_start(struct floe_log *log)
{
    (void)log;
}
void floe_reappend_stop(struct floe_log *log)
{
    (void)log;
}
void floe_reappend_fini(struct floe_log *log)
{
    (void)log;
}
