#!/usr/bin/env python3
"""End to end with kcat: what goes in comes out. usage: e2e.py file|s3 [TEST...]

For s3 the environment names the server, as tests/support/s3server sets it.
"""
import glob, hashlib, os, re, signal, socket, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import FLOE, Broker, Failure, Limit, check, floe, main, need, run

STORE = sys.argv[1]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
BYTES_PER_CODEC = int(os.environ.get("FLOE_TEST_MIB", "40")) << 20
PARTITIONS = 6
KEYS = 23


def store_args(folder):
    if STORE == "file":
        return ["--store", "file://" + os.path.join(folder, "store")]
    return ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}",
            "--s3-endpoint", os.environ["FLOE_S3_ENDPOINT"]]


def broker(folder, name="data", more=()):
    return Broker(os.path.join(folder, name), store_args(folder) + list(more))


def text_files():
    """What Debian installs: C headers, package documentation."""
    for root in ("/usr/include", "/usr/share/doc", "/usr/lib/python3", "/usr/share/perl"):
        for folder, dirs, files in os.walk(root):
            dirs.sort()
            for f in sorted(files):
                if not f.endswith((".gz", ".so", ".a", ".pyc", ".png")):
                    yield os.path.join(folder, f)


def corpus(path, size):
    """`size` bytes of keyed lines ("key<TAB>line"); the SHA-256 of each key's lines."""
    sums = [hashlib.sha256() for _ in range(KEYS)]
    written = n = 0
    with open(path, "wb") as out:
        while written < size:
            before = written
            for f in text_files():
                try:
                    with open(f, "rb") as src:
                        lines = src.read().split(b"\n")
                except OSError:
                    continue
                for line in lines:
                    if not line or b"\0" in line or len(line) > 100000:
                        continue
                    key = n % KEYS
                    n += 1
                    sums[key].update(line + b"\n")
                    out.write(b"k%02d\t%s\n" % (key, line))
                    written += len(line)
                if written >= size:
                    break
            check(written > before, "there is no text on this machine to test with")
    return [s.hexdigest() for s in sums], n


def kcat(b, *args, **kw):
    return run(["kcat", "-b", b.addr, *args], **kw)


def produce_file(b, topic, path, *more):
    with open(path, "rb") as f:
        r = subprocess.run(["kcat", "-b", b.addr, "-P", "-t", topic, "-K", "\t", *more], stdin=f,
                           stderr=subprocess.PIPE, timeout=240)
    check(r.returncode == 0, f"kcat -P: {r.stderr.decode()[-2000:]}")


