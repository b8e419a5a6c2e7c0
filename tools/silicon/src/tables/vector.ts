/** MMX and SSE to SSE4.2, with AES, PCLMULQDQ and SHA; notation in `form.ts`. */

const hex = (value: number): string => value.toString(16).toUpperCase().padStart(2, '0');

/** The four encodings of a floating-point operation, by element type. */
const ELEMENTS = [
  { suffix: 'PS', prefix: '', memory: 'Wo', profile: 'f32' },
  { suffix: 'SS', prefix: 'F3 ', memory: 'Wd', profile: 'f32' },
  { suffix: 'PD', prefix: '66 ', memory: 'Wo', profile: 'f64' },
  { suffix: 'SD', prefix: 'F2 ', memory: 'Wq', profile: 'f64' },
] as const;

const ARITHMETIC = { SQRT: 0x51, ADD: 0x58, MUL: 0x59, SUB: 0x5c, MIN: 0x5d, DIV: 0x5e, MAX: 0x5f };
const LOGIC = { AND: 0x54, ANDN: 0x55, OR: 0x56, XOR: 0x57, UNPCKL: 0x14, UNPCKH: 0x15 };

function floatLines(profile: 'f32' | 'f64'): string[] {
  const lines: string[] = [];
  for (const { suffix, prefix, memory, profile: own } of ELEMENTS) {
    if (own !== profile) continue;
    for (const [name, opcode] of Object.entries(ARITHMETIC)) {
      lines.push(`${name}${suffix} Vo,${memory} | ${prefix}0F ${hex(opcode)} /r | float`);
    }
    lines.push(`CMP${suffix} Vo,${memory},Ib | ${prefix}0F C2 /r ib | float compare-kind`);
  }
  return lines;
}

const single = [
  ...floatLines('f32'),
  'UCOMISS Vo,Wd | 0F 2E /r | float',
  'COMISS Vo,Wd | 0F 2F /r | float',
  'RCPPS Vo,Wo | 0F 53 /r | float approximate',
  'RCPSS Vo,Wd | F3 0F 53 /r | float approximate',
  'RSQRTPS Vo,Wo | 0F 52 /r | float approximate',
  'RSQRTSS Vo,Wd | F3 0F 52 /r | float approximate',
  'ADDSUBPS Vo,Wo | F2 0F D0 /r | float',
  'HADDPS Vo,Wo | F2 0F 7C /r | float',
  'HSUBPS Vo,Wo | F2 0F 7D /r | float',
  'ROUNDPS Vo,Wo,Ib | 66 0F 3A 08 /r ib | float all-immediates',
  'ROUNDSS Vo,Wd,Ib | 66 0F 3A 0A /r ib | float all-immediates',
  'DPPS Vo,Wo,Ib | 66 0F 3A 40 /r ib | float all-immediates',
];

const double = [
  ...floatLines('f64'),
  'UCOMISD Vo,Wq | 66 0F 2E /r | float',
  'COMISD Vo,Wq | 66 0F 2F /r | float',
  'ADDSUBPD Vo,Wo | 66 0F D0 /r | float',
  'HADDPD Vo,Wo | 66 0F 7C /r | float',
  'HSUBPD Vo,Wo | 66 0F 7D /r | float',
  'ROUNDPD Vo,Wo,Ib | 66 0F 3A 09 /r ib | float all-immediates',
  'ROUNDSD Vo,Wq,Ib | 66 0F 3A 0B /r ib | float all-immediates',
  'DPPD Vo,Wo,Ib | 66 0F 3A 41 /r ib | float all-immediates',
];

const convertSingle = [
  'CVTSS2SI Gy,Wd | F3 0F 2D /r | float',
  'CVTTSS2SI Gy,Wd | F3 0F 2C /r | float',
  'CVTSS2SD Vo,Wd | F3 0F 5A /r | float',
  'CVTPS2PD Vo,Wq | 0F 5A /r | float',
  'CVTPS2DQ Vo,Wo | 66 0F 5B /r | float',
  'CVTTPS2DQ Vo,Wo | F3 0F 5B /r | float',
  'CVTPS2PI Pq,Wq | 0F 2D /r | float',
  'CVTTPS2PI Pq,Wq | 0F 2C /r | float',
];

