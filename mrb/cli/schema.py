"""`mrb schema`: the JSON Schema of the files that MRB writes."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", type=click.Choice(["result", "run", "noise"]))
def command(name: str) -> None:
    """Print the JSON Schema of result.json, run.json or noise.json (docs/schema holds them)."""
    import json

    from mrb.noise import NoiseRecord
    from mrb.results import Result, RunRecord
    from mrb.task import Model

    models: dict[str, type[Model]] = {"result": Result, "run": RunRecord, "noise": NoiseRecord}
    click.echo(json.dumps(models[name].model_json_schema(), indent=2, sort_keys=True))
