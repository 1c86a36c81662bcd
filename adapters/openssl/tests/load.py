#!/usr/bin/env python3
"""Well and badly behaved HTTPS clients, which complain about anything but a correct answer.

    load.py --load PORT SECONDS PROCESSES
    load.py --visits PORT 1.2|1.3 CLEAN GARBAGE

The first form is several processes of them, for a while: they offer old and new sessions of TLS 1.2 and TLS 1.3, and end
connections in every way there is. The second is so many visits one after the other, each with a full handshake, which end
cleanly or with a fatal alert. Prints what they saw: full and resumed handshakes, and answers.
"""

import collections
import json
import multiprocessing
import os
import random
import socket
import ssl
import struct
import sys
import time

ENDS = ["clean"] * 6 + ["silent"] * 3 + ["reset", "no request", "garbage", "half a hello"]
REMEMBERED = 40


def context(version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    return made


def half_a_hello(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(bytes([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3]))


def visit(port, client, offer, end, seen):
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with client.wrap_socket(plain, server_hostname="localhost", session=offer) as stream:
        resumed = stream.session_reused
        seen["resumed" if resumed else "full"] += 1
        if end == "no request":
            return stream.session
        if end == "garbage":
            # Below TLS: a record that cannot be decrypted, which is fatal.
            os.write(stream.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
            return stream.session
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while part := stream.recv(4096):
            answer += part
        said = b"resumed handshake" if resumed else b"full handshake"
        if not answer.startswith(b"HTTP/1.1 200 OK\r\n") or said not in answer:
            raise RuntimeError(f"the wrong answer: {answer!r}")
        seen["answers"] += 1
        session = stream.session
        if end == "clean":
            stream.unwrap()
        elif end == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return session


def run(port, seconds, seed, results):
    choose, seen = random.Random(seed), collections.Counter()
    clients = [context(version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    known = {client: collections.deque(maxlen=REMEMBERED) for client in clients}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        client, end = choose.choice(clients), choose.choice(ENDS)
        if end == "half a hello":
            half_a_hello(port)
            continue
        old = known[client]
        offer = choose.choice(old) if old and choose.random() < 0.7 else None
        if offer is not None and choose.random() < 0.5:
            offer = old[-1]
        session = visit(port, client, offer, end, seen)
        # One of TLS 1.3 that came without a ticket cannot be offered.
        if session is not None and (client is clients[0] or session.has_ticket):
            old.append(session)
    results.put(dict(seen))


def load(port, seconds, processes):
    results = multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=run, args=(port, seconds, number, results)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit(1)
    return sum((collections.Counter(results.get()) for _ in workers), collections.Counter())


def visits(port, version, clean, garbage):
    client = context({"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version])
    seen = collections.Counter()
    for end in ["clean"] * clean + ["garbage"] * garbage:
        visit(port, client, None, end, seen)
    return seen


def main():
    form, port, *rest = sys.argv[1:]
    if form == "--visits":
        version, clean, garbage = rest
        seen = visits(int(port), version, int(clean), int(garbage))
    else:
        seconds, processes = rest
        seen = load(int(port), int(seconds), int(processes))
    print(json.dumps(seen, sort_keys=True))


if __name__ == "__main__":
    main()
