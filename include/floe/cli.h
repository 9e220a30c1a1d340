/* The command line but `floe broker`: administration over the Kafka protocol, and inspection of what is
 * stored.
 *
 * Output goes to stdout, text for people or JSON with --json; notes and errors go to stderr. One thread,
 * blocking.
 */
#ifndef FLOE_CLI_H
#define FLOE_CLI_H

enum floe_cli_exit { FLOE_CLI_OK = 0, FLOE_CLI_FAILED = 1, FLOE_CLI_USAGE = 2 };

/* argv without the program's name: `topic create x --partitions 3`. Returns the exit code. */
int floe_cli_main(int argc, char **argv);

/* `floe segment dump`; argv without these two words. */
int floe_cli_segment_dump(int argc, char **argv);
/* `floe selftest`; argv without this word. */
int floe_cli_selftest(int argc, char **argv);

#endif
