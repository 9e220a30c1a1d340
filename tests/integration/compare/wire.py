"""Kafka's protocol for tests that send what no client library sends: requests and answers as dictionaries, by the table of
src/kafka/messages.txt; record batches; one blocking connection. Standard library only."""
import importlib.util
import os
import socket
import struct
import uuid

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")


def tables():
    spec = importlib.util.spec_from_file_location("gen", os.path.join(ROOT, "src", "kafka", "gen.py"))
    gen = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gen)
    out = {}
    for m in gen.parse_messages(os.path.join(ROOT, "src", "kafka", "messages.txt")):
        out[m.name] = m
        for f in [f for s in (m.body, *m.structs.values()) for f in s.fields]:
            f.name = f.name[0].upper() + f.name[1:]  # a few of Kafka's begin with a small letter
    return out


TABLES = tables()
FIXED = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "int64": ">q", "float64": ">d"}
ZERO = "0" * 32


def api(name):
    return TABLES[name + "Request"]


def errors():
    names = {}
    with open(os.path.join(ROOT, "src", "kafka", "errors.txt"), encoding="utf-8") as f:
        for words in map(str.split, f):
            if len(words) > 1 and not words[0].startswith("#"):
                names[int(words[0])] = words[1]
    return names


def within(r, v):
    return r[0] <= v <= r[1]


def uvarint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def varint(n):
    return uvarint((n << 1) ^ (n >> 63) if n >= 0 else ((-n) << 1) - 1)


def default(f):
    if f.default == "null" or (f.array and f.default_null()):
        return None
    if f.array:
        return []
    if f.struct:
        return {}
    if f.type in ("string",):
        return f.default.strip('"') if f.default else ""
    if f.type == "bytes":
        return b""
    if f.type == "records":
        return None
    if f.type == "uuid":
        return ZERO
    if f.type == "float64":
        return 0.0
    return bool(f.default_int()) if f.type == "bool" else f.default_int()


class Writer:
    def __init__(self, version, flexible):
        self.v, self.flex = version, flexible

    def sized(self, n, form):
        if self.flex:
            return uvarint(n + 1)
        return struct.pack(form, n)

    def one(self, f, value):
        if f.struct:
            mark = b""
            if f.pointer() and within(f.nullable, self.v):
                mark = b"\xff" if value is None else b"\x01"
            return mark if value is None else mark + self.struct(f.struct, value)
        if f.type in FIXED:
            return struct.pack(FIXED[f.type], value)
        if f.type == "uuid":
            return bytes.fromhex(value)
        form = ">h" if f.type == "string" else ">i"
        if value is None:
            return self.sized(-1, form)
        body = value.encode() if isinstance(value, str) else value
        return self.sized(len(body), form) + body

    def value(self, f, value):
        if not f.array:
            return self.one(f, value)
        if value is None:
            return self.sized(-1, ">i")
        return self.sized(len(value), ">i") + b"".join(self.one(f, x) for x in value)

    def struct(self, s, values):
        unknown = set(values) - {f.name for f in s.fields}
        assert not unknown, f"{s.name}: no field {unknown}"
        out, tags = [], []
        for f in s.fields:
            if not within(f.present, self.v):
                continue
            value = values.get(f.name, default(f))
            if f.tag >= 0 and within(f.tagged, self.v):
                if f.name in values:
                    body = self.value(f, value)
                    tags.append((f.tag, uvarint(f.tag) + uvarint(len(body)) + body))
            else:
                out.append(self.value(f, value))
        if self.flex:
            out.append(uvarint(len(tags)) + b"".join(b for _, b in sorted(tags)))
        return b"".join(out)


