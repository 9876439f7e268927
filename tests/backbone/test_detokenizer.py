from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers

from memsvc.backbone.detokenizer import LONGEST_WAIT, Detokenizer
from tests.backbone.hf_build import byte_level

BYTES = byte_level()


def decode(ids) -> str:
    return BYTES.decode(ids, skip_special_tokens=True)


def stream(ids, decode=decode) -> list[str]:
    detokenizer = Detokenizer(decode)
    return [*(detokenizer.push(token) for token in ids), detokenizer.finish()]


@given(st.text())
def test_text_comes_back_whole_and_never_a_half_character(text) -> None:
    text = text.replace("\N{REPLACEMENT CHARACTER}", "")
    ids = BYTES.encode(text, add_special_tokens=False, split_special_tokens=True)
    pieces = stream(ids)
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_a_character_comes_as_soon_as_it_is_whole() -> None:
    ids = [BYTES.convert_tokens_to_ids(c) for c in ("a", "ð", "Ł", "ĺ", "Ģ", "b")]
    assert BYTES.decode(ids) == "a😀b"
    assert stream(ids) == ["a", "", "", "", "😀", "b", ""]
    assert stream(ids[:4]) == ["a", "", "", "", ""]


def cut(text, first, step) -> list[str]:
    """Stream a text whose tokens are its bytes: so many at first, then `step` at a time."""
    raw = text.encode()
    tokens = [raw[:first], *(raw[at : at + step] for at in range(first, len(raw), step))]
    return stream(range(len(tokens)), lambda ids: b"".join(tokens[i] for i in ids).decode(errors="replace"))


@given(st.text(min_size=1), st.integers(1, 7), st.integers(1, 7))
def test_tokens_that_end_one_character_and_begin_the_next_lose_none(text, first, step) -> None:
    text = text.replace("\N{REPLACEMENT CHARACTER}", "") * 20
    assert "".join(cut(text, first, step)) == text


def test_a_whole_character_does_not_wait_for_the_one_that_its_token_begins() -> None:
    assert cut("ー" * 12, 2, 3) == ["", *"ー" * 12, ""]


@given(st.lists(st.integers(0, 400), max_size=60))
def test_any_tokens_make_text_in_the_end(ids) -> None:
    """Bytes that are no text do not hold the rest back for ever, and change nothing that is text."""
    pieces = stream(ids)
    clean = [part.replace("\N{REPLACEMENT CHARACTER}", "") for part in ("".join(pieces), decode(ids))]
    assert clean[0] == clean[1]


def test_bytes_that_are_no_text_do_not_wait_for_ever() -> None:
    (byte,) = BYTES.convert_tokens_to_ids(["ð"])
    pieces = stream([byte] * (3 * LONGEST_WAIT))
    assert sum(map(bool, pieces)) >= 2


def test_special_tokens_are_not_text() -> None:
    ends, starts = BYTES.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    assert "".join(stream([ends, *BYTES.encode("user"), starts, *[ends] * 20, *BYTES.encode(" a")])) == "user a"


def test_spaces_that_tokens_do_not_spell() -> None:
    """A SentencePiece-like decoder drops the space before the first word, and before no other."""
    words = ["▁the", "▁quick", "er", "▁", "fox"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="▁"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(), decoders.Fuse()])
    assert "".join(stream([0, 1, 2, 0, 3, 4], tokenizer.decode)) == tokenizer.decode([0, 1, 2, 0, 3, 4])
