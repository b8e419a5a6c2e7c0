/** Networks for guests: a switch, a user-mode network with its own TCP, captures, and what joins links. */
export { type IpAddress, parseIpAddress } from './address.js';
export type { NetworkClock } from './clock.js';
export type {
  HostDatagrams,
  HostEndpoint,
  HostListener,
  HostNet,
  HostNetFailure,
  HostStream,
  HostStreamUser,
} from './host-net.js';
export { joinLinks } from './join.js';
export { adaptFrames } from './offload.js';
export { type Capture, type CaptureInterface, type CaptureOptions, createCapture, tapLink } from './pcapng.js';
export {
  createSwitch,
  type Switch,
  type SwitchOptions,
  type SwitchPortOptions,
  type SwitchPortStats,
} from './switch.js';
export {
  type CloseReason,
  createTcpConnection,
  type TcpConnection,
  type TcpOptions,
  type TcpPath,
  type TcpState,
  type TcpUser,
} from './tcp/connection.js';
export { DnsCode, type DnsQuestion, type DnsRecord, DnsType, dnsAnswer, parseDnsQuestion } from './user/dns.js';
export { guestAddresses } from './user/plan.js';
export { type Forward, type NetworkErrorCode, parsePublish } from './user/publish.js';
export type { TcpLimits } from './user/tcp-relay.js';
export {
  canBeLeased,
  createUserNetwork,
  type Station,
  type UserNetwork,
  type UserNetworkOptions,
  type UserNetworkStats,
} from './user/user-network.js';
