// The range decoder of docs/bitstream.md, which reads what constriction's `RangeEncoder` writes: 32-bit words, a
// 64-bit state, 24-bit models. The state is pairs of 32-bit numbers, whose products below 2^53 are exact in doubles;
// BigInt would be some fifty times slower.

import { DamagedStreamError } from './errors.js';

export const DAMAGED = 'the coded data is damaged: it holds a value that no encoder writes; get the file again';

const WORD = 2 ** 32;
const WHOLE = 2 ** 24;

/** The left edges of a row's entries, and 2^24: `floor((2^24 - n) * (c_0 + … + c_i-1) / 2^16) + i`, exact in doubles. */
export function leftEdges(counts) {
  const edges = new Float64Array(counts.length + 1);
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    edges[i] = Math.floor(((WHOLE - counts.length) * sum) / 65536) + i;
    sum += counts[i];
  }
  edges[counts.length] = WHOLE;
  return edges;
}

/** Takes any bytes; those beyond the end are zeros. */
export class RangeDecoder {
  constructor(data) {
    this.data = data;
    this.position = 0;
    this.widthHigh = this.widthLow = WORD - 1;
    this.high = this.word(); // of what is called `offset` there
    this.low = this.word();
    this.productHigh = this.productLow = 0;
  }

  /** The next entry number by the edges of a row. */
  entry(edges) {
    const unit = this.unit();
    const part = (this.high * WORD + this.low) / unit; // rounded, so that the guess may be one off at a bound
    let low = 0;
    let high = edges.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (edges[middle] <= part) low = middle;
      else high = middle - 1;
    }
    while (!this.reaches(unit, edges[low])) low--;
    this.subtract();
    while (this.reaches(unit, edges[low + 1] - edges[low])) {
      this.subtract();
      if (++low === edges.length - 1) throw new DamagedStreamError(DAMAGED);
    }
    this.narrow();
    return low;
  }

  /** The next integer of up to 16 bits that was written as it is. */
  uniform(bits) {
    if (!bits) return 0;
    const size = 2 ** (24 - bits);
    const unit = this.unit();
    let value = Math.min(Math.floor((this.high * WORD + this.low) / unit / size), 2 ** bits - 1);
    while (!this.reaches(unit, value * size)) value--;
    this.subtract();
    while (this.reaches(unit, size)) {
      this.subtract();
      if (++value === 2 ** bits) throw new DamagedStreamError(DAMAGED);
    }
    this.narrow();
    return value;
  }

  /** `width >> 24`, up to 40 bits. */
  unit() {
    return this.widthHigh * 256 + Math.floor(this.widthLow / WHOLE);
  }

  /** Whether `offset >= unit * edge`, of up to 40 and 25 bits; keeps the product. Every step stays below 2^53. */
  reaches(unit, edge) {
    const top = Math.floor(unit / 65536);
    const upper = top * edge;
    const upperRest = upper % 65536;
    const lower = (unit - top * 65536) * edge + upperRest * 65536;
    const carry = Math.floor(lower / WORD);
    this.productHigh = (upper - upperRest) / 65536 + carry;
    this.productLow = lower - carry * WORD;
    return this.high > this.productHigh || (this.high === this.productHigh && this.low >= this.productLow);
  }

  /** Take the last product from the offset. */
  subtract() {
    this.high -= this.productHigh;
    this.low -= this.productLow;
    if (this.low < 0) {
      this.low += WORD;
      this.high--;
    }
  }

  /** The last product, which the offset does not reach, is the width now. */
  narrow() {
    this.widthHigh = this.productHigh;
    this.widthLow = this.productLow;
    if (this.widthHigh === 0) {
      this.widthHigh = this.widthLow;
      this.widthLow = 0;
      this.high = this.low;
      this.low = this.word();
    }
  }

  /** The next 32 bits, big-endian. */
  word() {
    const at = this.position;
    this.position += 4;
    const byte = (i) => this.data[at + i] ?? 0;
    return byte(0) * 2 ** 24 + byte(1) * 2 ** 16 + byte(2) * 2 ** 8 + byte(3);
  }
}
