#!/usr/bin/env python3
"""Writes a small seed corpus for each fuzz target below a directory: seeds.py DIRECTORY.

From tests/vectors, the catalog's golden records and the formats of docs/formats. Never: a seed that is not made here.
"""

import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
NODE = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def sample(length, seed):
    return bytes((31 * i + i // 251 + seed) % 256 for i in range(length))


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def message(*fields):
    """A protobuf message of (tag, value) pairs; values are integers or bytes."""
    out = b""
    for tag, value in fields:
        if isinstance(value, int):
            out += varint(tag << 3) + varint(value)
        else:
            out += varint(tag << 3 | 2) + varint(len(value)) + value
    return out


def frame(kind, payload):
    return struct.pack(">BI", kind, len(payload)) + payload


def wire():
    deal, root, segment = b"\1" * 32, b"\2" * 32, b"\3" * 16
    asked = [
        message((1, message((1, b"\7" * 16), (2, 1 << 30)))),
        message((2, message((1, deal), (2, segment), (3, 9), (4, 70_000)))),
        message((3, message((1, root), (2, 5), (3, b"label")))),
        message((4, message((1, deal), (2, root), (3, 65_536), (4, 65_536), (5, 1)))),
        message((5, message((1, deal), (2, root), (2, root)))),
        message((6, message((1, deal), (2, root), (3, 40)))),
    ]
    said = [
        message((1, message((1, 3), (2, b"full")))),
        message((2, message((1, deal), (2, 1 << 30), (3, 1 << 40)))),
        message((3, message((1, b"body"), (2, b"\4" * 64)))),
        message((4, message((1, 70_000)))),
        message((5, message((1, root), (1, root)))),
        message((6, message((1, 2)))),
        message((7, message((1, message((1, root), (2, 5), (3, segment), (4, 9), (5, 7), (6, b"label"))), (2, 1)))),
    ]
    yield from (frame(0, payload) for payload in asked + said)
    yield frame(0, asked[1]) + frame(1, b"bytes") + frame(0, asked[2])


def advert_body():
    now = 1_700_000_000_000
    return message(
        (2, b"/ip4/192.0.2.1/tcp/4001"), (3, 1 << 40), (4, 1 << 41), (5, b"eu"), (6, b"me"), (7, now), (8, now + 3_600_000), (9, 1)
    )


def signed():
    receipt = message((1, b"\1" * 32), (2, b"\2" * 32), (3, 77), (4, b"\4" * 16), (5, 5))
    for body, now in ((advert_body(), 1_700_000_000_000), (receipt, 0)):
        # raw, now; the last field takes what is left and the length of the one before stands at the end
        yield struct.pack("<BQ", 0, now) + body + b"\0"


def exchange():
    signed_advert = message((1, advert_body()), (2, b"\5" * 64))
    for mode in (0, 4):
        yield bytes([mode]) + b"\0\0"
        yield bytes([mode]) + struct.pack(">H", len(signed_advert)) + signed_advert
    yield b"\1" + b"\2" * 32 + signed_advert
    yield b"\2" + advert_body()
    for mode in (3, 7):
        yield bytes([mode]) + f"/ip4/192.0.2.1/tcp/1\n/ip6/::1/udp/9/quic-v1/p2p/{NODE}\n/dns4/example.org/tcp/1".encode()
        yield bytes([mode]) + bytes.fromhex("04c00002010611b3")


def book():
    peer = {"node": NODE, "addresses": ["/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"]}
    for provider in (True, False):
        peers = [peer | {"seen_at_ms": 7, "provider": provider}]
        yield json.dumps({"version": 1, "peers": peers}).encode()
        yield json.dumps({"version": 1, "peers": peers * 3}).encode() + b" "


def manifest():
    yield from (bytes.fromhex(one["encoded"]) for one in vectors("manifest")["manifests"])


def label():
    known = vectors("label")
    blob, wrapped = sample(16, 7), bytes.fromhex(known["wrapped_key"])
    yield b"\2" + blob + wrapped
    for one in known["labels"]:
        yield b"\0" + bytes.fromhex(one["sealed"])
        body = message(
            (1, blob), (2, 2 if one["kind"] == "Pack" else 1), (3, one["segment_index"]), (4, int(one["last_segment"])),
            (5, one["shard_index"]), (6, one["data_shards"]), (7, one["total_shards"]), (8, one["plain_len"]), (9, wrapped),
            (10, one["writer_epoch"]), (11, one["sequence"]),
        )
        yield b"\1" + struct.pack(">H", len(body)) + body


def proof():
    for shard in vectors("merkle")["shards"]:
        for index in (0, 1, 6):
            yield struct.pack("<IHB", max(shard["byte_len"], 1) - 1, index, 3) + sample(120, index)


def segment():
    for one in vectors("segment")["segments"]:
        length = int(one["plain"].split("(")[1].split(",")[0])
        for lost in (0, 1, 6):
            yield struct.pack("<BBIQ", one["data_shards"], one["total_shards"], length, lost) + b"\0" * 16


def rows():
    """Rows of a provider's index as (key, value)."""
    deal, root = b"\1" * 32, b"\2" * 32
    extent = struct.pack(">IQ", 5, 8192)
    golden = "01000000000000004d030303030303030303030303030303030000000000000009000000000000007b0100000005" "00000000000020006c6162656c"
    yield b"m", b"\1" + b"\4" * 16 + b"\5" * 32
    yield b"r" + deal + root, bytes.fromhex(golden)
    yield b"r" + deal + root, b"\1" + struct.pack(">Q", 5) + b"\3" * 16 + b"\0" * 16 + b"\0label"
    yield b"d" + deal + root, b"bytes"
    yield b"h" + deal + root, b"\6" * 64
    yield b"x" + extent, struct.pack(">Q", 77) + deal + root
    yield b"t" + extent, struct.pack(">Q", 77)
    yield b"v" + extent[:4], b"\1" + struct.pack(">Q", 1)
    yield b"n", extent[:4]
    yield b"a", struct.pack(">QQ", 1, 5000)
    yield b"u" + deal, struct.pack(">QQ", 1, 5000)
    yield b"e" + deal, b"\1" + b"\7" * 48 + struct.pack(">QQ", 1 << 30, 1 << 40)


def index():
    yield from (bytes([len(key)]) + key + value for key, value in rows())


def marker():
    disk = "00112233445566778899aabbccddeeff"
    yield b"\1" + json.dumps({"version": 1, "disk": disk, "node": NODE}).encode()
    yield b"\0" + json.dumps({"version": 1, "disks": [{"disk": disk, "path": "/mnt/a"}]}).encode()


def golden_records():
    text = (ROOT / "crates/gateway/src/catalog/golden.txt").read_text()
    return {name: bytes.fromhex(value) for name, value in (line.split() for line in text.splitlines())}


def pack():
    record = golden_records()["object"][1:]
    for extra in (b"", b"hello"):
        header = message((1, b"bucket"), (2, b"key"), (3, record))
        entry = struct.pack(">BII", 1, len(header), len(extra)) + header + extra
        yield b"\0" + entry
        yield b"\0" + entry + struct.pack(">BII", 2, 1, 1) + b"ab" + entry
    yield b"\1cairnpk\1" + entry


def record():
    kinds = {"object": 0, "bucket": 1, "part": 2, "blob": 3, "key": 4, "state": 5, "counters": 6}
    golden = golden_records()
    yield from (bytes([kind]) + golden[name] for name, kind in kinds.items())
    yield b"\7" + golden["object"]
    yield b"\x08" + b"\1" + message((1, 5))
    meta = message((1, b"text/plain"), (8, message((1, b"colour"), (2, b"blue"))))
    yield b"\x09" + b"\1" + message((1, 5), (2, b"me"), (3, meta), (4, 1), (5, 2))
    yield b"\x0a" + b"\0" * 7 + b"\1" + b"a\0\xffb" + b"\0\1" + b"\4" * 16
    yield b"\x0b" + b"\0" * 7 + b"\1" + b"key"
    yield b"\x0b" + b"\4" * 16 + b"\0\0\0\7"


def terms():
    address = lambda name: bytes([name]) * 20
    amount = lambda units: units.to_bytes(16, "big")
    return message(
        (1, b"\4" * 32), (2, address(1)), (3, address(2)), (4, 31_337), (5, address(3)), (6, address(4)), (7, address(5)),
        (8, amount(4_000)), (9, amount(7_000)), (10, amount(10**18)), (11, 3_600_000), (12, 600_000), (13, b"eu"),
    )


def paid():
    amount = lambda units: units.to_bytes(16, "big")
    head = lambda kind: struct.pack("<BIB", kind, 1_000, 1)
    account = message((1, 5), (2, amount(77)), (3, 9), (4, amount(5)), (5, b"\7" * 65))
    yield head(0) + message((1, terms()), (2, 1 << 30), (3, 2_000))
    yield head(1) + message((1, b"\1" * 32), (2, b"\3" * 32), (3, terms()), (4, b"\2" * 32), (5, 77), (6, amount(5)))
    yield head(2) + account
    yield head(2) + message((1, 5), (2, amount(0)), (4, amount(0)))
    yield head(3) + message(
        (1, b"\6" * 32), (2, 3), (3, 70), (4, 70_000), (5, 1_000), (6, 2_000), (7, amount(9)), (8, b"\7" * 65), (9, account)
    )
    yield head(4) + message((1, b"\1" * 32), (2, amount(5)), (3, b"\7" * 65))


def ledger():
    for kind, name in enumerate(("deal", "paid", "meter", "audit", "entry")):
        for line in (ROOT / "crates/client/src/ledger/golden.txt").read_text().splitlines():
            label, value = line.split()
            if label.startswith(name) or name == "entry" and label.startswith("journal"):
                yield bytes([0, kind]) + bytes.fromhex(value)
    yield b"\1\0" + b"\3" + b"\2" * 32
    amount = lambda units: units.to_bytes(16, "big")
    channel, address, signature = b"\2" * 32, b"\1" * 20, b"\7" * 65
    rows = [
        b"\5" * 32, b"\0" * 8, b"\0" * 8, b"\0\1a\0\1b\0\1c", amount(1) * 2 + b"\0" * 88 + amount(3) + b"\0" * 8,
        b"\4" * 32 + address * 2 + amount(9) * 3 + b"\1" + b"\0" * 8 + amount(5) + signature,
        b"\0" * 8 + channel + b"\0" * 8 + b"\1" + signature + b"\0\1" + b"\6" * 32 + b"\0" * 18,
        b"\0" * 8 + channel + b"\6" * 32 + b"\0" * 40 + amount(9) + signature,
        channel + amount(5) + signature,
        b"\0" * 8 + b"\4paid" + b"\0" + b"\1" + b"\0" * 32 + amount(5) + b"\1" + b"\7" + b"\0" * 32 + amount(5),
        amount(1) + amount(2),
    ]
    yield from (bytes([2, kind, 1]) + row for kind, row in enumerate(rows))
    yield b"\2\x0b" + b"\3" + channel


def names():
    yield NODE.encode()
    yield bytes.fromhex("0024080112") + b"\x20" + sample(32, 1)
    yield b"ab" * 32
    yield b"cd" * 16
    yield b"4/8"
    yield b"/key/swarm/psk/1.0.0/\n/base16/\n" + b"07" * 32 + b"\n"
    yield b"legal winner thank year wave sausage worth useful legal winner thank yellow"
    yield b'W/"a", "b", *'


def s3():
    # The last field of the input, the text, is what is left.
    for text in ("a=1&b=%20+", "bytes=0-5", "bytes=-1", "AWE", "CRC32C", "AAAAAA==-3", "gzip,aws-chunked", "COMPOSITE"):
        yield b"\0" * 24 + text.encode()


TARGETS = [wire, signed, exchange, book, manifest, label, proof, segment, index, marker, pack, record, paid, ledger, names, s3]


def main():
    for target in TARGETS:
        folder = Path(sys.argv[1]) / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target()):
            (folder / f"seed-{number:02}").write_bytes(seed)


if __name__ == "__main__":
    main()
