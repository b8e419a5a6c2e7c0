/** Puts functions, imports, globals, one memory and one table together to a WebAssembly module. */
import type { ValueType } from './expr.js';
import { FunctionBuilder, typeByte } from './function-builder.js';
import { leb, Writer } from './writer.js';

export interface MemoryImport {
  /** 64 KiB pages; the memory that is linked must have at least these and this maximum at most. */
  initial: number;
  maximum: number;
  shared: boolean;
}

/** Limits that a memory of any size meets. */
export const ANY_MEMORY = { initial: 0, maximum: 65536 } as const;

export class ModuleBuilder {
  private readonly types: string[] = [];
  private readonly typeBodies: number[][] = [];
  private readonly imports: { name: string; type: number }[] = [];
  private readonly functions: { builder: FunctionBuilder; type: number }[] = [];
  private readonly globals: string[] = [];
  private readonly exports: { name: string; index: number }[] = [];
  private readonly table: number[] = [];

  /** @param tableImport takes table 0 as `env.table`, at least this long, instead of making one */
  constructor(
    private readonly memory: MemoryImport,
    private readonly tableImport = false,
  ) {}

  type(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params.join('')}>${results.join('')}`;
    const known = this.types.indexOf(key);
    if (known >= 0) return known;
    this.typeBodies.push([
      0x60,
      ...leb(params.length),
      ...params.map(typeByte),
      ...leb(results.length),
      ...results.map(typeByte),
    ]);
    return this.types.push(key) - 1;
  }
  /** Imports `env.name`; all imports come before the first function. Returns the function index. */
  import(name: string, params: readonly ValueType[], results: readonly ValueType[]): number {
    if (this.functions.length > 0) throw new TypeError('imports come before functions');
    return this.imports.push({ name, type: this.type(params, results) }) - 1;
  }
  /** Adds a function, exported where `name` is given. Returns its index. */
  add(builder: FunctionBuilder, name?: string): number {
    const index = this.imports.length + this.functions.length;
    this.functions.push({ builder, type: this.type(builder.params, builder.results) });
    if (name !== undefined) this.exports.push({ name, index });
    return index;
  }
  /** Adds a mutable i32 that is 0 at first, exported as `name`. Returns its index. */
  global(name: string): number {
    return this.globals.push(name) - 1;
  }
  /** Puts a function into table 0. Returns its slot. */
  tableSlot(index: number): number {
    return this.table.push(index) - 1;
  }

  encode(): Uint8Array {
    const out = new Writer();
    out.raw([0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    const section = (id: number, fill: (w: Writer) => void): void => {
      const w = new Writer();
      fill(w);
      out.byte(id);
      out.sized(w);
    };
    section(1, (w) => {
      w.u32(this.typeBodies.length);
      for (const body of this.typeBodies) w.raw(body);
    });
    section(2, (w) => {
      w.u32(this.imports.length + (this.tableImport ? 2 : 1));
      w.name('env');
      w.name('memory');
      w.raw([2, this.memory.shared ? 3 : 1]);
      w.u32(this.memory.initial);
      w.u32(this.memory.maximum);
      if (this.tableImport) {
        w.name('env');
        w.name('table');
        w.raw([1, 0x70, 0]);
        w.u32(this.table.length);
      }
      for (const { name, type } of this.imports) {
        w.name('env');
        w.name(name);
        w.byte(0);
        w.u32(type);
      }
    });
    section(3, (w) => {
      w.u32(this.functions.length);
      for (const { type } of this.functions) w.u32(type);
    });
    if (this.table.length > 0 && !this.tableImport) {
      section(4, (w) => {
        w.raw([1, 0x70, 1]);
        w.u32(this.table.length);
        w.u32(this.table.length);
      });
    }
    if (this.globals.length > 0) {
      section(6, (w) => {
        w.u32(this.globals.length);
        for (const _ of this.globals) w.raw([0x7f, 1, 0x41, 0, 0x0b]);
      });
    }
    section(7, (w) => {
      w.u32(this.exports.length + this.globals.length);
      for (const { name, index } of this.exports) {
        w.name(name);
        w.byte(0);
        w.u32(index);
      }
      for (const [index, name] of this.globals.entries()) {
        w.name(name);
        w.byte(3);
        w.u32(index);
      }
    });
    if (this.table.length > 0) {
      section(9, (w) => {
        w.raw([1, 0, 0x41, 0, 0x0b]);
        w.u32(this.table.length);
        for (const index of this.table) w.u32(index);
      });
    }
    const hinted: { index: number; offsets: number[] }[] = [];
    const bodies = this.functions.map(({ builder }, i) => {
      const offsets: number[] = [];
      const body = builder.encode(offsets);
      if (offsets.length > 0) hinted.push({ index: this.imports.length + i, offsets });
      return body;
    });
    if (hinted.length > 0) {
      // Branch hinting proposal: hosts without it skip the section.
      section(0, (w) => {
        w.name('metadata.code.branch_hint');
        w.u32(hinted.length);
        for (const { index, offsets } of hinted) {
          w.u32(index);
          w.u32(offsets.length);
          for (const offset of offsets) {
            w.u32(offset);
            w.raw([1, 0]);
          }
        }
      });
    }
    section(10, (w) => {
      w.u32(bodies.length);
      for (const body of bodies) w.sized(body);
    });
    return out.take().slice();
  }
}
