"""Who leads what, as one broker tells it: its own answer to Metadata. (`floe cluster status` asks every broker, and waits for those that
are stopped.) Standard library only."""
import collections, socket, struct


def recv(sock, n):
    out = b""
    while len(out) < n:
        part = sock.recv(n - len(out))
        if not part:
            raise OSError("closed")
        out += part
    return out


class Answer:
    def __init__(self, data):
        self.data, self.at = data, 0

    def int(self, fmt):
        value, = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return value

    def string(self):
        n = max(0, self.int("h"))
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def array(self, item):
        return [item() for _ in range(max(0, self.int("i")))]


def leaders(address, topic):
    """address → partitions led (None: without a leader); None while it cannot be told."""
    host, port = address.rsplit(":", 1)
    name = topic.encode()
    body = struct.pack(">hhih5sih", 3, 1, 1, 5, b"leads", 1, len(name)) + name # Metadata version 1
    try:
        with socket.create_connection((host, int(port)), timeout=5) as sock:
            sock.settimeout(5)
            sock.sendall(struct.pack(">i", len(body)) + body)
            a = Answer(recv(sock, struct.unpack(">i", recv(sock, 4))[0]))
    except OSError:
        return None
    a.int("i")
    nodes = {}
    for node, host, port, _ in a.array(lambda: (a.int("i"), a.string(), a.int("i"), a.string())):
        nodes[node] = f"{host}:{port}"
    a.int("i")

    def partition():
        error, _, leader = a.int("h"), a.int("i"), a.int("i")
        a.array(lambda: a.int("i"))
        a.array(lambda: a.int("i"))
        return error, leader

    (error, _, _, parts), = a.array(lambda: (a.int("h"), a.string(), a.int("b"), a.array(partition)))
    if error or not parts:
        return None
    return collections.Counter(nodes.get(leader) for _, leader in parts)
