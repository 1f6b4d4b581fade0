"""Fits of measurements whose parameters are known, and of a published table of NCCL times."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import SIZES, TRUTH, covered, measured, runs

from zcube.calibrate.apply import apply_calibration
from zcube.calibrate.calibration import Calibration
from zcube.calibrate.checking import Check, check, held_out, leave_ranks_out
from zcube.calibrate.fitting import fit
from zcube.calibrate.measurements import Measurements, Metadata, Row
from zcube.calibrate.operations import wire_factor
from zcube.calibrate.readers import read_measured
from zcube.calibrate.regimes import Piece, evaluate, fit_pieces
from zcube.calibrate.residuals import shared_weight
from zcube.calibrate.scaling import at_ranks, fit_scaling
from zcube.errors import InputError

TABLE = "aiconfigurator-glm5/h200_sxm_nccl_2.29.2.csv"
KIB, MIB = 1 << 10, 1 << 20


# --- one curve


def test_exact_times_give_back_their_regimes_and_parameters():
    pieces = fit_pieces(*measured())
    assert [piece[:2] for piece in pieces] == [piece[:2] for piece in TRUTH]
    for found, true in zip(pieces, TRUTH, strict=True):
        assert found.latency_s == pytest.approx(true.latency_s, rel=1e-6)
        assert found.s_per_byte == pytest.approx(true.s_per_byte, rel=1e-6)


def test_one_line_is_not_cut():
    (piece,) = fit_pieces(*measured([Piece(512, 2**29, 5e-6, 3e-12)], scatter=0.02, seed=3))
    assert piece[:2] == (512, 2**29)
    assert piece.latency_s == pytest.approx(5e-6, rel=0.02)
    assert piece.s_per_byte == pytest.approx(3e-12, rel=0.02)


def test_times_that_do_not_grow_have_no_bandwidth():
    sizes = SIZES[:8]
    curve = fit(runs({("all-to-all", 2, "nvlink"): (sizes, np.full(8, 7e-6))})).curves[0]
    assert curve.regimes[0].latency_s == pytest.approx(7e-6)
    assert curve.bus_bandwidth_bytes_per_s is None or curve.bus_bandwidth_bytes_per_s > 1e15


def test_times_below_a_line_through_zero_get_no_negative_latency():
    """Times that grow faster than the size have no line with a latency; the closest one starts at zero."""
    (piece,) = fit_pieces(SIZES[:4], 1e-12 * SIZES[:4] ** 1.02)
    assert piece.latency_s == 0.0
    assert piece.s_per_byte == pytest.approx(np.exp(np.mean(np.log(1e-12 * SIZES[:4] ** 0.02))))


def test_between_regimes_the_time_is_interpolated_in_both_logarithms():
    pieces = (Piece(1, 100, 1.0, 0.0), Piece(10_000, 100_000, 9.0, 0.0))
    assert evaluate(pieces, np.array([100.0, 1000.0, 10_000.0])) == pytest.approx([1.0, 3.0, 9.0])


@pytest.mark.parametrize(("scatter", "copies"), [(0.02, 2), (0.04, 1)])
def test_intervals_cover_what_they_say(scatter, copies):
    """95 % intervals, 300 seeds, those included in which the regimes were not found."""
    share = np.mean([covered(seed, scatter, copies) for seed in range(300)], axis=0)
    assert share.min() >= 0.90
    assert share.max() <= 0.99


def test_scatter_alone_is_not_cut():
    """One line with 10 % scatter: at most one curve in ten gets regimes that are not there."""
    cut = [len(fit_pieces(*measured([Piece(512, 2**29, 7e-6, 3e-12)], scatter=0.1, seed=seed))) > 1 for seed in range(200)]
    assert np.mean(cut) <= 0.1


# --- what the lines leave over


def bent(sizes: np.ndarray) -> np.ndarray:
    """Times whose logarithm bends smoothly, as NCCL's do where channels are added one by one."""
    return (8e-6 + sizes / 300e9) * np.exp(0.1 * np.sin(np.log2(sizes) / 2.5))


