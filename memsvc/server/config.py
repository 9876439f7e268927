"""The server's settings: flags over environment (MEMSVC_…) over a TOML file over defaults."""

from __future__ import annotations

import ipaddress
import os
from errno import ENOENT
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from memsvc import limits
from memsvc.backbone.load import PREFIX_BYTES, BackboneConfig, TokensField, read_key, told_model
from memsvc.dtypes import Dtype
from memsvc.engine.config import EngineConfig
from memsvc.memory.config import MemoryConfig
from memsvc.memory.devices import DeviceName
from memsvc.recall.rank import RankConfig
from memsvc.server.auth_config import ClientSettings, JwtSettings
from memsvc.server.quota_config import QuotaConfig

CONFIG_VARIABLE = "MEMSVC_CONFIG"
ENGINE, RANK = EngineConfig(), RankConfig()
_HOST = r"^[A-Za-z0-9_.:-]{1,253}$"
_ORIGIN = r"^https?://[^/\s]{1,300}$"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  they are looked for, not listened on


class RecallSettings(BaseModel):
    """Weights of the recall signals; 0 switches one off."""

    model_config = ConfigDict(extra="forbid")

    surprise: NonNegativeFloat = RANK.surprise
    cosine: NonNegativeFloat = RANK.cosine
    lexical: NonNegativeFloat = RANK.lexical
    neighbour1: NonNegativeFloat = RANK.neighbour1
    neighbour2: NonNegativeFloat = RANK.neighbour2
    session: NonNegativeFloat = RANK.session


