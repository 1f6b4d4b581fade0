"""Three congestion controls outside zcube: a window steered by marks, a rate that doubles by the clock, and paths that rest."""

from typing import ClassVar

from pydantic import Field

from zcube.network.packet.controls.declared import ControlSettings, Handlers


class AimdWindow(ControlSettings):
    """A window that grows with unmarked acknowledgements and is cut at most once a round trip on marked ones."""

    marks: ClassVar[bool] = True
    acknowledged: ClassVar[bool] = True

    first_window_bytes: int = Field(default=1 << 17, gt=0, le=1 << 40)
    least_window_bytes: int = Field(default=1 << 13, gt=0, le=1 << 40)
    increase_bytes: int = Field(default=4178, ge=0, le=1 << 30, description="per window acknowledged")
    decrease: float = Field(default=0.5, gt=0, lt=1, description="part of the window that is left")

    def handlers(self) -> Handlers:
        from window_control import kernels

        return kernels.AIMD


class Ramp(ControlSettings):
    """A rate that begins at a part of the line and doubles each period; back to the beginning when packets are lost."""

    first_rate: float = Field(default=1 / 64, gt=0, le=1, description="of the line")
    period_s: float = Field(default=10e-6, gt=0, le=1)

    def handlers(self) -> Handlers:
        from window_control import kernels

        return kernels.RAMP


class Resting(ControlSettings):
    """Sends as fast as the line; a path on which packets were marked is not used for a while."""

    marks: ClassVar[bool] = True
    acknowledged: ClassVar[bool] = True
    rests: ClassVar[bool] = True

    rest_s: float = Field(default=10e-6, gt=0, le=1)

    @property
    def notification_gap_s(self) -> float:
        return 0.0

    def handlers(self) -> Handlers:
        from window_control import kernels

        return kernels.RESTING
