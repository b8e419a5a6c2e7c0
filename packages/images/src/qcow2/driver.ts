/** qcow2 as a format among others. */
import { type ImageDriver, imageApiVersion } from '@paravane/image-api';
import type { Unpackers } from './compressed.js';
import { isQcow2 } from './header.js';
import { openQcow2 } from './open.js';

export function qcow2Driver(unpackers: Unpackers = {}): ImageDriver {
  return {
    apiVersion: imageApiVersion,
    format: 'qcow2',
    probe: isQcow2,
    open: (file, options) => openQcow2(file, { ...unpackers, ...options }),
  };
}
