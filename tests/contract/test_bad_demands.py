"""Bad demands: exit 2, every fault told at once, nothing else."""

from __future__ import annotations

import pytest

from zcube.cli import main

#: Arguments beside ``plan --gpus 64``, and what must be named, all of it at once.
BAD = {
    "no GPUs": ("--gpus 0", ["--gpus: found '0'"]),
    "fewer than none": ("--gpus -8", ["--gpus: found '-8'"]),
    "no number": ("--gpus nan", ["--gpus: found 'nan'"]),
    "words": ("--gpus many", ["--gpus: found 'many'"]),
    "half a GPU": ("--gpus 64.5", ["--gpus: found '64.5'"]),
    "more than a million": ("--gpus 99999999", ["--gpus: found '99999999'"]),
    "no whole servers": ("--gpus 60", ["--gpus: found 60; expected whole servers of 8"]),
    "one server": ("--gpus 8", ["--gpus: found 8; expected at least two servers"]),
    "no GPUs a server": ("--gpus-per-server 0", ["--gpus-per-server: found '0'"]),
    "too many a server": ("--gpus-per-server 4096", ["--gpus-per-server: found '4096'"]),
    "a slow NIC": ("--nic 0", ["--nic: found 0; expected a rate above 0"]),
    "a NIC backwards": ("--nic -400", ["--nic: found -400"]),
    "a NIC of no rate": ("--nic nan", ["--nic: found 'nan'"]),
    "an endless NIC": ("--nic inf", ["--nic: found 'inf'"]),
    "an unknown NIC": ("--nic cx99", ["--nic: found 'cx99'", "400G"]),
    "a NIC beyond the ports": ("--nic 1600 --switch 25.6T", ["--nic: found 1600; expected at most 800", "25.6T"]),
    "an unknown switch": ("--switch 13T", ["--switch: found '13T'", "25.6T"]),
    "two unknown switches": ("--switch 13T,14T", ["'13T'", "'14T'"]),
    "a switch twice": ("--switch 25.6T,25.6T", ["--switch: found 25.6T more than once"]),
    "no switch": ("--switch ,", ["--switch: found ''"]),
    "undersubscribed": ("--max-oversubscription 0.5", ["--max-oversubscription: found '0.5'"]),
    "oversubscribed by NaN": ("--max-oversubscription nan", ["--max-oversubscription: found"]),
    "too oversubscribed": ("--max-oversubscription 65", ["--max-oversubscription: found '65'"]),
    "no budget": ("--budget-usd 0", ["--budget-usd: found '0'"]),
    "a debt": ("--budget-usd -1", ["--budget-usd: found '-1'"]),
    "a budget of NaN": ("--budget-usd nan", ["--budget-usd: found"]),
    "no power": ("--max-power-w 0 --switch 51.2T", ["--max-power-w: found '0'"]),
    "a bound on unknown power": ("--max-power-w 1e5 --switch 25.6T", ["--max-power-w: found switch 25.6T"]),
    "unknown power decides": ("--objectives power_w --switch 25.6T", ["--objectives: found switch 25.6T"]),
    "growth downwards": ("--growth 128,64", ["--growth: found 128, 64; expected rising"]),
    "growth to nothing": ("--growth 0,64", ["--growth: found 0; expected whole servers"]),
    "growth of half a server": ("--growth 100", ["--growth: found 100; expected whole servers"]),
    "growth below the cluster": ("--growth 32", ["--growth: found 32; expected a last stage of at least gpus = 64"]),
    "growth in words": ("--growth soon", ["--growth.0: found 'soon'"]),
    "no such room": ("--rooms nowhere.toml", ["nowhere.toml: found no such file"]),
    "no such scenario": ("--scenario nothing", ["nothing: found no such file"]),
    "a scenario of another size": ("--scenario glm51-pd-1024", ["--scenario: found glm51-pd-1024, of 1024 GPUs"]),
    "no such catalogue": ("--catalogue nowhere.toml", ["catalogue nowhere.toml: found no such file"]),
    "no such price book": ("--price-book nowhere", ["price book nowhere: found no such file"]),
    "no price of the switch": (
        "--price-book rail-only-2023 --switch SN5600",
        ["no price of switch SN5600", "transceivers of 800G"],
    ),
    "no price for the budget": (
        "--budget-usd 1e6 --objectives switches --price-book rail-only-2023 --switch SN5600",
        ["no price of switch SN5600"],
    ),
    "a box that the book has not": ("--price-book deepseek-isca25-fit --switch 51.2T", ["no price of switch 51.2T, 128"]),
    "no such rule": ("--optics wireless", ["--optics: found 'wireless'"]),
    "no such family": ("--families hypercube", ["--families: found 'hypercube'", "zcube"]),
    "a family twice": ("--families zcube,zcube", ["--families: found zcube more than once"]),
    "no such objective": ("--objectives beauty", ["--objectives: found 'beauty'", "capital_usd"]),
    "an objective twice": ("--objectives switches,switches", ["--objectives: found switches more than once"]),
    "no objective": ("--objectives ,", ["--objectives: found ''"]),
    "a seed below 0": ("--seed -1", ["--seed: found '-1'"]),
    "all at once": (
        "--gpus 60 --nic cx99 --switch 13T --growth 128,64 --price-book nowhere --families hypercube --rooms nowhere.toml",
        ["--gpus: found 60", "'cx99'", "'13T'", "rising", "price book nowhere", "'hypercube'", "nowhere.toml"],
    ),
    "wrong by itself and by others": (
        "--gpus -8 --max-oversubscription 0 --switch 13T --price-book nowhere --objectives beauty",
        ["--gpus: found '-8'", "--max-oversubscription: found '0'", "'13T'", "price book nowhere", "'beauty'"],
    ),
}  # fmt: skip

