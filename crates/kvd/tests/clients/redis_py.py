"""Scripted sessions of redis-py against a running kvd, in RESP2 and RESP3: redis_py.py PORT. Ends with an error where an answer is
not what it is in Redis."""

import os
import sys
import threading
import time

import redis


def expect(what, expected):
    assert what == expected, f"expected {expected!r}, got {what!r}"


def raises(error, text, call, *args, **kwargs):
    try:
        result = call(*args, **kwargs)
    except error as refused:
        assert text in str(refused), f"{text!r} is not in {refused!r}"
    else:
        raise AssertionError(f"expected an error with {text!r}, got {result!r}")


def strings(r):
    binary = bytes(range(256)) * 4
    for key in (b"key", b"", binary, "ключ".encode()):
        expect(r.set(key, binary), True)
        expect(r.get(key), binary)
        expect(r.strlen(key), len(binary))
        expect(r.delete(key), 1)
    expect(r.get("nosuch"), None)
    expect(r.set("a", "1", nx=True), True)
    expect(r.set("a", "2", nx=True), None)
    expect(r.set("a", "3", xx=True, get=True), b"1")
    expect(r.set("a", "4", ex=100), True)
    assert 99 <= r.ttl("a") <= 100
    expect(r.set("a", "5", keepttl=True), True)
    assert 99_000 < r.pttl("a") <= 100_000
    expect(r.getex("a", persist=True), b"5")
    expect(r.ttl("a"), -1)
    expect(r.getset("a", "6"), b"5")
    expect(r.getdel("a"), b"6")
    expect(r.setnx("a", "1"), True)
    expect(r.setex("a", 10, "1"), True)
    expect(r.append("a", "23"), 3)
    expect(r.getrange("a", 1, -1), b"23")
    expect(r.setrange("a", 1, "xyz"), 4)
    expect(r.mset({"m1": "1", "m2": b"\x00"}), True)
    expect(r.mget(["m1", "nosuch", "m2"]), [b"1", None, b"\x00"])
    expect(r.msetnx({"m2": "2", "m3": "3"}), False)
    expect(r.exists("m1", "m3", "m1"), 2)
    expect(r.incr("n"), 1)
    expect(r.incrby("n", 41), 42)
    expect(r.decr("n", 2), 40)
    expect(r.incrbyfloat("f", 1.5), 1.5)
    raises(redis.ResponseError, "value is not an integer or out of range", r.incr, "a")
    big = os.urandom(5_000_000)
    expect(r.set("big", big), True)
    expect(r.get("big"), big)


def keys(r):
    r.flushall()
    expect(r.dbsize(), 0)
    expect(r.randomkey(), None)
    r.mset({f"key:{n}": n for n in range(1_000)})
    expect(r.dbsize(), 1_000)
    expect(sorted(r.keys("key:99?")), [f"key:99{n}".encode() for n in range(10)])
    expect(sorted(r.scan_iter("key:*", count=37)), sorted(f"key:{n}".encode() for n in range(1_000)))
    expect(list(r.scan_iter(_type="list")), [])
    assert r.randomkey().startswith(b"key:")
    expect(r.type("key:1"), b"string")
    expect(r.rename("key:1", "renamed"), True)
    raises(redis.ResponseError, "no such key", r.rename, "key:1", "renamed")
    expect(r.renamenx("renamed", "key:2"), False)
    expect(r.copy("renamed", "copied"), True)
    expect(r.touch("copied", "renamed", "nosuch"), 2)
    expect(r.unlink("copied", "nosuch"), 1)
    expect(r.object("encoding", "key:3"), b"int")
    expect(r.expire("key:3", 100), True)
    expect(r.expire("key:3", 50, gt=True), False)
    expect(r.expireat("key:3", int(time.time()) + 1_000), True)
    expect(r.persist("key:3"), True)
    expect(r.pexpire("key:3", 1), True)
    while r.exists("key:3"):
        pass
    expect(r.ttl("key:3"), -2)
    expect(r.expire("key:4", -1), True)
    expect(r.exists("key:4"), 0)


def pipelines(r):
    r.delete("p")
    with r.pipeline(transaction=False) as pipe:
        for n in range(2_000):
            pipe.incr("p")
            pipe.get("p")
        answers = pipe.execute()
    expect(answers, [answer for n in range(1, 2_001) for answer in (n, str(n).encode())])
    with r.pipeline(transaction=True) as pipe:
        pipe.set("t1", "1").incr("t1").get("t1").mget("t1", "nosuch")
        expect(pipe.execute(), [True, 2, b"2", [b"2", None]])
    with r.pipeline() as pipe:
        pipe.set("t1", "text").incr("t1").set("t2", "after")
        answers = pipe.execute(raise_on_error=False)
        assert isinstance(answers[1], redis.ResponseError), answers
    expect(r.mget("t1", "t2"), [b"text", b"after"])


def transactions(r, other):
    r.set("w", 0)
    with r.pipeline() as pipe:
        pipe.watch("w")
        other.set("w", 1)
        pipe.multi()
        pipe.set("w", 2)
        raises(redis.WatchError, "", pipe.execute)
    expect(r.get("w"), b"1")

    r.set("sum", 0)

    def count(client):
        for _ in range(50):
            while True:
                with client.pipeline() as pipe:
                    try:
                        pipe.watch("sum")
                        now = int(pipe.get("sum"))
                        pipe.multi()
                        pipe.set("sum", now + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue

    threads = [threading.Thread(target=count, args=(client,)) for client in (r, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(r.get("sum"), b"100")


def server(r):
    expect(r.ping(), True)
    expect(r.echo("hi"), b"hi")
    info = r.info()
    for field in ("redis_version", "used_memory", "connected_clients", "role", "uptime_in_seconds", "keyspace_hits"):
        assert field in info, f"INFO lacks {field}"
    assert info["db0"]["keys"] == r.dbsize()
    expect(r.config_get("databases"), {"databases": "1"})
    expect(r.config_set("maxmemory", 0), True)
    expect(r.client_setname("me"), True)
    assert r.client_getname() in ("me", b"me")
    assert any(client["name"] == "me" for client in r.client_list())
    assert r.client_id() > 0
    assert r.command_count() > 60
    assert "get" in r.command()
    assert abs(r.time()[0] - time.time()) < 100
    expect(r.save(), True)
    assert abs(r.lastsave().timestamp() - time.time()) < 100
    raises(redis.ResponseError, "unknown command", r.execute_command, "HSET", "h", "f", "v")
    raises(redis.ResponseError, "DB index is out of range", r.execute_command, "SELECT", 7)


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        r, other = (redis.Redis(port=port, protocol=protocol) for _ in range(2))
        r.flushall()
        for session in (strings, keys, pipelines, lambda r: transactions(r, other), server):
            session(r)
        print(f"redis-py {redis.__version__}, RESP{protocol}: all as in Redis")


main()
