// The comparison of two to ten models of a table: the field "runs" (names with commas between). Of two or three each pair has
// its section, which comes as HTML from data/compare/<base>/<other>.js; of more the matrix below shows them alone.
(function () {
  "use strict";

  const form = document.getElementById("toolbar");
  if (!form) {
    return;
  }
  const SECTIONS = 3;
  const place = DOM.one("#pairs");
  const status = DOM.one("#status");
  const selects = /** @type {HTMLSelectElement[]} */ (DOM.all("select[data-choice]", form));
  const names = Array.from(selects[0].options, (option) => option.value);
  const labels = new Map(Array.from(selects[0].options, (option) => [option.value, option.text]));
  const known = new Set(DOM.all("[data-pair]").map((cell) => cell.dataset.pair || ""));
  const start = selects
    .map((select) => select.value)
    .filter((name) => name)
    .join(",");
  let now = start;
  const label = (/** @type {string} */ name) => labels.get(name) || name;

  /**
   * A pair's section, with ids of its own, and links that lead on from this page.
   * @param {string} html
   * @param {number} number
   */
  function makeSection(html, number) {
    const made = document.createElement("template");
    made.innerHTML = html;
    for (const name of ["id", "aria-labelledby"]) {
      for (const one of DOM.all("[" + name + "]", made.content)) {
        one.setAttribute(name, (one.getAttribute(name) || "").replace("pair-1", "pair-" + number));
      }
    }
    for (const link of DOM.all("a", made.content)) {
      link.setAttribute("href", form?.dataset.root + (link.getAttribute("href") || ""));
    }
    return made.content;
  }

  /**
   * The matrix of these runs alone, or of all if there are three or fewer.
   * @param {string[]} runs
   */
  function showMatrix(runs) {
    const isIn = (/** @type {HTMLTableCellElement} */ head) =>
      runs.length <= SECTIONS || runs.includes(head.dataset.run || "");
    for (const table of /** @type {HTMLTableElement[]} */ (DOM.all("table.matrix"))) {
      const heads = Array.from(table.rows[0].cells);
      for (const row of table.rows) {
        row.hidden = row !== table.rows[0] && !isIn(row.cells[0]);
        Array.from(row.cells).forEach((cell, at) => (cell.hidden = at > 0 && !isIn(heads[at])));
      }
    }
  }

  /** @param {string[]} runs */
  function showPairs(runs) {
    showMatrix(runs);
    const wanted = LOGIC.findPairs(runs, names);
    const missing = wanted.filter((pair) => !known.has(pair));
    const said = missing.map((pair) => pair.split("/").reverse().map(label).join(" and "));
    const all = runs.length > SECTIONS ? [runs.length + " models: the table below has each pair of them"] : [];
    status.textContent = all
      .concat(
        said.map(
          (two) =>
            two +
            " cannot be compared: they are in different tables, share no task, or share tasks of several candidate sets",
        ),
      )
      .join("; ");
    const asked = runs.join(",");
    const shown = runs.length > SECTIONS ? [] : wanted;
    Promise.all(shown.filter((pair) => known.has(pair)).map((pair) => DATA.get("compare/" + pair))).then(
      function (sections) {
        if (asked === now) {
          place.replaceChildren(...sections.map((html, index) => makeSection(html, index + 1)));
        }
      },
      () => (status.textContent = "the data of a pair cannot be read"),
    );
  }

  BOARD.field("runs", start, (text) => LOGIC.cleanRuns(text, names, start));
  BOARD.onChange(function (state) {
    const runs = state.runs.split(",");
    selects.forEach((select, index) => (select.value = runs[index] || ""));
    if (state.runs !== now) {
      now = state.runs;
      showPairs(runs);
    }
  });
  for (const select of selects) {
    select.addEventListener("input", function () {
      const chosen = Array.from(new Set(selects.map((one) => one.value).filter((name) => name)));
      if (chosen.length < 2) {
        status.textContent = "choose another model to compare " + label(chosen[0]) + " with";
        return;
      }
      BOARD.change({ runs: chosen.join(",") });
    });
  }
})();
