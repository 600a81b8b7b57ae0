"""Runs codec.py for one channel and one direction. child.c starts it, and asks by descriptor 3.

A request is a number of pages, a length and so many bytes; an answer a letter, a length and so many bytes: O it is
done, R send the pages as they are, C the payload is corrupt, F the codec has failed, M there is no memory, L a line
for the log, after which the answer is still to come. All numbers have 32 bits, little-endian.
"""

import io
import resource
import struct
import sys
from _signal import alarm  # signal itself, and much else, would double the time that a start takes

SECONDS = 15  # for a packet: child.c waits for less, unless its process has gone
MEMORY = 1 << 30  # bytes, for a payload that expands without end

requests = open(3, "rb", closefd=False)
answers = open(3, "wb", closefd=False)


def request():
    """The next request; None when the host has closed the channel."""
    head = requests.read(8)
    if len(head) < 8:
        return None
    count, length = struct.unpack("<II", head)
    data = requests.read(length)
    return (count, data) if len(data) == length else None


def answer(kind, data=b""):
    answers.write(struct.pack("<cxxxI", kind, len(data)))
    answers.write(data)
    answers.flush()


class Log(io.RawIOBase):
    """What the codec prints, a line at a time."""

    def writable(self):
        return True

    def write(self, data):
        for line in bytes(data).splitlines():
            if line.strip():
                answer(b"L", line[:400])
        return len(data)


def reason(error):
    """Why and where, in one line."""
    where, at = "codec.py", error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == "codec.py":
            where = f"codec.py, line {at.tb_lineno}"
        at = at.tb_next
    text = f"{where}: {type(error).__name__}: {error}"
    return " ".join(text.split()).encode(errors="replace")[:400]


def load(page_size, page_count):
    """The codec, made of the source that is the first request."""
    module = type(sys)("codec")
    sys.modules["codec"] = module
    code = compile(request()[1], "codec.py", "exec")
    try:
        exec(code, module.__dict__)
    except ModuleNotFoundError:
        # No part of Python's own library. The search for others takes time, and was left out (-S).
        import site

        site.main()
        exec(code, module.__dict__)
    return module.Codec(page_size, page_count)


def encode(codec, page_size, count, data):
    pages = [data[at : at + page_size] for at in range(0, len(data), page_size)]
    payload = codec.encode(pages)
    if payload is None or len(payload) >= len(data):
        return b"R", b""
    return b"O", payload


def decode(codec, page_size, count, data):
    pages = codec.decode(data, count)
    if len(pages) != count or any(len(page) != page_size for page in pages):
        raise ValueError("decode() gives other pages than there are")
    return b"O", b"".join(pages)


def main():
    direction, page_size, page_count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Log()), "utf-8", "backslashreplace", line_buffering=True
    )
    alarm(SECONDS)
    try:
        codec = load(page_size, page_count)
    except MemoryError:
        return answer(b"M")
    except Exception as error:
        return answer(b"F", reason(error))
    answer(b"O")
    work, blame = (encode, b"F") if direction == "send" else (decode, b"C")
    while True:
        alarm(0)
        asked = request()
        if asked is None:
            return
        # A codec that does not come back ends by itself, also when nobody is left to end it.
        alarm(SECONDS)
        try:
            done = work(codec, page_size, *asked)
        except MemoryError:
            done = b"M", b""
        except Exception as error:
            done = blame, reason(error)
        answer(*done)


try:
    main()
except OSError:
    pass  # The host has gone.
