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
    this.queued = false;
    this.listen();
    this.draw();
  }

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => { this.queued = false; this.paint(); this.say(); });
  }

  /** Say in words what is shown. @param {string} [what] */
  say(what) {
    const shown = Math.max(0, this.after(this.to) - this.after(this.from));
    const range = `${at(this.from, 1)} to ${at(this.to, 1)}, ${shown.toLocaleString("en")} operation${shown === 1 ? "" : "s"}${this.source.grid ? " one by one" : ""}`;
    this.status.textContent = what ? `${what}. ${range}` : range;
  }

  /** Show a stretch of time, kept within the run and not below ten microseconds. @param {number} from @param {number} to */
  show(from, to) {
    const span = Math.min(Math.max(to - from, 10), this.end);
    this.from = Math.min(Math.max(from, 0), this.end - span);
    this.to = this.from + span;
    this.tip.hidden = true;
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
    this.paint();
    this.say(target[1]);
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
    const found = this.near(x, y);
    if (found !== this.pointed) { this.pointed = found; this.draw(); }
    this.tip.hidden = found === null;
    if (found === null) return;
    this.texts = this.texts || inflate(this.source.text).then((raw) => JSON.parse(new TextDecoder().decode(raw)));
    const [keys, values, results, errors] = await this.texts;
    if (this.pointed !== found) return;
    this.fill(found, keys[found], values[found], results[found], errors[found]);
    const left = x + 18 + this.tip.offsetWidth > this.width ? x - this.tip.offsetWidth - 14 : x + 18;
    const below = y + 14 + this.tip.offsetHeight <= this.height;
    const top = below ? y + 14 : Math.max(y - this.tip.offsetHeight - 12, 0);
    this.tip.style.transform = `translate(${Math.max(left, 0)}px, ${top}px)`;
  }

  /** Only text ever reaches the page. @param {number} i @param {unknown} key @param {unknown} value @param {unknown} result @param {unknown} error */
  fill(i, key, value, result, error) {
    const { start, latency, process, outcome, f, node, index } = this.operations;
    const { tip, source } = this;
    /** @type {[string, string][]} */
    const rows = [
      ["outcome", Painter.WORDS[outcome[i]] + (latency[i] < 0 ? ", never completed" : "")],
      ["process", String(process[i]) + (node[i] ? ` on ${source.nodes[node[i] - 1]}` : "")],
      ["invoked", `${at(start[i], 1)}, event ${index[i]}`],
    ];
    if (latency[i] >= 0) rows.push(["took", span(latency[i])]);
    if (key !== null) rows.push(["key", shortJson(key)]);
    if (value !== null) rows.push(["asked", shortJson(value)]);
    if (outcome[i] === 0) rows.push(["answered", shortJson(result)]);
    if (error !== null) rows.push(["error", shortJson(error)]);
    tip.replaceChildren();
    tip.append(make("strong", source.f[f[i]] ?? "?"));
    for (const [name, text] of rows) tip.append(make("span", name), make("span", text));
    tip.dataset.outcome = Painter.WORDS[outcome[i]];
  }

  listen() {
    const { canvas, root } = this;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.pan(-0.2), ArrowRight: () => this.pan(0.2),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
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
    canvas.addEventListener("pointerleave", () => { this.tip.hidden = true; this.pointed = null; this.draw(); });
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
