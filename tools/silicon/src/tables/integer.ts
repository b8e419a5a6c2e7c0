/** The integer instructions of 64-bit mode; notation in `form.ts`. */

const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0');
const CONDITIONS = 'O NO B AE E NE BE A S NS P NP L GE LE G'.split(' ');

function arithmetic(): string[] {
  const lines: string[] = [];
  'ADD OR ADC SBB AND SUB XOR CMP'.split(' ').forEach((name, i) => {
    const op = i * 8;
    lines.push(
      `${name} Eb,Gb | ${hex(op)} /r`,
      `${name} Ev,Gv | ${hex(op + 1)} /r`,
      `${name} Gb,Eb | ${hex(op + 2)} /r`,
      `${name} Gv,Ev | ${hex(op + 3)} /r`,
      `${name} AL,Ib | ${hex(op + 4)} ib`,
      `${name} rAX,Iz | ${hex(op + 5)} iz`,
      `${name} Eb,Ib | 80 /${i} ib`,
      `${name} Ev,Iz | 81 /${i} iz`,
      `${name} Ev,Ib | 83 /${i} ib`,
    );
    if (name !== 'CMP') lines.push(`LOCK_${name} Mv,Gv | ${hex(op + 1)} /r | lock`);
  });
  lines.push(
    'TEST Eb,Gb | 84 /r',
    'TEST Ev,Gv | 85 /r',
    'TEST AL,Ib | A8 ib',
    'TEST rAX,Iz | A9 iz',
    'TEST Eb,Ib | F6 /0 ib',
    'TEST Ev,Iz | F7 /0 iz',
    'INC Eb | FE /0',
    'DEC Eb | FE /1',
    'INC Ev | FF /0',
    'DEC Ev | FF /1',
    'NOT Eb | F6 /2',
    'NOT Ev | F7 /2',
    'NEG Eb | F6 /3',
    'NEG Ev | F7 /3',
    'LOCK_INC Mv | FF /0 | lock',
    'LOCK_NOT Mv | F7 /2 | lock',
    'LOCK_NEG Mb | F6 /3 | lock',
    'LOCK_INC Rv | FF /0 | lock',
    'LOCK_CMP Mv,Gv | 39 /r | lock',
    'ADCX Gy,Ey | 66 0F 38 F6 /r',
    'ADOX Gy,Ey | F3 0F 38 F6 /r',
  );
  return lines;
}

function shifts(): string[] {
  const lines: string[] = [];
  'ROL ROR RCL RCR SHL SHR SAL SAR'.split(' ').forEach((name, i) => {
    lines.push(
      `${name} Eb,1 | D0 /${i} | shift`,
      `${name} Ev,1 | D1 /${i} | shift`,
      `${name} Eb,CL | D2 /${i} | shift`,
      `${name} Ev,CL | D3 /${i} | shift`,
      `${name} Eb,Ib | C0 /${i} ib | shift`,
      `${name} Ev,Ib | C1 /${i} ib | shift`,
    );
  });
  lines.push(
    'SHLD Ev,Gv,Ib | 0F A4 /r ib | shift',
    'SHLD Ev,Gv,CL | 0F A5 /r | shift',
    'SHRD Ev,Gv,Ib | 0F AC /r ib | shift',
    'SHRD Ev,Gv,CL | 0F AD /r | shift',
  );
  return lines;
}

const multiply = [
  'MUL Eb | F6 /4',
  'MUL Ev | F7 /4',
  'IMUL Eb | F6 /5',
  'IMUL Ev | F7 /5',
  'IMUL Gv,Ev | 0F AF /r',
  'IMUL Gv,Ev,Iz | 69 /r iz',
  'IMUL Gv,Ev,Ib | 6B /r ib',
  'DIV Eb | F6 /6 | divide',
  'DIV Ev | F7 /6 | divide',
  'IDIV Eb | F6 /7 | divide',
  'IDIV Ev | F7 /7 | divide',
  'CBW | 98 | size-v',
  'CWD | 99 | size-v',
];

