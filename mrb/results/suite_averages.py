"""The averages of a suite and its sub-suites, as a submission holds them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mrb._util.model import Model
from mrb.data.task import TypeName
from mrb.data.task_fields import SuiteId
from mrb.results.schema import Measures


class SubSuiteAverages(Model):
    """A sub-suite's averages with intervals: over its tasks and over its types."""

    tasks: Measures
    types: Measures


class SuiteAverages(Model):
    """A suite's averages with intervals: over its tasks, over its types, over the tasks of each type, and those of its
    sub-suites.

    An average with a missing task is None, or absent from `of_types` and `sub_suites`: there are no averages of
    incomplete sets. `sub_suites` is not written if it is empty.
    """

    tasks: Measures | None
    types: Measures | None
    of_types: dict[TypeName, Measures]
    sub_suites: dict[SuiteId, SubSuiteAverages] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_no_sub_suites(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Submissions from before sub-suites existed keep their bytes and their hash.
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if (name, value) != ("sub_suites", {})}
