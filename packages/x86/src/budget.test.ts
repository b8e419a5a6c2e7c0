import { expect, it } from 'vitest';
import { assembleProgram } from './assemble.js';
import { CODE, createCore, DATA } from './testing/jit-core.js';

const PROGRAM = `start:
mov rsi, ${DATA}
call f
lea rdi, [rsi+8]
mov rbx, rdi
call f
cmp rax, rbx
jb start
jmp start
f:
push rbx
push rbp
push r12
sub rsp, 32
mov rbx, rdi
mov rbp, rsi
mov [rsp+8], rsi
inc dword [rsi+0x40]
movups xmm0, [rsp]
xor rax, rdi
add rax, rbp
add rsp, 32
pop r12
pop rbp
pop rbx
ret
`.replaceAll(`${DATA}`, `0x${DATA.toString(16)}`);

it('a budget ends at its instruction, in the middle of a sequence too, whether the code is new or not', () => {
  const { mmu, vcpu, codeFrames } = createCore(false);
  const fresh = vcpu.readFxState();
  const code = assembleProgram(PROGRAM, CODE).bytes;
  const enter = (): void => {
    vcpu.rip = CODE;
    vcpu.rflags = 2;
    vcpu.regs.fill(0n);
    vcpu.regs[4] = DATA + 0x8000n;
    vcpu.writeFxState(fresh);
    mmu.writeVirtual(vcpu.space, DATA, new Uint8Array(0x9000));
  };
  const after = (budget: number): unknown => {
    enter();
    const before = vcpu.count;
    expect(vcpu.run(budget).reason).toBe('budget');
    expect(vcpu.count - before).toBe(budget);
    return [
      [[...vcpu.regs], vcpu.rip, vcpu.rflags, vcpu.readFxState()],
      [...mmu.readVirtual(vcpu.space, DATA, 0x80)!],
      [...mmu.readVirtual(vcpu.space, DATA + 0x7f00n, 0x180)!],
    ];
  };
  for (let budget = 1; budget <= 70; budget++) {
    // A write to the frame drops the blocks that were made of it.
    mmu.write(codeFrames[0]!, 0, code);
    const decoded = after(budget);
    enter();
    vcpu.run(500);
    expect(after(budget)).toEqual(decoded);
  }
});