function bits(): string[] {
  const lines: string[] = [];
  'BT BTS BTR BTC'.split(' ').forEach((name, i) => {
    lines.push(
      `${name} Ev,Gv | 0F ${hex(0xa3 + i * 8)} /r | bit-string`,
      `${name} Ev,Ib | 0F BA /${i + 4} ib | bit-index`,
    );
  });
  lines.push(
    'LOCK_BTS Mv,Gv | 0F AB /r | bit-string lock',
    'BSF Gv,Ev | 0F BC /r',
    'BSR Gv,Ev | 0F BD /r',
    'TZCNT Gv,Ev | F3 0F BC /r',
    'LZCNT Gv,Ev | F3 0F BD /r',
    'POPCNT Gv,Ev | F3 0F B8 /r',
    'BSWAP Zy | 0F C8 +r',
    'CRC32 Gd,Eb | F2 0F 38 F0 /r',
    'CRC32 Gq,Eb | F2 0F 38 F0 /r | W',
    'CRC32 Gd,Ew | F2 0F 38 F1 /r | operand-16',
    'CRC32 Gd,Ed | F2 0F 38 F1 /r',
    'CRC32 Gq,Eq | F2 0F 38 F1 /r | W',
    'ANDN Gy,By,Ey | vex.0F38.NP.y F2 /r',
    'BLSR By,Ey | vex.0F38.NP.y F3 /1',
    'BLSMSK By,Ey | vex.0F38.NP.y F3 /2',
    'BLSI By,Ey | vex.0F38.NP.y F3 /3',
    'BEXTR Gy,Ey,By | vex.0F38.NP.y F7 /r',
    'BZHI Gy,Ey,By | vex.0F38.NP.y F5 /r',
    'MULX Gy,By,Ey | vex.0F38.F2.y F6 /r',
    'PDEP Gy,By,Ey | vex.0F38.F2.y F5 /r',
    'PEXT Gy,By,Ey | vex.0F38.F3.y F5 /r',
    'RORX Gy,Ey,Ib | vex.0F3A.F2.y F0 /r ib',
    'SARX Gy,Ey,By | vex.0F38.F3.y F7 /r',
    'SHLX Gy,Ey,By | vex.0F38.66.y F7 /r',
    'SHRX Gy,Ey,By | vex.0F38.F2.y F7 /r',
  );
  return lines;
}

function moves(): string[] {
  const lines = [
    'MOV Eb,Gb | 88 /r',
    'MOV Ev,Gv | 89 /r',
    'MOV Gb,Eb | 8A /r',
    'MOV Gv,Ev | 8B /r',
    'MOV Zb,Ib | B0 +r ib',
    'MOV Zv,Iv | B8 +r iv',
    'MOV Eb,Ib | C6 /0 ib',
    'MOV Ev,Iz | C7 /0 iz',
    'MOV AL,Ob | A0',
    'MOV rAX,Ov | A1',
    'MOV Ob,AL | A2',
    'MOV Ov,rAX | A3',
    'RDFSBASE Ry | F3 0F AE /0',
    'RDGSBASE Ry | F3 0F AE /1',
    'MOVZX Gv,Eb | 0F B6 /r',
    'MOVZX Gv,Ew | 0F B7 /r',
    'MOVSX Gv,Eb | 0F BE /r',
    'MOVSX Gv,Ew | 0F BF /r',
    'MOVSXD Gq,Ed | 63 /r | W',
    'MOVSXD Gd,Ed | 63 /r',
    'LEA Gv,Mv | 8D /r | address-only',
    'XCHG Eb,Gb | 86 /r',
    'XCHG Ev,Gv | 87 /r',
    'XCHG Zv,rAX | 90 +r',
    'XADD Eb,Gb | 0F C0 /r',
    'XADD Ev,Gv | 0F C1 /r',
    'LOCK_XADD Mv,Gv | 0F C1 /r | lock',
    'CMPXCHG Eb,Gb | 0F B0 /r | exchange',
    'CMPXCHG Ev,Gv | 0F B1 /r | exchange',
    'LOCK_CMPXCHG Mv,Gv | 0F B1 /r | exchange lock',
    'CMPXCHG8B Mq | 0F C7 /1 | exchange',
    'LOCK_CMPXCHG8B Mq | 0F C7 /1 | exchange lock',
    'CMPXCHG16B Mo | 0F C7 /1 | exchange W',
    'LOCK_CMPXCHG16B Mo | 0F C7 /1 | exchange W lock',
    'MOVBE Gv,Mv | 0F 38 F0 /r',
    'MOVBE Mv,Gv | 0F 38 F1 /r',
    'MOVNTI My,Gy | 0F C3 /r',
    'XLAT | D7 | table',
  ];
  CONDITIONS.forEach((name, i) => {
    lines.push(`SET${name} Eb | 0F ${hex(0x90 + i)} /0`, `CMOV${name} Gv,Ev | 0F ${hex(0x40 + i)} /r`);
  });
  return lines;
}

