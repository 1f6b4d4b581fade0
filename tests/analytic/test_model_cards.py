"""Model cards against the public configurations and published parameter counts."""

import json

import pytest

from zcube.errors import InputError
from zcube.llm.cards import CONFIG_KEYS, ModelCard, card_names, load_card

CONFIGS = {
    "glm-5.1": "zai-org--GLM-5.1_config.json",
    "deepseek-v3.2": "deepseek-ai--DeepSeek-V3.2_config.json",
}


@pytest.mark.parametrize(("name", "total", "active"), [("glm-5.1", 743.9, 40.8), ("deepseek-v3.2", 671.9, 37.5)])
def test_parameters_match_the_published_counts(name, total, active):
    card = load_card(name)
    assert card.total_parameters / 1e9 == pytest.approx(total, abs=0.05)
    assert card.active_parameters / 1e9 == pytest.approx(active, abs=0.05)


def test_glm_layer_weights():
    card = load_card("glm-5.1")
    assert card.attention_parameters / 1e6 == pytest.approx(165.0, abs=0.05)
    assert card.indexer_parameters / 1e6 == pytest.approx(9.4, abs=0.05)
    assert card.expert_parameters / 1e6 == pytest.approx(37.7, abs=0.05)
    assert card.moe_layers == 75
    assert card.embedding_parameters == 154880 * 6144


def test_every_card_names_its_source():
    assert set(card_names()) == {"glm-5.1", "deepseek-v3.2"}
    assert all("config.json" in load_card(name).source for name in card_names())


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
    with pytest.raises(InputError, match=r"deepseek-v3\.2, glm-5\.1"):
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
    return {key: getattr(card, field) for field, key in CONFIG_KEYS.items()}


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
