"""generate of both clients."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from fake_server import Fail, FakeServer
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode
from memsvc_client import InvalidArgumentError, Message, NotFoundError, Recall, Token, UnavailableError, Usage

from memsvc.v1 import generate_pb2, memory_pb2, types_pb2

AWAY = Fail(StatusCode.UNAVAILABLE, "away")
RECALLED = generate_pb2.GenerateResponse(
    recalled=generate_pb2.Recalled(
        hits=[memory_pb2.Hit(entry=types_pb2.Entry(id="e", text="the door is blue"))], context="```", applied_seq=4
    )
)
FINISHED = generate_pb2.GenerateResponse(
    finished=generate_pb2.Finished(
        reason=generate_pb2.FINISH_REASON_LENGTH,
        prompt_tokens=9,
        cached_tokens=5,
        completion_tokens=2,
        recall_time=Duration(nanos=2000),
        first_text_time=Duration(nanos=3000),
        total_time=Duration(seconds=1),
        remembered_seq=7,
    )
)


def text(piece: str) -> generate_pb2.GenerateResponse:
    return generate_pb2.GenerateResponse(text=piece)


def test_an_answer_is_what_was_recalled_pieces_and_usage(client, fake):
    fake.answers.append([RECALLED, text("It is "), text("blue"), FINISHED])
    first, *pieces, last = client.generate("ada", "which colour?")
    assert isinstance(first.recalled, Recall)
    assert ([hit.id for hit in first.recalled], first.recalled.context, first.recalled.applied_seq) == (["e"], "```", 4)
    assert pieces == [Token("It is "), Token("blue")]
    assert last == Token(
        usage=Usage(
            finish="length",
            prompt_tokens=9,
            cached_tokens=5,
            completion_tokens=2,
            recall_time=timedelta(microseconds=2),
            first_text_time=timedelta(microseconds=3),
            total_time=timedelta(seconds=1),
            remembered_seq=7,
        )
    )


def test_every_argument_reaches_the_server(client, fake):
    fake.answers.append([FINISHED])
    talk = [Message("system", "be brief"), ("assistant", "hi"), ("user", "and now?")]
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    list(
        client.generate(
            "ada",
            talk,
            9,
            0.5,
            "END",
            -3,
            True,
            top_p=0.25,
            session="chat",
            k=3,
            max_context_tokens=99,
            query="door",
            min_seq=0,
            from_session="s",
            role="user",
            after=noon,
            before=noon,
            metadata={"a": 1},
        )
    )
    (request,) = fake.asked("Generate")
    assert [(message.role, message.text) for message in request.messages] == [
        (3, "be brief"),
        (2, "hi"),
        (1, "and now?"),
    ]
    assert (request.max_tokens, request.temperature, request.top_p, request.seed) == (9, 0.5, 0.25, -3)
    assert (list(request.stop), request.remember, request.session) == (["END"], True, "chat")
    assert (request.HasField("min_seq"), request.min_seq) == (True, 0)
    recall = request.recall
    assert (recall.query, recall.k, recall.max_tokens, recall.off) == ("door", 3, 99, False)
    assert (recall.filter.session, recall.filter.role, recall.filter.metadata_json) == ("s", "user", '{"a":1}')
    assert recall.filter.after.ToDatetime(UTC) == recall.filter.before.ToDatetime(UTC) == noon


def test_nothing_is_recalled_for_k_0(client, fake):
    fake.answers.append([FINISHED])
    list(client.generate("ada", "hello", k=0))
    (request,) = fake.asked("Generate")
    assert request.recall.off
    assert not request.HasField("min_seq")


def test_a_server_that_is_away_is_asked_again_before_anything_came(client, fake):
    fake.answers.extend([[AWAY], [AWAY], [RECALLED, text("hi"), FINISHED]])
    assert [token.text for token in client.generate("ada", "hello")] == ["", "hi", ""]


def test_an_answer_that_broke_off_is_not_begun_again(client, fake):
    fake.answers.extend([[RECALLED, text("It is"), AWAY], [RECALLED, text("no"), FINISHED]])
    answer = client.generate("ada", "hello")
    assert [next(answer).text, next(answer).text] == ["", "It is"]
    with pytest.raises(UnavailableError, match="away"):
        next(answer)
    assert len(fake.asked("Generate")) == 1


def test_the_owner_is_asked(connect, fake):
    owner = FakeServer(tenants={"ada": {}})
    target = owner.start()
    try:
        fake.elsewhere["ada"] = target
        owner.answers.append([RECALLED, text("hi"), FINISHED])
        assert [token.text for token in connect(fake.target).generate("ada", "hello")] == ["", "hi", ""]
    finally:
        owner.stop()


def test_closing_an_answer_ends_the_call(client, fake):
    waits = threading.Event()
    fake.answers.append([RECALLED, text("It is"), waits])
    answer = client.generate("ada", "hello")
    assert [next(answer).text, next(answer).text] == ["", "It is"]
    answer.close()
    assert fake.over.wait(20)


def test_what_the_server_refuses_is_raised(client, fake):
    fake.answers.append([Fail(StatusCode.NOT_FOUND, "no such tenant")])
    with pytest.raises(NotFoundError):
        next(client.generate("ada", "hello"))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"prompt": 7}, "prompt"),
        ({"prompt": b"hello"}, "prompt"),
        ({"prompt": ["hello"]}, "prompt[0]"),
        ({"prompt": [("robot", "hello")]}, "prompt[0].role"),
        ({"prompt": [("user", 7)]}, "prompt[0].text"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"seed": 1 << 64}, "seed"),
        ({"stop": [7]}, "stop[0]"),
        ({"remember": 1}, "remember"),
        ({"k": -1}, "k"),
        ({"min_seq": -1}, "min_seq"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_what_no_message_can_carry_is_named(client, fake, arguments, field):
    with pytest.raises(InvalidArgumentError) as failure:
        client.generate("ada", **{"prompt": "hello", **arguments})
    assert failure.value.field == field
    assert not fake.calls
