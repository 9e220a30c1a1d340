"""What a cluster's own part of a failover is: fresh acks=all batches, sent by a client that never waits for a dead broker.

`Probe` asks the live brokers who leads, and sends each partition's leader a batch until it was acknowledged once. What it was told
goes to a history as fault_load's do, so that fault_check looks at these records too. Standard library only.
"""
import os, socket, struct, threading, time

CRC = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    CRC.append(i)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRC[(c ^ b) & 0xFF] ^ c >> 8
    return c ^ 0xFFFFFFFF


def string(s):
    return struct.pack(">h", len(s)) + s.encode()


def batch(value):
    """A record batch of one record without a producer id."""
    record = b"\0\0\0\1" + bytes([2 * len(value)]) + value + b"\0"
    ms = int(time.time() * 1000)
    body = struct.pack(">hiqqqhii", 0, 0, ms, ms, -1, -1, -1, 1) + bytes([2 * len(record)]) + record
    return struct.pack(">qiibI", 0, 9 + len(body), -1, 2, crc32c(body)) + body


class Reader:
    def __init__(self, b, at=0):
        self.b, self.at = b, at

    def take(self, form):
        out = struct.unpack_from(">" + form, self.b, self.at)
        self.at += struct.calcsize(">" + form)
        return out if len(out) > 1 else out[0]

    def string(self):
        n = max(self.take("h"), 0)
        self.at += n
        return self.b[self.at - n:self.at].decode()

    def ints(self):
        return [self.take("i") for _ in range(self.take("i"))]


class Client:
    """One connection; requests may be sent ahead, answers come in their order."""

    def __init__(self, addr, wait=5.0):
        host, port = addr.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), wait)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(wait)

    def send(self, api, version, body):
        head = struct.pack(">hhi", api, version, 0) + string("probe")
        self.sock.sendall(struct.pack(">i", len(head + body)) + head + body)

    def take(self, n):
        out = b""
        while len(out) < n:
            more = self.sock.recv(n - len(out))
            if not more:
                raise OSError("closed")
            out += more
        return out

    def answer(self):
        return Reader(self.take(struct.unpack(">i", self.take(4))[0]), 4)

    def leaders(self, topic):
        """partition → address of its leader."""
        self.send(3, 5, struct.pack(">i", 1) + string(topic) + b"\0")
        r = self.answer()
        r.take("i")
        nodes = {}
        for _ in range(r.take("i")):
            node, host, port = r.take("i"), r.string(), r.take("i")
            r.string()
            nodes[node] = f"{host}:{port}"
        r.string()
        r.take("ii")
        r.take("h")
        r.string()
        r.take("b")
        out = {}
        for _ in range(r.take("i")):
            _, partition, leader = r.take("hii")
            out[partition] = nodes.get(leader)
            for _ in range(3):
                r.ints()
        return out

    def send_produce(self, topic, values, timeout_ms=1000):
        """`values`: partition → bytes."""
        body = struct.pack(">hhii", -1, -1, timeout_ms, 1) + string(topic) + struct.pack(">i", len(values))
        for partition, value in values.items():
            b = batch(value)
            body += struct.pack(">ii", partition, len(b)) + b
        self.send(0, 7, body)

    def produced(self):
        """partition → (error, offset)."""
        r = self.answer()
        r.take("i")
        r.string()
        out = {}
        for _ in range(r.take("i")):
            partition, error, offset, _, _ = r.take("ihqqq")
            out[partition] = error, offset
        return out


class Probe:
    """Until every partition was acknowledged once since it began; figures in seconds from then on.

    `healthy`: address → two partitions that this live broker led before and shall lead on. Batches of the first go behind those of
    all others on the same connection (`behind_s`, the longest wait), batches of the second on one of their own (`alone_s`).
    `led_s`: when no partition had one of the addresses in `gone` as its leader any more."""

    def __init__(self, topic, partitions, live, healthy, gone, folder, producer):
        self.topic, self.healthy, self.gone, self.producer = topic, healthy, gone, producer
        self.acked_s, self.errors, self.behind_s, self.alone_s, self.led_s = {}, {}, 0.0, 0.0, None
        self.partitions, self.seq, self.lead = partitions, 0, {}
        self.acked = open(os.path.join(folder, f"acked.{producer}"), "w")
        open(os.path.join(folder, f"failed.{producer}"), "w").close()
        self.lock, self.stop, self.trouble = threading.Lock(), False, None
        self.t0 = time.monotonic()
        self.threads = [threading.Thread(target=self.guarded, args=(f, a)) for a in live for f in (self.all_of, self.one_of)]
        self.threads.append(threading.Thread(target=self.guarded, args=(self.look, live[0])))
        for t in self.threads:
            t.start()

    def guarded(self, f, addr):
        try:
            f(addr)
        except Exception as e:
            self.trouble = f"{f.__name__} {addr}: {e!r}"

    def value(self):
        with self.lock:
            self.seq += 1
            return f"{self.producer}:{self.seq}:".encode()

    def look(self, addr):
        c = Client(addr)
        while not self.stop:
            self.lead = c.leaders(self.topic)
            if self.led_s is None and not any(a is None or a in self.gone for a in self.lead.values()):
                self.led_s = time.monotonic() - self.t0
            time.sleep(0.02)

    def note(self, values, answers):
        for p, (error, offset) in answers.items():
            if error:
                self.errors[error] = self.errors.get(error, 0) + 1
                continue
            with self.lock:
                self.acked.write(f"{p} {offset} {values[p].decode().rstrip(':')}\n")
            self.acked_s.setdefault(p, time.monotonic() - self.t0)

    def all_of(self, addr):
        c = Client(addr)
        while not self.stop:
            mine = [p for p, a in self.lead.items() if a == addr and p not in self.acked_s and p not in self.healthy[addr]]
            if not mine:
                time.sleep(0.005)
                continue
            values, one = {p: self.value() for p in mine}, {self.healthy[addr][0]: self.value()}
            c.send_produce(self.topic, values)
            sent = time.monotonic()
            c.send_produce(self.topic, one)
            self.note(values, c.produced())
            self.note(one, c.produced())
            self.behind_s = max(self.behind_s, time.monotonic() - sent)
            if any(p not in self.acked_s for p in mine):
                time.sleep(0.05) # refused: as a client waits before it sends again

    def one_of(self, addr):
        c = Client(addr)
        while not self.stop:
            one, began = {self.healthy[addr][1]: self.value()}, time.monotonic()
            c.send_produce(self.topic, one)
            self.note(one, c.produced())
            self.alone_s = max(self.alone_s, time.monotonic() - began)
            time.sleep(0.005)

    def finish(self, wait):
        """Seconds until all were acknowledged; None: not within `wait`."""
        until = time.monotonic() + wait
        while len(self.acked_s) < self.partitions and time.monotonic() < until and not self.trouble:
            time.sleep(0.01)
        self.stop = True
        for t in self.threads:
            t.join()
        self.acked.close()
        if self.trouble:
            raise OSError(self.trouble)
        return max(self.acked_s.values()) if len(self.acked_s) == self.partitions else None
