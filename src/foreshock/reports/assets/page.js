"use strict";
/** @param {string} name @param {string} text @returns {HTMLElement} */
function make(name, text) {
  const made = document.createElement(name);
  made.textContent = presentable(text);
  return made;
}

/**
 * What would hide or turn around its neighbours is written out.
 * @param {string} text @returns {string}
 */
function presentable(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** @param {number} us @returns {string} a length of time in the unit that suits it */
function span(us) {
  if (us >= 1e6) return `${Number((us / 1e6).toPrecision(4))} s`;
  if (us >= 1e3) return `${Number((us / 1e3).toPrecision(4))} ms`;
  return `${Number(us.toPrecision(4))} µs`;
}

/** @param {number} us @param {number} step the precision that is needed @returns {string} a point in time */
function at(us, step) {
  const digits = step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 || step === 1 ? 3 : 6;
  return `${(us / 1e6).toFixed(digits)} s`;
}

/** @param {number} raw @returns {number} the next of 1, 2 and 5 times a power of ten */
function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw) || 10 * power;
}

/** @param {unknown} value @returns {string} */
function shortJson(value) {
  const text = value === null ? "nothing" : JSON.stringify(value);
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

function listenToCopyButtons() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = /** @type {HTMLElement} */ (button).parentElement?.querySelector("code");
      if (!source) return;
      try {
        await navigator.clipboard.writeText(source.textContent || "");
        button.textContent = "Copied";
      } catch {
        // No clipboard for pages opened from disk in some browsers: select it, so that one keystroke copies.
        getSelection()?.selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

/** What is wider than the window scrolls by keys too: it takes the focus, unless something in it does, with a name. */
function letKeysScroll() {
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const inner = target.querySelector("a[href], button, input, summary, [tabindex]");
      if (target.scrollWidth > target.clientWidth + 1 && !inner) {
        const heading = target.closest("figure, details, article, section")?.querySelector("h2, h3, summary");
        target.setAttribute("tabindex", "0");
        target.setAttribute("role", "group");
        target.setAttribute("aria-label", `${heading?.textContent?.trim() || "wide content"}, scrolls sideways`);
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) target.removeAttribute(name);
      }
    }
  });
  for (const wide of document.querySelectorAll(".scroll, .drawing, .log")) watch.observe(wide);
}

async function start() {
  document.documentElement.classList.add("js");
  listenToCopyButtons();
  letKeysScroll();
  const root = document.getElementById("explorer"), source = document.getElementById("explorer-data");
  if (!root || !source) return;
  const status = /** @type {HTMLElement} */ (root.querySelector(".status"));
  if (!("DecompressionStream" in window)) {
    status.textContent = "This browser cannot unpack the operations; the table below holds the notable ones.";
    return;
  }
  /** @type {ExplorerDocument} */
  const parsed = JSON.parse(source.textContent || "{}");
  new Explorer(root, parsed, await unpack(parsed));
}

void start();
