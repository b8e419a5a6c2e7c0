/** The back end of the PV console. */
export {
  type ConsoleBackend,
  type ConsoleBackendOptions,
  createConsoleBackend,
  type SharedPage,
} from './console-backend.js';
