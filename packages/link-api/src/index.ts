/** Network links: what a network back end asks of one, its frames and their offloads, and the words of errors. */
export { type LinkErrorCode, linkInUse } from './errors.js';
export {
  allOffloads,
  type Frame,
  type FrameSink,
  type Link,
  type LinkUser,
  linkApiVersion,
  maxFrameBytes,
  noOffloads,
  type Offloads,
  type Segmentation,
} from './link.js';
export { formatMac, parseMac } from './mac.js';
