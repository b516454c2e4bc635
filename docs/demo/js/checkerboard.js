// The recipe `integer-checkerboard` of `lite`: integer networks, and the black fields of a checkerboard before the
// white ones. All steps are those of `taskodec.stream.checkerboard`, rounded to float32 (`fround`) where numpy does.

import { WeightsError } from './errors.js';
import { ACTIVATIONS, LOG_FIRST, LOG_UNIT, MEAN_UNIT, between, clip, exactExp, rint, wholeBias } from './exact.js';

const { fround } = Math;
const STEPS = 16; // from one table to the next
const LAST = STEPS * 63;
const NEEDED = [
  'bias_real',
  'bias_unit',
  'bias_shift',
  'bias_room',
  'embedding',
  'log_gain',
  'y_exponents',
  'z_stride',
];

/**
 * `graphs.hyper` and `graphs.context` are async functions from inputs by name to outputs by name, each
 * `{data, dims}`; `tables` are those of `z` and `gaussian`; `arrays` those of the exported folder.
 */
export class IntegerCheckerboard {
  constructor(graphs, tables, arrays) {
    const missing = NEEDED.filter((name) => !arrays[name]);
    if (missing.length || !tables.z)
      throw new WeightsError(`the exported folder has no ${missing[0] ?? 'tables of z'}`);
    Object.assign(this, { graphs, tables, arrays });
    this.stride = Number(arrays.z_stride.data[0]);
    this.yScale = Float64Array.from(arrays.y_exponents.data, (exponent) => 2 ** -exponent);
    this.knots = knotsOf(arrays);
    this.levels = new Map();
  }

  /** y_hat `{data, dims: [1, M, h, w]}` of a picture of this padded height and width. */
  async read([height, width], quality, coder) {
    const level = this.level(quality);
    const symbols = readPrior([height / this.stride, width / this.stride], this.tables.z, coder);
    const bias = { data: level.bias, dims: [level.bias.length] };
    const { parameters, features } = await this.graphs.hyper({ z_symbols: symbols, bias });
    const [, double, h, w] = parameters.dims;
    const dims = [1, double / 2, h, w];
    const latents = { base: parameters.data, yHat: new Float32Array(parameters.data.length / 2), fields: h * w };
    const [black, white] = fields(h, w);
    this.fill(latents, black, level, coder);
    const y = { data: this.contextInput(latents, black, level), dims };
    const { correction } = await this.graphs.context({ y, features });
    add(latents.base, correction.data, white, h * w);
    this.fill(latents, white, level, coder);
    return { data: latents.yHat, dims };
  }

  /** Decode the fields `where` of all channels: the tables by log-scales, then symbols and means. */
  fill({ base, yHat, fields: size }, where, level, coder) {
    const channels = yHat.length / size;
    const count = where.length;
    const rows = new Uint16Array(channels * count);
    for (let c = 0, k = 0; c < channels; c++) {
      for (let i = 0; i < count; i++, k++) {
        const steps = clip(fround(base[c * size + where[i]] + level.shift[c]), 0, LAST);
        rows[k] = (steps + STEPS - 1) >> 4;
      }
    }
    const symbols = coder.decode(rows, this.tables.gaussian);
    for (let c = 0, k = 0; c < channels; c++) {
      const means = (channels + c) * size;
      for (let i = 0; i < count; i++, k++) {
        const mean = fround(base[means + where[i]] * level.meanUnit[c]);
        yHat[c * size + where[i]] = fround(symbols[k]) + mean; // rounded by the array
      }
    }
  }

  /** The fields that are known, at unit gain and in integers, all others zero. */
  contextInput({ base, yHat, fields: size }, known, level) {
    const channels = yHat.length / size;
    const whole = new Float32Array(yHat.length);
    for (let c = 0; c < channels; c++) {
      const [meanUnit, step, scale] = [level.meanUnit[c], level.step[c], this.yScale[c]];
      for (let k = 0; k < known.length; k++) {
        const i = c * size + known[k];
        const mean = base[i + channels * size];
        const symbol = rint(fround(yHat[i] - fround(mean * meanUnit)));
        const y = symbol * step + mean * MEAN_UNIT;
        whole[i] = clip(Math.floor(y * scale + 0.5), -ACTIVATIONS, ACTIVATIONS);
      }
    }
    return whole;
  }

  /** What depends on the quality, made once for each. */
  level(quality) {
    if (!this.levels.has(quality)) {
      const { arrays } = this;
      const embedding = between(arrays.embedding, quality, this.knots);
      const real = Float64Array.from(arrays.bias_real.data, (value, i) => value + embedding[i]);
      const [unit, shift, room] = ['unit', 'shift', 'room'].map((name) => arrays[`bias_${name}`].data);
      const logGain = between(arrays.log_gain, quality, this.knots);
      const gain = logGain.map(exactExp);
      this.levels.set(quality, {
        bias: Float32Array.from(wholeBias(real, unit, shift, room)),
        shift: Float32Array.from(logGain, (value) => rint((value - LOG_FIRST) / LOG_UNIT)),
        meanUnit: gain.map((value) => value * MEAN_UNIT),
        step: gain.map((value) => rint((1 / value) * 65536) / 65536),
      });
    }
    return this.levels.get(quality);
  }
}

/** The quality of each level: the array `knots`, or 1 to L where the export is older than it. Throws WeightsError. */
export function knotsOf({ knots, log_gain: { shape } }) {
  const found = knots ? Array.from(knots.data) : Array.from({ length: shape[0] }, (_, i) => i + 1);
  if (shape[0] < 2 || found.length !== shape[0] || !found.every((quality, i) => !i || quality > found[i - 1]))
    throw new WeightsError(`the exported folder has knots ${found} of ${shape[0]} levels, which do not ascend`);
  return found;
}

/** Add `more` to the fields `where` of all channels. */
function add(base, more, where, size) {
  for (let start = 0; start < base.length; start += size) {
    for (let i = 0; i < where.length; i++) base[start + where[i]] += more[start + where[i]];
  }
}

/** Symbols (1, C, h, w) of a row of the tables for each channel. */
function readPrior([h, w], tables, coder) {
  const channels = tables.rows.length;
  const indexes = new Uint16Array(channels * h * w);
  for (let c = 0; c < channels; c++) indexes.fill(c, c * h * w, (c + 1) * h * w);
  return { data: Float32Array.from(coder.decode(indexes, tables)), dims: [1, channels, h, w] };
}

/** Where the black fields of a checkerboard are, and the white ones. */
function fields(h, w) {
  const colours = [[], []];
  for (let i = 0; i < h * w; i++) colours[(Math.floor(i / w) + (i % w)) % 2].push(i);
  return colours.map((colour) => Uint32Array.from(colour));
}
