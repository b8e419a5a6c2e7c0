/** Disk images: raw, qcow2, overlay, memory, and files read over HTTP. */
export { type HttpFetch, type HttpFileOptions, type HttpResponse, openHttpFile } from './http.js';
export { createMemoryFile, createMemoryImage, type MemoryFile } from './memory.js';
export { type OpenedFile, type OpenImageOptions, openImage, probeImage } from './open-image.js';
export { createOverlay, type OverlayOptions } from './overlay.js';
export type { Unpack, Unpackers } from './qcow2/compressed.js';
export { createQcow2, type Qcow2CreateOptions } from './qcow2/create.js';
export { qcow2Driver } from './qcow2/driver.js';
export { openQcow2, type Qcow2Options } from './qcow2/open.js';
export { createRawImage, rawDriver } from './raw.js';
