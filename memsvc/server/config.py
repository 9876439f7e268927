"""The server's settings: flags over environment (MEMSVC_…) over a TOML file over defaults."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from memsvc.engine.config import EngineConfig
from memsvc.memory.config import MemoryConfig
from memsvc.recall.rank import RankConfig
from memsvc.server.quota_config import QuotaConfig

CONFIG_VARIABLE = "MEMSVC_CONFIG"
ENGINE, RANK = EngineConfig(), RankConfig()


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

    model_config = SettingsConfigDict(env_prefix="MEMSVC_", env_nested_delimiter="__", extra="forbid")

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
    """Address to listen on; loopback only."""
    port: int = Field(50051, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    encoder: str = "minilm"
    """`minilm`, `kmer`, or `hf:<name or path>`."""
    encoder_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
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
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    """One JSON object a line instead of text."""
    recall: RecallSettings = RecallSettings()
    quotas: QuotaConfig = QuotaConfig()
    """How much tenants and principals may use; read anew on SIGHUP."""

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        try:
            loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ValueError(
                f"{host} is not a loopback address: without authentication memsvc listens on 127.0.0.1 or ::1 only"
            )
        return host

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
        file = os.environ.get(CONFIG_VARIABLE)
        toml = [TomlConfigSettingsSource(settings_cls, Path(file))] if file else []
        return (init_settings, env_settings, *toml)

    @classmethod
    def without_flags(cls) -> Self:
        """Read the environment and the file, as they are now.

        Raises:
            ValidationError: a value is wrong.
            TOMLDecodeError: the file is no TOML.
            OSError: the file cannot be read.
        """
        flags: dict[str, Any] = {}
        return cls(**flags)

    def engine(self) -> EngineConfig:
        """Return the engine's part."""
        return EngineConfig(
            encoder=self.encoder,
            encoder_dtype=self.encoder_dtype,
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
            memory=MemoryConfig(),
        )
