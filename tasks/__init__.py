"""The test sets and suites as data: one TOML file each, read by `mrb.data.task`. docs/tasks.md explains them."""