def test_a_size_between_others_shares_what_their_lines_miss():
    every = fit(runs({("all-to-all", 2, "nvlink"): (SIZES[::2], bent(SIZES[::2]))}), draws=0).curves[0]
    between = SIZES[1::2]
    assert every.residual_weight > 0.8
    lines, shared = (np.abs(time_s / bent(between) - 1) for time_s in (every.line_s(between), every.predict_s(between)))
    assert shared.mean() < 0.7 * lines.mean()
    assert every.predict_s(SIZES[::2]) == pytest.approx(
        every.line_s(SIZES[::2]) * np.exp(every.residual_weight * np.array(every.log_residuals))
    )


def test_scatter_is_not_shared():
    weights = [shared_weight(*measured([Piece(512, 2**29, 7e-6, 3e-12)], scatter=0.05, seed=seed)) for seed in range(100)]
    assert np.mean(weights) < 0.25


def test_types_have_curves_of_their_own_where_they_are_reduced():
    """All-reduce of int8 takes 1.3 times as long; a type that was not measured gets the pooled curve."""
    times = 10e-6 + SIZES * 4e-12
    rows = [
        Row(operation, 8, "nvlink", int(size), float(time_s) * factor, dtype=dtype)
        for operation in ("all-reduce", "all-to-all")
        for dtype, factor in (("half", 1.0), ("int8", 1.3))
        for size, time_s in zip(SIZES, times, strict=True)
    ]
    calibration = fit(Measurements.of(rows), draws=0)
    assert [(curve.operation, curve.dtype) for curve in calibration.curves] == [
        ("all-reduce", ""), ("all-reduce", "half"), ("all-reduce", "int8"), ("all-to-all", "")
    ]  # fmt: skip

    def predicted(dtype: str) -> np.ndarray:
        found = calibration.predict_s("all-reduce", 8, "nvlink", SIZES, dtype=dtype)
        assert found is not None
        return found

    assert predicted("half") == pytest.approx(times, rel=1e-4)
    assert predicted("int8") == pytest.approx(1.3 * times, rel=1e-4)
    assert predicted("double") == pytest.approx(1.3**0.5 * times, rel=1e-3)
    assert check(calibration, Measurements.of(rows)).by_operation()["all-reduce"].p90 < 1e-3


# --- several numbers of ranks


def test_the_scaling_predicts_a_number_of_ranks_that_was_not_measured():
    """t = 4 us + 1 us (n - 1) + S (0.5 ps + 3 ps (n - 1) / n), from 2 and 4 ranks to 8."""
    ranks = np.repeat([2.0, 4.0], len(SIZES))
    sizes = np.tile(SIZES, 2)
    times = 4e-6 + 1e-6 * (ranks - 1) + sizes * (0.5e-12 + 3e-12 * (ranks - 1) / ranks)
    pieces = fit_scaling("all-to-all", sizes, ranks, times)
    expected = 4e-6 + 7e-6 + SIZES * (0.5e-12 + 3e-12 * 7 / 8)
    assert evaluate(at_ranks("all-to-all", pieces, 8), SIZES) == pytest.approx(expected, rel=1e-3)


