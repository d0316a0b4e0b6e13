// Sorting, filtering and the choice of measure, with all state in the address. The page is whole without this file:
// every number is in it already, and nothing here writes one.
(function () {
  "use strict";

  const DIRECTIONS = ["descending", "ascending"];
  const views = Array.from(document.querySelectorAll(".view[data-measure]"));
  const tables = Array.from(document.querySelectorAll("table.scores"));
  const measure = document.getElementById("measure");
  const filter = document.getElementById("filter");
  const status = document.getElementById("status");
  const start = measure.value;
  const state = { measure: start, filter: "", sort: "", order: "" };

  function oneOf(value, allowed, otherwise) {
    return allowed.includes(value) ? value : otherwise;
  }

  function read() {
    const query = new URLSearchParams(window.location.search);
    const columns = Array.from(document.querySelectorAll("table.scores th[data-column]"), (th) => th.dataset.column);
    state.measure = oneOf(query.get("measure"), Array.from(measure.options, (option) => option.value), start);
    state.filter = (query.get("filter") || "").slice(0, filter.maxLength);
    state.sort = oneOf(query.get("sort"), columns, "");
    state.order = state.sort === "" ? "" : oneOf(query.get("order"), DIRECTIONS, DIRECTIONS[0]);
    measure.value = state.measure;
    filter.value = state.filter;
  }

  function write() {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(state)) {
      if (value !== "" && !(name === "measure" && value === start)) {
        query.set(name, value);
      }
    }
    const text = query.toString();
    window.history.replaceState(null, "", window.location.pathname + (text && "?" + text) + window.location.hash);
  }

  function showMeasure() {
    for (const view of views) {
      view.open = true;
      view.hidden = view.dataset.measure !== state.measure;
    }
  }

  function showRows() {
    const wanted = state.filter.trim().toLowerCase();
    const matches = (text) => text.toLowerCase().includes(wanted);
    const shown = new Set();
    const all = new Set();
    for (const row of document.querySelectorAll("tr[data-run]")) {
      row.hidden = !matches(row.dataset.search);
      all.add(row.dataset.run);
      if (!row.hidden) {
        shown.add(row.dataset.run);
      }
    }
    for (const mark of document.querySelectorAll("g.mark")) {
      mark.classList.toggle("off", !shown.has(mark.dataset.run));
    }
    return shown.size + " of " + all.size + " runs";
  }

  // What a row is sorted by: null for a blank, which stays last in both directions.
  function key(row, column, isText) {
    if (isText) {
      return row.dataset.run.toLowerCase();
    }
    const cell = Array.from(row.cells).find((one) => one.dataset.column === column);
    return cell && cell.dataset.value !== undefined ? Number(cell.dataset.value) : null;
  }

  function sortTable(table) {
    const body = table.querySelector("tbody.rows");
    const head = Array.from(table.querySelectorAll("th[data-column]")).find((th) => th.dataset.column === state.sort);
    for (const th of table.querySelectorAll("th[data-column]")) {
      th.setAttribute("aria-sort", th === head ? state.order : "none");
    }
    const sign = state.order === "ascending" ? 1 : -1;
    const keyed = Array.from(body.rows, (row) => ({
      row: row,
      place: Number(row.dataset.place),
      key: head ? key(row, state.sort, head.dataset.kind === "text") : null,
    }));
    keyed.sort(function (a, b) {
      if (a.key === null || b.key === null || a.key === b.key) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      return a.key < b.key ? -sign : sign;
    });
    body.append(...keyed.map((one) => one.row));
  }

  function show() {
    showMeasure();
    tables.forEach(sortTable);
    const counted = showRows();
    status.textContent = counted + (state.sort === "" ? "" : ", sorted by " + state.sort + ", " + state.order);
  }

  function change(changes) {
    Object.assign(state, changes);
    write();
    show();
  }

  function sortBy(th) {
    const first = th.dataset.kind === "text" ? "ascending" : "descending";
    const again = state.sort === th.dataset.column;
    const order = again ? DIRECTIONS[1 - DIRECTIONS.indexOf(state.order)] : first;
    change({ sort: th.dataset.column, order: order });
  }

  // The words of a heading become its button, so that it can be reached and pressed by keyboard.
  function makeSortable(th) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...Array.from(th.childNodes).filter((node) => node.nodeType === Node.TEXT_NODE));
    button.normalize();
    th.prepend(button);
    button.addEventListener("click", () => sortBy(th));
  }

  for (const table of tables) {
    Array.from(table.querySelector("tbody.rows").rows).forEach((row, place) => {
      row.dataset.place = String(place);
    });
    table.querySelectorAll("th[data-column]").forEach(makeSortable);
  }
  measure.addEventListener("change", () => change({ measure: measure.value }));
  filter.addEventListener("input", () => change({ filter: filter.value }));
  document.getElementById("reset").addEventListener("click", function () {
    measure.value = start;
    filter.value = "";
    change({ measure: start, filter: "", sort: "", order: "" });
  });
  document.getElementById("toolbar").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("popstate", function () {
    read();
    show();
  });

  document.documentElement.classList.add("js");
  document.getElementById("toolbar").hidden = false;
  read();
  show();
})();
