// Decodes streams with an exported codec, as `taskodec.runtime.Decoder`; knows nothing of pages or of onnxruntime.

import { IntegerCheckerboard } from './checkerboard.js';
import { MAX_PIXELS, readStream } from './container.js';
import { decodeDelta, deltaTables } from './delta.js';
import { DamagedStreamError, MismatchError, WeightsError } from './errors.js';
import { between } from './exact.js';
import { grid } from './grids.js';
import { ABSOLUTE_STEP, decodeAbsolute, spikeSlabTables } from './spike_slab.js';
import { SymbolDecoder } from './symbols.js';
import { escapeTable } from './tables.js';

const { fround } = Math;

export const TILE = 2 ** 20; // WebAssembly never gives memory back, so large pictures are made in smaller tiles

/** Decodes every stream of one codec, untuned or tuned for the adapter of its exported folder. */
export class Decoder {
  /** `exported` is what `openExported` gives. Throws WeightsError for a recipe that is not known here. */
  constructor({ manifest, graphs, tables, arrays }, { maxPixels = MAX_PIXELS, tile = TILE } = {}) {
    if (manifest.recipe !== 'integer-checkerboard') {
      throw new WeightsError(`codec ${manifest.codec} needs recipe ${manifest.recipe}, which is not known here`);
    }
    Object.assign(this, { manifest, graphs, arrays, maxPixels, tile });
    this.recipe = new IntegerCheckerboard(graphs, tables, arrays);
  }

  /** `{header, pixels}`: RGB of 8 bits, rows from the top, of a whole file. Throws a StreamError. */
  async decode(bytes) {
    const decoded = await this.latents(bytes);
    return { header: decoded.header, pixels: await this.picture(decoded) };
  }

  /** `{header, yHat, singularValues}`: what the stream holds. */
  async latents(bytes) {
    const { header, payload } = readStream(bytes, this.maxPixels);
    checkHeader(header, this.manifest);
    const coder = new SymbolDecoder(payload, await once(escapeTable));
    const singularValues = await this.singularValues(header, coder);
    const yHat = await this.recipe.read(this.padded(header), header.quality, coder);
    if (coder.checksum !== header.indexChecksum) {
      const why = 'the entropy tables chosen here are not the encoder’s: the stream or this decoder is damaged';
      throw new MismatchError(why);
    }
    return { header, yHat, singularValues };
  }

  /** RGB of 8 bits of latents (Uint8ClampedArray of height × width × 3). */
  async picture({ header, yHat, singularValues }) {
    const { width, height, quality } = header;
    const pixels = new Uint8ClampedArray(3 * width * height);
    const inputs = {};
    if (this.arrays.log_synthesis_gain) {
      const gain = Float32Array.from(between(this.arrays.log_synthesis_gain, quality, this.recipe.knots), Math.exp);
      inputs.gain = { data: gain, dims: [gain.length] };
    }
    if (singularValues) inputs.singular_values = { data: singularValues, dims: [singularValues.length] };
    const size = this.padded(header);
    const shrink = size[0] / yHat.dims[2];
    for (const { row, column } of this.tiles(size)) {
      const { x_hat: xHat } = await this.graphs.synthesis({ y_hat: cut(yHat, row, column, shrink), ...inputs });
      write(xHat, row, column, pixels, width, height);
    }
    return pixels;
  }

  /** Height and width of the picture that is coded. */
  padded({ height, width }) {
    const { stride } = this.manifest;
    return [Math.ceil(height / stride) * stride, Math.ceil(width / stride) * stride];
  }

  tiles([height, width]) {
    const { tiling } = this.manifest;
    if (!tiling || height * width <= this.tile) {
      const whole = (size) => ({ start: 0, stop: size, first: 0, last: size });
      return [{ row: whole(height), column: whole(width) }];
    }
    const { rows, columns } = grid([height, width], tiling.align, tiling.margin, this.tile);
    return rows.flatMap((row) => columns.map((column) => ({ row, column })));
  }

  /** What the synthesis gets for this stream; reads what travels of it. */
  async singularValues(header, coder) {
    if (!this.manifest.adapter_fingerprint) return null;
    const own = this.arrays.singular_values.data;
    if (!header.adapterFingerprint) return new Float32Array(own.length);
    if (!header.hasDelta) return own;
    if (header.absolute) {
      const values = decodeAbsolute(own.length, coder, await once(spikeSlabTables));
      const step = fround(ABSOLUTE_STEP);
      return own.map((value, i) => value + fround(fround(values[i] * step) - value));
    }
    const { values, step } = decodeDelta(this.manifest.groups, coder, await once(deltaTables));
    return own.map((value, i) => value + fround(values[i] * fround(step)));
  }
}

const made = new Map();

/** Tables of the format, made when they are first needed. */
function once(make) {
  if (!made.has(make)) made.set(make, make());
  return made.get(make);
}

/** MismatchError unless the stream is for this codec, these weights and this adapter. */
function checkHeader(header, manifest) {
  if (header.codec !== manifest.codec || header.codecFingerprint !== manifest.codec_fingerprint) {
    const own = `${manifest.codec_fingerprint} of ${manifest.codec}`;
    const needed = `${header.codecFingerprint} of codec ${header.codec}`;
    throw new MismatchError(`the stream was made with weights ${needed}, here are ${own}`);
  }
  const { qualities, continuous } = manifest;
  const inside = header.quality >= qualities[0] && header.quality <= qualities.at(-1);
  if (!qualities.includes(header.quality) && !(continuous && inside)) {
    throw new DamagedStreamError(`the stream names quality ${header.quality}, which codec ${header.codec} has not`);
  }
  if (header.adapterFingerprint && header.adapterFingerprint !== manifest.adapter_fingerprint) {
    const own = manifest.adapter_fingerprint ? `adapter ${manifest.adapter_fingerprint}` : 'no adapter';
    throw new MismatchError(`the stream needs adapter ${header.adapterFingerprint}, here is ${own}`);
  }
}

/** The latents of a tile: `shrink` is how many pixels of a side one of them stands for. */
function cut({ data, dims: [, channels, h, w] }, row, column, shrink) {
  const [top, bottom, left, right] = [row.first, row.last, column.first, column.last].map((side) => side / shrink);
  const dims = [1, channels, bottom - top, right - left];
  if (dims[2] === h && dims[3] === w) return { data, dims };
  const piece = new Float32Array(channels * dims[2] * dims[3]);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = top; y < bottom; y++, to += dims[3]) {
      const from = (c * h + y) * w;
      piece.set(data.subarray(from + left, from + right), to);
    }
  }
  return { data: piece, dims };
}

/** Write what is kept of a tile's planes into the picture. Throws for values that are not finite. */
function write({ data, dims: [, , h, w] }, row, column, pixels, width, height) {
  const [bottom, right] = [Math.min(row.stop, height), Math.min(column.stop, width)];
  let zero = 0; // NaN once a value is not finite
  for (let c = 0; c < 3; c++) {
    for (let y = row.start; y < bottom; y++) {
      const from = (c * h + y - row.first) * w - column.first;
      for (let x = column.start, to = 3 * (y * width + x) + c; x < right; x++, to += 3) {
        const value = data[from + x];
        zero += value * 0;
        pixels[to] = fround(value * 255); // which clamps, and rounds to the nearest, of two the even one
      }
    }
  }
  if (zero !== 0) throw new DamagedStreamError('the stream gives no picture: it has NaN or infinite values');
}
