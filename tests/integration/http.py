#!/usr/bin/env python3
"""What a broker serves over HTTP, asked with curl: health, readiness, metrics; and what it costs when it idles.

http.py [TEST ...]

The environment names an S3 server, as tests/support/s3server sets it; each test's brokers reach it through a floe-proxy,
which counts their requests and can be taken away.
"""
import json, os, re, signal, socket, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import prometheus
from floe_broker import FLOE, Broker, check, floe, main, need, run

LEASE_MS = 2000


class Proxy:
    def __init__(self):
        self.proc = subprocess.Popen([os.path.join(os.path.dirname(FLOE), "floe-proxy"), "--to", os.environ["FLOE_S3_ENDPOINT"]],
                                     stdout=subprocess.PIPE, text=True)
        self.addr, control = re.match(r"listen=(\S+) control=(\S+)", self.proc.stdout.readline()).groups()
        host, port = control.split(":")
        self.lines = socket.create_connection((host, int(port)), timeout=20).makefile("rw", newline="\n")

    def ask(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()
        rows = []
        while not rows or not rows[-1].startswith(("ok", "error")):
            rows.append(self.lines.readline().strip())
            check(rows[-1], "the proxy is gone")
        check(rows[-1].startswith("ok"), f"proxy: {line}: {rows[-1]}")
        return rows[:-1]

    def counts(self):
        """Requests so far by method."""
        out = {"PUT": 0, "GET": 0, "HEAD": 0, "LIST": 0, "DELETE": 0}
        for row in self.ask("stats"):
            method, requests = row.split()[0], int(re.search(r"requests=(\d+)", row).group(1))
            if method in out:
                out[method] += requests
        return out

    def end(self):
        self.proc.kill()
        self.proc.wait()


class Served(Broker):
    """A broker with --http; `via`: the proxy it uses."""

    def __init__(self, folder, name="b", via=None, args=()):
        self.via, self.own = via or Proxy(), via is None
        super().__init__(os.path.join(folder, name),
                         ["--store", f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}",
                          "--s3-endpoint", f"http://{self.via.addr}", "--lease-ms", str(LEASE_MS),
                          "--http", "127.0.0.1:0", *args])

    def stop(self, wait=25.0):
        code = super().stop(wait)
        if self.own:
            self.via.end()
        return code

    def wait_ready(self, wait=15.0):
        super().wait_ready(wait)
        self.http = re.search(r"^ready .* http=(\S+)", self.output(), re.M).group(1)
        return self

    def curl(self, path, *flags):
        """Status and body."""
        r = run(["curl", "-s", "-m", "10", "-w", "\n%{http_code}", *flags, f"http://{self.http}{path}"], ok=False)
        body, _, status = r.stdout.decode().rpartition("\n")
        return int(status), body

    def metrics(self):
        status, text = self.curl("/metrics")
        check(status == 200, f"/metrics answers {status}")
        return prometheus.parse(text)

    def until(self, path, want, wait):
        end = time.monotonic() + wait
        while True:
            status, body = self.curl(path)
            if status == want:
                return body
            check(time.monotonic() < end, f"{path} is {status} after {wait} s, not {want}: {body}")
            time.sleep(0.1)


def health_and_errors(folder):
    b = Served(folder).start()
    b.until("/readyz", 200, 3)
    check(b.curl("/healthz") == (200, "alive\n"), "not alive")
    check(b.curl("/metrics", "-I")[0] == 200, "HEAD is not served")
    check(b.curl("/")[0] == 404 and b.curl("/metrics/x")[0] == 404, "a path that there is none of")
    check(b.curl("/metrics", "-X", "DELETE")[0] == 405, "a method that is not allowed")
    check("Allow: GET, HEAD" in b.curl("/readyz", "-X", "PUT", "-d", "x" * 100000, "-i", "-H", "Expect:")[1], "no Allow header")
    check(b.curl("/" + "x" * 30000)[0] in (0, 414, 431), "a line longer than any")
    check(b.curl("/healthz")[0] == 200, "still alive")
    check(b.stop() == 0, "a clean end")
    none = Broker(os.path.join(folder, "n"), ["--store", f"file://{folder}/store"]).start()
    check("http=" not in none.output(), "a port that nobody asked for")
    check(none.stop() == 0, "a clean end")


def readiness_follows_the_session(folder):
    b = Served(folder).start()
    b.until("/readyz", 200, 3)
    b.via.ask("down")  # no renewal succeeds any more
    t0 = time.monotonic()
    why = b.until("/readyz", 503, 4 * LEASE_MS / 1000)
    took = time.monotonic() - t0
    check("lapsed" in why, why)
    check(b.curl("/healthz")[0] == 200, "a process that waits for its table must not be restarted")
    m = b.metrics()
    check(prometheus.value(m, "floe_session_alive") == 0 and prometheus.value(m, "floe_ready") == 0, "gauges")
    check(prometheus.value(m, "floe_lapses_total") == 1, "one lapse")
    b.via.ask("up")
    b.until("/readyz", 200, 10)
    b.proc.send_signal(signal.SIGSTOP)  # the core loop stands still, and so does everything: nothing is answered
    check(b.curl("/healthz", "-m", "1")[0] == 0, "a stopped process answers")
    b.proc.send_signal(signal.SIGCONT)
    b.until("/healthz", 200, 10)
    check(b.stop() == 0, "a clean end")
    return f"not ready {took:.1f} s after the table went"


