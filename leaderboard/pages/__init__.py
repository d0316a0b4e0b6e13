"""What the site consists of, a module for each kind of page.

A module has `make_files(site)`, which yields `Page` values (path and bytes), and is listed in `KINDS` of
`mrb.leaderboard.build`. To add a kind of page:

1. `pages/<kind>.py`: choose and order what is shown, as plain frozen values, and yield
   `render("<kind>.html.jinja", path, ...)` for each page. Do not read from disk what `Site` could hold.
2. `templates/<kind>.html.jinja`: `{% extends "base.html.jinja" %}`, the blocks `title` and `main` (which has the one
   `h1`), and `{% set styles = [...] %}` and `{% set scripts = [...] %}`: names of files in `static/`. Write addresses
   within the site as `{{ link("tasks.html") }}`, never by hand: pages lie at different depths and open from disk.
   Import macros that link `with context`.
3. `static/<kind>.css` for what no other page has. Colours are the variables of base.css, which has both schemes.
4. `static/<concern>.js`: a plain script in a function of its own (no module: those do not load from disk) that improves
   what is already on the page. A user's choice is a field of `BOARD` (address.js), so that the address contains it.
5. The line in `NAVIGATION` (page.py), if the header should link to it.
"""
