/** What the manual says of encodings that no processor was asked about: `testing/manual-cases.ts`. */
import { Flag, Gpr } from '@paravane/engine-api';
import { describe, expect, it } from 'vitest';
import { CODE, createCore, DATA } from './testing/core.js';
import { MANUAL_CASES, type ManualCase } from './testing/manual-cases.js';

const core = createCore();
const CONDITIONS = ['CF', 'PF', 'AF', 'ZF', 'SF', 'OF'] as const;
const STACK = DATA + 0x1800n;
const CR4 = 0x660;

interface State {
  registers: Record<string, bigint>;
  flags: string[];
  data: Uint8Array;
}
const isCondition = (word: string): word is (typeof CONDITIONS)[number] =>
  (CONDITIONS as readonly string[]).includes(word);
const bytesOf = (hex: string): number[] => (hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16));
/** `name=value` or `[offset]=bytes`. */
const assignment = (word: string): [string, string] => {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
};

function startOf({ mode, code, before }: ManualCase) {
  const vcpu = core.createVcpu();
  core.writeCode(code);
  const data = new Uint8Array(8192);
  vcpu.mode = mode;
  vcpu.selectors.set([0x2b, mode === 64 ? 0x33 : 0x23, 0x2b, 0x2b, 0, 0]);
  vcpu.regs.fill(0n);
  vcpu.regs[Gpr.rbx] = DATA;
  vcpu.regs[Gpr.rsp] = STACK;
  vcpu.cr4 = CR4;
  vcpu.rflags = 2;
  for (const word of before) {
    const [name, value] = assignment(word);
    if (isCondition(word)) vcpu.rflags |= Flag[word];
    else if (name === 'cr4') vcpu.cr4 = CR4 | Number.parseInt(value, 16);
    else if (name.startsWith('[')) data.set(bytesOf(value), Number.parseInt(name.slice(1), 16));
    else vcpu.regs[Gpr[name as keyof typeof Gpr]] = BigInt(`0x${value}`);
  }
  core.writeData(data);
  return vcpu;
}
type Core = ReturnType<typeof startOf>;
const stateOf = (vcpu: Core): State => ({
  registers: {
    ...Object.fromEntries(Object.entries(Gpr).map(([name, n]) => [name, vcpu.regs[n as number]!])),
    fs: vcpu.fsBase,
    gs: vcpu.gsBase,
  },
  flags: CONDITIONS.filter((name) => vcpu.rflags & Flag[name]),
  data: core.readData(),
});

/** The state that a line says, made of the state before. */
function expectedOf({ after, code }: ManualCase, before: State, actual: State) {
  const state = { ...before, registers: { ...before.registers }, data: before.data.slice() };
  const unknown = after.filter((word) => word.startsWith('?')).map((word) => word.slice(1));
  if (!after.includes('same')) state.flags = after.filter(isCondition);
  state.flags = [...state.flags, ...actual.flags.filter((name) => unknown.includes(name))];
  for (const word of after) {
    const [name, value] = assignment(word);
    if (word.startsWith('?') && word.slice(1) in state.registers)
      state.registers[word.slice(1)] = actual.registers[word.slice(1)]!;
    else if (name.startsWith('[')) state.data.set(bytesOf(value), Number.parseInt(name.slice(1), 16));
    else if (name in state.registers) state.registers[name] = BigInt(`0x${value}`);
  }
  return { ...state, flags: CONDITIONS.filter((name) => state.flags.includes(name)), rip: CODE + BigInt(code.length) };
}

/** The exit's fields that a line names. */
function expectedExit(words: readonly string[]): Record<string, unknown> {
  const [what, ...fields] = words;
  const named = Object.fromEntries(
    fields.map((word) => {
      const [name, value] = assignment(word);
      const number = value.startsWith('-') ? -Number.parseInt(value.slice(1), 16) : Number.parseInt(value, 16);
      return [name, name === 'offset' ? BigInt(`0x${value}`) : number];
    }),
  );
  return what === what!.toUpperCase()
    ? { reason: 'privileged', instruction: { mnemonic: what, ...named } }
    : { reason: what, ...named };
}

/** Runs a line's instruction: how it ended, and the states around it. */
function run(one: ManualCase) {
  const vcpu = startOf(one);
  const before = stateOf(vcpu);
  const exit = vcpu.run(1);
  return { exit, before, after: stateOf(vcpu), rip: vcpu.rip };
}
const named = (lines: readonly ManualCase[]): [string, ManualCase][] => lines.map((one) => [one.text, one]);
const raises = ({ after }: ManualCase): boolean => after[0]?.startsWith('!') === true;
const stops = ({ after }: ManualCase): boolean => after[0] === 'stops';

describe('what the manual says of encodings that no processor was asked about', () => {
  it.each(named(MANUAL_CASES.filter((one) => !raises(one) && !stops(one))))('%s', (_, one) => {
    const { exit, before, after, rip } = run(one);
    expect(exit.reason).toBe('budget');
    expect({ ...after, rip }).toEqual(expectedOf(one, before, after));
  });
  it.each(named(MANUAL_CASES.filter(raises)))('%s', (_, one) => {
    const { exit, before, after, rip } = run(one);
    const [vector, errorCode = '-1'] = one.after[0]!.slice(1).split(':');
    expect(exit).toMatchObject({ reason: 'exception', vector: Number(vector), errorCode: Number(errorCode) });
    expect({ ...after, rip }).toEqual({ ...before, rip: CODE });
  });
  it.each(named(MANUAL_CASES.filter(stops)))('%s', (_, one) => {
    const { exit, before, after } = run(one);
    expect(exit).toMatchObject(expectedExit(one.after.slice(1)));
    expect(after).toEqual(before);
  });
});
