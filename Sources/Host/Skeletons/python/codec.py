"""The codec: replace it. One Codec belongs to one channel and one direction, in a process of its own.

This one is zlib, each packet by itself. What is printed goes to the host's log.
"""

import zlib


class Codec:
    def __init__(self, page_size, page_count):
        """`page_count` is the most pages that a packet has, each of them `page_size` bytes."""
        self.page_size = page_size

    def encode(self, pages):
        """The payload of these pages, a list of bytes. None, or more bytes than the pages have: they are
        then sent as they are."""
        return zlib.compress(b"".join(pages), 1)

    def decode(self, payload, count):
        """The `count` pages of a payload, a list of bytes. The payload comes from the network, and nothing
        about it is sure: whatever is raised here says that it is corrupt."""
        size = count * self.page_size
        stream = zlib.decompressobj()
        # One byte more than there may be, and never what the payload would like.
        data = stream.decompress(payload, size + 1)
        if len(data) != size or not stream.eof or stream.unused_data:
            raise ValueError("not one stream of the pages' size")
        return [data[at : at + self.page_size] for at in range(0, size, self.page_size)]
