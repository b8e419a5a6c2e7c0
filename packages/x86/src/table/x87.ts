/**
 * x87 and MMX, with the SSE to SSSE3 instructions on MMX registers; notation as
 * in `integer.ts`, with STi for the stack register in ModRM.rm, P, Q and N for
 * MMX registers. `Mt` is an 80-bit operand. Aliases that processors have and the
 * manual does not list go by the name of what they do.
 */
const ARITHMETIC = ['FADD', 'FMUL', 'FCOM', 'FCOMP', 'FSUB', 'FSUBR', 'FDIV', 'FDIVR'];
/** Where the destination is ST(i), the codes of FSUB and FSUBR, FDIV and FDIVR are exchanged. */
const TO_STACK = ['FADD', 'FMUL', '', '', 'FSUBR', 'FSUB', 'FDIVR', 'FDIV'];

const arithmetic = [
  ...ARITHMETIC.flatMap((name, i) => [
    `D8 /${i}  ${name} Md  mem`,
    `D8 /${i}  ${name} ST0,STi  reg`,
    `DC /${i}  ${name} Mq  mem`,
    `DA /${i}  FI${name.slice(1)} Md  mem`,
    `DE /${i}  FI${name.slice(1)} Mw  mem`,
  ]),
  ...TO_STACK.flatMap((name, i) =>
    name === '' ? [] : [`DC /${i}  ${name} STi,ST0  reg`, `DE /${i}  ${name}P STi,ST0  reg`],
  ),
].join('\n');

const FPU = `
DC /2            FCOM ST0,STi                 reg
DC /3            FCOMP ST0,STi                reg
DE /2            FCOMP ST0,STi                reg
D9 /0            FLD Md                       mem
DD /0            FLD Mq                       mem
DB /5            FLD Mt                       mem
D9 /0            FLD STi                      reg
D9 /2            FST Md                       mem
DD /2            FST Mq                       mem
DD /2            FST STi                      reg
D9 /3            FSTP Md                      mem
DD /3            FSTP Mq                      mem
DB /7            FSTP Mt                      mem
DD /3            FSTP STi                     reg
D9 /3            FSTPNCE STi                  reg
DF /2            FSTP STi                     reg
DF /3            FSTP STi                     reg
DF /0            FILD Mw                      mem
DB /0            FILD Md                      mem
DF /5            FILD Mq                      mem
DF /2            FIST Mw                      mem
DB /2            FIST Md                      mem
DF /3            FISTP Mw                     mem
DB /3            FISTP Md                     mem
DF /7            FISTP Mq                     mem
DF /1            FISTTP Mw                    mem
DB /1            FISTTP Md                    mem
DD /1            FISTTP Mq                    mem
DF /4            FBLD Mt                      mem
DF /6            FBSTP Mt                     mem
D9 /1            FXCH STi                     reg
DD /1            FXCH STi                     reg
DF /1            FXCH STi                     reg
DA /0            FCMOVB ST0,STi               reg
DA /1            FCMOVE ST0,STi               reg
DA /2            FCMOVBE ST0,STi              reg
DA /3            FCMOVU ST0,STi               reg
DB /0            FCMOVNB ST0,STi              reg
DB /1            FCMOVNE ST0,STi              reg
DB /2            FCMOVNBE ST0,STi             reg
DB /3            FCMOVNU ST0,STi              reg
DE D9            FCOMPP
DA E9            FUCOMPP
DD /4            FUCOM ST0,STi                reg
DD /5            FUCOMP ST0,STi               reg
DB /6            FCOMI ST0,STi                reg
DB /5            FUCOMI ST0,STi               reg
DF /6            FCOMIP ST0,STi               reg
DF /5            FUCOMIP ST0,STi              reg
D9 E0            FCHS
D9 E1            FABS
D9 E4            FTST
D9 E5            FXAM
D9 E8            FLD1
D9 E9            FLDL2T
D9 EA            FLDL2E
D9 EB            FLDPI
D9 EC            FLDLG2
D9 ED            FLDLN2
D9 EE            FLDZ
D9 F0            F2XM1
D9 F1            FYL2X
D9 F2            FPTAN
D9 F3            FPATAN
D9 F4            FXTRACT
D9 F5            FPREM1
D9 F6            FDECSTP
D9 F7            FINCSTP
D9 F8            FPREM
D9 F9            FYL2XP1
D9 FA            FSQRT
D9 FB            FSINCOS
D9 FC            FRNDINT
D9 FD            FSCALE
D9 FE            FSIN
D9 FF            FCOS
D9 D0            FNOP
DB E0            FNENI
DB E1            FNDISI
DB E4            FNSETPM
DB E2            FNCLEX
DB E3            FNINIT
DD /0            FFREE STi                    reg
DF /0            FFREEP STi                   reg
D9 /5            FLDCW Mw                     mem
D9 /7            FNSTCW Mw                    mem
DD /7            FNSTSW Mw                    mem
DF E0            FNSTSW
D9 /4            FLDENV M                     mem
D9 /6            FNSTENV M                    mem
DD /4            FRSTOR M                     mem
DD /6            FNSAVE M                     mem
`;

