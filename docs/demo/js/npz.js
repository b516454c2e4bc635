// numpy's .npz: a zip of .npy arrays, stored or deflated, little-endian, in C order. No zip64, no encryption.

import { crc32 } from './crc32.js';
import { WeightsError } from './errors.js';

const TYPES = {
  '|u1': Uint8Array,
  '|i1': Int8Array,
  '<u2': Uint16Array,
  '<i2': Int16Array,
  '<u4': Uint32Array,
  '<i4': Int32Array,
  '<i8': BigInt64Array,
  '<u8': BigUint64Array,
  '<f4': Float32Array,
  '<f8': Float64Array,
};
const [END, ENTRY, LOCAL] = [0x06054b50, 0x02014b50, 0x04034b50];

/** All arrays by name: `{data, shape}`. Throws WeightsError. */
export async function readNpz(bytes) {
  const arrays = {};
  try {
    for (const [name, content] of await readZip(bytes)) arrays[name.replace(/\.npy$/, '')] = readNpy(content);
  } catch (error) {
    throw error instanceof WeightsError ? error : new WeightsError(`the tables cannot be read: ${error.message}`);
  }
  return arrays;
}

async function readZip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end--;
  if (end < 0) throw new WeightsError('the tables are no zip file');
  const files = [];
  let at = view.getUint32(end + 16, true);
  for (let n = view.getUint16(end + 10, true); n; n--) {
    if (view.getUint32(at, true) !== ENTRY) throw new WeightsError('the zip file of the tables is damaged');
    const [nameSize, extraSize, noteSize] = [28, 30, 32].map((i) => view.getUint16(at + i, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameSize));
    files.push([name, await content(bytes, view, at)]);
    at += 46 + nameSize + extraSize + noteSize;
  }
  return files;
}

/** What the file has whose entry in the directory is at this place. */
async function content(bytes, view, at) {
  const method = view.getUint16(at + 10, true);
  const [crc, packed] = [view.getUint32(at + 16, true), view.getUint32(at + 20, true)];
  const local = view.getUint32(at + 42, true);
  if (view.getUint32(local, true) !== LOCAL) throw new WeightsError('the zip file of the tables is damaged');
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const raw = bytes.subarray(start, start + packed);
  if (method !== 0 && method !== 8) throw new WeightsError(`the tables are compressed by method ${method}`);
  const data = method ? await inflate(raw) : raw;
  if (crc32(data) !== crc) throw new WeightsError('the CRC32 of a table does not fit');
  return data;
}

async function inflate(raw) {
  const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function readNpy(bytes) {
  if (String.fromCharCode(...bytes.subarray(1, 6)) !== 'NUMPY') throw new WeightsError('a table is no array');
  const wide = bytes[6] > 1; // version 2 has a length of 4 bytes
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = (wide ? 12 : 10) + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(wide ? 12 : 10, start));
  const type = /'descr': *'([^']*)'/.exec(header)?.[1];
  const shape = /'shape': *\(([^)]*)\)/
    .exec(header)?.[1]
    .split(',')
    .filter((side) => side.trim())
    .map(Number);
  const order = /'fortran_order': *(True|False)/.exec(header)?.[1];
  if (!TYPES[type] || !shape || (order !== 'False' && shape.length > 1)) {
    throw new WeightsError(`a table has the header ${header.trim()}, which is not read here`);
  }
  const data = new TYPES[type](bytes.slice(start).buffer); // a copy, whose start suits every type
  if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new WeightsError('a table is too short');
  return { data, shape };
}
