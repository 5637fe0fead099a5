// The position of each byte in a stored zip archive, known before its files are read again. Any range can be produced
// separately. `share/archive/layout.py` says more about the format; tests/archive_vectors.json checks that both agree.

const UTF8 = 1 << 11;
const UNIX = 3 << 8;
const MAX_16 = 0xffff;
const MAX_32 = 0xffffffff;
const FILE = 0o100644 * 0x10000;
const FOLDER = 0o40755 * 0x10000 + 0x10;
// In seconds since 1970: 1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z.
const MIN_DOS = 315532800;
const MAX_DOS = 4354819198;

/** An archive of `members`, each with `name`, `size` in bytes, `modified` in seconds since 1970, and `crc`.
 *
 * Positions depend on names and sizes only, so a `crc` can be filled in later. `size` is that of the archive in bytes.
 */
export class Layout {
  constructor(members) {
    this.members = members;
    this.names = members.map(({ name }) => new TextEncoder().encode(name));
    // Where each local header begins, and then the directory.
    this.locals = sums(0, members, (member, index) => lengthOf(this.#local(index)) + member.size);
    this.directory = this.locals.at(-1);
    // Where each entry of the directory begins, and then its end record.
    this.centrals = sums(this.directory, members, (_, index) => lengthOf(this.#central(index)));
    this.size = this.centrals.at(-1) + lengthOf(this.#end());
  }

  /** How many members, from the first, must have their `crc` before the bytes up to `stop` can be produced. */
  needed(stop) {
    return stop > this.directory ? this.members.length : indexBefore(this.locals, stop - 1) + 1;
  }

  /** The bytes from `start` to before `stop`: headers as bytes, those of files as `{ index, start, stop }`. */
  *pieces(start, stop) {
    for (let at = start; at < Math.min(stop, this.size); ) {
      const [offset, piece] = this.#pieceAt(at);
      const first = at - offset;
      const last = Math.min(stop - offset, piece.length);
      yield piece instanceof Uint8Array ? piece.subarray(first, last) : { index: piece.index, start: first, stop: last };
      at = offset + last;
    }
  }

  /** What the byte at this position belongs to, and where that begins. */
  #pieceAt(position) {
    if (position >= this.centrals.at(-1)) return [this.centrals.at(-1), packed(this.#end())];
    if (position >= this.directory) {
      const index = indexBefore(this.centrals, position);
      return [this.centrals[index], packed(this.#central(index))];
    }
    const index = indexBefore(this.locals, position);
    const header = this.#local(index);
    const data = this.locals[index] + lengthOf(header);
    return position < data ? [this.locals[index], packed(header)] : [data, { index, length: this.members[index].size }];
  }

  #local(index) {
    const { size, modified, crc } = this.members[index];
    const name = this.names[index];
    const large = size >= MAX_32;
    const extra = [...(large ? [[2, 1], [2, 16], [8, size], [8, size]] : []), ...timeField(modified)];
    const field = Math.min(size, MAX_32);
    return [
      [4, 0x04034b50], [2, large ? 45 : 20], [2, UTF8], [2, 0], ...dosTime(modified),
      [4, crc], [4, field], [4, field], [2, name.length], [2, lengthOf(extra)], name, ...extra,
    ];
  }

  #central(index) {
    const { name: text, size, modified, crc } = this.members[index];
    const name = this.names[index];
    const offset = this.locals[index];
    const large = [...(size >= MAX_32 ? [size, size] : []), ...(offset >= MAX_32 ? [offset] : [])];
    const header = large.length > 0 ? [[2, 1], [2, 8 * large.length]] : [];
    const extra = [...header, ...large.map((value) => [8, value]), ...timeField(modified)];
    const version = large.length > 0 ? 45 : 20;
    const field = Math.min(size, MAX_32);
    return [
      [4, 0x02014b50], [2, UNIX | version], [2, version], [2, UTF8], [2, 0], ...dosTime(modified),
      [4, crc], [4, field], [4, field], [2, name.length], [2, lengthOf(extra)], [2, 0], [2, 0], [2, 0],
      [4, text.endsWith("/") ? FOLDER : FILE], [4, Math.min(offset, MAX_32)], name, ...extra,
    ];
  }

  #end() {
    const count = this.members.length;
    const offset = this.directory;
    const end = this.centrals.at(-1);
    const size = end - offset;
    const large = count >= MAX_16 || size >= MAX_32 || offset >= MAX_32;
    const few = Math.min(count, MAX_16);
    return [
      ...(large ? [[4, 0x06064b50], [8, 44], [2, UNIX | 45], [2, 45], [4, 0], [4, 0]] : []),
      ...(large ? [[8, count], [8, count], [8, size], [8, offset], [4, 0x07064b50], [4, 0], [8, end], [4, 1]] : []),
      [4, 0x06054b50], [2, 0], [2, 0], [2, few], [2, few],
      [4, Math.min(size, MAX_32)], [4, Math.min(offset, MAX_32)], [2, 0],
    ];
  }
}

// Fields are bytes as they are, and numbers as `[width, value]` in little-endian order.
function lengthOf(fields) {
  return fields.reduce((sum, field) => sum + (field instanceof Uint8Array ? field.length : field[0]), 0);
}

function packed(fields) {
  const bytes = new Uint8Array(lengthOf(fields));
  let at = 0;
  for (const field of fields) {
    if (field instanceof Uint8Array) {
      bytes.set(field, at);
      at += field.length;
    } else {
      // Each element takes the lowest eight bits of its number.
      for (let value = field[1], end = at + field[0]; at < end; value /= 256) bytes[at++] = value;
    }
  }
  return bytes;
}

/** The time in UTC, if 31 bits can hold it. */
function timeField(modified) {
  return modified >= 0 && modified < 2 ** 31 ? [[2, 0x5455], [2, 5], [1, 1], [4, modified]] : [];
}

/** MS-DOS time and date in UTC, in steps of two seconds. */
function dosTime(modified) {
  const at = new Date(Math.min(Math.max(modified, MIN_DOS), MAX_DOS) * 1000);
  const time = (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1);
  return [[2, time], [2, ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate()]];
}

function sums(initial, members, length) {
  const all = new Float64Array(members.length + 1);
  all[0] = initial;
  for (let index = 0; index < members.length; index++) all[index + 1] = all[index] + length(members[index], index);
  return all;
}

/** The index of the last number that is not above this position. */
function indexBefore(ascending, position) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] <= position) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
