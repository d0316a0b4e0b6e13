// Finding and making elements.
const DOM = (function () {
  "use strict";

  /**
   * The first element that fits; an error if there is none.
   * @param {string} selector
   * @param {ParentNode} root
   * @returns {HTMLElement}
   */
  function one(selector, root = document) {
    const found = root.querySelector(selector);
    if (!found) {
      throw new Error("no " + selector + " on this page");
    }
    return /** @type {HTMLElement} */ (found);
  }

  /**
   * @param {string} selector
   * @param {ParentNode} root
   * @returns {HTMLElement[]}
   */
  function all(selector, root = document) {
    return Array.from(root.querySelectorAll(selector));
  }

  /**
   * @param {ParentNode} root
   * @returns {HTMLTableRowElement[]}
   */
  function rows(root) {
    return /** @type {HTMLTableRowElement[]} */ (all(":scope > tr", root));
  }

  /**
   * The table's heads that have a column's key.
   * @param {HTMLElement} table
   * @returns {HTMLTableCellElement[]}
   */
  function heads(table) {
    return /** @type {HTMLTableCellElement[]} */ (all("th[data-column]", table));
  }

  /**
   * An element with a class and what is in it: texts are inserted as text.
   * @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag
   * @param {string} className
   * @param {(Node | string)[]} inside
   * @returns {HTMLElementTagNameMap[T]}
   */
  function make(tag, className, ...inside) {
    const element = document.createElement(tag);
    if (className) {
      element.className = className;
    }
    element.append(...inside);
    return element;
  }

  /**
   * A field's control.
   * @param {string} name
   * @returns {HTMLInputElement}
   */
  function control(name) {
    return /** @type {HTMLInputElement} */ (one("[data-field=" + name + "]"));
  }

  /**
   * The values of a select's options.
   * @param {string} selector
   */
  function options(selector) {
    return all(selector + " option").map((option) => /** @type {HTMLOptionElement} */ (option).value);
  }

  return { one, all, rows, heads, make, control, options };
})();
