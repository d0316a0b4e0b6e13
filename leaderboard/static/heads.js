// Heads of tables that sort: their buttons, the order that a press asks for, and how rows with a key are put into it.
//
//   HEADS.of(table)                          the heads that have a data-column
//   HEADS.makeSortable(th, state, change)    a button for a head; `change` is called with the { sort, order } it asks for
//   HEADS.sorted(keyed, order)               [{ key, place, ... }] sorted; a key of null is a blank
const HEADS = (function () {
  "use strict";

  const DIRECTIONS = ["descending", "ascending"];

  function sortBy(th, state, change) {
    const column = th.dataset.column;
    const first = th.dataset.kind === "text" || column === "rank" ? "ascending" : "descending";
    const order = state.sort === column ? DIRECTIONS[1 - DIRECTIONS.indexOf(state.order)] : first;
    change({ sort: column, order: order });
  }

  // The words of a heading become its button, so that it can be reached and pressed by keyboard. Words that are a link
  // stay one, with a button beside them.
  function makeSortable(th, state, change) {
    const button = document.createElement("button");
    const link = th.querySelector("a");
    button.type = "button";
    th.dataset.title = (link || th.firstChild).textContent;
    if (link) {
      button.setAttribute("aria-label", "Sort by " + link.textContent);
      link.after(button);
    } else {
      button.append(...Array.from(th.childNodes).filter((node) => node.nodeType === Node.TEXT_NODE));
      button.normalize();
      th.prepend(button);
    }
    button.addEventListener("click", () => sortBy(th, state(), change));
  }

  // Blanks stay last in both directions, and what is equal in the order of the table.
  function sorted(keyed, order) {
    const sign = order === "ascending" ? 1 : -1;
    return keyed.sort(function (a, b) {
      if (a.key === null || b.key === null || a.key === b.key) {
        return (a.key === null) - (b.key === null) || a.place - b.place;
      }
      return a.key < b.key ? -sign : sign;
    });
  }

  return {
    directions: DIRECTIONS,
    of: (table) => Array.from(table.querySelectorAll("th[data-column]")),
    makeSortable: makeSortable,
    sorted: sorted,
  };
})();
