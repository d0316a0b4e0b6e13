"""Load tasks and their tables (queries, corpus, judgements) into `TaskData`."""
