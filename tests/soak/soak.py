#!/usr/bin/env python3
"""Hold a server under mixed load, and see whether memory or latency grow, or a text goes astray.

    python3 -m venv venv && venv/bin/pip install openai
    venv/bin/python tests/soak/soak.py target/release/ztt-wgpu --minutes 30

Clients stream, wait, ask for several texts, go away in the middle, and send what is refused. Greedy
texts must be the same whenever their prompt comes again. Beside them, hostile ones hold connections:
they send half a header, nothing, a body a byte at a time, too large a header, no HTTP, or read
nothing of a long stream. Each of these must be ended by the server within its limits. Prints a line
a minute and a summary; ends with 1 if memory grew by 2 % or more after the warm-up, a request was
lost, a text differed, or a hostile connection outlived its limit.
"""
import argparse
import asyncio
import json
import pathlib
import random
import re
import socket
import statistics
import subprocess
import sys
import time

import openai

TEXT = pathlib.Path(__file__).parents[1] / "fixtures" / "classics-val.txt"
WARM_UP = 0.1  # of the time

# Short, so that hostile connections come and go many times, and long enough for the others.
LIMITS = ["--header-timeout", "5", "--write-timeout", "5", "--timeout", "60"]
LATE = 30  # seconds that a limit may be exceeded by on a machine that is busy


class Server:
    def __init__(self, program, arguments):
        command = [program, "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            print("server  ", line.rstrip())
            if found := re.search(r"http://\S+", line):
                self.url = found.group() + "/v1"
                return
        sys.exit("the server did not start")

    def megabytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


class Load:
    def __init__(self, url, prompts):
        self.client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=120)
        self.prompts = prompts
        self.texts = {}  # of greedy requests, by prompt and length
        self.counts = {"texts": 0, "tokens": 0, "left": 0, "refused": 0, "busy": 0}
        self.latencies = []  # (when, seconds a token)
        self.faults = []

    async def run(self, seed, end):
        rng = random.Random(seed)
        kinds = [self.stream, self.whole, self.several, self.leave, self.refused]
        while time.monotonic() < end:
            (kind,) = rng.choices(kinds, [6, 4, 1, 2, 1])
            try:
                await kind(rng)
            except openai.RateLimitError:
                self.counts["busy"] += 1
                await asyncio.sleep(0.2)
            except Exception as e:
                self.faults.append(f"{kind.__name__}: {e!r}")
                await asyncio.sleep(0.2)

    def request(self, rng):
        return {
            "model": "builtin", "prompt": rng.choice(self.prompts), "temperature": 0,
            "max_tokens": rng.choice([4, 12, 40]),
        }

    def check(self, request, text):
        key = (request["prompt"], request["max_tokens"])
        expected = self.texts.setdefault(key, text)
        if text != expected:
            self.faults.append(f"{key}: {text!r}, before {expected!r}")
        self.counts["texts"] += 1

    def took(self, start, n_tokens):
        now = time.monotonic()
        self.counts["tokens"] += n_tokens
        self.latencies.append((now, (now - start) / max(n_tokens, 1)))

    async def stream(self, rng):
        request = self.request(rng)
        start, text, usage = time.monotonic(), "", None
        options = {"include_usage": True}
        async for chunk in await self.client.completions.create(
            **request, stream=True, stream_options=options
        ):
            text += chunk.choices[0].text if chunk.choices else ""
            usage = chunk.usage or usage
        self.took(start, usage.completion_tokens)
        self.check(request, text)

    async def whole(self, rng):
        request = self.request(rng)
        start = time.monotonic()
        answer = await self.client.completions.create(**request)
        self.took(start, answer.usage.completion_tokens)
        self.check(request, answer.choices[0].text)

    async def several(self, rng):
        request = self.request(rng)
        answer = await self.client.completions.create(**request, n=2)
        for choice in answer.choices:
            self.check(request, choice.text)

    async def leave(self, rng):
        request = self.request(rng) | {"max_tokens": 200}
        stream = await self.client.completions.create(**request, stream=True)
        wanted = rng.randrange(1, 10)
        async for _ in stream:
            wanted -= 1
            if wanted == 0:
                break
        await stream.close()
        self.counts["left"] += 1

    async def refused(self, rng):
        try:
            await self.client.completions.create(**self.request(rng), extra_body={"best_of": 3})
            self.faults.append("an unknown field was taken")
        except openai.BadRequestError:
            self.counts["refused"] += 1


