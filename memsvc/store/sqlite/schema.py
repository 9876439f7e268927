"""The two databases of a data directory: log.db, the truth, and views.db, which may be deleted at any time.

Deleted text must be nowhere in the files. SQLite's secure_delete zeroes a deleted row and a freed page, but when it
rebalances a b-tree it moves rows between pages and leaves their old bytes in the gap of the page they left. So whatever
may hold a tenant's text lies where SQLite never moves it:

- `tenants`, `names`, `payloads` and `copies` of log.db only grow at their end, which moves no row, and a row of theirs
  is never deleted: it is emptied where it lies, by an UPDATE that makes it smaller, which moves none either. (`compact`
  gets the room back.) A name that goes from one tenant to another is therefore a new row of `names`. Of content there
  is no hash elsewhere: a payload that is destroyed, but not forgotten, leaves a keyed one in its own row, which is
  emptied in turn. The tables that point at these hold numbers and keyed hashes of ids; a record's body and an erasure's
  receipt hold no text.
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
    additions: str
    """Tables that came later, each made where it is missing. An older version of memsvc passes over them."""
    small_tables: tuple[str, ...]
    """Checked at every start-up, however large the file is."""
    synchronous: str
    """FULL: a commit is on the disk when it returns. NORMAL: a power cut may undo the last, and damages nothing."""


_LOG_TABLES = """
CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('checked_us', 0), ('dead_bytes', 0);

-- A tenant lives while it has a name. Without a name it is parked behind one, or staged; without a config it waits for
-- its payloads to be emptied; without a uid that is done.
CREATE TABLE tenants (
    no INTEGER PRIMARY KEY, uid TEXT, created_us INTEGER, config BLOB, id_key BLOB) STRICT;
CREATE UNIQUE INDEX tenants_by_uid ON tenants (uid) WHERE uid IS NOT NULL;
CREATE TABLE names (no INTEGER PRIMARY KEY, tenant INTEGER, name BLOB, name_hash BLOB) STRICT;
CREATE UNIQUE INDEX names_by_tenant ON names (tenant) WHERE tenant IS NOT NULL;
CREATE UNIQUE INDEX names_by_hash ON names (name_hash) WHERE name_hash IS NOT NULL;
-- Who is parked, and behind whom; until it is purged, if it is.
CREATE TABLE parked (tenant INTEGER PRIMARY KEY, front INTEGER NOT NULL) STRICT;
CREATE INDEX parked_by_front ON parked (front);
CREATE TABLE copies (no INTEGER PRIMARY KEY, tenant INTEGER, copy TEXT) STRICT;
CREATE INDEX copies_by_tenant ON copies (tenant) WHERE tenant IS NOT NULL;
CREATE TABLE payloads (no INTEGER PRIMARY KEY, id BLOB, content_hash BLOB, data BLOB) STRICT;

CREATE TABLE heads (
    tenant INTEGER PRIMARY KEY, seq INTEGER NOT NULL, number INTEGER NOT NULL, commit_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL) STRICT;
-- about: numbers, each 8 bytes, little-endian. first, last: numbers of its entries, 0 for none.
CREATE TABLE records (
    tenant INTEGER NOT NULL, seq INTEGER NOT NULL, commit_us INTEGER NOT NULL, kind INTEGER NOT NULL,
    body BLOB NOT NULL, about BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, seq)) STRICT, WITHOUT ROWID;
-- state: an EntryState. previous: the revision that this one replaced. died: the record by which it was replaced,
-- deleted or expired. A forgotten entry goes with its payload.
CREATE TABLE entries (
    tenant INTEGER NOT NULL, number INTEGER NOT NULL, seq INTEGER NOT NULL, payload INTEGER NOT NULL,
    state INTEGER NOT NULL, learn INTEGER NOT NULL, previous INTEGER, died INTEGER, expire_us INTEGER,
    PRIMARY KEY (tenant, number)) STRICT, WITHOUT ROWID;
CREATE INDEX entries_forgotten ON entries (tenant, number) WHERE state = 3;
CREATE INDEX entries_due ON entries (expire_us) WHERE state = 0 AND expire_us IS NOT NULL;
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
    SELECT t.*, n.name, h.seq, h.number, h.commit_us, h.bytes FROM tenants t CROSS JOIN names n ON n.tenant = t.no
    CROSS JOIN heads h ON h.tenant = t.no;
CREATE VIEW staged AS
    SELECT t.*, h.seq, h.number, h.commit_us FROM tenants t CROSS JOIN heads h ON h.tenant = t.no
    WHERE t.config IS NOT NULL AND NOT EXISTS (SELECT 1 FROM names n WHERE n.tenant = t.no)
    AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.tenant = t.no);
CREATE VIEW stored AS
    SELECT e.tenant, e.number, e.seq, r.commit_us, p.id, p.content_hash, p.data, e.learn, e.expire_us, e.state, e.died
    FROM entries e CROSS JOIN records r ON r.tenant = e.tenant AND r.seq = e.seq
    CROSS JOIN payloads p ON p.no = e.payload WHERE p.data IS NOT NULL;
CREATE VIEW forgotten AS
    SELECT e.tenant, e.number, e.seq, e.payload, length(p.id) + length(p.content_hash) + length(p.data) AS size,
    length(p.data) AS data_size FROM entries e INDEXED BY entries_forgotten CROSS JOIN payloads p ON p.no = e.payload
    WHERE e.state = 3;
CREATE VIEW due AS
    SELECT l.uid, e.number, e.learn, e.expire_us FROM entries e INDEXED BY entries_due
    CROSS JOIN living l ON l.no = e.tenant WHERE e.state = 0 AND e.expire_us IS NOT NULL;
"""

_LOG_ADDITIONS = """
-- No tenant's text: a body has hashes of secrets, and names and patterns that an administrator chose.
CREATE TABLE IF NOT EXISTS credentials (id TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('credentials_version', 0);
"""

_VIEWS_TABLES = """
CREATE TABLE chunks (no INTEGER PRIMARY KEY, pad BLOB NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE snapshots (
    uid TEXT NOT NULL, seq INTEGER NOT NULL, manifest INTEGER NOT NULL, PRIMARY KEY (uid, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (
    uid TEXT NOT NULL, name TEXT NOT NULL, chunk INTEGER NOT NULL, digest BLOB NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (uid, name)) STRICT, WITHOUT ROWID;
"""

LOG = Database(
    "log.db",
    0x6D656D4C,
    _LOG_TABLES,
    _LOG_ADDITIONS,
    ("tenants", "names", "parked", "heads", "requests", "erasures", "credentials"),
    "FULL",
)
VIEWS = Database("views.db", 0x6D656D56, _VIEWS_TABLES, "", ("snapshots", "blobs"), "NORMAL")
