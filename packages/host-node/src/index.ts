/** Paravane on Node.js: terminal, time, files, and guests fetched from Debian packages. */
export { cacheFolder } from './cache-folder.js';
export { controlFolder } from './control-folder.js';
export { type ControlLink, type ControlSocket, openControlLinks, openControlSocket } from './control-socket.js';
export { dataFolder } from './data-folder.js';
export { decompressors, unpack } from './decompress.js';
export { type ImageFileOptions, openImageFile } from './file-image.js';
export { backingPath, type DiskImageOptions, imageDrivers, imageUnpackers, openDiskImage } from './file-images.js';
export { fileCause, readWhole, writeWhole } from './files.js';
export { type KeptCode, openKeptCode } from './kept-code.js';
export { hostNet, hostNetworkClock } from './net.js';
export { openPty, type Pty } from './pty.js';
export { type AptOptions, aptSource, hasApt } from './pull/apt-source.js';
export { type CpioEntry, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, writeCpio } from './pull/cpio.js';
export { type DebianPackage, readDeb } from './pull/deb.js';
export { folderSource } from './pull/folder-source.js';
export { type LockedFile, type LockedPackage, type LockFile, lockFileName } from './pull/lock-file.js';
export { type MirrorOptions, mirrorSource } from './pull/mirror-source.js';
export {
  type GuestName,
  guestConfigFile,
  guestNames,
  type PulledGuest,
  type PullOptions,
  pulledBy,
  pullGuest,
  type RootfsMaker,
  usualSuite,
} from './pull/pull.js';
export { bootstrapDone } from './pull/rootfs/bootstrap.js';
export type { FetchedPackage, PackageRequest, PackageSource, Progress } from './pull/source.js';
export { openTap } from './tap.js';
export {
  type ConsoleEvents,
  type ConsoleStreams,
  type HostConsole,
  openConsole,
  parseEscapeKey,
  readToEnd,
} from './terminal.js';
export { hostTime } from './time.js';
export { otherThreadsSeconds, type Part, profileTime, type TimeProfile, type TimeShares } from './time-shares.js';
export { openTraceFile, type TraceFile } from './trace-file.js';
export { prepareV8, v8Flags, withoutBaselineAtOnce } from './v8.js';
