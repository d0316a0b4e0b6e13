// Heads of tables that sort: a button in each head with a data-column.
//
//   HEADS.makeSortable(table, state, change)    `change` is called with the { sort, order } that a press asks for
//   HEADS.showSorted(table, state)              says in the heads what the table is sorted by
const HEADS = (function () {
  "use strict";

  /**
   * The words of a heading become its button, so that it can be reached and pressed by keyboard. Words that are a link
   * stay one, with a button beside them.
   * @param {HTMLTableCellElement} th
   * @returns {HTMLButtonElement}
   */
  function addButton(th) {
    const button = document.createElement("button");
    const link = th.querySelector("a");
    button.type = "button";
    th.dataset.title = (link || th.childNodes[0]).textContent || "";
    if (link) {
      button.setAttribute("aria-label", "Sort by " + link.textContent);
      link.after(button);
    } else {
      button.append(...Array.from(th.childNodes).filter((node) => node.nodeType === Node.TEXT_NODE));
      button.normalize();
      th.prepend(button);
    }
    return button;
  }

  /**
   * @param {HTMLElement} table
   * @param {() => State} state
   * @param {(changes: State) => void} change
   */
  function makeSortable(table, state, change) {
    for (const th of DOM.heads(table)) {
      const [column, isText] = [th.dataset.column || "", th.dataset.kind === "text"];
      addButton(th).addEventListener("click", () => change(LOGIC.nextOrder(column, isText, state())));
    }
  }

  /**
   * @param {HTMLElement} table
   * @param {State} state
   */
  function showSorted(table, state) {
    for (const th of DOM.heads(table)) {
      th.setAttribute("aria-sort", th.dataset.column === state.sort ? state.order : "none");
    }
  }

  return { directions: ["descending", "ascending"], makeSortable, showSorted };
})();
