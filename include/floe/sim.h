/* All of the simulator's drivers: world and loops, store, tier, peers. For tests and floe-sim; a module of
 * src/ includes only those of its own layer and below. */
#ifndef FLOE_SIM_H
#define FLOE_SIM_H

#include <floe/net/sim.h>
#include <floe/objstore/sim.h>
#include <floe/os/sim.h>
#include <floe/tier/sim.h>

#endif
