"""What goes into a tenant's memory and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict, overload


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One piece of text to remember: a turn of a conversation, a passage of a document, a note."""

    text: str
    """1 byte to 64 KiB of UTF-8."""
    id: str | None = None
    """1-256 bytes of UTF-8 without control characters, unique in the tenant. The client assigns one when it is None."""
    session: str | None = None
    """What the text belongs to: a conversation, a document's path. Neighbours in it give each other context."""
    role: str | None = None
    """Who speaks, for example `user`."""
    time: datetime | None = None
    """When the event happened, with a time zone; the server stamps the commit time when it is None."""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """A JSON object of at most 16 KiB, kept as given."""
    learn: bool = True
    """Whether the text changes the memory's weights. It can be recalled either way; without, it leaves the log at once
    when it is updated or deleted; `forget` alone reaches what the index made of it."""
    expire: datetime | None = None
    """When it expires, with a time zone: from about then on it is hidden, as by `delete_entry`. None: by its tenant's
    time to live, or never."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, text={_brief(self.text)}, session={self.session!r})"


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


Item = Entry | str | Sequence[Entry | str]
"""What a write stream is fed with: entries, and lists of entries that are one batch each."""

Moment = int | datetime
"""A moment in a tenant's past: after the record of that seq, or after the last one committed at or before that time."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class StoredEntry(Entry):
    """An entry as the server keeps it. It can be written again, to another tenant too."""

    id: str
    """Its id in the tenant."""
    time: datetime
    """When the event happened, in UTC, to the microsecond."""
    seq: int
    """The log record that holds it."""
    commit_time: datetime
    """When that record was committed, in UTC."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. All of it is durable."""

    seq: int
    """The record that holds the batch; when every entry was known already, the last record that holds one of them."""
    ids: tuple[str, ...]
    """The entries' ids, in order."""
    seqs: tuple[int, ...] = ()
    """For each entry the record that holds it: an earlier one when it was known already."""
    skipped: tuple[bool, ...] = ()
    """For each entry whether it was known with the same content, be it by an earlier try of this very call."""
    surprise: tuple[float | None, ...] | None = None
    """With `wait="applied"`: each entry's mean surprise per token."""
    gate_share: tuple[float | None, ...] | None = None
    """With `wait="applied"`: the share of each entry's tokens that write to the memory."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """An entry was hidden."""

    seq: int
    """The record of the deletion."""
    text_kept: bool
    """Whether its text is kept to fold the log again, and the weights still hold what they learnt of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReceipt:
    """How far an erasure is. Its entries are hidden from the start."""

    operation: str
    """Names it for `get_erasure`."""
    done: bool
    """Nothing of the text is left, but for what `files_pending` tells of."""
    state_hash_before: str | None
    """The memory's state hash before; None while the server does not say."""
    state_hash_after: str | None
    """What it would have been, had the text never been written; None until it is done."""
    entries: int
    """Entries that are erased, revisions counted one by one."""
    bytes_destroyed: int
    """Bytes of text destroyed; known when it is done."""
    folded_records: int
    """Records folded again so far."""
    total_records: int
    """Records to fold in all."""
    copies: tuple[str, ...] = ()
    """What was made of the tenant before and is not reached: `export of <time>`, `tenant <id>`."""
    files_pending: bool = False
    """Whether the store's own files may still hold some of the text, until the store can write them anew."""


class ScoreParts(NamedTuple):
    """The weighted parts of a score, which is their sum."""

    surprise: float
    """Similarity in surprise space: what the memory does not already expect of the query."""
    cosine: float
    """Plain cosine similarity."""
    lexical: float
    """BM25 over words."""
    context: float
    """What its neighbours and its session lend it."""


class Span(NamedTuple):
    """A part of a text: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One entry found."""

    entry: StoredEntry
    score: float
    parts: ScoreParts
    span: Span
    """The passage that matched best, in a long entry."""
    before: tuple[StoredEntry, ...] = field(default=(), repr=False)
    """With `neighbours`: entries before it in its session, nearest last."""
    after: tuple[StoredEntry, ...] = field(default=(), repr=False)
    """With `neighbours`: entries after it in its session, nearest first."""
    also: tuple[str, ...] = ()
    """The ids of other entries found that share its text, in the order of writing, where the tenant merges duplicates:
    of these entries the one that scores best is the hit. The newest 100."""

    @property
    def id(self) -> str:
        """The entry's id."""
        return self.entry.id

    @property
    def text(self) -> str:
        """The entry's whole text."""
        return self.entry.text


