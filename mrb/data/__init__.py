"""Reading a task's tables into `TaskData`: queries, corpus and judgements under the task's rules."""