class Settings(BaseSettings):
    """What `memsvc serve` can be told."""

    model_config = SettingsConfigDict(
        env_prefix="MEMSVC_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    data: Path = Path("memsvc-data")
    """Directory of the embedded store; made when it is not there."""
    store: SecretStr = SecretStr("")
    """URL of a Redis that several processes share, instead of the directory; it may hold a password."""
    shards: int = Field(16, ge=1, le=1024)
    """Parts of a deployment that is new: no more processes than these can share it."""
    lease_s: float = Field(12.0, ge=1, le=300)
    """How long the shards of a process that died stay its own."""
    advertise: str = ""
    """host:port at which clients reach this process, where that is not the address it listens on."""
    allow_weak_durability: bool = False
    """Whether to serve on a Redis that may lose what was acknowledged."""
    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback only with authentication and TLS."""
    port: int = Field(50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    http_port: int | None = Field(None, ge=0, le=65535)
    """Port on `host` for HTTP/JSON, with the same certificate; no HTTP unless it is set."""
    http_hosts: list[Annotated[str, Field(pattern=_HOST)]] = []
    """Names by which HTTP clients may call this server, beside `host` and those of loopback."""
    http_origins: list[Annotated[str, Field(pattern=_ORIGIN)]] = []
    """Origins of web pages that may call it from a browser; none unless they are set."""
    http_owner_ca: Path | None = None
    """Authorities of the other servers on one Redis, to which HTTP follows tenants; the world's unless it is set."""
    console: bool = False
    """Whether HTTP has the console at /console, a page to look at tenants with."""
    listen: str = Field("", pattern=r"^(unix:.+)?$")
    """`unix:` and the path of a socket to listen on instead of host and port; only this user may connect to it."""
    while_held: Path | None = None
    """File that users of the server hold a lock on (flock): it ends when nobody does."""
    tls_cert: Path | None = None
    """The server's certificate and what leads to its authority, in PEM; read again when it changes."""
    tls_key: Path | None = None
    """Its private key."""
    tls_client_ca: Path | None = None
    """Authorities of which every client has to show a certificate."""
    insecure_expose: bool = False
    """Whether to listen beyond loopback without authentication or without TLS."""
    encoder: str = "minilm"
    """`minilm`, `kmer`, or `hf:<name or path>`."""
    encoder_dtype: Dtype = "auto"
    """Of the encoder's weights; `auto` is bfloat16 where the processor computes it, else float32."""
    memory_dtype: Dtype = "auto"
    """Of what the memory's steps multiply; what it learns is float32. `auto` as above."""
    memory_device: DeviceName = "cpu"
    """Where memories are stepped: `cpu`, `cuda` (a GPU, with `memsvc[gpu]`), `auto` for a GPU where there is one."""
    backbone: str = ""
    """What answers: `openai:<base url>`, `hf:<name or path>` or `titans-mac:<name or path>`; nothing unless set."""
    backbone_model: str = ""
    """What an OpenAI-compatible server calls the model; not needed where it has one alone."""
    backbone_tokens_field: TokensField = "max_tokens"
    """What it calls the most tokens of an answer."""
    backbone_key_file: Path | None = None
    """File with the key that it asks for."""
    backbone_window: int = Field(0, ge=0, le=limits.MAX_WINDOW_TOKENS)
    """Tokens that a Hugging Face model attends to at once, for any tenant; all that it can when 0."""
    backbone_context_tokens: int = Field(0, ge=0, le=128 * 1024)
    """Tokens that recalled entries may take of a prompt unless a caller says so; 0 is what suits the model."""
    backbone_first_timeout_s: float = Field(60.0, gt=0)
    """How long an OpenAI-compatible server may take to the first piece of an answer."""
    backbone_idle_timeout_s: float = Field(30.0, gt=0)
    """And from one piece to the next."""
    backbone_plain: bool = False
    """Whether a Hugging Face model without a chat template completes a single message as it is."""
    backbone_slide: bool = False
    """Whether an answer of one may go on past its window, of which the oldest tokens then leave."""
    backbone_dtype: Dtype = "auto"
    """Of its weights; `auto` is bfloat16 where the device computes it."""
    backbone_prefix_bytes: int = Field(PREFIX_BYTES, ge=0)
    """What is kept of tenants' last prompts, so that the next that begins alike costs less; 0 keeps nothing."""
    threads: int = Field(default_factory=lambda: min(2, os.cpu_count() or 1), ge=1, le=256)
    """Compute threads."""
    slots: int = Field(ENGINE.slots, ge=1, le=65536)
    offload: bool = ENGINE.offload
    memory_bytes: int = Field(ENGINE.memory_bytes, ge=1 << 24)
    tenant_queue_bytes: int = Field(ENGINE.tenant_queue_bytes, ge=1 << 16)
    queue_bytes: int = Field(ENGINE.queue_bytes, ge=1 << 16)
    max_open_tenants: int = Field(ENGINE.max_open_tenants, ge=1)
    unload_idle_s: float = Field(ENGINE.unload_idle_s, gt=0)
    unload_small_idle_s: float = Field(ENGINE.unload_small_idle_s, gt=0)
    snapshot_tokens: int = Field(ENGINE.snapshot_tokens, ge=1)
    snapshot_idle_s: float = Field(ENGINE.snapshot_idle_s, gt=0)
    snapshot_min_tokens: int = Field(ENGINE.snapshot_min_tokens, ge=0)
    drain_s: float = Field(10.0, ge=0)
    """How long calls under way may take to end at a shutdown."""
    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Port on which Prometheus reads metrics, over HTTP; none unless it is set."""
    metrics_host: str = "127.0.0.1"
    """Address for it. Whoever reaches it reads the figures, which name no tenant: beyond loopback is for networks of
    one's own."""
    otlp_endpoint: str = Field("", pattern=r"^(https?://\S+)?$")
    """http:// or https:// URL of a collector of traces, by OTLP over gRPC; no traces without one."""
    trace_share: float = Field(0.1, ge=0, le=1)
    """Of the traces that begin here, how many are kept; what a caller traces is kept with its trace."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    """One JSON object a line instead of text."""
    recall: RecallSettings = RecallSettings()
    auth: bool = False
    """Whether callers need a credential."""
    auth_admin_key_file: Path | None = None
    """File with a key that may do everything, whatever keys the store has; read once, at the start."""
    auth_jwt: JwtSettings | None = None
    """Whose tokens are taken beside keys."""
    auth_clients: list[ClientSettings] = []
    """Who is known by the certificate of their connection, where the server asks for one."""
    quotas: QuotaConfig = QuotaConfig()
    """How much tenants and principals may use; read anew on SIGHUP."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: one needs the other")
        if self.tls_client_ca and not self.tls_cert:
            raise ValueError("tls_client_ca: needs tls_cert and tls_key")
        if not self.auth and (self.auth_admin_key_file or self.auth_jwt or self.auth_clients):
            raise ValueError("auth: is off, and there are settings that say whom to let in; set it, or leave them out")
        if self.auth_clients and not self.tls_client_ca:
            raise ValueError("auth_clients: needs tls_client_ca, or clients show no certificate")
        if self.open_sides and not self.insecure_expose:
            raise ValueError(
                f"host: {self.host} is not a loopback address, and there is no {' and no '.join(self.open_sides)}. "
                "Set auth, tls_cert and tls_key, or listen on 127.0.0.1 or ::1; "
                "insecure_expose serves everybody who reaches the port all the same"
            )
        if self.listen and self.tls_cert:
            raise ValueError("listen: a unix socket has no TLS; leave out tls_cert and tls_key")
        if self.listen and self.store.get_secret_value():
            raise ValueError("listen: servers that share a store are reached by host and port, not by a unix socket")
        if self.store.get_secret_value() and self.host in EVERY_ADDRESS and not self.advertise:
            raise ValueError(
                f"advertise: clients cannot be sent to {self.host}; name the host:port that reaches this process"
            )
        if self.console and self.http_port is None:
            raise ValueError("console: is served over HTTP; set http_port")
        if self.http_port is not None and self.host in EVERY_ADDRESS and not self.http_hosts:
            raise ValueError(f"http_hosts: clients do not call {self.host}; name the hosts that they call")
        return self

    @property
    def open_sides(self) -> tuple[str, ...]:
        """What a listener beyond loopback lacks; nothing on loopback, or where all there is is this user's socket."""
        if is_loopback(self.host) or (self.listen and self.http_port is None):  # HTTP has its port beside a socket
            return ()
        return (*(() if self.auth else ("authentication",)), *(() if self.tls_cert else ("TLS",)))

    def generation(self) -> BackboneConfig | None:
        """Return the backbone's part; None where there is none.

        Raises:
            InvalidArgumentError: the key cannot be read; names the field.
        """
        if not self.backbone:
            return None
        return BackboneConfig(
            name=self.backbone,
            model=self.backbone_model,
            tokens_field=self.backbone_tokens_field,
            api_key="" if self.backbone_key_file is None else read_key(self.backbone_key_file),
            window=self.backbone_window,
            context_tokens=self.backbone_context_tokens,
            first_timeout_s=self.backbone_first_timeout_s,
            idle_timeout_s=self.backbone_idle_timeout_s,
            plain=self.backbone_plain,
            slide=self.backbone_slide,
            dtype=self.backbone_dtype,
            prefix_bytes=self.backbone_prefix_bytes,
            threads=self.threads,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the TOML file that MEMSVC_CONFIG names."""
        named = os.environ.get(CONFIG_VARIABLE)
        if not named:
            return (init_settings, env_settings)
        file = Path(named).expanduser()
        if not file.is_file():  # the source would pass over it, and whoever it limits or keeps out be served
            raise FileNotFoundError(ENOENT, "there is no such file", named)
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file))

    def quotas_now(self) -> QuotaConfig:
        """Return the quotas of the environment and the file, as they are now, beside all else as it is.

        Raises:
            ValidationError: a value is wrong.
            TOMLDecodeError: the file is no TOML.
            OSError: the file cannot be read.
        """
        # Without it the file would have to fit together by itself: what it needs may have been a flag.
        rest: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields if name != "quotas"}
        return type(self)(**rest).quotas

    def engine(self) -> EngineConfig:
        """Return the engine's part."""
        return EngineConfig(
            encoder=self.encoder,
            encoder_dtype=self.encoder_dtype,
            memory_dtype=self.memory_dtype,
            memory_device=self.memory_device,
            threads=self.threads,
            slots=self.slots,
            offload=self.offload,
            memory_bytes=self.memory_bytes,
            tenant_queue_bytes=self.tenant_queue_bytes,
            queue_bytes=self.queue_bytes,
            max_open_tenants=self.max_open_tenants,
            unload_idle_s=self.unload_idle_s,
            unload_small_idle_s=self.unload_small_idle_s,
            snapshot_tokens=self.snapshot_tokens,
            snapshot_idle_s=self.snapshot_idle_s,
            snapshot_min_tokens=self.snapshot_min_tokens,
            recall=RankConfig(**self.recall.model_dump()),
            context_model=told_model(self.backbone),
            memory=MemoryConfig(),
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
