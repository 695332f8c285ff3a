"use strict";

/** What a cell of a table is sorted by. @param {HTMLTableRowElement} row @param {number} column */
function sortValue(row, column) {
  const cell = row.cells[column];
  const given = cell?.dataset.value ?? cell?.textContent?.trim() ?? "";
  const number = Number(given.replace(/[\s\u202f\u00a0]/g, ""));
  return given !== "" && Number.isFinite(number) ? number : given;
}

/** A button in every head of a table sorts by its column, and by the same again the other way round. */
function makeSortable(/** @type {HTMLTableElement} */ table) {
  const heads = [...table.tHead?.rows[0]?.cells ?? []];
  for (const [column, head] of heads.entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent?.trim()) continue;
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const keyed = [...body.rows].map((row) => ({ row, value: sortValue(row, column) }));
      keyed.sort(({ value: one }, { value: other }) => {
        const order = typeof one === "number" && typeof other === "number"
          ? one - other : String(one).localeCompare(String(other));
        return down ? -order : order;
      });
      body.append(...keyed.map(({ row }) => row));
    });
  }
}

/** Words and states choose which rows of the tables that can be filtered are seen; a part without any is not. */
function listenToTableFilter() {
  const form = document.querySelector("form[data-filters]");
  const input = form?.querySelector("input[type=search]");
  const status = form?.querySelector(".status");
  if (!(form instanceof HTMLFormElement) || !(input instanceof HTMLInputElement) || !status) return;
  const toggles = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("button.toggle")]);
  const parts = [...document.querySelectorAll(form.dataset.filters || "")].map((part) => ({
    part: /** @type {HTMLElement} */ (part),
    rows: /** @type {HTMLElement[]} */ ([...part.querySelectorAll("tbody tr")]).map((row) => ({
      row, text: (row.textContent || "").toLowerCase() })),
  }));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map((t) => t.dataset.state);
    let shown = 0;
    for (const { part, rows } of parts) {
      let here = 0;
      for (const { row, text } of rows) {
        const fits = (!chosen.length || chosen.includes(row.dataset.state)) && words.every((w) => text.includes(w));
        row.hidden = !fits;
        here += Number(fits);
      }
      part.hidden = !here;
      shown += here;
    }
    status.textContent = words.length || chosen.length ? `${shown} shown` : "";
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", apply);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !input.value) return;
    event.preventDefault();
    input.value = "";
    apply();
  });
  for (const toggle of toggles) {
    toggle.addEventListener("click", () => {
      toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
      apply();
    });
  }
}

listenToTableFilter();
for (const table of document.querySelectorAll("table.sortable")) makeSortable(/** @type {HTMLTableElement} */ (table));
