import { judge, profileOf } from '@paravane/trace';

const golden = profileOf('1.0 7 H 1 ffff 1 0 7ff0 0 @1\n1.0 8 R 0 P\n1.0 8 H 1 ffff 1 0 7ff0 0 @1\n1.0 9 R 0\n');
const ours = profileOf('1.0 3 H 1 ffff 1 0 7ff0 0 @1\n1.0 4 R 0\n1.0 5 CPUID 7 0\n');
const verdict = judge(golden, ours, [
  { kind: 'result', key: 'mmu_update', result: 'preempted', why: 'follows from the time a batch takes' },
]);
for (const { kind, text } of verdict.faults) console.log(kind, text); // extra CPUID 7.0: 1 times in ours, never …
for (const { why } of verdict.allowed) console.log(why); // follows from the time a batch takes