@dataclass(frozen=True, slots=True, repr=False)
class Recall(Sequence[Hit]):
    """The answer to a recall: a sequence of hits, best first."""

    hits: tuple[Hit, ...]
    applied_seq: int
    """The record up to which the answer knows everything."""
    context: str = ""
    """With `max_tokens`: the hits in time order, packed to the budget and fenced as data, for a prompt."""

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def __repr__(self) -> str:
        return f"<Recall of {len(self)} hits, applied_seq={self.applied_seq}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an answer came to."""

    finish: Literal["stop", "length"]
    """Whether it ended by itself or at a stop, or because there were `max_tokens`."""
    prompt_tokens: int
    """By the model's own count; 0 where the model's server does not say."""
    cached_tokens: int
    """Of those, what was not computed again."""
    completion_tokens: int
    recall_time: timedelta
    """From the request to what was recalled."""
    first_text_time: timedelta
    """From the request to the first piece of the answer."""
    total_time: timedelta
    remembered_seq: int | None
    """The record that holds prompt and answer; None where they are not remembered."""


@dataclass(frozen=True, slots=True)
class Token:
    """The next of an answer: first what was recalled, then pieces of text, last what it came to."""

    text: str = ""
    recalled: Recall | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """The settings of a tenant's memory; None where the server does not say."""

    layers: int | None
    """Weight matrices of the memory's MLP."""
    theta: float | None
    """Step size on the mean gradient of a chunk."""
    eta: float | None
    """Momentum."""
    half_life: float | None
    """Tokens written until half of what was learnt is forgotten; 0 means never."""
    gate: str | None
    """Which tokens write: `off` (all of them), `fixed` or `quantile`."""
    gate_value: float | None
    """The fixed threshold, or the quantile below which tokens do not write."""
    drift: bool | None
    """Whether a drift of the text's surprise restarts the memory's learning."""
    drift_sigma: float | None
    """Standard deviations above the mean of the last windows' means from which on a window counts as drift."""
    drift_windows: int | None
    """Windows running that must count before the memory is restarted."""
    restart_tokens: int | None
    """Tokens that a restart lasts."""
    window: int | None
    """Tokens of prompt and answer that a Hugging Face backbone attends to, unless the server or the model has a smaller
    window."""


