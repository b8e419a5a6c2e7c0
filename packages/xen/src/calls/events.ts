/** event_channel_op and its old form (public/event_channel.h). */
import {
  DOMID_SELF,
  Errno,
  EVTCHN_FIFO_LINK_BITS,
  EVTCHNOP,
  EVTCHNSTAT,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_bind_ipi,
  evtchn_bind_pirq,
  evtchn_bind_vcpu,
  evtchn_bind_virq,
  evtchn_close,
  evtchn_expand_array,
  evtchn_init_control,
  evtchn_reset,
  evtchn_set_priority,
  evtchn_status,
  evtchn_unmask,
  type FieldMap,
  type Struct,
} from '@paravane/abi-xen';
import { type HypercallHandler, isDomain, type XenDomain, type XenVcpu } from '../domain.js';
import {
  allocUnbound,
  bindInterdomain,
  bindIpi,
  bindVcpu,
  bindVirq,
  channelOf,
  closeAll,
  closePort,
  sendEvent,
} from '../events/channels.js';
import { portLimit, unmask } from '../events/delivery.js';
import { expandArray, initControl, leaveFifo, setPriority } from '../events/fifo.js';
import type { Channel } from '../events/state.js';
import { abiOf, asU32, readGuest, readGuestStruct, readGuestU32, viewGuest, writeGuest } from '../guest-memory.js';
import { PIRQS } from './physdev.js';

/** Writes one `u32` member back: the port of a call that makes one. */
function answerPort<M extends FieldMap>(
  vcpu: XenVcpu,
  layout: Struct<M>,
  argument: bigint,
  field: keyof M & string,
  port: number,
): number {
  if (port < 0) return port;
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, port, true);
  if (writeGuest(vcpu, argument + BigInt(layout.offset(field, abiOf(vcpu))), bytes)) return 0;
  // The guest can't learn the port: Xen leaves it to the guest to have leaked it.
  return -Errno.EFAULT;
}

/** The domain that a call names: itself, or another where that is allowed. */
function target(vcpu: XenVcpu, claimedDom: number): XenDomain | number {
  const { domain } = vcpu;
  if (claimedDom === DOMID_SELF || claimedDom === domain.id) return domain;
  if (!isDomain(domain.machine, claimedDom)) return -Errno.ESRCH;
  return (domain.privileged && domain.machine.domain(claimedDom)) || -Errno.EPERM;
}

const STATES: Readonly<Record<Channel['state'], number>> = {
  free: EVTCHNSTAT.closed,
  reserved: EVTCHNSTAT.closed,
  unbound: EVTCHNSTAT.unbound,
  interdomain: EVTCHNSTAT.interdomain,
  virq: EVTCHNSTAT.virq,
  ipi: EVTCHNSTAT.ipi,
};

function status(vcpu: XenVcpu, argument: bigint): number {
  const bytes = readGuest(vcpu, argument, evtchn_status.size(abiOf(vcpu)));
  if (!bytes) return -Errno.EFAULT;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const request = evtchn_status.read(view, 0, abiOf(vcpu));
  const domain = target(vcpu, request.dom);
  if (typeof domain === 'number') return domain;
  const channel = channelOf(domain, request.port);
  if (!channel) return -Errno.EINVAL;
  const { state } = channel;
  evtchn_status.write(
    view,
    0,
    {
      status: STATES[state],
      vcpu: channel.vcpu,
      u0:
        state === 'virq'
          ? channel.virq
          : state === 'unbound' || state === 'interdomain'
            ? channel.remoteDom
            : request.u0,
      u1: state === 'interdomain' ? channel.remotePort : request.u1,
    },
    abiOf(vcpu),
  );
  return writeGuest(vcpu, argument, bytes) ? 0 : -Errno.EFAULT;
}

function reset(vcpu: XenVcpu, argument: bigint, isRest: boolean): number {
  const request = readGuestStruct(vcpu, evtchn_reset, argument);
  if (!request) return -Errno.EFAULT;
  const domain = target(vcpu, request.dom);
  if (typeof domain === 'number') return domain;
  // A reset is never interrupted here: there is no rest of one to do.
  if (isRest) return -Errno.EBUSY;
  closeAll(domain);
  leaveFifo(domain);
  return 0;
}

function bindPirq(vcpu: XenVcpu, argument: bigint): number {
  const request = readGuestStruct(vcpu, evtchn_bind_pirq, argument);
  if (!request) return -Errno.EFAULT;
  // No domain here has physical interrupts.
  return request.pirq >= PIRQS ? -Errno.EINVAL : -Errno.EPERM;
}

