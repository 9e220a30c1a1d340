#!/usr/bin/env python3
"""Banned calls, each with its replacement. `/* lint: NAME why */` on the line or above it excuses one."""
import re
import sys

from common import bare_c, c_files, excused, read, run

DISK = ("src/os/", "src/objstore/file/", "src/table/file/", "src/tier/", "src/broker/", "src/cli/")
NET = ("src/os/", "src/net/", "src/cli/")
SERVICES = ("src/base/log.c", "include/floe/base/log.h", "src/net/", "src/retain/", "src/catalog/", "src/group/", "src/txn/",
            "src/queue/", "src/auth/", "src/api_", "src/admin/", "src/broker/", "src/cli/")
OUTPUT = ("src/base/assert.c", "src/broker/", "src/cli/")

# (names, where they are fine, what to use instead)
RULES = [
    (["time", "clock", "clock_gettime", "gettimeofday", "ftime", "localtime", "localtime_r", "uv_now", "uv_hrtime"],
     ("src/os/", "src/base/log.c", "src/cli/"), "floe_loop_now_us or floe_loop_wall_ms (floe/os/loop.h)"),
    (["sleep", "usleep", "nanosleep", "clock_nanosleep", "uv_sleep"], ("src/cli/",),
     "a floe_timer, or a condition that is waited for"),
    (["rand", "rand_r", "srand", "random", "srandom", "drand48", "lrand48", "getrandom", "getentropy", "arc4random",
      "RAND_bytes", "uv_random"], ("src/os/", "src/base/rng.c"), "floe_rng_* on loop->rng (floe/base/rng.h)"),
    (["gets", "sprintf", "vsprintf", "strcpy", "stpcpy", "strcat", "strncat", "strncpy"], (),
     "snprintf or floe_str_copy, which are bounded"),
    (["asprintf", "vasprintf"], (), "snprintf into a bounded buffer, or floe_writer"),
    (["atoi", "atol", "atoll", "atof", "strtol", "strtoll", "strtoul", "strtoull", "sscanf"], (),
     "floe_str_parse_*, which refuse what is not a number (floe/base/str.h)"),
    (["strtok", "strtok_r", "setjmp", "longjmp", "alloca", "system", "popen", "tmpnam", "mktemp"], (),
     "something that has bounds and no hidden state (mkstemp, cursors)"),
    (["open", "openat", "creat", "fopen", "freopen", "fdopen", "unlink", "unlinkat", "rename", "renameat", "link",
      "linkat", "mkdir", "mkdirat", "rmdir", "opendir", "fsync", "fdatasync", "flock", "mmap"], DISK,
     "the store, table or tier interface"),
    (["socket", "bind", "accept", "accept4", "getaddrinfo", "send", "recv", "sendto", "recvfrom", "sendmsg", "recvmsg",
      "uv_tcp_init", "uv_tcp_connect"], NET, "floe/net: servers and peers"),
    (["pthread_create", "thrd_create", "uv_thread_create", "uv_queue_work"],
     ("src/os/", "src/objstore/", "src/tier/", "src/net/"), "floe_work (floe/os/work.h)"),
    (["assert"], (), "FLOE_ASSERT, which stays on in release builds"),
    (["abort"], ("src/base/assert.c",), "FLOE_ASSERT for our mistakes, an error for the world's"),
    (["exit", "_exit", "quick_exit"], ("src/broker/", "src/cli/"), "an error to the caller"),
    (["printf", "fprintf", "vprintf", "vfprintf", "puts", "fputs", "putchar", "perror"], OUTPUT,
     "an error with a sentence; services log with floe_log"),
    (["floe_log", "floe_log_error", "floe_log_warn", "floe_log_info", "floe_log_debug"], SERVICES,
     "an error or a hook: libraries do not log, services do"),
    (["getenv", "secure_getenv", "setenv"], ("src/broker/", "src/cli/", "src/objstore/s3/"),
     "a setting of src/broker/config_table.c"),
]
BY_NAME = {name: (fine, instead) for names, fine, instead in RULES for name in names}
CALL = re.compile(r"(?<![\w.>])(?:::)?(" + "|".join(sorted(BY_NAME, key=len, reverse=True)) + r")\s*\(")
# Tests may do as they like with clocks, files and sockets, but not with these.
IN_UNIT_TESTS = {"sleep", "usleep", "nanosleep", "clock_nanosleep", "uv_sleep", "gets", "sprintf", "vsprintf", "strcpy",
                 "strcat", "rand", "random", "tmpnam", "mktemp"}


def own_functions(text):
    """Names that the file itself defines or declares as static functions."""
    return set(re.findall(r"^static[^;{}()=]*?\b(\w+)\s*\(", text, re.M))


def check(root):
    for path in c_files(root):
        in_source = path.startswith(("src/", "include/"))
        if not in_source and not path.startswith(("tests/unit/", "tests/sim/")):
            continue
        text = read(root, path)
        bare, lines = bare_c(text), text.split("\n")
        own = own_functions(bare)
        for m in CALL.finditer(bare):
            name = m.group(1)
            fine, instead = BY_NAME[name]
            line = bare.count("\n", 0, m.start()) + 1
            if name in own or (not in_source and name not in IN_UNIT_TESTS):
                continue
            if path.startswith(fine) or excused(lines, line, name):
                continue
            yield path, line, f"{name}() is not for here: use {instead}"


PLANTED = {
    "src/log/a.c": ("int f(void)\n{\n    return (int)time(NULL) + rand();\n}\n",
                    ["3: time() is not for here: use floe_loop_now_us", "3: rand()"]),
    "src/base/b.c": ("void f(char *a)\n{\n    strcpy(a, \"x\");\n    sprintf (a, \"y\");\n}\n",
                     ["3: strcpy()", "4: sprintf()"]),
    "src/lease/c.c": ("int f(void)\n{\n    usleep(1);\n    return open(\"x\", 0) + socket(1, 2, 3);\n}\n",
                      ["3: usleep()", "4: open()", "4: socket()"]),
    "src/lease/f.c": ("void f(void)\n{\n    floe_log_warn(\"x\", \"y\");\n}\n", ["3: floe_log_warn()"]),
    "src/catalog/d.c": ("void f(void)\n{\n    printf(\"x\");\n    assert(1);\n}\n", ["3: printf()", "4: assert()"]),
    "tests/unit/log/e.c": ("void f(void)\n{\n    usleep(1);\n}\n", ["3: usleep()"]),
}
CLEAN = {
    "src/log/ok.c": "/* time( is said here, and rand() */\n#include <time.h>\nstatic int open(int x)\n{\n"
                    "    return x;\n}\nint g(struct x *s)\n{\n    s->connect(1);\n    s->ops->open(2);\n"
                    "    char *p = \"time(\";\n    return open(1) + runtime(2) + s.time(3);\n}\n",
    "src/broker/ok.c": "void f(void)\n{\n    floe_log_info(\"x\", \"y\");\n}\n",
    "src/os/ok.c": "int f(void)\n{\n    return clock_gettime(0, 0);\n}\n",
    "src/log/excused.c": "int f(void)\n{\n    /* lint: getenv read once by a test hook */\n    return getenv(\"x\") != 0;\n}\n",
    "src/cli/ok.c": "int f(void)\n{\n    printf(\"x\");\n    return socket(1, 2, 3);\n}\n",
    "tests/integration/ok.c": "int f(void)\n{\n    usleep(1);\n    return rand();\n}\n",
}
if __name__ == "__main__":
    sys.exit(run(check, PLANTED, CLEAN))
