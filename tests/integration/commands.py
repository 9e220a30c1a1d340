#!/usr/bin/env python3
"""`floe group` and `floe config` against a broker, with kcat as the group's member."""
import json, os, signal, socket, socketserver, struct, subprocess, sys, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(1, os.path.join(os.path.dirname(__file__), "compare"))
from floe_broker import FLOE, Broker, check, main, need
import wire

RECORDS = 30


class Commands:
    def __init__(self, folder):
        need("kcat", "kcat")
        self.b = Broker(os.path.join(folder, "data"), ["--store", "file://" + os.path.join(folder, "store")]).start()
        self.ok("topic", "create", "t", "--partitions", "3")
        for p in range(3): # named, for a partitioner may put all into one
            lines = b"".join(b"%d\n" % i for i in range(p, RECORDS, 3))
            subprocess.run(["kcat", "-b", self.b.addr, "-P", "-t", "t", "-p", str(p)], input=lines, check=True, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.b.kill()

    def run(self, *args):
        r = subprocess.run([FLOE, *args, "--bootstrap", self.b.addr], capture_output=True, text=True, timeout=60)
        return r.returncode, r.stdout, r.stderr

    def ok(self, *args):
        code, out, err = self.run(*args)
        check(code == 0, f"floe {' '.join(args)}: exit {code}: {err}")
        return out

    def json(self, *args):
        return json.loads(self.ok(*args, "--json"))

    def fails(self, code, words, *args):
        got, out, err = self.run(*args)
        check(got == code and words in err, f"floe {' '.join(args)}: exit {got}, said {err!r}, not {words!r}")

    def consume(self, group):
        r = subprocess.run(["kcat", "-b", self.b.addr, "-X", "auto.offset.reset=earliest", "-G", group, "-e", "-q", "t"],
                           capture_output=True, timeout=60)
        return len(r.stdout.split())

    def reset(self, group, *args):
        return {p["partition"]: p["new_offset"]
                for p in self.json("group", "reset-offsets", group, "--topic", "t", *args)["partitions"]}

    def partitions(self, group):
        return self.json("group", "describe", group)["groups"][0]["partitions"]


def groups_are_shown_and_reset(folder):
    with Commands(folder) as c:
        check(c.consume("g") == RECORDS, "kcat did not read all")
        rows = c.partitions("g")
        ends = {p["partition"]: p["end"] for p in rows}
        check(sum(ends.values()) == RECORDS and all(p["lag"] == 0 and p["committed"] == p["end"] for p in rows), rows)
        check(c.json("group", "list")["groups"][0]["group"] == "g", "list does not show the group")
        start = {p: 0 for p in ends}
        for args, want in [(["--to-earliest"], start), (["--to-latest"], ends), (["--to-current"], ends),
                           (["--to-offset", "2"], {p: 2 for p in ends}), (["--to-offset", "999"], ends),
                           (["--shift-by", "-1"], {p: e - 1 for p, e in ends.items()}), (["--shift-by", "5"], ends),
                           (["--shift-by=-9223372036854775808"], start),
                           (["--to-datetime", "2020-01-01T00:00:00.000+02:00"], start),
                           (["--by-duration", "PT1H"], start), (["--by-duration", "0ms"], ends)]:
            got = c.reset("g", *args)
            check(got == want, f"{args}: {got} and not {want}")
        check(all(p["lag"] == 0 for p in c.partitions("g")), "a dry run changed something")
        check(c.reset("g", "--to-earliest", "--execute") == start, "reset")
        check(sum(p["lag"] for p in c.partitions("g")) == RECORDS, "the lag after a reset is not all there is")
        check(c.consume("g") == RECORDS, "after a reset to the earliest not all is read again")
        check(c.ok("group", "reset-offsets", "new", "--topic", "t:0,2", "--to-latest", "--execute").count("\n") == 2, "t:0,2")
        check([p["partition"] for p in c.partitions("new")] == [0, 2], "a reset made a group with other partitions")


def topics_are_altered(folder):
    with Commands(folder) as c:
        c.ok("topic", "alter", "t", "--partitions", "5", "--config", "retention.ms=1000", "--config", "cleanup.policy=compact")
        c.ok("topic", "alter", "t", "--delete-config", "retention.ms")
        t = c.json("topic", "describe", "t")["topics"][0]
        check(len(t["partitions"]) == 5 and list(t["configs"]) == ["cleanup.policy"], t)
        c.fails(1, "retention.ms is not set", "topic", "alter", "t", "--delete-config", "retention.ms", "--partitions", "7")
        c.fails(1, "UNKNOWN_TOPIC_OR_PARTITION", "topic", "alter", "none", "--delete-config", "retention.ms")
        check(len(c.json("topic", "describe", "t")["topics"][0]["partitions"]) == 5, "half of a refused alteration was made")
        c.fails(1, "INVALID_PARTITIONS", "topic", "alter", "t", "--partitions", "2")
        c.fails(1, "the configurations were changed, the partitions were not", "topic", "alter", "t", "--partitions", "2", "--config",
                "retention.ms=5")
        c.fails(1, "UNKNOWN_TOPIC_OR_PARTITION", "topic", "alter", "none", "--partitions", "9")
        c.fails(2, "nothing to alter", "topic", "alter", "t")
        c.fails(2, "is not KEY=VALUE", "topic", "alter", "t", "--config", "x")
        c.fails(2, "not a number from 1", "topic", "alter", "t", "--partitions", "many")
        c.fails(2, "add --force", "topic", "delete", "__consumer_offsets")
        c.fails(2, "add --force", "topic", "create", "__consumer_offsets")
        c.fails(1, "none: UNKNOWN_TOPIC_OR_PARTITION", "topic", "alter", "none", "--partitions", "9")
        c.fails(1, "t: TOPIC_ALREADY_EXISTS", "topic", "create", "t")
        c.fails(2, 'did you mean "topic alter"?', "topic", "alte")
        for args in [["create", "kept", "--config", "retention.ms=1000", "--config", "max.message.bytes=2000"],
                     ["alter", "kept", "--config", "retention.ms=2000"]]: # what is not obeyed is not taken in silence
            code, out, err = c.run("topic", *args)
            check(code == 0 and "note: retention.ms: Stored; not yet obeyed." in err and "max.message" not in err, f"{args}: {err}")
        c.ok("group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--execute")
        check("deleted topic __consumer_offsets" in c.ok("topic", "delete", "__consumer_offsets", "--force"), "--force")
        c.ok("topic", "create", "u")
        code, out, err = c.run("topic", "delete", "u", "none")
        check(code == 1 and out == "deleted topic u\n" and "none: UNKNOWN_TOPIC_OR_PARTITION" in err, f"{code}: {out} {err}")
        code, out, err = c.run("topic", "list")
        check(code == 0 and err == "" and "retention" not in out, f"list says more than it was asked: {err}")
        check("not obeyed" not in c.run("topic", "describe", "none")[2], "a note about no topic at all")
        check("not obeyed yet" in c.run("topic", "describe", "t")[2], "describe does not say what is not obeyed")
        r = subprocess.run([FLOE, "topic"], capture_output=True, text=True)
        check(r.returncode == 2 and "create list describe alter delete" in r.stderr, r.stderr)
        files = [os.path.join(d, f) for d, _, fs in os.walk(os.path.join(folder, "store")) for f in fs if "/chain/" in d]
        r = subprocess.run([FLOE, "segment", "dump", files[0]], capture_output=True, text=True)
        check(r.returncode == 1 and "--store file:///DIR KEY" in r.stderr, r.stderr)


def a_broker_is_away(folder):
    with Commands(folder) as c:
        check(c.consume("g") == RECORDS, "kcat did not read all")
        other = Broker(os.path.join(folder, "data2"), ["--store", "file://" + os.path.join(folder, "store"), "--listen",
                                                       "peer=127.0.0.1:0", "--advertise", "127.0.0.1:1"]).start()
        try:
            until = time.monotonic() + 20
            while len(c.json("cluster", "status")["brokers"]) < 2:
                check(time.monotonic() < until, "the second broker is not in the cluster")
            code, out, err = c.run("group", "list", "--json") # the others' groups, and what is missing
            check(code == 1 and json.loads(out)["brokers_missing"] == [2], f"exit {code}: {out} {err}")
            check("groups of broker 2 are missing" in err and "groups" in json.loads(out), err)
            code, out, err = c.run("cluster", "status")
            check(code == 0 and "state=no-answer" in out and "  version=" in out, out)
            check("note: broker 2 does not answer: nothing listens on 127.0.0.1:1\n" == err, err)
        finally:
            other.kill()


def a_broker_is_silent(_folder):
    with socket.create_server(("127.0.0.1", 0)) as s:
        p = subprocess.Popen([FLOE, "group", "list", "--bootstrap", "127.0.0.1:%d" % s.getsockname()[1]], stderr=subprocess.PIPE, text=True)
        try:
            check("to answer, for up to 30 s" in p.stderr.readline(), "a wait is not told of")
        finally:
            p.kill()
            p.communicate()


class Growing(socketserver.BaseRequestHandler):
    """A cluster of one broker, until it has been asked for once: then another one leads partition 0 of topic t."""
    versions = {"ApiVersions": 3, "Metadata": 4, "FindCoordinator": 1, "DescribeGroups": 1, "OffsetFetch": 5, "ListOffsets": 5}
    asked = 0

    def handle(self):
        names = {wire.api(n).key: n for n in self.versions}
        while len(size := self.request.recv(4, socket.MSG_WAITALL)) == 4:
            frame = self.request.recv(struct.unpack(">i", size)[0], socket.MSG_WAITALL)
            key, version, correlation, n = struct.unpack(">hhih", frame[:10])
            m = wire.TABLES[names[key] + "Response"]
            asks = wire.Reader(frame[10 + n:], version, False).struct(wire.api(names[key]).body) if key != 18 else None
            body = wire.Writer(version, version >= m.flexible).struct(m.body, getattr(self, names[key])(asks))
            self.request.sendall(struct.pack(">ii", len(body) + 4, correlation) + body)

    def ApiVersions(self, _):
        return {"ApiKeys": [{"ApiKey": wire.api(n).key, "MinVersion": 0, "MaxVersion": v} for n, v in self.versions.items()]}

    def Metadata(self, _):
        Growing.asked += 1
        host, port = self.server.server_address
        return {"Brokers": [{"NodeId": i, "Host": host, "Port": port} for i in ([1] if Growing.asked == 1 else [1, 2])], "Topics": [
            {"Name": "t", "Partitions": [{"PartitionIndex": 0, "LeaderId": 2, "ReplicaNodes": [2], "IsrNodes": [2]}]}]}

    def FindCoordinator(self, _):
        host, port = self.server.server_address
        return {"NodeId": 1, "Host": host, "Port": port}

    def DescribeGroups(self, _):
        return {"Groups": [{"GroupId": "g", "GroupState": "Dead"}]}

    def OffsetFetch(self, _):
        return {"Topics": []}

    def ListOffsets(self, asks):
        time = asks["Topics"][0]["Partitions"][0]["Timestamp"]
        return {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "Offset": 7 if time == -2 else 9}]}]}


