#!/usr/bin/env python3
"""Loads two S3 endpoints in turn, in one run, and prints how Cairn compares: a localnet beside one SeaweedFS process, both on loopback.

Every request is signed (SigV4) and laid out as bytes before the clock starts; the timed loop is send and receive on a keep-alive socket,
one forked process per connection, so that on a small machine the client does not hide the server. Standard library only.

Never: counts a failed or short answer as done; sends to an address other than loopback.
Limits: both servers and the clients share the machine's cores; MB is 10^6 bytes. SeaweedFS stores plain bytes once, without fsync; Cairn
encrypts, codes 4 of 8 into eight processes and syncs before it answers.
"""

import argparse
import datetime
import hashlib
import hmac
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote, urlsplit

MIB = 1 << 20
EMPTY_SHA = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
BUCKET = "bench"
# What issue 2 aims at: Cairn's rate as a share of SeaweedFS's, or for the latency Cairn's as a multiple.
AIMS = [("PUT 64 MiB c2", "MB_s", ">=", 0.6), ("GET 64 MiB c2", "MB_s", ">=", 0.2), ("range 64 KiB c1", "p50_ms", "<=", 5.0), ("PUT 1 KiB c8", "ops_s", ">=", 0.1)]


class Signer:
    """Lays out signed request heads for path-style requests."""

    def __init__(self, endpoint, access_key, secret_key, region):
        self.host = urlsplit(endpoint).netloc
        self.access_key, self.secret_key, self.region = access_key, secret_key, region

    def head(self, method, path, query=None, headers=None, length=0, sha=EMPTY_SHA):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        named = {"host": self.host, "x-amz-content-sha256": sha, "x-amz-date": now, **(headers or {})}
        names = sorted(named)
        path = quote(path, safe="/-_.~")
        query = "&".join(f"{quote(k, safe='-_.~')}={quote(str(v), safe='-_.~')}" for k, v in sorted((query or {}).items()))
        canonical = "\n".join([method, path, query, *[f"{n}:{named[n]}" for n in names], "", ";".join(names), sha])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for part in (now[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        authorization = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        lines = [f"{method} {path}{'?' + query if query else ''} HTTP/1.1", *[f"{n}: {named[n]}" for n in names], f"authorization: {authorization}"]
        if method in ("PUT", "POST"):
            lines.append(f"content-length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Connection:
    """A keep-alive connection; answers (status, body or its length)."""

    def __init__(self, host):
        self.address = (host.rsplit(":", 1)[0], int(host.rsplit(":", 1)[1]))
        self.sock, self.buffer = None, bytearray(MIB)

    def open(self):
        self.sock = socket.create_connection(self.address, timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def call(self, head, body=b"", sink=None):
        if self.sock is None:
            self.open()
        try:
            if len(body) < 65536:
                self.sock.sendall(head + body)
            else:
                self.sock.sendall(head)
                self.sock.sendall(body)
            return self.answer(sink)
        except Exception:
            self.close()
            raise

    def answer(self, sink):
        got = b""
        while True:
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("closed before the head")
            got += data
            if got.startswith(b"HTTP/1.1 100") and b"\r\n\r\n" in got:
                got = got.split(b"\r\n\r\n", 1)[1]
            if b"\r\n\r\n" in got:
                break
        head, rest = got.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}
        keep = sink is None
        if fields.get("transfer-encoding") == "chunked":
            return status, self.chunked(rest)
        want, body, view = int(fields.get("content-length", 0)), rest if keep else b"", memoryview(self.buffer)
        length = len(rest)
        if sink and rest:
            sink(rest)
        while length < want:
            read = self.sock.recv_into(view, min(len(view), want - length))
            if not read:
                raise ConnectionError("short body")
            if keep:
                body += view[:read]
            else:
                sink(view[:read])
            length += read
        return status, body if keep else length

    def chunked(self, data):
        out = bytearray()
        while True:
            while b"\r\n" not in data:
                data += self.sock.recv(65536)
            size, data = data.split(b"\r\n", 1)
            size = int(size.split(b";")[0], 16)
            while len(data) < size + 2:
                data += self.sock.recv(65536)
            if size == 0:
                return bytes(out)
            out += data[:size]
            data = data[size + 2 :]


def worker(host, jobs, report, start):
    """jobs: (head, body, expected length or None). Reports latencies, bytes, errors, first error, begin and end."""
    connection, latencies, moved, errors, sample = Connection(host), [], 0, 0, None
    connection.open()
    start.wait()
    begun = time.perf_counter()
    for head, body, want in jobs:
        at = time.perf_counter()
        try:
            status, length = connection.call(head, body, sink=lambda data: None)
            length = length if isinstance(length, int) else len(length)
        except Exception as error:
            errors, sample = errors + 1, sample or repr(error)
            continue
        if not 200 <= status < 300 or (want is not None and length != want):
            errors, sample = errors + 1, sample or f"status {status}, {length} bytes"
            continue
        latencies.append(time.perf_counter() - at)
        moved += len(body) or length
    report.send((latencies, moved, errors, sample, begun, time.perf_counter()))


class Load:
    """The phases, against one endpoint."""

    def __init__(self, label, endpoint, access_key, secret_key, region, options):
        self.label, self.options = label, options
        self.signer = Signer(endpoint, access_key, secret_key, region)
        self.results = {}

    def call(self, method, path, body=b"", sink=None):
        return Connection(self.signer.host).call(self.signer.head(method, path, length=len(body), sha=hashlib.sha256(body).hexdigest()), body, sink)

    def phase(self, name, jobs, connections):
        context = multiprocessing.get_context("fork")
        start, reports, processes = context.Event(), [], []
        for index in range(connections):
            receive, send = context.Pipe(False)
            process = context.Process(target=worker, args=(self.signer.host, jobs[index::connections], send, start))
            process.start()
            reports.append(receive)
            processes.append(process)
        # Every worker must have connected before the clock starts.
        time.sleep(0.3)
        start.set()
        got = [report.recv() for report in reports]
        for process in processes:
            process.join()
        seconds = max(g[5] for g in got) - min(g[4] for g in got)
        latencies = sorted(latency for g in got for latency in g[0])
        errors, sample = sum(g[2] for g in got), next((g[3] for g in got if g[3]), None)
        if errors:
            print(f"{self.label}: {name}: {errors} errors, first: {sample}", file=sys.stderr)
        at = lambda share: round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 3) if latencies else None
        result = {"ops_s": round(len(latencies) / seconds, 1), "MB_s": round(sum(g[1] for g in got) / seconds / 1e6, 1), "p50_ms": at(0.5), "p99_ms": at(0.99), "errors": errors}
        self.results.setdefault(name, []).append(result)
        print(f"  {self.label:10s} {name:16s} {result}", file=sys.stderr)

    def run(self):
        status, body = self.call("PUT", f"/{BUCKET}")
        if status not in (200, 409):
            raise SystemExit(f"{self.label}: cannot make a bucket: {status} {body[:300]!r}")
        options, head = self.options, self.signer.head
        size, source = options.large_mib * MIB, random.Random(7)
        large = os.urandom(size)
        count = options.large_count
        self.phase("PUT 64 MiB c2", [(head("PUT", f"/{BUCKET}/large/{i}", length=size, sha=UNSIGNED), large, None) for i in range(count)], 2)
        digest = hashlib.sha256()
        status, length = self.call("GET", f"/{BUCKET}/large/0", sink=digest.update)
        if status != 200 or digest.digest() != hashlib.sha256(large).digest():
            raise SystemExit(f"{self.label}: a large object came back different ({status}, {length} bytes)")
        self.phase("GET 64 MiB c2", [(head("GET", f"/{BUCKET}/large/{i % count}"), b"", size) for i in range(2 * count)], 2)
        starts = [source.randrange(size - 65536) for _ in range(options.small_count // 4)]
        ranges = [(head("GET", f"/{BUCKET}/large/0", headers={"range": f"bytes={at}-{at + 65535}"}), b"", 65536) for at in starts]
        self.phase("range 64 KiB c1", ranges, 1)
        self.phase("range 64 KiB c8", ranges, 8)
        small = [os.urandom(1024) for _ in range(64)]
        puts = [(head("PUT", f"/{BUCKET}/small/{i:06d}", length=1024, sha=UNSIGNED), small[i % 64], None) for i in range(options.small_count)]
        self.phase("PUT 1 KiB c8", puts, 8)
        self.phase("GET 1 KiB c8", [(head("GET", f"/{BUCKET}/small/{source.randrange(options.small_count):06d}"), b"", 1024) for _ in puts], 8)


def free_ports(count):
    """Ports p that are free together with p + 10000, where SeaweedFS puts its gRPC ports."""
    found, source = [], random.Random()
    while len(found) < count:
        port = source.randrange(20000, 50000)
        try:
            for each in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        if not any(port in (other, other + 10000, other - 10000) for other in found):
            found.append(port)
    return found


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def start_seaweedfs(program, folder):
    """One process with master, volume, filer and S3 gateway; gives it and its endpoint, keys and region."""
    os.makedirs(os.path.join(folder, "data"))
    keys = {"identities": [{"name": "bench", "credentials": [{"accessKey": "benchkey", "secretKey": "benchsecret"}], "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
    config = os.path.join(folder, "s3.json")
    with open(config, "w") as file:
        json.dump(keys, file)
    master, volume, filer, s3 = free_ports(4)
    command = [program, "-v=0", "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", "-master.telemetry=false"]
    command += ["-master.volumeSizeLimitMB=64", f"-volume.port={volume}", "-volume.max=0", "-filer", f"-filer.port={filer}"]
    command += ["-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}"]
    log = open(os.path.join(folder, "log"), "w")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
    endpoint, deadline = f"http://127.0.0.1:{s3}", time.monotonic() + 90
    signer = Signer(endpoint, "benchkey", "benchsecret", "us-east-1")
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if Connection(signer.host).call(signer.head("PUT", "/ready"))[0] in (200, 409):
                return process, (endpoint, "benchkey", "benchsecret", "us-east-1")
        except OSError:
            pass
        time.sleep(0.3)
    end(process)
    with open(os.path.join(folder, "log")) as file:
        raise SystemExit("SeaweedFS did not start:\n" + "".join(file.readlines()[-20:]))


def start_cairn(program, folder):
    log = open(os.path.join(folder, "cairn.log"), "w")
    command = [program, "localnet", "--json", "--free", "--providers", "8", "--dir", os.path.join(folder, "net")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
    line = process.stdout.readline()
    if not line:
        raise SystemExit("cairn localnet did not start:\n" + open(log.name).read()[-3000:])
    ready = json.loads(line)
    return process, (ready["endpoint"], ready["access_key"], ready["secret_key"], ready["region"])


def median(results, field):
    values = sorted(result[field] for result in results if result[field] is not None)
    return values[len(values) // 2] if values else None


def show(cairn, other):
    print(f"\n{'phase':18s}{'figure':9s}{'Cairn':>10s}{'SeaweedFS':>11s}{'ratio':>8s}")
    for name in cairn:
        for field in ("MB_s", "ops_s", "p50_ms"):
            if (field == "MB_s") != ("64 MiB" in name) and field != "p50_ms":
                continue
            ours, theirs = median(cairn[name], field), median(other[name], field)
            ratio = f"{ours / theirs:.2f}" if ours and theirs else "-"
            print(f"{name:18s}{field:9s}{ours!s:>10s}{theirs!s:>11s}{ratio:>8s}")
    met = 0
    print()
    for name, field, sign, aim in AIMS:
        ours, theirs = median(cairn[name], field), median(other[name], field)
        ratio = ours / theirs if ours and theirs else None
        good = ratio is not None and (ratio >= aim if sign == ">=" else ratio <= aim) and not any(r["errors"] for r in cairn[name])
        met += good
        print(f"aim {name:16s} {field:7s} {sign} {aim:<4} x SeaweedFS: {'-' if ratio is None else f'{ratio:.2f}'}  {'met' if good else 'NOT MET'}")
    print(f"{met} of {len(AIMS)} aims met (cores: {os.cpu_count()}, load average at the end: {os.getloadavg()[0]:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cairn", required=True, help="the binary cairn")
    parser.add_argument("--weed", required=True, help="the binary weed")
    parser.add_argument("--rounds", type=int, default=2, help="how often both are loaded in turn; medians are shown")
    parser.add_argument("--large-mib", type=int, default=64)
    parser.add_argument("--large-count", type=int, default=8)
    parser.add_argument("--small-count", type=int, default=2000)
    parser.add_argument("--json", help="write all figures to this file")
    options = parser.parse_args()
    running = []
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        try:
            seaweedfs, where = start_seaweedfs(options.weed, folder)
            running.append(seaweedfs)
            other = Load("seaweedfs", *where, options)
            cairn_process, where = start_cairn(options.cairn, folder)
            running.append(cairn_process)
            cairn = Load("cairn", *where, options)
            for _ in range(options.rounds):
                other.run()
                cairn.run()
        finally:
            for process in running:
                end(process)
    show(cairn.results, other.results)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"cairn": cairn.results, "seaweedfs": other.results}, file, indent=1)


if __name__ == "__main__":
    main()
