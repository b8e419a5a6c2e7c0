/**
 * A small builder for C structure layouts as the two x86 ABIs of Xen's public headers lay them out.
 *
 * Fields are aligned as gcc aligns them: in the 32-bit ABI nothing is aligned to more than 4 bytes (a `uint64_t`
 * included), in the 64-bit ABI to at most 8. Everything is little endian. Codecs trust their caller to have checked
 * that `size(abi)` bytes are there; they interpret nothing, so any value read may be a guest's invention.
 */

/** Width in bits of the guest's `unsigned long` and pointers. */
export type Abi = 32 | 64;

/** A value of a given layout; `Value` is what is read, `Input` what may be written. */
export interface Field<Value, Input = Value> {
  size(abi: Abi): number;
  align(abi: Abi): number;
  /** What a field that an ABI lacks reads as. */
  zero(): Value;
  read(view: DataView, offset: number, abi: Abi): Value;
  write(view: DataView, offset: number, value: Input, abi: Abi): void;
}

export type AnyField = Field<unknown, never>;
export type FieldMap = Readonly<Record<string, AnyField>>;
export type ValueOf<F> = F extends Field<infer Value, never> ? Value : never;
export type InputOf<F> = F extends Field<unknown, infer Input> ? Input : never;
export type StructValue<M extends FieldMap> = { [K in keyof M]: ValueOf<M[K]> };
export type StructInput<M extends FieldMap> = { readonly [K in keyof M]?: InputOf<M[K]> };

/** A structure; writing leaves the fields that are not given untouched. */
export interface Struct<M extends FieldMap> extends Field<StructValue<M>, StructInput<M>> {
  /** Byte offset of a field; -1 where this ABI does not have it. */
  offset(field: keyof M & string, abi: Abi): number;
  readonly fields: readonly (keyof M & string)[];
}

function scalar<Value>(
  bytes: number,
  zero: Value,
  read: (view: DataView, offset: number) => Value,
  write: (view: DataView, offset: number, value: Value) => void,
): Field<Value> {
  return {
    size: () => bytes,
    align: (abi) => Math.min(bytes, abi / 8),
    zero: () => zero,
    read,
    write,
  };
}

export const u8: Field<number> = scalar(
  1,
  0,
  (view, offset) => view.getUint8(offset),
  (view, offset, value) => view.setUint8(offset, value),
);
export const s8: Field<number> = scalar(
  1,
  0,
  (view, offset) => view.getInt8(offset),
  (view, offset, value) => view.setInt8(offset, value),
);
export const u16: Field<number> = scalar(
  2,
  0,
  (view, offset) => view.getUint16(offset, true),
  (view, offset, value) => view.setUint16(offset, value, true),
);
export const s16: Field<number> = scalar(
  2,
  0,
  (view, offset) => view.getInt16(offset, true),
  (view, offset, value) => view.setInt16(offset, value, true),
);
export const u32: Field<number> = scalar(
  4,
  0,
  (view, offset) => view.getUint32(offset, true),
  (view, offset, value) => view.setUint32(offset, value, true),
);
export const s32: Field<number> = scalar(
  4,
  0,
  (view, offset) => view.getInt32(offset, true),
  (view, offset, value) => view.setInt32(offset, value, true),
);
export const u64: Field<bigint> = scalar(
  8,
  0n,
  (view, offset) => view.getBigUint64(offset, true),
  (view, offset, value) => view.setBigUint64(offset, value, true),
);
export const s64: Field<bigint> = scalar(
  8,
  0n,
  (view, offset) => view.getBigInt64(offset, true),
  (view, offset, value) => view.setBigInt64(offset, value, true),
);

/** `unsigned long`: 4 or 8 bytes, always a bigint. */
export const word: Field<bigint> = {
  size: (abi) => abi / 8,
  align: (abi) => abi / 8,
  zero: () => 0n,
  read: (view, offset, abi) => (abi === 64 ? view.getBigUint64(offset, true) : BigInt(view.getUint32(offset, true))),
  write(view, offset, value, abi) {
    if (abi === 64) view.setBigUint64(offset, value, true);
    else view.setUint32(offset, Number(BigInt.asUintN(32, value)), true);
  },
};

/** `long`: 4 or 8 bytes, sign extended. */
export const signedWord: Field<bigint> = {
  ...word,
  read: (view, offset, abi) => (abi === 64 ? view.getBigInt64(offset, true) : BigInt(view.getInt32(offset, true))),
};

