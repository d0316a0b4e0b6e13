// The tables of the board: sort, filter, measure, columns and pages, over all rows of a table, not just those on the
// page. Rows come from scripts under data/rows/ that hold plain data, loaded when they are first needed:
//
//   BOARD_ROWS.add("data/rows/<table>/<part>-<measure>.js", { keys, small, fixed, rows })
//
// A cell is [value, text, address, small lines, class] as cells.py made it: no number becomes text here, and text enters
// the page as text. Until something is chosen the rows are the server's.
const BOARD_ROWS = (function () {
  "use strict";

  const loaded = new Map();
  const asked = new Map();
  const tables = Array.from(document.querySelectorAll("table.board"));
  const status = document.getElementById("status");
  const filter = document.querySelector("[data-field=filter]");
  const chooser = document.getElementById("columns");
  const heads = HEADS.of;
  const unique = (list) => Array.from(new Set(list));
  let state = {};

  function add(path, data) {
    loaded.set(path, data);
    const waiting = asked.get(path) || [];
    asked.set(path, []);
    waiting.forEach((call) => call());
  }

  function path(table) {
    const own = table.dataset.rows.slice(table.dataset.up.length);
    return own + table.dataset.part + "-" + state.measure.toLowerCase().replace("@", "-") + ".js";
  }

  // The rows of the chosen measure, or undefined and `call` once they are here.
  function rowsOf(table, call) {
    const wanted = path(table);
    if (loaded.has(wanted)) {
      return loaded.get(wanted);
    }
    if (!asked.has(wanted)) {
      asked.set(wanted, []);
      const script = document.createElement("script");
      script.src = table.dataset.up + wanted;
      document.head.append(script);
    }
    asked.get(wanted).push(call);
    return undefined;
  }

  function element(name, text, kind) {
    const made = document.createElement(name);
    if (kind) {
      made.className = kind;
    }
    made.textContent = text;
    return made;
  }

  function fill(td, cell, up) {
    const [, text, address, smalls, kind] = cell;
    if (kind) {
      td.className = kind;
    }
    const main = element(kind === "blank" ? "span" : address ? "a" : "b", text);
    if (kind === "blank") {
      main.setAttribute("aria-hidden", "true");
    } else if (address) {
      main.href = up + address;
    }
    td.append(main);
    for (const small of smalls || []) {
      td.append(typeof small === "string" ? element("small", small) : element("small", small[1], small[0]));
    }
    return td;
  }

  function rowHead(row, up) {
    const th = document.createElement("th");
    const link = document.createElement("a");
    th.scope = "row";
    link.href = up + "models/" + row.key + ".html";
    link.append(element("bdi", row.key));
    th.append(link, ...row.who.map(([kind, words]) => element("small", words, kind)));
    return th;
  }

  // A row with the cells of the table's columns; `first` is its head, which stands after the rank.
  function rowOf(cells, first, places, up) {
    const tr = document.createElement("tr");
    for (const place of places) {
      tr.append(place === null ? first : fill(document.createElement("td"), cells[place], up));
    }
    return tr;
  }

  function fits(row) {
    const wanted = state.filter.trim().toLowerCase();
    const trained = row.training === "trained-on";
    return (
      row.search.includes(wanted) &&
      !(state.training === "untrained" && trained) &&
      !(state.training === "clean" && row.training !== "clean") &&
      !(state.weights === "open" && row.weights !== "open")
    );
  }

  function sorted(rows, place) {
    const lower = (value) => (typeof value === "string" ? value.toLowerCase() : value);
    const keyed = rows.map((row, at) => ({
      row: row,
      place: at,
      key: place === null ? row.key.toLowerCase() : lower(row.cells[place][0]),
    }));
    return HEADS.sorted(keyed, state.order).map((one) => one.row);
  }

  function isStart(table) {
    const size = Number(table.dataset.size);
    const untouched = !state.sort && !state.filter && !state.training && !state.weights && !table.dataset.drawn;
    return untouched && state.measure === table.dataset.measure && Number(state.page) === table.dataset.start / size + 1;
  }

  function draw(table) {
    const frame = table.parentElement;
    frame.hidden = !table.dataset.measures.split(" ").includes(state.measure);
    for (const th of heads(table)) {
      th.setAttribute("aria-sort", th.dataset.column === state.sort ? state.order : "none");
    }
    const data = frame.hidden || isStart(table) ? undefined : rowsOf(table, () => draw(table));
    if (data === undefined) {
      columns(table);
      return;
    }
    table.dataset.drawn = "yes";
    const size = Number(table.dataset.size);
    const keys = heads(table).map((th) => th.dataset.column);
    const places = keys.map((key) => (key === "name" ? null : data.keys.indexOf(key)));
    const head = heads(table).find((th) => th.dataset.column === state.sort);
    const chosen = data.rows.filter(fits);
    const place = state.sort === "name" ? null : data.keys.indexOf(state.sort);
    const all = head ? sorted(chosen, place) : chosen;
    const last = Math.max(1, Math.ceil(all.length / size));
    const page = Math.min(Number(state.page), last);
    const up = table.dataset.up;
    const [fixed, body] = [table.tBodies[0], table.tBodies[1]];
    Array.from(fixed.rows).forEach(function (row, at) {
      row.replaceChildren(...rowOf(data.fixed[at], row.querySelector("th"), places, up).childNodes);
    });
    const shown = all.slice((page - 1) * size, page * size);
    body.replaceChildren(
      ...shown.map(function (row) {
        const tr = rowOf(row.cells, rowHead(row, up), places, up);
        tr.dataset.run = row.key;
        return tr;
      }),
    );
    if (table.dataset.part === "tasks") {
      for (const th of heads(table).filter((one) => one.dataset.column in data.small)) {
        th.querySelector("small").textContent = data.small[th.dataset.column][state.measure === "source" ? 1 : 0];
      }
    }
    const option = document.querySelector("[data-field=measure] option:checked");
    table.querySelector(".measure").textContent = state.measure === "source" ? "each task’s own measure" : option.value;
    table.dataset.shown = all.map((row) => row.key).join(" ");
    pager(table, page, last, all.length, data.rows.length);
    columns(table);
    status.textContent = summary(all.length, data.rows.length);
    document.dispatchEvent(new CustomEvent("board-drawn"));
  }

  function summary(shown, of) {
    const sort = state.sort && ", sorted by " + state.sort + ", " + state.order;
    return tables.length > 1 ? sort.slice(2) : shown + " of " + of + " " + status.dataset.noun + sort;
  }

  // The place of the server's links to pages: here pages are of what is sorted and filtered.
  function pager(table, page, last, shown, of) {
    const under = table.parentElement.nextElementSibling;
    const size = Number(table.dataset.size);
    const from = shown ? (page - 1) * size + 1 : 0;
    const nav = under.querySelector("nav");
    under.querySelector("[data-count]").textContent =
      from + "–" + Math.min(page * size, shown) + " of " + shown + " rerankers" + (shown < of ? " (of " + of + ")" : "");
    if (nav) {
      const wanted = unique([1, page - 1, page, page + 1, last]).filter((one) => one >= 1 && one <= last);
      nav.replaceChildren(
        ...wanted.map(function (one) {
          const button = element("button", String(one));
          button.type = "button";
          if (one === page) {
            button.setAttribute("aria-current", "page");
          }
          button.addEventListener("click", () => BOARD.change({ page: String(one) }));
          return button;
        }),
      );
    }
  }

  // Which columns show: those of the address, else those that are not marked as optional.
  function chosen(key, optional) {
    return key === "name" || (state.columns ? state.columns.split(".").includes(key) : !optional);
  }

  function columns(table) {
    const all = heads(table);
    const hidden = all.map((th) => !chosen(th.dataset.column, "optional" in th.dataset));
    all.forEach((th, at) => {
      th.hidden = hidden[at];
    });
    for (const body of table.tBodies) {
      for (const row of body.rows) {
        Array.from(row.cells).forEach((cell, at) => {
          cell.hidden = hidden[at];
        });
      }
    }
    let at = 2;
    for (const group of table.tHead.rows[0].querySelectorAll("[data-span]")) {
      const end = at + Number(group.dataset.span);
      const count = hidden.slice(at, end).filter((one) => !one).length;
      group.hidden = !count;
      group.colSpan = Math.max(count, 1);
      at = end;
    }
  }

  function choose() {
    const boxes = Array.from(chooser.querySelectorAll("input"));
    const start = boxes.every((box) => box.checked === box.defaultChecked);
    BOARD.change({ columns: start ? "" : boxes.filter((box) => box.checked).map((box) => box.value).join(".") || "none" });
  }

  function makeChooser() {
    const known = new Map();
    for (const th of tables.flatMap(heads).filter((one) => one.dataset.column !== "name")) {
      known.set(th.dataset.column, known.get(th.dataset.column) || th);
    }
    for (const [key, th] of known) {
      const [label, box] = [document.createElement("label"), document.createElement("input")];
      box.type = "checkbox";
      box.value = key;
      box.defaultChecked = !("optional" in th.dataset);
      box.addEventListener("change", choose);
      label.append(box, " " + (th.dataset.title || key));
      chooser.append(label);
    }
  }

  for (const table of tables) {
    heads(table).forEach((th) => HEADS.makeSortable(th, () => state, (asked) => BOARD.change({ ...asked, page: "1" })));
    for (const group of Array.from(table.tHead.rows[0].cells).filter((cell) => !cell.dataset.column)) {
      group.dataset.span = String(group.colSpan);
    }
  }
  makeChooser();
  const measures = Array.from(document.querySelectorAll("[data-field=measure] option"), (option) => option.value);
  const keys = tables.flatMap((table) => heads(table).map((th) => th.dataset.column));
  const first = tables[0];
  const page = first ? String(first.dataset.start / first.dataset.size + 1) : "1";
  const measure = first ? first.dataset.measure : measures[0];
  BOARD.field("measure", measure, BOARD.oneOf(measures, measure));
  BOARD.field("filter", "", (text) => text.slice(0, filter.maxLength));
  BOARD.field("training", "", BOARD.oneOf(["untrained", "clean"], ""));
  BOARD.field("weights", "", BOARD.oneOf(["open"], ""));
  BOARD.field("sort", "", BOARD.oneOf(keys, ""));
  BOARD.field("order", HEADS.directions[0], BOARD.oneOf(HEADS.directions, HEADS.directions[0]));
  BOARD.field("page", page, (text) => (/^[1-9][0-9]{0,4}$/.test(text) ? text : page));
  BOARD.field("columns", "", function (text) {
    const known = text.split(".").filter((key) => keys.includes(key) || key === "none");
    return known.join(".");
  });
  BOARD.onChange(function (now) {
    state = now;
    for (const box of chooser.querySelectorAll("input")) {
      box.checked = chosen(box.value, !box.defaultChecked);
    }
    tables.forEach(draw);
  });
  for (const control of document.querySelectorAll("[data-field]")) {
    // Before the listener of address.js: what is filtered starts at its first page.
    control.addEventListener("input", () => Object.assign(state, { page: "1" }));
  }
  // Somebody is about to choose something: the rows may as well be there.
  document.addEventListener("pointerover", () => tables.forEach((table) => rowsOf(table, () => {})), { once: true });

  return { add: add };
})();