def test_a_step_takes_the_same_latency_in_every_regime():
    """A protocol that four ranks take up from 2 MiB on and two from 4 MiB on looks like 8 us more in between; it is no step.

    Where the latency of a step were that regime's own, eight ranks would be 4 x 4 us too slow there.
    """
    ranks = np.repeat([2.0, 4.0], len(SIZES))
    sizes = np.tile(SIZES, 2)
    late = (ranks == 4) & (sizes >= 2 * MIB) & (sizes < 16 * MIB)
    times = 6e-6 + 0.1e-6 * (ranks - 1) + sizes * 3e-12 * (ranks - 1) / ranks + np.where(late, 8e-6, 0.0)
    pieces = fit_scaling("all-to-all", sizes, ranks, times)
    assert len({piece.latency_per_step_s for piece in pieces}) == 1
    assert pieces[0].latency_per_step_s == pytest.approx(0.1e-6, rel=1e-3)
    small = SIZES[SIZES <= MIB // 4]
    assert evaluate(at_ranks("all-to-all", pieces, 8), small) == pytest.approx(6.7e-6 + small * 3e-12 * 7 / 8, rel=1e-3)


def test_one_rank_alone_says_nothing_about_links():
    times = {("all-to-all", ranks, "nvlink"): measured([Piece(512, 2**29, 5e-6 * ranks, 3e-12)]) for ranks in (1, 2)}
    assert fit(runs(times), draws=0).scalings == ()


@pytest.mark.parametrize(
    ("operation", "ranks", "size_bytes", "time_s", "busbw_gbps"),
    [
        ("all-reduce", 8, 17179869184, 61974e-6, 485.119),
        ("reduce-scatter", 8, 8 * 2147483648, 41057e-6, 366.134),
    ],
)
def test_wire_bytes_are_those_of_published_bus_bandwidths(operation, ranks, size_bytes, time_s, busbw_gbps):
    """The examples in NCCL Inspector's documentation, whose size counts one rank's part for reduce-scatter."""
    assert size_bytes * wire_factor(operation, ranks) / time_s / 1e9 == pytest.approx(busbw_gbps, rel=1e-4)


# --- checking


def test_errors_are_the_mean_median_and_p90_of_relative_differences():
    rows = [Row("all-to-all", 2, "nvlink", 10**k, 1.0) for k in range(1, 12)]
    predicted = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.3, 0.7, 1.4, 0.6, 1.5, 0.5])
    total = Check(Measurements.of(rows), predicted, "by hand").total()
    assert (total.points, total.median) == (11, pytest.approx(0.3))
    assert total.mape == pytest.approx(3.0 / 11)
    assert total.p90 == pytest.approx(0.5)


def test_a_number_of_ranks_is_predicted_from_the_others_only():
    truth = {
        ("all-gather", ranks, "nvlink"): (SIZES, 3e-6 + 1e-6 * (ranks - 1) + SIZES * 3e-12 * (ranks - 1) / ranks)
        for ranks in (2, 4)
    }
    spoilt = truth | {("all-gather", 8, "nvlink"): (SIZES, np.full(len(SIZES), 1.0) + SIZES * 1e-12)}
    right = leave_ranks_out(runs(spoilt), 8)
    assert right.predicted_s == pytest.approx(3e-6 + 7e-6 + SIZES * 3e-12 * 7 / 8, rel=1e-3)
    assert right.total().median > 0.5


def test_checking_the_fitted_points_themselves_is_said():
    points = runs({("all-to-all", 2, "nvlink"): measured(scatter=0.02)})
    calibration = fit(points, draws=0)
    assert any("21 of 21 points are among those that were fitted" in note for note in check(calibration, points).notes)
    with pytest.raises(InputError, match="nothing like it was fitted"):
        check(calibration, runs({("broadcast", 2, "nvlink"): measured()}))


# --- NVIDIA's table of H200


@pytest.fixture(scope="module")
def table(shared_data) -> Measurements:
    return read_measured(shared_data / TABLE)


def test_sizes_of_the_table_are_elements_of_the_type(table):
    """Equal bytes of half and int8 take equal times, and no bus bandwidth is above NVLink's 450 GB/s.

    All-reduce is left out: NVLink's switches can reduce, and then fewer bytes cross the links than a ring would send.
    """
    assert len(table) == 504
    for operation in ("all-to-all", "all-gather"):
        rows = (table.operation == operation) & (table.size_bytes > 16 * MIB)
        half, int8 = (rows & (table.dtype == name) for name in ("half", "int8"))
        order = [np.lexsort((table.ranks[mask], table.size_bytes[mask])) for mask in (half, int8)]
        ratio = table.time_s[half][order[0]] / table.time_s[int8][order[1]]
        assert np.median(np.abs(np.log(ratio))) < 0.02
    factor = np.array([wire_factor(str(name), int(ranks)) for name, ranks in zip(table.operation, table.ranks, strict=True)])
    busbw = table.size_bytes * factor / table.time_s
    moved = table.operation != "all-reduce"
    assert busbw[moved].max() < 450e9
    assert busbw[moved & (table.size_bytes == table.size_bytes.max())].min() > 0.5 * 450e9


