"""What differs between two boards, table by table: new rows, rows that are gone, ranks and scores that changed."""

from __future__ import annotations

from dataclasses import dataclass

from mrb.leaderboard.board_summary import BoardSummary, RowSummary, TableSummary


@dataclass(frozen=True)
class RowChange:
    """A row in both boards that differs. `rescored` says whether its results did, not its place alone."""

    old: RowSummary
    new: RowSummary

    @property
    def rescored(self) -> bool:
        """Whether any of its means, or the tasks that it has, changed."""
        return (self.old.means, self.old.tasks) != (self.new.means, self.new.tasks)


@dataclass(frozen=True)
class TableChanges:
    """The changes of the table `id`. `versions` are the suite's two if they differ: scores then do not compare."""

    id: str
    title: str
    new: tuple[RowSummary, ...]
    gone: tuple[RowSummary, ...]
    changed: tuple[RowChange, ...]
    versions: tuple[str | None, str | None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.new or self.gone or self.changed or self.versions)


def find_changes(old: BoardSummary, new: BoardSummary) -> list[TableChanges]:
    """Return the changes of every table that differs, those of the newer board first. Tables match by their id."""
    before, after = ({table.id: table for table in board.tables} for board in (old, new))
    found = [_compare_tables(key, before.get(key), after.get(key)) for key in dict.fromkeys((*after, *before))]
    return [changes for changes in found if not changes.is_empty]


def _compare_tables(key: str, old: TableSummary | None, new: TableSummary | None) -> TableChanges:
    before, after = ({row.name: row for row in table.rows} if table else {} for table in (old, new))
    named = new or old
    versions = (old.suite_version, new.suite_version) if old and new else (None, None)
    return TableChanges(
        key,
        named.title if named else "",
        tuple(row for name, row in after.items() if name not in before),
        tuple(row for name, row in before.items() if name not in after),
        tuple(
            RowChange(before[name], row) for name, row in after.items() if name in before and _differ(before[name], row)
        ),
        versions if versions[0] != versions[1] else None,
    )


def _differ(old: RowSummary, new: RowSummary) -> bool:
    """Return whether a row differs in more than what it is called."""
    return old.model_copy(update={"title": new.title}) != new
