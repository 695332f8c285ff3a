"use strict";
/** How long the verdict is shown before the report takes its place, and how long until a broken stream is tried again, in ms. */
const THEN_REPORT_MS = 1200, AGAIN_MS = 3000;
const TITLES = /** @type {Record<string, string>} */ ({ running: "Running", killed: "Killed", unfinished: "Without results" });
const NODE_STATES = ["running", "paused", "killed", "lost"];
const MARKS = /** @type {Record<string, string>} */ ({
  ok: "M6 1.5a4.5 4.5 0 1 0 .001 0z", fail: "M2 2l8 8m0-8l-8 8", info: "M6 1.5l5 9h-10z",
});

/** @param {string} name @param {string} text @param {string} [kind] @returns {HTMLElement} */
function made(name, text, kind) {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

/** @param {string} outcome @returns {HTMLElement} a cell that says an outcome by shape, colour and word */
function outcomeCell(outcome) {
  const cell = made("td", "", "kind");
  if (Object.hasOwn(MARKS, outcome)) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS(svg.namespaceURI, "path");
    svg.setAttribute("class", `outcome-mark ${outcome}`);
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", MARKS[outcome]);
    svg.append(path);
    cell.append(svg);
  }
  cell.append(outcome);
  return cell;
}

/** @param {number} value @returns {string} thousands apart by thin spaces */
function counted(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** @param {number|null|undefined} s @returns {string} */
function seconds(s) {
  return s === null || s === undefined ? "" : `${s.toFixed(1)} s`;
}

class LivePage {
  /** @param {HTMLElement} source */
  constructor(source) {
    const { document: first, report, colors } = JSON.parse(source.textContent || "{}");
    this.events = source.dataset.events || "";
    this.report = report;
    this.wasRunning = first.state === "running";
    this.moving = false;
    /** @type {EventSource|null} */
    this.stream = null;
    this.chart = new LiveChart(
      /** @type {HTMLCanvasElement} */ (document.getElementById("chart")),
      /** @type {HTMLElement} */ (document.getElementById("reading")), colors);
    this.show(first);
    if (first.state !== "finished") this.connect();
    document.addEventListener("visibilitychange", () => this.follow());
  }

  /** A page that nobody sees needs no stream: a browser has few connections to one server. */
  follow() {
    if (document.visibilityState === "hidden") {
      this.stream?.close();
      this.stream = null;
    } else if (!this.stream && !this.moving) this.connect();
  }

  connect() {
    this.stream?.close();
    const stream = this.stream = new EventSource(this.events);
    const take = (/** @type {MessageEvent} */ event) => {
      document.body.classList.remove("offline");
      this.show(JSON.parse(event.data));
    };
    stream.addEventListener("state", take);
    stream.addEventListener("change", take);
    stream.addEventListener("error", () => {
      if (this.moving) return;
      document.body.classList.add("offline");
      // The browser tries again by itself, unless the server refused: then it is for us to do.
      if (stream.readyState === EventSource.CLOSED && this.stream === stream) setTimeout(() => this.tryAgain(stream), AGAIN_MS);
    });
  }

  /** @param {EventSource} stream */
  tryAgain(stream) {
    if (this.stream === stream && document.visibilityState === "visible") this.connect();
  }

  /** @param {any} now what is known of the test */
  show(now) {
    this.chart.take(now.timeline);
    this.chart.faults = now.faults;
    this.chart.shades = now.shades;
    this.chart.now_s = now.now_s;
    this.chart.redraw();
    this.head(now);
    this.figures(now);
    this.nodes(now);
    this.tables(now);
    this.wasRunning ||= now.state === "running";
    if (now.state === "finished") this.finish();
  }

  /** @param {string} name @param {string} text */
  field(name, text) {
    const element = document.querySelector(`[data-field="${name}"]`);
    if (element && element.textContent !== text) element.textContent = text;
  }

  /** @param {any} now */
  head(now) {
    const verdict = now.verdict ? now.verdict[0].toUpperCase() + now.verdict.slice(1) : "";
    const title = now.state === "finished" ? verdict : TITLES[now.state];
    this.field("title", title);
    const silent = now.silent_s > 15 ? ` (nothing heard from the harness for ${Math.round(now.silent_s)} s)` : "";
    const reading = now.waiting_bytes > 1e6 ? ` (reading what was recorded: ${Math.round(now.waiting_bytes / 1e6)} MB to go)` : "";
    this.field("sentence", {
      running: now.phase + silent + reading,
      killed: `The harness (process ${now.pid}) is gone and left no results.${reading}`,
      finished: now.reason,
    }[/** @type {string} */ (now.state)] ?? "Nobody can tell what became of the harness: there are no results, and no sign of it.");
    document.title = document.title.replace(/^[^·]*/, `${title} `);
    const state = document.getElementById("state");
    if (state) state.className = `live-title ${TITLES[now.state] ? now.state : "finished"}`;
    document.body.classList.toggle("valid", now.verdict === "valid");
    document.body.classList.toggle("invalid", now.verdict === "invalid");
    const bar = /** @type {HTMLProgressElement|null} */ (document.getElementById("progress"));
    if (bar) {
      bar.hidden = !now.limit_s;
      bar.max = now.limit_s || 1;
      bar.value = Math.min(now.elapsed_s || 0, now.limit_s || 1);
    }
    /** @type {HTMLElement} */ (document.getElementById("dead")).hidden = now.state === "running" || now.state === "finished";
    /** @type {HTMLElement} */ (document.getElementById("ending")).hidden = now.state !== "finished";
  }

  /** @param {any} now */
  figures(now) {
    for (const kind of ["ok", "fail", "info"]) this.field(kind, counted(now.counts[kind]));
    this.field("under_way", counted(now.under_way));
    this.field("faults", counted(now.faults_total));
    this.field("rate", now.rate === null ? "–" : counted(now.rate));
    this.field("p50", now.p50_ms ? took(now.p50_ms) : "–");
    this.field("p99", now.p99_ms ? took(now.p99_ms) : "–");
    const limit = now.limit_s ? ` of ${Math.round(now.limit_s)}` : "";
    const elapsed = now.limit_s ? Math.min(now.elapsed_s, now.limit_s) : now.elapsed_s;
    this.field("elapsed", now.elapsed_s === null ? "–" : `${Math.floor(elapsed)}${limit} s`);
  }

  /** @param {any} now */
  nodes(now) {
    document.getElementById("nodes")?.replaceChildren(...Object.entries(now.nodes).map(([name, state]) => {
      const item = made("li", "", `node ${NODE_STATES.includes(state) ? state : ""}`);
      item.append(made("b", name), ` ${state || "not known"}`);
      return item;
    }));
    const open = now.faults.filter((/** @type {LiveFault} */ fault) => fault.state === "in force");
    const shown = open.map((/** @type {LiveFault} */ fault) => {
      const chip = made("span", `${fault.what}, ${Math.max(0, Math.floor(now.now_s - fault.from_s))} s`, "fault-chip");
      chip.style.borderColor = this.chart.colorOf(fault.kind);
      return chip;
    });
    if (!shown.length && now.state === "running") shown.push(made("span", "no fault in force", "muted"));
    document.getElementById("in-force")?.replaceChildren(...shown);
  }

  /** @param {any} now */
  tables(now) {
    this.rows("fault-rows", now.faults.slice(-10).reverse().map((/** @type {LiveFault} */ fault) => [
      made("td", fault.what), made("td", fault.state), made("td", seconds(fault.from_s), "n"), made("td", seconds(fault.to_s), "n"),
    ]));
    const trouble = document.getElementById("ledger-problem");
    if (trouble) trouble.textContent = now.ledger_problem;
    this.rows("problem-rows", now.problems.map((/** @type {any} */ row) => [
      outcomeCell(row.type), made("td", row.error, "wide"), made("td", counted(row.count), "n"), made("td", seconds(row.last_s), "n"),
    ]));
    this.rows("last-rows", now.completions.map((/** @type {any} */ row) => {
      const given = [row.key, row.value].filter((text) => text !== "null").join(" ");
      const code = made("td", "", "wide");
      code.append(made("code", `${row.f}${given && ` ${given}`}${row.result === "null" ? "" : ` → ${row.result}`}`));
      return [
        made("td", `${row.at_s.toFixed(3)} s`, "n"), outcomeCell(row.type), code, made("td", row.ms === null ? "" : took(row.ms), "n"),
        made("td", String(row.process), "n"), made("td", row.node), made("td", row.error, "wide"),
      ];
    }));
  }

  /** @param {string} id @param {HTMLElement[][]} rows */
  rows(id, rows) {
    document.getElementById(id)?.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells);
      return row;
    }));
  }

  /** The test is over. Whoever watched it is taken to its report; whoever came later chooses. */
  finish() {
    if (this.moving) return;
    this.moving = true;
    this.stream?.close();
    if (this.wasRunning) setTimeout(() => location.replace(this.report), THEN_REPORT_MS);
  }
}

function listenToCopyButtons() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = button.parentElement?.querySelector("code");
      if (!source) return;
      try {
        await navigator.clipboard.writeText(source.textContent || "");
        button.textContent = "Copied";
      } catch {
        getSelection()?.selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
}

document.documentElement.classList.add("js");
listenToCopyButtons();
const source = document.getElementById("live-data");
if (source) new LivePage(source);