def odd_sizes_out(table: Measurements, first: int) -> Check:
    """Fit every second size of the table from the first or the second on, and predict the others."""
    sizes = np.unique(table.size_bytes)
    fitted = np.isin(table.size_bytes, sizes[first::2])
    return check(fit(table.where(fitted), draws=0), table.where(~fitted))


@pytest.mark.parametrize("first", [0, 1])
def test_every_second_size_of_the_table_is_predicted(table, first):
    found = odd_sizes_out(table, first)
    large = found.measurements.size_bytes >= 64 * KIB
    assert set(found.by_operation()) == {"all-to-all", "all-gather", "reduce-scatter", "all-reduce"}
    assert set(found.by_ranks()) == {2, 4, 8}
    assert found.total(large).median <= 0.06
    assert found.total(~large).median <= 0.15
    assert found.total().p90 <= 0.15


@pytest.mark.parametrize("first", [0, 1])
def test_every_operation_and_number_of_ranks_is_predicted(table, first):
    """Cell by cell. Short all-gathers of eight alternate from size to size, so that no curve through half of them predicts
    the rest: those of 2^10, 2^12 ... bytes took 10 to 12 us, those of 2^9, 2^11 ... 12 to 13 us."""
    found = odd_sizes_out(table, first)
    sizes = found.measurements.size_bytes
    for operation, ranks in set(zip(found.measurements.operation, found.measurements.ranks)):
        cell = (found.measurements.operation == operation) & (found.measurements.ranks == ranks)
        if (operation, ranks) == ("all-gather", 8):
            assert found.total(cell & (sizes >= 64 * KIB)).median <= 0.065
            assert found.total(cell & (sizes < 64 * KIB)).median <= 0.20
            continue
        assert found.total(cell & (sizes >= 64 * KIB)).median <= 0.06
        assert found.total(cell & (sizes < 64 * KIB)).median <= 0.15


def test_held_out_is_the_same_check(table):
    assert held_out(table).total().median == pytest.approx(odd_sizes_out(table, 0).total().median)


def test_eight_gpus_are_predicted_from_two_and_four(table):
    found = leave_ranks_out(table, 8)
    above = (found.measurements.operation == "all-to-all") & (found.measurements.size_bytes > MIB)
    assert above.sum() == 18
    assert np.abs(found.error[above]).max() <= 0.15


def test_all_operations_among_eight_are_predicted_from_two_and_four(table):
    """All operations from 64 KiB up: median at most 6 %, P90 at most 15 %."""
    found = leave_ranks_out(table, 8)
    above = found.total(found.measurements.size_bytes >= 64 * KIB)
    assert above.points == 112
    assert above.median <= 0.06
    assert above.p90 <= 0.15


def test_the_table_gives_nvlink_and_leaves_the_nics_to_the_model(table):
    applied = apply_calibration(fit(table, draws=0), nic_line_rate_gbps=400)
    largest = (table.operation == "all-to-all") & (table.ranks == 8) & (table.size_bytes == table.size_bytes.max())
    measured_gbps = 8e-9 * (7 / 8) * float(np.median(table.size_bytes[largest] / table.time_s[largest]))
    assert applied.nvlink_gbps == pytest.approx(measured_gbps, rel=0.05)
    assert applied.nvlink_latency_s == pytest.approx(6.4e-6, rel=0.05)
    assert applied.nic_efficiency is None
    assert applied.nic_latency_s is None
    assert any("NIC efficiency: not measured" in note for note in applied.notes)


# --- applying