const convertDouble = [
  'CVTSD2SI Gy,Wq | F2 0F 2D /r | float',
  'CVTTSD2SI Gy,Wq | F2 0F 2C /r | float',
  'CVTSD2SS Vo,Wq | F2 0F 5A /r | float',
  'CVTPD2PS Vo,Wo | 66 0F 5A /r | float',
  'CVTPD2DQ Vo,Wo | F2 0F E6 /r | float',
  'CVTTPD2DQ Vo,Wo | 66 0F E6 /r | float',
  'CVTPD2PI Pq,Wo | 66 0F 2D /r | float',
  'CVTTPD2PI Pq,Wo | 66 0F 2C /r | float',
];

const convertInteger = [
  'CVTSI2SS Vo,Ey | F3 0F 2A /r | float',
  'CVTSI2SD Vo,Ey | F2 0F 2A /r | float',
  'CVTDQ2PS Vo,Wo | 0F 5B /r | float',
  'CVTDQ2PD Vo,Wq | F3 0F E6 /r | float',
];

const convertMmx = ['CVTPI2PS Vo,Qq | 0F 2A /r | float', 'CVTPI2PD Vo,Qq | 66 0F 2A /r | float'];

function moves(): string[] {
  const lines = Object.entries(LOGIC).flatMap(([name, opcode]) => [
    `${name}PS Vo,Wo | 0F ${hex(opcode)} /r`,
    `${name}PD Vo,Wo | 66 0F ${hex(opcode)} /r`,
  ]);
  lines.push(
    'SHUFPS Vo,Wo,Ib | 0F C6 /r ib | all-immediates',
    'SHUFPD Vo,Wo,Ib | 66 0F C6 /r ib | all-immediates',
    'MOVUPS Vo,Wo | 0F 10 /r',
    'MOVUPS Wo,Vo | 0F 11 /r',
    'MOVSS Vo,Wd | F3 0F 10 /r',
    'MOVSS Wd,Vo | F3 0F 11 /r',
    'MOVUPD Vo,Wo | 66 0F 10 /r',
    'MOVUPD Wo,Vo | 66 0F 11 /r',
    'MOVSD Vo,Wq | F2 0F 10 /r',
    'MOVSD Wq,Vo | F2 0F 11 /r',
    'MOVHLPS Vo,Uo | 0F 12 /r',
    'MOVLPS Vo,Mq | 0F 12 /r',
    'MOVLPS Mq,Vo | 0F 13 /r',
    'MOVLPD Vo,Mq | 66 0F 12 /r',
    'MOVLPD Mq,Vo | 66 0F 13 /r',
    'MOVLHPS Vo,Uo | 0F 16 /r',
    'MOVHPS Vo,Mq | 0F 16 /r',
    'MOVHPS Mq,Vo | 0F 17 /r',
    'MOVHPD Vo,Mq | 66 0F 16 /r',
    'MOVHPD Mq,Vo | 66 0F 17 /r',
    'MOVSLDUP Vo,Wo | F3 0F 12 /r',
    'MOVSHDUP Vo,Wo | F3 0F 16 /r',
    'MOVDDUP Vo,Wq | F2 0F 12 /r',
    'MOVAPS Vo,Wo | 0F 28 /r',
    'MOVAPS Wo,Vo | 0F 29 /r',
    'MOVAPD Vo,Wo | 66 0F 28 /r',
    'MOVAPD Wo,Vo | 66 0F 29 /r',
    'MOVNTPS Mo,Vo | 0F 2B /r',
    'MOVNTPD Mo,Vo | 66 0F 2B /r',
    'MOVNTDQ Mo,Vo | 66 0F E7 /r',
    'MOVNTDQA Vo,Mo | 66 0F 38 2A /r',
    'LDDQU Vo,Mo | F2 0F F0 /r',
    'MOVMSKPS Gd,Uo | 0F 50 /r',
    'MOVMSKPD Gd,Uo | 66 0F 50 /r',
    'PMOVMSKB Gd,Uo | 66 0F D7 /r',
    'MOVD Vo,Ey | 66 0F 6E /r',
    'MOVD Ey,Vo | 66 0F 7E /r',
    'MOVQ Vo,Wq | F3 0F 7E /r',
    'MOVQ Wq,Vo | 66 0F D6 /r',
    'MOVDQA Vo,Wo | 66 0F 6F /r',
    'MOVDQA Wo,Vo | 66 0F 7F /r',
    'MOVDQU Vo,Wo | F3 0F 6F /r',
    'MOVDQU Wo,Vo | F3 0F 7F /r',
    'PINSRW Vo,Ew,Ib | 66 0F C4 /r ib | all-immediates',
    'PEXTRW Gd,Uo,Ib | 66 0F C5 /r ib | all-immediates',
    'PSHUFD Vo,Wo,Ib | 66 0F 70 /r ib | all-immediates',
    'PSHUFHW Vo,Wo,Ib | F3 0F 70 /r ib | all-immediates',
    'PSHUFLW Vo,Wo,Ib | F2 0F 70 /r ib | all-immediates',
    'MASKMOVDQU Vo,Uo | 66 0F F7 /r | store no-noise',
    'LDMXCSR Md | 0F AE /2 | control-word',
    'STMXCSR Md | 0F AE /3 | float',
    'FXSAVE M512 | 0F AE /0 | area float',
    'FXRSTOR M512 | 0F AE /1 | area',
  );
  return lines;
}

