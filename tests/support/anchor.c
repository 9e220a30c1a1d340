/* Keeps the archive non-empty. */
extern int floe_test_support_anchor;
int floe_test_support_anchor;
