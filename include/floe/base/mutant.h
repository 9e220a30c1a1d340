/* Mutations: bugs that are planted on purpose, so that the simulator's checker can be seen to find them.
 *
 * What it is: `if (FLOE_MUTANT(NAME))` where the code would go wrong. In every build but the simulator's
 * second one (tests/sim) it is the constant false: no code, no cost. In that build one mutation at a time is
 * chosen
 * (`floe-sim-mutants --mutant NAME`). What it is not: a switch for users, or for tests of other kinds.
 *
 * Every mutation is declared once, in mutants.def.
 */
#ifndef FLOE_BASE_MUTANT_H
#define FLOE_BASE_MUTANT_H

#include <stdbool.h>

enum floe_mutant {
    FLOE_MUTANT_NONE,
#define MUTANT(name, invariant, what) FLOE_MUTANT_##name,
#include <floe/base/mutants.def>
#undef MUTANT
    FLOE_MUTANT_COUNT
};

#ifdef FLOE_MUTANTS
extern enum floe_mutant floe_mutant_chosen;
#define FLOE_MUTANT(name) (floe_mutant_chosen == FLOE_MUTANT_##name)
#else
#define FLOE_MUTANT(name) ((void)FLOE_MUTANT_##name, false)
#endif

#endif
