"""Model cards against the public configurations and published parameter counts."""

import json

import pytest

from zcube.errors import InputError
from zcube.llm.cards import ModelCard, card_names, load_card
from zcube.llm.config_file import KEYS
from zcube.llm.kv import KvLayout, bytes_per_token, kv_bytes, state_bytes

CONFIGS = {
    "glm-5.1": "zai-org--GLM-5.1_config.json",
    "deepseek-v3.2": "deepseek-ai--DeepSeek-V3.2_config.json",
}


#: Billions of parameters, all and a token's, as counted without MTP and the input embedding.
COUNTED = [("glm-5.1", 743.9, 40.8), ("deepseek-v3.2", 671.9, 37.5)]
#: Published: name, billions of parameters, billions a token, and where. Rounded there; MTP counts in GLM-4.6's.
PUBLISHED = [
    ("deepseek-v3", 671, 37, "DeepSeek-V3 technical report, section 2: 671B, 37B activated"),
    ("kimi-k2", 1040, 32.6, "Kimi K2 technical report, table 2: 1.04T, 32.6B activated"),
    ("qwen3-235b-a22b", 235, 22, "Qwen3 technical report, table 2: 235B, 22B activated"),
    ("gpt-oss-120b", 116.83, 5.13, "gpt-oss model card, table 1: 116.83B, 5.13B active"),
    ("llama-3.1-405b", 405, 405, "The Llama 3 herd of models: 405B, dense"),
    ("glm-4.6", 355, 32, "GLM-4.5 report, table 1: 355B, 32B activated; the same sizes"),
    ("minimax-m2.5", 230, 10, "MiniMax-M2's model page: 230B, 10B activated"),
    ("qwen3.5-397b-a17b", 397, 17, "its name: 397B, 17B activated"),
]
#: Published KV bytes a token in bf16: DeepSeek-V3's "Insights" (arXiv 2505.09343), table 1; GLM-4.6 by its grouped queries.
KV_BYTES = [("deepseek-v3", 70_272), ("llama-3.1-405b", 516_096), ("glm-4.6", 376_832)]


@pytest.mark.parametrize(("name", "total", "active"), COUNTED)
def test_parameters_match_the_published_counts(name, total, active):
    card = load_card(name)
    assert card.total_parameters / 1e9 == pytest.approx(total, abs=0.05)
    assert card.active_parameters / 1e9 == pytest.approx(active, abs=0.05)


@pytest.mark.parametrize(("name", "total", "active", "source"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_parameters_are_those_published(name, total, active, source):
    card = load_card(name)
    assert card.total_parameters / 1e9 == pytest.approx(total, rel=0.015)
    assert card.active_parameters / 1e9 == pytest.approx(active, rel=0.05)


@pytest.mark.parametrize(("name", "size"), KV_BYTES)
def test_kv_bytes_a_token_are_those_published(name, size):
    assert bytes_per_token(load_card(name), KvLayout("bf16")) == size


def test_shared_indexers_save_their_keys():
    """57 of 78 layers of GLM-5.2 have no indexer: GLM-5.1's card says 13.9 % too many bytes a token (fp8)."""
    one, other = (bytes_per_token(load_card(name), KvLayout("fp8")) for name in ("glm-5.1", "glm-5.2"))
    assert (one - other, one / other) == (57 * 132, pytest.approx(1.1395, abs=1e-4))


def test_a_window_keeps_no_more_than_its_tokens():
    card, layout = load_card("gpt-oss-120b"), KvLayout("bf16")
    row = 8 * (64 + 64) * 2
    assert kv_bytes(card, [0, 100, 128, 5000], layout).tolist() == [
        0, 36 * row * 100, 36 * row * 128, 18 * row * 5000 + 18 * row * 128
    ]  # fmt: skip


def test_linear_layers_keep_a_state():
    card, layout = load_card("qwen3.5-397b-a17b"), KvLayout("bf16")
    state = 45 * (64 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 64 * 128) * 2)
    assert state_bytes(card) == state
    assert kv_bytes(card, [0, 1000], layout).tolist() == [0, state + 1000 * 15 * 2 * (256 + 256) * 2]


def test_glm_layer_weights():
    card = load_card("glm-5.1")
    assert card.attention_parameters / 1e6 == pytest.approx(165.0, abs=0.05)
    assert card.indexer_parameters / 1e6 == pytest.approx(9.4, abs=0.05)
    assert card.expert_parameters / 1e6 == pytest.approx(37.7, abs=0.05)
    assert card.moe_layers == 75
    assert card.embedding_parameters == 154880 * 6144


def test_every_card_names_its_source():
    assert {"glm-5.1", "deepseek-v3.2", *(row[0] for row in PUBLISHED)} <= set(card_names())
    assert all("config.json" in load_card(name).source for name in card_names())


@pytest.mark.parametrize("name", sorted(card_names()))
def test_every_bundled_model_is_served(name):
    load_card(name).check_served()


def test_parts_without_times_are_named():
    card = load_card("deepseek-v3").model_copy(update={"window_layers": 4, "window_tokens": 128})
    with pytest.raises(InputError, match="sliding windows beside latent attention") as caught:
        card.check_served()
    assert caught.value.faults[0].where == "compute.model"


@pytest.mark.parametrize("name", CONFIGS)
def test_card_agrees_with_the_configuration(name, shared_data):
    path = shared_data / "aiconfigurator-glm5" / CONFIGS[name]
    load_card(name).check_config(json.loads(path.read_text()), path.name)


def test_every_difference_from_a_configuration_is_listed():
    with pytest.raises(InputError) as caught:
        load_card("glm-5.1").check_config({"hidden_size": 1}, "config.json")
    assert len(caught.value.faults) == 22
    assert any("hidden_size" in fault.where and fault.found == "1" for fault in caught.value.faults)


def test_unknown_card_lists_the_known_ones():
    with pytest.raises(InputError, match=r"deepseek-v3\.2, glm-4\.6, glm-5\.1"):
        load_card("gpt-9")


def test_bad_card_lists_every_fault(tmp_path):
    data = load_card("glm-5.1").model_dump() | {"layers": 0, "hidden": "wide", "wheels": 4}
    path = tmp_path / "bad.toml"
    path.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in data.items()))
    with pytest.raises(InputError) as caught:
        load_card(str(path))
    assert {fault.where.split(": ")[1] for fault in caught.value.faults} == {"layers", "hidden", "wheels"}


