// CRC-32 as zip archives use it. Handles eight bytes at a time, which is several times as fast as one.

const TABLES = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  TABLES[0][byte] = crc;
}
for (let table = 1; table < 8; table++) {
  for (let byte = 0; byte < 256; byte++) {
    const crc = TABLES[table - 1][byte];
    TABLES[table][byte] = (crc >>> 8) ^ TABLES[0][crc & 255];
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES;

/** The CRC-32 of bytes that follow others with the CRC-32 `crc`. */
export function crc32(bytes, crc = 0) {
  let c = ~crc;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    c ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    c =
      T7[c & 255] ^ T6[(c >>> 8) & 255] ^ T5[(c >>> 16) & 255] ^ T4[c >>> 24] ^
      T3[bytes[at + 4]] ^ T2[bytes[at + 5]] ^ T1[bytes[at + 6]] ^ T0[bytes[at + 7]];
  }
  for (; at < bytes.length; at++) c = (c >>> 8) ^ T0[(c ^ bytes[at]) & 255];
  return ~c >>> 0;
}
