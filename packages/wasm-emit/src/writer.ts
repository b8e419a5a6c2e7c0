/** Byte writer with the integer encodings of the WebAssembly binary format (WebAssembly core specification, 5.2.2). */
export class Writer {
  private bytes = new Uint8Array(1024);
  length = 0;

  private room(n: number): void {
    if (this.length + n <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + n));
    grown.set(this.bytes);
    this.bytes = grown;
  }
  byte(value: number): void {
    this.room(1);
    this.bytes[this.length++] = value;
  }
  raw(values: ArrayLike<number>): void {
    this.room(values.length);
    this.bytes.set(values, this.length);
    this.length += values.length;
  }
  /** Unsigned LEB128, up to 32 bits. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }
  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && !(low & 0x40)) || (rest === -1 && low & 0x40)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }
  /** Signed LEB128 of a 64-bit value. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && !(low & 0x40)) || (rest === -1n && low & 0x40)) return this.byte(low);
      this.byte(low | 0x80);
    }
  }
  f64(value: number): void {
    this.raw(new Uint8Array(new Float64Array([value]).buffer));
  }
  f32(value: number): void {
    this.raw(new Uint8Array(new Float32Array([value]).buffer));
  }
  name(text: string): void {
    const codes = Array.from(text, (c) => c.charCodeAt(0));
    this.u32(codes.length);
    this.raw(codes);
  }
  /** Appends another writer's bytes behind their length. */
  sized(other: Writer): void {
    this.u32(other.length);
    this.raw(other.take());
  }
  take(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/** Bytes of an unsigned LEB128 number. */
export function leb(value: number): number[] {
  const out: number[] = [];
  let rest = value >>> 0;
  while (rest >= 0x80) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
  return out;
}
