/** Memory of PV domains: types, validation, the memory hypercalls, page faults on tables, and teardown. */

export {
  type Descriptor,
  destroyGdt,
  installGdt,
  markAccessed,
  missingDescriptor,
  readDescriptor,
  setGdt,
  updateDescriptor,
} from './descriptor-tables.js';
export { isUnused } from './exchange.js';
export { mapGrant, unmapGrant } from './grant-pte.js';
export { memoryOp } from './memory-op.js';
export { leafEntry, mmuUpdate, updateVaMapping, updateVaMappingOtherdomain } from './mmu-update.js';
export { mmuextOp } from './mmuext.js';
export { getPageAndType, getPageType, hostMayWrite, putPageAndType, putPageType } from './page-type.js';
export { begin, dropAhead, end } from './preempt.js';
export { handlePageFault } from './ptwr.js';
export { relinquish } from './relinquish.js';
export {
  initialTables,
  kernelSpace,
  rootOf,
  setCr3,
  setKernelRoot,
  setUserRoot,
} from './roots.js';
export * from './state.js';
