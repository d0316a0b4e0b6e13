// The tables of the board: sort, filter, measure, columns and pages, over all rows of a table, not just those on the
// page. The rows come as HTML, with what they are filtered and sorted by, from data/rows/<table>/<part>-<measure>.js
// (Board.make_data), loaded when they are first needed. Until something is chosen the page keeps its own rows.
(function () {
  "use strict";

  /** @typedef {{ keys: string[], facets: string[], small: Record<string, [string, string]>, fixed: string[],
   *   rows: BoardRow[] }} BoardData */

  const tables = /** @type {HTMLTableElement[]} */ (DOM.all("table.board"));
  const status = DOM.one("#status");
  const chooser = DOM.one("#columns");
  const facets = DOM.all("[data-facet]");
  /** @type {Map<string, BoardData>} */
  const loaded = new Map();
  /** Rows that are drawn at once, enough for a screen, and in each frame after it. */
  const [AT_ONCE, A_FRAME] = [10, 30];
  /** @type {Map<HTMLTableElement, string>} What of the state each table shows. */
  const shown = new Map();
  /** @type {Map<HTMLTableElement, BoardRow[]>} Rows that follow. */
  const waiting = new Map();
  /** @type {State} */
  let state = {};

  const columnOf = (/** @type {HTMLElement} */ th) => th.dataset.column || "";
  const isOptional = (/** @type {HTMLElement} */ th) => "optional" in th.dataset;

  /**
   * The data of the chosen measure, or undefined and `call` once it is here.
   * @param {HTMLTableElement} table
   * @param {() => void} call
   */
  function findData(table, call) {
    const key = table.dataset.rows + state.measure.toLowerCase().replace("@", "-");
    if (!loaded.has(key)) {
      DATA.get(key).then(
        function (data) {
          loaded.set(key, data);
          call();
        },
        () => (status.textContent = "the rows in " + state.measure + " cannot be read"),
      );
    }
    return loaded.get(key);
  }

  /**
   * Rows of HTML as elements, with the table's columns alone, and links that lead on from this page.
   * @param {string[]} html
   * @param {BoardData} data
   * @param {HTMLTableElement} table
   */
  function makeRows(html, data, table) {
    const here = new Set(DOM.heads(table).map(columnOf));
    const [rank, ...others] = data.keys.map((key) => here.has(key));
    const body = document.createElement("tbody");
    // In texts and attributes a quote is escaped: these are links.
    body.innerHTML = html.join("").replaceAll(/ href="(?!https:)/g, (start) => start + table.dataset.up);
    for (const row of body.rows) {
      // A row's head, the name, stands after the rank.
      const cells = Array.from(row.cells);
      [rank, true, ...others].forEach((kept, at) => kept || cells[at].remove());
    }
    return Array.from(body.rows);
  }

  const countFilters = () => facets.filter((control) => state[control.dataset.field || ""]).length;

  /**
   * Whether the table's own rows are what the state asks for.
   * @param {HTMLTableElement} table
   */
  function isStart(table) {
    const page = Number(table.dataset.start) / Number(table.dataset.size) + 1;
    const untouched = !state.sort && !state.filter && !countFilters() && !table.dataset.drawn;
    return untouched && state.measure === table.dataset.measure && Number(state.page) === page;
  }

  /** @param {HTMLTableElement} table */
  function draw(table) {
    // Which models are picked changes no row: a box that was just pressed stays, and keeps the focus.
    const asked = JSON.stringify({ ...state, picked: "" });
    if (shown.get(table) === asked) {
      return;
    }
    const frame = /** @type {HTMLElement} */ (table.parentElement);
    frame.hidden = !(table.dataset.measures || "").split(" ").includes(state.measure);
    HEADS.showSorted(table, state);
    const isStill = frame.hidden || isStart(table);
    const data = isStill ? undefined : findData(table, () => draw(table));
    if (data) {
      drawRows(table, data);
    }
    if (data || isStill) {
      shown.set(table, asked);
    }
    table.dataset.show = state.show;
    showColumns(table);
  }

  /**
   * @param {HTMLTableElement} table
   * @param {BoardData} data
   */
  function drawRows(table, data) {
    table.dataset.drawn = "yes";
    const size = Number(table.dataset.size);
    const here = DOM.heads(table).some((th) => columnOf(th) === state.sort);
    const selected = LOGIC.selectRows(data.rows, data.keys, data.facets, here ? state : { ...state, sort: "" });
    const last = Math.max(1, Math.ceil(selected.length / size));
    const page = Math.min(Number(state.page), last);
    const drawn = selected.slice((page - 1) * size, page * size);
    table.tBodies[0].replaceChildren(...makeRows(data.fixed, data, table));
    table.tBodies[1].replaceChildren();
    addRows(table, data, drawn, AT_ONCE);
    for (const th of DOM.heads(table).filter((one) => columnOf(one) in data.small)) {
      DOM.one("small", th).textContent = data.small[columnOf(th)][state.measure === "source" ? 1 : 0];
    }
    DOM.one(".measure", table).textContent = state.measure === "source" ? "each task’s own measure" : state.measure;
    table.dataset.shown = selected.map((row) => row.key).join(" ");
    showPages(table, page, last, selected.length, data.rows.length);
    status.textContent = summarize(selected.length, data.rows.length);
    document.dispatchEvent(new CustomEvent("board-drawn"));
  }

  /**
   * The first of these rows now, the others from frame to frame: the answer to a key or a click waits for none of them.
   * @param {HTMLTableElement} table
   * @param {BoardData} data
   * @param {BoardRow[]} rows
   * @param {number} first
   */
  function addRows(table, data, rows, first) {
    const html = rows.slice(0, first).map((row) => row.html);
    table.tBodies[1].append(...makeRows(html, data, table));
    const others = rows.slice(first);
    waiting.set(table, others);
    if (others.length) {
      requestAnimationFrame(() =>
        setTimeout(function () {
          if (waiting.get(table) === others) {
            addRows(table, data, others, A_FRAME);
            showColumns(table);
            document.dispatchEvent(new CustomEvent("board-drawn"));
          }
        }),
      );
    }
  }

  /**
   * @param {number} shown
   * @param {number} of
   */
  function summarize(shown, of) {
    const sort = state.sort && ", sorted by " + state.sort + ", " + state.order;
    return tables.length > 1 ? sort.slice(2) : shown + " of " + of + " " + status.dataset.noun + sort;
  }

  /**
   * Buttons in the place of the page's links: here pages are of what is sorted and filtered.
   * @param {HTMLTableElement} table
   * @param {number} page
   * @param {number} last
   * @param {number} shown
   * @param {number} of
   */
  function showPages(table, page, last, shown, of) {
    const under = /** @type {HTMLElement} */ (table.parentElement?.nextElementSibling);
    const size = Number(table.dataset.size);
    const range = (shown ? (page - 1) * size + 1 : 0) + "–" + Math.min(page * size, shown);
    const all = shown < of ? " (of " + of + ")" : "";
    DOM.one("[data-count]", under).textContent = range + " of " + shown + (shown === 1 ? " model" : " models") + all;
    under.querySelector("nav")?.replaceChildren(
      ...LOGIC.pageNumbers(page, last).map(function (number) {
        const button = DOM.make("button", "", String(number));
        button.type = "button";
        if (number === page) {
          button.setAttribute("aria-current", "page");
        }
        button.addEventListener("click", () => BOARD.change({ page: String(number) }));
        return button;
      }),
    );
  }

  /**
   * A column as LOGIC.isShown takes it.
   * @param {HTMLTableCellElement} th
   */
  function describe(th) {
    return { key: columnOf(th), optional: isOptional(th), isScore: "score" in th.dataset };
  }

  /** @param {HTMLTableElement} table */
  function showColumns(table) {
    const heads = DOM.heads(table);
    const hidden = heads.map((th) => !LOGIC.isShown(describe(th), state.preset, state.columns));
    for (const cells of [
      heads,
      ...Array.from(table.tBodies)
        .flatMap(DOM.rows)
        .map((row) => Array.from(row.cells)),
    ]) {
      cells.forEach((cell, at) => (cell.hidden = hidden[at]));
    }
    let at = 2;
    for (const group of /** @type {HTMLTableCellElement[]} */ (DOM.all("thead [data-span]", table))) {
      const end = at + Number(group.dataset.span);
      const count = hidden.slice(at, end).filter((one) => !one).length;
      group.hidden = !count;
      group.colSpan = Math.max(count, 1);
      at = end;
    }
  }

  /** @returns {HTMLInputElement[]} */
  const boxes = () => Array.from(chooser.querySelectorAll("input"));

  // What the address says of columns that only other tabs have stays.
  function chooseColumns() {
    const others = state.columns.split(".").filter((said) => said && !known.has(said.replace(/^-/, "")));
    const changed = boxes().filter((box) => box.checked !== LOGIC.isShown(columnOfBox(box), state.preset, ""));
    const own = changed.map((box) => (box.checked ? "" : "-") + box.value);
    BOARD.change({ columns: others.concat(own).join(".") });
  }

  /** @type {Map<string, HTMLTableCellElement>} */
  const known = new Map();
  const columnOfBox = (/** @type {HTMLInputElement} */ box) =>
    describe(/** @type {HTMLTableCellElement} */ (known.get(box.value)));

  function makeChooser() {
    for (const th of tables.flatMap(DOM.heads).filter((one) => columnOf(one) !== "name")) {
      known.set(columnOf(th), known.get(columnOf(th)) || th);
    }
    for (const [key, th] of known) {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.value = key;
      box.addEventListener("change", chooseColumns);
      chooser.append(DOM.make("label", "", box, " " + (th.dataset.title || key)));
    }
  }

  function addFields() {
    const measures = DOM.options("[data-field=measure]");
    const columns = tables.flatMap(DOM.heads).map(columnOf);
    const start = tables[0]?.dataset || {};
    const page = String(Number(start.start || 0) / Number(start.size || 1) + 1);
    const measure = start.measure || measures[0];
    BOARD.field("measure", measure, BOARD.oneOf(measures, measure));
    BOARD.field("show", "score", BOARD.oneOf(DOM.options("[data-field=show]"), "score"));
    BOARD.field("filter", "", (text) => text.slice(0, DOM.control("filter").maxLength));
    for (const control of facets) {
      BOARD.field(control.dataset.field || "", "", BOARD.oneOf(DOM.options("#" + control.id), ""));
    }
    BOARD.field("sort", "", BOARD.oneOf(columns, ""));
    BOARD.field("order", HEADS.directions[0], BOARD.oneOf(HEADS.directions, HEADS.directions[0]));
    BOARD.field("page", page, (text) => (/^[1-9][0-9]{0,4}$/.test(text) ? text : page));
    BOARD.field("preset", "", BOARD.oneOf(DOM.options("#preset"), ""));
    BOARD.field("columns", "", (text) => (/^[\w@.-]{0,2000}$/.test(text) ? text : ""));
  }

  /**
   * Notes at the heads of numbers that they are scores: those that stand in a group.
   * @param {HTMLTableElement} table
   */
  function noteScores(table) {
    const heads = DOM.heads(table).slice(2);
    for (const group of Array.from(table.rows[0].cells).filter((cell) => !cell.dataset.column)) {
      for (const th of heads.splice(0, group.colSpan).filter(() => group.tagName === "TH")) {
        th.dataset.score = "yes";
      }
    }
  }

  // What stays below the heads stands as far down as they are high.
  const heights = new ResizeObserver(function (entries) {
    for (const { target } of entries) {
      const table = /** @type {HTMLElement} */ (target.parentElement);
      table.style.setProperty("--heads", target.getBoundingClientRect().height + "px");
    }
  });

  for (const table of tables) {
    noteScores(table);
    heights.observe(/** @type {Element} */ (table.tHead));
    HEADS.makeSortable(
      table,
      () => state,
      (changes) => BOARD.change({ ...changes, page: "1" }),
    );
    for (const group of Array.from(table.rows[0].cells).filter((cell) => !cell.dataset.column)) {
      group.dataset.span = String(group.colSpan);
    }
  }
  makeChooser();
  addFields();
  BOARD.onChange(function (now) {
    state = now;
    DOM.one("#filters").textContent = countFilters() ? " (" + countFilters() + ")" : "";
    for (const box of boxes()) {
      box.checked = LOGIC.isShown(columnOfBox(box), state.preset, state.columns);
    }
    tables.forEach(draw);
  });
  for (const control of DOM.all("[data-field]")) {
    // Before the listener of address.js: what is filtered starts at its first page.
    control.addEventListener("input", () => Object.assign(state, { page: "1" }));
    if (control.dataset.field === "preset") {
      control.addEventListener("input", () => Object.assign(state, { columns: "" }));
    }
  }
  // Somebody is about to choose something: the rows may as well be there.
  for (const place of DOM.all(".toolbar, table.board thead, .under")) {
    for (const name of ["pointerover", "focusin"]) {
      place.addEventListener(name, () => tables.forEach((table) => findData(table, () => {})), { once: true });
    }
  }
})();