export function eventChannelOp(vcpu: XenVcpu, command: number, argument: bigint): number {
  const { domain } = vcpu;
  switch (command) {
    case EVTCHNOP.send: {
      const port = readGuestU32(vcpu, argument);
      return port === null ? -Errno.EFAULT : sendEvent(domain, port);
    }
    case EVTCHNOP.unmask: {
      const request = readGuestStruct(vcpu, evtchn_unmask, argument);
      if (!request) return -Errno.EFAULT;
      const channel = channelOf(domain, request.port);
      if (!channel) return -Errno.EINVAL;
      if (channel.state !== 'free' && channel.state !== 'reserved') unmask(domain, request.port);
      return 0;
    }
    case EVTCHNOP.alloc_unbound: {
      const request = readGuestStruct(vcpu, evtchn_alloc_unbound, argument);
      if (!request) return -Errno.EFAULT;
      const owner = target(vcpu, request.dom);
      if (typeof owner === 'number') return owner;
      const remote = request.remote_dom === DOMID_SELF ? domain.id : request.remote_dom;
      return answerPort(vcpu, evtchn_alloc_unbound, argument, 'port', allocUnbound(owner, remote));
    }
    case EVTCHNOP.bind_interdomain: {
      const request = readGuestStruct(vcpu, evtchn_bind_interdomain, argument);
      if (!request) return -Errno.EFAULT;
      const port = bindInterdomain(domain, request.remote_dom, request.remote_port);
      return answerPort(vcpu, evtchn_bind_interdomain, argument, 'local_port', port);
    }
    case EVTCHNOP.bind_virq: {
      const request = readGuestStruct(vcpu, evtchn_bind_virq, argument);
      if (!request) return -Errno.EFAULT;
      return answerPort(vcpu, evtchn_bind_virq, argument, 'port', bindVirq(domain, request.virq, request.vcpu));
    }
    case EVTCHNOP.bind_ipi: {
      const request = readGuestStruct(vcpu, evtchn_bind_ipi, argument);
      if (!request) return -Errno.EFAULT;
      return answerPort(vcpu, evtchn_bind_ipi, argument, 'port', bindIpi(domain, request.vcpu));
    }
    case EVTCHNOP.bind_pirq:
      return bindPirq(vcpu, argument);
    case EVTCHNOP.close: {
      const request = readGuestStruct(vcpu, evtchn_close, argument);
      return request ? closePort(domain, request.port) : -Errno.EFAULT;
    }
    case EVTCHNOP.status:
      return status(vcpu, argument);
    case EVTCHNOP.bind_vcpu: {
      const request = readGuestStruct(vcpu, evtchn_bind_vcpu, argument);
      return request ? bindVcpu(domain, request.port, request.vcpu) : -Errno.EFAULT;
    }
    case EVTCHNOP.reset:
    case EVTCHNOP.reset_cont:
      return reset(vcpu, argument, command === EVTCHNOP.reset_cont);
    case EVTCHNOP.init_control: {
      const request = readGuestStruct(vcpu, evtchn_init_control, argument);
      if (!request) return -Errno.EFAULT;
      const rc = initControl(domain, request.vcpu, request.control_gfn, request.offset);
      if (rc !== 0) return rc;
      const at = argument + BigInt(evtchn_init_control.offset('link_bits', abiOf(vcpu)));
      return writeGuest(vcpu, at, new Uint8Array([EVTCHN_FIFO_LINK_BITS])) ? 0 : -Errno.EFAULT;
    }
    case EVTCHNOP.expand_array: {
      const request = readGuestStruct(vcpu, evtchn_expand_array, argument);
      return request ? expandArray(domain, request.array_gfn) : -Errno.EFAULT;
    }
    case EVTCHNOP.set_priority: {
      const request = readGuestStruct(vcpu, evtchn_set_priority, argument);
      if (!request) return -Errno.EFAULT;
      if (request.port >= portLimit(domain)) return -Errno.EINVAL;
      return setPriority(domain, request.port, request.priority);
    }
    default:
      return -Errno.ENOSYS;
  }
}

export const event_channel_op: HypercallHandler = (vcpu, [command, argument]) =>
  eventChannelOp(vcpu, asU32(command), argument);

/** The old form: `struct evtchn_op { u32 cmd; union }`, for the operations that it knew; status is the longest. */
const EVTCHN_OP_BYTES = 4 + evtchn_status.size(64);
export const event_channel_op_compat: HypercallHandler = (vcpu, [argument]) => {
  const command = viewGuest(vcpu, argument, EVTCHN_OP_BYTES)?.getUint32(0, true);
  if (command === undefined) return -Errno.EFAULT;
  return command <= EVTCHNOP.unmask ? eventChannelOp(vcpu, command, argument + 4n) : -Errno.ENOSYS;
};
