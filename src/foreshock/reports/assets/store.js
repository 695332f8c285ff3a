"use strict";
/** How often a page of the store looks for what is new, in ms: quicker while something runs. */
const WHILE_RUNNING_MS = 2000, ELSE_MS = 8000, AFTER_TROUBLE_MS = 15000;

/** @returns {boolean} whether somebody is using this part of the page, so that it must not change under them */
function inUse(/** @type {Element} */ part) {
  const selection = getSelection();
  return part.contains(document.activeElement) && document.activeElement !== document.body
    || !!selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

/** Load this page again in the background and put its live parts in the place of those that are shown. */
async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (document.querySelector("[data-live=head]") && !fresh.querySelector("[data-live=head]")) {
    location.reload(); // what was under way is over: its report is here now
    return;
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const name = part.getAttribute("data-live");
    const news = fresh.querySelector(`[data-live="${name}"]`);
    if (!news || inUse(part) || news.innerHTML === part.innerHTML) continue;
    part.replaceChildren(...document.adoptNode(news).childNodes);
  }
  document.title = fresh.title;
}

/** Look for what is new for as long as the page is seen. */
async function follow() {
  let pause = ELSE_MS;
  if (document.visibilityState === "visible") {
    try {
      await refresh();
      pause = document.querySelector(".pulse") ? WHILE_RUNNING_MS : ELSE_MS;
      document.body.classList.remove("offline");
    } catch {
      document.body.classList.add("offline");
      pause = AFTER_TROUBLE_MS;
    }
  }
  setTimeout(follow, pause);
}

document.documentElement.classList.add("js");
for (const select of document.querySelectorAll(".filters select")) {
  select.addEventListener("change", () => /** @type {HTMLSelectElement} */ (select).form?.requestSubmit());
}
if (document.querySelector("[data-live]")) {
  setTimeout(follow, document.querySelector(".pulse") ? WHILE_RUNNING_MS : ELSE_MS);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh().catch(() => document.body.classList.add("offline"));
  });
}
