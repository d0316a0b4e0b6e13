"""`mrb plan` from the outside: what it prints, what it refuses, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mrb.cli.plan import command
from mrb.errors import MRBError

SMALL = ("--task", "scifact", "--task", "touche2020", "--task", "nights", "--task", "docvqa")
GOLDEN = """\
type  tasks  queries    pairs  pairs/s  GPU-hours  to fetch  unknown  prefix spares  new pictures
t2t       2      349   34,900       50        0.2         -        2              -             -
i2i       1    2,120  212,000       20        2.9    634 MB        -              -             -
all       3    2,469  246,900       22        3.1    634 MB        2              -             -

workers  nodes    time  efficiency  cost  most lost to  best way
1            1   3.2 h      98.5 %   9.6         start  one process
2            1   1.6 h      96.9 %   9.7         start  --workers 2
4            2  51 min      93.1 %  10.1         start  --executor ray --workers 4

way                           time    work  pictures  start  fetch  read  wait  finish        simulated
--executor ray --workers 4  51 min  47 min         -  2 min  2.5 s  73 s  34 s   0.5 s  50 min (-1.2 %)
--shard I/2 --workers 2     50 min  47 min         -  2 min  2.5 s  73 s  26 s   0.5 s  50 min (-1.6 %)
--shard I/4                 51 min  47 min         -  2 min  2.5 s  68 s  60 s   0.5 s  50 min (-0.9 %)
"""
SAID = """\
beyond 512 workers, twice as many are not 1.1 times as fast: start-up takes 47 % of 4 min there
no query is divided: one of nights takes 5.0 s, the longest; tasks with fewer queries than workers: 0
network: 634 MB and 2 tasks of unknown size a node, 1.3 GB of known size in all
disk of a node: 634 MB and 2 tasks of unknown size, and for the rows of the lists at most 634 MB of these \
again; of the command: journals of 1.1 MB
without a rate, and so not in this plan: docvqa; --rate TYPE=N names one
rates: given
taken for granted: 100 s until a worker is ready; queries' seconds spread by 0.5 of their mean; \
10,831 rows/s opened; 498,000 pairs/s measured; 6,734 rows/s searched; 2 Gbit/s a node; no bound for all nodes
"""


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def said(*arguments: str) -> str:
    done = ran(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_plan_of_three_tasks() -> None:
    asked = ("--rate", "t2t=50", "--rate", "i2i=20", "--workers", "4", "--gpus-per-node", "2", "--price", "3")
    text = said(*SMALL, *asked, "--start", "100", "--link", "2", "--simulate")
    assert text == f"{GOLDEN}\n{SAID}"


def test_json_has_what_the_tables_have() -> None:
    found = json.loads(said(*SMALL, "--rate", "50", "--workers", "4", "--price", "3", "--simulate", "--json"))
    assert found["schema_version"] == 1 and [task["task"] for task in found["tasks"]] == [*SMALL[1::2]]
    assert found["nodes"] == 4 and found["tasks_of_unknown_size"] == 3
    assert [point["workers"] for point in found["curve"]] == [1, 2, 4]
    for way in (*found["curve"], *found["ways"]):
        assert sum(way["spent"].values()) == pytest.approx(way["seconds"], abs=0.5)
        assert way["cost"] == pytest.approx(3 * way["workers"] * way["seconds"] / 3600, abs=0.01)
    assert all(way["simulated_seconds"] == pytest.approx(way["seconds"], rel=0.05) for way in found["ways"])


def test_a_run_here_gives_the_rates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mrb.cli.run import command as run_command

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(run_command, ["--model", "surface", "--task", "mini-faq-t2t", "--limit", "3"])
    assert done.exit_code == 0, done.output
    text = said("--rates-from", "runs/surface", "--task", "scifact", "--task", "docvqa")
    assert "rates: measured in runs/surface, a worker's share\n" in text
    assert "without a rate, and so not in this plan: docvqa; --rate TYPE=N names one\n" in text


def test_a_model_is_timed_here() -> None:
    text = said("--model", "constant", "--type", "t2t", "--suite", "mini")
    assert "rates: constant on this machine, probed on the embedded suite: within a factor of 1.25 to 2\n" in text


def test_the_default_is_the_whole_benchmark() -> None:
    text = said("--rate", "100")
    assert "\nall       40  253,975  25,397,500      100       70.5   65.2 GB       27 " in text
    assert "65.2 GB and 27 tasks of unknown size a node" in text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "name the rates in one way"),
        (("--rate", "1", "--assume", "gmr-3b"), "name the rates in one way"),
        (("--rate", "t2q=1"), "'t2q' is no task type"),
        (("--rate", "1", "--set", "a=1"), "--set is for --model"),
        (("--rate", "1", "--teraflops", "40"), "--teraflops and --cache-mb are for --assume"),
        (("--rate", "1", "--cache-mb", "40"), "--teraflops and --cache-mb are for --assume"),
        (("--rate", "1", "--uplink", "1"), "--uplink needs --link"),
        (("--rate", "1", "--workers", "12", "--gpus-per-node", "8"), "--workers 12 do not fill nodes of 8"),
        (("--rate", "t2t=1", "--type", "i2i"), "no rate for any of these tasks: they are of type i2i"),
        (("--rate", "1", "--task", "scifacts"), "unknown task 'scifacts'"),
        (("--assume", "gmr-9b"), "--assume gmr-9b: no arithmetic of it is known"),
        (("--rates-from", "nowhere"), "run.json"),
        (("--model", "no_such_model"), "unknown reranker 'no_such_model'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(arguments: tuple[str, ...], error: str) -> None:
    done = ran(*arguments)
    assert isinstance(done.exception, MRBError) and error in str(done.exception)


def test_no_model_and_no_torch_is_imported() -> None:
    script = (
        "import sys; from mrb.cli.main import cli\n"
        "cli(['plan', '--assume', 'gmr-3b', '--task', 'scifact', '--simulate'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'transformers', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