def a_broker_comes_meanwhile(_folder):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Growing) as s:
        s.daemon_threads = True
        threading.Thread(target=s.serve_forever, daemon=True).start()
        try:
            r = subprocess.run([FLOE, "group", "reset-offsets", "g", "--topic", "t", "--to-earliest", "--bootstrap", "127.0.0.1:%d" % s.server_address[1]],
                               capture_output=True, text=True, timeout=60)
            check(r.returncode == 0 and "new-offset=7\n" in r.stdout, f"exit {r.returncode}: {r.stdout} {r.stderr}")
        finally:
            s.shutdown()


def a_store_is_away(folder):
    env = dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    r = subprocess.run([FLOE, "selftest", "--store", "s3://bucket/x", "--s3-endpoint", "http://127.0.0.1:1", "--minutes", "0.1"],
                       capture_output=True, text=True, env=env, timeout=60)
    check(r.returncode == 1 and "nothing was written" in r.stdout and "UNFINISHED" in r.stdout, r.stdout)
    check("removed" not in r.stdout.lower() and "could be deleted" not in r.stderr, r.stdout + r.stderr)
    r = subprocess.run([FLOE, "selftest", "--help"], capture_output=True, text=True)
    check("must be given" in r.stdout and "DATA-DIR" not in r.stdout, "the help gives --store a default")
    for ca, words in [(os.path.join(folder, "none"), "cannot be read: No such file"), (__file__, "must be PEM")]:
        r = subprocess.run([FLOE, "broker", "--data-dir", os.path.join(folder, "ca"), "--listen", "127.0.0.1:0", "--store", "s3://bucket/x",
                            "--s3-endpoint", "https://127.0.0.1:1", "--s3-ca", ca], capture_output=True, text=True, env=env, timeout=60)
        check(r.returncode == 1 and words in r.stderr and "waiting" not in r.stderr, r.stderr)
    b = Broker(os.path.join(folder, "data"), ["--store", "s3://bucket/x", "--s3-endpoint", "http://127.0.0.1:1"], env=env)
    b.launch()
    try:
        until = time.monotonic() + 8
        while "waiting for store s3://bucket/x" not in b.output():
            check(time.monotonic() < until, f"nothing is said while the store is away: {b.output()}")
            time.sleep(0.1)
    finally:
        b.kill()


