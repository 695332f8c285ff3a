"use strict";
/** One zoomable view of every operation, moved by mouse and keyboard; what is pointed at is read out. */
class Explorer extends Painter {
  /** @param {HTMLElement} root @param {ExplorerDocument} source @param {Operations} operations */
  constructor(root, source, operations) {
    super(root, source, operations);
    this.tip = /** @type {HTMLElement} */ (root.querySelector(".tip"));
    this.status = /** @type {HTMLElement} */ (root.querySelector(".status"));
    /** @type {Promise<unknown[][]> | null} */
    this.texts = null;
    /** @type {Promise<string[]> | null} */
    this.tokens = null;
    this.queued = false;
    /** The hold of a lock that is pointed at, by its place; -1: none. */
    this.holdPointed = -1;
    /** What was read out last; it stays until the view moves. @type {string | undefined} */
    this.words = undefined;
    this.listen();
    this.draw();
  }

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => { this.queued = false; this.paint(); this.say(this.words); });
  }

  /** Say in words what is shown. @param {string} [what] */
  say(what) {
    const shown = Math.max(0, this.after(this.to) - this.after(this.from));
    const range = `${at(this.from, 1)} to ${at(this.to, 1)}, ${shown.toLocaleString("en")} operation${shown === 1 ? "" : "s"}${this.source.grid ? " one by one" : ""}`;
    this.status.textContent = what ? `${presentable(what)}. ${range}` : range;
  }

  /** Show a stretch of time, kept within the run and not below ten microseconds. @param {number} from @param {number} to */
  show(from, to) {
    const span = Math.min(Math.max(to - from, 10), this.end);
    this.from = Math.min(Math.max(from, 0), this.end - span);
    this.to = this.from + span;
    this.tip.hidden = true;
    this.words = undefined;
    this.draw();
  }

  /** @param {number} factor @param {number} [around] */
  zoom(factor, around = (this.from + this.to) / 2) {
    this.show(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  /** @param {number} share of what is shown */
  pan(share) {
    const step = (this.to - this.from) * share;
    this.show(this.from + step, this.to + step);
  }

  /** Go to the next moment worth a look, or the one before. @param {number} direction */
  anomaly(direction) {
    const middle = (this.from + this.to) / 2, list = this.source.anomalies, slack = Math.max((this.to - this.from) / 1000, 1);
    const found = direction > 0 ? list.find(([time]) => time > middle + slack) : list.filter(([time]) => time < middle - slack).pop();
    const target = found || (direction > 0 ? list[0] : list[list.length - 1]);
    if (!target) { this.say("There is no anomaly"); return; }
    const half = Math.min(this.to - this.from, this.end / 8) / 2;
    // Not clamped to the run, so that the moment is always in the middle and the next step goes on from it.
    this.from = target[0] - half;
    this.to = target[0] + half;
    this.tip.hidden = true;
    this.pointed = null;
    this.words = target[1];
    this.paint();
    this.say(this.words);
  }

  /** The operation under a point, if any is near. @param {number} x @param {number} y @returns {number | null} */
  near(x, y) {
    const { start, latency, outcome } = this.operations, slack = ((this.to - this.from) / this.plot) * 10;
    const inLanes = y >= this.lanesTop;
    let best = null, bestDistance = 144;
    for (let i = this.after(this.time(x) - (inLanes ? this.longest : slack)); i < this.after(this.time(x) + slack); i += 1) {
      const left = this.x(start[i]);
      let dx = x - left, dy = y - this.y(latency[i]);
      if (inLanes) {
        if (y < this.laneY(i) || y >= this.laneY(i) + this.lane) continue;
        dx = Math.max(left - x, x - this.x(this.endOf(i)), 0);
        dy = latency[i] < 0 ? 4 : 0;
      }
      const distance = dx * dx + dy * dy - (outcome[i] ? 1 : 0);
      if (distance < bestDistance) { best = i; bestDistance = distance; }
    }
    return best;
  }

  /** @param {MouseEvent} event */
  async point(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    if (this.source.holds && y >= this.locksTop) { await this.pointHold(x, y); return; }
    await this.read(this.near(x, y), x, y);
  }

  /** The hold of a lock under a point. @param {number} x @param {number} y */
  async pointHold(x, y) {
    const { holds } = this.operations, told = this.source.holds;
    if (!holds || !told) return;
    const lane = Math.floor((y - this.locksTop) / Painter.LOCK);
    let found = -1;
    for (let i = 0; i < holds.start.length; i += 1) {
      const left = this.x(holds.start[i]) - 2, right = this.x(holds.start[i] + holds.length[i]) + 2;
      if (holds.lane[i] === lane && left <= x && x <= right && (found < 0 || holds.flags[i] & 1)) found = i;
    }
    this.pointed = null;
    this.holdPointed = found;
    if (found < 0) { this.tip.hidden = true; return; }
    this.tokens = this.tokens || inflate(told.tokens).then((raw) => JSON.parse(new TextDecoder().decode(raw)));
    const token = (await this.tokens)[found], until = holds.start[found] + holds.length[found];
    if (this.holdPointed !== found || this.pointed !== null) return; // the pointer has gone on meanwhile
    /** @type {[string, string][]} */
    const rows = [["by", `process ${holds.process[found]}`], ["from", at(holds.start[found], 1)], ["until", at(until, 1)], ["for", span(holds.length[found])]];
    if (token) rows.push(["token", token]);
    if (holds.flags[found] & 2) rows.push(["ended", "its lease ran out"]);
    if (holds.flags[found] & 1) rows.push(["overlaps", "another process held it too"]);
    this.showTip(`lock ${told.names[lane]} held`, rows, holds.flags[found] & 1 ? "fail" : "ok", x, y);
  }

  /** Show an operation in words at a point. @param {number | null} found @param {number} x @param {number} y */
  async read(found, x, y) {
    if (found !== this.pointed) { this.pointed = found; this.draw(); }
    this.holdPointed = -1;
    if (found === null) { this.tip.hidden = true; return; }
    this.texts = this.texts || inflate(this.source.text).then((raw) => JSON.parse(new TextDecoder().decode(raw)));
    const [keys, values, results, errors] = await this.texts;
    if (this.pointed !== found) return;
    const { start, latency, process, outcome, f, node, index } = this.operations, { source } = this;
    /** @type {[string, string][]} */
    const rows = [
      ["outcome", Painter.WORDS[outcome[found]] + (latency[found] < 0 ? ", never completed" : "")],
      ["process", String(process[found]) + (node[found] ? ` on ${source.nodes[node[found] - 1]}` : "")],
      ["invoked", `${at(start[found], 1)}, event ${index[found]}`],
    ];
    if (latency[found] >= 0) rows.push(["took", span(latency[found])]);
    if (keys[found] !== null) rows.push(["key", shortJson(keys[found])]);
    if (values[found] !== null) rows.push(["asked", shortJson(values[found])]);
    if (outcome[found] === 0) rows.push(["answered", shortJson(results[found])]);
    if (errors[found] !== null) rows.push(["error", shortJson(errors[found])]);
    this.showTip(source.f[f[found]] ?? "?", rows, Painter.WORDS[outcome[found]], x, y);
  }

  /**
   * Only text ever reaches the page.
   * @param {string} heading @param {[string, string][]} rows @param {string} outcome @param {number} x @param {number} y
   */
  showTip(heading, rows, outcome, x, y) {
    const { tip } = this;
    tip.replaceChildren(make("strong", heading));
    for (const [name, text] of rows) tip.append(make("span", name), make("span", text));
    tip.dataset.outcome = outcome;
    tip.hidden = false; // and not before there is something in it
    const left = x + 18 + tip.offsetWidth > this.width ? x - tip.offsetWidth - 14 : x + 18;
    const below = y + 14 + tip.offsetHeight <= this.height;
    const top = below ? y + 14 : Math.max(y - tip.offsetHeight - 12, 0);
    tip.style.transform = `translate(${Math.max(left, 0)}px, ${top}px)`;
  }

  /** Go to the next operation, or the one before, and read it out: what the pointer does, by keys. @param {number} direction */
  async step(direction) {
    const { start, latency } = this.operations;
    const first = direction > 0 ? this.after(this.from) : this.after(this.to) - 1;
    const next = Math.min(Math.max(this.pointed === null ? first : this.pointed + direction, 0), start.length - 1);
    if (start[next] < this.from || start[next] > this.to) {
      const half = (this.to - this.from) / 2;
      this.show(start[next] - half, start[next] + half);
    }
    await this.read(next, this.x(start[next]), this.y(latency[next]));
    this.words = [...this.tip.children].map((child) => child.textContent).join(" ");
    this.say(this.words);
  }

  listen() {
    const { canvas, root } = this;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
      j: () => void this.step(1), k: () => void this.step(-1),
      n: () => this.anomaly(1), p: () => this.anomaly(-1), N: () => this.anomaly(-1),
      0: () => this.show(0, this.end), Home: () => this.show(0, this.end),
    };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
    for (const button of root.querySelectorAll("button[data-key]")) {
      button.addEventListener("click", () => keys[/** @type {HTMLElement} */ (button).dataset.key || ""]());
    }
    canvas.addEventListener("wheel", (event) => {
      // A plain wheel scrolls the page; only a deliberate one zooms.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(event.offsetX));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const time = this.time(event.offsetX);
      this.brush = { from: time, to: time };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.brush) { this.brush.to = this.time(event.offsetX); this.draw(); return; }
      void this.point(event);
    });
    canvas.addEventListener("pointerup", () => {
      const brush = this.brush;
      this.brush = null;
      if (brush && Math.abs(this.x(brush.to) - this.x(brush.from)) > 6) this.show(Math.min(brush.from, brush.to), Math.max(brush.from, brush.to));
      this.draw();
    });
    canvas.addEventListener("pointercancel", () => { this.brush = null; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; this.pointed = null; this.holdPointed = -1; this.draw(); });
    canvas.addEventListener("dblclick", () => this.show(0, this.end));
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement || canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    for (const link of document.querySelectorAll("[data-zoom]")) {
      link.addEventListener("click", () => {
        const [from, to] = (/** @type {HTMLElement} */ (link).dataset.zoom || "0,0").split(",").map(Number);
        this.show(from, to);
        canvas.focus({ preventScroll: true });
      });
    }
  }
}