const stack = [
  'PUSH Zn | 50 +r | stack',
  'POP Zn | 58 +r | stack',
  'PUSH Iz | 68 iz | stack size-n push-immediate',
  'PUSH Ib | 6A ib | stack size-n',
  'PUSH En | FF /6 | stack',
  'POP En | 8F /0 | stack',
  'PUSHF | 9C | stack size-n',
  'POPF | 9D | stack flags size-n',
  'ENTER Iw,Ib | C8 iw ib | stack enter',
  'LEAVE | C9 | stack frame size-n',
];

function branches(): string[] {
  const lines = [
    'JMP Jb | EB cb | branch no-noise',
    'JMP Jd | E9 cd | branch no-noise',
    'JMP Eq | FF /4 | branch no-noise',
    'CALL Jd | E8 cd | branch stack no-noise',
    'CALL Eq | FF /2 | branch stack no-noise',
    'RET | C3 | return stack no-noise',
    'RET Iw | C2 iw | return stack no-noise',
    'LOOPNE Jb | E0 cb | count short-address no-noise',
    'LOOPE Jb | E1 cb | count short-address no-noise',
    'LOOP Jb | E2 cb | count short-address no-noise',
    'JRCXZ Jb | E3 cb | count short-address no-noise',
  ];
  CONDITIONS.forEach((name, i) => {
    lines.push(`J${name} Jb | ${hex(0x70 + i)} cb | no-noise`, `J${name} Jd | 0F ${hex(0x80 + i)} cd | no-noise`);
  });
  return lines;
}

const strings = 'MOVS:A4 CMPS:A6 STOS:AA LODS:AC SCAS:AE'.split(' ').flatMap((entry) => {
  const [name, opcode] = entry.split(':');
  const next = hex(Number.parseInt(opcode, 16) + 1);
  return [`${name}B | ${opcode} | string no-noise many`, `${name} | ${next} | string size-v no-noise many`];
});

const flags = [
  'CMC | F5',
  'CLC | F8',
  'STC | F9',
  'CLD | FC',
  'STD | FD',
  'STD_DF | FD | down',
  'CLD_DF | FC | down',
  'LAHF | 9F',
  'SAHF | 9E',
  'NOP | 90',
  'NOP Ev | 0F 1F /0',
  'PAUSE | F3 90',
  'LFENCE | 0F AE E8 | no-noise',
  'MFENCE | 0F AE F0 | no-noise',
  'SFENCE | 0F AE F8 | no-noise',
  'PREFETCHT0 Mb | 0F 18 /1',
  'PREFETCHNTA Mb | 0F 18 /0',
  'PREFETCHW Mb | 0F 0D /1',
];