/** State of the x87 and SSE in XSAVE areas. */
const xsaves = [
  'XSAVE M576 | 0F AE /4 | xsave no-noise float',
  'XSAVEOPT M576 | 0F AE /6 | xsave no-noise float',
  'XSAVEC M576 | 0F C7 /4 | xsave no-noise float',
  'XRSTOR M576 | 0F AE /5 | xsave no-noise',
  'XGETBV | 0F 01 D0 | xsave no-noise',
];

/** Operations on packed integers that exist for MMX (no prefix) and XMM registers (66). */
const PACKED =
  '60:PUNPCKLBW 61:PUNPCKLWD 62:PUNPCKLDQ 63:PACKSSWB 64:PCMPGTB 65:PCMPGTW 66:PCMPGTD 67:PACKUSWB 68:PUNPCKHBW ' +
  '69:PUNPCKHWD 6A:PUNPCKHDQ 6B:PACKSSDW 74:PCMPEQB 75:PCMPEQW 76:PCMPEQD D1:PSRLW D2:PSRLD D3:PSRLQ D4:PADDQ ' +
  'D5:PMULLW D8:PSUBUSB D9:PSUBUSW DA:PMINUB DB:PAND DC:PADDUSB DD:PADDUSW DE:PMAXUB DF:PANDN E0:PAVGB E1:PSRAW ' +
  'E2:PSRAD E3:PAVGW E4:PMULHUW E5:PMULHW E8:PSUBSB E9:PSUBSW EA:PMINSW EB:POR EC:PADDSB ED:PADDSW EE:PMAXSW ' +
  'EF:PXOR F1:PSLLW F2:PSLLD F3:PSLLQ F4:PMULUDQ F5:PMADDWD F6:PSADBW F8:PSUBB F9:PSUBW FA:PSUBD FB:PSUBQ ' +
  'FC:PADDB FD:PADDW FE:PADDD';
