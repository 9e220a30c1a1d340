#!/usr/bin/env python3
"""`floe selftest`: a good verdict on good stores with nothing left behind, and each broken promise found by name.

  selftest.py file | s3 | broken     (s3: run by tests/support/s3server run)
"""
import json, os, signal, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import FLOE, check, floe, main, run

SUPPORT = os.path.join(os.path.dirname(__file__), "..", "support")
FAKE_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
GOOD = ("create_only", "replace_if", "read_after_write", "list_after_write", "bytes", "retries", "cluster")


def selftest(*args, env=None):
    """The exit code, the JSON, what was said meanwhile."""
    r = subprocess.run([FLOE, "selftest", "--json", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=150,
                       env=dict(os.environ, **(env or {})))
    said = r.stderr.decode("utf-8", "replace")
    check(r.stdout.strip(), f"no result (exit {r.returncode}):\n{said}")
    return r.returncode, json.loads(r.stdout), said


def good(folder, *args):
    code, result, said = selftest(*args)
    for name in GOOD:
        p = result["promises"][name]
        check(p["state"] == "kept" and p["checks"] > 0, f"{name}: {p}\n{said}")
    check(code == 0 and result["verdict"] == "GOOD" and result["removed"], f"exit {code}: {json.dumps(result)}\n{said}")
    check(result["cluster"]["kills"] > 0 and result["cluster"]["acknowledged"] > 0, f"no load or no kill: {result['cluster']}")
    check(all(row["requests"] > 0 for row in result["put"] + result["get"]), f"figures are missing: {json.dumps(result)}")
    check("selftest 6/7 cluster" in said, f"no progress was shown:\n{said}")
    c = result["cluster"]
    return f"{result['seconds']:.0f} s, {c['acknowledged']} acknowledged, {c['kills']} kills, again after {c['failover_ms_max']} ms"


def file_store(folder):
    os.mkdir(folder + "/mine")
    open(folder + "/mine/precious", "w").close()
    note = good(folder, "--store", f"file://{folder}/mine", "--minutes", "0.3")
    check(os.listdir(folder + "/mine") == ["precious"], f"left behind: {os.listdir(folder + '/mine')}")
    return note


def file_stopped(folder):
    """Ctrl-C in the middle: cleaned up all the same. A killed run: --clean does it."""
    where = f"file://{folder}/store"
    for how in (signal.SIGINT, signal.SIGKILL):
        p = subprocess.Popen([FLOE, "selftest", "--store", where, "--minutes", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.5)
        p.send_signal(how)
        out = p.communicate(timeout=60)[0].decode()
        if how == signal.SIGINT:
            check(p.returncode == 1 and "UNFINISHED: stopped by signal 2" in out, f"exit {p.returncode}: {out}")
            check(not os.path.exists(folder + "/store"), "the folder that it made is still there")
    left = os.listdir(folder + "/store")
    check(len(left) == 1 and left[0].startswith("selftest-"), f"{left}")
    os.mkdir(folder + "/store/selftest-mine")
    out = floe("selftest", "--store", where, "--clean").decode()
    check("removed" in out and os.listdir(folder + "/store") == ["selftest-mine"], f"{out} {os.listdir(folder + '/store')}")


def usage(folder):
    for args, what in ((("--minutes", "1"), "--store is missing"), (("--store", "nowhere"), "is not file:///DIR"),
                       (("--store", f"file://{folder}/s", "--minutes", "0.01"), "not a number from 0.1"),
                       (("--store", f"file://{folder}/s", "--listen", "x"), "no flag of this command")):
        r = run([FLOE, "selftest", *args], ok=False)
        check(r.returncode == 2 and what in r.stderr.decode(), f"{args}: exit {r.returncode}: {r.stderr.decode()}")
    with open(folder + "/floe.conf", "w") as f: # what a template leaves empty names no store
        f.write("lease-ms = 10s\n")
    for env in ({"FLOE_STORE": ""}, {"FLOE_CONFIG": folder + "/floe.conf"}):
        r = subprocess.run([FLOE, "selftest", "--minutes", "0.1"], cwd=folder, env=dict(os.environ, **env), capture_output=True, timeout=120)
        check(r.returncode == 2 and b"--store is missing" in r.stderr, f"{env}: exit {r.returncode}: {r.stderr.decode()}")
    check(b"--s3-endpoint URL" in floe("selftest", "--help"), "help has no settings")
    check(floe("help", "selftest") == floe("selftest", "--help"), "two texts of help")
    code, result, said = selftest("--store", "s3://nobucket/x", "--s3-endpoint", "http://127.0.0.1:1", env=FAKE_KEYS)
    check(code == 1 and result["verdict"] == "UNFINISHED" and "nobody listens" in result["unfinished_because"], f"{result}")


def s3_store(folder):
    endpoint = ("--s3-endpoint", os.environ["FLOE_S3_ENDPOINT"])
    url = f"s3://{os.environ['S3SERVER_BUCKET']}/a/prefix"
    note = good(folder, "--store", url, *endpoint, "--minutes", "0.3")
    out = floe("selftest", "--store", f"s3://{os.environ['S3SERVER_BUCKET']}/a/prefix", *endpoint, "--clean").decode()
    check("nothing is left" in out, f"left behind: {out}")
    return note


# What each fake breaks, and what the sentence says of it.
BROKEN = (("create", "create_only", ""), ("create-race", "create_only", "told that they had created"),
          ("replace", "replace_if", ""), ("replace-race", "replace_if", "updates were lost"),
          ("repeat", "retries", "its repeat was applied"), ("twice", "replace_if", ""),
          ("stale-read", "read_after_write", ""), ("stale-list", "list_after_write", "LIST right after"),
          ("unordered", "list_after_write", "order"), ("short-list", "list_after_write", "leaves one out"),
          ("corrupt", "bytes", "gave other bytes"), ("no-metadata", "bytes", ""))


def one_broken(mode, promise, sentence):
    server = subprocess.Popen([os.path.join(SUPPORT, "fake_s3"), mode], stdout=subprocess.PIPE)
    try:
        endpoint = server.stdout.readline().decode().strip()
        where = ("--store", "s3://fake/x", "--s3-endpoint", endpoint)
        code, result, said = selftest(*where, "--minutes", "0.1", env=FAKE_KEYS)
        states = {k: v["state"] for k, v in result["promises"].items()}
        check(code == 1 and result["verdict"] == "FAIL", f"{mode}: exit {code}: {json.dumps(result)}\n{said}")
        check([k for k, v in states.items() if v == "BROKEN"] == [promise], f"{mode}: {json.dumps(result['promises'])}\n{said}")
        check(sentence in result["promises"][promise]["why"], f"{mode}: {result['promises'][promise]['why']}")
        # What cannot be listed cannot be deleted: that is said, and is not a success.
        check(result["removed"] == (mode != "unordered"), f"{mode}: not cleaned up, or not told: {said}")
        return f"{mode} {result['seconds']:.1f} s"
    finally:
        server.kill()
        server.wait()


def broken_stores(folder):
    return ", ".join(one_broken(*b) for b in BROKEN)


TESTS = {"file": [file_store, file_stopped, usage], "s3": [s3_store], "broken": [broken_stores]}
if __name__ == "__main__":
    main(TESTS[sys.argv[1]], sys.argv[2:])
