/** What CR0, CR4 and XCR0 make of instructions on x87, SSE and extended state. */
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from '../testing/core.js';

const core = createCore();
const PE_NE = 0x80050033;
const [EM, TS, MP] = [4, 8, 2];
const [OSFXSR, OSXMMEXCPT, OSXSAVE, UMIP] = [0x200, 0x400, 0x40000, 0x800];

/** The exception of one instruction, or what else stopped it. */
function outcome(code: number[], setup: { cr0?: number; cr4?: number; mxcsr?: number; cpl?: number } = {}) {
  const vcpu = core.createVcpu();
  core.writeCode(Uint8Array.from(code));
  core.writeData(new Uint8Array(8192));
  vcpu.cr0 = setup.cr0 ?? PE_NE;
  vcpu.cr4 = setup.cr4 ?? OSFXSR | OSXMMEXCPT;
  vcpu.xcr0 = 3;
  vcpu.selectors[1] = setup.cpl ?? 3;
  vcpu.regs[3] = DATA;
  if (setup.mxcsr !== undefined) {
    const fx = vcpu.readFxState();
    new DataView(fx.buffer).setUint32(24, setup.mxcsr, true);
    vcpu.writeFxState(fx);
  }
  vcpu.rip = CODE;
  const exit = vcpu.run(1);
  return exit.reason === 'exception' ? exit.vector : exit.reason;
}
const ADDPS = [0x0f, 0x58, 0xc1];
/** DIVSS by zero. */
const DIVSS = [0xf3, 0x0f, 0x5e, 0xc1];
/** A generated one and one that is TypeScript. */
const SSE = [ADDPS, [0x66, 0x0f, 0x38, 0xdc, 0xc1]];
const [PADDB_MMX, FADD, FWAIT, FXSAVE] = [[0x0f, 0xfc, 0xc1], [0xd8, 0xc1], [0x9b], [0x0f, 0xae, 0x03]];

describe('SSE', () => {
  it.each(SSE)('%s %s %s goes by CR0.EM, CR4.OSFXSR and CR0.TS, in this order', (...code) => {
    expect(outcome(code)).toBe('budget');
    expect(outcome(code, { cr0: PE_NE | EM | TS })).toBe(6);
    expect(outcome(code, { cr0: PE_NE | TS, cr4: 0 })).toBe(6);
    expect(outcome(code, { cr4: OSXMMEXCPT })).toBe(6);
    expect(outcome(code, { cr0: PE_NE | TS })).toBe(7);
  });
  it('raises #XM for an exception that is not masked, or #UD without CR4.OSXMMEXCPT', () => {
    expect(outcome(DIVSS, { mxcsr: 0 })).toBe(19);
    expect(outcome(DIVSS, { mxcsr: 0, cr4: OSFXSR })).toBe(6);
    expect(outcome(DIVSS, { cr4: OSFXSR })).toBe('budget');
  });
});

describe('x87, MMX and FXSAVE', () => {
  it('go by CR0.EM and CR0.TS', () => {
    expect(outcome(FADD, { cr0: PE_NE | EM })).toBe(7);
    expect(outcome(FADD, { cr0: PE_NE | TS })).toBe(7);
    expect(outcome(PADDB_MMX, { cr0: PE_NE | EM })).toBe(6);
    expect(outcome(PADDB_MMX, { cr0: PE_NE | TS })).toBe(7);
    expect(outcome(FXSAVE, { cr0: PE_NE | EM })).toBe(7);
    expect(outcome(FXSAVE, { cr4: 0 })).toBe('budget');
    expect(outcome(FWAIT, { cr0: (PE_NE & ~MP) | TS })).toBe('budget');
    expect(outcome(FWAIT, { cr0: PE_NE | MP | TS })).toBe(7);
  });
});