def metrics_count(folder):
    b = Served(folder).start()
    before = b.metrics()
    floe("topic", "create", "t", "--bootstrap", b.addr, "--partitions", "3")
    run(["kcat", "-b", b.addr, "-P", "-t", "t", "-p", "1"], data=b"".join(b"%d\n" % i for i in range(1000)))
    out = run(["kcat", "-b", b.addr, "-C", "-t", "t", "-p", "1", "-o", "beginning", "-e", "-q"])
    check(len(out.split()) == 1000, "records")
    time.sleep(1.2)
    after = b.metrics()
    value = prometheus.value
    check(value(after, "floe_produced_records_total") == 1000, "records produced")
    check(value(after, "floe_fetched_bytes_total") >= value(after, "floe_produced_bytes_total") > 3890, "bytes")
    check(value(after, "floe_partitions_led") == 3 and value(after, "floe_partitions_adopted_total", why="new") == 3, "partitions")
    check(value(after, "floe_requests_total", api="Produce") >= 1 and value(after, "floe_requests_total", api="Fetch") >= 1, "APIs")
    check(value(after, "floe_put_seconds_count") >= 1 and value(after, "floe_commits_total") >= 1, "PUTs")
    check(value(after, "floe_store_requests_total", kind="put") > value(before, "floe_store_requests_total", kind="put"), "store")
    for (name, labels), v in before.items():
        if name.endswith(("_total", "_count", "_bucket")):
            check(after[(name, labels)] >= v, f"{name} {dict(labels)} went back")
    check(0 <= value(after, "floe_utilisation") <= 1, "utilisation")
    run(["kcat", "-b", b.addr, "-C", "-t", "t", "-p", "2", "-o", "beginning", "-e", "-q"])
    check(b.stop() == 0, "a clean end")


def slow_readers_hold_nobody_up(folder):
    b = Served(folder).start()
    host, port = b.http.split(":")
    idle = []
    for _ in range(100):  # more than are let in; they send half a request, and take nothing
        s = socket.create_connection((host, int(port)))
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        idle.append(s)
    floe("topic", "create", "t", "--bootstrap", b.addr)
    t0 = time.monotonic()
    run(["kcat", "-b", b.addr, "-P", "-t", "t"], data=b"x\n")
    took = time.monotonic() - t0
    check(took < 3, f"a record took {took} s")
    for s in idle:
        s.close()
    b.until("/healthz", 200, 5)
    t0 = time.monotonic()
    check(b.stop() == 0 and time.monotonic() - t0 < 5, "a clean end")


def idle_requests(proxy, seconds):
    """Requests a second by method, counted at the proxy."""
    first, t0 = proxy.counts(), time.monotonic()
    time.sleep(seconds)
    last, t1 = proxy.counts(), time.monotonic()
    return {k: (last[k] - first[k]) / (t1 - t0) for k in first}


def dollars(rates):
    return 30 * 86400 / 1000 * (0.005 * (rates["PUT"] + rates["LIST"]) + 0.0004 * (rates["GET"] + rates["HEAD"]))


def check_told(b, rates, brokers):
    told, paid = prometheus.value(b.metrics(), "floe_idle_dollars_month"), dollars(rates) / brokers
    check(abs(told - paid) <= 0.25 * told, f"${told:.2f} a month are told, the requests make ${paid:.2f}")
    return f"${paid:.2f} a month, told ${told:.2f}"


def idle_costs_do_not_grow(folder):
    seconds = 12
    b = Served(folder).start()
    floe("topic", "create", "one", "--bootstrap", b.addr)
    time.sleep(3)
    one = idle_requests(b.via, seconds)
    for i in range(4):
        floe("topic", "create", f"many{i}", "--bootstrap", b.addr, "--partitions", "250")
    end = time.monotonic() + 20
    while prometheus.value(b.metrics(), "floe_partitions_led") < 1001:
        check(time.monotonic() < end, "not all partitions are served")
        time.sleep(0.2)
    time.sleep(5)  # their checkpoints, and what else a new partition brings along
    many = idle_requests(b.via, seconds)
    noise = 4 / seconds  # two periodic requests of each kind at the borders
    for k in one:
        check(abs(one[k] - many[k]) <= noise, f"{k}: {one[k]:.2f} a second with one partition, {many[k]:.2f} with 1,001")
    cost = check_told(b, many, 1)
    other = Served(folder, "c", via=b.via, args=["--rack", "z"]).start()
    time.sleep(3)
    status = json.loads(floe("cluster", "status", "--json", "--bootstrap", b.addr))
    check([x["state"] for x in status["brokers"]] == ["serving"] * 2, f"two brokers: {status}")
    check(all(0 <= x["utilisation"] <= 1 and x["scarcest"] and x["view_lag_ms"] >= 0 for x in status["brokers"]), f"{status}")
    check(all(abs(x["idle_dollars_month"] - prometheus.value(b.metrics(), "floe_idle_dollars_month")) < 0.01
              for x in status["brokers"]), f"idle cost: {status}")
    text = floe("cluster", "status", "--bootstrap", b.addr).decode()
    check(len(re.findall(r"  state=serving  utilisation=\d+% \(\w+\)  view-lag=\d+ms  idle=\$\d+\.\d\d/month-on-AWS", text)) == 2, text)
    two = idle_requests(b.via, seconds)
    costs = check_told(b, two, 2)
    check(other.stop() == 0 and b.stop() == 0, "a clean end")
    rates = ", ".join(f"{k} {one[k]:.2f}/{many[k]:.2f}/{two[k]:.2f}" for k in one if many[k] > 0)
    return f"a second with 1/1,001 partitions/two brokers, lease {LEASE_MS} ms: {rates}; one broker {cost}, each of two {costs}"


if __name__ == "__main__":
    need("curl", "curl")
    need("kcat", "kcat")
    main([health_and_errors, readiness_follows_the_session, metrics_count, slow_readers_hold_nobody_up, idle_costs_do_not_grow],
         sys.argv[1:])