def across(ranks: int = 16, path: str = "across", **metadata) -> Calibration:
    """All-to-all at 45 GB/s on the wire after 12 us."""
    times = 12e-6 + SIZES * (ranks - 1) / ranks / 45e9
    return fit(runs({("all-to-all", ranks, path): (SIZES, times)}, **metadata), draws=0)


def test_efficiency_is_the_bus_bandwidth_over_the_line_rate():
    applied = apply_calibration(across(), nic_line_rate_gbps=400)
    assert applied.nic_efficiency == pytest.approx(0.9, rel=1e-4)
    assert applied.nic_latency_s == pytest.approx(12e-6, rel=1e-3)
    assert (applied.nvlink_gbps, applied.nvlink_latency_s) == (None, None)


def test_what_is_applied_gives_back_the_times_of_the_curve_its_rate_is_from():
    """Between 64 KiB and 8 MiB the second regime is slower than the first latency and the last rate say."""
    points = runs({("all-to-all", 2, "nvlink"): measured()})
    applied = apply_calibration(fit(points, draws=0))
    (error,) = applied.applied_errors
    sizes, times = measured()
    assert (error.path, error.operation, error.points) == ("nvlink", "all-to-all", len(sizes))
    assert error.p90 < 0.01
    by_one_latency = np.abs((TRUTH[0].latency_s + TRUTH[-1].s_per_byte * sizes) / times - 1)
    assert np.quantile(by_one_latency, 0.9) > 0.3
    # Of two ranks each sends half its buffer in one message.
    message = sizes / 2
    np.testing.assert_allclose(applied.nvlink_start.of(message) + message * 8e-9 / applied.nvlink_gbps, times, rtol=0.01)
    assert any(f"median {error.median:.1%}" in note for note in applied.notes)


def test_a_latency_alone_holds_for_all_sizes():
    start = apply_calibration(fit(runs({("send-receive", 2, "across"): measured()}), draws=0)).nic_start
    assert start.of(np.array([1.0, 1e9])) == pytest.approx([TRUTH[0].latency_s] * 2, rel=0.02)


def test_the_line_rate_may_come_with_the_measurements():
    assert apply_calibration(across(nic_line_rate_gbps=400.0)).nic_efficiency == pytest.approx(0.9, rel=1e-4)
    assert apply_calibration(across()).nic_efficiency is None


def test_a_line_rate_below_what_was_measured_is_refused():
    with pytest.raises(InputError, match=r"at least the 360 Gb/s that were measured"):
        apply_calibration(across(), nic_line_rate_gbps=200)


def test_sockets_do_not_stand_for_nics():
    applied = apply_calibration(across(path="socket"), nic_line_rate_gbps=400)
    assert applied.nic_efficiency is None


def test_use_outside_the_measured_range_is_named():
    calibration = across()
    applied = apply_calibration(calibration, nic_line_rate_gbps=400)
    assert applied.outside("across", operation="all-to-all", size_bytes=1e6, ranks=16) == ()
    said = applied.outside("across", operation="all-to-all", size_bytes=1e12, ranks=1024)
    assert len(said) == 2
    assert "1024 ranks" in said[0]
    assert applied.outside("nvlink")
    assert calibration.outside("all-to-all", 1e6, 16, "across") == ()
    assert len(calibration.outside("all-to-all", 1.0, 8, "across")) == 2
    assert calibration.outside("all-reduce", 1e6, 16, "across") == ("all-reduce over across was not measured",)


def test_metadata_of_unlike_hardware_is_not_joined():
    from zcube.calibrate.measurements import join

    rows = [Row("all-to-all", 2, "nvlink", 1024, 1e-5)]
    one, other = (Measurements.of(rows, Metadata(hardware=name)) for name in ("2x NVIDIA H200", "2x NVIDIA B200"))
    with pytest.raises(InputError, match="one kind of hardware"):
        join([one, other])
    assert len(join([one, Measurements.of(rows, Metadata(hardware="8x NVIDIA H200"))])) == 2
