/**
 * The part of the `WebAssembly` global that packages below the hosts use. Their `lib` has no DOM, and the standard
 * ECMAScript library does not declare it.
 */

/* oxlint-disable typescript/no-explicit-any -- the host's own declarations say `any` here, and callers rely on it. */

declare global {
  namespace WebAssembly {
    interface MemoryDescriptor {
      initial: number;
      maximum?: number;
      shared?: boolean;
    }
    interface Memory {
      /** A SharedArrayBuffer where the memory was made with `shared: true`. */
      readonly buffer: ArrayBuffer;
      grow(delta: number): number;
    }
    var Memory: { prototype: Memory; new (descriptor: MemoryDescriptor): Memory };

    interface TableDescriptor {
      element: 'anyfunc' | 'externref';
      initial: number;
      maximum?: number;
    }
    interface Table {
      readonly length: number;
      get(index: number): any;
      grow(delta: number, value?: any): number;
      set(index: number, value?: any): void;
    }
    var Table: { prototype: Table; new (descriptor: TableDescriptor, value?: any): Table };

    interface GlobalDescriptor {
      value: 'i32' | 'i64' | 'f32' | 'f64' | 'externref' | 'anyfunc';
      mutable?: boolean;
    }
    interface Global {
      value: any;
    }
    var Global: { prototype: Global; new (descriptor: GlobalDescriptor, value?: any): Global };

    type ExportValue = ((...args: any[]) => any) | Memory | Table | Global;
    type Exports = Record<string, ExportValue>;
    type Imports = Record<string, Record<string, ExportValue | number | bigint>>;

    interface Module {
      readonly [Symbol.toStringTag]?: string;
    }
    var Module: { prototype: Module; new (bytes: ArrayBufferView | ArrayBuffer): Module };

    interface Instance {
      readonly exports: Exports;
    }
    var Instance: { prototype: Instance; new (module: Module, importObject?: Imports): Instance };

    interface CompileError extends Error {}
    var CompileError: { prototype: CompileError; new (message?: string): CompileError };
    interface RuntimeError extends Error {}
    var RuntimeError: { prototype: RuntimeError; new (message?: string): RuntimeError };

    function validate(bytes: ArrayBufferView | ArrayBuffer): boolean;
    function compile(bytes: ArrayBufferView | ArrayBuffer): Promise<Module>;
    function instantiate(module: Module, importObject?: Imports): Promise<Instance>;
  }
}

export {};
