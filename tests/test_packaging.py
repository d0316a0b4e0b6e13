"""What setup.cfg says of packages, data files and versions, against the tree."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _config() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


def _lines(section: str, option: str) -> list[str]:
    return [line for line in _config()[section][option].splitlines() if line]


def test_every_folder_of_modules_is_a_package() -> None:
    for room in ("mrb", "baselines", "leaderboard", "tasks"):
        for module in (ROOT / room).rglob("*.py"):
            if "build" not in module.parts:  # the script that made the embedded data is not installed
                assert (module.parent / "__init__.py").is_file(), module.parent


def test_the_folders_at_the_top_are_part_of_the_package() -> None:
    for room in ("tasks", "baselines", "leaderboard"):
        assert (ROOT / "mrb" / room).resolve() == ROOT / room


def test_every_data_file_is_covered_by_package_data() -> None:
    rooms = {"mrb.tasks": ROOT / "tasks", "mrb.leaderboard": ROOT / "leaderboard"}
    for package, folder in rooms.items():
        patterns = [p.strip() for p in _config()["options.package_data"][package].split(",")]
        covered = {path for pattern in patterns for path in folder.glob(pattern)}
        wanted = {
            path
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != ".gitignore"
        }
        outside = {path for path in wanted if {"build", "results"} & set(path.relative_to(folder).parts)}
        assert wanted - outside - covered == set(), package


def test_every_pinned_requirement_is_inside_its_stated_range() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[canonicalize_name(name)] = version
    extras = [line for extra in _config()["options.extras_require"] for line in _lines("options.extras_require", extra)]
    for line in [*_lines("options", "install_requires"), *extras]:
        requirement = Requirement(line)
        if requirement.name == "mrb":
            continue
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pins[name]), line


def test_workflows_and_forms_are_yaml() -> None:
    import yaml

    paths = [*(ROOT / ".github").rglob("*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(paths) >= 10
    for path in paths:
        assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict), path


def test_every_action_of_a_workflow_is_pinned_to_a_commit() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), f"{path.name}: {action}"


def test_the_version_is_the_same_wherever_it_stands() -> None:
    import mrb

    assert f"\nversion: {mrb.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {mrb.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
