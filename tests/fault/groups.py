#!/usr/bin/env python3
"""A group's coordinator is killed, and stopped, while its members commit: no committed offset is lost or turned back, and the
members go on without a rebalance. Real brokers, a real S3 server, librdkafka's consumers (group.c).
"""
import json, os, signal, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
sys.path.insert(0, os.path.dirname(__file__))
from floe_broker import FLOE, Broker, Limit, check, floe, main

GROUP = os.path.join(os.path.dirname(os.path.abspath(FLOE)), "tests", "fault_group")
PARTITIONS, MEMBERS, LEASE_MS = 12, 4, 2000


class Members:
    def __init__(self, bootstrap, out):
        self.out = out
        self.proc = subprocess.Popen([GROUP, bootstrap, "g", "t", str(MEMBERS)], stdin=subprocess.PIPE, stdout=open(out, "wb"))

    def rows(self):
        with open(self.out) as f:
            return f.read().split("\n")[:-1]

    def counts(self):
        rows = self.rows()
        words = rows[-1].split() if rows else []
        check(words[:1] != ["WRONG"], " ".join(words))
        return {k: int(v) for k, v in zip(words[::2], words[1::2])}

    def wait(self, ok, wait, what):
        limit = Limit(wait)
        while not ok(self.counts()):
            check(self.proc.poll() is None, f"the members ended: {self.rows()[-1:]}")
            check(limit.lasts(), f"{what}: not within {wait} s: {self.counts()}")
            time.sleep(0.05)

    def tell(self, line):
        self.proc.stdin.write(line.encode() + b"\n")
        self.proc.stdin.flush()

    def go_on(self, wait, what):
        before = self.counts()["acked"]
        self.wait(lambda c: c["acked"] > before + 10 * MEMBERS, wait, what)

    def end(self):
        self.tell("quit")
        check(self.proc.wait(60) == 0, f"the members failed: {self.rows()[-1:]}")
        return {int(p): int(n) for e, p, n in (r.split() for r in self.rows() if r.startswith("end "))}


def described(brokers):
    alive = ",".join(b.addr for b in brokers if b.proc.poll() is None)
    return json.loads(floe("group", "describe", "g", "--json", "--bootstrap", alive))["groups"][0]


def coordinator(brokers):
    alive = next(b for b in brokers if b.proc.poll() is None)
    node = described(brokers)["coordinator"]
    status = json.loads(floe("cluster", "status", "--json", "--bootstrap", alive.addr))
    addr = next(f"{n['host']}:{n['port']}" for n in status["brokers"] if n["id"] == node)
    return next(b for b in brokers if b.addr == addr)


def coordinator_dies(folder):
    store = f"s3://{os.environ['S3SERVER_BUCKET']}/{os.path.basename(folder)}"
    brokers = [Broker(os.path.join(folder, f"b{i}"), ["--store", store, "--lease-ms", str(LEASE_MS),
                      "--group.initial.rebalance.delay.ms", "1500"]) for i in range(3)]
    members, waits = None, []
    try:
        for b in brokers:
            b.start()
        floe("topic", "create", "t", "--partitions", str(PARTITIONS), "--bootstrap", brokers[0].addr)
        members = Members(",".join(b.addr for b in brokers), os.path.join(folder, "members"))
        members.wait(lambda c: c.get("held") == PARTITIONS and c["assigned"] >= MEMBERS and c["acked"] > 0, 60, "the group does not settle")
        members.go_on(20, "the members do not commit")
        assigned = members.counts()["assigned"]
        for how in ("kill", "stop"):
            members.tell("mark")
            time.sleep(0.5)
            b = coordinator(brokers)
            if how == "kill":
                b.kill()
            else:
                b.proc.send_signal(signal.SIGSTOP)
            members.go_on(30, f"commits after the coordinator's {how}")
            time.sleep(0.5)
            members.go_on(30, f"commits after the coordinator's {how}")
            waits.append(f"{how} {members.counts()['slowest_ms'] / 1000:.1f} s")
            if how == "kill":
                b.listen = b.addr
                b.start()
            else:
                b.proc.send_signal(signal.SIGCONT)
            time.sleep(2)
        check(members.counts()["assigned"] == assigned, f"the group was rebalanced: {assigned} assignments, then {members.counts()}")
        acked = members.end()
        check(len(acked) == PARTITIONS, f"not every partition was committed: {acked}")
        for p in described(brokers)["partitions"]:
            check(p["committed"] >= acked[p["partition"]], f"partition {p['partition']}: {p['committed']}, acknowledged {acked}")
        return f"longest wait for a commit: {', '.join(waits)}"
    finally:
        if members and members.proc.poll() is None:
            members.proc.kill()
            members.proc.wait()
        for b in brokers:
            if b.proc and b.proc.poll() is None:
                b.proc.send_signal(signal.SIGCONT)
            b.kill()


if __name__ == "__main__":
    if not os.path.exists(GROUP):
        sys.exit("fault_group was not built: install librdkafka-dev (scripts/deps) and build again")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main([coordinator_dies], sys.argv[1:])
