// Exported codecs on a site: a list of them, their manifests, graphs and tables, each fetched once and checked.

import { WeightsError } from './errors.js';
import { readNpz } from './npz.js';
import { Tables, gaussianTables } from './tables.js';

const FORMAT = 'taskodec-export-1';

/**
 * Fetches what `scripts/demo.py` laid out under `base`: `index.json`, manifests, and files by name and SHA-256.
 *
 * `session` is an async function from an ONNX model's bytes to a function on tensors. `say` is told what is fetched.
 */
export class Models {
  constructor(base, session, say = () => {}) {
    Object.assign(this, { base, session, say });
    this.made = new Map();
  }

  /** All there are: `{name, codec, codec_fingerprint, adapter_fingerprint, …}`. */
  list() {
    return this.once('index', async () => JSON.parse(new TextDecoder().decode(await this.bytes('index.json'))));
  }

  /** Manifest, graphs, tables and arrays of one in the list, as `Decoder` takes them. */
  async open({ name }) {
    const manifest = JSON.parse(new TextDecoder().decode(await this.bytes(`${name}.json`)));
    if (manifest.format !== FORMAT) throw new WeightsError(`${name} has format ${manifest.format}, not ${FORMAT}`);
    const gaussian = await this.once('gaussian', async () => {
      const { lengths, counts } = await readNpz(await this.bytes('gaussian_tables.npz'));
      return gaussianTables({ lengths: lengths.data, counts: counts.data });
    });
    const { arrays, tables } = await this.file(manifest, 'tables.npz', unpack);
    const graphs = {};
    for (const part of ['hyper', 'context', 'synthesis']) {
      graphs[part] = await this.file(manifest, `${part}.onnx`, (bytes) => this.session(bytes));
    }
    return { manifest, graphs, arrays, tables: { ...tables, gaussian } };
  }

  /** What `make` makes of a file of the manifest, once for each content. */
  file(manifest, name, make) {
    const about = manifest.files[name];
    if (!about) throw new WeightsError(`the exported codec has no ${name}`);
    return this.once(about.sha256, async () => {
      this.say(`Fetching ${name}, ${(about.bytes / 1e6).toFixed(1)} MB`);
      const [stem, suffix] = name.split('.');
      return make(await this.bytes(`${stem}-${about.sha256.slice(0, 16)}.${suffix}`, about.sha256));
    });
  }

  /** A failure is not kept: the next call tries again. */
  once(key, make) {
    if (!this.made.has(key)) {
      const promise = make();
      promise.catch(() => this.made.delete(key));
      this.made.set(key, promise);
    }
    return this.made.get(key);
  }

  async bytes(path, sha256 = null) {
    const integrity = sha256 ? `sha256-${btoa(String.fromCharCode(...fromHex(sha256)))}` : '';
    return fetchBytes(new URL(path, this.base), integrity);
  }
}

/** A file's bytes, whose SHA the browser checks. Throws WeightsError. */
export async function fetchBytes(url, integrity) {
  let response;
  try {
    response = await fetch(url, { integrity, credentials: 'omit' });
    if (response.ok) return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new WeightsError(`${url} could not be fetched, or is not what it should be (${error.message}); try again`);
  }
  throw new WeightsError(`${url} could not be fetched (${response.status}); try again`);
}

/** Arrays as they are, and tables that lie in three arrays each: lengths, counts and offsets. */
export async function unpack(bytes) {
  const arrays = await readNpz(bytes);
  const tables = {};
  for (const name of Object.keys(arrays).filter((key) => /^tables\/.*\/lengths$/.test(key))) {
    const [lengths, counts, offsets] = ['lengths', 'counts', 'offsets'].map((part) => {
      const array = arrays[name.replace(/lengths$/, part)];
      if (!array) throw new WeightsError(`the tables have ${name} but no ${part}`);
      return array.data;
    });
    tables[name.split('/')[1]] = await Tables.fromLengths(lengths, counts, offsets);
  }
  return { arrays, tables };
}

function fromHex(text) {
  return text.match(/../g).map((byte) => parseInt(byte, 16));
}
