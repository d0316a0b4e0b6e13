// The comparison of any two or three runs of a table: the field "runs" (names with commas between), and for each pair of
// them the elements of pair.html.jinja, filled with texts that the pair's data has.
(function () {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";
  const form = document.getElementById("toolbar");
  if (!form) {
    return;
  }
  const place = document.getElementById("pairs");
  const template = document.getElementById("pair");
  const status = document.getElementById("status");
  const selects = Array.from(form.querySelectorAll("select[data-choice]"));
  const names = Array.from(selects[0].options, (option) => option.value);
  const known = new Set(Array.from(document.querySelectorAll("[data-pair]"), (cell) => cell.dataset.pair));
  const start = selects.map((select) => select.value).filter((name) => name).join(",");
  let now = start;

  // Of a pair the one that stands higher in the table is shown over the other, whatever the order of choice.
  function pairs(runs) {
    const sorted = runs.slice().sort((a, b) => names.indexOf(a) - names.indexOf(b));
    return sorted.flatMap((other, index) => sorted.slice(index + 1).map((base) => base + "/" + other));
  }

  function clean(text) {
    const runs = Array.from(new Set(text.split(","))).filter((name) => names.includes(name));
    return runs.length === 2 || runs.length === 3 ? runs.join(",") : start;
  }

  function line(row, signed) {
    const tr = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    let inside = head;
    if (row.href) {
      inside = document.createElement("a");
      inside.setAttribute("href", form.dataset.root + row.href);
      head.append(inside);
    }
    inside.textContent = row.head;
    tr.append(head);
    row.cells.forEach(function (text, index) {
      const cell = document.createElement("td");
      cell.className = index === signed ? "number " + row.sign : "number";
      cell.textContent = text;
      tr.append(cell);
    });
    return tr;
  }

  function path(className, d) {
    const made = document.createElementNS(SVG, "path");
    made.setAttribute("class", className);
    made.setAttribute("d", d);
    return made;
  }

  function square(plot) {
    const box = document.createElement("div");
    const title = document.createElement("h3");
    const svg = document.createElementNS(SVG, "svg");
    box.className = "square";
    title.textContent = plot.task;
    svg.setAttribute("viewBox", "-4 -4 108 108");
    svg.setAttribute("role", "img");
    svg.setAttribute(
      "aria-label",
      plot.task + ": " + plot.queries + " queries as dots; the table counts those won, tied and lost",
    );
    svg.append(path("grid", "M0 0H100V100H0Z"), path("grid", "M0 100L100 0"));
    plot.dots.forEach((dots, index) => svg.append(path("dots size-" + (index + 1), dots)));
    box.append(title, svg);
    return box;
  }

  function section(view, number) {
    const made = template.content.cloneNode(true);
    for (const one of made.querySelectorAll("[id], [aria-labelledby]")) {
      for (const name of ["id", "aria-labelledby"]) {
        if (one.hasAttribute(name)) {
          one.setAttribute(name, one.getAttribute(name).replace("pair-0", "pair-" + number));
        }
      }
    }
    const slots = (name) => Array.from(made.querySelectorAll("[data-slot=" + name + "]"));
    slots("base").forEach((slot) => (slot.textContent = view.base));
    slots("other").forEach((slot) => (slot.textContent = view.other));
    slots("averages")[0].append(...view.averages.map((row) => line(row, 2)));
    slots("tasks")[0].append(...view.tasks.map((row) => line(row, 2)));
    slots("wins")[0].append(...view.wins.map((row) => line(row, 3)));
    slots("losses")[0].append(...view.losses.map((row) => line(row, 3)));
    slots("plots")[0].append(...view.plots.map(square));
    return made;
  }

  function show(runs) {
    const wanted = pairs(runs);
    const missing = wanted.filter((pair) => !known.has(pair));
    const said = missing.map((pair) => pair.split("/").reverse().join(" and "));
    status.textContent = said.map((two) => two + " do not compare: they are in different tables or share no task").join("; ");
    const asked = runs.join(",");
    Promise.all(wanted.filter((pair) => known.has(pair)).map((pair) => DATA.get("compare/" + pair))).then(
      function (views) {
        if (asked === now) {
          place.replaceChildren(...views.map((view, index) => section(view, index + 1)));
        }
      },
      () => (status.textContent = "the data of a pair cannot be read"),
    );
  }

  BOARD.field("runs", start, clean);
  BOARD.onChange(function (state) {
    const runs = state.runs.split(",");
    selects.forEach((select, index) => (select.value = runs[index] || ""));
    if (state.runs !== now) {
      now = state.runs;
      show(runs);
    }
  });
  for (const select of selects) {
    select.addEventListener("input", function () {
      const chosen = Array.from(new Set(selects.map((one) => one.value).filter((name) => name)));
      if (chosen.length < 2) {
        status.textContent = "choose another run to compare " + chosen[0] + " with";
        return;
      }
      BOARD.change({ runs: chosen.join(",") });
    });
  }
})();