describe('XSAVE and its kin', () => {
  const FORMS = [
    [0x0f, 0xae, 0x23],
    [0x0f, 0xae, 0x2b],
    [0x0f, 0xae, 0x33],
    [0x0f, 0xc7, 0x23],
  ];
  it.each(FORMS)('%s %s %s are there with CR4.OSXSAVE only, and #NM with CR0.TS', (...code) => {
    expect(outcome(code)).toBe(6);
    expect(outcome(code, { cr4: OSXSAVE | OSFXSR })).toBe('budget');
    expect(outcome(code, { cr4: OSXSAVE, cr0: PE_NE | EM })).toBe('budget');
    expect(outcome(code, { cr4: OSXSAVE, cr0: PE_NE | TS })).toBe(7);
  });
  it('save what is asked for, and bring back initial values for what was not saved', () => {
    const vcpu = core.createVcpu();
    vcpu.cr4 = OSXSAVE | OSFXSR;
    vcpu.xcr0 = 3;
    const run = (code: number[], mask: bigint): void => {
      core.writeCode(Uint8Array.from(code));
      vcpu.rip = CODE;
      vcpu.regs[3] = DATA;
      vcpu.regs[0] = mask;
      vcpu.regs[2] = 0n;
      expect(vcpu.run(1).reason).toBe('budget');
    };
    const fx = vcpu.readFxState();
    fx[160] = 0x77;
    vcpu.writeFxState(fx);
    core.writeData(new Uint8Array(8192).fill(0xee, 0, 512));
    run(FORMS[0]!, 1n);
    expect([...core.readData().subarray(160, 162), core.readData()[512]]).toEqual([0xee, 0xee, 0]);
    run(FORMS[0]!, 0xffffffffn);
    expect([core.readData()[160], core.readData()[512]]).toEqual([0x77, 2]);
    core.writeData(core.readData().fill(0, 512, 520));
    run(FORMS[1]!, 3n);
    expect(vcpu.readFxState()[160]).toBe(0);
    // XGETBV: XCR0, and what of it is in use.
    vcpu.regs[1] = 0n;
    run([0x0f, 0x01, 0xd0], 0n);
    expect(vcpu.regs[0]).toBe(3n);
    vcpu.regs[1] = 1n;
    run([0x0f, 0x01, 0xd0], 0n);
    expect(vcpu.regs[0]).toBe(0n);
  });
});

describe('SMAP', () => {
  // mov al, [rbx]; stac; mov al, [rbx]; clac; mov al, [rbx]
  const LOAD = [0x8a, 0x03];
  it('lets CPL 0 reach user pages between STAC and CLAC only', () => {
    const vcpu = core.createVcpu();
    core.writeCode(Uint8Array.from([0x0f, 0x01, 0xcb, ...LOAD, 0x0f, 0x01, 0xca, ...LOAD]));
    vcpu.cr4 = OSFXSR | (1 << 21);
    vcpu.selectors[1] = 0;
    vcpu.space = { ...vcpu.space, user: false, smap: true };
    vcpu.regs[3] = DATA;
    vcpu.rip = CODE + 3n;
    expect(vcpu.run(1)).toMatchObject({ reason: 'exception', vector: 14, errorCode: 1 });
    vcpu.rip = CODE;
    expect(vcpu.run(10)).toMatchObject({ reason: 'exception', vector: 14, errorCode: 1 });
    expect(vcpu.rip).toBe(CODE + 8n);
  });
  it.each([
    ['CLAC', 0xca],
    ['STAC', 0xcb],
  ])('lets CPL 0 have %s before CR4.SMAP is set, and nobody else', (_name, last) => {
    expect(outcome([0x0f, 0x01, last], { cr4: OSFXSR, cpl: 0 })).toBe('budget');
    expect(outcome([0x0f, 0x01, last])).toBe(6);
  });
});

describe('CR4.UMIP', () => {
  it.each([
    [0x0f, 0x01, 0x03],
    [0x0f, 0x00, 0xc0],
    [0x0f, 0x01, 0xe0],
  ])('%s %s %s is #GP above CPL 0', (...code) => {
    expect(outcome(code, { cr4: UMIP })).toBe(13);
    expect(outcome(code, { cr4: UMIP, cpl: 0 })).toBe('privileged');
    expect(outcome(code)).toBe('privileged');
  });
});
