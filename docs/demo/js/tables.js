// Integer frequency tables: rows of counts that sum to 2^16, the escape last. As `taskodec.stream.tables`.

import { WeightsError } from './errors.js';
import { countedModel } from './range.js';

export const TOTAL = 65536;

/** Rows with the symbol of their first entries; make them with `Tables.of`. */
export class Tables {
  constructor(rows, offsets, fingerprint) {
    this.rows = rows;
    this.offsets = offsets;
    this.fingerprint = fingerprint;
    this.models = rows.map(() => null);
  }

  /** Checked, and with its fingerprint: 8 bytes of a SHA-256, which browsers compute only in the background. */
  static async of(rows, offsets) {
    if (rows.length !== offsets.length || !rows.length || rows.length > TOTAL) {
      throw new WeightsError(`tables need as many offsets as rows, found ${offsets.length} and ${rows.length}`);
    }
    for (const row of rows) {
      if (row.length < 2 || row.some((count) => !(count >= 1)) || row.reduce((a, b) => a + b) !== TOTAL) {
        throw new WeightsError('a table row needs two or more counts of at least 1 that sum to 65536');
      }
    }
    if (!globalThis.crypto?.subtle) {
      throw new WeightsError('browsers compute checksums on HTTPS and localhost only: open the page from there');
    }
    const digest = await crypto.subtle.digest('SHA-256', content(rows, offsets));
    return new Tables(rows, offsets, new Uint8Array(digest).slice(0, 8));
  }

  /** Tables as npz files have them: the rows' lengths, and all counts one after the other. */
  static async fromLengths(lengths, counts, offsets) {
    const rows = [];
    let start = 0;
    for (const length of lengths) {
      rows.push(Array.from(counts.subarray(start, start + Number(length)), Number));
      start += Number(length);
    }
    return Tables.of(rows, Array.from(offsets, Number));
  }

  /** The range coder's model of a row, made at its first use. */
  model(row) {
    this.models[row] ??= countedModel(this.rows[row]);
    return this.models[row];
  }
}

/** The rows of Gaussians, -r to r and the escape, of which only lengths and counts are shipped. */
export function gaussianTables({ lengths, counts }) {
  return Tables.fromLengths(
    lengths,
    counts,
    Array.from(lengths, (length) => -((length - 2) >> 1)),
  );
}

/** One row for `2 * bits below the leading one + above`, each length half as likely as the one before. */
export function escapeTable() {
  const probabilities = Array.from({ length: 66 }, (_, i) => 0.5 ** (2 + (i >> 1)));
  return Tables.of([countsFromProbabilities(probabilities)], [0]);
}

/** Counts of probabilities and the escape: at least one each, then by largest remainders. */
export function countsFromProbabilities(probabilities) {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const weights = [...probabilities, Math.max(0, 1 - sum(probabilities))];
  const small = weights.map(() => false); // worth less than one count: these get one, the others share
  let shares;
  for (;;) {
    const others = TOTAL - small.filter(Boolean).length;
    const factor = others / sum(weights.filter((_, i) => !small[i]));
    shares = weights.map((weight) => weight * factor);
    const found = shares.map((share, i) => !small[i] && share < 1);
    if (!found.some(Boolean)) break;
    found.forEach((is, i) => (small[i] ||= is));
  }
  shares = shares.map((share, i) => (small[i] ? 1 : share));
  const counts = shares.map(Math.floor);
  const order = counts.map((_, i) => i).sort((a, b) => counts[a] - shares[a] - (counts[b] - shares[b]) || a - b);
  for (const i of order.slice(0, TOTAL - sum(counts))) counts[i]++;
  return counts;
}

/** Counts of integer weights (BigInt): one each and for the escape, the rest by weight, what is left to the heaviest. */
export function countsByWeight(weights) {
  const spare = BigInt(TOTAL - weights.length - 1);
  const sum = weights.reduce((a, b) => a + b, 0n);
  const counts = weights.map((weight) => 1 + Number((spare * weight) / sum));
  counts[counts.indexOf(Math.max(...counts))] += TOTAL - 1 - counts.reduce((a, b) => a + b);
  return [...counts, 1];
}

/** What the fingerprint is made of: offsets of 64 bits, then of each row its length in 32 bits and counts in 16. */
function content(rows, offsets) {
  const size = 8 * offsets.length + rows.reduce((bytes, row) => bytes + 4 + 2 * row.length, 0);
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const offset of offsets) {
    view.setBigInt64(at, BigInt(offset), true);
    at += 8;
  }
  for (const row of rows) {
    view.setUint32(at, row.length, true);
    at += 4;
    for (const count of row) {
      view.setUint16(at, count, true);
      at += 2;
    }
  }
  return view.buffer;
}