def test_inconsistent_card_is_refused():
    data = load_card("glm-5.1").model_dump() | {"experts_per_token": 300, "expert_groups": 7}
    with pytest.raises(ValueError, match=r"experts_per_token at most routed_experts.*multiple of expert_groups"):
        ModelCard.model_validate(data)


@pytest.fixture
def card_file(tmp_path):
    """Write a card that names a configuration, with changes to its numbers, and the configuration as given."""

    def write(text: str, **changes) -> str:
        data = load_card("glm-5.1").model_dump() | {"config": "config.json"} | changes
        path = tmp_path / "mine.toml"
        path.write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in data.items()))
        (tmp_path / "config.json").write_text(text)
        return str(path)

    return write


def config_of(card: ModelCard) -> dict:
    return {keys[0]: getattr(card, field) for field, keys in KEYS.items() if getattr(card, field)}


def test_a_card_file_that_agrees_with_the_configuration_it_names_is_taken(card_file):
    config = json.dumps(config_of(load_card("glm-5.1")) | {"torch_dtype": "bfloat16"})
    assert load_card(card_file(config)).layers == 78


def test_a_card_file_that_contradicts_the_configuration_is_refused_with_every_number(card_file, run):
    config = json.dumps(config_of(load_card("glm-5.1")))
    path = card_file(config, layers=61, kv_lora_rank=256)
    with pytest.raises(InputError) as caught:
        load_card(path)
    assert [(fault.where, fault.found) for fault in caught.value.faults] == [
        ("config.json: num_hidden_layers", "78"),
        ("config.json: kv_lora_rank", "512"),
    ]
    status, _, err = run("trace", "generate", "--engine", "sglang", "--model", path, "--out", f"{path}.parquet")
    assert status == 2
    assert "num_hidden_layers" in err
    assert "61 (glm-5.1: layers)" in err


@pytest.mark.parametrize("config", ["", "[]", "3", "{", "[" * 100_000, '{"num_hidden_layers": NaN}'])
def test_a_configuration_that_is_none_is_refused(card_file, config):
    with pytest.raises(InputError, match=r"config\.json"):
        load_card(card_file(config))


@pytest.mark.parametrize("name", ["elsewhere.json", ".", "\0", "a" * 4000])
def test_a_configuration_that_is_missing_is_refused(card_file, name):
    with pytest.raises(InputError, match=r"mine\.toml: config"):
        load_card(card_file("{}", config=name))


def test_tilert_asks_for_an_indexer(run):
    status, _, err = run("trace", "generate", "--engine", "tilert", "--model", "deepseek-v3", "--out", "never.parquet")
    assert status == 2
    assert "deepseek-v3, which has no indexer" in err


def test_what_is_shipped_with_the_draft_layer_is_shown_beside_the_layers_own(run):
    """78 layers of 656 + 132 bytes a token, and the 79th that is drafted with."""
    _, out, _ = run("model", "show", "glm-5.1")
    assert "61,464 bytes a token" in out
    assert "62,252 (fp8)" in out
    _, out, _ = run("model", "show", "glm-5.1", "--json")
    assert json.loads(out)["kv_bytes_per_token_with_mtp_layer"]["fp8"] == 79 * 788
