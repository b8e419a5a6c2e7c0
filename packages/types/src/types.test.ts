import { describe, expect, it } from 'vitest';
import {
  isParavaneError,
  type Mfn,
  maddr,
  maddrToMfn,
  mfn,
  mfnToMaddr,
  PAGE_SIZE,
  ParavaneError,
  pfn,
} from './index.js';

describe('addresses', () => {
  it('converts between machine frames and machine addresses, up to 4 GiB', () => {
    expect(mfnToMaddr(mfn(0xfffff))).toBe(0xfffff000);
    expect(maddrToMfn(maddr(0xffffffff))).toBe(0xfffff);
    expect(PAGE_SIZE).toBe(4096);
  });

  it('does not let one space stand for another', () => {
    // @ts-expect-error a pseudo-physical frame is not a machine frame
    const frame: Mfn = pfn(3);
    expect(frame).toBe(3);
  });
});

describe('ParavaneError', () => {
  it('carries code, cause and data, and is matched by code', () => {
    const cause = new Error('no such file');
    const error = new ParavaneError('file-unreadable', 'cannot read vmlinuz: check the path', {
      cause,
      data: { file: 'vmlinuz' },
    });
    expect(error).toMatchObject({ code: 'file-unreadable', cause, data: { file: 'vmlinuz' } });
    expect(isParavaneError(error, 'file-unreadable')).toBe(true);
    expect(isParavaneError(error, 'other')).toBe(false);
    expect(isParavaneError(cause)).toBe(false);
  });
});
