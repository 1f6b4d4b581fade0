"""DCQCN's parameters: those of the paper, and those of NVIDIA's NICs."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zcube.network.packet.controls.declared import ControlSettings, Handlers


class Dcqcn(ControlSettings):
    """DCQCN, defaults of Zhu et al., SIGCOMM 2015; rates as parts of the line rate, which the paper gives for 40 Gb/s.

    The paper gives no R_HAI; it is ten times R_AI here, as in QCN (IEEE 802.1Qau: 5 and 50 Mb/s).
    """

    marks: ClassVar[bool] = True

    gain: float = Field(default=1 / 256, gt=0, le=1, description="g, weight of a notification in alpha")
    alpha_timer_s: float = Field(default=55e-6, gt=0, le=1, description="alpha decays once in each such time without one")
    rate_timer_s: float = Field(default=55e-6, gt=0, le=1, description="T")
    byte_counter_bytes: int = Field(default=10_000_000, gt=0, le=1 << 50, description="B")
    fast_recovery_steps: int = Field(default=5, ge=0, le=1000, description="F")
    additive_increase: float = Field(default=0.001, gt=0, le=1, description="R_AI: 40 Mb/s of 40 Gb/s")
    hyper_increase: float = Field(default=0.01, gt=0, le=1, description="R_HAI: ten times R_AI")
    least_rate: float = Field(default=0.00025, gt=0, le=1, description="100 Mb/s of 400 Gb/s")
    notification_interval_s: float = Field(default=50e-6, ge=0, le=1, description="N, per queue pair")
    clamp_target: bool = Field(
        default=True,
        description="each notification lowers the target rate to the present rate; "
        "false: only one that comes after the rate timer has raised the rate",
    )

    @property
    def notification_gap_s(self) -> float:
        """N."""
        return self.notification_interval_s

    def handlers(self) -> Handlers:
        """Return the reaction point's kernels."""
        from zcube.network.packet.controls import dcqcn_kernels

        return dcqcn_kernels.HANDLERS


class DcqcnNvidia(Dcqcn):
    """DCQCN with the parameters of NVIDIA's NICs: "DCQCN CC Parameters" of NVIDIA's DOCA documentation, 3.4.

    clamp_tgt_rate 0, rpg_time_reset 300 us, rpg_threshold 1, rate_reduce_monitor_period and min_time_between_cnps 4 us,
    dce_tcp_rtt 1 us, dce_tcp_g 1019 of 1024. The target rate is not clamped, so that a burst of notifications lowers the rate
    and leaves the target. The law of increase is that of the paper, with its byte counter, R_AI and R_HAI, as in the ns-3 model
    of ConWeave (SIGCOMM 2023), which has the same timers; the documented rpg_byte_reset of 32,767 bytes, rpg_ai_rate of 5 Mb/s
    and rpg_hai_rate of 50 Mb/s can be given. SimAI.conf has 900 us for T.
    """

    gain: float = Field(default=5 / 1024, gt=0, le=1, description="g, weight of a notification in alpha")
    alpha_timer_s: float = Field(default=1e-6, gt=0, le=1, description="alpha decays once in each such time without one")
    rate_timer_s: float = Field(default=300e-6, gt=0, le=1, description="T")
    fast_recovery_steps: int = Field(default=1, ge=0, le=1000, description="F")
    notification_interval_s: float = Field(default=4e-6, ge=0, le=1, description="N, per queue pair")
    clamp_target: bool = Field(default=False, description="as of `dcqcn`")
