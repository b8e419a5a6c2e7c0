import type { PrebuiltImage } from './prebuilt.js';

/** None in the sources; the build writes this module anew beside the compiled ones. */
export const PREBUILT: PrebuiltImage | null = null;
