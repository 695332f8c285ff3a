"use strict";
/**
 * @typedef {{from: number, width_s: number, ok: number[], fail: number[], info: number[],
 *   p50: (number|null)[], p99: (number|null)[]}} Timeline
 * @typedef {{id: number, kind: string, what: string, nodes: string[], from_s: number, to_s: number|null, state: string}} LiveFault
 */

const LEFT = 66, RIGHT = 14, TOP = 12, GAP = 26, RATE_HEIGHT = 150, LATENCY_HEIGHT = 120, LANE = 18, AXIS = 26, LANES_MAX = 14;
const COLOR = /^#[0-9A-Fa-f]{3}(?:[0-9A-Fa-f]{3})?$/;

/** @param {number} raw @returns {number} the next of 1, 2 and 5 times a power of ten */
function roundUp(raw) {
  const power = 10 ** Math.floor(Math.log10(Math.max(raw, 1e-9)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw * 0.999999) || 10 * power;
}

/** @param {number} ms @returns {string} a length of time in the unit that suits it */
function took(ms) {
  if (ms >= 1000) return `${Number((ms / 1000).toPrecision(3))} s`;
  if (ms >= 1) return `${Number(ms.toPrecision(3))} ms`;
  return `${Number((ms * 1000).toPrecision(3))} µs`;
}

/** Completed operations, their latency and the faults, over one axis of time. */
class LiveChart {
  /** @param {HTMLCanvasElement} canvas @param {HTMLElement} reading @param {string[]} spareColors */
  constructor(canvas, reading, spareColors) {
    this.canvas = canvas;
    this.reading = reading;
    this.spareColors = spareColors;
    /** @type {Timeline} */
    this.timeline = { from: 0, width_s: 1, ok: [], fail: [], info: [], p50: [], p99: [] };
    /** @type {LiveFault[]} */
    this.faults = [];
    /** @type {Record<string, string>} */
    this.shades = {};
    this.now_s = 0;
    this.pending = false;
    /** @type {number|null} */
    this.pointer = null;
    const again = () => this.redraw();
    new ResizeObserver(again).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; again(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; again(); });
  }

  /** @param {Timeline} news all slices, or those since the first that has changed */
  take(news) {
    const known = this.timeline;
    if (news.from === 0 || news.width_s !== known.width_s) {
      this.timeline = news;
      return;
    }
    for (const name of /** @type {const} */ (["ok", "fail", "info", "p50", "p99"])) {
      known[name].length = news.from;
      known[name].push(.../** @type {any[]} */ (news[name]));
    }
  }

  /** Paint at the next frame, once, however often it is asked for. */
  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.paint(); });
  }

  /** @param {string} kind @returns {string} */
  colorOf(kind) {
    const chosen = Object.hasOwn(this.shades, kind) ? this.shades[kind] : "";
    if (COLOR.test(chosen)) return chosen;
    let sum = 0;
    for (const letter of kind) sum = (sum * 31 + (letter.codePointAt(0) || 0)) % 9973;
    return this.spareColors[sum % this.spareColors.length];
  }

  /** @returns {string[]} the kinds of fault, each of which has a lane */
  kinds() {
    return [...new Set(this.faults.map((fault) => fault.kind))].slice(0, LANES_MAX);
  }

  paint() {
    const kinds = this.kinds();
    const height = TOP + RATE_HEIGHT + GAP + LATENCY_HEIGHT + (kinds.length ? GAP / 2 + kinds.length * LANE : 0) + AXIS;
    const ratio = devicePixelRatio || 1, width = this.canvas.clientWidth;
    this.canvas.style.height = `${height}px`;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    if (!context || width < LEFT + RIGHT + 50) return;
    const style = getComputedStyle(document.documentElement);
    /** @param {string} name */
    const token = (name) => style.getPropertyValue(`--${name}`).trim();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `11px ${token("sans")}`;
    context.textBaseline = "middle";
    const end_s = Math.max(this.now_s, this.timeline.ok.length * this.timeline.width_s, 5);
    /** @param {number} s */
    const x = (s) => LEFT + Math.min(Math.max(s / end_s, 0), 1) * (width - LEFT - RIGHT);
    const plot = { context, token, x, end_s, width, bottom: TOP + RATE_HEIGHT + GAP + LATENCY_HEIGHT };
    this.paintFaults(plot, kinds);
    this.paintRate(plot);
    this.paintLatency(plot);
    this.paintAxis(plot, height);
    this.paintPointer(plot, height);
    this.canvas.dataset.painted = String(this.timeline.ok.length);
  }

  /** @param {any} plot @param {string[]} kinds */
  paintFaults({ context, token, x, end_s, bottom }, kinds) {
    const band = (Number(token("band")) || 0.15) * 0.75;
    for (const fault of this.faults) {
      const left = x(fault.from_s), right = Math.max(x(fault.to_s ?? end_s), left + 2);
      context.fillStyle = this.colorOf(fault.kind);
      if (fault.state !== "failed" && fault.state !== "planned") {
        context.globalAlpha = band;
        context.fillRect(left, TOP, right - left, bottom - TOP);
      }
      const lane = kinds.indexOf(fault.kind);
      if (lane >= 0) {
        context.globalAlpha = fault.state === "failed" || fault.state === "planned" ? 0.3 : 0.95;
        context.fillRect(left, bottom + GAP / 2 + lane * LANE + 3, right - left, LANE - 6);
      }
      context.globalAlpha = 1;
    }
    context.textAlign = "right";
    context.fillStyle = token("ink-2");
    kinds.forEach((kind, lane) => {
      context.fillText(kind.length > 9 ? `${kind.slice(0, 8)}…` : kind, LEFT - 6, bottom + GAP / 2 + (lane + 0.5) * LANE);
    });
  }

  /** @param {any} plot */
  paintRate({ context, token, x, width }) {
    const { width_s, ok, fail, info } = this.timeline;
    const base = TOP + RATE_HEIGHT;
    let most = 0;
    for (let i = 0; i < ok.length; i += 1) most = Math.max(most, (ok[i] + fail[i] + info[i]) / width_s);
    const step = roundUp(Math.max(most, 1) / 3), top = Math.max(Math.ceil(most / step) * step, step);
    context.textAlign = "right";
    for (let value = 0; value <= top + step / 2; value += step) {
      const y = base - (value / top) * RATE_HEIGHT;
      context.strokeStyle = value ? token("grid") : token("line");
      context.beginPath();
      context.moveTo(LEFT, y);
      context.lineTo(width - RIGHT, y);
      context.stroke();
      context.fillStyle = token("ink-2");
      context.fillText(String(Number(value.toPrecision(4))), LEFT - 6, y);
    }
    const layers = [["ok", ok], ["info", info], ["fail", fail]];
    for (let i = 0; i < ok.length; i += 1) {
      const left = x(i * width_s), right = x((i + 1) * width_s);
      let y = base;
      for (const [name, counts] of /** @type {[string, number[]][]} */ (layers)) {
        if (!counts[i]) continue;
        // Few failures among many operations are still seen.
        const tall = Math.max((counts[i] / width_s / top) * RATE_HEIGHT, name === "ok" ? 0.5 : 2);
        context.fillStyle = token(name === "fail" ? "fail-ink" : name);
        context.fillRect(left, y - tall, Math.max(right - left - (right - left > 3 ? 0.5 : 0), 0.5), tall);
        y -= tall;
      }
    }
    this.label(context, token, "completed a second", TOP);
  }

  /** @param {any} plot */
  paintLatency({ context, token, x, width, bottom }) {
    const { width_s, p50, p99 } = this.timeline;
    const known = /** @type {number[]} */ ([...p50, ...p99].filter((value) => value !== null));
    if (!known.length) return;
    const low = 10 ** Math.floor(Math.log10(Math.max(Math.min(...known), 1e-3)));
    const high = Math.max(10 ** Math.ceil(Math.log10(Math.max(...known))), low * 10);
    /** @param {number} ms */
    const y = (ms) => bottom - (Math.log(Math.max(ms, low) / low) / Math.log(high / low)) * LATENCY_HEIGHT;
    context.textAlign = "right";
    for (let ms = low; ms <= high * 1.001; ms *= 10) {
      context.strokeStyle = ms === low ? token("line") : token("grid");
      context.beginPath();
      context.moveTo(LEFT, y(ms));
      context.lineTo(width - RIGHT, y(ms));
      context.stroke();
      context.fillStyle = token("ink-2");
      context.fillText(took(ms), LEFT - 6, y(ms));
    }
    for (const [line, color, thick] of /** @type {[(number|null)[], string, number][]} */ ([[p99, "info-ink", 1.4], [p50, "ok-ink", 2.2]])) {
      context.strokeStyle = token(color);
      context.lineWidth = thick;
      context.lineJoin = "round";
      context.beginPath();
      let down = false;
      line.forEach((ms, i) => {
        if (ms === null) {
          down = false;
          return;
        }
        const at = x((i + 0.5) * width_s);
        if (down) context.lineTo(at, y(ms));
        else {
          context.moveTo(at - 1.5, y(ms));
          context.lineTo(at + 1.5, y(ms));
        }
        down = true;
      });
      context.stroke();
      context.lineWidth = 1;
    }
    this.label(context, token, "latency of ok operations", TOP + RATE_HEIGHT + GAP);
  }

  /** @param {CanvasRenderingContext2D} context @param {(name: string) => string} token @param {string} text @param {number} y */
  label(context, token, text, y) {
    context.textAlign = "left";
    context.lineWidth = 4;
    context.strokeStyle = token("surface");
    context.strokeText(text, LEFT + 6, y + 2);
    context.lineWidth = 1;
    context.fillStyle = token("ink");
    context.fillText(text, LEFT + 6, y + 2);
  }

  /** @param {any} plot @param {number} height */
  paintAxis({ context, token, x, end_s, width }, height) {
    const step = roundUp(end_s / Math.max(Math.floor(width / 110), 2));
    context.fillStyle = token("ink-2");
    for (let at = 0; at <= end_s * 1.0001; at += step) {
      context.textAlign = at === 0 ? "left" : x(at) > width - RIGHT - 20 ? "right" : "center";
      context.fillText(`${Number(at.toPrecision(6))} s`, x(at), height - AXIS / 2 + 2);
    }
  }

  /** @param {any} plot @param {number} height */
  paintPointer({ context, token, end_s, width }, height) {
    if (this.pointer === null || this.pointer < LEFT || this.pointer > width - RIGHT) {
      this.reading.textContent = "";
      return;
    }
    const at = ((this.pointer - LEFT) / (width - LEFT - RIGHT)) * end_s;
    context.strokeStyle = token("ink-2");
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(this.pointer, TOP);
    context.lineTo(this.pointer, height - AXIS);
    context.stroke();
    context.setLineDash([]);
    const { width_s, ok, fail, info, p50, p99 } = this.timeline, i = Math.floor(at / width_s);
    /** @param {number[]} counts */
    const rate = (counts) => Math.round((counts[i] || 0) / width_s);
    const inForce = this.faults.filter((fault) => fault.from_s <= at && at <= (fault.to_s ?? end_s)).map((fault) => fault.what);
    const parts = [`${at.toFixed(1)} s`, `${rate(ok)} ok, ${rate(fail)} fail, ${rate(info)} info a second`];
    const half = p50[i], most = p99[i];
    if (half !== null && half !== undefined) parts.push(`p50 ${took(half)}, p99 ${took(most ?? half)}`);
    this.reading.textContent = [...parts, ...inForce.slice(0, 3)].join(" · ");
  }
}
