"""MRB: a benchmark for multimodal rerankers.

The names below are the Python front door; `import mrb` loads none of what is behind them until it is used.

    import mrb

    run = mrb.evaluate("bm25", tasks=["mini-faq-t2t"])
    print(run.table())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrb.api import (
        check,
        compare,
        compare_first_stages,
        evaluate,
        list_models,
        list_tasks,
        load_run,
        load_task,
        register_measure,
    )
    from mrb.data.items import Item
    from mrb.rerankers.reranker import Request
    from mrb.results.run import Run

__version__ = "0.2.0"

__all__ = [
    "Item",
    "Request",
    "Run",
    "__version__",
    "check",
    "compare",
    "compare_first_stages",
    "evaluate",
    "list_models",
    "list_tasks",
    "load_run",
    "load_task",
    "register_measure",
]

_ELSEWHERE = {"Item": "mrb.data.items", "Request": "mrb.rerankers.reranker", "Run": "mrb.results.run"}


if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(_ELSEWHERE.get(name, "mrb.api")), name)
        globals()[name] = value  # found without this function from now on
        return value

    def __dir__() -> list[str]:
        return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
