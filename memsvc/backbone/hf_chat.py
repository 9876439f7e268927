"""From a prompt to tokens: the model's chat template frames it, and nothing that anyone wrote can pose as the frame."""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer

from memsvc.backbone.base import Message, Prompt
from memsvc.backbone.hf_load import refusal
from memsvc.backbone.quoted import with_context

ANCHOR = "\n"
"""Stands before a text from the middle of a prompt while it is cut: many tokenizers put a space before what begins."""
MARKUP = re.compile(r"<.*>|\[.*\]", re.DOTALL)
"""What tokens look like that frame things, also where a tokenizer does not call them special."""

REFUSED = "CHAT_TEMPLATE_REFUSED"


class Chat:
    """Renders prompts for one model.

    The template is rendered with a placeholder for each content, drawn afresh for each prompt. What the template wrote
    becomes tokens as the model's makers meant it; contents are put in afterwards, as tokens in which none that frames
    (`<|im_start|>`, `</s>`) occurs, whatever they spell.

    Args:
        name: the model's, for errors.
        tokenizer: of transformers, a fast one.
        plain: whether a model without a chat template continues a single message of a user.
    """

    def __init__(self, name: str, tokenizer: Any, *, plain: bool) -> None:
        self._name, self._tokenizer, self._plain = name, tokenizer, plain
        backend: Tokenizer = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        framing = _framing(tokenizer)
        self._frame = Text(backend, frozenset())
        self._content = Text(_blind(backend, framing), frozenset(framing) - _unknown(tokenizer))

    def encode(self, prompt: Prompt) -> list[int]:
        """Return the tokens of a prompt.

        Raises:
            FailedPreconditionError: the model has no chat template (reason NO_CHAT_TEMPLATE), or one that does not take
                these messages (CHAT_TEMPLATE_REFUSED).
        """
        messages = with_context(prompt)
        if self._tokenizer.chat_template is None:
            return self._complete(messages)
        nonce = secrets.token_hex(16)
        pieces = re.split(f"{nonce}x([0-9]+)x", self._render(messages, nonce))
        if missing := set(range(len(messages))) - set(map(int, pieces[1::2])):
            role = messages[min(missing)].role
            raise refusal(self._name, f"has a chat template that leaves out the message of a role: {role}", REFUSED)
        return list(self._tokens(messages, pieces))

    def _render(self, messages: Sequence[Message], nonce: str) -> str:
        turns = [{"role": message.role, "content": f"{nonce}x{i}x"} for i, message in enumerate(messages)]
        try:
            return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except Exception as error:  # a template is a program of the model's: it may raise anything
            roles = ", ".join(message.role for message in messages)
            why = f"has a chat template that does not take messages of these roles: {roles} ({error})"
            raise refusal(self._name, why, REFUSED) from error

    def _tokens(self, messages: Sequence[Message], pieces: Sequence[str]) -> Iterator[int]:
        """Yield the tokens of what was rendered: the template's pieces, and between two of them a message's number."""
        space = ""
        for place, piece in enumerate(pieces):
            if place % 2:
                yield from self._content.encode(space + messages[int(piece)].text)
                continue
            # A space before a word is part of the word's token.
            framed = piece.rstrip(" ") if place < len(pieces) - 1 else piece
            space = piece[len(framed) :]
            yield from self._frame.encode(framed, begins=place == 0)

    def _complete(self, messages: Sequence[Message]) -> list[int]:
        if not self._plain or [message.role for message in messages] != ["user"]:
            do = "give one message of the user alone" if self._plain else "or set plain to have it continue plain text"
            why = f"has no chat template: take one that was made for chat, {do}"
            raise refusal(self._name, why, "NO_CHAT_TEMPLATE")
        return [*self._frame.prefix(), *self._content.encode(messages[0].text, begins=True)]


class Text:
    """Cuts text into tokens.

    Args:
        backend: the tokenizer.
        forbidden: tokens that never come of it: their text is cut into characters.
    """

    def __init__(self, backend: Tokenizer, forbidden: frozenset[int]) -> None:
        self._backend, self._forbidden = backend, forbidden
        self._anchor = self._ids(ANCHOR)

    def encode(self, text: str, *, begins: bool = False) -> list[int]:
        """Return the tokens of a text; `begins` says that nothing comes before it."""
        if not text:
            return []
        if not begins:
            ids = self._ids(ANCHOR + text)
            if ids[: len(self._anchor)] == self._anchor:
                return ids[len(self._anchor) :]
        return self._ids(text)

    def prefix(self) -> list[int]:
        """Return the special tokens that the tokenizer puts before a text."""
        framed = self._backend.encode("a")
        content = framed.special_tokens_mask.index(0) if 0 in framed.special_tokens_mask else 0
        return list(framed.ids[:content])

    def _ids(self, text: str) -> list[int]:
        encoding = self._backend.encode(text, add_special_tokens=False)
        if self._forbidden.isdisjoint(encoding.ids):
            return list(encoding.ids)
        # The vocabulary itself has the text of such a token, which then falls apart.
        ids: list[int] = []
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token not in self._forbidden:
                ids.append(token)
                continue
            for character in text[start:end]:
                alone = self._backend.encode(character, add_special_tokens=False).ids
                ids += [other for other in alone if other not in self._forbidden]
        return ids


def _framing(tokenizer: Any) -> set[int]:
    """Return the tokens that no content may have: special ones, those of the template, those that look like markup."""
    template = tokenizer.chat_template
    written = template if isinstance(template, str) else "".join((template or {}).values())
    framing = set(tokenizer.all_special_ids)
    for number, token in tokenizer.added_tokens_decoder.items():
        text = token.content
        if token.special or MARKUP.fullmatch(text) or (text in written and not text.isspace()):
            framing.add(number)
    return framing


def _unknown(tokenizer: Any) -> set[int]:
    """Return the token for what a vocabulary lacks, unless it has another meaning too."""
    others = {getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "sep", "cls", "mask")}
    return {tokenizer.unk_token_id} - others - {None}


def _blind(backend: Tokenizer, framing: set[int]) -> Tokenizer:
    """Return a copy of a tokenizer to which the texts of some tokens are texts like any other."""
    state = json.loads(backend.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["id"] in framing
    blind: Tokenizer = Tokenizer.from_str(json.dumps(state))
    # Of what is marked as special, none is looked for.
    blind.encode_special_tokens = True
    return blind
