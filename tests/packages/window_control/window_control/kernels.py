import numpy as np

from zcube.network.kernels import inner, kernel
from zcube.network.packet.controls.declared import Handlers

WINDOW = np.dtype([("window", "f8"), ("whole_until_ps", "i8")])


@kernel
def open_window(sender, window, aimd, now_ps):
    _set(sender, window, float(aimd.first_window_bytes))


@kernel
def steer(sender, window, aimd, now_ps, size_bytes, marked_bytes, round_trip_ps):
    if marked_bytes == 0:
        _set(sender, window, window.window + aimd.increase_bytes * size_bytes / window.window)
    elif now_ps >= window.whole_until_ps:
        _set(sender, window, max(window.window * aimd.decrease, float(aimd.least_window_bytes)))
        window.whole_until_ps = now_ps + round_trip_ps
        sender.cuts += 1


@kernel
def begin_again(sender, window, aimd, now_ps, timed_out):
    if timed_out == 1:
        _set(sender, window, float(aimd.least_window_bytes))
        sender.cuts += 1


@inner
def _set(sender, window, size_bytes):
    window.window = size_bytes
    sender.window_bytes = int(size_bytes)


AIMD = Handlers(WINDOW, started=open_window, acknowledged=steer, lost=begin_again)


@kernel
def begin(sender, nothing, ramp, now_ps):
    sender.rate, sender.paced = ramp.first_rate * sender.line, 1
    sender.alarm_ps = now_ps + ramp.period_ps


@kernel
def double(sender, nothing, ramp, now_ps):
    sender.rate = min(2 * sender.rate, sender.line)
    if sender.rate < sender.line:
        sender.alarm_ps = now_ps + ramp.period_ps
    else:
        sender.paced = sender.capped


@kernel
def fall(sender, nothing, ramp, now_ps, timed_out):
    begin(sender, nothing, ramp, now_ps)
    sender.cuts += 1


RAMP = Handlers(started=begin, expired=double, lost=fall)


@kernel
def rest(sender, nothing, resting, now_ps):
    sender.rest_ps = resting.rest_ps
    sender.cuts += 1


@kernel
def rest_where_marked(sender, nothing, resting, now_ps, size_bytes, marked_bytes, round_trip_ps):
    if marked_bytes > 0:
        rest(sender, nothing, resting, now_ps)


RESTING = Handlers(notified=rest, acknowledged=rest_where_marked)
