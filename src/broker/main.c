/* The program: `floe broker` here, all else in src/cli. */
#include <floe/base/log.h>
#include <floe/broker/broker.h>
#include <floe/broker/config.h>
#include <floe/cli.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

static int broker_help(bool json)
{
    struct floe_writer w;
    floe_writer_init(&w, 1 << 20);
    if (json)
        floe_config_help_json(&w);
    else
        floe_config_help(&w);
    if (!json)
        printf(
            "usage: floe broker [--NAME VALUE ...]\n\n"
            "Runs a broker until SIGTERM. Each setting is a flag, a variable of the environment, and a line\n"
            "`NAME = VALUE` of the file that --config names; a flag beats the environment, which beats the "
            "file.\n"
            "Credentials for s3:// are taken from AWS's variables and files.\n\nsettings:\n");
    (void)fwrite(w.p, 1, w.n, stdout);
    floe_writer_fini(&w);
    return FLOE_CLI_OK;
}

static int broker(int argc, char **argv)
{
    bool help = false, json = false;
    for (int i = 0; i < argc; i++) {
        help = help || strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
        json = json || strcmp(argv[i], "--json") == 0;
    }
    if (help)
        return broker_help(json);
    static struct floe_config cfg;
    struct floe_error err;
    if (floe_config_load(&cfg, argc, argv, environ, &err) != FLOE_OK) {
        (void)fprintf(stderr, "floe: broker: %s\n", err.msg);
        return FLOE_CLI_USAGE;
    }
    floe_log_setup((enum floe_log_level)cfg.log_level, cfg.log_json);
    return floe_broker_main(&cfg);
}

int main(int argc, char **argv)
{
    /* A client that went away is an error of its connection, not the end of the process. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    if (argc >= 2 && strcmp(argv[1], "broker") == 0)
        return broker(argc - 2, argv + 2);
    if (argc >= 3 && strcmp(argv[1], "help") == 0 && strcmp(argv[2], "broker") == 0)
        return broker_help(false);
    return floe_cli_main(argc - 1, argv + 1);
}