/** What user mode may not do, or what is no instruction: the exception is the answer. */
const faults = [
  'UD2 | 0F 0B',
  'UD1 Gv,Ev | 0F B9 /r',
  'HLT | F4',
  'CLI | FA',
  'STI | FB',
  'IN AL,Ib | E4 ib',
  'IN rAX,Ib | E5 ib',
  'OUT Ib,AL | E6 ib',
  'IN AL,DX | EC',
  'OUT DX,AL | EE',
  'INS | 6D',
  'INT Ib | CD ib | vector',
  'INVD | 0F 08',
  'WBINVD | 0F 09',
  'RDMSR | 0F 32',
  'WRMSR | 0F 30',
  'CLTS | 0F 06',
  'MOV Rq,CR0 | 0F 20 /0 | no-noise',
  'MOV CR0,Rq | 0F 22 /0 | no-noise',
  'MOV Rq,CR3 | 0F 20 /3 | no-noise',
  'MOV Rq,DR0 | 0F 21 /0 | no-noise',
  'MOV DR7,Rq | 0F 23 /7 | no-noise',
  'LGDT M10 | 0F 01 /2 | no-noise',
  'LIDT M10 | 0F 01 /3 | no-noise',
  'LMSW Ew | 0F 01 /6 | no-noise',
  'INVLPG Mb | 0F 01 /7 | no-noise',
  'LLDT Ew | 0F 00 /2 | no-noise',
  'LTR Ew | 0F 00 /3 | no-noise',
  'SWAPGS | 0F 01 F8 | no-noise',
  'PUSH_ES | 06',
  'POP_ES | 07',
  'PUSH_CS | 0E',
  'DAA | 27',
  'DAS | 2F',
  'AAA | 37',
  'AAS | 3F',
  'PUSHA | 60',
  'POPA | 61',
  'AAM Ib | D4 ib',
  'AAD Ib | D5 ib',
  'SALC | D6',
  'INTO | CE',
  'CALLF | 9A',
  'JMPF | EA',
  'LOCK_MOV Mv,Gv | 89 /r | lock',
  'LOCK_ADD Rv,Gv | 01 /r | lock',
  'LOCK_NOP | 90 | lock',
  'CMPXCHG8B_R Rq | 0F C7 /1',
  'LEA_R Gv,Rv | 8D /r',
  'MOV_C7_1 Ev,Iz | C7 /1 iz',
  'GRP5_7 Ev | FF /7',
  'GRP4_2 Eb | FE /2',
  'POP_8F_1 Ev | 8F /1',
  'MOVBE_R Gv,Rv | 0F 38 F0 /r',
];

/** Prefixes in any order: mandatory ones that compete, REX before the last place (ignored), ones that change nothing. */
const prefixes = [
  'P_NOP | 90',
  'P_ADD Rd,Gd | 01 /r',
  'P_MOV Rd,Gd | 89 /r',
  'P_MOV Rb,Gb | 88 /r',
  'P_XCHG Zd,EAX | 90 +r',
  'P_MOVZX Gd,Rb | 0F B6 /r',
  'P_CMOVNE Gd,Rd | 0F 45 /r',
  'P_BSF Gd,Rd | 0F BC /r | bit-scan',
  'P_BSR Gd,Rd | 0F BD /r | bit-scan',
  'P_POPCNT Gd,Rd | 0F B8 /r',
  'P_MOVUPS Vo,Uo | 0F 10 /r',
  'P_ADDPS Vo,Uo | 0F 58 /r',
  'P_CVTPS2PD Vo,Uo | 0F 5A /r',
  'P_CVTDQ2PS Vo,Uo | 0F 5B /r',
  'P_PUNPCKLQDQ Vo,Uo | 0F 6C /r',
  'P_MOVQ Vo,Uo | 0F 6F /r',
  'P_PSHUFW Vo,Uo,Ib | 0F 70 /r ib',
  'P_MOVD Rd,Vo | 0F 7E /r',
  'P_SHUFPS Vo,Uo,Ib | 0F C6 /r ib',
  'P_CVTPD2DQ Vo,Uo | 0F E6 /r',
  'P_PADDD Vo,Uo | 0F FE /r',
  'P_PSHUFB Vo,Uo | 0F 38 00 /r',
  'P_CRC32 Gd,Rb | 0F 38 F0 /r',
  'P_CRC32 Gd,Rd | 0F 38 F1 /r',
  'P_ADCX Gd,Rd | 0F 38 F6 /r',
].map((line) => `${line}${line.split('|').length > 2 ? '' : ' |'} any-prefixes no-noise`);

const tooLong = ['LONG_NOP | 90', 'LONG_ADD Rd,Gd | 01 /r', 'LONG_PADDD Vo,Uo | 0F FE /r'].map(
  (line) => `${line} | any-prefixes too-long no-noise`,
);

/** Second encodings of instructions, and hints. */
const aliases = [
  'TEST Eb,Ib | F6 /1 ib',
  'TEST Ev,Iz | F7 /1 iz',
  ...[0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e].map((opcode) => `NOP Ev | 0F ${hex(opcode)} /r`),
  'NOP Ev | F3 0F 1E /r | no-noise',
  'ENDBR64 | F3 0F 1E FA | no-noise',
  'ENDBR32 | F3 0F 1E FB | no-noise',
  'CLFLUSH Mb | 0F AE /7 | no-noise',
  'MOV Ew,ES | 8C /0 | operand-16',
  'MOV Rd,CS | 8C /1',
  'MOV Rq,SS | 8C /2 | W',
  'MOV Mw,DS | 8C /3',
  'MOV Rw,FS | 8C /4 | operand-16',
  'MOV Ew,GS | 8C /5',
  'PUSH FS | 0F A0 | stack size-n',
  'PUSH GS | 0F A8 | stack size-n',
];

