"""`mrb schema`: the JSON Schema of the files that MRB writes."""

from __future__ import annotations

import click


@click.command()
@click.argument(
    "name",
    type=click.Choice(["result", "run", "noise", "submission", "verified", "badge", "board", "data-index", "table"]),
)
def command(name: str) -> None:
    """Print the JSON Schema of result.json, run.json, noise.json, submission.json, the record of a verification, or of
    a file of the board.
    """
    import json

    from mrb._util.model import Model
    from mrb.leaderboard.badges import Badge
    from mrb.leaderboard.board_summary import BoardSummary
    from mrb.leaderboard.data_index import DataIndex, TableFile
    from mrb.results.noise import NoiseRecord
    from mrb.results.schema import Result, RunRecord
    from mrb.submission.schema import Submission
    from mrb.submission.verify import VerificationRecord

    models: dict[str, type[Model]] = {
        "result": Result,
        "run": RunRecord,
        "noise": NoiseRecord,
        "submission": Submission,
        "verified": VerificationRecord,
        "badge": Badge,
        "board": BoardSummary,
        "data-index": DataIndex,
        "table": TableFile,
    }
    click.echo(json.dumps(models[name].model_json_schema(), indent=2, sort_keys=True))
