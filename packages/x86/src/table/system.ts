/**
 * System, privileged and state-management instructions; notation as in
 * `integer.ts`. `reg` and `mem` say which ModRM forms exist; a third opcode byte
 * after 0F 01 is a whole ModRM byte.
 */
export const SYSTEM = `
0F 05            SYSCALL
0F 07            SYSRET                       o64
0F 34            SYSENTER
0F 35            SYSEXIT
CC               INT3
CD               INT Ib
CE               INTO                         i64
F1               INT1
CF               IRET
F4               HLT
FA               CLI
FB               STI
0F 06            CLTS
0F 08            INVD
0F 09            WBINVD
0F 30            WRMSR
0F 31            RDTSC
0F 32            RDMSR
0F 33            RDPMC
0F A2            CPUID
0F 01 F9         RDTSCP
0F 0B            UD2
0F B9 /r         UD1 Gv,Ev
0F FF /r         UD0 Gv,Ev
E4               IN AL,Ib
E5               IN rAX,Ib
EC               IN AL,DX
ED               IN rAX,DX
E6               OUT Ib,AL
E7               OUT Ib,rAX
EE               OUT DX,AL
EF               OUT DX,rAX
0F 20 /r         MOV_FROM_CR Rq,Cq
0F 22 /r         MOV_TO_CR Cq,Rq
0F 21 /r         MOV_FROM_DR Rq,Dq
0F 23 /r         MOV_TO_DR Dq,Rq
0F 00 /0         SLDT Ev
0F 00 /1         STR Ev
0F 00 /2         LLDT Ew
0F 00 /3         LTR Ew
0F 00 /4         VERR Ew
0F 00 /5         VERW Ew
0F 02 /r         LAR Gv,Ew
0F 03 /r         LSL Gv,Ew
0F 01 /0         SGDT Ms
0F 01 /1         SIDT Ms
0F 01 /2         LGDT Ms
0F 01 /3         LIDT Ms
0F 01 /4         SMSW Ev
0F 01 /6         LMSW Ew
0F 01 /7         INVLPG Mb
0F 01 C1         VMCALL
0F 01 D9         VMMCALL
0F 01 C8         MONITOR
0F 01 C9         MWAIT
0F 01 D0         XGETBV
0F 01 D1         XSETBV
0F 01 F8         SWAPGS                       o64
0F 01 CA         CLAC
0F 01 CB         STAC
NP 0F 01 E8      SERIALIZE
F3 0F AE /0      RDFSBASE Ry                  o64 reg
F3 0F AE /1      RDGSBASE Ry                  o64 reg
F3 0F AE /2      WRFSBASE Ry                  o64 reg
F3 0F AE /3      WRGSBASE Ry                  o64 reg
NP 0F C7 /6      RDRAND Rv                    reg
NP 0F C7 /7      RDSEED Rv                    reg
66 0F C7 /6      RDRAND Rw                    reg
66 0F C7 /7      RDSEED Rw                    reg
NP 0F AE /0      FXSAVE M                     mem
NP 0F AE /1      FXRSTOR M                    mem
NP 0F AE /4      XSAVE M                      mem
NP 0F AE /5      XRSTOR M                     mem
NP 0F AE /6      XSAVEOPT M                   mem
NP 0F C7 /4      XSAVEC M                     mem
NP 0F AE /2      LDMXCSR Md                   mem
NP 0F AE /3      STMXCSR Md                   mem
NP 0F AE /5      LFENCE                       reg
NP 0F AE /6      MFENCE                       reg
NP 0F AE /7      SFENCE                       reg
NP 0F AE /7      CLFLUSH Mb                   mem
9B               FWAIT
`;
