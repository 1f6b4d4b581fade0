"""Congestion controls by name: built in or of another package, from the command line, and what the registry refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from zcube.errors import InputError
from zcube.network.packet import controls as registry
from zcube.network.packet import engine
from zcube.network.packet.settings import PacketSettings
from zcube.scenario import Scenario, load_scenario

INCAST = "src,dst,bytes,start_s\n" + "\n".join(f"{8 * sender},0,2000000,0" for sender in range(1, 13)) + "\n"


@pytest.fixture
def incast(tmp_path):
    path = tmp_path / "incast.csv"
    path.write_text(INCAST)
    return path


def options(flows, control, *settings):
    packets = [part for setting in settings for part in ("--packet-set", setting)]
    return ["replay", flows, "--fabric", "zcube-n16", "--fidelity", "packet", "--congestion-control", control, *packets]


def test_a_control_of_another_package_runs_from_the_command_line(run, incast, installed):
    environment = installed("window_control")
    wanted = options(incast, "aimd", "aimd.first_window_bytes=30000", "aimd.decrease=0.7")
    command = [sys.executable, "-m", "zcube", *map(str, wanted), "--json"]
    apart = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert apart.returncode == 0, apart.stderr
    packet = json.loads(apart.stdout)["packet"]
    assert packet["settings"]["congestion_control"] == "aimd"
    assert packet["settings"]["aimd"]["decrease"] == 0.7
    assert packet["counts"]["drops"] == packet["counts"]["notifications"] == 0
    status, text, err = run(*wanted)
    assert status == 0, err
    assert "AIMD" in text
    deepest = {
        control: max(port["peak_bytes"] for port in json.loads(run(*options(incast, control), "--json")[1])["packet"]["ports"])
        for control in ("none", "aimd")
    }
    assert deepest["aimd"] < deepest["none"] / 2


def test_the_engine_is_not_compiled_anew_for_another_control(run, incast, installed):
    installed("window_control")
    assert run(*options(incast, "none"))[0] == 0
    assert run(*options(incast, "hpcc"))[0] == 0

    def compiled():
        told = [kernel.stats for kernel in (engine.advance, engine.advance_plain)]
        return [sum(counts.values()) for stats in told for counts in (stats.cache_misses, stats.cache_hits)]

    before = compiled()
    for control in ("dcqcn", "dcqcn_nvidia", "aimd", "ramp"):
        assert run(*options(incast, control))[0] == 0
    assert compiled() == before


def test_nvidias_parameters_are_there_by_name(run, incast):
    status, text, err = run(*options(incast, "dcqcn_nvidia", "dcqcn_nvidia.rate_timer_s=1e-4"), "--json")
    assert status == 0, err
    settings = json.loads(text)["packet"]["settings"]
    given = settings["dcqcn_nvidia"]
    assert (given["clamp_target"], given["notification_interval_s"], given["rate_timer_s"]) == (False, 4e-6, 1e-4)
    assert settings["dcqcn"]["clamp_target"] is True


def test_all_faults_of_a_control_are_named_at_once(run, incast, installed):
    installed("window_control")
    status, _, err = run(*options(incast, "aimd", "aimd.decrease=2", "aimd.increase=1", "pfc_alpha=-1", "ramps.period_s=1"))
    assert status == 2
    for key in ("aimd.decrease", "aimd.increase", "pfc_alpha", "ramps"):
        assert key in err


def test_an_unknown_control_is_refused_with_the_names_there_are(run, incast):
    status, _, err = run(*options(incast, "aimd"))
    assert status == 2
    assert "--congestion-control: found 'aimd'" in err
    assert ", ".join(sorted(registry.BUILT_IN)) in err


def test_a_scenario_keeps_the_tables_of_its_controls(installed):
    installed("window_control")
    scenario = load_scenario("glm51-pd-256")
    declared = {"network": {"packet": {"congestion_control": "ramp", "aimd": {"decrease": 0.6}}}}
    again = Scenario.model_validate(scenario.model_dump() | declared)
    written = again.model_dump(mode="json")["network"]["packet"]
    assert written["aimd"]["decrease"] == 0.6
    assert written["ramp"]["period_s"] == 1e-5
    assert Scenario.model_validate(again.model_dump()) == again


def test_settings_written_before_controls_were_registered_stay_valid():
    settings = PacketSettings.model_validate({"congestion_control": "dcqcn", "dcqcn": {"gain": 0.0625, "rate_timer_s": 3e-4}})
    assert settings.control is settings.dcqcn
    assert settings.control.gain == 0.0625


@pytest.mark.parametrize(
    ("name", "offered"),
    [("dcqcn", registry.NoControl), ("my-control", registry.NoControl), ("mine", PacketSettings), ("mine", "text")],
)
def test_the_registry_refuses_what_is_no_control(monkeypatch, name, offered):
    point = SimpleNamespace(name=name, value="package:thing", load=lambda: offered)
    monkeypatch.setattr("zcube.registry.entry_points", lambda group: [point])
    registry.controls.cache_clear()
    with pytest.raises(InputError, match=f"entry point {name} of zcube.congestion_controls"):
        registry.controls()
    registry.controls.cache_clear()