class Reader:
    def __init__(self, data, version, flexible):
        self.d, self.at, self.v, self.flex = data, 0, version, flexible

    def take(self, n):
        if n < 0 or self.at + n > len(self.d):
            raise ValueError(f"{n} bytes wanted at {self.at} of {len(self.d)}")
        self.at += n
        return self.d[self.at - n:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        n = shift = 0
        while True:
            b = self.take(1)[0]
            n |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return n

    def size(self, form):
        return self.uvarint() - 1 if self.flex else self.number(form)

    def one(self, f):
        if f.struct:
            if f.pointer() and within(f.nullable, self.v) and self.number(">b") < 0:
                return None
            return self.struct(f.struct)
        if f.type in FIXED:
            return self.number(FIXED[f.type])
        if f.type == "uuid":
            return self.take(16).hex()
        n = self.size(">h" if f.type == "string" else ">i")
        if n < 0:
            return None
        body = self.take(n)
        return body.decode("utf-8", "replace") if f.type == "string" else body

    def value(self, f):
        if not f.array:
            return self.one(f)
        n = self.size(">i")
        return None if n < 0 else [self.one(f) for _ in range(n)]

    def struct(self, s):
        out = {}
        for f in s.fields:
            if within(f.present, self.v):
                tagged = f.tag >= 0 and within(f.tagged, self.v)
                if not tagged:
                    out[f.name] = self.value(f)
        if self.flex:
            by_tag = {f.tag: f for f in s.fields if f.tag >= 0 and within(f.tagged, self.v)}
            for _ in range(self.uvarint()):
                tag, n = self.uvarint(), self.uvarint()
                end = self.at + n
                if tag in by_tag:
                    out[by_tag[tag].name] = self.value(by_tag[tag])
                self.at = end
        return out


def encode(name, version, body, client_id="compare", correlation=1, header=None):
    m = api(name)
    flexible = version >= m.flexible
    head = struct.pack(">hhi", m.key, version, correlation) + Writer(0, False).one(CLIENT_ID, client_id)
    if flexible:
        head += b"\0"
    return (header or head) + Writer(version, flexible).struct(m.body, body)


class _Str:
    struct, type, array = None, "string", False


CLIENT_ID = _Str()


def decode(name, version, data):
    m = TABLES[name + "Response"]
    flexible = version >= m.flexible
    r = Reader(data, version, flexible)
    if flexible and m.key != 18:
        for _ in range(r.uvarint()):
            r.uvarint()
            r.take(r.uvarint())
    out = r.struct(m.body)
    if r.at != len(data):
        raise ValueError(f"{len(data) - r.at} bytes behind the answer")
    return out


class Closed(Exception):
    pass


class Connection:
    """One request at a time. A closed connection is told by Closed, and a new one made for the next request."""

    def __init__(self, address, timeout=20):
        self.address, self.timeout, self.sock, self.correlation = address, timeout, None, 0

    def open(self):
        if not self.sock:
            host, _, port = self.address.rpartition(":")
            self.sock = socket.create_connection((host, int(port)), self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def read(self, n):
        out = b""
        while len(out) < n:
            try:
                piece = self.sock.recv(n - len(out))
            except socket.timeout:
                self.close()
                raise Closed("no answer") from None
            except OSError:
                piece = b""
            if not piece:
                self.close()
                raise Closed("closed")
            out += piece
        return out

    def send(self, frame):
        self.open()
        try:
            self.sock.sendall(struct.pack(">i", len(frame)) + frame)
        except OSError:
            self.close()
            raise Closed("closed") from None

    def receive(self):
        return self.read(struct.unpack(">i", self.read(4))[0])

    def call(self, name, version, body, **kw):
        self.correlation += 1
        self.send(encode(name, version, body, correlation=self.correlation, **kw))
        data = self.receive()
        if struct.unpack(">i", data[:4])[0] != self.correlation:
            raise ValueError("the answer is to another request")
        return decode(name, version, data[4:])

    def raw(self, frame):
        self.send(frame)
        return self.receive()


# ---- record batches -----------------------------------------------------------------------------------------------------

CRC = []
for _i in range(256):
    for _ in range(8):
        _i = _i >> 1 ^ (0x82F63B78 if _i & 1 else 0)
    CRC.append(_i)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRC[(c ^ b) & 0xFF] ^ c >> 8
    return c ^ 0xFFFFFFFF


def record(delta, key=b"k", value=b"v", timestamp=0, headers=(), attributes=0):
    def blob(b):
        return varint(-1) if b is None else varint(len(b)) + b
    body = struct.pack(">b", attributes) + varint(timestamp) + varint(delta) + blob(key) + blob(value) + varint(len(headers))
    for k, v in headers:
        body += varint(len(k)) + k + blob(v)
    return varint(len(body)) + body


def batch(n=1, records=None, base=0, epoch=-1, magic=2, attributes=0, last=None, first_ts=1700000000000, max_ts=None,
          pid=-1, pepoch=-1, seq=-1, count=None, crc=None, length=None, compress=None):
    """A record batch; each field can be set to what it should not be."""
    records = [record(i) for i in range(n)] if records is None else records
    body = b"".join(records)
    if compress:
        body = compress(body)
    count = len(records) if count is None else count
    tail = struct.pack(">hiqqqhii", attributes, count - 1 if last is None else last, first_ts, first_ts if max_ts is None else max_ts,
                       pid, pepoch, seq, count) + body
    head = struct.pack(">ibI", epoch, magic, crc32c(tail) if crc is None else crc)
    return struct.pack(">qi", base, len(head) + len(tail) if length is None else length) + head + tail


def uuid_hex():
    return uuid.uuid4().hex
