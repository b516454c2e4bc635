// The range decoder of docs/bitstream.md, which reads what constriction's `RangeEncoder` writes: 32-bit words, a
// 64-bit state, 24-bit models. The state is numbers of 40 and of 24 bits, whose products stay below 2^53 in steps of 24
// bits and so are exact in doubles; BigInt would be some fifty times slower.

import { DamagedStreamError } from './errors.js';

export const DAMAGED = 'the coded data is damaged: it holds a value that no encoder writes; get the file again';

const WHOLE = 2 ** 24;
const BUCKETS = 256; // of a model, to begin the search in

/** A model by the left edges of its entries, and 2^24; and the entry in which each of its buckets begins. */
function modelOf(edges) {
  const starts = new Uint16Array(BUCKETS);
  for (let bucket = 0, i = 0; bucket < BUCKETS; bucket++) {
    while (edges[i + 1] <= (bucket * WHOLE) / BUCKETS) i++;
    starts[bucket] = i;
  }
  return { edges, starts };
}

/** The model of a row of counts: entry i begins at `floor((2^24 - n) * (c_0 + … + c_i-1) / 2^16) + i`. */
export function countedModel(counts) {
  const edges = new Float64Array(counts.length + 1);
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    edges[i] = Math.floor(((WHOLE - counts.length) * sum) / 65536) + i; // exact in doubles
    sum += counts[i];
  }
  edges[counts.length] = WHOLE;
  return modelOf(edges);
}

/** The model of integers of so many bits, up to 16, all alike. */
export function uniformModel(bits) {
  return modelOf(Float64Array.from({ length: 2 ** bits + 1 }, (_, i) => i * 2 ** (24 - bits)));
}

/** Takes any bytes; those beyond the end are zeros. */
export class RangeDecoder {
  constructor(data) {
    this.data = data;
    this.position = 0;
    this.unit = 2 ** 40 - 1; // `width >> 24`, all that the next entry depends on
    const [first, second] = [this.word(), this.word()];
    [this.high, this.low] = [first * 256 + (second >>> 24), second & 0xffffff]; // of what is called `offset` there
  }

  /** The next `count` entry numbers by a model. Throws DamagedStreamError. */
  entries({ edges, starts }, count) {
    const found = new Int32Array(count);
    const end = edges.length - 1;
    let { unit, high, low } = this; // local, which is what makes this fast
    for (let n = 0; n < count; n++) {
      const part = (high * WHOLE + low) / unit; // rounded, so that the guess may be one off at an edge
      let i = starts[Math.min(Math.floor(part / (WHOLE / BUCKETS)), BUCKETS - 1)];
      while (i + 1 < end && edges[i + 1] <= part) i++;
      const upper = Math.floor(unit / WHOLE);
      const lower = unit - upper * WHOLE;
      let [aboveHigh, aboveLow, newUnit, newRest] = [0, 0, 0, 0];
      for (;;) {
        const edge = edges[i];
        const carry = Math.floor((lower * edge) / WHOLE);
        aboveHigh = high - upper * edge - carry; // offset - unit * edge
        aboveLow = low - (lower * edge - carry * WHOLE);
        if (aboveLow < 0) {
          aboveLow += WHOLE;
          aboveHigh--;
        }
        if (aboveHigh < 0) {
          i--;
          continue;
        }
        const size = edges[i + 1] - edge;
        const more = Math.floor((lower * size) / WHOLE);
        newUnit = upper * size + more; // unit * size
        newRest = lower * size - more * WHOLE;
        if (aboveHigh < newUnit || (aboveHigh === newUnit && aboveLow < newRest)) break;
        if (++i === end) throw new DamagedStreamError(DAMAGED);
      }
      found[n] = i;
      if (newUnit < 256) {
        const word = this.word(); // the width fits into 32 bits, and is shifted by as many
        unit = (newUnit * WHOLE + newRest) * 256;
        high = (aboveHigh * WHOLE + aboveLow) * 256 + (word >>> 24);
        low = word & 0xffffff;
      } else {
        [unit, high, low] = [newUnit, aboveHigh, aboveLow];
      }
    }
    Object.assign(this, { unit, high, low });
    return found;
  }

  /** The next 32 bits, big-endian. */
  word() {
    const at = this.position;
    this.position += 4;
    const byte = (i) => this.data[at + i] ?? 0;
    return byte(0) * 2 ** 24 + byte(1) * 2 ** 16 + byte(2) * 2 ** 8 + byte(3);
  }
}
