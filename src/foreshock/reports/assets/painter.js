"use strict";
/**
 * Paints every operation: latency by time above, what each process did below.
 * Ok operations are drawn first, fail and info last, so that the rare ones stay visible.
 */
class Painter {
  static LEFT = 64;
  static RIGHT = 18;
  static SCATTER = 260;
  static GAP = 26;
  static FOOT = 26;
  static TOP = 14;
  static CELL = 2;
  static LOCK = 16;
  /** More marks of one outcome than this in sight would cover everything: they shrink to squares. */
  static SHAPES_MAX = 1500;
  static WORDS = ["ok", "fail", "info"];

  /** @param {HTMLElement} root @param {ExplorerDocument} source @param {Operations} operations */
  constructor(root, source, operations) {
    this.root = root;
    this.source = source;
    this.operations = operations;
    this.canvas = /** @type {HTMLCanvasElement} */ (root.querySelector("canvas"));
    this.end = Math.max(source.end_us, 1);
    this.from = 0;
    this.to = this.end;
    /** @type {number | null} */
    this.pointed = null;
    /** @type {{from: number, to: number} | null} */
    this.brush = null;
    this.lane = Math.max(5, Math.min(16, 260 / source.lanes));
    // An operation that started this long before the window may still reach into it.
    this.longest = operations.latency.reduce((longest, us) => Math.max(longest, us < 0 ? this.end : us), 0);
    const least = operations.latency.reduce((low, us) => (us > 0 && us < low ? us : low), 1e6);
    const most = operations.latency.reduce((high, us) => Math.max(high, us), 10);
    this.low = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
    this.high = Math.max(most * 1.3, this.low * 100);
    this.measure();
  }

  /** The canvas' width is asked for once a painting: asking makes the browser lay out the page. */
  measure() {
    this.width = this.canvas.clientWidth;
    this.plot = Math.max(this.width - Painter.LEFT - Painter.RIGHT, 50);
  }

  get lanesTop() { return Painter.TOP + Painter.SCATTER + Painter.GAP; }
  get lanesBottom() { return this.lanesTop + this.source.lanes * this.lane; }
  get locksTop() { return this.lanesBottom + (this.source.holds ? 12 : 0); }
  get bottom() { return this.locksTop + (this.source.holds ? this.source.holds.names.length * Painter.LOCK : 0); }
  get height() { return this.bottom + Painter.FOOT; }

  /** @param {number} us @returns {number} */
  x(us) { return Painter.LEFT + ((us - this.from) / (this.to - this.from)) * this.plot; }

  /** @param {number} x @returns {number} */
  time(x) { return this.from + ((x - Painter.LEFT) / this.plot) * (this.to - this.from); }

