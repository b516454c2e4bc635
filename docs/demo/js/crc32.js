// zlib's CRC32, of streams, zip entries, PNG chunks and table choices.

const STEP = 4; // bytes at once, each with a table of its own
const TABLES = Array.from({ length: STEP }, () => new Int32Array(256));
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  TABLES[0][n] = c;
}
for (let k = 1; k < STEP; k++) {
  TABLES[k].forEach((_, n, table) => (table[n] = TABLES[0][TABLES[k - 1][n] & 0xff] ^ (TABLES[k - 1][n] >>> 8)));
}

/** The CRC32 of the bytes, going on from `value`, as an unsigned number. */
export function crc32(bytes, value = 0) {
  const [first, second, third, fourth] = TABLES;
  const whole = bytes.length - (bytes.length % STEP);
  let c = ~value;
  for (let i = 0; i < whole; i += STEP) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    c = fourth[c & 0xff] ^ third[(c >>> 8) & 0xff] ^ second[(c >>> 16) & 0xff] ^ first[c >>> 24];
  }
  for (let i = whole; i < bytes.length; i++) c = first[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}
