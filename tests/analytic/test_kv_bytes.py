"""KV cache sizes against the published rows and the closed form."""

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.kv import KvLayout, bytes_per_token, kv_bytes, latent_row_bytes, tilert_descriptors

GLM, DEEPSEEK = load_card("glm-5.1"), load_card("deepseek-v3.2")
K = 1024
LENGTHS = np.array([1 * K, 8 * K, 32 * K, 64 * K, 128 * K, 202752])

# (card, layout, bytes per token, GB at 1 K, 8 K, 32 K, 64 K, 128 K and 202,752 tokens)
TABLE = [
    (GLM, KvLayout("fp8"), 61_464, (0.063, 0.50, 2.01, 4.03, 8.06, 12.46)),
    (GLM, KvLayout("fp8", with_mtp_layer=True), 62_252, (0.064, 0.51, 2.04, 4.08, 8.16, 12.62)),
    (GLM, KvLayout("bf16+fp8-index"), 100_152, (0.103, 0.82, 3.28, 6.56, 13.13, 20.31)),
    (GLM, KvLayout("bf16"), 109_824, (0.112, 0.90, 3.60, 7.20, 14.39, 22.27)),
    (DEEPSEEK, KvLayout("fp8"), 48_068, (0.049, 0.39, 1.58, 3.15, 6.30, 9.75)),
]


@pytest.mark.parametrize(("card", "layout", "per_token", "sizes_gb"), TABLE)
def test_sizes_match_the_table(card, layout, per_token, sizes_gb):
    assert bytes_per_token(card, layout) == per_token
    np.testing.assert_allclose(kv_bytes(card, LENGTHS, layout) / 1e9, sizes_gb, atol=0.0051)


def test_latent_row_is_fp8_ds_mla():
    assert latent_row_bytes(GLM, KvLayout("fp8")) == 512 + 16 + 128
    assert latent_row_bytes(GLM, KvLayout("bf16")) == 1152


@pytest.mark.parametrize("tokens", [0, 1, 63, 64, 65, 100_001])
def test_index_pages_are_whole(tokens):
    assert kv_bytes(GLM, tokens) == 78 * (656 * tokens + 8448 * -(-tokens // 64))


def test_vectorised_equals_one_by_one():
    lengths = np.arange(0, 400, 7)
    assert kv_bytes(GLM, lengths).tolist() == [kv_bytes(GLM, int(n)) for n in lengths]


@pytest.mark.parametrize("tokens", [1, 64, 32_768, 202_752])
def test_tilert_sends_237_descriptors_of_the_whole_cache(tokens):
    sizes = tilert_descriptors(GLM, tokens)
    assert sizes.size == 237
    assert sizes[0].tolist() == [528 * tokens, 128 * tokens, 8448 * -(-tokens // 64)]
    assert sizes.sum() == kv_bytes(GLM, tokens, KvLayout("fp8", with_mtp_layer=True))


def test_tilert_bf16_planes():
    assert tilert_descriptors(GLM, 100, "bf16")[0].tolist() == [102_400, 12_800, 16_896]


@pytest.mark.parametrize("tokens", [-1, 1.5, 1 << 40])
def test_impossible_lengths_are_refused(tokens):
    with pytest.raises(InputError):
        kv_bytes(GLM, tokens)


def test_unknown_dtype_is_refused():
    with pytest.raises(InputError, match=r"fp8, bf16, bf16\+fp8-index"):
        KvLayout("int4")
