#include <floe/base/mutant.h>

#ifdef FLOE_MUTANTS
enum floe_mutant floe_mutant_chosen;
#endif
