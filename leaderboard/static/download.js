// What a table shows as CSV, made here: the rows that the filters leave, in their order, of all pages, with the columns
// that show. Numbers are as on the page; the heads have their units.
(function () {
  "use strict";

  /** @type {Record<string, string>} Columns whose value, not its words, is written, with its unit. */
  const UNITS = { parameters: "parameters", speed: "pairs per second", coverage: "tasks", depth: "candidates a query" };

  /**
   * The words of each row's cells in the order of the data's columns, with the row's head first.
   * @param {string[]} html
   */
  function readWords(html) {
    const body = document.createElement("tbody");
    body.innerHTML = html.join("");
    return Array.from(body.rows, function (row) {
      const words = Array.from(row.cells, function (cell) {
        const text = cell.classList.contains("blank") ? "" : cell.querySelector("b, a, bdi")?.textContent;
        return (text || "").replace("\u2212", "-");
      });
      const name = row.dataset.run || row.cells[1].textContent || "";
      return [name, words[0], ...words.slice(2)];
    });
  }

  /**
   * @param {HTMLTableElement} table
   * @param {{ keys: string[], fixed: string[], rows: BoardRow[] }} data
   */
  function makeCsv(table, data) {
    const measure = DOM.one(".measure", table).textContent;
    const byKey = new Map(data.rows.map((row) => [row.key, row]));
    const shown = "drawn" in table.dataset ? (table.dataset.shown || "").split(" ") : Array.from(byKey.keys());
    const rows = shown.flatMap((key) => byKey.get(key) || []);
    const heads = DOM.heads(table).filter((th) => !th.hidden && th.dataset.column !== "name");
    const titles = heads.map(function (th) {
      const unit = "score" in th.dataset ? measure + " x 100" : UNITS[th.dataset.column || ""];
      return th.dataset.title + (unit ? " (" + unit + ")" : "");
    });
    const words = readWords([...data.fixed, ...rows.map((row) => row.html)]);
    const lines = words.map(function ([name, ...cells], at) {
      const row = at < data.fixed.length ? undefined : rows[at - data.fixed.length];
      const values = heads.map(function ({ dataset: { column = "" } }) {
        const place = data.keys.indexOf(column);
        return column in UNITS ? (row?.values[place] ?? null) : cells[place];
      });
      return [name, ...values];
    });
    return LOGIC.formatCsv([["model", ...titles], ...lines]);
  }

  /**
   * @param {string} text
   * @param {string} name
   */
  function save(text, name) {
    const link = DOM.make("a", "");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  for (const button of DOM.all("[data-download]")) {
    const frame = button.closest(".under")?.previousElementSibling;
    const table = /** @type {HTMLTableElement} */ (frame?.querySelector("table.board"));
    button.hidden = false;
    button.addEventListener("click", function () {
      const measure = DOM.control("measure").value;
      const key = table.dataset.rows + measure.toLowerCase().replace("@", "-");
      DATA.get(key).then((data) => save(makeCsv(table, data), button.dataset.download + "-" + measure + ".csv"));
    });
  }
})();
