// Singular values themselves, as published: see "Absolute singular values" in docs/bitstream.md.

import { LARGEST } from './delta.js';
import { DamagedStreamError } from './errors.js';
import { Tables, countsByWeight } from './tables.js';

export const ABSOLUTE_STEP = 5e-5;
const [NEAR, BLOCKS, BLOCK_BITS] = [72, 128, 6];
const ALPHA = 1000n;
const PRECISION = 128n;
const TERMS = 30;

/** For near or far, for near values, and for the blocks of far ones: `{classes, near, blocks}`. */
export async function spikeSlabTables() {
  const slab = bells(NEAR + 1 + (BLOCKS << BLOCK_BITS), [1n, 2n * 1000n ** 2n]);
  const spike = bells(slab.length, [9n, 5000n]);
  const weights = slab.map((weight, i) => weight + ALPHA * 60n * spike[i]);
  const near = weights.slice(0, NEAR + 1);
  const far = weights.slice(NEAR + 1);
  const sum = (values) => values.reduce((a, b) => a + b, 0n);
  const blocks = Array.from({ length: BLOCKS }, (_, i) => sum(far.slice(i << BLOCK_BITS, (i + 1) << BLOCK_BITS)));
  return {
    classes: await Tables.of([countsByWeight([2n * sum(near) - near[0], 2n * sum(far)])], [0]),
    near: await Tables.of([countsByWeight([...near.slice(1).reverse(), ...near])], [-NEAR]),
    blocks: await Tables.of([countsByWeight(blocks)], [0]),
  };
}

/** So many integers, in units of `ABSOLUTE_STEP`. Throws DamagedStreamError. */
export function decodeAbsolute(count, coder, tables) {
  const kinds = coder.decodeRow(count, 0, tables.classes);
  if (kinds.some((kind) => kind !== 0 && kind !== 1)) throw damaged('one is neither near zero nor far');
  const far = kinds.reduce((sum, kind) => sum + kind, 0);
  const near = coder.decodeRow(count - far, 0, tables.near);
  if (near.some((value) => Math.abs(value) > NEAR)) throw damaged(`a near one is beyond ${NEAR}`);
  const signs = coder.decodeBits(far, 1);
  const blocks = coder.decodeRow(far, 0, tables.blocks);
  if (blocks.some((block) => block < 0 || block > LARGEST >> BLOCK_BITS)) throw damaged(`one is beyond ${LARGEST}`);
  const rest = coder.decodeBits(far, BLOCK_BITS);
  let [n, f] = [0, 0];
  return Int32Array.from(kinds, (kind) => {
    if (!kind) return near[n++];
    const size = NEAR + 1 + blocks[f] * (1 << BLOCK_BITS) + rest[f];
    return signs[f++] ? -size : size;
  });
}

/** exp(-a q²) for q from 0 to count - 1, times 2^PRECISION; a = p / q. */
function bells(count, [p, q]) {
  let ratio = exponential(p, q);
  const second = exponential(2n * p, q);
  const values = [1n << PRECISION];
  while (values.length < count) {
    values.push((values.at(-1) * ratio) >> PRECISION);
    ratio = (ratio * second) >> PRECISION;
  }
  return values;
}

/** exp(-p / q) times 2^PRECISION for 0 <= p / q < 1, by its series, rounded down once. */
function exponential(p, q) {
  let [numerator, denominator, term] = [0n, 1n, 1n]; // the sum so far; the term's numerator over the same denominator
  for (let k = 0n; k < TERMS; k++) {
    if (k) {
      numerator *= q * k;
      denominator *= q * k;
      term *= -p;
    }
    numerator += term;
  }
  return (numerator << PRECISION) / denominator; // positive, so this rounds down
}

function damaged(what) {
  return new DamagedStreamError(`the stream's singular values are damaged: ${what}`);
}
