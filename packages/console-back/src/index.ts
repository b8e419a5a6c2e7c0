/** The back end of PV consoles: the first one's page, and further ones as devices. */
export {
  type ConsoleBackend,
  type ConsoleBackendOptions,
  createConsoleBackend,
  type SharedPage,
} from './console-backend.js';
export { type ConsoleDevice, type ConsoleDeviceOptions, createConsoleDevice } from './console-device.js';
