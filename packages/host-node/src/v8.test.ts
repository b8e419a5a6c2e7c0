import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { v8Flags } from './v8.js';

describe('what is asked of V8', () => {
  it('is known to the one that runs: V8 says nothing of it', () => {
    const script = `for (const flag of ${JSON.stringify(v8Flags(process.versions.v8))}) require('node:v8').setFlagsFromString(flag)`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  });
  it('leaves out what a version does not know', () => {
    const has = (version: string, flag: string): boolean => v8Flags(version).some((each) => each.startsWith(flag));
    expect(has('11.3.244.8-node.33', '--interrupt-budget')).toBe(true);
    for (const version of ['11.8.172.17-node.20', '12.4.254.21-node.57', '13.6.233.17-node.53']) {
      expect(has(version, '--interrupt-budget')).toBe(false);
      expect(has(version, '--experimental-wasm-branch-hinting')).toBe(true);
    }
    expect(has('13.7.1', '--experimental-wasm-branch-hinting')).toBe(false);
  });
});
