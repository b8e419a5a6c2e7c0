/** grant_table_op (public/grant_table.h). */
import { Errno } from '@paravane/abi-xen';
import type { HypercallHandler } from '../domain.js';

export const grant_table_op: HypercallHandler = () => -Errno.ENOSYS;
