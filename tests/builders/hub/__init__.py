"""A Hub on loopback, its repositories, and `mrb` in processes that use it."""

# The tasks whose lists are pushed and pulled: embedded ones, so that lists are made without a Hub.
TASKS = ("mini-faq-t2t-dev", "mini-flag-t2i-dev")
