/** @paravane/machine: memory, core, hypervisor and back ends joined into a machine that boots Xen PV kernels. */
export { type Guest, type GuestOptions, startGuest } from './guest.js';
export { createMachine, type MachineOptions } from './machine.js';
