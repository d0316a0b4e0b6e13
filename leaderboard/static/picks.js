// Check boxes before the models' names, and a link that compares those that are checked: the field "picked" (names with
// commas between), which filters, pages and other tabs keep.
(function () {
  "use strict";

  const MOST = 10;
  const place = DOM.one("#picked");
  const listPicked = (/** @type {State} */ state) => state.picked.split(",").filter((name) => name);
  /** @type {string[]} */
  let picked = [];
  /** @type {string | null} */
  let shown = null;

  /** @param {HTMLInputElement} box */
  function pick(box) {
    const others = picked.filter((name) => name !== box.value);
    BOARD.change({ picked: (box.checked ? others.concat(box.value) : others).join(",") });
  }

  function addBoxes() {
    for (const head of DOM.all("table.board tr[data-run] > th")) {
      const name = head.parentElement?.dataset.run || "";
      let box = head.querySelector("input");
      if (!box) {
        box = DOM.make("input", "pick");
        box.type = "checkbox";
        box.value = name;
        box.setAttribute("aria-label", "pick " + (head.querySelector("bdi")?.textContent || name) + " to compare");
        box.addEventListener("change", (event) => pick(/** @type {HTMLInputElement} */ (event.target)));
        head.prepend(box);
      }
      box.checked = picked.includes(name);
      box.disabled = !box.checked && picked.length >= MOST;
    }
  }

  BOARD.field("picked", "", (text) => LOGIC.cleanPicked(text, MOST));
  BOARD.onChange(function (state) {
    if (state.picked === shown) {
      return;
    }
    shown = state.picked;
    picked = listPicked(state);
    addBoxes();
    const link = DOM.make("a", "", "Compare (" + picked.length + ")");
    link.setAttribute("href", place.dataset.compare + "?runs=" + encodeURIComponent(picked.join(",")));
    const said = picked.length === 1 ? ["1 picked: pick another to compare"] : [link];
    place.replaceChildren(...(picked.length ? said : []));
    if (picked.length === 2) {
      DATA.get("compared").then(
        function (tables) {
          const page = LOGIC.findPairPage(picked, tables);
          link.setAttribute("href", page ? place.dataset.root + page : link.href);
        },
        () => {}, // the page of any pair does as well
      );
    }
  });
  document.addEventListener("board-drawn", addBoxes);
})();