def a_port_that_is_no_s3_server(folder):
    env = dict(os.environ, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
    with socket.create_server(("127.0.0.1", 0)) as s:
        def serve():
            while True:
                try:
                    c, _ = s.accept()
                    c.sendall(b"SSH-2.0-something\r\n")
                    c.close()
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        b = Broker(os.path.join(folder, "data"), ["--store", "s3://bucket/x", "--s3-endpoint", "http://127.0.0.1:%d" % s.getsockname()[1]],
                   env=env)
        b.launch()
        try:
            until = time.monotonic() + 10
            while "the last attempt: http://127.0.0.1" not in b.output():
                check(time.monotonic() < until and b.proc.poll() is None, f"not said while it is tried: {b.output()}")
                time.sleep(0.1)
        finally:
            b.kill()
    said = b.output()
    check("does not speak HTTP" in said or "the connection to" in said, said)


def a_data_directory_of_another_cluster(folder):
    data, store = os.path.join(folder, "data"), "file://" + os.path.join(folder, "store")
    b = Broker(data, ["--store", store]).start()
    b.kill()
    empty = os.path.join(folder, "empty")
    r = subprocess.run([FLOE, "broker", "--data-dir", data, "--listen", "127.0.0.1:0", "--store", "file://" + empty],
                       capture_output=True, text=True, timeout=60)
    check(r.returncode == 1 and "the data directory belongs to cluster" in r.stderr and "holds no cluster" in r.stderr, r.stderr)
    left = [f for _, _, fs in os.walk(os.path.join(empty, "objects")) for f in fs]
    check(left == [], f"a refused start left {left} in the store")


def groups_say_what_is_wrong(folder):
    with Commands(folder) as c:
        reset = ("group", "reset-offsets", "g", "--topic", "t")
        c.fails(1, 'there is no group "g"', "group", "describe", "g")
        c.fails(1, "GROUP_ID_NOT_FOUND", "group", "delete", "g")
        c.fails(1, "no committed offset that could be shifted", *reset, "--shift-by", "1")
        c.fails(1, "UNKNOWN_TOPIC_OR_PARTITION", "group", "reset-offsets", "g", "--topic", "no", "--to-latest")
        c.fails(1, "no partition 9", "group", "reset-offsets", "g", "--topic", "t:9", "--to-latest")
        c.fails(1, "has committed nothing", "group", "reset-offsets", "g", "--all-topics", "--to-latest")
        c.fails(2, "where to?", *reset)
        c.fails(2, "both given", *reset, "--to-latest", "--to-earliest")
        c.fails(2, "both given", *reset, "--to-latest", "--dry-run", "--execute")
        c.fails(2, "--all-topics is needed", "group", "reset-offsets", "g", "--to-latest")
        c.fails(2, "no date and time", *reset, "--to-datetime", "2026-02-30T00:00")
        c.fails(2, "no duration", *reset, "--by-duration", "PT")
        c.fails(2, "--to-offset", *reset, "--to-offset", "x")
        for topic in ("t:", ":1", "t:1,", "t:x", "t:4294967296"):
            c.fails(2, "NAME:PARTITION", "group", "reset-offsets", "g", "--topic", topic, "--to-latest")
        member = subprocess.Popen(["kcat", "-b", c.b.addr, "-G", "g", "-q", "t"], stdout=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 30
            while True:
                code, out, _ = c.run("group", "describe", "g", "--json")
                g = json.loads(out)["groups"][0] if code == 0 else {"state": "", "members": []}
                if g["state"] == "Stable" and len(g["members"][0]["partitions"]) == 3:
                    break
                check(time.monotonic() < until, f"the group does not settle: {g}")
                time.sleep(0.2)
            check(all(p["member"] == g["members"][0]["member"] for p in g["partitions"]), "partitions without their member")
            c.fails(1, "it is Stable", *reset, "--to-latest", "--execute")
            c.fails(1, "NON_EMPTY_GROUP: members of the group are active", "group", "delete", "g")
            check((g["assignor"], g["members"][0]["protocol"]) == ("range", "classic"), g)
            check("protocol=classic" in c.ok("group", "describe", "g"), "describe does not show the member's protocol")
        finally:
            member.terminate()
            member.wait(20)
        until = time.monotonic() + 30
        while c.json("group", "describe", "g")["groups"][0]["state"] != "Empty":
            check(time.monotonic() < until, "the member does not leave")
            time.sleep(0.2)
        check("deleted group g" in c.ok("group", "delete", "g"), "delete")
        check(c.json("group", "list") == {"groups": []}, "a deleted group is listed")


def configs(folder):
    with Commands(folder) as c:
        shown = lambda *more: {x["name"]: (x["value"], x["source"])
                               for x in c.json("config", "describe", "topic", "t", *more)["configs"]}
        check(shown() == {}, "something is set from the start")
        c.ok("config", "set", "topic", "t", "retention.ms=1000", "cleanup.policy=compact")
        check(shown() == {"retention.ms": ("1000", "topic"), "cleanup.policy": ("compact", "topic")}, shown())
        c.ok("config", "delete", "topic", "t", "retention.ms")
        check(list(shown()) == ["cleanup.policy"] and shown("--all")["retention.ms"] == ("604800000", "default"), "delete")
        c.fails(1, "INVALID_CONFIG: Unknown topic config name: x", "config", "set", "topic", "t", "x=1", "retention.ms=5")
        check(list(shown()) == ["cleanup.policy"], "half of a refused change was made")
        c.fails(1, "UNKNOWN_TOPIC_OR_PARTITION", "config", "describe", "topic", "none")
        c.fails(1, "broker 77 is not in the cluster", "config", "describe", "broker", "77")
        c.fails(1, "Cannot update these configs dynamically: Set(num.partitions)", "config", "set", "broker", "1", "num.partitions=3")
        c.fails(2, '"lease-ms" is none of a broker', "config", "set", "broker", "1", "lease-ms=4000")
        c.ok("config", "set", "broker", "1", "message.max.bytes=2000000")
        of = {x["name"]: (x["value"], x["source"]) for x in c.json("config", "describe", "broker", "1")["configs"]}
        check(of.get("message.max.bytes") == ("2000000", "broker"), of)
        c.ok("config", "delete", "broker", "1", "message.max.bytes")
        c.ok("config", "set", "broker", "all", "max.connections=500")
        of = {x["name"]: (x["value"], x["source"]) for x in c.json("config", "describe", "broker", "1")["configs"]}
        check(of.get("max.connections") == ("500", "all brokers"), of)
        c.ok("config", "delete", "broker", "all", "max.connections")
        c.ok("config", "set", "group", "g", "consumer.session.timeout.ms=50000")
        of = {x["name"]: (x["value"], x["source"]) for x in c.json("config", "describe", "group", "g")["configs"]}
        check(of == {"consumer.session.timeout.ms": ("50000", "group")}, of)
        code, _, err = c.run("config", "set", "topic", "t", "retention.ms=1000", "max.message.bytes=1000000")
        check(code == 0 and err == "note: retention.ms: Stored; not yet obeyed.\n", f"exit {code}: {err}")
        c.fails(2, "neither topic, broker nor group", "config", "describe", "client", "g")
        c.fails(2, "is not KEY=VALUE", "config", "set", "topic", "t", "x")
        all_of = c.json("config", "describe", "broker", "1", "--all")["configs"]
        values = {x["name"]: (x["value"], x["source"]) for x in all_of}
        for name, want in [("num.partitions", ("1", "default")), ("node.id", ("1", "start")),
                           ("offsets.retention.minutes", ("10080", "default")), ("log.retention.hours", ("168", "default")),
                           ("log.message.timestamp.type", ("CreateTime", "default"))]:
            check(values.get(name) == want, f"{name} is {values.get(name)}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main([groups_are_shown_and_reset, groups_say_what_is_wrong, topics_are_altered, a_broker_is_away, a_broker_is_silent, a_broker_comes_meanwhile, a_store_is_away, a_port_that_is_no_s3_server,
          a_data_directory_of_another_cluster, configs], sys.argv[1:])
