"use strict";
/**
 * One zoomable view of every operation: latency by time above, what each process did below.
 * Ok operations are drawn first, fail and info last, so that the rare ones stay visible.
 */
class Explorer {
  static LEFT = 64;
  static RIGHT = 18;
  static SCATTER = 260;
  static GAP = 26;
  static FOOT = 26;
  static TOP = 14;
  static CELL = 2;
  static WORDS = ["ok", "fail", "info"];

  /** @param {HTMLElement} root @param {ExplorerDocument} source @param {Operations} operations */
  constructor(root, source, operations) {
    this.root = root;
    this.source = source;
    this.operations = operations;
    this.canvas = /** @type {HTMLCanvasElement} */ (root.querySelector("canvas"));
    this.tip = /** @type {HTMLElement} */ (root.querySelector(".tip"));
    this.status = /** @type {HTMLElement} */ (root.querySelector(".status"));
    this.end = Math.max(source.end_us, 1);
    this.from = 0;
    this.to = this.end;
    /** @type {number | null} */
    this.pointed = null;
    /** @type {Promise<unknown[][]> | null} */
    this.texts = null;
    /** @type {{from: number, to: number} | null} */
    this.brush = null;
    this.queued = false;
    this.lane = Math.max(5, Math.min(16, 260 / source.lanes));
    // An operation that started this long before the window may still reach into it.
    this.longest = operations.latency.reduce((longest, us) => Math.max(longest, us < 0 ? this.end : us), 0);
    const least = operations.latency.reduce((low, us) => (us > 0 && us < low ? us : low), 1e6);
    const most = operations.latency.reduce((high, us) => Math.max(high, us), 10);
    this.low = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
    this.high = Math.max(most * 1.3, this.low * 100);
    this.listen();
    this.draw();
  }

  get width() { return this.canvas.clientWidth; }
  get height() { return Explorer.TOP + Explorer.SCATTER + Explorer.GAP + this.source.lanes * this.lane + Explorer.FOOT; }
  get plot() { return Math.max(this.width - Explorer.LEFT - Explorer.RIGHT, 50); }
  get lanesTop() { return Explorer.TOP + Explorer.SCATTER + Explorer.GAP; }

  /** @param {number} us @returns {number} */
  x(us) { return Explorer.LEFT + ((us - this.from) / (this.to - this.from)) * this.plot; }

  /** @param {number} x @returns {number} */
  time(x) { return this.from + ((x - Explorer.LEFT) / this.plot) * (this.to - this.from); }

  /** @param {number} us latency; negative: never completed, drawn along the top @returns {number} */
  y(us) {
    if (us < 0) return Explorer.TOP + 5;
    const share = Math.log(Math.max(us, this.low) / this.low) / Math.log(this.high / this.low);
    return Explorer.TOP + Explorer.SCATTER - share * (Explorer.SCATTER - 16);
  }

  /** @param {number} i @returns {number} */
  laneY(i) { return this.lanesTop + (this.operations.process[i] % this.source.lanes) * this.lane; }

  /** @param {number} i @returns {number} the end of an operation, or of the run */
  endOf(i) { const us = this.operations.latency[i]; return us < 0 ? this.end : this.operations.start[i] + us; }