class Hostile:
    """Connections that nobody needs."""

    def __init__(self, url):
        self.host, port = re.fullmatch(r"http://(.*):(\d+)/v1", url).groups()
        self.port = int(port)
        self.counts = {"half": 0, "silent": 0, "trickle": 0, "large": 0, "noise": 0, "unread": 0,
                       "turned away": 0}
        self.faults = []

    async def run(self, seed, end):
        rng = random.Random(seed)
        kinds = {"half": self.half, "silent": self.silent, "trickle": self.trickle,
                 "large": self.large, "noise": self.noise, "unread": self.unread}
        while time.monotonic() < end:
            name = rng.choice(list(kinds))
            limit = 60 if name in ("trickle", "unread") else 5
            try:
                async with asyncio.timeout(limit + LATE):
                    await kinds[name](rng)
                self.counts[name] += 1
            except TimeoutError:
                self.faults.append(f"{name}: the connection outlived its limit")
            except OSError as e:
                # A reset ends a connection too.
                self.counts["turned away" if isinstance(e, ConnectionRefusedError) else name] += 1

    async def connect(self, **options):
        reader, writer = await asyncio.open_connection(self.host, self.port, **options)
        return reader, writer

    async def until_closed(self, reader, writer):
        try:
            while await reader.read(4096):
                pass
        finally:
            writer.close()

    async def half(self, rng):
        reader, writer = await self.connect()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
        await self.until_closed(reader, writer)

    async def silent(self, rng):
        await self.until_closed(*await self.connect())

    async def noise(self, rng):
        reader, writer = await self.connect()
        writer.write(rng.randbytes(rng.randrange(1, 2000)))
        await self.until_closed(reader, writer)

    async def large(self, rng):
        reader, writer = await self.connect()
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 390_000)
        await self.until_closed(reader, writer)

    async def trickle(self, rng):
        reader, writer = await self.connect()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     b"Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
        closed = asyncio.create_task(self.until_closed(reader, writer))
        while not closed.done():
            writer.write(b" ")
            await asyncio.wait([closed], timeout=0.1)
        await closed

    async def unread(self, rng):
        # A plain socket with a small buffer: asyncio's streams read by themselves.
        connection = socket.socket()
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, (self.host, self.port))
            body = json.dumps({"prompt": "Call me", "max_tokens": 300, "stream": True,
                               "logprobs": 5, "n": 2}).encode()
            head = (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
            await loop.sock_sendall(connection, head.encode() + body)
            await asyncio.sleep(rng.uniform(5, 15))
            while await loop.sock_recv(connection, 65536):
                pass
        finally:
            connection.close()


def median_between(latencies, begin, end):
    chosen = [seconds for when, seconds in latencies if begin <= when < end]
    return 1000 * statistics.median(chosen) if chosen else float("nan")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--hostile", type=int, default=24)
    args, server_arguments = parser.parse_known_args()
    server = Server(args.program, LIMITS + (server_arguments or ["--parallel", "4", "--ctx", "384"]))
    words = TEXT.read_text().split()
    prompts = [" ".join(words[i:i + 12 + i % 60]) for i in range(0, 600, 20)]
    load = Load(server.url, prompts)
    start = time.monotonic()
    end = start + 60 * args.minutes
    warm = start + WARM_UP * (end - start)
    clients = [asyncio.create_task(load.run(seed, end)) for seed in range(args.clients)]
    hostile = Hostile(server.url)
    hostiles = [asyncio.create_task(hostile.run(1000 + seed, end)) for seed in range(args.hostile)]
    memory = []  # (when, MiB)
    next_line = start
    while not all(client.done() for client in clients):
        now = time.monotonic()
        memory.append((now, server.megabytes()))
        if now >= next_line:
            latency = median_between(load.latencies, now - 60, now)
            print(f"{(now - start) / 60:4.0f} min  {memory[-1][1]:6.1f} MiB  "
                  f"{latency:5.1f} ms a token  {load.counts} {hostile.counts}", flush=True)
            next_line += 60
        await asyncio.sleep(1)
    await asyncio.gather(*hostiles)
    # Means of a tenth of the time each: a moment's peak is no growth.
    part = WARM_UP * (end - start)
    first = statistics.mean(mb for when, mb in memory if warm <= when < warm + part)
    last = statistics.mean(mb for when, mb in memory if when >= end - part)
    growth = 100 * (last / first - 1)
    third = (end - warm) / 3
    latencies = [median_between(load.latencies, warm + i * third, warm + (i + 1) * third)
                 for i in range(3)]
    print(f"memory    {first:.1f} MiB after the warm-up, {last:.1f} at the end: {growth:+.2f} %")
    print("latency   " + ", ".join(f"{ms:.1f}" for ms in latencies) + " ms a token, by thirds")
    print(f"requests  {load.counts}")
    print(f"hostile   {hostile.counts}")
    faults = load.faults + hostile.faults
    for fault in faults[:10]:
        print(f"fault     {fault}")
    server.process.terminate()
    ended_well = server.process.wait(60) == 0
    print(f"faults    {len(faults)}, server ended {'well' if ended_well else 'badly'}")
    sys.exit(0 if growth < 2 and not faults and ended_well else 1)


asyncio.run(main())
