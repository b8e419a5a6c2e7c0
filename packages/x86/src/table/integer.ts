/**
 * The integer instruction set, a line per encoding, in the notation of the
 * manual (Intel SDM vol. 2): opcode bytes with a mandatory prefix first, `/r` or
 * `/digit` for ModRM, `+r` for a register in the opcode; then the mnemonic with
 * operands in the notation of appendix A.2 (Eb, Gv, Iz, Jb, …; `Ibs` is a
 * sign-extended byte, `Z` the register in the opcode); then attributes:
 * lock (LOCK allowed on a memory destination), i64 (invalid in 64-bit mode), o64
 * (64-bit mode only), d64/f64 (operand size defaults to / is forced to 64 bits
 * in 64-bit mode), W0/W1 (REX.W as given), np (no REX.B), noF3 (undefined with F3).
 *
 * Where one name of the manual covers unlike operations, the unlike ones have a
 * name of their own here: IMUL1 is the one-operand IMUL, MOV_TO_SEG a MOV to a
 * segment register.
 */
export const INTEGER = `
00 /r            ADD Eb,Gb                    lock
01 /r            ADD Ev,Gv                    lock
02 /r            ADD Gb,Eb
03 /r            ADD Gv,Ev
04               ADD AL,Ib
05               ADD rAX,Iz
08 /r            OR Eb,Gb                     lock
09 /r            OR Ev,Gv                     lock
0A /r            OR Gb,Eb
0B /r            OR Gv,Ev
0C               OR AL,Ib
0D               OR rAX,Iz
10 /r            ADC Eb,Gb                    lock
11 /r            ADC Ev,Gv                    lock
12 /r            ADC Gb,Eb
13 /r            ADC Gv,Ev
14               ADC AL,Ib
15               ADC rAX,Iz
18 /r            SBB Eb,Gb                    lock
19 /r            SBB Ev,Gv                    lock
1A /r            SBB Gb,Eb
1B /r            SBB Gv,Ev
1C               SBB AL,Ib
1D               SBB rAX,Iz
20 /r            AND Eb,Gb                    lock
21 /r            AND Ev,Gv                    lock
22 /r            AND Gb,Eb
23 /r            AND Gv,Ev
24               AND AL,Ib
25               AND rAX,Iz
28 /r            SUB Eb,Gb                    lock
29 /r            SUB Ev,Gv                    lock
2A /r            SUB Gb,Eb
2B /r            SUB Gv,Ev
2C               SUB AL,Ib
2D               SUB rAX,Iz
30 /r            XOR Eb,Gb                    lock
31 /r            XOR Ev,Gv                    lock
32 /r            XOR Gb,Eb
33 /r            XOR Gv,Ev
34               XOR AL,Ib
35               XOR rAX,Iz
38 /r            CMP Eb,Gb
39 /r            CMP Ev,Gv
3A /r            CMP Gb,Eb
3B /r            CMP Gv,Ev
3C               CMP AL,Ib
3D               CMP rAX,Iz
80 /0            ADD Eb,Ib                    lock
81 /0            ADD Ev,Iz                    lock
82 /0            ADD Eb,Ib                    i64 lock
83 /0            ADD Ev,Ibs                   lock
80 /1            OR Eb,Ib                     lock
81 /1            OR Ev,Iz                     lock
82 /1            OR Eb,Ib                     i64 lock
83 /1            OR Ev,Ibs                    lock
80 /2            ADC Eb,Ib                    lock
81 /2            ADC Ev,Iz                    lock
82 /2            ADC Eb,Ib                    i64 lock
83 /2            ADC Ev,Ibs                   lock
80 /3            SBB Eb,Ib                    lock
81 /3            SBB Ev,Iz                    lock
82 /3            SBB Eb,Ib                    i64 lock
83 /3            SBB Ev,Ibs                   lock
80 /4            AND Eb,Ib                    lock
81 /4            AND Ev,Iz                    lock
82 /4            AND Eb,Ib                    i64 lock
83 /4            AND Ev,Ibs                   lock
80 /5            SUB Eb,Ib                    lock
81 /5            SUB Ev,Iz                    lock
82 /5            SUB Eb,Ib                    i64 lock
83 /5            SUB Ev,Ibs                   lock
80 /6            XOR Eb,Ib                    lock
81 /6            XOR Ev,Iz                    lock
82 /6            XOR Eb,Ib                    i64 lock
83 /6            XOR Ev,Ibs                   lock
80 /7            CMP Eb,Ib
81 /7            CMP Ev,Iz
82 /7            CMP Eb,Ib                    i64
83 /7            CMP Ev,Ibs
84 /r            TEST Eb,Gb
85 /r            TEST Ev,Gv
A8               TEST AL,Ib
A9               TEST rAX,Iz
F6 /0            TEST Eb,Ib
F7 /0            TEST Ev,Iz
F6 /1            TEST Eb,Ib
F7 /1            TEST Ev,Iz
F6 /2            NOT Eb                       lock
F6 /3            NEG Eb                       lock
F6 /4            MUL Eb
F6 /5            IMUL1 Eb
F6 /6            DIV Eb
F6 /7            IDIV Eb
F7 /2            NOT Ev                       lock
F7 /3            NEG Ev                       lock
F7 /4            MUL Ev
F7 /5            IMUL1 Ev
F7 /6            DIV Ev
F7 /7            IDIV Ev
0F AF /r         IMUL Gv,Ev
69 /r            IMUL Gv,Ev,Iz
6B /r            IMUL Gv,Ev,Ibs
FE /0            INC Eb                       lock
FF /0            INC Ev                       lock
FE /1            DEC Eb                       lock
FF /1            DEC Ev                       lock
40+r             INC Zv                       i64
48+r             DEC Zv                       i64
88 /r            MOV Eb,Gb
89 /r            MOV Ev,Gv
8A /r            MOV Gb,Eb
8B /r            MOV Gv,Ev
A0               MOV AL,Ob
A1               MOV rAX,Ov
A2               MOV Ob,AL
A3               MOV Ov,rAX
B0+r             MOV Zb,Ib
B8+r             MOV Zv,Iv
C6 /0            MOV Eb,Ib
C7 /0            MOV Ev,Iz
8C /r            MOV_FROM_SEG Ev,Sw
8E /r            MOV_TO_SEG Sw,Ew
0F B6 /r         MOVZX Gv,Eb
0F B7 /r         MOVZX Gv,Ew
0F BE /r         MOVSX Gv,Eb
0F BF /r         MOVSX Gv,Ew
63 /r            MOVSX Gv,Ed                  o64
63 /r            ARPL Ew,Gw                   i64
8D /r            LEA Gv,M
86 /r            XCHG Eb,Gb                   lock
87 /r            XCHG Ev,Gv                   lock
90+r             XCHG Zv,rAX
0F C0 /r         XADD Eb,Gb                   lock
0F C1 /r         XADD Ev,Gv                   lock
0F B0 /r         CMPXCHG Eb,Gb                lock
0F B1 /r         CMPXCHG Ev,Gv                lock
0F C7 /1         CMPXCHG8B Mq                 lock W0
0F C7 /1         CMPXCHG16B Mdq               lock W1
C0 /0            ROL Eb,Ib
C1 /0            ROL Ev,Ib
D0 /0            ROL Eb,1
D1 /0            ROL Ev,1
D2 /0            ROL Eb,CL
D3 /0            ROL Ev,CL
C0 /1            ROR Eb,Ib
C1 /1            ROR Ev,Ib
D0 /1            ROR Eb,1
D1 /1            ROR Ev,1
D2 /1            ROR Eb,CL
D3 /1            ROR Ev,CL
C0 /2            RCL Eb,Ib
C1 /2            RCL Ev,Ib
D0 /2            RCL Eb,1
D1 /2            RCL Ev,1
D2 /2            RCL Eb,CL
D3 /2            RCL Ev,CL
C0 /3            RCR Eb,Ib
C1 /3            RCR Ev,Ib
D0 /3            RCR Eb,1
D1 /3            RCR Ev,1
D2 /3            RCR Eb,CL
D3 /3            RCR Ev,CL
C0 /4            SHL Eb,Ib
C1 /4            SHL Ev,Ib
D0 /4            SHL Eb,1
D1 /4            SHL Ev,1
D2 /4            SHL Eb,CL
D3 /4            SHL Ev,CL
C0 /5            SHR Eb,Ib
C1 /5            SHR Ev,Ib
D0 /5            SHR Eb,1
D1 /5            SHR Ev,1
D2 /5            SHR Eb,CL
D3 /5            SHR Ev,CL
C0 /6            SHL Eb,Ib
C1 /6            SHL Ev,Ib
D0 /6            SHL Eb,1
D1 /6            SHL Ev,1
D2 /6            SHL Eb,CL
D3 /6            SHL Ev,CL
C0 /7            SAR Eb,Ib
C1 /7            SAR Ev,Ib
D0 /7            SAR Eb,1
D1 /7            SAR Ev,1
D2 /7            SAR Eb,CL
D3 /7            SAR Ev,CL
0F A4 /r         SHLD Ev,Gv,Ib
0F A5 /r         SHLD Ev,Gv,CL
0F AC /r         SHRD Ev,Gv,Ib
0F AD /r         SHRD Ev,Gv,CL
0F A3 /r         BT Ev,Gv
0F BA /4         BT Ev,Ib
0F AB /r         BTS Ev,Gv                    lock
0F BA /5         BTS Ev,Ib                    lock
0F B3 /r         BTR Ev,Gv                    lock
0F BA /6         BTR Ev,Ib                    lock
0F BB /r         BTC Ev,Gv                    lock
0F BA /7         BTC Ev,Ib                    lock
0F BC /r         BSF Gv,Ev
0F BD /r         BSR Gv,Ev
F3 0F BC /r      TZCNT Gv,Ev
F3 0F BD /r      LZCNT Gv,Ev
F3 0F B8 /r      POPCNT Gv,Ev
70               JO Jb                        f64
71               JNO Jb                       f64
72               JB Jb                        f64
73               JNB Jb                       f64
74               JZ Jb                        f64
75               JNZ Jb                       f64
76               JBE Jb                       f64
77               JNBE Jb                      f64
78               JS Jb                        f64
79               JNS Jb                       f64
7A               JP Jb                        f64
7B               JNP Jb                       f64
7C               JL Jb                        f64
7D               JNL Jb                       f64
7E               JLE Jb                       f64
7F               JNLE Jb                      f64
0F 80            JO Jz                        f64
0F 81            JNO Jz                       f64
0F 82            JB Jz                        f64
0F 83            JNB Jz                       f64
0F 84            JZ Jz                        f64
0F 85            JNZ Jz                       f64
0F 86            JBE Jz                       f64
0F 87            JNBE Jz                      f64
0F 88            JS Jz                        f64
0F 89            JNS Jz                       f64
0F 8A            JP Jz                        f64
0F 8B            JNP Jz                       f64
0F 8C            JL Jz                        f64
0F 8D            JNL Jz                       f64
0F 8E            JLE Jz                       f64
0F 8F            JNLE Jz                      f64
0F 90 /r         SETO Eb
0F 91 /r         SETNO Eb
0F 92 /r         SETB Eb
0F 93 /r         SETNB Eb
0F 94 /r         SETZ Eb
0F 95 /r         SETNZ Eb
0F 96 /r         SETBE Eb
0F 97 /r         SETNBE Eb
0F 98 /r         SETS Eb
0F 99 /r         SETNS Eb
0F 9A /r         SETP Eb
0F 9B /r         SETNP Eb
0F 9C /r         SETL Eb
0F 9D /r         SETNL Eb
0F 9E /r         SETLE Eb
0F 9F /r         SETNLE Eb
0F 40 /r         CMOVO Gv,Ev
0F 41 /r         CMOVNO Gv,Ev
0F 42 /r         CMOVB Gv,Ev
0F 43 /r         CMOVNB Gv,Ev
0F 44 /r         CMOVZ Gv,Ev
0F 45 /r         CMOVNZ Gv,Ev
0F 46 /r         CMOVBE Gv,Ev
0F 47 /r         CMOVNBE Gv,Ev
0F 48 /r         CMOVS Gv,Ev
0F 49 /r         CMOVNS Gv,Ev
0F 4A /r         CMOVP Gv,Ev
0F 4B /r         CMOVNP Gv,Ev
0F 4C /r         CMOVL Gv,Ev
0F 4D /r         CMOVNL Gv,Ev
0F 4E /r         CMOVLE Gv,Ev
0F 4F /r         CMOVNLE Gv,Ev
E0               LOOPNE Jb                    f64
E1               LOOPE Jb                     f64
E2               LOOP Jb                      f64
E3               JRCXZ Jb                     f64
E9               JMP Jz                       f64
EB               JMP Jb                       f64
FF /4            JMP Ev                       f64
E8               CALL Jz                      f64
FF /2            CALL Ev                      f64
C3               RET                          f64
C2               RET Iw                       f64
FF /3            CALL_FAR Mp
FF /5            JMP_FAR Mp
CB               RET_FAR
CA               RET_FAR Iw
9A               CALL_FAR Ap                  i64
EA               JMP_FAR Ap                   i64
50+r             PUSH Zv                      d64
58+r             POP Zv                       d64
68               PUSH Iz                      d64
6A               PUSH Ibs                     d64
FF /6            PUSH Ev                      d64
8F /0            POP Ev                       d64
06               PUSH_SEG ES                  i64
0E               PUSH_SEG CS                  i64
16               PUSH_SEG SS                  i64
1E               PUSH_SEG DS                  i64
07               POP_SEG ES                   i64
17               POP_SEG SS                   i64
1F               POP_SEG DS                   i64
0F A0            PUSH_SEG FS                  d64
0F A8            PUSH_SEG GS                  d64
0F A1            POP_SEG FS                   d64
0F A9            POP_SEG GS                   d64
60               PUSHA                        i64
61               POPA                         i64
9C               PUSHF                        d64
9D               POPF                         d64
C8               ENTER Iw,Ib                  d64
C9               LEAVE                        d64
98               CBW
99               CWD
9E               SAHF
9F               LAHF
F5               CMC
F8               CLC
F9               STC
FC               CLD
FD               STD
27               DAA                          i64
2F               DAS                          i64
37               AAA                          i64
3F               AAS                          i64
D4               AAM Ib                       i64
D5               AAD Ib                       i64
D6               SALC                         i64
62 /r            BOUND Gv,M                   i64
C4 /r            LES Gv,Mp                    i64
C5 /r            LDS Gv,Mp                    i64
0F B2 /r         LSS Gv,Mp
0F B4 /r         LFS Gv,Mp
0F B5 /r         LGS Gv,Mp
A4               MOVS Xb
A5               MOVS Xv
A6               CMPS Xb
A7               CMPS Xv
AA               STOS Xb
AB               STOS Xv
AC               LODS Xb
AD               LODS Xv
AE               SCAS Xb
AF               SCAS Xv
6C               INS Xb
6D               INS Xz
6E               OUTS Xb
6F               OUTS Xz
0F C8+r          BSWAP Zv
D7               XLAT
0F 38 F0 /r      MOVBE Gv,Mv                  noF3
0F 38 F1 /r      MOVBE Mv,Gv                  noF3
F2 0F 38 F0 /r   CRC32 Gy,Eb
F2 0F 38 F1 /r   CRC32 Gy,Ev
90               NOP                          np
F3 90            PAUSE
0F 0D /r         NOP Ev
0F 18 /r         NOP Ev
0F 19 /r         NOP Ev
0F 1A /r         NOP Ev
0F 1B /r         NOP Ev
0F 1C /r         NOP Ev
0F 1D /r         NOP Ev
0F 1E /r         NOP Ev
0F 1F /r         NOP Ev
F3 0F 1E /r      NOP Ev
VEX.NP.0F38.Wx F2 /r   ANDN Gy,By,Ey
VEX.NP.0F38.Wx F3 /1   BLSR By,Ey
VEX.NP.0F38.Wx F3 /2   BLSMSK By,Ey
VEX.NP.0F38.Wx F3 /3   BLSI By,Ey
VEX.NP.0F38.Wx F5 /r   BZHI Gy,Ey,By
VEX.F3.0F38.Wx F5 /r   PEXT Gy,By,Ey
VEX.F2.0F38.Wx F5 /r   PDEP Gy,By,Ey
VEX.F2.0F38.Wx F6 /r   MULX Gy,By,Ey
VEX.NP.0F38.Wx F7 /r   BEXTR Gy,Ey,By
VEX.66.0F38.Wx F7 /r   SHLX Gy,Ey,By
VEX.F3.0F38.Wx F7 /r   SARX Gy,Ey,By
VEX.F2.0F38.Wx F7 /r   SHRX Gy,Ey,By
VEX.F2.0F3A.Wx F0 /r   RORX Gy,Ey,Ib
66 0F 38 F6 /r         ADCX Gy,Ey
F3 0F 38 F6 /r         ADOX Gy,Ey
`;