/** `xen_pfn_t`, `XEN_GUEST_HANDLE()`: words by another name, for what reads them. */
export const xen_pfn: Field<bigint> = word;
export const handle: Field<bigint> = word;

/** `count` elements in a row; writing a shorter array leaves the rest untouched. */
export function array<Value, Input>(element: Field<Value, Input>, count: number): Field<Value[], readonly Input[]> {
  return {
    size: (abi) => element.size(abi) * count,
    align: (abi) => element.align(abi),
    zero: () => Array.from({ length: count }, () => element.zero()),
    read: (view, offset, abi) =>
      Array.from({ length: count }, (_, index) => element.read(view, offset + index * element.size(abi), abi)),
    write(view, offset, values, abi) {
      const size = element.size(abi);
      values.slice(0, count).forEach((value, index) => element.write(view, offset + index * size, value, abi));
    },
  };
}

/** Raw bytes; reading copies them. */
export function bytes(count: number): Field<Uint8Array> {
  const at = (view: DataView, offset: number) => new Uint8Array(view.buffer, view.byteOffset + offset, count);
  return {
    size: () => count,
    align: () => 1,
    zero: () => new Uint8Array(count),
    read: (view, offset) => at(view, offset).slice(),
    write: (view, offset, value) => at(view, offset).set(value.subarray(0, count)),
  };
}

/** A `char[count]` that holds a NUL-terminated string, one character per byte. */
export function chars(count: number): Field<string> {
  return {
    size: () => count,
    align: () => 1,
    zero: () => '',
    read(view, offset) {
      let text = '';
      for (let index = 0; index < count; index++) {
        const code = view.getUint8(offset + index);
        if (code === 0) break;
        text += String.fromCharCode(code);
      }
      return text;
    },
    write(view, offset, text) {
      for (let index = 0; index < count; index++) {
        const last = index >= count - 1 || index >= text.length;
        view.setUint8(offset + index, last ? 0 : text.charCodeAt(index));
      }
    },
  };
}

interface Layout {
  readonly size: number;
  readonly align: number;
  readonly offsets: ReadonlyMap<string, number>;
}

const alignUp = (offset: number, align: number) => Math.ceil(offset / align) * align;

function layOut(fields: FieldMap, abi: Abi, packed: boolean): Layout {
  const offsets = new Map<string, number>();
  let offset = 0;
  let align = 1;
  for (const [name, field] of Object.entries(fields)) {
    const fieldAlign = packed ? 1 : field.align(abi);
    offset = alignUp(offset, fieldAlign);
    offsets.set(name, offset);
    offset += field.size(abi);
    align = Math.max(align, fieldAlign);
  }
  return { size: alignUp(offset, align), align, offsets };
}

export interface StructOptions {
  /** No padding between or after the fields. */
  readonly packed?: boolean;
}

/** A structure with the same members in both ABIs. */
export function struct<const M extends FieldMap>(fields: M, options: StructOptions = {}): Struct<M> {
  return structByAbi(fields, fields, options);
}

/** A structure whose members or their order differ between the ABIs; one that an ABI lacks reads as its zero. */
export function structByAbi<const M32 extends FieldMap, const M64 extends FieldMap>(
  fields32: M32,
  fields64: M64,
  options: StructOptions = {},
): Struct<M32 & M64> {
  type M = M32 & M64;
  const packed = options.packed ?? false;
  const fields: FieldMap = { ...fields64, ...fields32 };
  const names = Object.keys(fields);
  const members: Record<Abi, FieldMap> = { 32: fields32, 64: fields64 };
  const layouts: Record<Abi, Layout> = { 32: layOut(fields32, 32, packed), 64: layOut(fields64, 64, packed) };
  return {
    fields: names,
    size: (abi) => layouts[abi].size,
    align: (abi) => layouts[abi].align,
    offset: (field, abi) => layouts[abi].offsets.get(field) ?? -1,
    zero: () => Object.fromEntries(names.map((name) => [name, fields[name]?.zero()])) as StructValue<M>,
    read(view, offset, abi) {
      const { offsets } = layouts[abi];
      const value: Record<string, unknown> = {};
      for (const name of names) {
        const at = offsets.get(name);
        value[name] = at === undefined ? fields[name]?.zero() : members[abi][name]?.read(view, offset + at, abi);
      }
      return value as StructValue<M>;
    },
    write(view, offset, value, abi) {
      for (const [name, at] of layouts[abi].offsets) {
        const input = (value as Record<string, unknown>)[name];
        if (input !== undefined) members[abi][name]?.write(view, offset + at, input as never, abi);
      }
    },
  };
}
