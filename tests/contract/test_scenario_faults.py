"""A scenario that cannot run says where it is wrong, what stands there and what should: every fault, in one error."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path

import pytest

import zcube.llm
from zcube.comparison import compare
from zcube.errors import Fault, InputError
from zcube.scenario import Scenario, load_scenario

GOOD = {
    "fabrics": ["roft-256", "zcube-256"],
    "requests": {"count": 20},
    "load": {"rate_per_s": 5.0},
    "prefill": {"nodes": 2},
    "decode": {"nodes": 1},
}


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        'fabrics = ["roft-256", "zcube-256"]\n[requests]\ncount = 20\n[load]\nrate_per_s = 5.0\n'
        "[prefill]\nnodes = 2\n[decode]\nnodes = 1\n"
    )
    return path


def faults_of(path: Path | str, *assignments: str, changes=None) -> list[Fault]:
    with pytest.raises(InputError) as caught:
        compare(load_scenario(str(path), changes, assignments))
    assert caught.value.exit_status == 2
    assert str(caught.value) == "\n".join(str(fault) for fault in caught.value.faults)
    for fault in caught.value.faults:
        assert fault.where and fault.found and fault.expected
    return list(caught.value.faults)


def fault_at(faults: list[Fault], key: str) -> Fault:
    """Return the one fault whose place names a key."""
    matching = [fault for fault in faults if key in fault.where]
    assert len(matching) == 1, [str(fault) for fault in faults]
    return matching[0]


def test_a_good_file_loads(scenario_file):
    assert load_scenario(str(scenario_file)) == Scenario.model_validate(GOOD)


def test_a_missing_scenario_names_the_bundled_ones():
    (fault,) = faults_of("no-such-scenario")
    assert "no-such-scenario" in fault.where
    assert "glm51-pd-1024" in fault.expected


def test_broken_toml_names_the_line(scenario_file):
    scenario_file.write_text("fabrics = [\n'a'\nseed = 3\n")
    (fault,) = faults_of(scenario_file)
    assert str(scenario_file) in fault.where
    assert "line 3" in fault.found


def test_a_file_that_is_not_text(scenario_file):
    scenario_file.write_bytes(b"fabrics = ['\xff']")
    (fault,) = faults_of(scenario_file)
    assert "UTF-8" in fault.found


def test_an_endless_file_is_refused(scenario_file):
    scenario_file.write_bytes(b"#" * (2 << 20))
    (fault,) = faults_of(scenario_file)
    assert "bytes" in fault.expected


@pytest.mark.parametrize(
    ("assignment", "key", "found"),
    [
        ("load.rate_per_s=-1.0", "load.rate_per_s", "-1.0"),
        ("load.rate_per_s=nan", "load.rate_per_s", "nan"),
        ("load.rate_per_s=inf", "load.rate_per_s", "inf"),
        ("load.rate_per_s=0", "load.rate_per_s", "0"),
        ("load.mode=half-open", "load.mode", "half-open"),
        ("load.concurrency=0", "load.concurrency", "0"),
        ("prefill.nodes=0", "prefill.nodes", "0"),
        ("prefill.nodes=1.5", "prefill.nodes", "1.5"),
        ("prefill.chunk_tokens=63", "prefill.chunk_tokens", "63"),
        ("decode.max_batch=0", "decode.max_batch", "0"),
        ("decode.layout=cp8", "decode.layout", "cp8"),
        ("kv.push=sometimes", "kv.push", "sometimes"),
        ("network.fidelity=perfect", "network.fidelity", "perfect"),
        ("network.queue_pairs=0", "network.queue_pairs", "0"),
        ("network.nic_gbps=-400", "network.nic_gbps", "-400"),
        ("requests.count=0", "requests.count", "0"),
        ("seed=-1", "seed", "-1"),
        ("gpus=4", "gpus", "4"),
        ("fabrics=[]", "fabrics", "[]"),
        ("prefill=3", "prefill", "3"),
    ],
)
def test_a_value_out_of_range_is_named(scenario_file, assignment, key, found):
    fault = fault_at(faults_of(scenario_file, assignment), key)
    assert str(scenario_file) in fault.where
    assert found in fault.found or fault.found == "()"


@pytest.mark.parametrize("key", ["colour", "load.colour", "prefill.tensor_parallel", "typo.deeper.still"])
def test_an_unknown_key_is_named(scenario_file, key):
    fault = fault_at(faults_of(scenario_file, f"{key}=1"), key.partition(".deeper")[0])
    assert "unknown" in fault.found


def test_a_missing_table_is_named(scenario_file):
    scenario_file.write_text('fabrics = ["roft-256"]\n[requests]\ncount = 3\n[prefill]\nnodes = 1\n')
    fault = fault_at(faults_of(scenario_file), "decode")
    assert fault.found == "nothing"


def test_every_fault_is_listed_at_once(scenario_file):
    assignments = ("load.rate_per_s=-1", "prefill.nodes=0", "colour='red'", "kv.setup_s=-1", "decode.layout=tp3")
    faults = faults_of(scenario_file, *assignments)
    assert len(faults) == 5
    for key in ("load.rate_per_s", "prefill.nodes", "colour", "kv.setup_s", "decode.layout"):
        fault_at(faults, key)


def test_what_decode_nodes_hold_is_refused_where_it_means_nothing(scenario_file):
    tilert = ("kv.rank_map=tp8-tilert", "prefill.layout=tp8", "decode.layout=tp8", "decode.prefix_cache_tokens=1000")
    for assignments, expected in (
        (tilert, "no decode.prefix_cache_tokens"),
        (("router.policy=conditional",), "what decode nodes"),
    ):
        (fault,) = faults_of(scenario_file, *assignments)
        assert expected in fault.expected


def test_faults_between_keys_are_listed_at_once(scenario_file):
    assignments = ("baseline=hpn-256", "kv.rank_map=tp8/dp8")
    text = "\n".join(str(fault) for fault in faults_of(scenario_file, *assignments))
    for part in ("baseline", "hpn-256", "rank_map", "tp8/dp8"):
        assert part in text, text


def test_a_fault_between_keys_does_not_hide_behind_one_key(scenario_file):
    assignments = ("baseline=hpn-256", "load.rate_per_s=-1")
    text = "\n".join(str(fault) for fault in faults_of(scenario_file, *assignments))
    assert "rate_per_s" in text
    assert "hpn-256" in text, text


@pytest.mark.parametrize(
    ("assignments", "key", "found", "expected"),
    [
        (["baseline=hpn-256"], "baseline", "hpn-256", "roft-256"),
        (["kv.rank_map=tp8/dp8"], "rank_map", "tp8/dp8", "cp8-dp8"),
        (['fabrics=["roft-256", "roft-256"]'], "fabrics", "", "repetition"),
        (["prefill.nodes=3", "prefill.nodes_per_instance=2", "prefill.layout=dp8"], "prefill", "3", "nodes_per_instance"),
        (["prefill.nodes_per_instance=2", "prefill.layout=cp8"], "prefill", "cp8", "dp8"),
        (["decode.nodes=3", "decode.nodes_per_instance=2"], "decode", "2", "divides nodes = 3"),
        (["decode.nodes_per_instance=2", "decode.layout=tp8", "decode.nodes=2"], "decode", "tp8", "dp8"),
        (["decode.expert_pairs=some"], "decode.expert_pairs", "some", "turned"),
        (["compute.exchanges=nccl"], "compute.exchanges", "nccl", "links"),
    ],
)
def test_keys_that_contradict_each_other_are_named(scenario_file, assignments, key, found, expected):
    (fault,) = faults_of(scenario_file, *assignments)
    assert str(scenario_file) in fault.where
    assert key in str(fault) and found in str(fault) and expected in fault.expected


@pytest.mark.parametrize(
    ("rank_map", "prefill", "decode"), [("tp8-tp8", "cp8", "dp8"), ("cp8-dp8", "tp8", "dp8"), ("dp8-tp8", "dp8", "dp8")]
)
def test_a_rank_map_of_other_layouts_is_refused(scenario_file, rank_map, prefill, decode):
    assignments = (f"kv.rank_map={rank_map}", f"prefill.layout={prefill}", f"decode.layout={decode}")
    text = "\n".join(str(fault) for fault in faults_of(scenario_file, *assignments))
    assert "rank_map" in text and "layout" in text


def test_the_generator_needs_a_count(scenario_file):
    scenario_file.write_text(scenario_file.read_text().replace("count = 20", 'source = "coding-agent"'))
    text = str(faults_of(scenario_file)[0])
    assert "requests" in text and "count" in text


def test_every_fabric_that_does_not_fit_is_named(scenario_file):
    faults = faults_of(scenario_file, "prefill.nodes=40")
    assert len(faults) == 2
    for fabric in GOOD["fabrics"]:
        fault = fault_at(faults, fabric)
        assert "256 GPUs" in fault.found
        assert str(41 * 8) in fault.expected


def test_a_fabric_of_another_size_than_declared(scenario_file):
    faults = faults_of(scenario_file, "gpus=512")
    for fabric in GOOD["fabrics"]:
        fault = fault_at(faults, fabric)
        assert fault.found == "256" and "512" in fault.expected


def test_unknown_fabrics_are_all_named_with_those_there_are(scenario_file):
    faults = faults_of(scenario_file, 'fabrics=["no-a", "roft-256", "no-b"]')
    assert [fault.where for fault in faults] == [fault.where for fault in faults if "no-" in fault.where]
    assert len(faults) == 2
    assert all("zcube-1024" in fault.expected for fault in faults)


def test_a_policy_the_fabric_has_not(scenario_file):
    (fault,) = faults_of(scenario_file, "network.routing=zcube-paths")
    assert "roft-256" in fault.found and "ecmp" in fault.expected


@pytest.mark.parametrize(
    ("key", "stem"), [("compute.model", "glm-5.1"), ("compute.device", "h200"), ("cost.price_book", "mixnet")]
)
def test_unknown_cards_devices_and_books_are_named(scenario_file, key, stem):
    (fault,) = faults_of(scenario_file, f"{key}=no-such")
    assert "no-such" in str(fault) and stem in fault.expected


def test_a_missing_trace_is_named(scenario_file):
    (fault,) = faults_of(scenario_file, changes={"requests.source": "/no/such/trace.jsonl"})
    assert "/no/such/trace.jsonl" in fault.where


def test_an_instance_over_which_the_experts_cannot_be_spread(scenario_file):
    # DeepSeek-V3.2's eight expert groups do not divide over three nodes.
    spans = "prefill.nodes=3", "prefill.nodes_per_instance=3", "decode.nodes=3", "decode.nodes_per_instance=3"
    (fault,) = faults_of(scenario_file, *spans, "prefill.layout=dp8", "kv.rank_map=dp8-dp8", "compute.model=deepseek-v3.2")
    assert fault.where == "prefill.nodes_per_instance" and fault.found == "3" and "8" in fault.expected


def test_decode_nodes_that_compute_prompts_are_instances_of_their_own(scenario_file):
    groups = "decode.nodes=2", "decode.nodes_per_instance=2", "decode.prefix_cache_tokens=1000", "router.policy=conditional"
    (fault,) = faults_of(scenario_file, *groups)
    assert "decode.nodes_per_instance = 1" in fault.expected


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), lambda error: type(error)(*error.args)])
def test_an_error_survives_the_way_from_a_worker_or_a_process(again):
    # A process pool pickles an error, SimPy builds it anew from its arguments.
    error = InputError([Fault("a.toml: seed", "-1", "0 or more"), Fault("a.toml: gpus", "4", "8 or more")])
    assert again(error).faults == error.faults
    assert str(again(error)) == str(error)


def test_faults_of_different_files_are_told_at_once(scenario_file):
    tables = (
        "compute.model=no-card",
        "cost.price_book=no-book",
        "requests.source=no.jsonl",
        'fabrics=["no-fabric", "roft-256"]',
    )
    wheres = " ".join(fault.where for fault in faults_of(scenario_file, *tables, "network.routing=no-routing"))
    for name in ("no-card", "no-book", "no.jsonl", "no-fabric", "routing"):
        assert name in wheres, wheres


def test_a_fabric_of_another_size_is_named_beside_its_other_faults(scenario_file):
    faults = faults_of(scenario_file, "gpus=512", "network.bin_s=0.1")
    assert {fault.where for fault in faults} == {
        f"fabric {name}: {key}" for name in ("roft-256", "zcube-256") for key in ("gpus", "network.bin_s")
    }


@pytest.mark.parametrize(
    ("key", "known"),
    [("load.rate", "rate_per_s"), ("network.packet.pfc_alfa", "pfc_alpha"), ("lod.mode", "load"), ("sead", "seed")],
)
def test_an_unknown_key_is_told_those_of_its_table(scenario_file, key, known):
    (fault,) = faults_of(scenario_file, f"{key}=1")
    assert fault.found == "an unknown key"
    assert known in re.split(r"[ ,]+", fault.expected.removeprefix("one of the keys "))


def test_a_fabric_with_a_value_for_a_table_is_told_what_belongs_there(scenario_file):
    (fault,) = faults_of(scenario_file, "network.zcube-256=3")
    assert fault.where.endswith("network.zcube-256") and fault.found == "3" and "a table" in fault.expected


def test_a_recorded_run_nested_too_deeply_is_refused(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("[" * 100_000)
    (fault,) = faults_of(path)
    assert fault.where == str(path) and "nested" in fault.found


def test_a_card_and_a_device_of_a_scenario_lie_beside_it(scenario_file, tmp_path):
    for kind, name in (("models", "glm-5.1"), ("devices", "h200")):
        shutil.copy(Path(zcube.llm.__file__).parent / kind / f"{name}.toml", tmp_path / f"{kind}.toml")
    scenario_file.write_text(scenario_file.read_text() + '[compute]\nmodel = "models.toml"\ndevice = "devices.toml"\n')
    compute = load_scenario(str(scenario_file)).compute
    assert (compute.model, compute.device) == (str(tmp_path / "models.toml"), str(tmp_path / "devices.toml"))
    # A path from the command line is the caller's.
    assert load_scenario(str(scenario_file), None, ["compute.model=models.toml"]).compute.model == "models.toml"


class TestAssignments:
    def test_values_are_toml_and_bare_words_text(self, scenario_file):
        assignments = ["load.concurrency=40", "load.mode=closed", "kv.with_mtp_layer=false", 'description="a = b"']
        scenario = load_scenario(str(scenario_file), {"seed": 7}, [*assignments, 'fabrics=["roft-256"]'])
        assert (scenario.load.concurrency, scenario.load.mode) == (40, "closed")
        assert scenario.kv.with_mtp_layer is False
        assert scenario.description == "a = b"
        assert scenario.fabrics == ("roft-256",)
        assert scenario.seed == 7

    def test_a_later_assignment_wins(self, scenario_file):
        assert load_scenario(str(scenario_file), None, ["seed=1", "seed=2"]).seed == 2

    def test_spaces_around_the_key_do_not_matter(self, scenario_file):
        assert load_scenario(str(scenario_file), None, [" seed = 5"]).seed == 5

    @pytest.mark.parametrize("text", ["seed", "=3", "", " = 3"])
    def test_what_is_no_assignment_is_refused(self, scenario_file, text):
        (fault,) = faults_of(scenario_file, text)
        assert "--set" in fault.where and repr(text) in fault.found and "KEY=VALUE" in fault.expected

    def test_every_bad_assignment_is_named(self, scenario_file):
        text = "\n".join(str(fault) for fault in faults_of(scenario_file, "nonsense", "seed.deeper=1", "rubbish"))
        assert "nonsense" in text
        assert "rubbish" in text, text

    def test_a_key_below_a_value_is_refused(self, scenario_file):
        (fault,) = faults_of(scenario_file, "fabrics.first=roft-256")
        assert "fabrics.first" in fault.where and "fabrics" in fault.found

    @pytest.mark.parametrize("text", ["seed=1\nload = 3", "seed=1\n[load]\nmode = 'closed'"])
    def test_one_assignment_sets_one_key(self, scenario_file, text):
        # A line break must not smuggle in or silently drop further lines.
        faults = faults_of(scenario_file, text)
        assert faults

    def test_a_trace_on_the_command_line_lies_relative_to_the_caller(self, scenario_file):
        for text in ("requests.source=a.jsonl", " requests.source = 'a.jsonl'"):
            assert load_scenario(str(scenario_file), None, [text]).requests.source == "a.jsonl"

    def test_a_trace_in_the_file_lies_beside_it(self, scenario_file):
        scenario_file.write_text(scenario_file.read_text().replace("count = 20", 'source = "a.jsonl"'))
        assert load_scenario(str(scenario_file)).requests.source == str(scenario_file.parent / "a.jsonl")


def test_a_model_and_a_device_that_are_unknown_are_both_told_by_their_keys(run):
    status, out, err = run("compare", "qwen3-235b-h20", "--set", "compute.model=no-card", "--set", "compute.device=no-device")
    assert (status, out) == (2, "") and "2 faults" in err
    assert "compute.model: no-card: found no such model card; expected" in err
    assert "compute.device: no-device: found no such device; expected" in err
