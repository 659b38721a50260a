"""redis-py in RESP2 and RESP3, against a plain server, one with a password, and one with TLS and a password."""

import asyncio
import os
import time

import pytest
import redis
import redis.asyncio


def until(what, ask, limit=30):
    """Asks again and again until the answer is true-ish. The limit only ends what would hang."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"waited in vain until {what}")


def test_connects(client):
    assert client.ping() is True
    assert client.echo("hello") == "hello"
    client.client_setname("tester")
    assert client.client_getname() == "tester"
    assert client.info("server")["redis_version"].count(".") == 2


def test_refuses_a_wrong_password(server, connect):
    if not server.password:
        pytest.skip("this server has no password")
    with pytest.raises(redis.AuthenticationError):
        connect(password="wrong", retry=None).ping()
    with pytest.raises(redis.AuthenticationError):
        connect(password=None, retry=None).ping()


def test_refuses_an_unknown_authority(server, connect):
    if not server.ca:
        pytest.skip("this server does not speak TLS")
    with pytest.raises(redis.ConnectionError):
        connect(ssl_ca_certs=None, retry=None).ping()


def test_strings(client):
    assert client.set("greeting", "hello") is True
    assert client.get("greeting") == "hello"
    assert client.get("missing") is None
    assert client.set("greeting", "other", nx=True) is None
    assert client.set("greeting", "other", get=True) == "hello"
    assert client.incr("visits", 42) == 42
    assert client.incrbyfloat("visits", 0.5) == 42.5
    assert client.mset({"a": 1, "b": 2}) is True
    assert client.mget("a", "missing", "b") == ["1", None, "2"]
    assert client.getrange("greeting", 0, 1) == "ot"
    assert client.delete("a", "b", "missing") == 2


def test_expiry(client):
    client.set("session", "data", ex=300)
    assert 290 < client.ttl("session") <= 300
    assert client.expire("session", 100, gt=True) is False
    assert client.persist("session") is True
    assert client.ttl("session") == -1
    assert client.ttl("missing") == -2
    client.set("short", "value", px=1)
    until("the key is gone", lambda: client.get("short") is None)


def test_hashes(client):
    assert client.hset("user:1", mapping={"name": "Ada", "role": "admin"}) == 2
    assert client.hgetall("user:1") == {"name": "Ada", "role": "admin"}
    assert client.hgetall("missing") == {}
    assert client.hmget("user:1", "name", "missing") == ["Ada", None]
    assert client.hincrby("user:1", "visits", 3) == 3
    assert len(client.hrandfield("user:1", 2)) == 2


def test_lists(client):
    assert client.rpush("jobs", "a", "b", "c") == 3
    assert client.lmove("jobs", "done", "LEFT", "RIGHT") == "a"
    assert client.lrange("jobs", 0, -1) == ["b", "c"]
    assert client.lpos("jobs", "c") == 1
    assert client.lpop("jobs", 5) == ["b", "c"]
    assert client.lpop("jobs") is None


def test_sets(client):
    assert client.sadd("tags:1", "red", "green", "red") == 2
    client.sadd("tags:2", "green", "blue")
    assert client.smembers("tags:1") == {"red", "green"}
    assert set(client.sinter("tags:1", "tags:2")) == {"green"}
    assert client.smismember("tags:1", ["red", "blue"]) == [1, 0]


def test_leaderboard(client):
    scores = {f"player:{i}": i * 1.5 for i in range(25)}
    assert client.zadd("board", scores) == 25
    assert client.zadd("board", {"player:24": 1}, gt=True) == 0
    best = sorted(scores.items(), key=lambda item: -item[1])[:10]
    assert [tuple(each) for each in client.zrange("board", 0, 9, desc=True, withscores=True)] == best
    assert client.zincrby("board", 100, "player:0") == 100.0
    assert client.zrevrank("board", "player:0") == 0
    assert client.zscore("board", "missing") is None
    client.zadd("board", {"endless": float("inf")})
    assert client.zscore("board", "endless") == float("inf")


def test_transaction(client):
    with client.pipeline(transaction=True) as pipeline:
        pipeline.set("a", 1).incr("a").hset("h", "f", "v").zadd("z", {"m": 1.5}).zscore("z", "m")
        assert pipeline.execute() == [True, 2, 1, 1, 1.5]
        pipeline.lpush("a", "x").set("done", "yes")
        failure, done = pipeline.execute(raise_on_error=False)
    assert isinstance(failure, redis.ResponseError) and "WRONGTYPE" in str(failure)
    assert done is True and client.get("done") == "yes"


def test_watch(client, connect):
    other = connect()
    client.set("balance", 10)
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        other.set("balance", 20)
        pipeline.multi()
        pipeline.set("balance", 11)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert client.get("balance") == "20"

    def add_one(pipeline):
        balance = int(pipeline.get("balance"))
        pipeline.multi()
        pipeline.set("balance", balance + 1)

    assert client.transaction(add_one, "balance") == [True]
    assert client.get("balance") == "21"


def test_pipeline_without_transaction(client):
    with client.pipeline(transaction=False) as pipeline:
        for i in range(2000):
            pipeline.set(f"key:{i}", i)
        assert all(pipeline.execute())
        for i in range(2000):
            pipeline.get(f"key:{i}")
        assert pipeline.execute() == [str(i) for i in range(2000)]


def test_pubsub(client):
    with client.pubsub() as pubsub:
        pubsub.subscribe("chatroom")
        pubsub.psubscribe("news.*")

        def next_message():
            return until("a message is there", lambda: pubsub.get_message(timeout=1))

        assert [next_message()["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        assert [tuple(each) for each in client.pubsub_numsub("chatroom")] == [("chatroom", 1)]
        assert client.publish("chatroom", "Grüße") == 1
        assert client.publish("news.weather", "rain") == 1
        first, second = next_message(), next_message()
        assert (first["type"], first["data"]) == ("message", "Grüße")
        assert (second["type"], second["pattern"], second["channel"]) == ("pmessage", "news.*", "news.weather")
        pubsub.unsubscribe("chatroom")
        assert next_message()["type"] == "unsubscribe"
        assert client.publish("chatroom", "x") == 0


def test_iteration(client):
    names = {f"item:{i}" for i in range(1500)}
    client.mset(dict.fromkeys(names, "x"))
    client.sadd("members", *names)
    client.hset("fields", mapping=dict.fromkeys(names, "x"))
    client.zadd("scores", dict.fromkeys(names, 1))
    assert set(client.scan_iter(match="item:*", count=100)) == names
    assert list(client.scan_iter(_type="zset")) == ["scores"]
    assert set(client.sscan_iter("members")) == names
    assert {field for field, _ in client.hscan_iter("fields")} == names
    assert {member for member, _ in client.zscan_iter("scores")} == names


def test_lock(client):
    """Taking the lock is SET NX PX; giving it back is a script in redis-py."""
    if b"eval" not in {name.encode() for name in client.execute_command("COMMAND LIST")}:
        pytest.skip("redis-py releases a lock with a Lua script, and this server has no scripts yet")
    with client.lock("lock", timeout=100):
        assert client.lock("lock", timeout=100, blocking=False).acquire() is False
    assert client.exists("lock") == 0


def test_errors(client):
    client.set("text", "abc")
    with pytest.raises(redis.ResponseError, match="^WRONGTYPE"):
        client.lpush("text", "x")
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        client.incr("text")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NOSUCH", "x")
    assert client.get("text") == "abc"


def test_bytes(connect):
    client = connect(decode_responses=False)
    client.flushall()
    every = bytes(range(256))
    client.set(every, every)
    assert client.get(every) == every
    assert client.keys() == [every]
    big = os.urandom(1 << 20)
    client.set("big", big)
    assert client.strlen("big") == len(big)
    assert client.get("big") == big


def test_operations(client):
    client.set("key", "value")
    assert client.dbsize() == 1
    assert client.info("memory")["used_memory"] > 0
    assert client.config_get("maxmemory") == {"maxmemory": "0"}
    assert client.config_set("slowlog-log-slower-than", 0) is True
    client.slowlog_reset()
    client.get("key")
    entry = client.slowlog_get(10)[0]
    client.config_set("slowlog-log-slower-than", 10000)
    assert entry["command"] in ("GET key", b"GET key")
    assert client.type("key") == "string"
    assert client.object("encoding", "key") == "embstr"


def test_monitor(client):
    with client.monitor() as monitor:
        client.set("watched", 'say "hi"')
        seen = next(each for each in monitor.listen() if "watched" in each["command"])
    assert seen["command"].startswith("SET watched say ")
    assert seen["db"] == 0


def test_asyncio(server, protocol):
    async def story():
        async with redis.asyncio.Redis(**server.options(protocol=protocol)) as client:
            await client.flushall()
            await asyncio.gather(*(client.set(f"key:{i}", i) for i in range(50)))
            assert await client.mget("key:0", "key:49") == ["0", "49"]
            async with client.pubsub() as pubsub:
                await pubsub.subscribe("chatroom")
                assert (await pubsub.get_message(timeout=30))["type"] == "subscribe"
                assert await client.publish("chatroom", "hello") == 1
                assert (await pubsub.get_message(timeout=30))["data"] == "hello"

    asyncio.run(story())


def test_restart(server, client):
    client.set("kept", "value")
    client.zadd("kept:board", {"Ada": 1.5})
    server.stop()
    server.start()
    # The same client: its connection was lost, and it makes another by itself.
    assert client.get("kept") == "value"
    assert client.zscore("kept:board", "Ada") == 1.5
