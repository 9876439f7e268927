"""What a Redis lets this user run. What it refused in the middle of a commit would leave half of that behind."""

import json
from collections.abc import Sequence

from redis.exceptions import ConnectionError, RedisError, TimeoutError  # Redis's own

from memsvc.store.redis.keys import Keys
from memsvc.store.redis.nodes import Node
from memsvc.store.redis.scripts import source

_OF_DEPLOYMENT = (
    "HSETNX {meta} field value",
    "HGETALL {meta}",
    "HGETALL {credentials}",
    "HGET {credentials} field",
    "HSET {credentials} field value",
    "HDEL {credentials} field",
    "HINCRBY {credentials} field 1",
    "ZADD {members} 0 member",
    "ZREMRANGEBYSCORE {members} 0 0",
    "ZRANGE {members} 0 0",
)
_OF_SHARD = (
    "DEL {key}",
    "EVALSHA 0 1 {key}",
    "EXISTS {key}",
    "GET {key}",
    "HDEL {key} field",
    "HEXISTS {key} field",
    "HGET {key} field",
    "HGETALL {key}",
    "HKEYS {key}",
    "HLEN {key}",
    "HMGET {key} field",
    "HSCAN {key} 0",
    "HSET {key} field value",
    "INCR {key}",
    "MGET {key}",
    "PEXPIRE {key} 1",
    "SADD {key} member",
    "SET {key} value",
    "SMEMBERS {key}",
    "SREM {key} member",
    "TYPE {key}",
    "UNLINK {key}",
    "WATCH {key}",
    "XADD {key} 0-1 field value",
    "XRANGE {key} - +",
    "ZADD {key} 0 member",
    "ZRANGEBYLEX {key} - +",
    "ZRANGEBYSCORE {key} 0 0",
    "ZREM {key} member",
)
_OF_NONE = ("EXEC", "MULTI", "PING", "TIME")
_CHECK = ("EVALSHA", "SCRIPT|LOAD")
"""Without these nothing more can be asked."""


async def refused(node: Node, keys: Keys) -> Sequence[str]:
    """Return the names of the commands that the store needs and a server would refuse, as an ACL names them.

    Raises:
        RedisError: the server did not answer.
    """
    shard = keys.shard(0)
    names = {"meta": keys.meta, "members": keys.members, "credentials": keys.credentials, "key": shard.commit}
    commands = [
        [word.format_map(names) for word in command.split()] for command in (*_OF_DEPLOYMENT, *_OF_SHARD, *_OF_NONE)
    ]
    try:
        sha = await node.call("SCRIPT LOAD", source("refused"))
        places = await node.call("EVALSHA", sha, "0", json.dumps(commands))
    except (ConnectionError, TimeoutError):
        raise
    except RedisError:  # it lets no one ask, and so lets no one commit
        return sorted({*_CHECK, *(command[0] for command in commands)})
    return sorted({commands[place - 1][0] for place in places})