const MMX = `
NP 0F 60 /r      PUNPCKLBW Pq,Qd
NP 0F 61 /r      PUNPCKLWD Pq,Qd
NP 0F 62 /r      PUNPCKLDQ Pq,Qd
NP 0F 63 /r      PACKSSWB Pq,Qq
NP 0F 64 /r      PCMPGTB Pq,Qq
NP 0F 65 /r      PCMPGTW Pq,Qq
NP 0F 66 /r      PCMPGTD Pq,Qq
NP 0F 67 /r      PACKUSWB Pq,Qq
NP 0F 68 /r      PUNPCKHBW Pq,Qq
NP 0F 69 /r      PUNPCKHWD Pq,Qq
NP 0F 6A /r      PUNPCKHDQ Pq,Qq
NP 0F 6B /r      PACKSSDW Pq,Qq
NP 0F 6E /r      MOVD Pq,Ey
NP 0F 7E /r      MOVD Ey,Pq
NP 0F 6F /r      MOVQ Pq,Qq
NP 0F 7F /r      MOVQ Qq,Pq
NP 0F 70 /r      PSHUFW Pq,Qq,Ib
NP 0F 71 /2      PSRLW Nq,Ib
NP 0F 71 /4      PSRAW Nq,Ib
NP 0F 71 /6      PSLLW Nq,Ib
NP 0F 72 /2      PSRLD Nq,Ib
NP 0F 72 /4      PSRAD Nq,Ib
NP 0F 72 /6      PSLLD Nq,Ib
NP 0F 73 /2      PSRLQ Nq,Ib
NP 0F 73 /6      PSLLQ Nq,Ib
NP 0F 74 /r      PCMPEQB Pq,Qq
NP 0F 75 /r      PCMPEQW Pq,Qq
NP 0F 76 /r      PCMPEQD Pq,Qq
NP 0F 77         EMMS
NP 0F C4 /r      PINSRW Pq,Ew,Ib
NP 0F C5 /r      PEXTRW Gd,Nq,Ib
NP 0F D1 /r      PSRLW Pq,Qq
NP 0F D2 /r      PSRLD Pq,Qq
NP 0F D3 /r      PSRLQ Pq,Qq
NP 0F D4 /r      PADDQ Pq,Qq
NP 0F D5 /r      PMULLW Pq,Qq
NP 0F D7 /r      PMOVMSKB Gd,Nq
NP 0F D8 /r      PSUBUSB Pq,Qq
NP 0F D9 /r      PSUBUSW Pq,Qq
NP 0F DA /r      PMINUB Pq,Qq
NP 0F DB /r      PAND Pq,Qq
NP 0F DC /r      PADDUSB Pq,Qq
NP 0F DD /r      PADDUSW Pq,Qq
NP 0F DE /r      PMAXUB Pq,Qq
NP 0F DF /r      PANDN Pq,Qq
NP 0F E0 /r      PAVGB Pq,Qq
NP 0F E1 /r      PSRAW Pq,Qq
NP 0F E2 /r      PSRAD Pq,Qq
NP 0F E3 /r      PAVGW Pq,Qq
NP 0F E4 /r      PMULHUW Pq,Qq
NP 0F E5 /r      PMULHW Pq,Qq
NP 0F E7 /r      MOVNTQ Mq,Pq
NP 0F E8 /r      PSUBSB Pq,Qq
NP 0F E9 /r      PSUBSW Pq,Qq
NP 0F EA /r      PMINSW Pq,Qq
NP 0F EB /r      POR Pq,Qq
NP 0F EC /r      PADDSB Pq,Qq
NP 0F ED /r      PADDSW Pq,Qq
NP 0F EE /r      PMAXSW Pq,Qq
NP 0F EF /r      PXOR Pq,Qq
NP 0F F1 /r      PSLLW Pq,Qq
NP 0F F2 /r      PSLLD Pq,Qq
NP 0F F3 /r      PSLLQ Pq,Qq
NP 0F F4 /r      PMULUDQ Pq,Qq
NP 0F F5 /r      PMADDWD Pq,Qq
NP 0F F6 /r      PSADBW Pq,Qq
NP 0F F7 /r      MASKMOVQ Pq,Nq
NP 0F F8 /r      PSUBB Pq,Qq
NP 0F F9 /r      PSUBW Pq,Qq
NP 0F FA /r      PSUBD Pq,Qq
NP 0F FB /r      PSUBQ Pq,Qq
NP 0F FC /r      PADDB Pq,Qq
NP 0F FD /r      PADDW Pq,Qq
NP 0F FE /r      PADDD Pq,Qq
NP 0F 38 00 /r   PSHUFB Pq,Qq
NP 0F 38 01 /r   PHADDW Pq,Qq
NP 0F 38 02 /r   PHADDD Pq,Qq
NP 0F 38 03 /r   PHADDSW Pq,Qq
NP 0F 38 04 /r   PMADDUBSW Pq,Qq
NP 0F 38 05 /r   PHSUBW Pq,Qq
NP 0F 38 06 /r   PHSUBD Pq,Qq
NP 0F 38 07 /r   PHSUBSW Pq,Qq
NP 0F 38 08 /r   PSIGNB Pq,Qq
NP 0F 38 09 /r   PSIGNW Pq,Qq
NP 0F 38 0A /r   PSIGND Pq,Qq
NP 0F 38 0B /r   PMULHRSW Pq,Qq
NP 0F 38 1C /r   PABSB Pq,Qq
NP 0F 38 1D /r   PABSW Pq,Qq
NP 0F 38 1E /r   PABSD Pq,Qq
NP 0F 3A 0F /r   PALIGNR Pq,Qq,Ib
`;

export const X87 = `${arithmetic}\n${FPU}${MMX}`;
