import { isParavaneError, mfn, mfnToMaddr, ParavaneError } from '@paravane/types';

console.log(mfnToMaddr(mfn(16))); // 65536, as a Maddr
try {
  throw new ParavaneError('kernel-unreadable', 'cannot read vmlinuz: check the path', { data: { file: 'vmlinuz' } });
} catch (error) {
  if (isParavaneError(error, 'kernel-unreadable')) console.log(error.message, error.data); // …, { file: 'vmlinuz' }
}
