#include <floe_cmocka.h>

#include <floe/base/assert.h>
#include <floe/base/err.h>

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_kind_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < FLOE_ERR_COUNT; i++) {
        assert_string_not_equal(floe_err_name((enum floe_err)i), "unknown");
        for (int j = 0; j < i; j++)
            assert_string_not_equal(floe_err_name((enum floe_err)i), floe_err_name((enum floe_err)j));
    }
    assert_string_equal(floe_err_name(FLOE_ERR_COUNT), "unknown");
    assert_string_equal(floe_err_name((enum floe_err)(-1)), "unknown");
}

static void set_and_prefix(void **state)
{
    (void)state;
    struct floe_error e = {0};
    assert_int_equal(floe_error_set(&e, FLOE_ENOTFOUND, "no key \"%s\"", "a/b"), FLOE_ENOTFOUND);
    assert_int_equal(e.code, FLOE_ENOTFOUND);
    assert_string_equal(e.msg, "no key \"a/b\"");
    floe_error_prefix(&e, "bucket %d", 7);
    assert_string_equal(e.msg, "bucket 7: no key \"a/b\"");
    assert_int_equal(e.code, FLOE_ENOTFOUND);
    /* The old message may be an argument of the new one. */
    (void)floe_error_set(&e, FLOE_EIO, "again: %s", e.msg);
    assert_string_equal(e.msg, "again: bucket 7: no key \"a/b\"");
    assert_int_equal(floe_error_set(NULL, FLOE_EIO, "x"), FLOE_EIO);
    floe_error_prefix(NULL, "x");
    struct floe_error empty = {0};
    floe_error_prefix(&empty, "alone");
    assert_string_equal(empty.msg, "alone");
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    struct {
        struct floe_error e;
        char guard[8];
    } x = {.guard = "guarded"};
    char big[1000];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    (void)floe_error_set(&x.e, FLOE_EINVAL, "%s", big);
    assert_int_equal(strlen(x.e.msg), sizeof x.e.msg - 1);
    floe_error_prefix(&x.e, "where");
    assert_int_equal(strlen(x.e.msg), sizeof x.e.msg - 1);
    assert_int_equal(strncmp(x.e.msg, "where: xxx", 10), 0);
    floe_error_prefix(&x.e, "%s", big);
    assert_int_equal(strlen(x.e.msg), sizeof x.e.msg - 1);
    assert_string_equal(x.guard, "guarded");
}

static void failed_assertion_names_itself_and_aborts(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(fd[1], STDERR_FILENO);
        FLOE_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(fd[1]);
    char text[600] = "";
    size_t n = 0;
    ssize_t got;
    while (n < sizeof text - 1 && (got = read(fd[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    close(fd[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "assertion failed: 1 + 1 == 3 (failed_assertion_names_itself_and_aborts, "));
    assert_non_null(strstr(text, "test_err.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_a_name),
        cmocka_unit_test(set_and_prefix),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(failed_assertion_names_itself_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
