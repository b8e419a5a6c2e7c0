/** From an xl configuration file to a running domain. */

export { type ChannelConfig, type ReadChannel, readChannel } from './channel-config.js';
export {
  type ConductedClock,
  type ConductedMember,
  type Conductor,
  type ConductorOptions,
  createConductor,
} from './conductor.js';
export { type ConsoleTail, createConsoleTail } from './console-tail.js';
export { type ControlClient, type ControlClientConnection, createControlClient } from './control/client.js';
export {
  bytesToText,
  type ControlRequest,
  type ControlResults,
  type GuestInfo,
  type ShutdownReason,
  type StoreNode,
  shutdownReasons,
  textToBytes,
} from './control/protocol.js';
export { type ControlClientEnd, type ControlConnection, type ControlledGuest, serveControl } from './control/server.js';
export { formatCrashReport } from './crash-report.js';
export { type DiskConfig, type DiskFormat, type ReadDisk, readDisk } from './disk-config.js';
export {
  type ConfigOverrides,
  type DomainConfig,
  type EndAction,
  formatDiagnostic,
  limits,
  type ReadConfig,
  readDomainConfig,
} from './domain-config.js';
export {
  type DomainRun,
  type EndKind,
  type HostTime,
  type RunOptions,
  type RunOutcome,
  type RunState,
  runDomain,
} from './life-cycle.js';
export {
  type BootChannel,
  type BootDisk,
  type BootRequest,
  type BootVif,
  type ClockMode,
  type CodeKeeper,
  type CrashReport,
  type DomainControl,
  type DomainDisks,
  type DomainEnd,
  type DomainStats,
  type DomainStore,
  type EngineKind,
  type HotSpot,
  type LogLevel,
  logLevels,
  type Machine,
  type RecordedBoot,
  type RecordedInput,
  type RunningDomain,
  type StepResult,
} from './machine.js';
export {
  type Checksum,
  type RecordedEnd,
  type Recording,
  type RecordingHost,
  type RecordOptions,
  type ReplayOptions,
  readRecording,
  recordingMachine,
  replayingMachine,
} from './recording.js';
export { parseVdev, type VirtualDevice } from './vdev.js';
export { normalMac, type ReadVif, readVif, type VifConfig, type VifRate } from './vif-config.js';
export { laterKeys, supportedKeys } from './xl-keys.js';
export {
  type Atom,
  type Diagnostic,
  type List,
  type ParsedConfig,
  type Position,
  parseNumber,
  parseXlConfig,
  type Setting,
  type Value,
} from './xl-syntax.js';
