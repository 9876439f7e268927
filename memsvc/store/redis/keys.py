"""The names of Redis's keys. Pure.

Everything of a shard lies in one hash slot, by the tag in braces, so that one script reaches it and a Redis Cluster
places it. Names are of fixed arity and hold nothing that a caller chose: numbers, uids, and hashes in hexadecimal.

    PREFIX:meta                   the deployment: format and number of shards
    PREFIX:credentials            hash: id of a credential to its body, and "version" to how often they changed
    PREFIX:members                sorted set: address of each process, by when its sign of life runs out
    PREFIX:{S}:epoch              counter of owners; every write of a shard names it
    PREFIX:{S}:lease              who owns the shard now; expires
    PREFIX:{S}:commit             the last commit
    PREFIX:{S}:rows               hash: uid to what changes seldom of a tenant
    PREFIX:{S}:heads              hash: uid to the end of its log
    PREFIX:{S}:names              sorted set of the living tenants' ids
    PREFIX:{S}:name:H             the uid of the living tenant of an id with that hash
    PREFIX:{S}:due                sorted set of "uid:number", by when the entry expires
    PREFIX:{S}:staged, condemned  sets of uids
    PREFIX:{S}:erasing            set of the names of erasures that are not done
    PREFIX:{S}:request:H          what came of a request; expires
    PREFIX:{S}:t:UID:log          stream of records, ids EPOCH-SEQ
    PREFIX:{S}:t:UID:ids          hash: the keyed hash of an id to what is known of it
    PREFIX:{S}:t:UID:e:N          hash: number to what becomes of an entry, for the numbers N·BUCKET and up
    PREFIX:{S}:t:UID:p:NUMBER     id, content hash and data of an entry: its payload
    PREFIX:{S}:t:UID:erasures     hash: seq to an erasure
    PREFIX:{S}:t:UID:copies       what was made of the tenant, in one value
    PREFIX:{S}:t:UID:snapshots    hash: seq to a manifest
    PREFIX:{S}:t:UID:blobs        hash: name to where a blob's bytes are
    PREFIX:{S}:t:UID:tokens       hash: token to its number of chunks, for every token that chunks were written under
    PREFIX:{S}:t:UID:c:TOKEN:N    a chunk of a blob
"""

from dataclasses import dataclass
from functools import cached_property

BUCKET = 64
"""Entries in one hash: Redis keeps small hashes as flat lists, in a fraction of the room."""

SHARD_DIGITS = 4
"""Hexadecimal digits of the shard at the front of a uid."""


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys of one tenant."""

    base: str

    @property
    def log(self) -> str:
        """Stream of records."""
        return f"{self.base}:log"

    @property
    def ids(self) -> str:
        """What is known of each id."""
        return f"{self.base}:ids"

    def bucket(self, number: int) -> str:
        """What becomes of the entry of that number, and of its neighbours."""
        return f"{self.base}:e:{number // BUCKET}"

    def payload(self, number: int) -> str:
        """What a caller wrote."""
        return f"{self.base}:p:{number}"

    @property
    def erasures(self) -> str:
        """Erasures by seq."""
        return f"{self.base}:erasures"

    @property
    def copies(self) -> str:
        """What was made of the tenant."""
        return f"{self.base}:copies"

    @property
    def snapshots(self) -> str:
        """Manifests by seq."""
        return f"{self.base}:snapshots"

    @property
    def blobs(self) -> str:
        """Where blobs are, by name."""
        return f"{self.base}:blobs"

    @property
    def tokens(self) -> str:
        """Under which tokens chunks were written, and how many."""
        return f"{self.base}:tokens"

    def chunk(self, token: str, index: int) -> str:
        """One chunk of a blob."""
        return f"{self.base}:c:{token}:{index}"


@dataclass(frozen=True)
class ShardKeys:
    """The keys of one shard."""

    prefix: str
    shard: int

    def _key(self, name: str) -> str:
        return f"{self.prefix}:{{{self.shard}}}:{name}"

    @cached_property
    def epoch(self) -> str:
        """Counter of owners."""
        return self._key("epoch")

    @cached_property
    def lease(self) -> str:
        """Who owns the shard."""
        return self._key("lease")

    @cached_property
    def commit(self) -> str:
        """The last commit."""
        return self._key("commit")

    @cached_property
    def rows(self) -> str:
        """Tenants by uid."""
        return self._key("rows")

    @cached_property
    def heads(self) -> str:
        """Ends of logs by uid."""
        return self._key("heads")

    @cached_property
    def names(self) -> str:
        """Ids of living tenants, in byte order."""
        return self._key("names")

    def name(self, tenant_hash: bytes) -> str:
        """The uid of a living tenant."""
        return self._key(f"name:{tenant_hash.hex()}")

    @cached_property
    def due(self) -> str:
        """Entries by when they expire."""
        return self._key("due")

    @cached_property
    def staged(self) -> str:
        """Uids of staged tenants."""
        return self._key("staged")

    @cached_property
    def condemned(self) -> str:
        """Uids of tenants whose keys are to be deleted."""
        return self._key("condemned")

    @cached_property
    def erasing(self) -> str:
        """Names of erasures under way."""
        return self._key("erasing")

    def request(self, request_id: bytes) -> str:
        """What came of a request; of its id only a hash is taken."""
        return self._key(f"request:{request_id.hex()}")

    def tenant(self, uid: str) -> TenantKeys:
        """The keys of one tenant."""
        return TenantKeys(self._key(f"t:{uid}"))


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a deployment."""

    prefix: str = "memsvc"

    @property
    def meta(self) -> str:
        """What the deployment is."""
        return f"{self.prefix}:meta"

    @property
    def credentials(self) -> str:
        """Who may do what."""
        return f"{self.prefix}:credentials"

    @property
    def members(self) -> str:
        """The processes that serve it."""
        return f"{self.prefix}:members"

    def shard(self, shard: int) -> ShardKeys:
        """The keys of one shard."""
        return ShardKeys(self.prefix, shard)


def shard_of_uid(uid: str) -> int:
    """Return the shard of a tenant; -1 for what is not a uid of this store."""
    try:
        return int(uid[:SHARD_DIGITS], 16)
    except ValueError:
        return -1
