#include <floe_cmocka.h>

#include <floe/base/log.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char captured[16384];
static int saved_fd = -1, pipe_fd[2];

static void capture(void)
{
    assert_int_equal(pipe(pipe_fd), 0);
    saved_fd = dup(STDERR_FILENO);
    assert_true(saved_fd >= 0);
    assert_true(dup2(pipe_fd[1], STDERR_FILENO) >= 0);
    close(pipe_fd[1]);
}

static const char *captured_text(void)
{
    assert_true(dup2(saved_fd, STDERR_FILENO) >= 0);
    close(saved_fd);
    size_t n = 0;
    ssize_t got;
    while (n < sizeof captured - 1 && (got = read(pipe_fd[0], captured + n, sizeof captured - 1 - n)) > 0)
        n += (size_t)got;
    captured[n] = '\0';
    close(pipe_fd[0]);
    return captured;
}

static void text_lines(void **state)
{
    (void)state;
    capture();
    floe_log_setup(FLOE_LOG_INFO, false);
    floe_log_info("broker", "listening address=%s", "1.2.3.4:9092");
    floe_log_debug("broker", "not at this level");
    floe_log_error("net", "peer said \"a\nb\x1b[1m\" \xff");
    const char *text = captured_text();
    int y, mo, d, h, mi, s, ms, at = 0;
    assert_int_equal(sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &y, &mo, &d, &h, &mi, &s, &ms, &at), 7);
    assert_int_equal(at, 25);
    const char *second = strchr(text, '\n');
    assert_non_null(second);
    assert_int_equal(strncmp(text + at, "INFO broker: listening address=1.2.3.4:9092\n", 44), 0);
    assert_string_equal(second + 1 + at, "ERROR net: peer said \"a\\nb\\x1b[1m\" ?\n");
}

static void json_lines_parse(void **state)
{
    (void)state;
    capture();
    floe_log_setup(FLOE_LOG_DEBUG, true);
    floe_log_debug("a\"b", "quote \" slash \\ tab \t bell \a del \x7f bad \xc3( good \xc3\xa9 key=%d", 7);
    const char *text = captured_text();
    json_error_t err;
    json_t *j = json_loads(text, 0, &err);
    assert_non_null(j);
    assert_string_equal(json_string_value(json_object_get(j, "level")), "debug");
    assert_string_equal(json_string_value(json_object_get(j, "area")), "a\"b");
    assert_string_equal(json_string_value(json_object_get(j, "message")),
                        "quote \" slash \\ tab \t bell \a del \x7f bad \xef\xbf\xbd( good \xc3\xa9 key=7");
    assert_int_equal(strlen(json_string_value(json_object_get(j, "time"))), 24);
    json_decref(j);
}

static void long_lines_are_cut(void **state)
{
    (void)state;
    static char big[10000];
    memset(big, '\x01', sizeof big - 1);
    for (int json = 0; json < 2; json++) {
        capture();
        floe_log_setup(FLOE_LOG_INFO, json);
        floe_log_info("x", "%s", big);
        const char *text = captured_text();
        size_t n = strlen(text);
        assert_true(n > 2000 && n < sizeof captured - 1);
        assert_ptr_equal(strchr(text, '\n'), text + n - 1);
        assert_non_null(strstr(text, "..."));
    }
}

static char hooked[200];
static int hook_calls;
static void on_line(void *user, enum floe_log_level level, const char *line)
{
    (void)snprintf(hooked, sizeof hooked, "%s|%d|%s", (const char *)user, (int)level, line);
    hook_calls++;
}

static void hook_takes_lines_without_time(void **state)
{
    (void)state;
    capture();
    floe_log_setup(FLOE_LOG_WARN, false);
    floe_log_hook(on_line, "me");
    floe_log_warn("lease", "slow ms=%d", 12);
    floe_log_info("lease", "below the level");
    assert_string_equal(hooked, "me|1|lease: slow ms=12");
    assert_int_equal(hook_calls, 1);
    floe_log_hook(NULL, NULL);
    floe_log_warn("lease", "to stderr");
    assert_int_equal(hook_calls, 1);
    assert_non_null(strstr(captured_text(), "WARN lease: to stderr\n"));
    assert_true(floe_log_enabled(FLOE_LOG_ERROR));
    assert_false(floe_log_enabled(FLOE_LOG_INFO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),
        cmocka_unit_test(json_lines_parse),
        cmocka_unit_test(long_lines_are_cut),
        cmocka_unit_test(hook_takes_lines_without_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
