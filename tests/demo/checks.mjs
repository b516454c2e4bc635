// Runs the modules of docs/demo/js on vectors that Python made: a list of [name of a check, its input] on standard
// input, the results as a list on standard output.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { Buffer } from 'node:buffer';

const load = (name) => import(new URL(`../../docs/demo/js/${name}.js`, import.meta.url));
const { readStream } = await load('container');
const { knotsOf } = await load('checkerboard');
const { Decoder } = await load('decoder');
const { decodeDelta, deltaTables } = await load('delta');
const { between, exactExp, rint, wholeBias } = await load('exact');
const { grid } = await load('grids');
const { readNpz } = await load('npz');
const { encodePng } = await load('png');
const { decodeAbsolute, spikeSlabTables } = await load('spike_slab');
const { SymbolDecoder } = await load('symbols');
const { Tables, escapeTable, gaussianTables } = await load('tables');

const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
const text = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('base64');
const coder = async (data) => new SymbolDecoder(bytes(data), await escapeTable());

/** Python's calls of a decoder, in order. */
async function symbols({ data, tables, calls }) {
  const made = await Promise.all(tables.map(({ rows, offsets }) => Tables.of(rows, offsets)));
  const decoder = await coder(data);
  const results = calls.map(({ indexes, table, bits, count }) => {
    if (indexes) return Array.from(decoder.decode(Uint16Array.from(indexes), made[table]));
    return count === undefined ? decoder.decodeUniform(bits) : decoder.decodeBits(count, bits);
  });
  return { results, checksum: decoder.checksum };
}

/** A stream by an exported codec whose graphs give recorded outputs for the inputs that they must get. */
async function latents({ data, manifest, npz, gaussian, graphs, options }) {
  const { lengths, counts } = await readNpz(bytes(gaussian));
  const { unpack } = await load('exported');
  const { arrays, tables } = await unpack(bytes(npz));
  tables.gaussian = await gaussianTables({ lengths: lengths.data, counts: counts.data });
  const asked = [];
  const played = Object.fromEntries(
    Object.entries(graphs).map(([name, calls]) => [name, play(name, [...calls], asked)]),
  );
  const decoder = new Decoder({ manifest, graphs: played, tables, arrays }, options);
  const decoded = await decoder.latents(bytes(data));
  const pixels = graphs.synthesis ? text(await decoder.picture(decoded)) : null;
  const { yHat, singularValues } = decoded;
  return { yHat: text(yHat.data), singularValues: singularValues && text(singularValues), pixels, asked };
}

function play(name, calls, asked) {
  return async (inputs) => {
    const found = Object.entries(inputs).map(([key, { data, dims }]) => [key, text(Float32Array.from(data)), dims]);
    asked.push([name, Object.fromEntries(found.map(([key, data, dims]) => [key, { data, dims }]))]);
    const outputs = Object.entries(calls.shift());
    return Object.fromEntries(
      outputs.map(([key, { data, dims }]) => [key, { data: new Float32Array(bytes(data).buffer), dims }]),
    );
  };
}

/** Opens models of a site in a folder, by names, one after the other; what was fetched, and how many sessions made. */
async function site({ base, names }) {
  const { Models } = await load('exported');
  const fetched = [];
  globalThis.fetch = async (url, { integrity }) => {
    fetched.push(url.pathname.split('/').at(-1));
    if (!existsSync(url)) return new Response(null, { status: 404 });
    const body = readFileSync(url);
    const [kind, digest] = integrity.split(/-(.*)/);
    if (kind && createHash(kind).update(body).digest('base64') !== digest) throw new TypeError('Failed to fetch');
    return new Response(body);
  };
  let sessions = 0;
  const models = new Models(new URL(base), async () => ++sessions);
  const opened = [];
  for (const name of names) opened.push(await models.open((await models.list()).find((model) => model.name === name)));
  const about = opened.map(({ manifest, arrays, tables, graphs }) => ({
    adapter: manifest.adapter_fingerprint,
    arrays: Object.keys(arrays).length,
    tables: Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, text(table.fingerprint)])),
    graphs,
  }));
  return { about, fetched, sessions };
}

const CHECKS = {
  site,
  symbols,
  latents,
  stream: ({ data, maxPixels }) => {
    const { header, payload } = readStream(bytes(data), maxPixels);
    return { header, payload: text(payload) };
  },
  npz: async ({ data }) => {
    const arrays = Object.entries(await readNpz(bytes(data)));
    return Object.fromEntries(
      arrays.map(([name, { data, shape }]) => [name, { shape, data: Array.from(data, Number) }]),
    );
  },
  delta: async ({ data, groups }) => {
    const { values, step } = decodeDelta(groups, await coder(data), await deltaTables());
    return { values: Array.from(values), step };
  },
  absolute: async ({ data, count }) => Array.from(decodeAbsolute(count, await coder(data), await spikeSlabTables())),
  fingerprints: async ({ gaussian }) => {
    const { lengths, counts } = await readNpz(bytes(gaussian));
    const { gates, values } = await deltaTables();
    const { classes, near, blocks } = await spikeSlabTables();
    const shipped = await gaussianTables({ lengths: lengths.data, counts: counts.data });
    return [shipped, await escapeTable(), gates, values, classes, near, blocks].map((table) => text(table.fingerprint));
  },
  exact: ({ values, halves, levels, shape, quality, knots }) => ({
    exp: values.map(exactExp),
    rint: halves.map(rint),
    between: Array.from(between({ data: levels, shape }, quality, knots)),
  }),
  knots: ({ knots, levels }) => knotsOf({ knots: knots && { data: knots }, log_gain: { shape: [levels, 3] } }),
  bias: ({ real, unit, shift, room }) => Array.from(wholeBias(real, unit, shift, room)),
  grid: ({ size, align, margin, limit }) => grid(size, align, margin, limit),
  png: async ({ pixels, width, height }) => text(await encodePng(bytes(pixels), width, height)),
};

const results = [];
for (const [name, input] of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    results.push({ value: await CHECKS[name](input) });
  } catch (error) {
    results.push({ error: error.constructor.name, message: error.message });
  }
}
process.stdout.write(JSON.stringify(results));
