import { type Exit, Gpr, type VcpuCore } from '@paravane/engine-api';

/** A personality of a few lines: SYSCALL adds RSI to RDI, anything else that the core does not decide ends the guest. */
export function serve(vcpu: VcpuCore): Exit {
  for (;;) {
    const exit = vcpu.run(100_000);
    if (exit.reason === 'syscall') vcpu.regs[Gpr.rax] = vcpu.regs[Gpr.rdi]! + vcpu.regs[Gpr.rsi]!;
    else if (exit.reason !== 'budget') return exit;
  }
}
