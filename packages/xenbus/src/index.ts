/** How both ends of a PV device find each other, connect and part. */
export { type BackendDevice, type BackendDeviceOptions, type BackendDriver, createBackendDevice } from './backend.js';
export {
  createFrontendDevice,
  type FrontendDevice,
  type FrontendDeviceOptions,
  type FrontendDriver,
} from './frontend.js';
export { addDevice, type DeviceDescription, type DeviceNodes, devicePaths, removeDevice } from './nodes.js';
export { parseState, readNumber, type XenbusStateNumber } from './read.js';
