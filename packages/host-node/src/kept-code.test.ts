import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheFolder } from './cache-folder.js';
import { openKeptCode } from './kept-code.js';

let top: string;
let folder: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'kept-code-'));
  folder = join(top, 'a', 'code');
});
afterEach(() => rmSync(top, { recursive: true }));

const unheard = (cause: string): never => {
  throw new Error(cause);
};
const kernel = Uint8Array.of(1, 2, 3);
const open = (of = kernel) => openKeptCode(folder, of, unheard);
const onlyFile = (): string => join(folder, readdirSync(folder)[0]!);

describe('compiled code', () => {
  it('is there for the next run of the same kernel, and no other', () => {
    expect(open().bytes).toBeNull();
    const code = Uint8Array.from({ length: 5000 }, (_, i) => i);
    open().keep(code);
    expect(new Uint8Array(open().bytes!)).toEqual(code);
    expect(open(Uint8Array.of(1, 2)).bytes).toBeNull();
    open().keep(code.subarray(7));
    expect(new Uint8Array(open().bytes!)).toEqual(code.subarray(7));
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it('lies in a folder that is its owner`s alone', () => {
    open().keep(kernel);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it('is not used where its file was changed, cut short, or may be written by others', () => {
    open().keep(new Uint8Array(100));
    const whole = readFileSync(onlyFile());
    for (const at of [0, 31, 32, 131]) {
      const changed = Uint8Array.from(whole);
      changed[at] = changed[at]! ^ 4;
      writeFileSync(onlyFile(), changed);
      expect(open().bytes).toBeNull();
    }
    writeFileSync(onlyFile(), whole);
    expect(open().bytes).toHaveLength(100);
    chmodSync(onlyFile(), 0o666);
    expect(open().bytes).toBeNull();
    chmodSync(onlyFile(), 0o600);
    for (const length of [131, 32, 31, 0]) {
      truncateSync(onlyFile(), length);
      expect(open().bytes).toBeNull();
    }
  });

  it('of kernels that ran last stays when there is too much of it', () => {
    const code = new Uint8Array(15 << 20);
    for (let i = 0; i < 6; i++) {
      openKeptCode(folder, Uint8Array.of(i), unheard).keep(code);
      for (const name of readdirSync(folder)) {
        const { mtimeMs } = statSync(join(folder, name));
        utimesSync(join(folder, name), mtimeMs / 1000 - 10, mtimeMs / 1000 - 10);
      }
    }
    const there = [0, 1, 2, 3, 4, 5].filter((i) => openKeptCode(folder, Uint8Array.of(i), unheard).bytes !== null);
    expect(there).toEqual([2, 3, 4, 5]);
  });

  it('that can`t be kept is told of, and nothing fails', () => {
    writeFileSync(join(top, 'a'), '');
    const said: string[] = [];
    openKeptCode(folder, kernel, (cause) => said.push(cause)).keep(kernel);
    expect(said).toHaveLength(1);
    expect(open().bytes).toBeNull();
  });
});

describe('the folder for what can be made anew', () => {
  it('is that of the environment, or the user`s', () => {
    expect(cacheFolder({ PARAVANE_HOME: '/p', XDG_CACHE_HOME: '/c' })).toBe('/p/cache');
    expect(cacheFolder({ XDG_CACHE_HOME: '/c' })).toBe('/c/paravane');
    expect(cacheFolder({})).toMatch(/\/\.cache\/paravane$/);
  });
});
