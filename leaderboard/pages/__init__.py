"""What the site consists of, a module for each kind of page.

A module has `pages(site)`, which yields a `Page` (path and bytes) after another, and stands in `KINDS` of
`mrb.leaderboard.build`. To add a kind of page:

1. `pages/<kind>.py`: choose and order what is shown, as plain frozen values, and yield
   `render("<kind>.html.jinja", path, ...)` for each page. Nothing is read from disk here that `Site` could hold.
2. `templates/<kind>.html.jinja`: `{% extends "base.html.jinja" %}`, the blocks `title` and `main` (which has the one
   `h1`), and `{% set styles = [...] %}` and `{% set scripts = [...] %}`: names of files in `static/`. Addresses within
   the site are written `{{ link("tasks.html") }}`, never by hand: pages lie at different depths and open from disk.
   Macros that link are imported `with context`.
3. `static/<kind>.css` for what no other page has. Colours are the variables of base.css, which have both schemes.
4. `static/<concern>.js`: a plain script (no module: those do not load from disk) in a function of its own, that makes
   what is already on the page better. What it lets people choose is a field of `BOARD` (address.js), so that the
   address has it.
5. The line in `NAVIGATION` (page.py), if the header is to have it.
"""