/** What depends on time or chance is not compared; all the rest is. */
const unknowable = [
  'RDTSC | 0F 31 | no-noise time',
  'RDTSCP | 0F 01 F9 | no-noise time',
  'CPUID | 0F A2 | no-noise time',
  'RDRAND Rv | 0F C7 /6 | no-noise chance',
  'RDSEED Rv | 0F C7 /7 | no-noise chance',
];

const moreFaults = [
  'UD0 Gv,Ev | 0F FF /r',
  'INSB | 6C',
  'OUTSB | 6E',
  'OUTS | 6F',
  'IN rAX,DX | ED',
  'OUT Ib,rAX | E7 ib',
  'OUT DX,rAX | EF',
  'RDPMC | 0F 33 | no-noise',
  'XSETBV | 0F 01 D1 | no-noise',
  'CLAC | 0F 01 CA | no-noise',
  'STAC | 0F 01 CB | no-noise',
  'SYSRET | 0F 07 | W no-noise',
  'SYSEXIT | 0F 35 | no-noise',
  'LEA Gv,Rv | 8D /r',
  'LOCK_BT Mv,Gv | 0F A3 /r | lock',
  'LOCK_CMPXCHG Rv,Gv | 0F B1 /r | lock',
  'LOCK_XADD Rv,Gv | 0F C1 /r | lock',
  'LOCK_TEST Mv,Gv | 85 /r | lock',
  'LOCK_MUL Mv | F7 /4 | lock',
  'LOCK_PUSH Mq | FF /6 | lock',
  'LOCK_JMP Mq | FF /4 | lock',
  'LOCK_SHL Mv,Ib | C1 /4 ib | lock',
  'LOCK_IMUL Gv,Mv | 0F AF /r | lock',
  'LOCK_MOVBE Mv,Gv | 0F 38 F1 /r | lock',
  'LOCK_MOVNTI Md,Gd | 0F C3 /r | lock',
  'LOCK_SETO Mb | 0F 90 /0 | lock',
  'LOCK_BSF Gv,Mv | 0F BC /r | lock',
  'LOCK_ADDPS Vo,Mo | 0F 58 /r | lock',
  'LOCK_FADD Md | D8 /0 | lock',
  'LOCK_CMPXCHG16B Ro | 0F C7 /1 | lock W',
  'LOCK_XCHG Rv,Gv | 87 /r | lock',
  ...[0x04, 0x0a, 0x0c, 0x24, 0x25, 0x26, 0x27, 0x36, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0xa6, 0xa7].map(
    (opcode) => `UNDEFINED | 0F ${hex(opcode)}`,
  ),
  ...[0x16, 0x17, 0x1e, 0x1f, 0x82].map((opcode) => `UNDEFINED | ${hex(opcode)}`),
  'GRP3_SSE Uo,Ib | 0F 71 /0 ib',
  'GRP12 Nq,Ib | 0F 71 /3 ib',
  'GRP8_BT Ev,Ib | 0F BA /0 ib',
  'GRP9 Mq | 0F C7 /0',
  'GRP11 Eb,Ib | C6 /1 ib',
  'MOVHLPS_66 Vo,Uo | 66 0F 12 /r',
  'MOVNTPS_R Vo,Uo | 0F 2B /r',
  'LDDQU_R Vo,Uo | F2 0F F0 /r',
  'MOVMSKPS_M Gd,Mo | 0F 50 /r',
  'PMOVMSKB_M Gd,Mo | 66 0F D7 /r',
  'MASKMOVQ_M Pq,Mq | 0F F7 /r',
  'MOVNTI_R Ry,Gy | 0F C3 /r',
  'MOVNTQ_R Pq,Nq | 0F E7 /r',
];

