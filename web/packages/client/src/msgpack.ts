// MessagePack, as far as JSON's values go (and bytes, read only). A module of its own, loaded when it is spoken.
import type { AnyEvent, Command } from "./events.ts";

const toText = new TextDecoder();
const toBytes = new TextEncoder();

// Reading

/** What a message says. Throws a RangeError for what is cut short or no MessagePack. */
export function decode(data: unknown): AnyEvent {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : (data as Uint8Array);
  const reader = new Reader(bytes);
  const value = reader.value();
  if (reader.at !== bytes.length) throw new RangeError("something follows the message");
  return value as AnyEvent;
}

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): unknown {
    const type = this.#uint(1);
    if (type < 0x80) return type;
    if (type < 0x90) return this.#map(type & 15);
    if (type < 0xa0) return this.#array(type & 15);
    if (type < 0xc0) return this.#text(type & 31);
    if (type >= 0xe0) return type - 256;
    return this.#typed(type);
  }

  #typed(type: number): unknown {
    const width = 1 << (type & 3); // where a family has four widths, they begin at a multiple of 4
    if (type >= 0xcc && type <= 0xcf) return width < 8 ? this.#uint(width) : this.#big(false);
    if (type >= 0xd0 && type <= 0xd3) return width < 8 ? this.#int(width) : this.#big(true);
    if (type >= 0xd9 && type <= 0xdb) return this.#text(this.#uint(width >> 1));
    if (type >= 0xc4 && type <= 0xc6) return this.#take(this.#uint(width));
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return this.#view.getFloat32(this.#skip(4));
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8));
      case 0xdc:
        return this.#array(this.#uint(2));
      case 0xdd:
        return this.#array(this.#uint(4));
      case 0xde:
        return this.#map(this.#uint(2));
      case 0xdf:
        return this.#map(this.#uint(4));
    }
    throw new RangeError(`no value begins with ${type}`);
  }

  #skip(size: number): number {
    const from = this.at;
    this.at += size;
    return from;
  }

  #take(size: number): Uint8Array {
    if (this.at + size > this.#bytes.length) throw new RangeError("the message is cut short");
    const from = this.#skip(size);
    return this.#bytes.subarray(from, from + size);
  }

  #uint(width: number): number {
    const at = this.#skip(width);
    return width === 1 ? this.#view.getUint8(at) : width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #int(width: number): number {
    const at = this.#skip(width);
    return width === 1 ? this.#view.getInt8(at) : width === 2 ? this.#view.getInt16(at) : this.#view.getInt32(at);
  }

  #big(signed: boolean): number {
    const at = this.#skip(8);
    return Number(signed ? this.#view.getBigInt64(at) : this.#view.getBigUint64(at));
  }

  #text(size: number): string {
    return toText.decode(this.#take(size));
  }

  #array(size: number): unknown[] {
    const items = [];
    for (let index = 0; index < size; index++) items.push(this.value());
    return items;
  }

  #map(size: number): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    for (let index = 0; index < size; index++) entries.push([String(this.value()), this.value()]);
    return Object.fromEntries(entries);
  }
}

// Writing

/** A command as bytes; what JSON leaves out, this leaves out too. */
export function encode(command: Command): Uint8Array {
  const out: number[] = [];
  write(out, command);
  return Uint8Array.from(out);
}

function write(out: number[], value: unknown): void {
  if (value === null || value === undefined) out.push(0xc0);
  else if (typeof value === "boolean") out.push(value ? 0xc3 : 0xc2);
  else if (typeof value === "number") writeNumber(out, value);
  else if (typeof value === "string") writeText(out, value);
  else if (Array.isArray(value)) {
    writeHead(out, value.length, 0x90, 16, [0xdc, 0xdd]);
    for (const item of value) write(out, item);
  } else {
    const entries = Object.entries(value as object).filter(([, item]) => item !== undefined);
    writeHead(out, entries.length, 0x80, 16, [0xde, 0xdf]);
    for (const [name, item] of entries) {
      writeText(out, name);
      write(out, item);
    }
  }
}

function writeText(out: number[], text: string): void {
  const bytes = toBytes.encode(text);
  if (bytes.length > 31 && bytes.length < 256) out.push(0xd9, bytes.length);
  else writeHead(out, bytes.length, 0xa0, 32, [0xda, 0xdb]);
  for (const byte of bytes) out.push(byte);
}

/** A size: in the type's byte when it is small, else in 2 or 4 bytes behind one of `types`. */
function writeHead(out: number[], size: number, small: number, below: number, types: [number, number]): void {
  if (size < below) out.push(small | size);
  else if (size < 65_536) out.push(types[0], size >> 8, size & 255);
  else out.push(types[1], size >>> 24, (size >> 16) & 255, (size >> 8) & 255, size & 255);
}

function writeNumber(out: number[], value: number): void {
  if (Number.isInteger(value) && value >= -32 && value < 128) return void out.push(value & 255);
  const view = new DataView(new ArrayBuffer(8));
  const whole = Number.isSafeInteger(value);
  if (whole) view.setBigInt64(0, BigInt(value));
  else view.setFloat64(0, value);
  out.push(whole ? 0xd3 : 0xcb, ...new Uint8Array(view.buffer));
}