def consume_sums(b, topic):
    """SHA-256 of each key's lines as they come back; offsets must be dense and each key in one partition."""
    p = subprocess.Popen(["kcat", "-b", b.addr, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f",
                          "%p\t%o\t%k\t%s\n"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sums = [hashlib.sha256() for _ in range(KEYS)]
    home, next_offset, n = {}, {}, 0
    for row in p.stdout:
        part, offset, key, line = row.split(b"\t", 3)
        check(next_offset.get(part, 0) == int(offset),
              f"{topic}-{part.decode()}: offset {offset.decode()} where {next_offset.get(part, 0)} was due")
        next_offset[part] = int(offset) + 1
        check(home.setdefault(key, part) == part, f"key {key} is in partitions {part} and {home[key]}")
        sums[int(key[1:])].update(line)
        n += 1
    check(p.wait(60) == 0, f"kcat -C: {p.stderr.read().decode()[-2000:]}")
    return [s.hexdigest() for s in sums], n


def independent_reader(folder):
    """libs3 and a parser of its own find in the bucket exactly what docs/formats says."""
    if STORE != "s3":
        return ""
    tool = os.path.join(os.path.dirname(FLOE), "tests", "libs3_check")
    at = os.environ["FLOE_S3_ENDPOINT"].split("://")[1]
    out = run([tool, "--endpoint", at, "--bucket", os.environ["S3SERVER_BUCKET"], "--prefix",
               os.path.basename(folder), "--partitions"], wait=240)
    return "libs3: " + out.decode().strip().split("\n")[-1] + "; "


def text_through_every_codec(folder):
    need("kcat", "kcat")
    path = os.path.join(folder, "text")
    sums, n = corpus(path, BYTES_PER_CODEC)
    b = broker(folder).start()
    try:
        for codec in CODECS:
            floe("topic", "create", "text-" + codec, "--partitions", str(PARTITIONS), "--bootstrap", b.addr)
            more = ["-X", "enable.idempotence=true"] if codec in ("lz4", "none") else []
            produce_file(b, "text-" + codec, path, "-z", codec, *more)
        for codec in CODECS:
            got, m = consume_sums(b, "text-" + codec)
            check(m == n, f"{codec}: {n} lines went in, {m} came back")
            check(got == sums, f"{codec}: what came back differs from what went in")
        check(b.stop() == 0, "SIGTERM: exit code is not 0")
        b.start()
        for codec in CODECS[:2]: # from the store alone now
            check(consume_sums(b, "text-" + codec) == (sums, n), f"{codec}: differs after a restart")
        check(b.stop() == 0, "SIGTERM after a restart: exit code is not 0")
        note = independent_reader(folder)
    finally:
        b.kill()
    return f"{note}{len(CODECS)} x {BYTES_PER_CODEC >> 20} MiB, {n} lines each"


def a_hangup_ends_it_cleanly(folder):
    """A terminal that closes, or a supervisor's reload: not a kill. Under nohup it is nothing."""
    b = broker(folder).start()
    try:
        b.proc.send_signal(signal.SIGHUP)
        check(b.proc.wait(25 * Limit.patience()) == 0 and "SIGHUP: ending" in b.output(), f"SIGHUP:\n{b.output()[-2000:]}")
        b.prefix = ["nohup"]
        b.start()
        b.proc.send_signal(signal.SIGHUP)
        floe("topic", "create", "t", "--bootstrap", b.addr)
        check(b.stop() == 0 and "SIGHUP" not in b.output(), f"nohup, then SIGTERM:\n{b.output()[-2000:]}")
    finally:
        b.kill()


def open_files_are_kept_for_the_store(folder):
    b = broker(folder)
    try:
        b.prefix = ["prlimit", "--nofile=256:4096"]
        b.start()
        with open(f"/proc/{b.proc.pid}/limits") as f:
            limits = f.read()
        check(re.search(r"Max open files +4096 +4096 ", limits), f"not raised to the hard limit:\n{limits}")
        check("so 3872 connections are accepted at once and not 10000" in b.output(), b.output())
        check(b.stop() == 0, "SIGTERM")
        b.prefix = ["prlimit", "--nofile=100:100"]
        b.start()
        port = int(b.addr.rsplit(":", 1)[1])
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(90)]
        gone = 0
        for s in crowd[50:]: # those that are too many are closed, before files run out
            s.settimeout(30)
            gone += s.recv(1) == b""
        check(gone == 40 and "Too many open files" not in b.output(), f"{gone} of 40 were refused:\n{b.output()}")
        for s in crowd:
            s.close()
        check(b.stop() == 0, "SIGTERM")
    finally:
        b.kill()


def keys_headers_timestamps(folder):
    b = broker(folder).start()
    try:
        kcat(b, "-P", "-t", "auto", "-K", ":", "-H", "h1=v1", "-H", "h2=", data=b"key:value\n:only-value\n")
        t = int(time.time() * 1000)
        out = kcat(b, "-C", "-t", "auto", "-o", "beginning", "-e", "-q", "-f", "%k|%s|%h|%T|%o\n").decode().split("\n")
        check(out[0].startswith("key|value|h1=v1,h2=|") and out[0].endswith("|0"), f"first record is {out[0]!r}")
        check(abs(int(out[0].split("|")[3]) - t) < 60000, "the timestamp is not now")
        check(out[1].startswith("|only-value|"), f"second record is {out[1]!r}")
    finally:
        b.kill()


def clean_restart(folder):
    b = broker(folder).start()
    try:
        floe("topic", "create", "t", "--partitions", "3", "--bootstrap", b.addr)
        for p in range(3):
            kcat(b, "-P", "-t", "t", "-p", str(p), data=b"one\ntwo\n")
        check(b.stop() == 0, f"SIGTERM: not a clean end:\n{b.output()[-2000:]}")
        b.start()
        for p in range(3):
            kcat(b, "-P", "-t", "t", "-p", str(p), data=b"three\n")
            got = kcat(b, "-C", "-t", "t", "-p", str(p), "-o", "beginning", "-e", "-q").decode()
            check(got == "one\ntwo\nthree\n", f"partition {p} has {got!r}")
    finally:
        b.kill()


def killed_and_back_on_its_disk(folder):
    b = broker(folder).start()
    try:
        kcat(b, "-P", "-t", "t", data=b"all\n")
        kcat(b, "-P", "-t", "t", "-X", "acks=1", data=b"one\n")
        b.kill()
        t0 = time.monotonic()
        b.start()
        ready = time.monotonic() - t0
        kcat(b, "-P", "-t", "t", data=b"after\n")
        until = time.monotonic() + 20
        while True:
            got = kcat(b, "-C", "-t", "t", "-o", "beginning", "-e", "-q").decode().split()
            if sorted(got) == ["after", "all", "one"]:
                break
            check(time.monotonic() < until, f"the partition has {got}")
            time.sleep(0.2)
        return f"ready after {ready * 1000:.0f} ms"
    finally:
        b.kill()


def another_takes_over(folder):
    """SIGKILL, disk deleted: a second broker serves everything that acks=all acknowledged."""
    lease = ["--lease-ms", "2000"]
    a, b = broker(folder, "a", lease).start(), broker(folder, "b", lease).start()
    try:
        floe("topic", "create", "t", "--partitions", "12", "--bootstrap", b.addr)
        lines = "".join(f"line-{i}\n" for i in range(5000)).encode()
        both = f"{a.addr},{b.addr}"
        run(["kcat", "-b", both, "-P", "-t", "t", "-X", "enable.idempotence=true"], data=lines)
        a.lose_disk()
        t0 = time.monotonic()
        run(["kcat", "-b", b.addr, "-P", "-t", "t", "-X", "enable.idempotence=true"], data=b"after\n" * 100, wait=60)
        took = time.monotonic() - t0
        got = kcat(b, "-C", "-t", "t", "-o", "beginning", "-e", "-q", wait=60).split()
        want = sorted(lines.split() + [b"after"] * 100)
        check(sorted(got) == want, f"{len(want)} records went in, {len(got)} came back")
        return f"produced again after {took:.1f} s"
    finally:
        a.kill()
        b.kill()


def topics_are_known_everywhere(folder):
    """What one broker has made or deleted, another lists as soon as the answer is there."""
    a, b = broker(folder, "a").start(), broker(folder, "b").start()
    try:
        for i in range(20):
            one, other = (a, b) if i % 2 else (b, a)
            floe("topic", "create", f"t{i}", "--partitions", "3", "--bootstrap", one.addr)
            check(f"t{i}  ".encode() in floe("topic", "list", "--bootstrap", other.addr), f"t{i} is not listed")
            floe("topic", "delete", f"t{i}", "--bootstrap", other.addr)
            check(f"t{i}  ".encode() not in floe("topic", "list", "--bootstrap", one.addr), f"t{i} is still listed")
    finally:
        a.kill()
        b.kill()


def command_line(folder):
    b = broker(folder).start()
    try:
        at = ["--bootstrap", b.addr]
        floe("topic", "create", "t1", "--partitions", "4", "--config", "max.message.bytes=100000", *at)
        r = floe("topic", "create", "t1", "--partitions", "4", *at, ok=False)
        check(r.returncode == 1 and b"exists" in r.stderr, f"creating twice: {r.returncode} {r.stderr!r}")
        r = floe("topic", "create", "t2", "--partitions", "4", "--config", "no.such=1", *at, ok=False)
        check(r.returncode == 1 and b"no.such" in r.stderr, f"unknown configuration: {r.stderr!r}")
        check(b"t1" in floe("topic", "list", *at), "t1 is not listed")
        check(b"max.message.bytes" in floe("topic", "describe", "t1", *at), "describe shows no configuration")
        floe("cluster", "status", *at)
        r = run(["kcat", "-b", b.addr, "-P", "-t", "t1", "-p", "0"], data=b"x" * 150000 + b"\n", ok=False)
        check(b"too large" in r.stderr.lower(), f"a record above max.message.bytes: {r.stderr!r}")
        floe("topic", "delete", "t1", *at)
        check(b"t1" not in floe("topic", "list", *at), "t1 is still listed")
        floe("topic", "create", "t1", "--partitions", "1", *at)
        check(kcat(b, "-C", "-t", "t1", "-o", "beginning", "-e", "-q") == b"", "the new t1 is not empty")
    finally:
        b.kill()


def objects(folder, pattern="chain/"):
    """Keys below chain/ with their sizes, as the store has them."""
    if STORE == "file":
        root = os.path.join(folder, "store", "objects")
        return {os.path.relpath(f, root): os.path.getsize(f)
                for f in glob.glob(os.path.join(root, pattern, "**"), recursive=True) if os.path.isfile(f)}
    out = run([os.path.join(os.path.dirname(FLOE), "tests", "libs3_check"), "--endpoint",
               os.environ["FLOE_S3_ENDPOINT"].split("://")[1], "--bucket", os.environ["S3SERVER_BUCKET"], "--prefix",
               os.path.basename(folder), "--keys"]).decode().split("\n")
    return {k: int(n) for k, n in (row.rsplit(" ", 1) for row in out if row.startswith(pattern))}


def bytes_of(folder):
    return sum(n for n in objects(folder).values())


def deleted_topics_leave_the_bucket(folder):
    """The bytes of a deleted topic go after the garbage age; what it shares the chain with is whole, after kills too."""
    short = ["--lease-ms", "500", "--garbage-age-ms", "5000"]
    os.environ["FLOE_TEST_LEASE_MS_MIN"] = "500"
    a, b = broker(folder, "a", short).start(), broker(folder, "b", short).start()
    try:
        for t in ("keep", "gone"):
            floe("topic", "create", t, "--partitions", "4", "--bootstrap", a.addr)
        lines = "".join(f"line-{i}\n" for i in range(3000)).encode()
        both = f"{a.addr},{b.addr}"
        for i in range(3):
            run(["kcat", "-b", both, "-P", "-t", "keep"], data=lines)
            run(["kcat", "-b", both, "-P", "-t", "gone"], data=os.urandom(3 << 20).hex().encode().replace(b"0", b"\n"))
        b.kill() # its chain is another's to look after
        want = sorted(lines.split() * 3)
        def whole(at):
            got = kcat(at, "-C", "-t", "keep", "-o", "beginning", "-e", "-q", wait=60).split()
            check(sorted(got) == want, f"{len(want)} records went in, {len(got)} came back")
        whole(a)
        full = bytes_of(folder)
        check(full > 15 << 20, f"only {full} bytes are in the bucket")
        floe("topic", "delete", "gone", "--bootstrap", a.addr)
        t0 = time.monotonic()
        while bytes_of(folder) > 1 << 20:
            check(time.monotonic() - t0 < 45, f"{bytes_of(folder)} of {full} bytes are still there")
            time.sleep(0.5)
        took = time.monotonic() - t0
        check(took > 5, f"they were gone after {took:.1f} s already")
        whole(a)
        a.lose_disk()
        c = broker(folder, "c", short).start()
        try:
            until = time.monotonic() + 30
            while True: # the rebuild meets the gaps
                try:
                    whole(c)
                    break
                except (Failure, subprocess.TimeoutExpired):
                    check(time.monotonic() < until, f"keep is not whole at the next broker:\n{c.output()[-2000:]}")
            check(c.stop() == 0, "SIGTERM: not a clean end")
        finally:
            c.kill()
        note = independent_reader(folder)
        return f"{note}{full >> 20} MiB, gone after {took:.0f} s"
    finally:
        a.kill()
        b.kill()


def starts_that_are_refused(folder):
    cases = [(["--listen", "127.0.0.1:70000"], "70000"), (["--no-such-flag", "1"], "no-such-flag"),
             (["--memory", "1MiB"], "memory"), (["--store", "ftp://x"], "ftp"), (["--listen", "0.0.0.0:0"], "advertise"),
             (["--store", "s3://bucket/x", "--s3-endpoint", "http://127.0.0.1:1"], "127.0.0.1:1")]
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for args, word in cases:
        t0 = time.monotonic()
        b = Broker(os.path.join(folder, "refused"), args, env)
        if "--listen" in args:
            b.listen = args[args.index("--listen") + 1]
            b.args = []
        b.launch()
        code = b.proc.wait(25)
        said = b.output()
        check(code not in (0, None) and word in said, f"{args}: exit {code}, said {said!r}")
        check(time.monotonic() - t0 < 20, f"{args}: took too long to refuse")
        check(said.count("\n") <= 4, f"{args}: more than a sentence: {said!r}")
    b = broker(folder).start()
    try:
        second = Broker(os.path.join(folder, "second"), store_args(folder), listen=b.addr)
        second.launch()
        check(second.proc.wait(20) == 1 and "use" in second.output(), f"port in use: {second.output()!r}")
    finally:
        b.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main([keys_headers_timestamps, clean_restart, a_hangup_ends_it_cleanly, open_files_are_kept_for_the_store, killed_and_back_on_its_disk, another_takes_over, topics_are_known_everywhere,
          command_line, deleted_topics_leave_the_bucket,
          starts_that_are_refused, text_through_every_codec], sys.argv[2:])
