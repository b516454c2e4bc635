// The `.tkd` container: a header of some 20 bytes, one range-coded payload, a CRC32. See docs/bitstream.md.

import { crc32 } from './crc32.js';
import { DamagedStreamError, UnsupportedStreamError } from './errors.js';

export const MAX_PIXELS = 2 ** 25;
const VERSION = 1;
const MAX_METADATA = 4096;
const MAX_SIDE = 2 ** 31 - 1;
const QUALITY_STEPS = 16;
const MAX_QUALITY = 256;
const VARINT_BYTES = 5;
const [HAS_ADAPTER, HAS_DELTA, HAS_METADATA, ABSOLUTE] = [1, 2, 4, 8];

/** Names by number, from 1. */
export const CODECS = [
  'lite',
  'tic',
  'bmshj2018-factorized',
  'bmshj2018-factorized-relu',
  'bmshj2018-hyperprior',
  'mbt2018-mean',
  'mbt2018',
  'cheng2020-anchor',
  'cheng2020-attn',
  'bmshj2018-hyperprior-vbr',
  'mbt2018-mean-vbr',
  'mbt2018-vbr',
];

/**
 * Read a whole file (Uint8Array): `{header, payload}`. Nothing but magic and version is looked at before the CRC32.
 *
 * Throws DamagedStreamError, or UnsupportedStreamError for other versions and for more than `maxPixels` pixels.
 */
export function readStream(data, maxPixels = MAX_PIXELS) {
  if (data.length < 3 || data[0] !== 0x54 || data[1] !== 0x4b) {
    const found = hex(data.subarray(0, 2), ' ') || 'nothing';
    throw new DamagedStreamError(`not a .tkd stream: it starts with ${found}, not with 54 4b`);
  }
  if (data[2] !== VERSION) throw otherVersion(`stream version ${data[2]} is not known, only version ${VERSION}`);
  const body = data.subarray(0, Math.max(data.length - 4, 0));
  if (data.length < 7 || crc32(body) !== littleEndian(data.subarray(-4))) {
    throw new DamagedStreamError('the CRC32 does not fit: the stream is truncated or altered; get the file again');
  }
  const reader = new Reader(body, 3);
  const header = readHeader(reader);
  const pixels = header.width * header.height;
  if (pixels > maxPixels) {
    const size = `${header.width}×${header.height} = ${pixels}`;
    throw new UnsupportedStreamError(`the image has ${size} pixels, more than the limit of ${maxPixels}`);
  }
  header.bytes = reader.position + 4;
  return { header, payload: body.subarray(reader.position) };
}

/** Hexadecimal figures of bytes. */
export function hex(bytes, between = '') {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(between);
}

function readHeader(reader) {
  const [flags, number] = reader.take(2);
  if (flags & ~(HAS_ADAPTER | HAS_DELTA | HAS_METADATA | ABSOLUTE)) {
    throw otherVersion(`flags 0x${hex([flags])} are not all known, only up to 0x0f`);
  }
  const header = {
    codec: readName(reader, number),
    codecFingerprint: hex(reader.take(4)),
    adapterFingerprint: flags & HAS_ADAPTER ? hex(reader.take(4)) : null,
    width: reader.varint(),
    height: reader.varint(),
    quality: reader.varint() / QUALITY_STEPS,
    indexChecksum: littleEndian(reader.take(2)),
    metadata: flags & HAS_METADATA ? readMetadata(reader) : {},
    hasDelta: Boolean(flags & HAS_DELTA),
    absolute: Boolean(flags & ABSOLUTE),
  };
  for (const side of ['width', 'height']) {
    if (header[side] < 1 || header[side] > MAX_SIDE) throw damaged(`${side} ${header[side]}; valid: 1 to ${MAX_SIDE}`);
  }
  if (header.quality > MAX_QUALITY) throw damaged(`quality ${header.quality}; valid: 0 to ${MAX_QUALITY}`);
  if (header.hasDelta && !header.adapterFingerprint) throw damaged('it has singular values but no adapter');
  if (header.absolute && !header.hasDelta) throw damaged('absolute singular values are announced but not there');
  return header;
}

function readName(reader, number) {
  if (number) {
    if (number <= CODECS.length) return CODECS[number - 1];
    throw otherVersion(`codec number ${number} is not known, only 1 to ${CODECS.length}`);
  }
  const length = reader.varint();
  if (length < 1 || length > 64) throw damaged(`a codec name of ${length} bytes; valid: 1 to 64`);
  const name = String.fromCharCode(...reader.take(length));
  if (!/^[a-z0-9._-]+$/.test(name)) throw damaged('a codec name with characters other than a-z 0-9 . _ -');
  return name;
}

function readMetadata(reader) {
  const length = reader.varint();
  if (length < 1 || length > MAX_METADATA) throw damaged(`metadata of ${length} bytes; valid: 1 to ${MAX_METADATA}`);
  let value;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(reader.take(length)));
  } catch (error) {
    if (error instanceof DamagedStreamError) throw error;
    throw damaged(`the metadata is no JSON (${error.message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.keys(value).length) {
    throw damaged('the metadata is no JSON object with content');
  }
  return value;
}

/** Takes bytes from the front; running out of them is damage. */
class Reader {
  constructor(data, position) {
    this.data = data;
    this.position = position;
  }

  take(count) {
    if (count > this.data.length - this.position) throw damaged('it ends inside the header');
    this.position += count;
    return this.data.subarray(this.position - count, this.position);
  }

  varint() {
    let value = 0;
    for (let i = 0; i < VARINT_BYTES; i++) {
      const byte = this.take(1)[0];
      value += (byte & 0x7f) * 2 ** (7 * i); // up to 35 bits: no shift
      if (byte < 0x80) {
        if (i && !byte) throw damaged('a number is written with needless bytes');
        return value;
      }
    }
    throw damaged(`a number has more than ${VARINT_BYTES} bytes`);
  }
}

function littleEndian(bytes) {
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}

function damaged(what) {
  return new DamagedStreamError(`the stream's header is invalid: ${what}; get the file again`);
}

function otherVersion(what) {
  return new UnsupportedStreamError(`the stream was made by another version of taskodec: ${what}`);
}
