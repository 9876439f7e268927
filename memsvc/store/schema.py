"""The two databases of a data directory: log.db, the truth, and views.db, which may be deleted at any time.

Deleted text must be nowhere in the files. SQLite's secure_delete zeroes a deleted row and a freed page, but when it
rebalances a b-tree it moves rows between pages and leaves their old bytes in the gap of the page they left. So whatever
may hold a tenant's text lies where SQLite never moves it:

- `tenants` and `payloads` of log.db only grow at their end, which moves no row, and a row of theirs is never deleted:
  it is emptied where it lies, by an UPDATE that makes it smaller, which moves none either. (`compact` gets the room
  back.) Of content there is no hash elsewhere: a payload that is destroyed, but not forgotten, leaves a keyed one in
  its own row, which is emptied in turn. The tables that point at these hold numbers and keyed hashes of ids; a record's
  body and an erasure's receipt hold no text.
- `chunks` of views.db begins each row with a page of zeros, so that the data lies wholly on overflow pages, which
  belong to one row, are never moved, and are zeroed when it is deleted.
"""

from typing import NamedTuple

FORMAT = 1
"""PRAGMA user_version of both databases."""

PAGE_BYTES = 4096
CHUNK_PAD_BYTES = PAGE_BYTES
"""More than a leaf keeps of a row (page size - 35)."""


class Database(NamedTuple):
    """One of the two files."""

    name: str
    application_id: int
    tables: str
    small_tables: tuple[str, ...]
    """Checked at every start-up, however large the file is."""
    synchronous: str
    """FULL: a commit is on the disk when it returns. NORMAL: a power cut may undo the last, and damages nothing."""


_LOG_TABLES = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('checked_us', 0), ('dead_bytes', 0);

-- A tenant lives while it has a name; without one it waits for its payloads to be emptied; without a uid that is done.
CREATE TABLE tenants (
    no INTEGER PRIMARY KEY, uid TEXT, tenant BLOB, tenant_hash BLOB, created_us INTEGER, config BLOB, id_key BLOB
    ) STRICT;
CREATE UNIQUE INDEX tenants_by_uid ON tenants (uid) WHERE uid IS NOT NULL;
CREATE UNIQUE INDEX tenants_by_hash ON tenants (tenant_hash) WHERE tenant_hash IS NOT NULL;
CREATE TABLE payloads (no INTEGER PRIMARY KEY, id BLOB, content_hash BLOB, data BLOB) STRICT;

CREATE TABLE heads (
    tenant INTEGER PRIMARY KEY, seq INTEGER NOT NULL, number INTEGER NOT NULL, commit_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL) STRICT;
-- about: numbers, each 8 bytes, little-endian.
CREATE TABLE records (
    tenant INTEGER NOT NULL, seq INTEGER NOT NULL, commit_us INTEGER NOT NULL, kind INTEGER NOT NULL,
    body BLOB NOT NULL, about BLOB NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, seq)) STRICT, WITHOUT ROWID;
-- state: an EntryState. previous: the revision that this one replaced. A forgotten entry goes with its payload.
CREATE TABLE entries (
    tenant INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, payload INTEGER NOT NULL,
    state INTEGER NOT NULL, learn INTEGER NOT NULL, previous INTEGER, PRIMARY KEY (tenant, number)
    ) STRICT, WITHOUT ROWID;
CREATE INDEX entries_forgotten ON entries (tenant, number) WHERE state = 3;
-- The first and the newest revision; neither for an id that is forgotten.
CREATE TABLE ids (
    tenant INTEGER NOT NULL, id_hash BLOB NOT NULL, first INTEGER, current INTEGER, PRIMARY KEY (tenant, id_hash)
    ) STRICT, WITHOUT ROWID;
CREATE TABLE erasures (
    tenant INTEGER NOT NULL, seq INTEGER NOT NULL, operation TEXT NOT NULL, entries INTEGER NOT NULL,
    first_seq INTEGER NOT NULL, done INTEGER NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (tenant, seq)
    ) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX erasures_by_operation ON erasures (operation);
CREATE INDEX erasures_open ON erasures (tenant, seq) WHERE done = 0;
CREATE TABLE requests (
    request_id BLOB NOT NULL PRIMARY KEY, operation INTEGER NOT NULL, digest BLOB NOT NULL, uid TEXT NOT NULL,
    at_us INTEGER NOT NULL, seq INTEGER NOT NULL, destroyed INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_time ON requests (at_us);

-- CROSS JOIN: SQLite keeps the order of the tables.
CREATE VIEW living AS
    SELECT t.*, h.seq, h.number, h.commit_us, h.bytes FROM tenants t CROSS JOIN heads h ON h.tenant = t.no
    WHERE t.tenant IS NOT NULL;
CREATE VIEW stored AS
    SELECT e.tenant, e.number, e.seq, r.commit_us, p.id, p.content_hash, p.data, e.learn, e.state FROM entries e
    CROSS JOIN records r ON r.tenant = e.tenant AND r.seq = e.seq CROSS JOIN payloads p ON p.no = e.payload
    WHERE p.data IS NOT NULL;
CREATE VIEW forgotten AS
    SELECT e.tenant, e.number, e.seq, e.payload, length(p.id) + length(p.content_hash) + length(p.data) AS size,
    length(p.data) AS data_size FROM entries e INDEXED BY entries_forgotten CROSS JOIN payloads p ON p.no = e.payload
    WHERE e.state = 3;
"""

_VIEWS_TABLES = """
CREATE TABLE chunks (no INTEGER PRIMARY KEY, pad BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE snapshots (
    uid TEXT NOT NULL, seq INTEGER NOT NULL, manifest INTEGER NOT NULL, PRIMARY KEY (uid, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (
    uid TEXT NOT NULL, name TEXT NOT NULL, chunk INTEGER NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (uid, name)) STRICT, WITHOUT ROWID;
"""

LOG = Database("log.db", 0x6D656D4C, _LOG_TABLES, ("tenants", "heads", "requests", "erasures"), "FULL")
VIEWS = Database("views.db", 0x6D656D56, _VIEWS_TABLES, ("snapshots", "blobs"), "NORMAL")
