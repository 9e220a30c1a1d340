"""What the Python clients of the matrix share: names, what is sent, and the loop over features."""
import sys
import time
import traceback

PARTITIONS, COUNT, T0 = 3, 300, 1_700_000_000_000


def key(i):
    return b"k%d" % i


def value(i):
    return b"v%d " % i * 20


def until(what, condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def raises(error, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except error as e:
        return e
    raise AssertionError(f"nothing raised, wanted {error}")


def split(*members):
    """Every partition has one owner, every member some."""
    return all(m.has for m in members) and sorted(p for m in members for p in m.has) == list(range(PARTITIONS))


def main(features):
    """`features`: functions of (address, prefix), by name. A line each."""
    address, prefix, wanted = sys.argv[1:]
    status = 0
    for name in wanted.split(","):
        try:
            features[name](address, prefix)
            print("ok", name, flush=True)
        except BaseException as e:
            traceback.print_exc()
            print(f"failed {name}: {e!r}", flush=True)
            status = 1
    sys.exit(status)
