import { describe, expect, it } from 'vitest';
import { Errno, errnoName } from './errno.js';
import { hypercall } from './hypercall.js';
import { hypercallLabel, hypercallName, mmuextName, subOpName } from './names.js';

describe('names', () => {
  it.each([
    ['iret', hypercall.iret, 0, 0],
    ['memory_op.memory_map', hypercall.memory_op, 9, 0],
    ['vcpu_op.register_runstate_memory_area', hypercall.vcpu_op, 5, 0],
    ['event_channel_op.init_control', hypercall.event_channel_op, 11, 0],
    ['set_segment_base.gs_user_sel', hypercall.set_segment_base, 3, 0],
    ['physdev_op.pirq_eoi_gmfn_v2', hypercall.physdev_op, 28, 0],
    ['vm_assist.enable(writable_pagetables)', hypercall.vm_assist, 0, 2],
    ['vm_assist.enable(4gb_segments)', hypercall.vm_assist, 0, 0],
    ['sched_op.99', hypercall.sched_op, 99, 0],
    ['63', 63, 0, 0],
  ])('%s', (label, call, arg0, arg1) => {
    expect(hypercallLabel(call, arg0, arg1)).toBe(label);
  });

  it('fall back to the number', () => {
    expect(hypercallName(11)).toBe('11');
    expect(subOpName(hypercall.iret, 4)).toBe('4');
    expect(mmuextName(3)).toBe('pin_l4_table');
    expect(errnoName(-Errno.EINVAL)).toBe('EINVAL');
    expect(errnoName(1000)).toBe('1000');
  });
});
