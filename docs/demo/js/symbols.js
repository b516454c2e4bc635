// Entropy decoding of integers, as `taskodec.stream.entropy`: group by group, escapes in a universal code.

import { crc32 } from './crc32.js';
import { DamagedStreamError } from './errors.js';
import { DAMAGED, RangeDecoder } from './range.js';

/** Reads what a `SymbolEncoder` wrote. `escapes` is the table of `escapeTable()`. */
export class SymbolDecoder {
  constructor(data, escapes) {
    this.range = new RangeDecoder(data);
    this.escapes = escapes;
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
      const edges = tables.model(row);
      const last = edges.length - 2;
      const offset = tables.offsets[row];
      for (let k = 0; k < where.length; k++) {
        const i = where[k];
        const entry = this.range.entry(edges);
        symbols[i] = offset + entry;
        if (entry === last) {
          escaped[i] = 1;
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
    return this.range.uniform(bits);
  }

  /** `count` integers of up to 32 bits: all lower halves come before all upper ones. */
  decodeBits(count, bits) {
    const read = (width) => Array.from({ length: count }, () => this.range.uniform(width));
    const lower = read(Math.min(bits, 16));
    const upper = read(Math.max(bits - 16, 0));
    return lower.map((value, i) => value + upper[i] * 65536);
  }

  /** Elias gamma code: of all escapes the number of bits and the side, then the bits below the leading one. */
  decodeEscapes(symbols, escaped, indexes, tables) {
    const places = [];
    escaped.forEach((is, i) => is && places.push(i));
    const classes = places.map(() => this.range.entry(this.escapes.model(0)));
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
    const bytes = new Uint8Array(2 * indexes.length); // little-endian on every machine
    for (let i = 0; i < indexes.length; i++) {
      bytes[2 * i] = indexes[i] & 0xff;
      bytes[2 * i + 1] = indexes[i] >> 8;
    }
    this.crc = crc32(bytes, this.crc);
  }
}

/** Each value that occurs, ascending, with the positions where it does. */
function* groups(values) {
  const starts = new Uint32Array(values.reduce((a, b) => Math.max(a, b), 0) + 2);
  for (let i = 0; i < values.length; i++) starts[values[i] + 1]++;
  for (let value = 1; value < starts.length; value++) starts[value] += starts[value - 1];
  const order = new Uint32Array(values.length);
  const next = starts.slice();
  for (let i = 0; i < values.length; i++) order[next[values[i]]++] = i;
  for (let value = 0; value + 1 < starts.length; value++) {
    if (starts[value] < starts[value + 1]) yield [value, order.subarray(starts[value], starts[value + 1])];
  }
}
