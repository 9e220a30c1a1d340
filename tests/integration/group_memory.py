#!/usr/bin/env python3
"""Members of consumer groups that ask for much: what the broker's process has resident (/proc), and who is served all the same."""
import os, signal, socket, struct, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
from floe_broker import Broker, check, main

MIB = 1 << 20
MEMBERS = 300   # of 1 MiB each, in groups of their own
WAITING = 60    # clients that wait for their group with as much, and go
GROWTH_MIB = 60 # allowed: a fifth of what MEMBERS ask for
JOIN_GROUP, FIND_COORDINATOR = 11, 10
OK, LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 0, 14, 15, 16


def text(s):
    b = s.encode()
    return struct.pack(">h", len(b)) + b


class Client:
    def __init__(self, addr):
        host, port = addr.rsplit(":", 1)
        self.s = socket.create_connection((host, int(port)), timeout=60)

    def send(self, key, version, body):
        b = struct.pack(">hhi", key, version, 1) + text("t") + body
        self.s.sendall(struct.pack(">i", len(b)) + b)

    def read(self, n):
        out = b""
        while len(out) < n:
            got = self.s.recv(n - len(out))
            check(got, "the broker closed the connection")
            out += got
        return out

    def answer(self):
        return self.read(struct.unpack(">i", self.read(4))[0])[4:]

    def join_send(self, group, metadata, member=""):
        self.send(JOIN_GROUP, 2, text(group) + struct.pack(">ii", 600000, 600000) + text(member) + text("x") +
                  struct.pack(">i", 1) + text("p") + struct.pack(">i", len(metadata)) + metadata)

    def join(self, group, metadata):
        """Error and member id."""
        while True:
            self.join_send(group, metadata)
            a = self.answer()
            error = struct.unpack(">h", a[4:6])[0]
            if error not in (LOADING, NOT_COORDINATOR):
                break
            time.sleep(0.02)
        at = 10  # throttle time, error, generation; then protocol, leader, member
        for _ in range(3):
            n = struct.unpack(">h", a[at:at + 2])[0]
            last, at = a[at + 2:at + 2 + max(n, 0)], at + 2 + max(n, 0)
        return error, last.decode()


def resident_mib(b):
    with open(f"/proc/{b.proc.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def members_have_a_share_of_the_memory(folder):
    b = Broker(os.path.join(folder, "data"), ["--store", "file://" + os.path.join(folder, "store"), "--memory", "128MiB",
                                              "--group.initial.rebalance.delay.ms", "0"]).start()
    try:
        c = Client(b.addr)
        while True:
            c.send(FIND_COORDINATOR, 0, text("g"))
            if struct.unpack(">h", c.answer()[:2])[0] == OK:
                break
            time.sleep(0.05)
        before = resident_mib(b)
        metadata = os.urandom(MIB)
        error, member = c.join("small", b"m")
        check(error == OK, f"the first member is refused with {error}")
        errors = [c.join(f"g{i}", metadata)[0] for i in range(MEMBERS)]
        check(set(errors) == {OK, NOT_AVAILABLE}, f"answers {sorted(set(errors))}")
        grown = resident_mib(b) - before
        check(grown < GROWTH_MIB, f"{errors.count(OK)} members taken, {grown:.0f} MiB more resident")
        waiting = [Client(b.addr) for _ in range(WAITING)]
        for i, w in enumerate(waiting):
            w.join_send(f"g{i % 3}", metadata)
        for w in waiting:
            w.s.close()
        c.join_send("small", b"m", member)
        check(struct.unpack(">h", c.answer()[4:6])[0] == OK, "a member that is there is refused")
        grown = resident_mib(b) - before
        check(grown < 2 * GROWTH_MIB, f"with clients that came and went {grown:.0f} MiB more resident")
        told = b.output().count("members of groups fill their share of the memory")
        check(1 <= told <= 3, f"the log hears of it {told} times")
        check(b.stop() == 0, "the broker did not end well")
        return f"{errors.count(OK)} of {MEMBERS} members, {grown:.0f} MiB more resident"
    finally:
        b.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main([members_have_a_share_of_the_memory], sys.argv[1:])