const SUPPLEMENTAL =
  '00:PSHUFB 01:PHADDW 02:PHADDD 03:PHADDSW 04:PMADDUBSW 05:PHSUBW 06:PHSUBD 07:PHSUBSW 08:PSIGNB 09:PSIGNW ' +
  '0A:PSIGND 0B:PMULHRSW 1C:PABSB 1D:PABSW 1E:PABSD';
const SHIFTS = '71/2:PSRLW 71/4:PSRAW 71/6:PSLLW 72/2:PSRLD 72/4:PSRAD 72/6:PSLLD 73/2:PSRLQ 73/6:PSLLQ';

function entries(list: string): [string, string][] {
  return list.split(' ').map((entry) => entry.split(':') as [string, string]);
}

const shiftCountOption = (name: string): string => (/^PS[RL][LA][WDQ]$/.test(name) ? ' | vector-shift' : '');

const packedXmm = [
  ...entries(PACKED).map(([opcode, name]) => `${name} Vo,Wo | 66 0F ${opcode} /r${shiftCountOption(name)}`),
  'PUNPCKLQDQ Vo,Wo | 66 0F 6C /r',
  'PUNPCKHQDQ Vo,Wo | 66 0F 6D /r',
  ...entries(`${SHIFTS} 73/3:PSRLDQ 73/7:PSLLDQ`).map(([code, name]) => {
    const [opcode, extension] = code.split('/');
    return `${name} Uo,Ib | 66 0F ${opcode} /${extension} ib | bit-index`;
  }),
];

const packedMmx = [
  ...entries(PACKED).map(([opcode, name]) => {
    const source = name.startsWith('PUNPCKL') ? 'Qd' : 'Qq';
    return `${name} Pq,${source} | 0F ${opcode} /r${shiftCountOption(name)}`;
  }),
  ...entries(SHIFTS).map(([code, name]) => {
    const [opcode, extension] = code.split('/');
    return `${name} Nq,Ib | 0F ${opcode} /${extension} ib | bit-index`;
  }),
  ...entries(SUPPLEMENTAL).map(([opcode, name]) => `${name} Pq,Qq | 0F 38 ${opcode} /r`),
  'PALIGNR Pq,Qq,Ib | 0F 3A 0F /r ib | bit-index',
  'PSHUFW Pq,Qq,Ib | 0F 70 /r ib | all-immediates',
  'MOVD Pq,Ey | 0F 6E /r',
  'MOVD Ey,Pq | 0F 7E /r',
  'MOVQ Pq,Qq | 0F 6F /r',
  'MOVQ Qq,Pq | 0F 7F /r',
  'MOVNTQ Mq,Pq | 0F E7 /r',
  'MOVQ2DQ Vo,Nq | F3 0F D6 /r',
  'MOVDQ2Q Pq,Uo | F2 0F D6 /r',
  'PMOVMSKB Gd,Nq | 0F D7 /r',
  'PINSRW Pq,Ew,Ib | 0F C4 /r ib | all-immediates',
  'PEXTRW Gd,Nq,Ib | 0F C5 /r ib | all-immediates',
  'MASKMOVQ Pq,Nq | 0F F7 /r | store no-noise',
  'EMMS | 0F 77',
];

const ssse3 = [
  ...entries(SUPPLEMENTAL).map(([opcode, name]) => `${name} Vo,Wo | 66 0F 38 ${opcode} /r`),
  'PALIGNR Vo,Wo,Ib | 66 0F 3A 0F /r ib | bit-index',
];

const SSE41 =
  '10:PBLENDVB 14:BLENDVPS 15:BLENDVPD 17:PTEST 28:PMULDQ 29:PCMPEQQ 2B:PACKUSDW 37:PCMPGTQ 38:PMINSB 39:PMINSD ' +
  '3A:PMINUW 3B:PMINUD 3C:PMAXSB 3D:PMAXSD 3E:PMAXUW 3F:PMAXUD 40:PMULLD 41:PHMINPOSUW';
const EXTENSIONS = 'BW:Wq BD:Wd BQ:Ww WD:Wq WQ:Wd DQ:Wq';

