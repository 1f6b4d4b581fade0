"""Request traces of every other make: what is published is read as its authors mean it, and what is broken is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.workload.readers import ReadOptions, lines, mooncake, read_requests

BAILIAN = {
    "chat_id": 159,
    "parent_chat_id": -1,
    "timestamp": 61.114,
    "input_length": 33,
    "output_length": 132,
    "type": "text",
    "turn": 1,
    "hash_ids": [7, 8, 9],
}
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
ROW = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}


def dynamo(received_ms=1_700_000_000_000, tokens=130, hashes=(11, 22, 33), output=7, size=64, **event):
    replay = {"trace_block_size": size, "input_length": tokens, "input_sequence_hashes": list(hashes)}
    return {
        "schema": "dynamo.request.trace.v1",
        "event_type": "request_end",
        "event_time_unix_ms": received_ms + 10,
        "request": {"request_id": "r", "request_received_ms": received_ms, "output_tokens": output, "replay": replay},
        **event,
    }


def jsonl(*records):
    return "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records)


def turn(session, tokens, output=10, **keys):
    return {"session_id": session, "input_length": tokens, "output_length": output, **keys}


@pytest.fixture
def read(tmp_path):
    def read(content, max_requests=None, **options):
        path = tmp_path / "trace.any"
        path.write_text(content)
        return read_requests(path, max_requests=max_requests, options=ReadOptions(**options))

    return read


@pytest.fixture
def faults(read):
    def faults(content, **options):
        with pytest.raises(InputError) as caught:
            read(content, **options)
        return [str(fault) for fault in caught.value.faults]

    return faults


# --- Qwen-Bailian -------------------------------------------------------------------------------------------------


def test_bailian_has_seconds_16_token_blocks_and_chats(read):
    follow_up = {**BAILIAN, "chat_id": 160, "parent_chat_id": 159, "timestamp": 62.5, "input_length": 50}
    other = {**BAILIAN, "chat_id": 3, "timestamp": 61.5, "hash_ids": [7, 1, 2]}
    requests = read(jsonl(BAILIAN, other, {**follow_up, "hash_ids": [7, 8, 4, 5]}))
    assert requests.arrival_s == pytest.approx([0, 0.386, 1.386], abs=1e-12)
    assert requests.block_tokens == 16
    assert [requests.blocks(i).tolist() for i in range(3)] == [[7, 8, 9], [7, 1, 2], [7, 8, 4, 5]]
    assert requests.session.tolist() == [0, 1, 0]
    # Every request keeps the time at which the service saw it.
    assert requests.after.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ({**BAILIAN, "chat_id": "159"}, "chat_id '159'", "whole number"),
        ({**BAILIAN, "parent_chat_id": None}, "parent_chat_id None", "-1 for no parent"),
        ({**BAILIAN, "timestamp": -0.5}, "timestamp -0.5", "seconds"),
        ({**BAILIAN, "timestamp": 1e300}, "timestamp 1e+300", "seconds"),
        ({**BAILIAN, "output_length": 0}, "output_length 0", "1 to"),
        ({**BAILIAN, "hash_ids": [7]}, "1 hash_ids", "one per 16 tokens, so 3"),
        ({key: BAILIAN[key] for key in BAILIAN if key != "hash_ids"}, "no hash_ids", "on every line"),
        ({key: BAILIAN[key] for key in BAILIAN if key != "timestamp"}, "no timestamp", "timestamp"),
        ("{", "broken JSON", '"chat_id"'),
        ("7", "7", "JSON object"),
    ],
)
def test_a_broken_bailian_line_is_named(faults, line, found, expected):
    (fault,) = faults(jsonl(BAILIAN, line, BAILIAN))
    assert "trace.any: line 2: found" in fault
    assert found in fault.split("; expected")[0]
    assert expected in fault.split("; expected")[1]


# --- NVIDIA Dynamo's recordings -----------------------------------------------------------------------------------


def test_dynamo_gives_its_block_size_and_its_hashes_fill_64_bits(read):
    payload = {"event_type": "request_payload", "request_id": "r"}
    tool = {"schema": "dynamo.request.trace.v1", "event_type": "tool_end", "tool": {}}
    wrapped = {"event": dynamo(1_700_000_000_900, 64, [2**64 - 1], agent_context={"session_id": "s"})}
    requests = read(jsonl(payload, dynamo(hashes=[2**64 - 1, 0, 5]), tool, wrapped))
    assert requests.block_tokens == 64
    assert requests.arrival_s == pytest.approx([0, 0.9], abs=1e-9)
    assert requests.input_tokens.tolist() == [130, 64]
    assert [requests.blocks(i).tolist() for i in range(2)] == [[0, 1, 2], [0]]
    assert requests.session.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("record", "found", "expected"),
    [
        (dynamo(tokens=0), "input_length 0", "1 to"),
        (dynamo(output=0), "output_tokens 0", "1 to"),
        (dynamo(hashes=[1, 2, 3, 4]), "4 input_sequence_hashes", "one per 64 tokens, so 3"),
        (dynamo(hashes=[1, 2, 2**64]), "input_sequence_hashes", "2^64"),
        (dynamo(size=128, hashes=[1, 2]), "trace_block_size 128", "64, as before"),
        (dynamo(size=0), "trace_block_size 0", "1 to"),
        (dynamo(received_ms=-20), "request_received_ms -20", "milliseconds"),
        (dynamo(event_type="request_begin"), "request_begin", "request_end"),
        (dynamo(schema="dynamo.request.trace.v9"), "dynamo.request.trace.v9", "dynamo.request.trace.v1"),
        (dynamo(request={"request_received_ms": 5, "output_tokens": 1}), "no request.replay", "request tracing"),
        (dynamo(request=7), "no request.replay", "request tracing"),
    ],
)
def test_a_broken_dynamo_line_is_named(faults, record, found, expected):
    named = faults(jsonl(dynamo(), record, dynamo()))
    fault = next(fault for fault in named if found in fault)
    assert "trace.any: line 2: found" in fault
    assert expected in fault.split("; expected")[1]


def test_a_stated_block_size_must_be_the_files(read, faults):
    assert read(jsonl(dynamo()), block_tokens=64).block_tokens == 64
    assert "128, as before or as --block-tokens says" in faults(jsonl(dynamo()), block_tokens=128)[0]


# --- BurstGPT and other tables ------------------------------------------------------------------------------------


def test_burstgpt_has_seconds_and_failed_requests_are_left_out_and_counted(read):
    requests = read(
        BURST
        + "5,ChatGPT,472,18,490,Conversation log\n"
        + "45,ChatGPT,1087,230,1317,API log\n"
        + "45,GPT-4,417,276,693,API log\n"
        + "118,GPT-4,100,0,100,API log\n"
        + "184,GPT-4,10,1,11,API log\n"
    )
    # Whole seconds are a clock of that resolution: requests of one second are spread over it.
    assert requests.arrival_s.tolist() == [0.0, 40.0, 40.5, 179.0]
    assert requests.input_tokens.tolist() == [472, 1087, 417, 10]
    assert requests.output_tokens.tolist() == [18, 230, 276, 1]
    assert requests.notes == ("failed requests (Response tokens 0) left out: 1",)
    assert requests.block_tokens == 0


def test_later_burstgpt_releases_name_conversations(read):
    header = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    requests = read(header + "0.5,7,1.0,m,1,1,2,c\n1.25,,1.0,m,1,1,2,a\n2,7,1.0,m,3,1,4,c\n")
    assert requests.session.tolist() == [0, -1, 0]
    assert requests.arrival_s.tolist() == [0.0, 0.75, 1.5]


@pytest.mark.parametrize(
    ("line", "found", "expected"),
    [
        ("5,m,1,1,2", "5 columns", "6"),
        ("x,m,1,1,2,c", "Timestamp 'x'", "seconds as a number"),
        ("-1,m,1,1,2,c", "Timestamp '-1'", "seconds as a number"),
        ("1e400,m,1,1,2,c", "Timestamp '1e400'", "seconds as a number"),
        ("nan,m,1,1,2,c", "Timestamp 'nan'", "seconds as a number"),
        ("9" * 400 + ",m,1,1,2,c", "Timestamp", "seconds as a number"),
        ("5,m,0,1,2,c", "Request tokens 0", "1 to"),
        ("5,m,1,-1,2,c", "Response tokens -1", "1 to"),
        ("5,m,1,1.5,2,c", "Response tokens '1.5'", "whole number"),
        ('5,"m,1,1,2,c', "0 columns", "6"),
    ],
)
def test_a_broken_burstgpt_line_is_named(faults, line, found, expected):
    (fault,) = faults(BURST + "1,m,1,1,2,c\n" + line + "\n2,m,1,1,2,c\n")
    assert "trace.any: line 3: found" in fault
    assert found in fault.split("; expected")[0]
    assert expected in fault.split("; expected")[1]


def test_any_table_is_read_by_a_map_of_its_columns(read, faults):
    table = 'when,"in, all",out\n1.5,"7",3\n0.25,8,4\n'
    columns = {"arrival": "when", "input": "in, all", "output": "out"}
    requests = read(table, columns=columns)
    assert requests.arrival_s.tolist() == [0.0, 1.25]
    assert requests.input_tokens.tolist() == [8, 7]
    assert read(table, columns=columns, time_unit="ms").arrival_s == pytest.approx([0.0, 0.00125])
    assert "no column when" in faults("a,b\n1,2\n", columns=columns)[0]
    dates = 'when,"in, all",out\n2024-05-10 00:00:02.5,1,1\n2024-05-10T00:00:01Z,2,1\n'
    assert read(dates, columns=columns).arrival_s.tolist() == [0.0, 1.5]
    # Nobody says of such a table that 0 marks a failure.
    assert "out 0" in faults('when,"in, all",out\n1,1,0\n', columns=columns)[0]


def test_an_unknown_table_is_refused_and_told_of_the_map(faults):
    (fault,) = faults("a,b\n1,2\n")
    assert "--columns arrival=NAME,input=NAME,output=NAME" in fault


# --- sessions -----------------------------------------------------------------------------------------------------


def test_sessions_are_refused_until_their_meaning_is_stated(faults):
    (fault,) = faults(jsonl(ROW, turn("a", 600, timestamp=0, hash_ids=[0, 1])))
    assert "line 2" in fault
    assert "--sessions whole" in fault
    assert "--sessions delta" in fault


def test_whole_prompts_wait_for_the_turn_before(read):
    requests = read(
        jsonl(
            turn("a", 600, timestamp=1000, hash_ids=[0, 1]),
            turn("b", 100, timestamp=2000, hash_ids=[9]),
            turn("a", 1200, delay=250, hash_ids=[0, 2, 3]),
            turn("b", 300, timestamp=9000, hash_ids=[9]),
            {"timestamp": 3000, "input_length": 1, "output_length": 1, "hash_ids": [5]},
        ),
        sessions="whole",
    )
    # The second turn of a has no time of its own: it may come as soon as the first. That of b has one.
    assert requests.arrival_s.tolist() == [0.0, 0.0, 1.0, 2.0, 8.0]
    assert requests.input_tokens.tolist() == [600, 1200, 100, 1, 300]
    assert requests.after.tolist() == [-1, 0, -1, -1, 2]
    assert requests.delay_s.tolist() == [0.0, 0.25, 0.0, 0.0, 0.0]
    assert requests.session.tolist() == [0, 0, 1, -1, 1]
    assert [requests.blocks(i).tolist() for i in range(2)] == [[0, 1], [0, 2, 3]]


def test_deltas_make_prompts_of_history_and_turn(read):
    requests = read(
        jsonl(
            turn("a", 8, 2, timestamp=0, hash_ids=[70, 71]),
            turn("b", 9, 1, timestamp=0, hash_ids=[70, 72, 73]),
            turn("a", 5, 3, delay=100, hash_ids=[1, 2]),
            turn("a", 1, 1, delay_ms=50, hash_ids=[3]),
        ),
        sessions="delta",
        block_tokens=4,
    )
    by_session = [np.flatnonzero(requests.session == session) for session in (0, 1)]
    assert requests.input_tokens[by_session[0]].tolist() == [8, 8 + 2 + 5, 15 + 3 + 1]
    assert requests.delay_s[by_session[0]].tolist() == [0.0, 0.1, 0.05]
    assert requests.after[by_session[0]].tolist() == [-1, by_session[0][0], by_session[0][1]]
    one, two, three = (requests.blocks(int(row)).tolist() for row in by_session[0])
    other = requests.blocks(int(by_session[1][0])).tolist()
    # 8 tokens are the blocks 70 and 71; 15 are those, one whole of the session's own, and a partial one; 19 the same, whole.
    assert two[:2] == one == three[:2]
    assert two[2] == three[2]
    assert two[3] != three[3]
    assert len(three) == 5
    # The other session has block 70 in common and nothing else.
    assert other[0] == one[0]
    assert set(other[1:]).isdisjoint(one + two + three)


def test_deltas_without_ids_share_within_their_session(read):
    requests = read(jsonl(turn("a", 1024, 1, timestamp=0), turn("a", 10, 1)), sessions="delta")
    assert requests.block_tokens == 512
    assert requests.blocks(1)[:2].tolist() == requests.blocks(0).tolist()


def test_dynamos_other_names_are_taken(read):
    requests = read(jsonl({"created_time": 5, "input_tokens": 3, "output_tokens": 4}))
    assert (requests.input_tokens[0], requests.output_tokens[0]) == (3, 4)


@pytest.mark.parametrize(
    ("rows", "found", "expected"),
    [
        ([turn("a", 1, delay=5, timestamp=0)], "delay 5 on a session's first turn", "later turns only"),
        ([turn("a", 1, timestamp=9), turn("a", 1, timestamp=8)], "timestamp 8, before that of the turn before", "order"),
        ([turn("a", 1, timestamp=0), turn("a", 1, delay=-1)], "delay -1", "milliseconds"),
        ([turn("a", 1, timestamp=0), turn("b", 1)], "a session with no timestamp", "on every session's first turn, or on none"),
        ([turn(1.5, 1, timestamp=0)], "session_id 1.5", "characters"),
        ([turn("", 1, timestamp=0)], "session_id ''", "characters"),
        ([turn("x" * 201, 1, timestamp=0)], "session_id 'xxx", "characters"),
        ([turn("a", 1, timestamp=None), {**ROW, "timestamp": None}], "timestamp None", "milliseconds"),
        ([{"timestamp": 0, "input_length": 1, "output_length": 1}], "--sessions with no session_id", "rows with a session_id"),
    ],
)
@pytest.mark.parametrize("sessions", ["whole", "delta"])
def test_broken_sessions_are_named(faults, rows, found, expected, sessions):
    named = faults(jsonl(*rows), sessions=sessions)
    fault = next(fault for fault in named if found in fault)
    assert expected in fault.split("; expected")[1]


def test_a_history_beyond_bounds_is_refused_before_its_blocks_are_made(faults, monkeypatch):
    rows = [turn("a", 6_000_000, timestamp=0), turn("a", 6_000_000)]
    assert "line 2: found a session of 12000010 tokens" in faults(jsonl(*rows), sessions="delta")[0]
    # 101 turns of one more token each: blocks grow as the square of the turns.
    monkeypatch.setattr(mooncake, "MAX_BLOCKS", 5_000)
    many = [turn("a", 1, 1, timestamp=0), *(turn("a", 1, 1) for _ in range(100))]
    assert "line 71: found more prefix blocks" in faults(jsonl(*many), sessions="delta", block_tokens=1)[0]


# --- what is not said is not guessed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "options", "named"),
    [
        (jsonl(BAILIAN), {"sessions": "whole"}, "--sessions"),
        (jsonl(dynamo()), {"sessions": "delta"}, "--sessions"),
        (jsonl(ROW), {"columns": {"arrival": "a", "input": "b", "output": "c"}}, "--columns"),
        (BURST + "1,m,1,1,2,c\n", {"block_tokens": 16}, "--block-tokens"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:02,10,1\n", {"time_unit": "s"}, "--time-unit"),
    ],
)
def test_options_that_mean_nothing_to_a_format_are_refused(faults, content, options, named):
    (fault,) = faults(content, **options)
    assert f"found {named} with" in fault


@pytest.mark.parametrize(
    "options",
    [{"sessions": "both"}, {"time_unit": "us"}, {"block_tokens": 0}, {"block_tokens": 10**6}, {"columns": {"arrival": "a"}}],
)
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(InputError):
        ReadOptions(**options)


def test_another_block_size_is_recognised_and_named(read, faults):
    row = {"timestamp": 0, "input_length": 6400, "output_length": 1, "hash_ids": list(range(100))}
    (fault,) = faults(jsonl(row))
    assert "100 would fit --block-tokens 64" in fault
    assert read(jsonl(row), block_tokens=64).block_tokens == 64


def paced(rows, gap, key="timestamp"):
    return jsonl(*({**ROW, key: index * gap} for index in range(rows)))


def test_seconds_taken_for_milliseconds_are_refused_with_the_factor(read, faults):
    # Three requests a second, in seconds: as milliseconds they would be three thousand.
    (fault,) = faults(paced(30, 1 / 3))
    assert "30 times within 0.009667 s, 3.1e+03 requests per second, read as milliseconds" in fault
    assert "1000 times longer, say --time-unit s" in fault
    assert read(paced(30, 1 / 3), time_unit="s").duration_s == pytest.approx(29 / 3)
    # Who says so may have 3,000 requests per second.
    assert read(paced(30, 1 / 3), time_unit="ms").duration_s == pytest.approx(29 / 3000)
    assert len(read(paced(30, 1000 / 3))) == 30


def test_milliseconds_taken_for_seconds_are_refused_with_the_factor(read, faults):
    chats = jsonl(*({**BAILIAN, "chat_id": index, "timestamp": index * 333} for index in range(30)))
    (fault,) = faults(chats)
    assert "read as seconds" in fault
    assert "1000 times shorter, say --time-unit ms" in fault
    assert read(chats, time_unit="ms").duration_s == pytest.approx(29 * 0.333)
    table = BURST + "".join(f"{index * 333},m,1,1,2,c\n" for index in range(30))
    assert "--time-unit ms" in faults(table)[0]


def test_seconds_since_1970_are_told_from_milliseconds_by_one_request(read, faults):
    row = {**ROW, "timestamp": 1_764_310_000}
    (fault,) = faults(jsonl(row))
    assert "times around 1764310000, which are seconds since 1970" in fault
    assert len(read(jsonl(row), time_unit="s")) == 1


def test_a_thousand_lines_of_another_unit_are_one_fault(faults):
    assert len(faults(paced(1000, 0.01))) == 1


FORMATS = {
    "bailian": jsonl(BAILIAN, BAILIAN),
    "dynamo": jsonl(dynamo(), dynamo()),
    "burstgpt": BURST + "1,m,1,1,2,c\n2,m,1,1,2,c\n",
    "sessions": jsonl(turn("a", 600, timestamp=0, hash_ids=[0, 1]), turn("a", 600, delay=3, hash_ids=[0, 1])),
}


@settings(max_examples=200)
@given(data=st.data(), name=st.sampled_from(sorted(FORMATS)), sessions=st.sampled_from(["whole", "delta"]))
def test_damage_anywhere_ends_in_a_trace_or_a_named_error(tmp_path_factory, data, name, sessions):
    content = bytearray(FORMATS[name].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(content) or b"\n")
    options = ReadOptions(sessions=sessions) if name == "sessions" else ReadOptions()
    try:
        assert len(read_requests(path, options=options)) >= 1
    except InputError as error:
        assert all("damaged" in fault.where for fault in error.faults)


def test_every_format_is_read_only_so_far(read):
    for name, content in FORMATS.items():
        options = {"sessions": "delta"} if name == "sessions" else {}
        assert len(read(content + "{broken", max_requests=2, **options)) == 2


def test_requests_and_blocks_of_every_format_are_bounded(faults, monkeypatch):
    monkeypatch.setattr(lines, "MAX_REQUESTS", 1)
    for name, content in FORMATS.items():
        options = {"sessions": "whole"} if name == "sessions" else {}
        assert "more requests" in faults(content, **options)[0]
