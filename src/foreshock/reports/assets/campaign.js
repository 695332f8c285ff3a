"use strict";

/** Opens the tests of a field and puts the focus there. @param {string} id @returns {boolean} */
function openTests(id) {
  const body = document.getElementById(id);
  const details = body?.closest("details.cell-tests");
  if (!body || !(details instanceof HTMLDetailsElement)) return false;
  for (const other of document.querySelectorAll("details.cell-tests[data-opened]")) {
    if (other === details) continue;
    other.removeAttribute("open");
    other.removeAttribute("data-opened");
  }
  const quiet = details.closest("details.quiet");
  if (quiet instanceof HTMLDetailsElement) quiet.open = true;
  details.hidden = false;
  details.open = true;
  details.dataset.opened = "";
  body.focus({ preventScroll: true });
  details.scrollIntoView({ block: "start" });
  return true;
}

/** The arrow keys move over the fields, Enter opens one, Escape comes back to it. */
function listenToMatrix() {
  const matrix = document.querySelector("table.matrix");
  if (!matrix) return;
  /** @type {HTMLElement | null} */
  let left = null;
  const rows = [...matrix.querySelectorAll("tbody tr")].map((row) =>
    [...row.querySelectorAll("td.cell")].map((cell) => /** @type {HTMLElement | null} */ (cell.querySelector("a"))));
  const place = (/** @type {Element | null} */ link) => {
    for (const [y, row] of rows.entries()) {
      const x = link ? row.indexOf(/** @type {HTMLElement} */ (link)) : -1;
      if (x >= 0) return [x, y];
    }
    return null;
  };
  matrix.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("td.cell a");
    if (!(link instanceof HTMLAnchorElement)) return;
    left = link;
    if (openTests(link.hash.slice(1))) {
      event.preventDefault();
      history.replaceState(null, "", link.hash);
    }
  });
  matrix.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[
      /** @type {KeyboardEvent} */ (event).key];
    const from = place(document.activeElement);
    if (!step || !from) return;
    event.preventDefault();
    let [x, y] = from;
    do {
      x += step[0];
      y += step[1];
    } while (rows[y] && x >= 0 && x < rows[y].length && !rows[y][x]);
    rows[y]?.[x]?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !left || !document.activeElement?.closest(".cell-tests")) return;
    left.focus();
    left.scrollIntoView({ block: "center" });
  });
  if (location.hash.startsWith("#cell-")) openTests(location.hash.slice(1));
}

/** Words and outcomes choose which tests are seen; a field without any is not. */
function listenToFilter() {
  const input = document.getElementById("filter");
  const status = document.querySelector("#tests .status");
  if (!(input instanceof HTMLInputElement) || !status) return;
  const toggles = [...document.querySelectorAll("button.toggle")];
  const cells = [...document.querySelectorAll("details.cell-tests")].map((details) => ({
    details: /** @type {HTMLDetailsElement} */ (details),
    title: (details.querySelector("summary h3")?.textContent || "").toLowerCase(),
    rows: [...details.querySelectorAll("tbody tr")].map((row) => ({
      row: /** @type {HTMLElement} */ (row), text: `seed ${row.textContent || ""}`.toLowerCase() })),
    seeds: [...details.querySelectorAll(".seeds-of-passed")],
  }));
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map(
      (t) => /** @type {HTMLElement} */ (t).dataset.outcome || "");
    const all = !words.length && !chosen.length;
    let shown = 0;
    for (const { details, title, rows, seeds } of cells) {
      let here = 0;
      for (const { row, text } of rows) {
        const fits = (!chosen.length || chosen.some((outcome) => row.classList.contains(outcome)))
          && words.every((word) => title.includes(word) || text.includes(word));
        row.hidden = !fits;
        here += Number(fits);
      }
      for (const block of seeds) block.toggleAttribute("hidden", !all);
      details.hidden = !all && !here;
      const quiet = details.closest("details.quiet");
      if (!all && here && quiet instanceof HTMLDetailsElement) quiet.open = true;
      if (!all && here) details.open = true;
      if (all && details.dataset.opened === undefined) details.open = false;
      shown += here;
    }
    status.textContent = all ? "" : shown === 1 ? "1 test" : `${shown} tests`;
  };
  input.form?.addEventListener("submit", (event) => event.preventDefault());
  input.addEventListener("input", apply);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !input.value) return;
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

listenToMatrix();
listenToFilter();
