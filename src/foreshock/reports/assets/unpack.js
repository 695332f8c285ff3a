"use strict";
/**
 * The operations of the page, unpacked into typed arrays.
 *
 * @typedef {Object} ExplorerDocument
 * @property {number} count operations embedded
 * @property {number} total operations in the history
 * @property {number} end_us end of the run
 * @property {number} lanes
 * @property {string[]} f
 * @property {string[]} nodes
 * @property {{name: string, type: string, length: number}[]} arrays
 * @property {string} data
 * @property {string} text
 * @property {null | {columns: number, rows: number, column_us: number, top_us: number, counts: string}} grid
 * @property {number[]} marked positions of the operations that a checker convicted
 * @property {[number, number, string, string][]} faults [start, end, colour, label]
 * @property {[number, string][]} anomalies [time, label]
 * @property {null | HoldsDocument} holds who held which lock
 *
 * @typedef {Object} HoldsDocument
 * @property {string[]} names of the locks, a lane each
 * @property {{name: string, type: string, length: number}[]} arrays
 * @property {string} data
 * @property {string} tokens
 * @property {number} left_out holds that are not embedded
 *
 * @typedef {Object} Holds
 * @property {Uint32Array} start microseconds
 * @property {Uint32Array} length microseconds
 * @property {Uint8Array} lane
 * @property {Uint32Array} process
 * @property {Uint8Array} flags 1 overlapping, 2 ended by its lease
 *
 * @typedef {Object} Operations
 * @property {Float64Array} start microseconds since the start of the test
 * @property {Float64Array} latency microseconds; negative when it never completed
 * @property {Uint32Array} process
 * @property {Uint8Array} outcome 0 ok, 1 fail, 2 info
 * @property {Uint8Array} f
 * @property {Uint8Array} node 0 none, else one more than the position in nodes
 * @property {Float64Array} index of the invocation
 * @property {Uint16Array | null} grid
 * @property {Holds | null} holds
 */
const NEVER = 0xffffffff;

/** @param {string} packed @returns {Promise<ArrayBuffer>} */
async function inflate(packed) {
  const raw = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/**
 * Bytes of equal weight were stored side by side; put each number together again.
 * @param {Uint8Array} planes @param {number} offset @param {number} length @param {number} size bytes a number
 * @returns {Uint8Array}
 */
function interleave(planes, offset, length, size) {
  const bytes = new Uint8Array(length * size);
  for (let plane = 0; plane < size; plane += 1) {
    const from = offset + plane * length;
    for (let i = 0; i < length; i += 1) bytes[i * size + plane] = planes[from + i];
  }
  return bytes;
}

/**
 * Columns by name, out of one deflated text.
 * @param {string} data @param {{name: string, type: string, length: number}[]} arrays
 * @returns {Promise<Record<string, Uint8Array | Uint32Array | Int32Array>>}
 */
async function columns(data, arrays) {
  const planes = new Uint8Array(await inflate(data));
  /** @type {Record<string, Uint8Array | Uint32Array | Int32Array>} */
  const found = {};
  let offset = 0;
  for (const { name, type, length } of arrays) {
    const size = Number(type[1]);
    const bytes = interleave(planes, offset, length, size);
    found[name] = type === "u1" ? bytes : type === "i4" ? new Int32Array(bytes.buffer) : new Uint32Array(bytes.buffer);
    offset += length * size;
  }
  return found;
}

/** @param {ExplorerDocument} source @returns {Promise<Operations>} */
async function unpack(source) {
  const found = await columns(source.data, source.arrays), { holds } = source;
  return {
    start: runningSum(found.start),
    index: runningSum(found.index),
    latency: withNever(found.latency),
    process: /** @type {Uint32Array} */ (found.process),
    outcome: /** @type {Uint8Array} */ (found.outcome),
    f: /** @type {Uint8Array} */ (found.f),
    node: /** @type {Uint8Array} */ (found.node),
    grid: source.grid ? new Uint16Array(await inflate(source.grid.counts)) : null,
    holds: holds ? /** @type {any} */ (await columns(holds.data, holds.arrays)) : null,
  };
}

/** @param {ArrayLike<number>} stored @returns {Float64Array} */
function withNever(stored) {
  const latency = new Float64Array(stored.length);
  for (let i = 0; i < stored.length; i += 1) latency[i] = stored[i] === NEVER ? -1 : stored[i];
  return latency;
}

/** @param {ArrayLike<number>} differences @returns {Float64Array} */
function runningSum(differences) {
  const sums = new Float64Array(differences.length);
  let sum = 0;
  for (let i = 0; i < differences.length; i += 1) sums[i] = sum += differences[i];
  return sums;
}