  /** The first position whose start is at or after a time. @param {number} us @returns {number} */
  after(us) {
    let low = 0, high = this.operations.start.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.operations.start[middle] < us) low = middle + 1; else high = middle;
    }
    return low;
  }

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => { this.queued = false; this.paint(); });
  }

  paint() {
    const began = performance.now();
    const ratio = window.devicePixelRatio || 1;
    const { width, height, canvas } = this;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.root);
    /** @param {string} name */
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    context.font = `11px ${color("sans")}`;
    this.paintBands(context);
    this.paintAxes(context, color);
    context.save();
    context.beginPath();
    context.rect(Explorer.LEFT, 0, this.plot, height);
    context.clip();
    const first = this.after(this.from - this.longest), last = this.after(this.to);
    this.paintGrid(context, color("ok-ink"));
    this.paintOk(context, first, last, color("ok-ink"));
    for (const outcome of [1, 2]) this.paintRare(context, first, last, outcome, color);
    this.paintMarks(context, color);
    context.restore();
    canvas.dataset.painted = String(last - first);
    canvas.dataset.paintMs = (performance.now() - began).toFixed(1);
    this.say();
  }

  /** @param {CanvasRenderingContext2D} context */
  paintBands(context) {
    const bottom = this.lanesTop + this.source.lanes * this.lane;
    context.globalAlpha = 0.22;
    for (const [start, end, fill] of this.source.faults) {
      if (end < this.from || start > this.to) continue;
      const left = Math.max(this.x(start), Explorer.LEFT), right = Math.min(this.x(end), this.width - Explorer.RIGHT);
      context.fillStyle = fill;
      context.fillRect(left, Explorer.TOP - 6, Math.max(right - left, 1), bottom - Explorer.TOP + 6);
    }
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {(name: string) => string} color */
  paintAxes(context, color) {
    const bottom = this.lanesTop + this.source.lanes * this.lane, right = this.width - Explorer.RIGHT;
    context.strokeStyle = color("grid");
    context.fillStyle = color("ink-2");
    context.lineWidth = 1;
    context.textAlign = "right";
    for (let us = this.low; us <= this.high; us *= 10) {
      const y = Math.round(this.y(us)) + 0.5;
      this.stroke(context, Explorer.LEFT, y, right, y);
      context.fillText(span(us), Explorer.LEFT - 10, y + 4);
    }
    for (let lane = 0; lane < this.source.lanes; lane += 1) {
      const y = this.lanesTop + (lane + 0.5) * this.lane;
      if (this.lane >= 10 || lane % Math.ceil(10 / this.lane) === 0) context.fillText(`p${lane}`, Explorer.LEFT - 10, y + 4);
    }
    context.textAlign = "center";
    const step = niceStep((this.to - this.from) / Math.max(3, this.plot / 110));
    for (let us = Math.ceil(this.from / step) * step; us <= this.to; us += step) {
      const x = Math.round(this.x(us)) + 0.5;
      this.stroke(context, x, Explorer.TOP - 6, x, bottom);
      context.fillText(at(us, step), Math.min(Math.max(x, Explorer.LEFT + 10), right - 10), bottom + 18);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} x2 @param {number} y2 */
  stroke(context, x, y, x2, y2) {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x2, y2);
    context.stroke();
  }

  /** The density of what is not embedded one by one. @param {CanvasRenderingContext2D} context @param {string} fill */
  paintGrid(context, fill) {
    const { grid } = this.source, counts = this.operations.grid;
    if (!grid || !counts) return;
    const most = counts.reduce((high, count) => Math.max(high, count), 1);
    context.fillStyle = fill;
    for (let cell = 0; cell < counts.length; cell += 1) {
      if (!counts[cell]) continue;
      const column = cell % grid.columns, row = Math.floor(cell / grid.columns);
      const left = this.x(column * grid.column_us), right = this.x((column + 1) * grid.column_us);
      if (right < Explorer.LEFT || left > this.width) continue;
      const top = this.y(grid.top_us ** ((row + 1) / grid.rows)), bottom = this.y(grid.top_us ** (row / grid.rows));
      context.globalAlpha = 0.08 + 0.5 * (Math.log1p(counts[cell]) / Math.log1p(most));
      context.fillRect(left, top, right - left + 0.5, bottom - top + 0.5);
    }
    context.globalAlpha = 1;
  }

  /**
   * Ok operations: dots by density, so that any number costs one rectangle a cell; bars once a pixel and lane.
   * @param {CanvasRenderingContext2D} context @param {number} first @param {number} last @param {string} fill
   */
  paintOk(context, first, last, fill) {
    const { start, latency, outcome } = this.operations, cell = Explorer.CELL;
    const columns = Math.ceil(this.width / cell) + 1, rows = Math.ceil((Explorer.TOP + Explorer.SCATTER) / cell) + 1;
    const counts = new Uint16Array(columns * rows), reached = new Float64Array(this.source.lanes).fill(-1);
    context.fillStyle = fill;
    context.globalAlpha = 0.75;
    for (let i = first; i < last; i += 1) {
      if (outcome[i] !== 0) continue;
      const x = this.x(start[i]);
      if (x >= 0) counts[Math.floor(this.y(latency[i]) / cell) * columns + Math.floor(x / cell)] += 1;
      const lane = this.operations.process[i] % this.source.lanes, right = Math.max(this.x(this.endOf(i)), x + 1);
      if (right - reached[lane] < 0.75 || right < Explorer.LEFT) continue;
      reached[lane] = right;
      context.fillRect(x, this.laneY(i) + 1, right - x - (right - x > 3 ? 0.75 : 0), this.lane - 2);
    }
    const size = last - first < 3000 ? cell + 2 : cell + 0.5;
    for (let spot = 0; spot < counts.length; spot += 1) {
      if (!counts[spot]) continue;
      context.globalAlpha = Math.min(1, 0.5 + 0.14 * Math.log2(counts[spot]));
      context.fillRect((spot % columns) * cell, Math.floor(spot / columns) * cell, size, size);
    }
    context.globalAlpha = 1;
  }

  /**
   * Fail as crosses, info as triangles, one a few pixels at most; bars as they are.
   * @param {CanvasRenderingContext2D} context @param {number} first @param {number} last @param {number} kind
   * @param {(name: string) => string} color
   */
  paintRare(context, first, last, kind, color) {
    const { start, latency, outcome } = this.operations, columns = Math.ceil(this.width / 2) + 1;
    const seen = new Uint8Array(columns * 200), reached = new Float64Array(this.source.lanes).fill(-1);
    context.strokeStyle = color(`${Explorer.WORDS[kind]}-ink`);
    context.fillStyle = kind === 1 ? context.strokeStyle : color("info");
    context.lineWidth = kind === 1 ? 1.6 : 1;
    for (let i = first; i < last; i += 1) {
      if (outcome[i] !== kind) continue;
      const x = this.x(start[i]), y = this.y(latency[i]), right = Math.max(this.x(this.endOf(i)), x + 1.5);
      const lane = this.operations.process[i] % this.source.lanes;
      if (right - reached[lane] >= 0.75) {
        reached[lane] = right;
        // What never completed is a thin line: its thread went on as another process.
        const height = latency[i] < 0 ? 2 : this.lane - 2;
        context.fillRect(x, this.laneY(i) + 1, right - x, height);
        if (kind === 2 && right - x > 4) context.strokeRect(x + 0.5, this.laneY(i) + 1.5, right - x - 1, height - 1);
      }
      const spot = Math.floor(y / 2) * columns + Math.floor(x / 2);
      if (x < 0 || seen[spot]) continue;
      seen[spot] = 1;
      context.beginPath();
      if (kind === 1) {
        context.moveTo(x - 3, y - 3); context.lineTo(x + 3, y + 3); context.moveTo(x + 3, y - 3); context.lineTo(x - 3, y + 3);
        context.stroke();
      } else {
        context.moveTo(x, y - 4); context.lineTo(x + 4, y + 3); context.lineTo(x - 4, y + 3);
        context.closePath();
        context.fill();
        context.stroke();
      }
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {(name: string) => string} color */
  paintMarks(context, color) {
    const { start, latency } = this.operations;
    context.lineWidth = 2;
    const rings = this.source.marked.map((i) => /** @type {[number, string]} */ ([i, color("invalid")]));
    if (this.pointed !== null) rings.push([this.pointed, color("ink")]);
    for (const [i, stroke] of rings) {
      const x = this.x(start[i]), right = Math.max(this.x(this.endOf(i)), x + 3);
      context.strokeStyle = stroke;
      context.beginPath();
      context.arc(x, this.y(latency[i]), 7, 0, 2 * Math.PI);
      context.stroke();
      context.strokeRect(x - 1, this.laneY(i), right - x + 2, this.lane);
    }
    if (this.brush) {
      context.globalAlpha = 0.15;
      context.fillStyle = color("ink");
      context.fillRect(this.x(this.brush.from), 0, this.x(this.brush.to) - this.x(this.brush.from), this.height);
      context.globalAlpha = 1;
    }
  }

  /** Say in words what is shown. @param {string} [what] */
  say(what) {
    const shown = Math.max(0, this.after(this.to) - this.after(this.from));
    const range = `${at(this.from, 1)} to ${at(this.to, 1)}, ${shown.toLocaleString("en")} operation${shown === 1 ? "" : "s"}`;
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
    this.tip.style.transform = `translate(${Math.max(left, 0)}px, ${y + 14}px)`;
  }

  /** Only text ever reaches the page. @param {number} i @param {unknown} key @param {unknown} value @param {unknown} result @param {unknown} error */
  fill(i, key, value, result, error) {
    const { start, latency, process, outcome, f, node, index } = this.operations;
    const { tip, source } = this;
    /** @type {[string, string][]} */
    const rows = [
      ["outcome", Explorer.WORDS[outcome[i]] + (latency[i] < 0 ? ", never completed" : "")],
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
    tip.dataset.outcome = Explorer.WORDS[outcome[i]];
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
