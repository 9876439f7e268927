"""Results as SVG."""

import json

import pytest
from memsvc_bench import plot

FIGURES = {
    "forgetting": {
        "facts": 10,
        "chance": 0.05,
        "read back, default": {"read back after 0": 0.5, "read back after 5,000": 0.25},
        "told from twin, default": {"told from twin after 0": 0.5, "told from twin after 5,000": 0.25},
        "read back of all told, default": {"read back of 100": 0.5, "read back of 1,000": 0.25},
        "told from twin of all told, default": {"told from twin of 100": 0.5, "told from twin of 1,000": 0.25},
    },
    "importance": {
        "entries": 10,
        "random": {"@10": 0.4, "less ours": "-0.2", "answers kept": 0.5},
        "conv-1": {"entries": 10, "@10, random": 0.4},
    },
    "memory": {
        "corpora": "x",
        "default": {"locomo @10": 0.6, "locomo, less default": "0"},
        "eta 0": {"locomo @10": 0.5},
    },
    "drift": {
        "single domains, 3 windows, sigma 2": {"others_per_million": 1.0},
        "single domains, 1 window, sigma 2": {"others_per_million": 3.0},
        "switches, 3 windows, sigma 2": {"seen": 0.9},
        "switches, 1 window, sigma 2": {"seen": 1.0},
    },
    "genomics": {
        "cosine": {"@1": 0.3, "@10": 0.5},
        "switches, sigma 2": {"to DNA, seen": 1.0, "back, seen": 0.0},
    },
    "needle": {
        "preset": "text",
        "similar, memory, 2,048": {"length": 2048, "n": 8, "exact": 0.9, "at_least": 0.7, "at_most": 1.0},
        "similar, memory, 8,192": {"length": 8192, "n": 8, "exact": 0.8, "at_least": 0.6, "at_most": 0.9},
        "8 facts, 8,192": {"facts": 8, "tokens": 8192, "n": 8, "exact": 0.8, "at_least": 0.6, "at_most": 0.9},
        "wide, 8 facts, 8,192": {"facts": 8, "tokens": 8192, "n": 8, "exact": 0.8, "at_least": 0.6, "at_most": 0.9},
    },
    "context-capacity": {
        "seeds": 3,
        "hidden 256": {"numbers": 24_576, "exact_of_16": 0.9, "exact_of_64": 0.4},
        "first order, hidden 512": {"numbers": 49_152, "exact_of_16": 0.5, "exact_of_64": 0.0},
        "hidden 256, depth 3": {"numbers": 90_112, "exact_of_16": 0.8, "exact_of_64": 0.3},
    },
    "kernels": {
        "threads": 2,
        "depth 2, tenants 1, write: memsvc": {"tokens_per_s": 9.0},
        "depth 2, tenants 1, write: titans-pytorch": {"tokens_per_s": 3.0},
        "depth 2, tenants 1, read: memsvc": {"tokens_per_s": 19.0},
    },
    "peers": {
        "mem0": "not installed",
        "1,000 entries: memsvc": {"entries_per_s": 9.0, "recall_p50_ms": 5.0, "recall_at_10": 0.8},
        "1,000 entries: Chroma": {"entries_per_s": 8.0, "recall_p50_ms": 6.0, "recall_at_10": 0.5},
        "1,000 entries: the encoder alone": {"entries_per_s": 9.5},
        "100,000 entries: memsvc": {"entries_per_s": 99.0, "recall_p50_ms": 7.0},
    },
    "scale": {
        "words_repeat_after_tokens": 9,
        "history 10": {"history": 10, "tokens_per_s": 9.0, "recall_p50_ms": 5.0, "memory_mb": 7.0},
        "history 100": {"history": 100, "tokens_per_s": 8.0, "recall_p50_ms": 6.0, "memory_mb": 8.0},
        "tenants 1": {"tenants": 1, "tokens_per_s": 9.0, "recall_p50_ms": 5.0, "memory_mb": 7.0},
        "chunk 16": {"chunk": 16, "step_alone_tokens_per_s": 90.0},
        "depth 2": {"depth": 2, "tokens_per_s": 9.0, "recall_p50_ms": 5.0, "step_alone_tokens_per_s": 90.0},
    },
}


def draw(name: str, folder) -> dict[str, bytes]:
    file = folder / "result.json"
    file.write_text(json.dumps({"command": f"memsvc bench {name} --data x", "figures": FIGURES[name]}))
    plot.main([str(file), str(folder / "plots")])
    return {path.name: path.read_bytes() for path in sorted((folder / "plots").iterdir())}


@pytest.mark.parametrize("name", FIGURES)
def test_draws_each_result_the_same_every_time(tmp_path, name):
    (tmp_path / "again").mkdir()
    drawn = draw(name, tmp_path)
    assert drawn == draw(name, tmp_path / "again")
    for svg in drawn.values():
        assert svg.startswith(b"<?xml")
        assert b"dc:date" not in svg


def test_everything_that_can_be_drawn_is_tested():
    assert set(FIGURES) == set(plot.PLOTS)


def test_all_that_scale_measures_is_drawn_over_all_that_grows(tmp_path):
    costs = ("memory-mb", "recall-p50-ms", "tokens-per-s")
    assert list(draw("scale", tmp_path)) == [
        "scale-chunk-step-alone-tokens-per-s.svg",
        "scale-depth-recall-p50-ms.svg",
        "scale-depth-step-alone-tokens-per-s.svg",
        "scale-depth-tokens-per-s.svg",
        *(f"scale-{axis}-{cost}.svg" for axis in ("history", "tenants") for cost in costs),
    ]


def test_says_what_it_drew_and_leaves_other_files(tmp_path):
    (tmp_path / "other.svg").write_text("other")
    result = {"command": "memsvc bench memory --data x", "figures": FIGURES["memory"]}
    assert plot.draw_all(result, tmp_path) == ["memory.svg"]
    assert {path.name for path in tmp_path.iterdir()} == {"memory.svg", "other.svg"}
    assert plot.draw_all({"command": "memsvc bench kernels", "figures": {}}, tmp_path) == []


def test_labels_are_text(tmp_path):
    assert b">random</text>" in draw("importance", tmp_path)["importance.svg"]


def test_refuses_what_it_cannot_draw(tmp_path):
    file = tmp_path / "crash.json"
    file.write_text('{"command": "memsvc bench crash", "figures": {}}')
    with pytest.raises(SystemExit, match="no plot of crash"):
        plot.main([str(file), str(tmp_path)])
    with pytest.raises(SystemExit, match="usage"):
        plot.main([])
