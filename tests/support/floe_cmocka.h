/* cmocka with the headers it wants before it. Test programs include this first. */
#ifndef FLOE_TEST_CMOCKA_H
#define FLOE_TEST_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#endif