FILES = {
    "an unknown key": ("gpus = 64\nmagic = 1\n", ["magic: found an unknown key"]),
    "no TOML": ("gpus = = 64\n", ["expected TOML 1.0"]),
    "no GPUs named": ("nic = 400\n", ["gpus: found nothing"]),
    "a list for a number": ("gpus = [64]\n", ["gpus: found [64]"]),
    "truth for a number": ("gpus = 64\nnic = true\n", ["nic: found 'True'"]),
    "a rate without repair": ("gpus = 64\nswitch_failures_per_year = 0.1\n", ["repair_hours: found nothing"]),
    "a probability of 1": ("gpus = 64\nswitch_down = 1.0\n", ["switch_down: found 1.0"]),
    "two probabilities": (
        "gpus = 64\nswitch_down = 0.1\nswitch_failures_per_year = 1\nrepair_hours = 24\n",
        ["switch_down: found 0.1 beside a rate of failures"],
    ),
    "partners beyond the servers": ("gpus = 64\nfailure_partners = 8\n", ["failure_partners: found 8; expected fewer"]),
    "NICs without a price": (
        "gpus = 64\ncovers = 'with-nics'\nprice_book = 'rail-only-2023'\nswitch = ['25.6T']\n",
        ["no price of NICs of 400G"],
    ),
    "links priced whole, with NICs": (
        "gpus = 64\ncovers = 'with-nics'\nprice_book = 'deepseek-isca25-fit'\nswitch = ['25.6T']\n",
        ["covers: found with-nics with a book that prices links"],
    ),
}  # fmt: skip


def faults(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (2, ""), told.err
    return told.err


@pytest.mark.parametrize("case", BAD)
def test_a_bad_demand_is_refused_with_every_fault(case, capsys):
    options, expected = BAD[case]
    given = options.split()
    told = faults(["plan", *(() if "--gpus" in given else ("--gpus", "64")), *given], capsys)
    for text in expected:
        assert text in told


@pytest.mark.parametrize("case", FILES)
def test_a_bad_demand_file_is_refused_with_every_fault(case, tmp_path, capsys):
    text, expected = FILES[case]
    (tmp_path / "demand.toml").write_text(text)
    told = faults(["plan", str(tmp_path / "demand.toml")], capsys)
    for part in expected:
        assert part in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--gpus 64 --to-gpus 128 --failures", ["--to-gpus: found 128; expected --from", "--failures: found True"]),
        ("--gpus 64 --wire funnel --nodes 4+4", ["--wire: found funnel", "--nodes: found 4+4"]),
        ("--from zcube-n16 --gpus 64 --search", ["--gpus: found 64; expected no --from", "--search: found True"]),
    ],
)
def test_options_of_the_other_kind_of_plan_are_refused(options, told, capsys):
    err = faults(["plan", *options.split()], capsys)
    assert all(text in err for text in told)


def test_there_are_fifty_of_them():
    assert len(BAD) + len(FILES) >= 50
