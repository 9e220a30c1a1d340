/* What all tier drivers share. */
#include <floe/tier.h>

struct floe_slice floe_tier_meta(struct floe_tier *t, const char *name)
{
    return t->ops->meta(t, name);
}
