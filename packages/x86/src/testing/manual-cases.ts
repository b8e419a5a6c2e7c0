/**
 * Encodings that no program in user mode can ask a processor about, or not on every machine, with what the manual says
 * of them (Intel SDM vol. 2, the pages of the instructions). A line is `mode  bytes  before -> after`:
 *
 * - registers by name and value in hexadecimal, the condition flags that are set by name, `[offset]=bytes` of the data
 *   that RBX points to, `cr4=` what is set beside the usual;
 * - after: what has changed; condition flags that are not named are clear, `?OF` is undefined, `same` leaves all six;
 * - `!vector` or `!vector:error` for an exception, `stops what` where the core leaves it to the personality.
 *
 * The stack is at 0x1800 of the data, and ES, SS and DS are 2b, CS 23.
 */
export interface ManualCase {
  text: string;
  mode: 64 | 32;
  code: Uint8Array;
  before: string[];
  after: string[];
}

const UNDEFINED_BY_DECIMAL = '?OF ?SF ?ZF ?PF';

export const MANUAL_CASES: readonly ManualCase[] = `
32  27  rax=ae SF OF -> rax=14 CF AF PF ?OF
32  27  rax=2e -> rax=34 AF ?OF
32  27  rax=9a -> rax=0 CF AF ZF PF ?OF
32  27  rax=0 -> ZF PF ?OF
32  27  rax=12345605 CF AF -> rax=1234566b CF AF ?OF
32  2f  rax=ee CF AF -> rax=88 CF AF SF PF ?OF
32  2f  rax=3 AF -> rax=fd CF AF SF ?OF
32  2f  rax=45 -> ?OF
32  37  rax=f -> rax=105 CF AF ${UNDEFINED_BY_DECIMAL}
32  37  rax=9 -> ${UNDEFINED_BY_DECIMAL}
32  37  rax=ff -> rax=205 CF AF ${UNDEFINED_BY_DECIMAL}
32  37  rax=77770123 CF -> rax=77770103 ${UNDEFINED_BY_DECIMAL}
32  3f  rax=20f -> rax=109 CF AF ${UNDEFINED_BY_DECIMAL}
32  3f  rax=203 AF -> rax=d CF AF ${UNDEFINED_BY_DECIMAL}
32  3f  rax=209 CF -> ${UNDEFINED_BY_DECIMAL}
32  d4 0a  rax=123f -> rax=603 PF ?OF ?AF ?CF
32  d4 10  rax=ab -> rax=a0b ?OF ?AF ?CF
32  d4 0a  rax=777700ff -> rax=77771905 PF ?OF ?AF ?CF
32  d4 00  rax=1 -> !0
32  d5 0a  rax=603 -> rax=3f PF ?OF ?AF ?CF
32  d5 10  rax=a0b -> rax=ab SF ?OF ?AF ?CF
32  d5 00  rax=ff00 -> rax=0 ZF PF ?OF ?AF ?CF
32  d6  rax=12345600 CF ZF OF -> rax=123456ff same
32  d6  rax=123456ab SF PF -> rax=12345600 same
32  82 c0 01  rax=1234567f -> rax=12345680 OF SF AF
32  82 c8 0f  rax=f0 CF OF -> rax=ff SF PF ?AF
32  82 d0 00  rax=ff CF -> rax=0 CF PF AF ZF
32  82 d8 00  rax=0 CF -> rax=ff CF AF SF PF
32  82 e0 0f  rax=f1 CF OF -> rax=1 ?AF
32  82 e8 01  rax=80 -> rax=7f OF AF
32  82 f0 ff  rax=ff -> rax=0 ZF PF ?AF
32  82 f8 01  rax=1 -> ZF PF
32  82 3b 01  [0]=00 -> CF PF AF SF
32  82 03 80  [0]=80 -> [0]=00 CF ZF PF OF
32  f0 82 03 01  [0]=0f -> [0]=10 AF
32  f0 82 3b 01  [0]=00 -> !6
64  82 c0 01  -> !6
64  0f 01 e8  rax=1 rcx=2 CF ZF OF -> same
32  0f 01 e8  rax=1 rcx=2 CF ZF OF -> same
64  66 0f 01 e8  -> !6
64  f3 0f 01 e8  -> !6
64  f0 0f 01 e8  -> !6
32  40  rax=7fffffff CF -> rax=80000000 CF PF AF SF OF
32  66 40  rax=1234ffff -> rax=12340000 PF AF ZF
32  48  rax=80000000 CF -> rax=7fffffff CF PF AF OF
32  66 4b  rbx=10001 -> rbx=10000 PF ZF
32  47  rdi=ffffffff CF -> rdi=0 CF PF AF ZF
32  63 c8  rax=abcd0008 rcx=3 CF OF -> rax=abcd000b CF ZF OF
32  63 c8  rax=b rcx=1 ZF SF -> SF
32  63 0b  rcx=2 [0]=5140 -> [0]=5240 ZF
32  62 03  rax=5 [0]=0500000009000000 CF -> same
32  62 03  rax=9 [0]=0500000009000000 -> same
32  62 03  rax=a [0]=0500000009000000 -> !5
32  62 03  rax=fffffffe [0]=ffffffff09000000 -> !5
32  66 62 03  rax=1234ffff [0]=feff0100 -> same
32  66 62 03  rax=2 [0]=feff0100 -> !5
32  62 c0  -> !6
32  06  [17fc]=ffff -> rsp=5017fc [17fc]=2b00 same
32  0e  [17fc]=ffff -> rsp=5017fc [17fc]=2300 same
32  16  [17fc]=ffff -> rsp=5017fc [17fc]=2b00 same
32  66 06  [17fe]=ffff -> rsp=5017fe [17fe]=2b00 same
32  66 0e  -> rsp=5017fe [17fe]=2300 same
64  06  -> !6
64  0e  -> !6
64  16  -> !6
64  0f a9  [1800]=2b00000000000000 -> stops LOAD_SEGMENT register=5 selector=2b
32  0f a9  [1800]=7f00 -> stops LOAD_SEGMENT register=5 selector=7f
32  c5 0b  [0]=785634127b00 -> stops LOAD_SEGMENT register=3 selector=7b gpr=1 offset=12345678
32  66 c5 0b  [0]=34127b00 -> stops LOAD_SEGMENT register=3 selector=7b gpr=1 offset=1234
32  c5 c8  -> !6
32  ce  OF -> stops interrupt vector=4 length=1
32  ce  CF SF -> same
64  ce  -> !6
64  cc  -> stops interrupt vector=3 length=1
32  cc  -> stops interrupt vector=3 length=1
64  0f 05  -> stops syscall
64  0f 34  -> stops SYSENTER
32  0f 34  -> stops SYSENTER
64  0f 00 c1  -> stops SLDT gpr=1 width=20
64  66 0f 00 c1  -> stops SLDT gpr=1 width=10
64  48 0f 00 c1  -> stops SLDT gpr=1 width=40
64  0f 00 03  cr4=800 -> !13:0
64  0f 00 ca  -> stops STR gpr=2 width=20
64  0f 00 ca  cr4=800 -> !13:0
64  0f 01 43 10  -> stops SGDT gpr=-1 offset=500010
64  0f 01 43 10  cr4=800 -> !13:0
64  0f 01 c0  -> !6
64  0f 01 4b 10  -> stops SIDT gpr=-1 offset=500010
64  0f 01 4b 10  cr4=800 -> !13:0
64  0f 01 e1  -> stops SMSW gpr=1 width=20
64  0f 01 23  -> stops SMSW gpr=-1 offset=500000
64  0f 01 e1  cr4=800 -> !13:0
64  0f 01 c1  -> stops VMCALL
64  0f 01 d9  -> stops VMMCALL
64  0f 01 c8  -> stops MONITOR
64  0f 01 c9  -> stops MWAIT
64  f3 48 0f ae d1  cr4=10000 rcx=ffff800012345678 -> fs=ffff800012345678 same
64  f3 0f ae d1  cr4=10000 rcx=ffff800012345678 -> fs=12345678 same
64  f3 48 0f ae d1  cr4=10000 rcx=800000000000 -> !13:0
64  f3 48 0f ae d1  rcx=0 -> !6
32  f3 0f ae d1  cr4=10000 -> !6
64  f3 48 0f ae d9  cr4=10000 rcx=7fffffffffff -> gs=7fffffffffff same
64  f3 0f ae d9  cr4=10000 rcx=fffffffff0000000 -> gs=f0000000 same
64  f3 48 0f ae d9  cr4=10000 rcx=4000000000000000 -> !13:0
64  f3 48 0f ae d9  rcx=0 -> !6
64  0f c7 f9  OF SF ZF AF PF -> ?rcx CF
64  48 0f c7 f9  -> ?rcx CF
64  66 0f c7 f9  OF SF ZF AF PF -> ?rcx CF
64  0f c7 39  -> !6
`
  .trim()
  .split('\n')
  .map((text) => {
    const [mode, hex, ...rest] = text.split(/ {2,}/);
    const [before, after] = rest.join(' ').split('->');
    const words = (part: string | undefined): string[] => (part ?? '').trim().split(' ').filter(Boolean);
    return {
      text,
      mode: mode === '64' ? 64 : 32,
      code: Uint8Array.from(hex!.split(' '), (byte) => Number.parseInt(byte, 16)),
      before: words(before),
      after: words(after),
    };
  });
