/**
 * Lines of what a guest asked of the hypervisor, in the format of the golden
 * transcripts: `DOM.VCPU microseconds KIND …`.
 *
 * Kinds: H hypercall, R result, M multicall entry, X mmuext operation, I iret,
 * T bounced exception, W emulated page-table write, MSRr/MSRw, CRr/CRw,
 * IOr/IOw, CPUID.
 */
export type TraceSink = (line: string) => void;

interface Traced {
  readonly id: number;
  readonly domain: {
    readonly id: number;
    readonly trace: TraceSink | null;
    readonly machine: { readonly services: { now(): number } };
  };
}

/** Writes one line; `rest` starts with the kind. Call only when `domain.trace` is set. */
export function trace(vcpu: Traced, rest: string): void {
  const { domain } = vcpu;
  domain.trace?.(`${domain.id}.${vcpu.id} ${Math.floor(domain.machine.services.now() / 1000)} ${rest}`);
}

/** Hexadecimal as C's %lx prints it. */
export const hex = (value: bigint | number): string =>
  (typeof value === 'bigint'
    ? BigInt.asUintN(64, value)
    : value < 0
      ? BigInt.asUintN(64, BigInt(value))
      : value
  ).toString(16);