/** What 64-bit code no longer has, and instructions whose form depends on the mode, in flat 32-bit code. */
function code32(): string[] {
  const names = 'ADD OR ADC SBB AND SUB XOR CMP'.split(' ');
  const own = [
    ...names.map((name, i) => `${name} Eb,Ib | 82 /${i} ib`),
    'INC Zv | 40 +r',
    'DEC Zv | 48 +r',
    'DAA | 27',
    'DAS | 2F',
    'AAA | 37',
    'AAS | 3F',
    'AAM Ib | D4 ib',
    'AAD Ib | D5 ib',
    'SALC | D6',
    'INTO | CE',
    'ARPL Ew,Gw | 63 /r',
    'BOUND Gw,Md | 62 /r | operand-16 bounds',
    'BOUND Gd,Mq | 62 /r | bounds',
    'PUSH ES | 06 | stack size-n',
    'PUSH CS | 0E | stack size-n',
    'PUSH SS | 16 | stack size-n',
    'PUSH DS | 1E | stack size-n',
    'PUSH FS | 0F A0 | stack size-n',
    'PUSHA | 60 | stack size-n',
    'POPA | 61 | stack size-n',
    'PUSH Zn | 50 +r | stack',
    'POP Zn | 58 +r | stack',
    'PUSH Iz | 68 iz | stack size-n push-immediate',
    'PUSH Ib | 6A ib | stack size-n',
    'PUSH En | FF /6 | stack',
    'POP En | 8F /0 | stack',
    'PUSHF | 9C | stack size-n',
    'POPF | 9D | stack flags size-n',
    'LEAVE | C9 | stack frame size-n',
    'ENTER Iw,Ib | C8 iw ib | stack enter',
    'JMP Ed | FF /4 | branch no-noise',
    'CALL Jd | E8 cd | branch stack no-noise',
    'CALL Ed | FF /2 | branch stack no-noise',
    'RET | C3 | return stack no-noise',
    'RET Iw | C2 iw | return stack no-noise',
    'JCXZ Jb | E3 cb | count short-address no-noise',
    'LOOP Jb | E2 cb | count short-address no-noise',
    'MOV AL,Ob | A0',
    'MOV rAX,Ov | A1',
    'MOV Ob,AL | A2',
    'MOV Ov,rAX | A3',
    'BSWAP Zd | 0F C8 +r',
    'MOV Rd,CS | 8C /1',
    'MOV CR0,Rd | 0F 22 /0 | no-noise',
  ];
  const again = [
    ...arithmetic(),
    ...shifts(),
    ...multiply,
    ...strings,
    'XCHG Eb,Gb | 86 /r',
    'XCHG Ev,Gv | 87 /r',
    'CMPXCHG Ev,Gv | 0F B1 /r | exchange',
    'CMPXCHG8B Mq | 0F C7 /1 | exchange',
    'XADD Ev,Gv | 0F C1 /r',
    'MOVZX Gv,Eb | 0F B6 /r',
    'MOVSX Gv,Ew | 0F BF /r',
    'LEA Gv,Mv | 8D /r | address-only',
    'XLAT | D7 | table',
    'BT Ev,Gv | 0F A3 /r | bit-string',
    'BTS Ev,Gv | 0F AB /r | bit-string',
    'BSF Gv,Ev | 0F BC /r',
  ].map((line) => `${line}${line.split('|').length > 2 ? '' : ' |'} again`);
  return [...own, ...again].map((line) => `${line}${line.split('|').length > 2 ? '' : ' |'} code-32`);
}

/** What ends in a trap or in nothing that a program sees, and bases that are read back by a second instruction. */
const moreSystem = [
  'MONITOR | 0F 01 C8 | no-noise',
  'MWAIT | 0F 01 C9 | no-noise',
  'INT3 | CC | no-noise breakpoint',
  'INT1 | F1 | no-noise',
  'SERIALIZE | 0F 01 E8 | no-noise',
  'WRFSBASE Ry | F3 0F AE /2 | base',
  'WRGSBASE Ry | F3 0F AE /3 | base',
];

export const INTEGER_GROUPS: Record<string, string[]> = {
  alu: arithmetic(),
  shift: shifts(),
  multiply,
  bits: bits(),
  move: moves(),
  stack,
  branch: branches(),
  string: strings,
  flags,
  fault: faults,
  prefix: [...prefixes, ...tooLong],
  alias: aliases,
  unknowable,
  'more-faults': moreFaults,
  'more-system': moreSystem,
  'code-32': code32(),
};