class MemorySettings(TypedDict, total=False):
    """Settings to give: the fields of `MemoryConfig`. What is left out is the server's default, or stays as it is."""

    layers: int
    theta: float
    eta: float
    half_life: float
    gate: Literal["off", "fixed", "quantile"]
    gate_value: float
    drift: bool
    drift_sigma: float
    drift_windows: int
    restart_tokens: int
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What a tenant keeps, and for how long; None where the server does not say."""

    max_entries: int | None
    """Entries that recall chooses from. Past it those of least importance leave the index, not the log."""
    ttl: timedelta | None
    """How long an entry lives after it was written, where it does not say so itself; 0 is for ever."""
    snapshots: str | None
    """Which snapshots are kept for recall as of the past: `none`, `log_spaced` or `all`."""
    duplicates: str | None
    """What becomes of an entry whose text a living one has already: `keep` makes it one more text; with `merge` it
    shares that one, the memory learns nothing of it, and a recall returns the text once."""


class PolicySettings(TypedDict, total=False):
    """Policies to give: the fields of `Policies`."""

    max_entries: int
    ttl: timedelta | float
    """A number is seconds."""
    snapshots: Literal["none", "log_spaced", "all"]
    duplicates: Literal["keep", "merge"]


class TenantSettings(MemorySettings, PolicySettings, total=False):
    """All that can be set of a tenant: the fields of `MemoryConfig` and of `Policies`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant: one log, one Titans memory, one index."""

    tenant: str
    """Its id."""
    uid: str
    """Assigned by the server; a tenant deleted and created again has another one."""
    create_time: datetime
    """When it was created, in UTC."""
    memory: MemoryConfig
    policies: Policies
    context_memory: str | None = None
    """The model that its text streams into as well, `<name>@<hash>`; None for none."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A tenant was made of a file."""

    tenant: Tenant
    """The tenant."""
    head_seq: int
    """Its log's head."""
    adopted: bool
    """Whether the file's snapshot was made under other numerics and adopted as it is: the bytes of its state are not
    those that this server would fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStats:
    """Live figures of one tenant."""

    entries: int
    """Entries that recall can return."""
    passages: int
    """Passages in the index; a long entry has several."""
    tokens: int
    """Tokens that have streamed through the memory, the waiting tail included."""
    tail_tokens: int
    """Tokens waiting for their chunk to fill."""
    head_seq: int
    """The log's head: the last committed record."""
    applied_seq: int
    """The last record that recall knows."""
    snapshot_seq: int
    """The newest snapshot, 0 for none."""
    pending_bytes: int
    """Bytes of text committed and not yet applied."""
    unknown_token_share: float
    """Share of the text's tokens that the encoder does not know."""
    surprise_mean: float
    """Mean surprise (gradient norm) of all tokens stepped."""
    surprise_recent: float
    """Mean surprise over the last 4,096 tokens stepped."""
    gate_share: float
    """Share of the stepped tokens that wrote."""
    gate_threshold: float
    """The gate's threshold now."""
    chunks: int
    """Chunks stepped."""
    curvature_bounded: int
    """Chunks whose step the curvature bound reduced."""
    clipped: int
    """Chunks whose step the clip reduced."""
    radius_projected: int
    """Chunks after which the radius projected the weights."""
    skipped: int
    """Non-finite chunks that were skipped."""
    weight_norms: tuple[float, ...]
    """Frobenius norm of what was learnt, per layer."""
    state_hash: str
    """SHA-256 over the tenant's state; equal states have equal hashes."""
    fingerprint: str
    """The numerics under which those bytes are promised."""
    warnings: tuple[str, ...]
    """What an operator should know, in words."""
    restarts: int
    """Restarts of the memory's learning so far, by drift or by hand."""
    restart_tokens_left: int
    """Tokens that the restart under way still lasts, 0 for none."""
    evicted: int
    """Entries that left the index because there were more than the policies allow."""
    snapshots: int
    """Snapshots kept."""
    snapshot_bytes: int
    """Bytes on disk that they take."""
    restore_pending: bool
    """A restore of this tenant waits for `confirm_restore` or `undo_restore`."""
    merged: int
    """Of the entries that recall can return, those whose text is that of another one: its tenant merges duplicates."""
    residency: str
    """Where it was when this was asked: `hot`, its weights in a slot; `warm`, in memory; `cold`, in the store alone."""
    memory_bytes: int
    """Bytes of the server's memory that it takes now, weights included."""
    stored_bytes: int
    """Bytes in the store that it takes, about, snapshots included."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a tenant's memory."""

    seq: int
    """The log record at which it happened; of a restore, the one that the tenant was put to."""
    kind: str
    """`drift`, `restart`, `restart_ended`, `quarantine`, `configured`, `forgotten`, `expired`, `resampled` (entries
    were evicted), `returned` (evicted ones came back); and `snapshot` and `restored`, which are told as they happen,
    and later only as long as the view that they happened to is open. Newer servers may send others."""
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Its figures, by name."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What folding a tenant's log afresh found."""

    seq: int
    """The record up to which both were folded."""
    state_hash: str
    """The hash of the live memory."""
    folded_hash: str
    """The hash of the memory folded afresh."""
    equal: bool
    """Whether they are equal."""


def _brief(text: str) -> str:
    """Return the start of a text, for a repr."""
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}... ({len(text)} characters)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key, without its secret."""

    id: str
    """Assigned by the server; the second part of the key itself."""
    name: str
    """What its maker calls it."""
    grants: Mapping[str, tuple[str, ...]] = field(hash=False)
    """How far it reaches: `read`, `write`, `admin`, by pattern of tenants' ids."""
    create_time: datetime
    """When it was made, in UTC."""
    expire_time: datetime | None
    """When it expires; None for never."""
    revoke_time: datetime | None
    """When it was revoked; None while it is not."""
    rotate_time: datetime | None
    """When it got its newest secret; None while it has its first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was made, or has another secret. Nobody can show the secret again."""

    key: Key
    secret: str = field(repr=False)
    """The whole key: what a client is given as its credential."""
