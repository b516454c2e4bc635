// Changes to the adapter's singular values, as `taskodec.stream.delta`: a step, a gate for each group, values.

import { DamagedStreamError } from './errors.js';
import { Tables, TOTAL, countsByWeight } from './tables.js';

export const LARGEST = 2 ** 20;
const GATE_OPEN = [1, 4, 8, 16, 32, 48, 56, 63]; // in 64ths
const DECAY = [8, 24, 44, 66, 89, 111, 133, 153, 171, 187, 201, 212, 222, 230, 242, 250]; // in 256ths

/** Both tables: `{gates, values}`. */
export async function deltaTables() {
  const opens = GATE_OPEN.map((share) => (TOTAL * share) / 64);
  const rows = DECAY.map(geometric);
  return {
    gates: await Tables.of(
      opens.map((open) => [TOTAL - open - 1, open, 1]),
      opens.map(() => 0),
    ),
    values: await Tables.of(
      rows,
      rows.map((row) => -((row.length >> 1) - 1)),
    ),
  };
}

/** `{values, step}`: integers of all groups (sizes) one after the other, and their unit. Throws DamagedStreamError. */
export function decodeDelta(groups, coder, tables) {
  const step = stepSize(coder.decodeUniform(5));
  const gateRow = coder.decodeUniform(3);
  const valueRow = coder.decodeUniform(4);
  const gates = coder.decodeRow(groups.length, gateRow, tables.gates);
  if (gates.some((gate) => gate !== 0 && gate !== 1)) throw damaged('a gate is neither open nor closed');
  const size = (open) => groups.reduce((sum, n, i) => sum + (open && !gates[i] ? 0 : n), 0);
  const found = coder.decodeRow(size(true), valueRow, tables.values);
  if (found.some((value) => Math.abs(value) > LARGEST)) throw damaged(`one is beyond ${LARGEST}`);
  const values = new Int32Array(size(false));
  let [at, next] = [0, 0];
  groups.forEach((n, i) => {
    if (gates[i]) values.set(found.subarray(next, (next += n)), at);
    at += n;
  });
  return { values, step };
}

/** 2^(-k/2); square roots are rounded alike everywhere, powers are not. */
function stepSize(k) {
  return 2 ** -(k >> 1) * (k % 2 ? Math.sqrt(0.5) : 1);
}

/** Counts of -k to k and the escape; the weight of j is (ratio / 256)^|j|, k the last one worth a count. */
function geometric(ratio) {
  const side = [2n ** 32n];
  let sum = side[0];
  for (;;) {
    const weight = (side.at(-1) * BigInt(ratio)) / 256n;
    if ((weight * BigInt(TOTAL)) / 2n <= sum || side.length >= 512) break;
    side.push(weight);
    sum += weight;
  }
  return countsByWeight([...side.slice(1).reverse(), ...side]);
}

function damaged(what) {
  return new DamagedStreamError(`the stream's adapter values are damaged: ${what}`);
}
