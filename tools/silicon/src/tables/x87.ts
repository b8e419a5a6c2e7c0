/** The x87 instructions; notation in `form.ts`, with S for a stack register ST(i) by ModRM.rm. */

const ARITHMETIC = 'FADD FMUL FCOM FCOMP FSUB FSUBR FDIV FDIVR'.split(' ');
const hex = (value: number): string => value.toString(16).toUpperCase();

const arithmetic = [
  ...ARITHMETIC.flatMap((name, i) => [
    `${name} Md | D8 /${i} | float`,
    `${name} Mq | DC /${i} | float`,
    `${name} Sst | D8 /${i} | float`,
    `FI${name.slice(1)} Md | DA /${i} | float integer-memory`,
    `FI${name.slice(1)} Mw | DE /${i} | float integer-memory`,
  ]),
  'FADD_TO Sst | DC /0 | float',
  'FMUL_TO Sst | DC /1 | float',
  'FSUBR_TO Sst | DC /4 | float',
  'FSUB_TO Sst | DC /5 | float',
  'FDIVR_TO Sst | DC /6 | float',
  'FDIV_TO Sst | DC /7 | float',
  'FADDP Sst | DE /0 | float',
  'FMULP Sst | DE /1 | float',
  'FSUBRP Sst | DE /4 | float',
  'FSUBP Sst | DE /5 | float',
  'FDIVRP Sst | DE /6 | float',
  'FDIVP Sst | DE /7 | float',
  'FCOMPP | DE D9 | float',
  'FUCOM Sst | DD /4 | float',
  'FUCOMP Sst | DD /5 | float',
  'FUCOMPP | DA E9 | float',
  'FCOMI Sst | DB /6 | float',
  'FUCOMI Sst | DB /5 | float',
  'FCOMIP Sst | DF /6 | float',
  'FUCOMIP Sst | DF /5 | float',
  'FTST | D9 E4 | float',
  'FXAM | D9 E5 | float',
  'FCHS | D9 E0 | float',
  'FABS | D9 E1 | float',
  'FXTRACT | D9 F4 | float',
  'FPREM1 | D9 F5 | float',
  'FPREM | D9 F8 | float',
  'FSQRT | D9 FA | float',
  'FRNDINT | D9 FC | float',
  'FSCALE | D9 FD | float',
];

const moves = [
  'FLD Md | D9 /0 | float',
  'FLD Mq | DD /0 | float',
  'FLD Mt | DB /5 | float',
  'FLD Sst | D9 /0 | float',
  'FST Md | D9 /2 | float',
  'FST Mq | DD /2 | float',
  'FST Sst | DD /2 | float',
  'FSTP Md | D9 /3 | float',
  'FSTP Mq | DD /3 | float',
  'FSTP Mt | DB /7 | float',
  'FSTP Sst | DD /3 | float',
  'FXCH Sst | D9 /1 | float',
  'FILD Mw | DF /0 | float integer-memory',
  'FILD Md | DB /0 | float integer-memory',
  'FILD Mq | DF /5 | float integer-memory',
  'FIST Mw | DF /2 | float',
  'FIST Md | DB /2 | float',
  'FISTP Mw | DF /3 | float',
  'FISTP Md | DB /3 | float',
  'FISTP Mq | DF /7 | float',
  'FISTTP Mw | DF /1 | float',
  'FISTTP Md | DB /1 | float',
  'FISTTP Mq | DD /1 | float',
  'FBLD Mt | DF /4 | float decimal',
  'FBSTP Mt | DF /6 | float',
  ...['FLD1', 'FLDL2T', 'FLDL2E', 'FLDPI', 'FLDLG2', 'FLDLN2', 'FLDZ'].map(
    (name, i) => `${name} | D9 ${hex(0xe8 + i)} | float`,
  ),
  ...['B', 'E', 'BE', 'U'].flatMap((condition, i) => [
    `FCMOV${condition} Sst | DA /${i} | float`,
    `FCMOVN${condition} Sst | DB /${i} | float`,
  ]),
];

const control = [
  'FNOP | D9 D0 | float',
  'FWAIT | 9B | float',
  'FNCLEX | DB E2 | float',
  'FNINIT | DB E3 | float',
  'FINCSTP | D9 F7 | float',
  'FDECSTP | D9 F6 | float',
  'FFREE Sst | DD /0 | float',
  'FLDCW Mw | D9 /5 | float control-word',
  'FNSTCW Mw | D9 /7 | float',
  'FNSTSW Mw | DD /7 | float',
  'FNSTSW AX | DF E0 | float',
  'FNSTENV M28 | D9 /6 | float',
  'FLDENV M28 | D9 /4 | float environment',
  'FNSAVE M108 | DD /6 | float',
  'FRSTOR M108 | DD /4 | float environment',
];

const transcendental = [
  'F2XM1 | D9 F0 | float transcendental',
  'FYL2X | D9 F1 | float transcendental',
  'FPTAN | D9 F2 | float transcendental',
  'FPATAN | D9 F3 | float transcendental',
  'FYL2XP1 | D9 F9 | float transcendental',
  'FSINCOS | D9 FB | float transcendental',
  'FSIN | D9 FE | float transcendental',
  'FCOS | D9 FF | float transcendental',
];

/** Encodings that do the same as others. */
const aliases = [
  'FCOM Sst | DC /2 | float',
  'FCOMP Sst | DC /3 | float',
  'FCOMP Sst | DE /2 | float',
  'FSTP Sst | DF /2 | float',
  'FSTP Sst | DF /3 | float',
  'FSTP1 Sst | D9 /3 | float',
  'FXCH Sst | DD /1 | float',
  'FXCH Sst | DF /1 | float',
  'FENI | DB E0 | float',
  'FDISI | DB E1 | float',
  'FSETPM | DB E4 | float',
  'FFREEP Sst | DF /0 | float',
];

export const X87 = { arithmetic, moves, control, transcendental, aliases };
