// A PNG file of 8-bit RGB pixels, as `taskodec.runtime.cli.png`: exact, whatever a canvas would make of colours.

import { crc32 } from './crc32.js';

/** The file's bytes, of rows from the top. */
export async function encodePng(pixels, width, height) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2], 8); // bits, and RGB
  const rows = filtered(pixels, 3 * width, height);
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10);
  const parts = [signature, chunk('IHDR', header), chunk('IDAT', packed), chunk('IEND', new Uint8Array(0))];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The first row as it is, each other one as its difference to the row above, with which photographs get smaller. */
function filtered(pixels, size, height) {
  const rows = new Uint8Array((size + 1) * height);
  for (let y = 0; y < height; y++) {
    const [from, to] = [y * size, y * (size + 1) + 1];
    rows[to - 1] = y ? 2 : 0;
    for (let i = 0; i < size; i++) rows[to + i] = pixels[from + i] - (y ? pixels[from + i - size] : 0);
  }
  return rows;
}

function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}