  /** @param {number} us latency; negative: never completed, drawn along the top @returns {number} */
  y(us) {
    if (us < 0) return Painter.TOP + 5;
    const share = Math.log(Math.max(us, this.low) / this.low) / Math.log(this.high / this.low);
    return Painter.TOP + Painter.SCATTER - share * (Painter.SCATTER - 16);
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

  paint() {
    const began = performance.now();
    this.measure();
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
    this.paintBands(context, Number(color("band")));
    this.paintAxes(context, color);
    context.save();
    context.beginPath();
    context.rect(Painter.LEFT, 0, this.plot, height);
    context.clip();
    const first = this.after(this.from - this.longest), last = this.after(this.to);
    this.paintGrid(context, color("ok-ink"));
    this.paintOk(context, first, last, color("ok-ink"));
    for (const outcome of [1, 2]) this.paintRare(context, first, last, outcome, color);
    this.paintHolds(context, color);
    this.paintMarks(context, color);
    context.restore();
    canvas.dataset.painted = String(last - first);
    canvas.dataset.paintMs = (performance.now() - began).toFixed(1);
  }

  /** @param {CanvasRenderingContext2D} context @param {number} opacity */
  paintBands(context, opacity) {
    const { bottom } = this;
    context.globalAlpha = opacity;
    for (const [start, end, fill] of this.source.faults) {
      if (end < this.from || start > this.to) continue;
      const left = Math.max(this.x(start), Painter.LEFT), right = Math.min(this.x(end), this.width - Painter.RIGHT);
      context.fillStyle = fill;
      context.fillRect(left, Painter.TOP - 6, Math.max(right - left, 1), bottom - Painter.TOP + 6);
    }
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {(name: string) => string} color */
  paintAxes(context, color) {
    const { bottom } = this, right = this.width - Painter.RIGHT;
    context.strokeStyle = color("grid");
    context.fillStyle = color("ink-2");
    context.lineWidth = 1;
    context.textAlign = "right";
    for (let us = this.low; us <= this.high; us *= 10) {
      const y = Math.round(this.y(us)) + 0.5;
      this.stroke(context, Painter.LEFT, y, right, y);
      context.fillText(span(us), Painter.LEFT - 10, y + 4);
    }
    for (let lane = 0; lane < this.source.lanes; lane += 1) {
      const y = this.lanesTop + (lane + 0.5) * this.lane;
      if (this.lane >= 10 || lane % Math.ceil(10 / this.lane) === 0) context.fillText(`p${lane}`, Painter.LEFT - 10, y + 4);
    }
    for (const [lane, name] of (this.source.holds ? this.source.holds.names : []).entries()) {
      context.fillText(name, Painter.LEFT - 10, this.locksTop + (lane + 0.5) * Painter.LOCK + 4, Painter.LEFT - 12);
    }
    context.textAlign = "center";
    const step = niceStep((this.to - this.from) / Math.max(3, this.plot / 110));
    for (let us = Math.ceil(this.from / step) * step; us <= this.to; us += step) {
      const x = Math.round(this.x(us)) + 0.5;
      this.stroke(context, x, Painter.TOP - 6, x, bottom);
      context.fillText(at(us, step), Math.min(Math.max(x, Painter.LEFT + 10), right - 10), bottom + 18);
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
      if (right < Painter.LEFT || left > this.width) continue;
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
    const { start, latency, outcome } = this.operations, cell = Painter.CELL;
    const columns = Math.ceil(this.width / cell) + 1, rows = Math.ceil((Painter.TOP + Painter.SCATTER) / cell) + 1;
    const counts = new Uint16Array(columns * rows), reached = new Float64Array(this.source.lanes).fill(-1);
    context.fillStyle = fill;
    context.globalAlpha = 0.75;
    for (let i = first; i < last; i += 1) {
      if (outcome[i] !== 0) continue;
      const x = this.x(start[i]);
      if (x >= 0) counts[Math.floor(this.y(latency[i]) / cell) * columns + Math.floor(x / cell)] += 1;
      const lane = this.operations.process[i] % this.source.lanes, right = Math.max(this.x(this.endOf(i)), x + 1);
      if (right - reached[lane] < 0.75 || right < Painter.LEFT) continue;
      reached[lane] = right;
      context.fillRect(x, this.laneY(i) + 1, right - x - (right - x > 3 ? 0.75 : 0), this.lane - 2);
    }
    // Few operations are drawn large and solid, many by how many fall onto the same place.
    const few = last - first < 1500, size = few ? 4.5 : last - first < 8000 ? cell + 1 : cell + 0.5;
    for (let spot = 0; spot < counts.length; spot += 1) {
      if (!counts[spot]) continue;
      context.globalAlpha = few ? 0.9 : Math.min(1, 0.5 + 0.14 * Math.log2(counts[spot]));
      context.fillRect((spot % columns) * cell, Math.floor(spot / columns) * cell, size, size);
    }
    context.globalAlpha = 1;
  }

  /**
   * Fail as crosses, info as triangles, one a few pixels at most; where there are too many for shapes, as squares.
   * @param {CanvasRenderingContext2D} context @param {number} first @param {number} last @param {number} kind
   * @param {(name: string) => string} color
   */
  paintRare(context, first, last, kind, color) {
    const { start, latency, outcome } = this.operations, columns = Math.ceil(this.width / 2) + 1;
    const seen = new Uint8Array(columns * 200), reached = new Float64Array(this.source.lanes).fill(-1);
    let count = 0;
    for (let i = first; i < last; i += 1) count += Number(outcome[i] === kind);
    const dense = count > Painter.SHAPES_MAX;
    context.strokeStyle = color(`${Painter.WORDS[kind]}-ink`);
    context.fillStyle = kind === 1 ? context.strokeStyle : color("info");
    context.lineWidth = kind === 1 ? 1.6 : 1;
    for (let i = first; i < last; i += 1) {
      if (outcome[i] !== kind) continue;
      const x = this.x(start[i]), y = this.y(latency[i]), right = Math.max(this.x(this.endOf(i)), x + (dense ? 1 : 1.5));
      const lane = this.operations.process[i] % this.source.lanes;
      if (right - reached[lane] >= 0.75) {
        reached[lane] = right;
        // What never completed is a thin line: its thread went on as another process.
        const height = latency[i] < 0 ? 2 : dense && right - x < 3 ? this.lane / 3 : this.lane - 2;
        context.fillRect(x, this.laneY(i) + 1, right - x, height);
        if (kind === 2 && right - x > 4) context.strokeRect(x + 0.5, this.laneY(i) + 1.5, right - x - 1, height - 1);
      }
      const spot = Math.floor(y / 2) * columns + Math.floor(x / 2);
      if (x < 0 || seen[spot]) continue;
      seen[spot] = 1;
      if (dense) context.fillRect(x - 1, y - 1, 2, 2); else this.shape(context, x, y, kind);
    }
  }

  /**
   * Who held which lock: a bar a hold, at most one a pixel and lane; those that overlap others last, and red.
   * @param {CanvasRenderingContext2D} context @param {(name: string) => string} color
   */
  paintHolds(context, color) {
    const { holds } = this.operations;
    if (!holds || !this.source.holds) return;
    for (const overlapping of [0, 1]) {
      const reached = new Float64Array(this.source.holds.names.length).fill(-1);
      context.fillStyle = color(overlapping ? "invalid" : "ink");
      for (let i = 0; i < holds.start.length; i += 1) {
        const left = this.x(holds.start[i]), right = Math.max(this.x(holds.start[i] + holds.length[i]), left + (overlapping ? 2 : 1));
        const lane = holds.lane[i], y = this.locksTop + lane * Painter.LOCK;
        if ((holds.flags[i] & 1) !== overlapping || right < Painter.LEFT || left > this.width || right - reached[lane] < 0.75) continue;
        reached[lane] = right;
        context.globalAlpha = overlapping ? 0.85 : 0.62;
        // An overlapping one is lower, so that the one below it shows above it.
        context.fillRect(left, y + (overlapping ? 6 : 2), right - left - (right - left > 3 ? 0.75 : 0), Painter.LOCK - (overlapping ? 7 : 4));
        if (right - left > 34) this.holder(context, left, y, holds.process[i], color("surface"));
      }
    }
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {number} left @param {number} y @param {number} process @param {string} fill */
  holder(context, left, y, process, fill) {
    const before = context.fillStyle;
    context.globalAlpha = 1;
    context.fillStyle = fill;
    context.textAlign = "left";
    context.fillText(`p${process}`, Math.max(left, Painter.LEFT) + 4, y + Painter.LOCK - 4);
    context.fillStyle = before;
  }

  /** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} kind */
  shape(context, x, y, kind) {
    context.beginPath();
    if (kind === 1) {
      context.moveTo(x - 3, y - 3);
      context.lineTo(x + 3, y + 3);
      context.moveTo(x + 3, y - 3);
      context.lineTo(x - 3, y + 3);
    } else {
      context.moveTo(x, y - 4);
      context.lineTo(x + 4, y + 3);
      context.lineTo(x - 4, y + 3);
      context.closePath();
      context.fill();
    }
    context.stroke();
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
}