const sse4 = [
  ...entries(SSE41).map(([opcode, name]) => `${name} Vo,Wo | 66 0F 38 ${opcode} /r`),
  ...entries(EXTENSIONS).flatMap(([name, source], i) => [
    `PMOVSX${name} Vo,${source} | 66 0F 38 ${hex(0x20 + i)} /r`,
    `PMOVZX${name} Vo,${source} | 66 0F 38 ${hex(0x30 + i)} /r`,
  ]),
  'BLENDPS Vo,Wo,Ib | 66 0F 3A 0C /r ib | all-immediates',
  'BLENDPD Vo,Wo,Ib | 66 0F 3A 0D /r ib | all-immediates',
  'PBLENDW Vo,Wo,Ib | 66 0F 3A 0E /r ib | all-immediates',
  'PEXTRB Eb,Vo,Ib | 66 0F 3A 14 /r ib | all-immediates',
  'PEXTRW Ew,Vo,Ib | 66 0F 3A 15 /r ib | all-immediates',
  'PEXTRD Ey,Vo,Ib | 66 0F 3A 16 /r ib | all-immediates',
  'EXTRACTPS Ed,Vo,Ib | 66 0F 3A 17 /r ib | all-immediates',
  'PINSRB Vo,Eb,Ib | 66 0F 3A 20 /r ib | all-immediates',
  'INSERTPS Vo,Wd,Ib | 66 0F 3A 21 /r ib | all-immediates',
  'PINSRD Vo,Ey,Ib | 66 0F 3A 22 /r ib | all-immediates',
  'MPSADBW Vo,Wo,Ib | 66 0F 3A 42 /r ib | all-immediates',
  'PCMPESTRM Vo,Wo,Ib | 66 0F 3A 60 /r ib | all-immediates text',
  'PCMPESTRI Vo,Wo,Ib | 66 0F 3A 61 /r ib | all-immediates text',
  'PCMPESTRI_W Vo,Wo,Ib | 66 0F 3A 61 /r ib | all-immediates text W',
  'PCMPISTRM Vo,Wo,Ib | 66 0F 3A 62 /r ib | all-immediates text',
  'PCMPISTRI Vo,Wo,Ib | 66 0F 3A 63 /r ib | all-immediates text',
];

/** Encodings that the lists above leave out. */
const more = ['PCMPESTRM_W Vo,Wo,Ib | 66 0F 3A 60 /r ib | all-immediates text W'];

const crypto = [
  'AESIMC Vo,Wo | 66 0F 38 DB /r',
  'AESENC Vo,Wo | 66 0F 38 DC /r',
  'AESENCLAST Vo,Wo | 66 0F 38 DD /r',
  'AESDEC Vo,Wo | 66 0F 38 DE /r',
  'AESDECLAST Vo,Wo | 66 0F 38 DF /r',
  'AESKEYGENASSIST Vo,Wo,Ib | 66 0F 3A DF /r ib | all-immediates',
  'PCLMULQDQ Vo,Wo,Ib | 66 0F 3A 44 /r ib | all-immediates',
  'SHA1NEXTE Vo,Wo | 0F 38 C8 /r',
  'SHA1MSG1 Vo,Wo | 0F 38 C9 /r',
  'SHA1MSG2 Vo,Wo | 0F 38 CA /r',
  'SHA256RNDS2 Vo,Wo | 0F 38 CB /r',
  'SHA256MSG1 Vo,Wo | 0F 38 CC /r',
  'SHA256MSG2 Vo,Wo | 0F 38 CD /r',
  'SHA1RNDS4 Vo,Wo,Ib | 0F 3A CC /r ib | all-immediates',
];

export const VECTOR = {
  single,
  double,
  convertSingle,
  convertDouble,
  convertInteger,
  convertMmx,
  moves: moves(),
  xsaves,
  packedXmm,
  packedMmx,
  ssse3,
  sse4,
  more,
  crypto,
};
