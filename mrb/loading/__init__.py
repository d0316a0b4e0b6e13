"""Reading a task's tables into `TaskData`: queries, corpus and judgements under the task's rules."""

from mrb.loading.data import Counts, ItemTable, TaskData
from mrb.loading.load import load_task_data

__all__ = ["Counts", "ItemTable", "TaskData", "load_task_data"]
