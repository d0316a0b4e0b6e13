// The choice of the measure: of the views of each table, one in each measure, only the chosen one shows.
(function () {
  "use strict";

  const select = document.querySelector("[data-field=measure]");
  const views = Array.from(document.querySelectorAll(".view[data-measure]"));
  const measures = Array.from(select.options, (option) => option.value);
  BOARD.field("measure", measures[0], BOARD.oneOf(measures, measures[0]));
  BOARD.onChange(function (state) {
    for (const view of views) {
      view.open = true;
      view.hidden = view.dataset.measure !== state.measure;
    }
  });
})();
