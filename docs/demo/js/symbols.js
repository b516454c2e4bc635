// Entropy decoding of integers, as `taskodec.stream.entropy`: group by group, escapes in a universal code.

import { crc32 } from './crc32.js';
import { DamagedStreamError } from './errors.js';
import { DAMAGED, RangeDecoder, uniformModel } from './range.js';

/** Reads what a `SymbolEncoder` wrote. `escapes` is the table of `escapeTable()`. */
export class SymbolDecoder {
  constructor(data, escapes) {
    this.range = new RangeDecoder(data);
    this.escapes = escapes;
    this.uniformModels = [];
    this.crc = 0;
    this.seen = new Set();
  }

  /** 16 bits over all tables and indexes given so far. */
  get checksum() {
    return this.crc & 0xffff;
  }

  /** One symbol for each index (Uint16Array of table rows), as an Int32Array. Throws DamagedStreamError. */
  decode(indexes, tables) {
    this.note(indexes, tables);
    const symbols = new Int32Array(indexes.length);
    const escaped = new Uint8Array(indexes.length);
    let escapes = 0;
    for (const [row, where] of groups(indexes)) {
      const entries = this.range.entries(tables.model(row), where.length);
      const last = tables.rows[row].length - 1;
      const offset = tables.offsets[row];
      for (let k = 0; k < where.length; k++) {
        symbols[where[k]] = offset + entries[k];
        if (entries[k] === last) {
          escaped[where[k]] = 1;
          escapes++;
        }
      }
    }
    if (escapes) this.decodeEscapes(symbols, escaped, indexes, tables);
    return symbols;
  }

  /** All symbols by the same row. */
  decodeRow(count, row, tables) {
    return this.decode(new Uint16Array(count).fill(row), tables);
  }

  /** An integer of up to 16 bits. */
  decodeUniform(bits) {
    return this.uniform(1, bits)[0];
  }

  /** `count` integers of up to 32 bits: all lower halves come before all upper ones. */
  decodeBits(count, bits) {
    const lower = this.uniform(count, Math.min(bits, 16));
    const upper = this.uniform(count, Math.max(bits - 16, 0));
    return Array.from(lower, (value, i) => value + upper[i] * 65536);
  }

  uniform(count, bits) {
    if (!bits) return new Int32Array(count);
    this.uniformModels[bits] ??= uniformModel(bits);
    return this.range.entries(this.uniformModels[bits], count);
  }

  /** Elias gamma code: of all escapes the number of bits and the side, then the bits below the leading one. */
  decodeEscapes(symbols, escaped, indexes, tables) {
    const places = [];
    escaped.forEach((is, i) => is && places.push(i));
    const classes = this.range.entries(this.escapes.model(0), places.length);
    if (classes.some((value) => value >> 1 > 32)) throw new DamagedStreamError(DAMAGED); // the table's own escape
    const lengths = Uint16Array.from(classes, (value) => value >> 1);
    for (const [length, where] of groups(lengths)) {
      const rest = this.decodeBits(where.length, length);
      where.forEach((n, k) => {
        const i = places[n];
        const distance = 2 ** length + rest[k];
        const first = tables.offsets[indexes[i]];
        const end = first + tables.rows[indexes[i]].length - 1;
        const symbol = classes[n] & 1 ? end + distance - 1 : first - distance;
        if (symbol < -(2 ** 31) || symbol > 2 ** 31 - 1) throw new DamagedStreamError(DAMAGED);
        symbols[i] = symbol;
      });
    }
  }

  /** Chain the indexes, after the tables' fingerprint if that is new. */
  note(indexes, tables) {
    const key = tables.fingerprint.join();
    if (indexes.length && !this.seen.has(key)) {
      this.seen.add(key);
      this.crc = crc32(tables.fingerprint, this.crc);
    }
    this.crc = crc32(new Uint8Array(indexes.buffer, indexes.byteOffset, indexes.byteLength), this.crc); // little-endian
  }
}

/** Each value that occurs, ascending, with the positions where it does. */
function* groups(values) {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, values[i]);
  const starts = new Uint32Array(largest + 2);
  for (let i = 0; i < values.length; i++) starts[values[i] + 1]++;
  for (let value = 1; value < starts.length; value++) starts[value] += starts[value - 1];
  const order = new Uint32Array(values.length);
  const next = starts.slice();
  for (let i = 0; i < values.length; i++) order[next[values[i]]++] = i;
  for (let value = 0; value + 1 < starts.length; value++) {
    if (starts[value] < starts[value + 1]) yield [value, order.subarray(starts[value], starts[value + 1])];
  }
}
