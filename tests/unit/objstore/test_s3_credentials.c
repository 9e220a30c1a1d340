/* Credentials and region from environment and shared files. */
#include <floe/objstore/s3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <cmocka.h>

static char dir[64];

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    char path[128];
    static const char *const names[] = {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",   "AWS_PROFILE",           "AWS_REGION",        "AWS_DEFAULT_REGION"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
    snprintf(dir, sizeof dir, "/tmp/floe-cred-XXXXXX");
    assert_non_null(mkdtemp(dir));
    setenv("HOME", dir, 1);
    snprintf(path, sizeof path, "%s/.aws", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    return system(cmd);
}

static void from_environment(void **state)
{
    (void)state;
    struct floe_s3_credentials c = {0};
    struct floe_error err = {0};
    char region[64] = "";
    write_file(".aws/config", "[default]\nregion = eu-north-1\naws_access_key_id = file\n");
    write_file(".aws/credentials",
               "[default]\naws_access_key_id = file\naws_secret_access_key = filesecret\n");
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    assert_int_equal(floe_s3_credentials_load(&c, NULL, &err), FLOE_EINVAL);
    assert_non_null(strstr(err.msg, "AWS_SECRET_ACCESS_KEY"));
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    setenv("AWS_SESSION_TOKEN", "token", 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(c.access_key, "id");
    assert_string_equal(c.secret_key, "secret");
    assert_string_equal(c.token, "token");
    assert_string_equal(region, "eu-north-1");
    setenv("AWS_DEFAULT_REGION", "r2", 1);
    region[0] = '\0';
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(region, "r2");
    setenv("AWS_REGION", "r1", 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(region, "r2"); /* one that is set is left alone */
    region[0] = '\0';
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(region, "r1");
    char big[200];
    memset(big, 'x', sizeof big);
    big[199] = '\0';
    setenv("AWS_SECRET_ACCESS_KEY", big, 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_EINVAL);
    assert_string_equal(c.secret_key, "secret");
}

/* As a secret that was made with echo has it: sent as it is, it would break the head of each request. */
static void what_no_key_has_is_named(void **state)
{
    (void)state;
    struct floe_s3_credentials c = {0};
    struct floe_error err = {0};
    char region[64] = "";
    static const struct {
        const char *name, *good, *bad;
    } cases[] = {{"AWS_ACCESS_KEY_ID", "id", "id\n"},
                 {"AWS_SECRET_ACCESS_KEY", "a+/=b", "a+/=b\r\n"},
                 {"AWS_SESSION_TOKEN", "token", " token"},
                 {"AWS_REGION", "eu-west-1", "eu-west-1\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        setenv(cases[i].name, cases[i].good, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv(cases[i].name, cases[i].bad, 1);
        region[0] = '\0';
        assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_EINVAL);
        assert_non_null(strstr(err.msg, cases[i].name));
        assert_non_null(strstr(err.msg, "line break"));
        assert_null(strstr(err.msg, "a+/=b"));
        assert_string_equal(region, "");
        setenv(cases[i].name, cases[i].good, 1);
    }
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(region, "eu-west-1");
}

static void from_files(void **state)
{
    (void)state;
    struct floe_s3_credentials c = {0};
    struct floe_error err = {0};
    char region[64] = "", path[128];
    write_file(".aws/config",
               "# comment\n[default]\nregion=us-west-2\n[profile two]\n region = nested\nregion =  ap-1  \n"
               "aws_access_key_id = from-config\naws_secret_access_key = s\ns3 =\n  region = no\n");
    write_file(".aws/credentials",
               "; comment\n[default]\r\naws_access_key_id = d\r\naws_secret_access_key = a=b+/\r\n"
               "[two]\naws_access_key_id = t\naws_secret_access_key=ts\naws_session_token = tok\n"
               "[half]\naws_access_key_id = h\n");
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(c.access_key, "d");
    assert_string_equal(c.secret_key, "a=b+/");
    assert_string_equal(c.token, "");
    assert_string_equal(region, "us-west-2");
    setenv("AWS_PROFILE", "two", 1);
    region[0] = '\0';
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(c.access_key, "t");
    assert_string_equal(c.token, "tok");
    assert_string_equal(region, "ap-1");
    setenv("AWS_PROFILE", "half", 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_EDENIED);
    assert_non_null(strstr(err.msg, "half"));
    assert_non_null(strstr(err.msg, "no complete keys"));
    setenv("AWS_PROFILE", "none", 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_EDENIED);
    assert_non_null(strstr(err.msg, "was not found"));
    assert_string_equal(c.access_key, "t");
    snprintf(path, sizeof path, "%s/other", dir);
    write_file("other", "[none]\naws_access_key_id = o\naws_secret_access_key = os\n");
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    assert_int_equal(floe_s3_credentials_load(&c, region, &err), FLOE_OK);
    assert_string_equal(c.access_key, "o");
}

static void nothing_anywhere(void **state)
{
    (void)state;
    struct floe_s3_credentials c = {0};
    struct floe_error err = {0};
    assert_int_equal(floe_s3_credentials_load(&c, NULL, &err), FLOE_EDENIED);
    assert_non_null(strstr(err.msg, "AWS_ACCESS_KEY_ID"));
    assert_non_null(strstr(err.msg, ".aws/credentials"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(from_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_key_has_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(from_files, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_anywhere, setup, teardown),
    };
    return cmocka_run_group_tests_name("objstore.s3_credentials", tests, NULL, NULL);
}
